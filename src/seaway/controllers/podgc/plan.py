"""Which Pods nobody will ever finish, and which nobody will miss.

Rule: spec "controllers" §6.2 (Pod GC, a to d).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from seaway.api.machinery.meta import object_key
from seaway.api.node.types import Node
from seaway.api.pod.types import Pod
from seaway.controllers.taints import OUT_OF_SERVICE

Json = dict[str, Any]
QUARANTINE_SECONDS = 40.0
"""Between a node not being there and its Pods being ended: it may register again."""
ORPHANED_CONDITION = {
    "type": "DisruptionTarget",
    "status": "True",
    "reason": "DeletionByPodGC",
    "message": "PodGC: node no longer exists",
}
_ENDED = ("Succeeded", "Failed")
_EVICTED = "Evicted"


class Why(Enum):
    """Why a Pod goes, in the order in which they are judged."""

    TERMINATED = "terminated"
    OUT_OF_SERVICE = "node is out of service"
    ORPHANED = "node no longer exists"
    NEVER_SCHEDULED = "terminating and never scheduled"


@dataclass(frozen=True, slots=True, order=True)
class Removal:
    """The Pod (by key) goes at once."""

    pod: str
    uid: str
    why: str


def plan_removals(
    pods: Iterable[Pod], nodes: Mapping[str, Node], *, gone: Collection[str], threshold: int
) -> tuple[Removal, ...]:
    """The Pods that go, sorted.

    pods: those that lie on a node of `gone`, and all that are leaving. nodes: by name.
    gone: nodes that have been missing for long enough, and that the server does not have either.
    threshold: so many ended Pods may stay, 0 for any number.
    """
    found: dict[str, Removal] = {}
    listed = list(pods)
    for why, chosen in (
        (Why.TERMINATED, choose_terminated(listed, threshold)),
        (Why.OUT_OF_SERVICE, [pod for pod in listed if _is_out_of_service(pod, nodes)]),
        (Why.ORPHANED, [pod for pod in listed if pod.spec.node_name in gone]),
        (Why.NEVER_SCHEDULED, [pod for pod in listed if _is_ending(pod) and not pod.spec.node_name]),
    ):
        for pod in chosen:
            key = object_key(pod.metadata)
            found.setdefault(key, Removal(key, pod.metadata.uid, why.value))
    return tuple(sorted(found.values()))


def choose_terminated(pods: Iterable[Pod], threshold: int) -> list[Pod]:
    """The ended Pods beyond the threshold: evicted ones first, then the oldest."""
    ended = [pod for pod in pods if pod.status.phase in _ENDED]
    if threshold <= 0 or len(ended) <= threshold:
        return []
    ended.sort(key=lambda pod: (not _was_evicted(pod), pod.metadata.creation_timestamp, object_key(pod.metadata)))
    return ended[: len(ended) - threshold]


def is_leaving(pod: Pod) -> bool:
    """The Pod has ended, or is to: others are removed only with their node."""
    return pod.status.phase in _ENDED or _is_ending(pod)


def find_missing(named: Iterable[str], nodes: Collection[str]) -> frozenset[str]:
    """The nodes that Pods name and that are not there."""
    return frozenset(named) - frozenset(nodes)


def plan_end(pod: Mapping[str, Any], why: str, wall_now: str) -> Json | None:
    """The patch of a Pod that goes: Failed, unless it has ended, and with the reason when its node is gone. Or None."""
    status = pod.get("status") or {}
    if status.get("phase") in _ENDED:
        return None
    patch: Json = {"phase": "Failed"}
    if why == Why.ORPHANED.value:
        patch["conditions"] = [{**ORPHANED_CONDITION, "lastTransitionTime": wall_now}]
    return {"metadata": {"uid": pod["metadata"]["uid"]}, "status": patch}


def _was_evicted(pod: Pod) -> bool:
    return pod.status.phase == "Failed" and pod.status.reason == _EVICTED


def _is_ending(pod: Pod) -> bool:
    return pod.metadata.deletion_timestamp is not None


def _is_out_of_service(pod: Pod, nodes: Mapping[str, Node]) -> bool:
    node = nodes.get(pod.spec.node_name)
    if node is None or not _is_ending(pod) or node.is_ready:
        return False
    return any(taint.key == OUT_OF_SERVICE for taint in node.spec.taints)
