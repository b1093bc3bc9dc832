"""How the API server treats PodTemplates. Rule: spec "api-machinery" trap 4 (deletes)."""

from __future__ import annotations

from seaway.api.machinery.field import FieldError
from seaway.api.machinery.strategy import Json, Strategy
from seaway.api.pod.defaults import default_pod_template
from seaway.api.pod.validation import validate_pod_template


def default_template(obj: Json) -> Json:
    """Changes `obj`."""
    default_pod_template(obj.setdefault("template", {}))
    return obj


def validate_template(obj: Json, old: Json | None = None) -> list[FieldError]:
    """Create and update alike."""
    return validate_pod_template(obj.get("template") or {}, "template")


def template_changed(obj: Json, old: Json) -> bool:
    return obj.get("template") != old.get("template")


STRATEGY = Strategy(
    default=default_template,
    validate_create=validate_template,
    validate_update=validate_template,
    has_generation=True,
    spec_changed=template_changed,
    answers_delete_with_object=True,
)
