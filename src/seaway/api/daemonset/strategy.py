"""How the API server treats DaemonSets. Rule: spec "api-machinery" §4.2, §9.1."""

from __future__ import annotations

from seaway.api.daemonset.validation import (
    validate_daemon_set,
    validate_daemon_set_status,
    validate_daemon_set_update,
)
from seaway.api.machinery.strategy import Context, Json, StatusRule, Strategy
from seaway.api.pod.defaults import default_pod_template

TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"
"""An annotation that counts changes of the template; old clients read it."""
_STATUS = StatusRule(
    {"currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0}
)


def default_daemon_set(obj: Json) -> Json:
    """One Pod at a time is replaced. Changes `obj`."""
    spec = obj.setdefault("spec", {})
    default_pod_template(spec.setdefault("template", {}))
    strategy = spec.setdefault("updateStrategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)
    spec.setdefault("revisionHistoryLimit", 10)
    return obj


def prepare_create(obj: Json, context: Context) -> Json:
    return _count_templates(_STATUS.on_create(obj, context), 1)


def prepare_update(obj: Json, old: Json, context: Context) -> Json:
    """The template's count grows with its changes, whatever a client says of it."""
    changed = (obj.get("spec") or {}).get("template") != (old.get("spec") or {}).get("template")
    return _count_templates(_STATUS.on_update(obj, old, context), _read_count(old) + changed)


def prepare_status_update(obj: Json, old: Json, context: Context) -> Json:
    """The count stays, even when the client leaves the annotation out."""
    return _count_templates(_STATUS.on_status_update(obj, old, context), _read_count(old))


def _read_count(obj: Json) -> int:
    counted = (obj["metadata"].get("annotations") or {}).get(TEMPLATE_GENERATION) or ""
    return int(counted) if counted.isascii() and counted.isdigit() and len(counted) < 19 else 0


def _count_templates(obj: Json, count: int) -> Json:
    meta = obj["metadata"]
    annotations = {**(meta.get("annotations") or {}), TEMPLATE_GENERATION: str(count)}
    return {**obj, "metadata": {**meta, "annotations": annotations}}


STRATEGY = Strategy(
    default=default_daemon_set,
    prepare_create=prepare_create,
    prepare_update=prepare_update,
    prepare_status_update=prepare_status_update,
    validate_create=validate_daemon_set,
    validate_update=validate_daemon_set_update,
    validate_status_update=validate_daemon_set_status,
    has_generation=True,
)
