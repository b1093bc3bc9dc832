"""What a Deployment has when the client does not say. Rule: spec "controllers" §7.5."""

from __future__ import annotations

from seaway.api.machinery.strategy import Json
from seaway.api.pod.defaults import default_pod_template


def default_deployment(obj: Json) -> Json:
    """The Deployment with its defaults filled in. Changes `obj`."""
    spec = obj.setdefault("spec", {})
    default_pod_template(spec.setdefault("template", {}))
    strategy = spec.setdefault("strategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    for field, value in (("replicas", 1), ("revisionHistoryLimit", 10), ("progressDeadlineSeconds", 600)):
        spec.setdefault(field, value)
    return obj
