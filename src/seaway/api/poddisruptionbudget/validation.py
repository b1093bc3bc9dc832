"""What is wrong with a PodDisruptionBudget. Rule: upstream's policy/v1 validation."""

from __future__ import annotations

from seaway.api.machinery.counts import invalid_counts, invalid_share_of_all
from seaway.api.machinery.field import FieldError, invalid, not_supported
from seaway.api.machinery.labelselectors import validate_label_selector
from seaway.api.machinery.strategy import Json

POLICIES = ("AlwaysAllow", "IfHealthyBudget")
_COUNTS = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods", "observedGeneration")


def validate_budget(obj: Json, old: Json | None = None) -> list[FieldError]:
    """Create and update alike."""
    spec = obj.get("spec") or {}
    given = {field: spec[field] for field in ("minAvailable", "maxUnavailable") if spec.get(field) is not None}
    errors: list[FieldError] = []
    if len(given) == 2:
        errors.append(invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set"))
    for field, share in given.items():
        errors += invalid_share_of_all(f"spec.{field}", share)
    errors += validate_label_selector(spec.get("selector"), "spec.selector")
    policy = spec.get("unhealthyPodEvictionPolicy")
    if policy is not None and policy not in POLICIES:
        errors.append(not_supported("spec.unhealthyPodEvictionPolicy", policy, POLICIES))
    return errors


def validate_budget_status(obj: Json, old: Json) -> list[FieldError]:
    """Counts are counts."""
    return invalid_counts("status", obj.get("status") or {}, *_COUNTS)
