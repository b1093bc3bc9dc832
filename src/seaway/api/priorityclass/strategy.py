"""How the API server treats PriorityClasses: Pods were placed by the value, so it stays.

Rule: upstream's scheduling/v1 rules.
"""

from __future__ import annotations

from seaway.api.machinery.field import FieldError, forbidden, not_supported
from seaway.api.machinery.strategy import Json, Strategy

MAX_USER_PRIORITY = 1_000_000_000
SYSTEM_PREFIX = "system-"
SYSTEM_CLASSES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
"""The two that a cluster may have with the reserved prefix, and what they are worth."""
POLICIES = ("Never", "PreemptLowerPriority")
_FIXED_TEXT = "may not be changed in an update."


def default_class(obj: Json) -> Json:
    """Pods of the class displace others. Changes `obj`."""
    obj.setdefault("value", 0)
    obj.setdefault("preemptionPolicy", "PreemptLowerPriority")
    return obj


def validate_class(obj: Json) -> list[FieldError]:
    """The create rules."""
    name, value = (obj.get("metadata") or {}).get("name") or "", obj.get("value") or 0
    errors: list[FieldError] = []
    if name.startswith(SYSTEM_PREFIX):
        if SYSTEM_CLASSES.get(name) != value:
            text = "priority class names with 'system-' prefix are reserved for system use only. error: "
            known = f"value of {name} PriorityClass must be {SYSTEM_CLASSES[name]}" if name in SYSTEM_CLASSES else ""
            errors.append(forbidden("metadata.name", text + (known or f"{name} is not a known system priority class")))
    elif value > MAX_USER_PRIORITY:
        text = f"maximum allowed value of a user defined priority is {MAX_USER_PRIORITY}"
        errors.append(forbidden("value", text))
    policy = obj.get("preemptionPolicy")
    if policy is not None and policy not in POLICIES:
        errors.append(not_supported("preemptionPolicy", policy, POLICIES))
    return errors


def validate_class_update(obj: Json, old: Json) -> list[FieldError]:
    """Neither the value nor the policy changes."""
    value = (obj.get("value") or 0) != (old.get("value") or 0)
    policy = obj.get("preemptionPolicy") != old.get("preemptionPolicy")
    changed = [name for name, differs in (("value", value), ("preemptionPolicy", policy)) if differs]
    return [forbidden(field, _FIXED_TEXT) for field in changed]


STRATEGY = Strategy(
    default=default_class,
    validate_create=validate_class,
    validate_update=validate_class_update,
    has_generation=True,
    spec_changed=lambda obj, old: False,
)
