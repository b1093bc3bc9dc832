"""What is wrong with a Deployment. Rule: upstream's Deployment validation; spec "controllers" §7.5."""

from __future__ import annotations

from seaway.api.machinery.counts import invalid_counts, invalid_share, invalid_share_of_all, is_zero_share
from seaway.api.machinery.field import FieldError, forbidden, invalid, not_supported
from seaway.api.machinery.strategy import Json
from seaway.api.workload.validation import validate_immutable, validate_selector_and_template

STRATEGIES = ("Recreate", "RollingUpdate")


def validate_deployment(obj: Json) -> list[FieldError]:
    """The create rules."""
    spec = obj.get("spec") or {}
    errors = invalid_counts("spec", spec, "replicas")
    errors += validate_selector_and_template(spec, "Deployment")
    errors += _validate_strategy(spec.get("strategy") or {})
    errors += invalid_counts("spec", spec, "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds")
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None and deadline <= (spec.get("minReadySeconds") or 0):
        errors.append(invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds"))
    return errors


def validate_deployment_update(obj: Json, old: Json) -> list[FieldError]:
    """The create rules, and Pods stay whose they are."""
    return [*validate_deployment(obj), *validate_immutable(obj, old, "selector")]


def _validate_strategy(strategy: Json) -> list[FieldError]:
    kind, rolling, path = strategy.get("type") or "", strategy.get("rollingUpdate"), "spec.strategy"
    if kind not in STRATEGIES:
        return [not_supported(f"{path}.type", kind, STRATEGIES)]
    if kind == "Recreate":
        text = "may not be specified when strategy `type` is 'Recreate'"
        return [] if rolling is None else [forbidden(f"{path}.rollingUpdate", text)]
    unavailable, surge = (rolling or {}).get("maxUnavailable", 0), (rolling or {}).get("maxSurge", 0)
    errors = invalid_share_of_all(f"{path}.rollingUpdate.maxUnavailable", unavailable)
    errors += invalid_share(f"{path}.rollingUpdate.maxSurge", surge)
    if is_zero_share(unavailable) and is_zero_share(surge):
        text = "may not be 0 when `maxSurge` is 0"
        errors.append(invalid(f"{path}.rollingUpdate.maxUnavailable", unavailable, text))
    return errors
