"""How the API server treats Ingresses. The default class is chosen at admission. Rule: spec "service-api" §10."""

from __future__ import annotations

from seaway.api.ingress.validation import (
    CLASS_ANNOTATION,
    validate_ingress,
    validate_ingress_status,
    validate_ingress_update,
)
from seaway.api.machinery.strategy import Json, StatusRule, Strategy
from seaway.api.service.warnings import warn_of_ingress

_STATUS = StatusRule({"loadBalancer": {}})
_DEPRECATED = f"annotation \"{CLASS_ANNOTATION}\" is deprecated, please use 'spec.ingressClassName' instead"


def warnings(obj: Json, old: Json | None) -> list[str]:
    """Of the old annotation, on create."""
    annotations = (obj.get("metadata") or {}).get("annotations") or {}
    has_class = (obj.get("spec") or {}).get("ingressClassName") is not None
    return [_DEPRECATED] if old is None and CLASS_ANNOTATION in annotations and not has_class else []


STRATEGY = Strategy(
    prepare_create=_STATUS.on_create,
    prepare_update=_STATUS.on_update,
    prepare_status_update=_STATUS.on_status_update,
    validate_create=validate_ingress,
    validate_update=validate_ingress_update,
    validate_status_update=validate_ingress_status,
    warnings=warnings,
    status_warnings=lambda obj, old: warn_of_ingress(obj),
    has_generation=True,
)
