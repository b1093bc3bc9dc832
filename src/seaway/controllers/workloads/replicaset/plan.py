"""How many Pods to make, which to remove, and what the status says. Rule: spec "controllers" §7.4."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from seaway.api.pod.types import Pod
from seaway.controllers.workloads.conditions import drop_condition, drop_zeros, find_condition
from seaway.controllers.workloads.podcontrol.availability import (
    find_next_availability,
    format_time,
    is_active,
    is_available,
    is_terminating,
)
from seaway.controllers.workloads.podcontrol.ranking import rank_for_deletion

Json = dict[str, Any]
BURST_REPLICAS = 500
"""At most this many are made or removed in one sync (upstream's)."""
REPLICA_FAILURE = "ReplicaFailure"


@dataclass(frozen=True, slots=True)
class ReplicaPlan:
    """`create`: how many. `delete`: in the order in which they should go. Never both."""

    create: int = 0
    delete: tuple[Pod, ...] = ()


def plan_replicas(owner: Json, pods: Iterable[Pod], related: Iterable[Pod], *, wall_now: datetime) -> ReplicaPlan:
    """What brings the owner to its count.

    pods: the owner's, any order. related: those whose places count, its own and its siblings'. Neither is modified.
    """
    if owner["metadata"].get("deletionTimestamp"):
        return ReplicaPlan()
    active = [pod for pod in pods if is_active(pod)]
    missing = int(owner["spec"].get("replicas") or 0) - len(active)
    if missing >= 0:
        return ReplicaPlan(create=min(missing, BURST_REPLICAS))
    per_node = Counter(pod.spec.node_name for pod in related if is_active(pod) and pod.spec.node_name)
    ranked = rank_for_deletion(active, per_node=per_node, wall_now=wall_now)
    return ReplicaPlan(delete=ranked[: min(-missing, BURST_REPLICAS)])


@dataclass(frozen=True, slots=True)
class StatusPlan:
    """The status as it should be, and when it will be another one though nothing happens."""

    status: Json
    requeue_after_seconds: float | None = None


def plan_status(
    owner: Json, pods: Sequence[Pod], *, failure: tuple[str, str] | None, counts_terminating: bool, wall_now: datetime
) -> StatusPlan:
    """What the status says of these Pods.

    failure: the reason and message of what was refused just now. counts_terminating: the kind has such a field.
    """
    spec, status = owner["spec"], owner.get("status") or {}
    wanted = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    min_ready = int(spec.get("minReadySeconds") or 0)
    active = [pod for pod in pods if is_active(pod)]
    counts: Json = {
        "replicas": len(active),
        "fullyLabeledReplicas": sum(wanted.items() <= pod.metadata.labels.items() for pod in active),
        "readyReplicas": sum(pod.is_ready for pod in active),
        "availableReplicas": sum(is_available(pod, min_ready, wall_now) for pod in active),
        "observedGeneration": max(
            int(owner["metadata"].get("generation") or 0), int(status.get("observedGeneration") or 0)
        ),
        "conditions": _plan_conditions(status.get("conditions") or (), failure, wall_now),
    }
    if counts_terminating:
        counts["terminatingReplicas"] = sum(map(is_terminating, pods))
    return StatusPlan(
        drop_zeros(counts, ("replicas", "terminatingReplicas")), find_next_availability(active, min_ready, wall_now)
    )


def _plan_conditions(conditions: Sequence[Json], failure: tuple[str, str] | None, wall_now: datetime) -> list[Json]:
    """The first refusal stays until one sync goes well."""
    if failure is None:
        return drop_condition(conditions, REPLICA_FAILURE)
    if find_condition(conditions, REPLICA_FAILURE):
        return list(conditions)
    reason, message = failure
    time = format_time(wall_now)
    return [
        *conditions,
        {"type": REPLICA_FAILURE, "status": "True", "lastTransitionTime": time, "reason": reason, "message": message},
    ]
