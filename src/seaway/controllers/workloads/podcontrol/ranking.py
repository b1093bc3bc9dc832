"""Which Pods go first when there are too many. Rule: spec "controllers" §7.4."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime

from seaway.api.pod.types import Pod
from seaway.controllers.workloads.podcontrol.availability import find_ready_time, read_time

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}
_cost = re.compile(r"0|-?[1-9][0-9]{0,9}").fullmatch


def rank_for_deletion(pods: Iterable[Pod], *, per_node: Mapping[str, int], wall_now: datetime) -> tuple[Pod, ...]:
    """The Pods, the first to go first.

    per_node: how many related Pods each node runs. Ages count in powers of two, so that not always the newest goes.
    """
    return tuple(sorted(pods, key=lambda pod: _key(pod, per_node, wall_now)))


def read_deletion_cost(pod: Pod) -> int:
    """The annotation; 0 for one that is absent or no number of 32 bits."""
    text = pod.metadata.annotations.get(DELETION_COST, "")
    return int(text) if _cost(text) and -(2**31) <= int(text) < 2**31 else 0


def _key(pod: Pod, per_node: Mapping[str, int], wall_now: datetime) -> tuple[object, ...]:
    node, ready_since = pod.spec.node_name, find_ready_time(pod)
    return (
        bool(node),
        _PHASES.get(pod.status.phase, 0),
        ready_since is not None,
        read_deletion_cost(pod),
        -per_node.get(node, 0) if node else 0,
        _bucket(ready_since, wall_now),
        -max((status.restart_count for status in pod.status.container_statuses), default=0),
        _bucket(read_time(pod.metadata.creation_timestamp), wall_now),
        pod.metadata.uid,
    )


def _bucket(since: datetime | None, wall_now: datetime) -> int:
    """The age as a power of two; what has none comes first."""
    return -1 if since is None else max(0, int((wall_now - since).total_seconds())).bit_length()
