"""How the API server treats Pods. Binding and graceful deletion are the server's. Rule: spec "node" §2.1,
"api-machinery" §6.2, §8.1, §9.1."""

from __future__ import annotations

from seaway.api.machinery.strategy import Context, Json, Strategy
from seaway.api.pod.defaults import default_pod
from seaway.api.pod.ephemeral import validate_no_ephemeral_containers
from seaway.api.pod.qos import choose_qos_class
from seaway.api.pod.validation import validate_pod, validate_pod_status, validate_pod_update

_GATED = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "SchedulingGated",
    "message": "Scheduling is blocked due to non-empty scheduling gates",
}


def prepare_create(obj: Json, context: Context) -> Json:
    """Pending, whatever the client says. One that names its node is scheduled already; one with gates says so."""
    obj["status"] = {"phase": "Pending", "qosClass": choose_qos_class(obj["spec"])}
    if obj["spec"].get("nodeName"):
        scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": context.wall_now}
        obj["status"]["conditions"] = [scheduled]
    elif obj["spec"].get("schedulingGates"):
        obj["status"]["conditions"] = [dict(_GATED)]
    return obj


def prepare_update(obj: Json, old: Json, context: Context) -> Json:
    """The status changes only through `/status`."""
    obj["status"] = old.get("status") or {}
    return obj


def prepare_status_update(obj: Json, old: Json, context: Context) -> Json:
    """Owners and the time of the end stay; what an agent does not report (class, observed generations) stays too."""
    meta = {**(obj.get("metadata") or old["metadata"])}
    for field in ("ownerReferences", "deletionTimestamp"):
        meta.pop(field, None)
        if old["metadata"].get(field):
            meta[field] = old["metadata"][field]
    status, before = {**(obj.get("status") or {})}, old.get("status") or {}
    for field in ("qosClass", "observedGeneration"):
        if not status.get(field) and before.get(field):
            status[field] = before[field]
    return {**old, "metadata": meta, "status": status}


def fields(obj: Json) -> dict[str, str]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    addresses = [entry.get("ip") or "" for entry in status.get("podIPs") or ()]
    return {
        "spec.nodeName": spec.get("nodeName") or "",
        "spec.restartPolicy": spec.get("restartPolicy") or "",
        "spec.schedulerName": spec.get("schedulerName") or "",
        "spec.serviceAccountName": spec.get("serviceAccountName") or "",
        "spec.hostNetwork": "true" if spec.get("hostNetwork") else "false",
        "status.phase": status.get("phase") or "",
        "status.podIP": status.get("podIP") or (addresses[0] if addresses else ""),
        "status.podIPs": ",".join(addresses),
        "status.nominatedNodeName": status.get("nominatedNodeName") or "",
    }


STRATEGY = Strategy(
    default=default_pod,
    prepare_create=prepare_create,
    prepare_update=prepare_update,
    prepare_status_update=prepare_status_update,
    validate_create=lambda obj: validate_no_ephemeral_containers(obj) + validate_pod(obj),
    validate_update=validate_pod_update,
    validate_status_update=validate_pod_status,
    fields=fields,
    field_aliases={"spec.host": "spec.nodeName"},
    has_generation=True,
    deletes_gracefully=True,
    answers_delete_with_object=True,
    reset_fields={"status": ("spec", "metadata.deletionTimestamp", "metadata.ownerReferences")},
)
