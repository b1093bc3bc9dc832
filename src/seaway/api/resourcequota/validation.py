"""What is wrong with a ResourceQuota. Rule: upstream's core/v1 validation."""

from __future__ import annotations

from seaway.api.machinery.counts import NOT_NEGATIVE_TEXT
from seaway.api.machinery.field import FieldError, forbidden, invalid, not_supported, required
from seaway.api.machinery.names import invalid_by, validate_qualified_name
from seaway.api.machinery.scalars import measure_quantity
from seaway.api.machinery.strategy import Json

SCOPES = (
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
)
OPERATORS = ("DoesNotExist", "Exists", "In", "NotIn")
_OPPOSITES = (frozenset(("BestEffort", "NotBestEffort")), frozenset(("Terminating", "NotTerminating")))
_ONLY_EXISTS = frozenset(SCOPES) - {"PriorityClass", "VolumeAttributesClass"}


def validate_quota(obj: Json) -> list[FieldError]:
    """The create rules."""
    spec = obj.get("spec") or {}
    return [
        *_validate_amounts(spec.get("hard") or {}, "spec.hard"),
        *_validate_scopes(spec.get("scopes") or []),
        *_validate_scope_selector((spec.get("scopeSelector") or {}).get("matchExpressions") or []),
    ]


def validate_quota_update(obj: Json, old: Json) -> list[FieldError]:
    """What is counted stays; how much may change."""
    spec, before = obj.get("spec") or {}, old.get("spec") or {}
    changed = [f for f in ("scopes", "scopeSelector") if (spec.get(f) or None) != (before.get(f) or None)]
    errors = validate_quota(obj)
    return errors + [invalid(f"spec.{field}", spec.get(field), "field is immutable") for field in changed]


def validate_quota_status(obj: Json, old: Json) -> list[FieldError]:
    """Amounts are amounts."""
    status = obj.get("status") or {}
    fields = ("hard", "used")
    return [error for field in fields for error in _validate_amounts(status.get(field) or {}, f"status.{field}")]


def _validate_amounts(amounts: dict[str, str], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for name in sorted(amounts):
        errors += invalid_by(validate_qualified_name, f"{path}[{name}]", name)
        if measure_quantity(amounts[name]) < 0:
            errors.append(invalid(f"{path}[{name}]", amounts[name], NOT_NEGATIVE_TEXT))
    return errors


def _validate_scopes(scopes: list[str]) -> list[FieldError]:
    errors = [invalid("spec.scopes", scopes, "unsupported scope") for scope in scopes if scope not in SCOPES]
    if any(pair <= set(scopes) for pair in _OPPOSITES):
        errors.append(invalid("spec.scopes", scopes, "conflicting scopes"))
    return errors


def _validate_scope_selector(expressions: list[Json]) -> list[FieldError]:
    path = "spec.scopeSelector.matchExpressions"
    errors: list[FieldError] = []
    for expression in expressions:
        scope, operator = expression.get("scopeName") or "", expression.get("operator") or ""
        values = expression.get("values") or ()
        if scope not in SCOPES:
            errors.append(invalid(f"{path}.scopeName", scope, "unsupported scope"))
        if scope in _ONLY_EXISTS and operator != "Exists":
            text = "must be 'Exist' when scope is any of " + ", ".join(f"'{name}'" for name in sorted(_ONLY_EXISTS))
            errors.append(invalid(f"{path}.operator", operator, text))
        if operator not in OPERATORS:
            errors.append(not_supported(f"{path}.operator", operator, OPERATORS))
        elif operator in ("In", "NotIn") and not values:
            text = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
            errors.append(required(f"{path}.values", text))
        elif operator in ("Exists", "DoesNotExist") and values:
            text = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
            errors.append(forbidden(f"{path}.values", text))
    return errors
