"""What is wrong with an Event of core/v1. Rule: spec "api-machinery" §12."""

from __future__ import annotations

from seaway.api.machinery.field import FieldError, invalid, required
from seaway.api.machinery.names import invalid_by, validate_qualified_name
from seaway.api.machinery.strategy import Json

_CLUSTER_NAMESPACES = ("default", "kube-system")
_MAX_CHARACTERS = {"reportingInstance": 128, "action": 128, "reason": 128}
_MAX_MESSAGE = 1024


def validate_event(obj: Json, old: Json | None = None) -> list[FieldError]:
    """Create and update alike. With eventTime it is of the newer style, and more must be said."""
    namespace = (obj.get("metadata") or {}).get("namespace") or ""
    about = (obj.get("involvedObject") or {}).get("namespace") or ""
    newer = bool(obj.get("eventTime"))
    if about:
        agrees = newer or about == namespace
    else:
        agrees = namespace in (_CLUSTER_NAMESPACES if newer else ("default",))
    errors: list[FieldError] = []
    if not agrees:
        errors.append(invalid("involvedObject.namespace", about, "does not match event.namespace"))
    return errors + (_validate_newer(obj) if newer else [])


def _validate_newer(obj: Json) -> list[FieldError]:
    errors: list[FieldError] = []
    if component := obj.get("reportingComponent"):
        errors += invalid_by(validate_qualified_name, "reportingController", component)
    else:
        errors.append(required("reportingController"))
    for field, limit in _MAX_CHARACTERS.items():
        value = obj.get(field) or ""
        if not value:
            errors.append(required(field))
        elif len(value) > limit:
            errors.append(invalid(field, value, f"can have at most {limit} characters"))
    message = obj.get("message") or ""
    if len(message) > _MAX_MESSAGE:
        errors.append(invalid("message", message, f"can have at most {_MAX_MESSAGE} characters"))
    return errors
