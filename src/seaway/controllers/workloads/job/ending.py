"""What a Pod of a Job says of its end, and how long the next one waits. Rule: upstream's Job."""

from __future__ import annotations

from datetime import datetime

from seaway.api.pod.types import Pod
from seaway.controllers.workloads.podcontrol.availability import read_time

INDEX = "batch.kubernetes.io/job-completion-index"
BACK_OFF_SECONDS, MAX_BACK_OFF_SECONDS = 10.0, 600.0
"""Before a Pod follows one that failed, doubling (upstream's)."""


def find_index(pod: Pod) -> int | None:
    """The Pod's index in an Indexed Job."""
    return find_number(pod, INDEX)


def find_number(pod: Pod, annotation: str) -> int | None:
    """The number that the annotation holds; None for none."""
    text = pod.metadata.annotations.get(annotation, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def ended_at(pod: Pod, wall_now: datetime) -> datetime:
    """When its last container ended; now, where it does not say."""
    times = [s.state.terminated.finished_at for s in pod.status.container_statuses if s.state.terminated is not None]
    found = [at for at in map(read_time, times) if at is not None]
    ready = [read_time(c.last_transition_time) for c in pod.status.conditions if c.type == "Ready"]
    return max(found or [at for at in ready if at is not None], default=wall_now)


def find_delay(failures: int) -> float:
    """The seconds after that many failures in a row, at least one."""
    return min(BACK_OFF_SECONDS * 2.0 ** min(failures - 1, 10), MAX_BACK_OFF_SECONDS)
