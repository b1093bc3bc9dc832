"""How the API server treats Deployments. Rule: spec "api-machinery" §4.2 (generation), §9.1 (status)."""

from __future__ import annotations

from seaway.api.deployment.defaults import default_deployment
from seaway.api.deployment.validation import validate_deployment, validate_deployment_update
from seaway.api.machinery.strategy import Context, Json, StatusRule, Strategy

_STATUS = StatusRule({})


def prepare_status_update(obj: Json, old: Json, context: Context) -> Json:
    """Labels stay, too: controllers choose Deployments by them."""
    obj = _STATUS.on_status_update(obj, old, context)
    meta = {key: value for key, value in obj["metadata"].items() if key != "labels"}
    if labels := old["metadata"].get("labels"):
        meta["labels"] = labels
    return {**obj, "metadata": meta}


def spec_changed(obj: Json, old: Json) -> bool:
    """Annotations count: the controller copies them to its ReplicaSets."""
    annotations, before = (o["metadata"].get("annotations") or {} for o in (obj, old))
    return obj.get("spec") != old.get("spec") or annotations != before


STRATEGY = Strategy(
    default=default_deployment,
    prepare_create=_STATUS.on_create,
    prepare_update=_STATUS.on_update,
    prepare_status_update=prepare_status_update,
    validate_create=validate_deployment,
    validate_update=validate_deployment_update,
    has_generation=True,
    reset_fields={"status": ("spec", "metadata.labels")},
    spec_changed=spec_changed,
)
