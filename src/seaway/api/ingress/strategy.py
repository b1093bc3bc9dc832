"""How the API server treats Ingresses. The default class is chosen at admission. Rule: spec "service-api" §10."""

from __future__ import annotations

from seaway.api.ingress.validation import (
    CLASS_ANNOTATION,
    validate_ingress,
    validate_ingress_status,
    validate_ingress_update,
)
from seaway.api.machinery.addresses import warn_of_ip
from seaway.api.machinery.strategy import Json, StatusRule, Strategy

_STATUS = StatusRule({"loadBalancer": {}})
_DEPRECATED = f"annotation \"{CLASS_ANNOTATION}\" is deprecated, please use 'spec.ingressClassName' instead"


def warnings(obj: Json, old: Json | None) -> list[str]:
    """Of the old annotation on create, and of oddly spelt addresses."""
    annotations = (obj.get("metadata") or {}).get("annotations") or {}
    found: list[str] = []
    if old is None and CLASS_ANNOTATION in annotations and (obj.get("spec") or {}).get("ingressClassName") is None:
        found.append(_DEPRECATED)
    entries = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    for index, entry in enumerate(entries):
        if ip := entry.get("ip"):
            found += warn_of_ip(f"status.loadBalancer.ingress[{index}].ip", ip)
    return found


STRATEGY = Strategy(
    prepare_create=_STATUS.on_create,
    prepare_update=_STATUS.on_update,
    prepare_status_update=_STATUS.on_status_update,
    validate_create=validate_ingress,
    validate_update=validate_ingress_update,
    validate_status_update=validate_ingress_status,
    warnings=warnings,
    has_generation=True,
)
