"""What is wrong with a LimitRange: each of its bounds must leave room. Rule: upstream's core/v1 validation."""

from __future__ import annotations

from collections.abc import Sequence

from seaway.api.machinery.field import FieldError, duplicate, forbidden, invalid, required
from seaway.api.machinery.names import invalid_by, validate_qualified_name
from seaway.api.machinery.scalars import measure_quantity
from seaway.api.machinery.strategy import Json

TYPES = ("Container", "PersistentVolumeClaim", "Pod")
_BOUNDS = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")
_ONE = 10**9
_ORDER: Sequence[tuple[str, str, str, str]] = (
    ("min", "max", "min", "min"),
    ("min", "defaultRequest", "min", "defaultRequest"),
    ("defaultRequest", "max", "default request", "defaultRequest"),
    ("min", "default", "min", "default"),
    ("default", "max", "default", "default"),
    ("defaultRequest", "default", "default request", "defaultRequest"),
)
"""(lesser, greater, the lesser in words, the field that the error names)."""
_WORDS = {"max": "max", "default": "default", "defaultRequest": "default request"}


def validate_limit_range(obj: Json, old: Json | None = None) -> list[FieldError]:
    """Create and update alike."""
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, item in enumerate((obj.get("spec") or {}).get("limits") or ()):
        path, kind = f"spec.limits[{index}]", item.get("type") or ""
        errors += _validate_type(kind, f"{path}.type")
        if kind in seen:
            errors.append(duplicate(f"{path}.type", kind))
        seen.add(kind)
        errors += _validate_item(item, kind, path)
    return errors


def _validate_type(kind: str, path: str) -> list[FieldError]:
    errors = invalid_by(validate_qualified_name, path, kind)
    if not errors and "/" not in kind and kind not in TYPES:
        errors.append(invalid(path, kind, "must be a standard limit type or fully qualified"))
    return errors


def _validate_item(item: Json, kind: str, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if kind == "Pod":
        text = "may not be specified when `type` is 'Pod'"
        errors += [forbidden(f"{path}.{field}", text) for field in ("default", "defaultRequest") if item.get(field)]
    if kind == "PersistentVolumeClaim" and not any("storage" in (item.get(bound) or {}) for bound in ("min", "max")):
        text = "either minimum or maximum storage value is required, but neither was provided"
        errors.append(required(f"{path}.limits", text))
    for name in sorted({name for bound in _BOUNDS for name in item.get(bound) or ()}):
        errors += invalid_by(validate_qualified_name, f"{path}[{name}]", name)
        errors += _validate_bounds(item, name, path)
    return errors


def _validate_bounds(item: Json, name: str, path: str) -> list[FieldError]:
    """The bounds of one resource, pair by pair."""
    texts = {bound: item[bound][name] for bound in _BOUNDS if name in (item.get(bound) or {})}
    values = {bound: measure_quantity(text) for bound, text in texts.items()}
    errors: list[FieldError] = []
    for lesser, greater, words, field in _ORDER:
        if lesser in values and greater in values and values[lesser] > values[greater]:
            text = f"{words} value {texts[lesser]} is greater than {_WORDS[greater]} value {texts[greater]}"
            errors.append(invalid(f"{path}.{field}[{name}]", texts[field], text))
    ratio = values.get("maxLimitRequestRatio")
    if ratio is not None:
        errors += _validate_ratio(texts, values, ratio, f"{path}.maxLimitRequestRatio[{name}]")
    return errors


def _validate_ratio(texts: dict[str, str], values: dict[str, int], ratio: int, path: str) -> list[FieldError]:
    shown = texts["maxLimitRequestRatio"]
    if ratio < _ONE:
        return [invalid(path, shown, f"ratio {shown} is less than 1")]
    if values.get("min") and "max" in values and ratio * values["min"] > values["max"] * _ONE:
        limit = values["max"] / values["min"]
        return [invalid(path, shown, f"ratio {shown} is greater than max/min = {limit:f}")]
    return []
