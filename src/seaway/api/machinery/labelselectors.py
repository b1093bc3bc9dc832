"""Label selectors as objects hold them (`matchLabels`, `matchExpressions`): judged, read and printed.

Selectors of queries are texts: `selectors.py`. Rule: upstream's LabelSelector; spec "api-machinery" §6.2 (meaning).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seaway.api.machinery.columns import NONE
from seaway.api.machinery.field import FieldError, forbidden, invalid, required
from seaway.api.machinery.names import invalid_by, validate_label_value, validate_qualified_name
from seaway.api.machinery.objectmeta import validate_labels
from seaway.api.machinery.selectors import LabelSelector, Operator, Requirement

Json = Mapping[str, Any]
_OPERATORS = {
    "In": Operator.IN,
    "NotIn": Operator.NOT_IN,
    "Exists": Operator.EXISTS,
    "DoesNotExist": Operator.DOES_NOT_EXIST,
}
_WITH_VALUES = ("In", "NotIn")


def validate_label_selector(selector: Json | None, path: str) -> list[FieldError]:
    """What is wrong with the selector; None is fine here."""
    if selector is None:
        return []
    errors = validate_labels(selector.get("matchLabels"), f"{path}.matchLabels")
    for index, expression in enumerate(selector.get("matchExpressions") or ()):
        errors += _validate_expression(expression, f"{path}.matchExpressions[{index}]")
    return errors


def _validate_expression(expression: Json, path: str) -> list[FieldError]:
    operator, values = expression.get("operator") or "", expression.get("values") or ()
    errors: list[FieldError] = []
    if operator not in _OPERATORS:
        errors.append(invalid(f"{path}.operator", operator, "not a valid selector operator"))
    elif operator in _WITH_VALUES and not values:
        text = "must be specified when `operator` is 'In' or 'NotIn'"
        errors.append(required(f"{path}.values", text))
    elif operator not in _WITH_VALUES and values:
        text = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
        errors.append(forbidden(f"{path}.values", text))
    errors += invalid_by(validate_qualified_name, f"{path}.key", expression.get("key") or "")
    for index, value in enumerate(values):
        errors += invalid_by(validate_label_value, f"{path}.values[{index}]", value)
    return errors


def is_empty_selector(selector: Json | None) -> bool:
    """It has no condition."""
    return not selector or not (selector.get("matchLabels") or selector.get("matchExpressions"))


def read_label_selector(selector: Json | None) -> LabelSelector | None:
    """The selector as a value, or None for one that is not valid. No conditions match everything."""
    if selector is None or validate_label_selector(selector, ""):
        return None
    labels: Mapping[str, str] = selector.get("matchLabels") or {}
    expressions: Sequence[Json] = selector.get("matchExpressions") or ()
    return LabelSelector(
        (
            *(Requirement(key, Operator.IN, frozenset((labels[key],))) for key in sorted(labels)),
            *(Requirement(e["key"], _OPERATORS[e["operator"]], frozenset(e.get("values") or ())) for e in expressions),
        )
    )


def render_label_selector(selector: Json | None) -> str:
    """`app=web,tier in (a,b),!old`, sorted by key, or `<none>`. What cannot be read is `<error>`."""
    if is_empty_selector(selector):
        return NONE
    found = read_label_selector(selector)
    if found is None:
        return "<error>"
    return ",".join(_render_requirement(r) for r in sorted(found.requirements, key=lambda r: r.key))


def _render_requirement(requirement: Requirement) -> str:
    key, values = requirement.key, sorted(requirement.values)
    match requirement.operator:
        case Operator.EXISTS:
            return key
        case Operator.DOES_NOT_EXIST:
            return f"!{key}"
        case Operator.IN if len(values) == 1:
            return f"{key}={values[0]}"
    return f"{key} {requirement.operator.value} ({','.join(values)})"
