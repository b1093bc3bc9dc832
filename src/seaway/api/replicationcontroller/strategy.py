"""How the API server treats ReplicationControllers. Rule: spec "api-machinery" §6.2 (fields), §8.1 (orphans)."""

from __future__ import annotations

from seaway.api.machinery.strategy import Context, Json, StatusRule, Strategy
from seaway.api.pod.defaults import default_pod_template
from seaway.api.replicaset.validation import validate_replica_status
from seaway.api.replicationcontroller.validation import validate_replication_controller

_STATUS = StatusRule({"replicas": 0})


def default_replication_controller(obj: Json) -> Json:
    """One replica; without a selector or labels of its own it takes the template's. Changes `obj`."""
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    template = spec.get("template")
    if template is None:
        return obj
    default_pod_template(template)
    if labels := (template.get("metadata") or {}).get("labels"):
        if not spec.get("selector"):
            spec["selector"] = {**labels}
        meta = obj.setdefault("metadata", {})
        if not meta.get("labels"):
            meta["labels"] = {**labels}
    return obj


def prepare_status_update(obj: Json, old: Json, context: Context) -> Json:
    """Labels that the status leaves out are the template's again."""
    return default_replication_controller(_STATUS.on_status_update(obj, old, context))


def fields(obj: Json) -> dict[str, str]:
    return {"status.replicas": str((obj.get("status") or {}).get("replicas") or 0)}


STRATEGY = Strategy(
    default=default_replication_controller,
    prepare_create=_STATUS.on_create,
    prepare_update=_STATUS.on_update,
    prepare_status_update=prepare_status_update,
    validate_create=validate_replication_controller,
    validate_update=validate_replication_controller,
    validate_status_update=validate_replica_status,
    fields=fields,
    has_generation=True,
    orphans_dependents=True,
)
