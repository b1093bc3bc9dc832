"""The ServiceCIDR `kubernetes`: the ranges that the server was told of, as an object.

Made when it is missing, given its second range when it has only the first, and called ready when nobody has judged it;
never changed otherwise. Allocation goes on by the server's own ranges. Left out: the Events about a mismatch.
Rule: spec "service-api" §5.5 (default object).
"""

from __future__ import annotations

from typing import Any

from seaway.api.registry import SERVICE_CIDRS
from seaway.apiserver.builtin.kubernetes_service import ObjectWrite
from seaway.apiserver.config import ServerConfig

Json = dict[str, Any]
NAME = "kubernetes"
_MESSAGE = "Kubernetes default Service CIDR is ready"


def plan_default_cidr(existing: Json | None, config: ServerConfig, *, now: str) -> ObjectWrite | None:
    """The next write, or None when all is as it shall be. existing: as stored. now: for the condition."""
    wanted = list(config.service_cidrs)
    if existing is None:
        head: Json = {"kind": "ServiceCIDR", "apiVersion": "networking.k8s.io/v1", "metadata": {"name": NAME}}
        return ObjectWrite(SERVICE_CIDRS, "", NAME, {**head, "spec": {"cidrs": wanted}})
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
    others = [c for c in conditions if c.get("type") != "Ready"]
    status = {**(existing.get("status") or {}), "conditions": [*others, ready]}
    return ObjectWrite(SERVICE_CIDRS, "", NAME, {**existing, "status": status}, subresource="status")
