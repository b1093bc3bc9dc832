"""When the change happened that a slice is written for: consumers measure their delay from it.

Rule: spec "controllers" §1.13. Times are RFC 3339 in UTC and compare as text.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from seaway.api.pod.types import Pod
from seaway.api.service.types import Service


@dataclass(frozen=True, slots=True)
class TriggerState:
    """What the last sync knew: the creation of the Service, and the last readiness change of each Pod."""

    service_time: str
    pod_times: dict[str, str] = field(default_factory=dict)


def advance_trigger(
    state: TriggerState | None, service: Service, pods: Iterable[Pod]
) -> tuple[TriggerState, str | None]:
    """The state after this sync, and the time of the earliest change since the last; None when none has a time.

    state: None on the first sync of the Service, which dates from its creation. Not modified.
    """
    pod_times = {pod.metadata.name: time for pod in pods if (time := find_ready_time(pod)) is not None}
    after = TriggerState(service.metadata.creation_timestamp, pod_times)
    if state is None:
        return after, after.service_time or None
    changed = [time for name, time in pod_times.items() if time > state.pod_times.get(name, "")]
    if after.service_time > state.service_time:
        changed.append(after.service_time)
    return after, min(changed, default=None)


def find_ready_time(pod: Pod) -> str | None:
    """When the Pod's Ready condition last changed, or None."""
    for condition in pod.status.conditions:
        if condition.type == "Ready":
            return condition.last_transition_time
    return None
