"""What is wrong with a PersistentVolumeClaim. Rule: upstream's core/v1 validation, without data sources."""

from __future__ import annotations

from seaway.api.machinery.field import FieldError, forbidden, invalid, not_supported, required
from seaway.api.machinery.labelselectors import validate_label_selector
from seaway.api.machinery.names import invalid_by, validate_subdomain
from seaway.api.machinery.scalars import measure_quantity
from seaway.api.machinery.strategy import Json
from seaway.api.persistentvolume.validation import POSITIVE_TEXT, validate_access_modes, validate_volume_mode
from seaway.api.workload.validation import list_changes

_FREE = ("resources", "volumeAttributesClassName", "dataSource", "dataSourceRef")
_FIXED_TEXT = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
)


def validate_claim(obj: Json) -> list[FieldError]:
    """The create rules."""
    spec = obj.get("spec") or {}
    errors = validate_access_modes(spec)
    errors += validate_label_selector(spec.get("selector"), "spec.selector")
    storage = _requested(spec)
    if storage is None:
        errors.append(required("spec.resources[storage]"))
    elif measure_quantity(storage) <= 0:
        errors.append(invalid("spec.resources[storage]", storage, POSITIVE_TEXT))
    for field in ("storageClassName", "volumeAttributesClassName"):
        if name := spec.get(field):
            errors += invalid_by(validate_subdomain, f"spec.{field}", name)
    return errors + validate_volume_mode(spec)


def validate_claim_update(obj: Json, old: Json) -> list[FieldError]:
    """A claim may ask for more once it has a volume; until then a volume may be named. Else it stays."""
    errors = validate_claim(obj)
    spec, before = obj.get("spec") or {}, old.get("spec") or {}
    free = _FREE if before.get("volumeName") else (*_FREE, "volumeName")
    resources, had = spec.get("resources") or {}, before.get("resources") or {}
    if list_changes(spec, before, free) or (not before.get("volumeName") and resources != had):
        errors.append(forbidden("spec", _FIXED_TEXT))
    status = (old.get("status") or {}).get("capacity") or {}
    wanted, given = _requested(spec), status.get("storage")
    if wanted is not None and given is not None and measure_quantity(wanted) < measure_quantity(given):
        text = "field can not be less than status.capacity"
        errors.append(forbidden("spec.resources.requests.storage", text))
    return errors


def validate_claim_status(obj: Json, old: Json) -> list[FieldError]:
    """A phase is one of three."""
    phase = (obj.get("status") or {}).get("phase")
    known = ("Bound", "Lost", "Pending")
    return [] if phase in (None, "", *known) else [not_supported("status.phase", phase, known)]


def _requested(spec: Json) -> str | None:
    found: str | None = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    return found
