"""How the API server treats Namespaces. Deletion and `/finalize` are the server's. Rule: spec "api-machinery" §8.3."""

from __future__ import annotations

from seaway.api.machinery.names import validate_label
from seaway.api.machinery.strategy import Context, Json, Strategy, prepare_status_default

LABEL_NAME = "kubernetes.io/metadata.name"
FINALIZER = "kubernetes"


def default_namespace(obj: Json) -> Json:
    """Every Namespace carries its name as a label; taking it away brings it back. Changes `obj`."""
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
    fields=fields,
    answers_delete_with_object=True,
)
