"""Since when a Pod serves. Rule: spec "controllers" §7.4, §7.5 (minReadySeconds)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from seaway.api.pod.types import Pod

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def is_active(pod: Pod) -> bool:
    """It runs or will run: not ended, and not asked to end."""
    return pod.metadata.deletion_timestamp is None and pod.status.phase not in ("Succeeded", "Failed")


def is_terminating(pod: Pod) -> bool:
    """Asked to end, and not ended yet."""
    return pod.metadata.deletion_timestamp is not None and pod.status.phase not in ("Succeeded", "Failed")


def find_ready_time(pod: Pod) -> datetime | None:
    """Since when it is ready; None while it is not."""
    for condition in pod.status.conditions:
        if condition.type == "Ready" and condition.status == "True":
            return read_time(condition.last_transition_time) or _EPOCH
    return None


def is_available(pod: Pod, min_ready_seconds: int, wall_now: datetime) -> bool:
    """It has been ready for that long."""
    since = find_ready_time(pod)
    return since is not None and (not min_ready_seconds or (wall_now - since).total_seconds() >= min_ready_seconds)


def find_next_availability(pods: Iterable[Pod], min_ready_seconds: int, wall_now: datetime) -> float | None:
    """The seconds until the next ready Pod becomes available; None when none is waited for."""
    waits = [
        min_ready_seconds - (wall_now - since).total_seconds()
        for since in map(find_ready_time, pods)
        if since is not None
    ]
    return min((wait for wait in waits if wait > 0), default=None) if min_ready_seconds else None


def read_time(text: str | None) -> datetime | None:
    """A time of the wire."""
    return datetime.fromisoformat(text) if text else None


def format_time(moment: datetime) -> str:
    """As the wire writes times: UTC, whole seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
