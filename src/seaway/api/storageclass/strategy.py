"""How the API server treats StorageClasses: what makes volumes does not change. Rule: upstream's storage/v1 rules."""

from __future__ import annotations

from seaway.api.machinery.field import FieldError, forbidden, invalid, not_supported, required, too_long
from seaway.api.machinery.names import validate_qualified_name
from seaway.api.machinery.strategy import Json, Strategy

RECLAIM_POLICIES = ("Delete", "Retain")
BINDING_MODES = ("Immediate", "WaitForFirstConsumer")
MAX_PARAMETERS = 512
MAX_PARAMETER_BYTES = 256 * 1024
_FIXED = ("parameters", "provisioner", "reclaimPolicy")


def default_class(obj: Json) -> Json:
    """Volumes are made at once, and go with their claims. Changes `obj`."""
    obj.setdefault("reclaimPolicy", "Delete")
    obj.setdefault("volumeBindingMode", "Immediate")
    return obj


def validate_class(obj: Json) -> list[FieldError]:
    """The create rules."""
    provisioner = obj.get("provisioner") or ""
    errors = [] if provisioner else [required("provisioner")]
    if provisioner:
        errors += [invalid("provisioner", provisioner, text) for text in validate_qualified_name(provisioner.lower())]
    errors += _validate_parameters(obj.get("parameters") or {})
    for field, known in (("reclaimPolicy", RECLAIM_POLICIES), ("volumeBindingMode", BINDING_MODES)):
        value = obj.get(field)
        if value is None:
            errors.append(required(field))
        elif value not in known:
            errors.append(not_supported(field, value, known))
    return errors


def validate_class_update(obj: Json, old: Json) -> list[FieldError]:
    """The create rules, and nothing that volumes were made by changes."""
    errors = validate_class(obj)
    errors += [
        forbidden(field, f"updates to {field} are forbidden.")
        for field in _FIXED
        if (obj.get(field) or None) != (old.get(field) or None)
    ]
    mode = obj.get("volumeBindingMode")
    if mode != old.get("volumeBindingMode"):
        errors.append(invalid("volumeBindingMode", mode, "field is immutable"))
    return errors


def _validate_parameters(parameters: dict[str, str]) -> list[FieldError]:
    errors: list[FieldError] = []
    if len(parameters) > MAX_PARAMETERS:
        errors.append(too_long("parameters", MAX_PARAMETERS))
    if "" in parameters:
        errors.append(invalid("parameters", "", "field can not be empty."))
    if sum(len(k.encode()) + len(v.encode()) for k, v in parameters.items()) > MAX_PARAMETER_BYTES:
        errors.append(too_long("parameters", MAX_PARAMETER_BYTES))
    return errors


STRATEGY = Strategy(default=default_class, validate_create=validate_class, validate_update=validate_class_update)
