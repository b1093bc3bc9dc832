"""What is wrong with an Event, by the group that it came through. Events are judged in their stored form.

Rule: spec "api-machinery" §12 (Event). The texts carry core's field names, whatever the group.
"""

from __future__ import annotations

from seaway.api.machinery.field import FieldError, invalid, required
from seaway.api.machinery.names import invalid_by, validate_qualified_name
from seaway.api.machinery.strategy import Json

_CLUSTER_NAMESPACES = ("default", "kube-system")
_MAX_CHARACTERS = {"reportingInstance": 128, "action": 128, "reason": 128}
_MAX_MESSAGE = 1024
_TYPES = ("Normal", "Warning")
_DEPRECATED = ("firstTimestamp", "lastTimestamp", "count", "source")
_IMMUTABLE = (
    "involvedObject", "reason", "message", "source", "firstTimestamp", "lastTimestamp", "count", "type", "eventTime",
    "action", "related", "reportingInstance",
)  # fmt: skip
_IMMUTABLE_TEXT = "field is immutable"
_MIN_SERIES_COUNT = 2


def validate_event(obj: Json, old: Json | None = None, *, controller: str = "reportingComponent") -> list[FieldError]:
    """Through core/v1, create and update alike. With eventTime it is of the newer style, and more must be said.

    controller: what the field of the reporter is called in errors.
    """
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
    return errors + (_validate_newer(obj, controller) if newer else [])


def validate_create_in_group(obj: Json) -> list[FieldError]:
    """Through events.k8s.io only Events of the newer style are made."""
    errors = validate_event(obj, controller="reportingController") + _validate_series(obj)
    if not obj.get("eventTime"):
        errors.append(required("eventTime"))
    if obj.get("type") not in _TYPES:
        errors.append(invalid("type", "", f"has invalid value: {obj.get('type') or ''}"))
    errors += [invalid(name, "", "needs to be unset") for name in _DEPRECATED if obj.get(name)]
    return errors


def validate_update_in_group(obj: Json, old: Json) -> list[FieldError]:
    """Through events.k8s.io only the series and the metadata change."""
    errors = validate_event(obj, controller="reportingController")
    if obj.get("series") != old.get("series"):
        errors += _validate_series(obj)
    errors += [
        invalid(name, obj.get(name), _IMMUTABLE_TEXT)
        for name in _IMMUTABLE
        if (obj.get(name) or None) != (old.get(name) or None)
    ]
    if (obj.get("reportingComponent") or "") != (old.get("reportingComponent") or ""):
        errors.append(invalid("reportingController", obj.get("reportingComponent") or "", _IMMUTABLE_TEXT))
    return errors


def _validate_newer(obj: Json, controller: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if component := obj.get("reportingComponent"):
        errors += invalid_by(validate_qualified_name, controller, component)
    else:
        errors.append(required(controller))
    for field, limit in _MAX_CHARACTERS.items():
        value = obj.get(field) or ""
        if not value:
            errors.append(required(field))
        elif len(value.encode()) > limit:
            errors.append(invalid(field, "", f"can have at most {limit} characters"))
    if len((obj.get("message") or "").encode()) > _MAX_MESSAGE:
        errors.append(invalid("message", "", f"can have at most {_MAX_MESSAGE} characters"))
    return errors


def _validate_series(obj: Json) -> list[FieldError]:
    series = obj.get("series")
    if series is None:
        return []
    errors: list[FieldError] = []
    if (series.get("count") or 0) < _MIN_SERIES_COUNT:
        errors.append(invalid("series.count", "", f"should be at least {_MIN_SERIES_COUNT}"))
    if not series.get("lastObservedTime"):
        errors.append(required("series.lastObservedTime"))
    return errors
