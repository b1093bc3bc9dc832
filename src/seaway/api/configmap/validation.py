"""What is wrong with a ConfigMap; also the rules that Secrets share. Rule: spec "api-machinery" §12."""

from __future__ import annotations

from collections.abc import Sequence

from seaway.api.machinery.field import FieldError, forbidden, invalid, too_long
from seaway.api.machinery.names import invalid_by, validate_config_key
from seaway.api.machinery.strategy import Json

MAX_BYTES = 1024 * 1024


def validate_config_map(obj: Json) -> list[FieldError]:
    """The create rules."""
    text, binary = obj.get("data") or {}, obj.get("binaryData") or {}
    errors: list[FieldError] = []
    for key in sorted(text):
        errors += invalid_by(validate_config_key, f"data[{key}]", key)
        if key in binary:
            errors.append(invalid(f"data[{key}]", key, "duplicate of key present in binaryData"))
    for key in sorted(binary):
        errors += invalid_by(validate_config_key, f"binaryData[{key}]", key)
    size = sum(len(value.encode()) for value in text.values()) + sum(map(decoded_length, binary.values()))
    if size > MAX_BYTES:
        errors.append(too_long("", MAX_BYTES))
    return errors


def validate_config_map_update(obj: Json, old: Json) -> list[FieldError]:
    """What is immutable stays so, data included."""
    return [*validate_immutable(obj, old, ("data", "binaryData")), *validate_config_map(obj)]


def validate_immutable(obj: Json, old: Json, fields: Sequence[str]) -> list[FieldError]:
    """`immutable: true` cannot be taken back and locks the fields."""
    if not old.get("immutable"):
        return []
    text = "field is immutable when `immutable` is set"
    errors = [] if obj.get("immutable") else [forbidden("immutable", text)]
    changed = (field for field in fields if (obj.get(field) or {}) != (old.get(field) or {}))
    return errors + [forbidden(field, text) for field in changed]


def decoded_length(text: str) -> int:
    """How many bytes the base64 text stands for."""
    return len(text) * 3 // 4 - text.count("=", -2) if text else 0
