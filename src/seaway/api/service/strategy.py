"""How the API server treats Services. Rule: spec "service-api" §0.1, §0.2, §6."""

from __future__ import annotations

from seaway.api.machinery.names import validate_label
from seaway.api.machinery.strategy import Context, Json, Strategy
from seaway.api.service.defaults import default_service
from seaway.api.service.transition import show_service, wipe_by_type
from seaway.api.service.validation import (
    validate_load_balancer_status,
    validate_service,
    validate_service_update,
)
from seaway.api.service.warnings import warn_of_service, warn_of_service_status


def prepare_create(obj: Json, context: Context) -> Json:
    """The status of a new Service is the server's."""
    obj["status"] = {"loadBalancer": {}}
    return obj


def prepare_update(obj: Json, old: Json, context: Context) -> Json:
    """The status stays; what a change of type leaves without use goes."""
    obj["status"] = old.get("status") or {"loadBalancer": {}}
    wipe_by_type(obj, old)
    return obj


def prepare_status_update(obj: Json, old: Json, context: Context) -> Json:
    """The spec stays; metadata is taken, because load-balancer controllers remove finalizers here."""
    status = {"loadBalancer": {}, **(obj.get("status") or {})}
    return {**old, "metadata": obj.get("metadata", old["metadata"]), "status": status}


def fields(obj: Json) -> dict[str, str]:
    spec = obj.get("spec") or {}
    return {"spec.clusterIP": spec.get("clusterIP") or "", "spec.type": spec.get("type") or ""}


STRATEGY = Strategy(
    default=default_service,
    prepare_create=prepare_create,
    prepare_update=prepare_update,
    prepare_status_update=prepare_status_update,
    validate_name=validate_label,
    validate_create=validate_service,
    validate_update=validate_service_update,
    validate_status_update=validate_load_balancer_status,
    warnings=warn_of_service,
    status_warnings=warn_of_service_status,
    on_read=show_service,
    fields=fields,
    creates_on_update=True,
    answers_delete_with_object=True,
)
