"""What is wrong with an IPAddress. Whether its parent exists is not looked at. Rule: spec "service-api" §5.4."""

from __future__ import annotations

from seaway.api.machinery.field import FieldError, invalid, required
from seaway.api.machinery.names import invalid_by, validate_path_segment, validate_subdomain
from seaway.api.machinery.strategy import Json

_PATH = "spec.parentRef"


def validate_ip_address(obj: Json) -> list[FieldError]:
    """The create rules. The name is judged with the metadata."""
    parent = (obj.get("spec") or {}).get("parentRef")
    if parent is None:
        return [required(_PATH)]
    errors: list[FieldError] = []
    if parent.get("group"):
        errors += invalid_by(validate_subdomain, f"{_PATH}.group", parent["group"])
    for field in ("resource", "name", "namespace"):
        if value := parent.get(field):
            errors += invalid_by(validate_path_segment, f"{_PATH}.{field}", value)
        elif field != "namespace":
            errors.append(required(f"{_PATH}.{field}"))
    return errors


def validate_ip_address_update(obj: Json, old: Json) -> list[FieldError]:
    """An address does not change hands."""
    parent = (obj.get("spec") or {}).get("parentRef") or {}
    errors = validate_ip_address(obj)
    if parent != ((old.get("spec") or {}).get("parentRef") or {}):
        shown = {name: parent.get(name.lower()) or "" for name in ("Group", "Resource", "Namespace", "Name")}
        errors.append(invalid(_PATH, shown, "field is immutable"))
    return errors
