"""When connections of a Service with `seaway.dev/max-connection-age` end: a state machine with an explicit clock.

A client that keeps one connection for ever (gRPC above all) stays with the endpoint that it got, whoever comes later.
So a connection has an age, and ends in three steps:

    young  --(age, give or take a tenth)-->  ripe  --(a quiet moment, or GRACE later)-->  finishing  --(LINGER)-->  gone

1. A ripe connection is looked at every QUIET_SECONDS, and finishes if no byte moved since the last look: a call under
   way is not cut in two.
2. Finishing is a FIN to both ends, after what the proxy still holds for them; a gRPC or HTTP client takes it as a
   reason to connect anew. What comes afterwards is thrown away.
3. What is still there after LINGER_SECONDS is closed.
The age of a connection is drawn when it begins; another value of the annotation counts for new connections.
Rule: issue of the userspace plane, part 3; jitter and grace as gRPC's own MaxConnectionAge (gRFC A9) has them.
"""

from __future__ import annotations

import enum
import heapq
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

JITTER = 0.1
QUIET_SECONDS = 1.0
GRACE_SECONDS = 30.0
LINGER_SECONDS = 10.0
_SPARE = 64

K = TypeVar("K", bound=Hashable)


class Step(enum.Enum):
    """What is to be done with a connection."""

    FINISH = "tell both ends that nothing more comes"
    CLOSE = "close it"


@dataclass(slots=True)
class _Life:
    due: float
    finish_by: float
    seen: int = -1
    """Bytes that had moved at the last look; below 0: there was none."""
    is_finishing: bool = False


class Ageing(Generic[K]):
    """The connections that have an age. `now` is monotonic seconds and never goes back."""

    def __init__(self) -> None:
        self._lives: dict[K, _Life] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._serial = 0

    def __len__(self) -> int:
        return len(self._lives)

    def open(self, connection: K, age_seconds: float, now: float, *, draw: float) -> None:
        """It begins now. draw: from 0 to 1, by which its age is drawn. Raises ValueError if it is there already."""
        if connection in self._lives:
            raise ValueError(f"{connection}: begins for the second time")
        ripe_at = now + age_seconds * (1 - JITTER + 2 * JITTER * draw)
        self._lives[connection] = _Life(ripe_at, ripe_at + GRACE_SECONDS)
        self._push(connection, ripe_at)

    def close(self, connection: K) -> None:
        """It has ended, by itself or by us; one without an age changes nothing."""
        if self._lives.pop(connection, None) is not None and len(self._heap) > 2 * len(self._lives) + _SPARE:
            self._heap = [entry for entry in self._heap if self._is_current(entry)]
            heapq.heapify(self._heap)

    def next_deadline(self) -> float | None:
        """When to ask for what is due; None: never."""
        while self._heap and not self._is_current(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take_due(self, now: float, moved: Callable[[K], int]) -> list[tuple[K, Step]]:
        """What is to be done now, the earliest first. moved: how many bytes went through the connection so far.

        One that is to be closed is forgotten.
        """
        steps: list[tuple[K, Step]] = []
        while (due := self.next_deadline()) is not None and due <= now:
            connection = heapq.heappop(self._heap)[2]
            life = self._lives[connection]
            if life.is_finishing:
                del self._lives[connection]
                steps.append((connection, Step.CLOSE))
                continue
            count = moved(connection)
            if count == life.seen or now >= life.finish_by:
                life.is_finishing = True
                life.due = now + LINGER_SECONDS
                steps.append((connection, Step.FINISH))
            else:
                life.seen = count
                life.due = min(now + QUIET_SECONDS, max(now, life.finish_by))
            self._push(connection, life.due)
        return steps

    def _push(self, connection: K, due: float) -> None:
        self._serial += 1
        heapq.heappush(self._heap, (due, self._serial, connection))

    def _is_current(self, entry: tuple[float, int, K]) -> bool:
        life = self._lives.get(entry[2])
        return life is not None and life.due == entry[0]
