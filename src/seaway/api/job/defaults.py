"""What a Job has when the client does not say. Rule: upstream's batch/v1 defaults."""

from __future__ import annotations

from seaway.api.machinery.strategy import Json
from seaway.api.pod.defaults import default_pod_template

UNLIMITED = 2**31 - 1
_DEFAULT_RETRIES = 6


def default_job(obj: Json) -> Json:
    """The Job with its defaults filled in. Changes `obj`."""
    spec = obj.setdefault("spec", {})
    default_job_template(spec)
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("backoffLimit", _DEFAULT_RETRIES if spec.get("backoffLimitPerIndex") is None else UNLIMITED)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    spec.setdefault("manualSelector", False)
    spec.setdefault("podReplacementPolicy", "Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed")
    labels = (spec["template"].get("metadata") or {}).get("labels")
    meta = obj.setdefault("metadata", {})
    if labels and not meta.get("labels"):
        meta["labels"] = {**labels}
    return obj


def default_job_template(spec: Json) -> None:
    """What the Jobs of a CronJob get before they exist. Changes `spec`."""
    default_pod_template(spec.setdefault("template", {}))
    for rule in (spec.get("podFailurePolicy") or {}).get("rules") or ():
        for pattern in rule.get("onPodConditions") or ():
            pattern.setdefault("status", "True")
