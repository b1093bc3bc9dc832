"""When the change happened that a slice is written for: consumers measure their delay from it.

Rule: spec "controllers" §1.13. Times are RFC 3339 in UTC and compare as text.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from seaway.api.pod.types import Pod
from seaway.api.service.types import Service


@dataclass(frozen=True, slots=True)
class TriggerState:
    """What the last sync knew: the creation of the Service, and the last readiness change of each Pod.

    The times are read at each sync of the Service, and lie there packed: there is one for every Pod of the cluster.
    """

    service_time: str
    packed_times: bytes

    @classmethod
    def of(cls, service_time: str, pod_times: dict[str, str]) -> TriggerState:
        """pod_times: by the Pod's name."""
        deflate = zlib.compressobj(1, zlib.DEFLATED, _WINDOW_BITS, _MEMORY_LEVEL)
        return cls(service_time, deflate.compress(_encode_times(pod_times)) + deflate.flush())

    @property
    def pod_times(self) -> dict[str, str]:
        """By the Pod's name; made anew."""
        return _decode_times(zlib.decompressobj(_WINDOW_BITS).decompress(self.packed_times))


_WINDOW_BITS, _MEMORY_LEVEL = -12, 4
"""Raw deflate with a small window: most of the time goes into setting up a large one."""
_encode_times = msgspec.msgpack.Encoder().encode
_decode_times = msgspec.msgpack.Decoder(dict[str, str]).decode


def advance_trigger(
    state: TriggerState | None, service: Service, pods: Iterable[Pod]
) -> tuple[TriggerState, str | None]:
    """The state after this sync, and the time of the earliest change since the last; None when none has a time.

    state: None on the first sync of the Service, which dates from its creation. Not modified.
    """
    pod_times = {pod.metadata.name: time for pod in pods if (time := find_ready_time(pod)) is not None}
    service_time = service.metadata.creation_timestamp
    if state is None:
        return TriggerState.of(service_time, pod_times), service_time or None
    known = state.pod_times
    if known == pod_times and state.service_time == service_time:
        return state, None
    after = TriggerState.of(service_time, pod_times)
    changed = [time for name, time in pod_times.items() if time > known.get(name, "")]
    if after.service_time > state.service_time:
        changed.append(after.service_time)
    return after, min(changed, default=None)


def find_ready_time(pod: Pod) -> str | None:
    """When the Pod's Ready condition last changed, or None."""
    for condition in pod.status.conditions:
        if condition.type == "Ready":
            return condition.last_transition_time
    return None
