"""What is wrong with a Lease. Rule: spec "api-machinery" §12."""

from __future__ import annotations

from seaway.api.machinery.field import FieldError, invalid
from seaway.api.machinery.strategy import Json


def validate_lease(obj: Json, old: Json | None = None) -> list[FieldError]:
    """Create and update alike. An empty holder is fine: that is how a leader lets go."""
    spec = obj.get("spec") or {}
    errors: list[FieldError] = []
    seconds, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
    if seconds is not None and seconds <= 0:
        errors.append(invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0"))
    if transitions is not None and transitions < 0:
        errors.append(invalid("spec.leaseTransitions", transitions, "must be greater than or equal to 0"))
    return errors
