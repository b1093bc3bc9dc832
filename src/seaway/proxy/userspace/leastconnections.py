"""Who has the fewest connections, by weight: exact, in time that grows with the logarithm of the endpoints.

Chosen is the endpoint for which (connections + 1) / weight is the least; of those that are alike, the one that was
chosen longest ago, so that idle endpoints take turns. A heap holds an entry for every endpoint; a change adds another,
and what an entry says that is no longer so is dropped when it comes to the top.
The quotients are floats: of whole numbers below 2**26 two that are equal divide to the same float, and two that differ
to different ones, so that no rounding decides.
Rule: issue of the userspace plane, part 3; as haproxy's `leastconn` and nginx's `least_conn` count.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence

from seaway.proxy.forwarding import Target

_Entry = tuple[float, int, Target]
_SPARE = 64
"""Entries that the heap may have beyond four for each endpoint before it is made anew."""


class LeastConnections:
    """Connections by endpoint, and the choice among the endpoints of one list."""

    def __init__(self, endpoints: Iterable[Target] = (), *, pick: Callable[[int], int] = lambda bound: 0) -> None:
        """endpoints: each as often as its weight says. pick(n): a number below n; who comes first of the idle."""
        self._pick = pick
        self._weights: Counter[Target] = Counter()
        self._open: Counter[Target] = Counter()
        self._turn = 0
        self._last: dict[Target, int] = {}
        self._heap: list[_Entry] = []
        self.set_endpoints(endpoints)

    def set_endpoints(self, endpoints: Iterable[Target]) -> None:
        """These are the endpoints now. Connections of one that left still count, should it come back."""
        self._weights = Counter(endpoints)
        new = [target for target in self._weights if target not in self._last]
        for place, target in enumerate(_shuffle(new, self._pick)):
            self._last[target] = place - len(new)  # before all that were ever chosen: they have had no turn yet
        for target in [t for t in self._last if t not in self._weights]:
            del self._last[target]
        self._rebuild()

    def count(self, target: Target) -> int:
        """How many connections it has."""
        return self._open[target]

    def choose(self, avoid: Collection[Target] = ()) -> Target | None:
        """Who gets the next connection; None: all are to be avoided, or there is none. Opens nothing by itself."""
        aside: list[_Entry] = []
        chosen: Target | None = None
        while self._heap:
            entry = self._heap[0]
            target = entry[2]
            if entry != self._entry(target):
                heapq.heappop(self._heap)
            elif target in avoid:
                aside.append(heapq.heappop(self._heap))
            else:
                chosen = target
                break
        for entry in aside:
            heapq.heappush(self._heap, entry)
        return chosen

    def open(self, target: Target) -> None:
        """A connection to it begins; one to an endpoint that is none (a client that it remembers) counts as well."""
        self._open[target] += 1
        if target in self._weights:
            self._turn += 1
            self._last[target] = self._turn
        self._push(target)

    def close(self, target: Target) -> None:
        """A connection to it has ended. Raises ValueError for one that never began."""
        left = self._open[target] - 1
        if left < 0:
            del self._open[target]
            raise ValueError(f"{target}: a connection ended that never began")
        if left:
            self._open[target] = left
        else:
            del self._open[target]
        self._push(target)

    def _entry(self, target: Target) -> _Entry | None:
        """What the heap should say of it; None: it is no endpoint."""
        weight = self._weights.get(target)
        if not weight:
            return None
        return ((self._open.get(target, 0) + 1) / weight, self._last[target], target)

    def _push(self, target: Target) -> None:
        if (entry := self._entry(target)) is None:
            return
        heapq.heappush(self._heap, entry)
        if len(self._heap) > 4 * len(self._weights) + _SPARE:
            self._rebuild()

    def _rebuild(self) -> None:
        self._heap = [entry for target in self._weights if (entry := self._entry(target)) is not None]
        heapq.heapify(self._heap)


def _shuffle(targets: Sequence[Target], pick: Callable[[int], int]) -> list[Target]:
    """Fisher and Yates: so that nodes which all begin now do not all begin with the same endpoint."""
    order = sorted(targets)
    for at in range(len(order) - 1, 0, -1):
        other = pick(at + 1)
        order[at], order[other] = order[other], order[at]
    return order
