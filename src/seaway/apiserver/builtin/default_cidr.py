"""The ServiceCIDR `kubernetes`: the ranges that the server was told of, as an object.

Made when it is missing, given its second range when it has only the first, and called ready when nobody has judged it;
never changed otherwise. Allocation goes on by what the object says; that it differs from the flags is said in an Event.
Rule: spec "service-api" §5.5 (default object), "controllers" §8.1.
"""

from __future__ import annotations

from typing import Any

from seaway.api.registry import SERVICE_CIDRS
from seaway.apiserver.builtin.kubernetes_service import ObjectWrite
from seaway.apiserver.builtin.notices import Notice
from seaway.apiserver.config import ServerConfig

Json = dict[str, Any]
NAME = "kubernetes"
REPORTER = "kubernetes-service-cidr-controller"
_ERROR = "KubernetesDefaultServiceCIDRError"
_HEAD: Json = {"kind": "ServiceCIDR", "apiVersion": "networking.k8s.io/v1", "metadata": {"name": NAME}}
_MESSAGE = "Kubernetes default Service CIDR is ready"


def plan_default_cidr(existing: Json | None, config: ServerConfig, *, now: str) -> ObjectWrite | None:
    """The next write, or None when all is as it shall be. existing: as stored. now: for the condition."""
    wanted = list(config.service_cidrs)
    if existing is None:
        return ObjectWrite(SERVICE_CIDRS, "", NAME, {**_HEAD, "spec": {"cidrs": wanted}})
    if existing["metadata"].get("deletionTimestamp"):
        return None
    found = (existing.get("spec") or {}).get("cidrs") or []
    if len(wanted) == 2 and found == wanted[:1]:
        return ObjectWrite(SERVICE_CIDRS, "", NAME, {**existing, "spec": {"cidrs": wanted}})
    if found != wanted:
        return None
    conditions = (existing.get("status") or {}).get("conditions") or []
    if any(c.get("type") == "Ready" and c.get("status") in ("True", "False") for c in conditions):
        return None
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": now, "reason": "", "message": _MESSAGE}
    config_of_status: Json = {**_HEAD, "status": {"conditions": [ready]}}
    return ObjectWrite(SERVICE_CIDRS, "", NAME, config_of_status, subresource="status", applied_by=REPORTER)


def describe_failure(existing: Json | None, write: ObjectWrite, config: ServerConfig, error: Exception) -> Notice:
    """What people should know of a planned write that failed. existing: as it was when the write was planned."""
    if existing is None:
        return _make_notice(write.obj or _HEAD, _ERROR, "The default ServiceCIDR can not be created")
    if write.subresource:
        return _make_notice(existing, _ERROR, "The default ServiceCIDR Status can not be set to Ready=True")
    wanted = config.service_cidrs
    ranges = f"from {wanted[0]} to dual stack [{' '.join(wanted)}]"
    return _make_notice(existing, _ERROR, f"The default ServiceCIDR can not be upgraded {ranges} : {error}")


def find_trouble(existing: Json | None, config: ServerConfig) -> Notice | None:
    """What people should know of the object and no write of ours mends."""
    if existing is None or existing["metadata"].get("deletionTimestamp"):
        return None
    wanted, found = list(config.service_cidrs), (existing.get("spec") or {}).get("cidrs") or []
    if found != wanted:
        shown, flags = f"[{' '.join(found)}]", f"[{' '.join(wanted)}]"
        note = f"The default ServiceCIDR {shown} does not match the controller flag configurations {flags}"
        return _make_notice(existing, "KubernetesDefaultServiceCIDRInconsistent", note)
    for condition in (existing.get("status") or {}).get("conditions") or []:
        if condition.get("type") == "Ready" and condition.get("status") == "False":
            note = f"Configuration matches, but {condition.get('message') or ''}"
            return _make_notice(existing, condition.get("reason") or _ERROR, note)
    return None


def _make_notice(existing: Json, reason: str, note: str) -> Notice:
    uid = existing["metadata"].get("uid") or ""
    return Notice(SERVICE_CIDRS, "", NAME, uid, REPORTER, reason, "", note, is_classic=True)
