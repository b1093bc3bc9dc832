"""The liveness of a node, by its heartbeats, and the writes when it is lost.

A heartbeat is seen when the Lease's renew time or the Ready condition's heartbeat time changes; when that was is told
by this controller's clock, so the clocks of the nodes do not matter.

Rule: spec "controllers" §6.1, §6.2 (steps 1 to 3).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from seaway.api.lease.types import Lease
from seaway.api.node.types import Node
from seaway.api.pod.types import Pod

LEASE_NAMESPACE = "kube-node-lease"
STARTUP_GRACE_SECONDS = 60.0
"""For a node that has never reported a Ready condition (upstream's `--node-startup-grace-period`)."""

_WATCHED_CONDITIONS = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The last sign of life of a node, and when it was noticed. `seen_at` is monotonic seconds."""

    renew_time: str | None
    condition_time: str | None
    seen_at: float


def observe(last: Heartbeat | None, node: Node, lease: Lease | None, now: float) -> Heartbeat:
    """The last heartbeat, with what the node and its lease show now; the same value when nothing is new."""
    renew_time = lease.spec.renew_time if lease is not None else None
    times = [c.last_heartbeat_time for c in node.status.conditions if c.type == "Ready"]
    condition_time = times[0] if times else None
    if last is not None and (last.renew_time, last.condition_time) == (renew_time, condition_time):
        return last
    return Heartbeat(renew_time, condition_time, now)


def choose_deadline(heartbeat: Heartbeat, node: Node, *, grace_seconds: float, watching_since: float) -> float:
    """When the node counts as lost, unless another heartbeat is seen before.

    watching_since: while the server was away nobody could renew a lease, so nobody's grace ran out then.
    """
    has_reported = any(c.type == "Ready" for c in node.status.conditions)
    since = max(heartbeat.seen_at, watching_since)
    return since + (grace_seconds if has_reported else max(grace_seconds, STARTUP_GRACE_SECONDS))


def plan_lost_node(node: Mapping[str, Any], wall_now: str) -> Json | None:
    """The status of a lost node: its conditions are Unknown. None when they already are. node is not modified."""
    conditions = [dict(c) for c in node.get("status", {}).get("conditions", ())]
    created = node["metadata"].get("creationTimestamp")
    is_changed = False
    for kind in _WATCHED_CONDITIONS:
        condition = next((c for c in conditions if c.get("type") == kind), None)
        if condition is None:
            condition = {"type": kind, "lastHeartbeatTime": created}
            reason, message = "NodeStatusNeverUpdated", "Kubelet never posted node status."
            conditions.append(condition)
        else:
            reason, message = "NodeStatusUnknown", "Kubelet stopped posting node status."
        if condition.get("status") != "Unknown":
            condition |= {"status": "Unknown", "reason": reason, "message": message, "lastTransitionTime": wall_now}
            is_changed = True
    return {**node.get("status", {}), "conditions": conditions} if is_changed else None


def was_ready(node: Mapping[str, Any]) -> bool:
    """The node said that it was ready."""
    conditions = node.get("status", {}).get("conditions", ())
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def choose_lost_pods(pods: Iterable[Pod]) -> tuple[str, ...]:
    """The keys of a lost node's Pods that still claim to be ready, sorted."""
    return tuple(sorted(f"{p.metadata.namespace}/{p.metadata.name}" for p in pods if p.is_ready))


def plan_lost_pod(pod: Mapping[str, Any], wall_now: str) -> Json | None:
    """The status of a Pod on a lost node: not ready, for the reason that it had. None when it is so. Not modified."""
    conditions = [dict(c) for c in pod.get("status", {}).get("conditions", ())]
    ready = next((c for c in conditions if c.get("type") == "Ready"), None)
    if ready is None or ready.get("status") == "False":
        return None
    ready |= {"status": "False", "lastTransitionTime": wall_now}
    return {**pod["status"], "conditions": conditions}
