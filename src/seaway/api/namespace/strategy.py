"""How the API server treats Namespaces. Deletion and `/finalize` are the server's. Rule: spec "api-machinery" §8.3."""

from __future__ import annotations

from dataclasses import replace

from seaway.api.machinery.field import FieldError, invalid
from seaway.api.machinery.names import validate_label
from seaway.api.machinery.objectmeta import validate_finalizers
from seaway.api.machinery.strategy import Context, Json, Strategy, prepare_status_default

LABEL_NAME = "kubernetes.io/metadata.name"
FINALIZER = "kubernetes"


def default_namespace(obj: Json) -> Json:
    """Every Namespace carries its name as a label; taking it away brings it back. Changes `obj`."""
    obj["status"] = {"phase": "Active", **(obj.get("status") or {})}
    meta = obj.setdefault("metadata", {})
    if meta.get("name"):
        meta["labels"] = {**(meta.get("labels") or {}), LABEL_NAME: meta["name"]}
    return obj


def prepare_create(obj: Json, context: Context) -> Json:
    """Active, and held by the finalizer that empties it. A generated name is known only now."""
    finalizers = list((obj.get("spec") or {}).get("finalizers") or ())
    if FINALIZER not in finalizers:
        finalizers.append(FINALIZER)
    obj["spec"] = {"finalizers": finalizers}
    obj["status"] = {"phase": "Active"}
    return default_namespace(obj)


def prepare_update(obj: Json, old: Json, context: Context) -> Json:
    """Neither the finalizers of the spec nor the status change here."""
    for field in ("spec", "status"):
        obj[field] = old.get(field) or {}
    return obj


def validate_namespace(obj: Json) -> list[FieldError]:
    """The finalizers of the spec have the names that those of metadata have."""
    finalizers = (obj.get("spec") or {}).get("finalizers") or ()
    return [
        replace(error, path=error.path.replace("metadata.", "spec.", 1)) for error in validate_finalizers(finalizers)
    ]


def validate_namespace_status(obj: Json, old: Json) -> list[FieldError]:
    """The phase says whether it is being deleted."""
    phase = (obj.get("status") or {}).get("phase") or ""
    is_deleting = bool(obj["metadata"].get("deletionTimestamp"))
    if is_deleting and phase != "Terminating":
        return [invalid("status.Phase", phase, "may only be 'Terminating' if 'deletionTimestamp' is not empty")]
    if not is_deleting and phase != "Active":
        return [invalid("status.Phase", phase, "may only be 'Active' if 'deletionTimestamp' is empty")]
    return []


def prepare_status_update(obj: Json, old: Json, context: Context) -> Json:
    return default_namespace(prepare_status_default(obj, old, context))


def fields(obj: Json) -> dict[str, str]:
    return {"status.phase": (obj.get("status") or {}).get("phase") or ""}


STRATEGY = Strategy(
    default=default_namespace,
    prepare_create=prepare_create,
    prepare_update=prepare_update,
    prepare_status_update=prepare_status_update,
    validate_name=validate_label,
    validate_create=validate_namespace,
    validate_status_update=validate_namespace_status,
    fields=fields,
    answers_delete_with_object=True,
)
