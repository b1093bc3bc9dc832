"""How the API server treats Events. Rule: spec "api-machinery" §6.2, §12."""

from __future__ import annotations

from seaway.api.event.defaults import default_event
from seaway.api.event.validation import validate_event
from seaway.api.machinery.strategy import Json, Strategy

OBJECT_FIELDS = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")


def fields(obj: Json) -> dict[str, str]:
    """`source` is the reporting component of either style."""
    about = obj.get("involvedObject") or {}
    component = obj.get("reportingComponent") or ""
    selectable = {f"involvedObject.{name}": about.get(name) or "" for name in OBJECT_FIELDS}
    return selectable | {
        "reason": obj.get("reason") or "",
        "reportingComponent": component,
        "source": (obj.get("source") or {}).get("component") or component,
        "type": obj.get("type") or "",
    }


STRATEGY = Strategy(
    default=default_event,
    validate_create=validate_event,
    validate_update=validate_event,
    fields=fields,
    creates_on_update=True,
    has_dependents=False,
)
