"""What is wrong with a DaemonSet. Rule: upstream's DaemonSet validation."""

from __future__ import annotations

from seaway.api.machinery.counts import invalid_counts, invalid_share, invalid_share_of_all, is_zero_share
from seaway.api.machinery.field import FieldError, invalid, not_supported, required
from seaway.api.machinery.strategy import Json
from seaway.api.workload.validation import validate_immutable, validate_selector_and_template

_STRATEGIES = ("RollingUpdate", "OnDelete")
_STATUS_COUNTS = (
    "currentNumberScheduled",
    "numberMisscheduled",
    "desiredNumberScheduled",
    "numberReady",
    "observedGeneration",
    "updatedNumberScheduled",
    "numberAvailable",
    "numberUnavailable",
    "collisionCount",
)


def validate_daemon_set(obj: Json) -> list[FieldError]:
    """The create rules."""
    spec = obj.get("spec") or {}
    errors = validate_selector_and_template(spec, "DaemonSet")
    errors += invalid_counts("spec", spec, "minReadySeconds", "revisionHistoryLimit")
    return errors + _validate_strategy(spec.get("updateStrategy") or {})


def validate_daemon_set_update(obj: Json, old: Json) -> list[FieldError]:
    """The create rules, and Pods stay whose they are."""
    return [*validate_daemon_set(obj), *validate_immutable(obj, old, "selector")]


def validate_daemon_set_status(obj: Json, old: Json) -> list[FieldError]:
    """Counts are counts."""
    return invalid_counts("status", obj.get("status") or {}, *_STATUS_COUNTS)


def _validate_strategy(strategy: Json) -> list[FieldError]:
    kind, path = strategy.get("type") or "", "spec.updateStrategy"
    if kind == "OnDelete":
        return []
    if kind != "RollingUpdate":
        return [not_supported(path, kind, _STRATEGIES)]
    rolling = strategy.get("rollingUpdate")
    if rolling is None:
        return [required(f"{path}.rollingUpdate")]
    unavailable, surge = rolling.get("maxUnavailable", 0), rolling.get("maxSurge", 0)
    errors = invalid_share_of_all(f"{path}.rollingUpdate.maxUnavailable", unavailable)
    errors += invalid_share(f"{path}.rollingUpdate.maxSurge", surge)
    if not is_zero_share(unavailable) and not is_zero_share(surge):
        text = "may not be set when maxUnavailable is non-zero"
        errors.append(invalid(f"{path}.rollingUpdate.maxSurge", surge, text))
    elif is_zero_share(unavailable) and is_zero_share(surge):
        errors.append(required(f"{path}.rollingUpdate.maxUnavailable", "cannot be 0 when maxSurge is 0"))
    return errors
