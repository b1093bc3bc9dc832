"""Which Pod is placed next, and when one that found no place is tried again. No clock: `now` is monotonic seconds.

1. Pods leave in their order (priority, age), not in that of their arrival.
2. One that found no place is not tried again until something has happened that may help it, and its back-off is over;
   after `LEFTOVER_SECONDS` it is tried whatever has happened.
3. Waking costs the Pods that are woken, once each, and not those that wait for something else.

Rule: upstream's scheduling queue (back-off 1 to 10 s, left-over 5 min).
"""

from __future__ import annotations

import heapq
from enum import Enum
from typing import TypeAlias

FIRST_BACK_OFF_SECONDS = 1.0
MAX_BACK_OFF_SECONDS = 10.0
LEFTOVER_SECONDS = 300.0
_MAX_EXPONENT = 10

Order: TypeAlias = tuple[int, str, str]
Filters: TypeAlias = tuple[str, ...]


class Happening(Enum):
    """What may help a Pod that found no place. The value: the filters that may judge otherwise now; None: all."""

    NODE_CHANGED = None
    POD_LEFT = frozenset(("NodePorts", "NodeResourcesFit", "PodTopologySpread", "InterPodAffinity"))
    POD_PLACED = frozenset(("PodTopologySpread", "InterPodAffinity"))

    def may_help(self, filters: Filters) -> bool:
        return self.value is None or not self.value.isdisjoint(filters)


class SchedulingQueue:
    """Keys of Pods. A key is active, waits for a time, or waits for something to happen."""

    def __init__(self) -> None:
        self._orders: dict[str, Order] = {}
        self._active: list[tuple[Order, str]] = []
        self._is_active: set[str] = set()
        self._due: dict[str, float] = {}
        self._timers: list[tuple[float, str]] = []
        self._parked: dict[Filters, dict[str, float]] = {}
        self._filters: dict[str, Filters] = {}
        self._attempts: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._orders)

    def count(self) -> dict[str, int]:
        """How many Pods are due, wait for their back-off, and wait for something to happen."""
        parked = len(self._filters)
        return {"active": len(self._is_active), "backoff": len(self._due) - parked, "unschedulable": parked}

    def add(self, key: str, order: Order) -> None:
        """The Pod is new, or asks for something else now: it is tried at once."""
        self._unpark(key)
        self._due.pop(key, None)
        if self._orders.get(key) != order:
            self._is_active.discard(key)
        self._orders[key] = order
        self._activate(key)

    def drop(self, key: str) -> None:
        """The Pod waits no more."""
        self._unpark(key)
        self._due.pop(key, None)
        self._is_active.discard(key)
        self._attempts.pop(key, None)
        self._orders.pop(key, None)

    def pop(self, now: float) -> str | None:
        """The next Pod to place, or None. It stays known until `drop` or `park`."""
        self._release(now)
        while self._active:
            order, key = heapq.heappop(self._active)
            if key in self._is_active and self._orders.get(key) == order:
                self._is_active.discard(key)
                return key
        return None

    def park(self, key: str, order: Order, filters: Filters, now: float) -> None:
        """The Pod found no place: these filters objected."""
        ready_at = now + self._next_back_off(key)
        self._orders[key] = order
        self._parked.setdefault(filters, {})[key] = ready_at
        self._filters[key] = filters
        self._wait_until(key, now + LEFTOVER_SECONDS)

    def retry(self, key: str, order: Order, now: float) -> None:
        """The Pod found a place, but could not be put there: it is tried again after its back-off."""
        self._orders[key] = order
        self._wait_until(key, now + self._next_back_off(key))

    def wake(self, happening: Happening, now: float) -> None:
        """Those that it may help are tried again, as soon as their back-off is over."""
        for filters in [f for f in self._parked if happening.may_help(f)]:
            for key, ready_at in self._parked.pop(filters).items():
                del self._filters[key]
                self._wait_until(key, max(ready_at, now))

    def next_deadline(self) -> float | None:
        """When `pop` may find more than now; None: only once something happens."""
        while self._timers and self._due.get(self._timers[0][1]) != self._timers[0][0]:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def _next_back_off(self, key: str) -> float:
        attempts = self._attempts.get(key, 0)
        self._attempts[key] = attempts + 1
        return min(FIRST_BACK_OFF_SECONDS * 2.0 ** min(attempts, _MAX_EXPONENT), MAX_BACK_OFF_SECONDS)

    def _wait_until(self, key: str, due: float) -> None:
        self._due[key] = due
        heapq.heappush(self._timers, (due, key))

    def _release(self, now: float) -> None:
        while (due := self.next_deadline()) is not None and due <= now:
            _, key = heapq.heappop(self._timers)
            del self._due[key]
            self._unpark(key)
            self._activate(key)

    def _activate(self, key: str) -> None:
        if key not in self._is_active:
            self._is_active.add(key)
            heapq.heappush(self._active, (self._orders[key], key))

    def _unpark(self, key: str) -> None:
        filters = self._filters.pop(key, None)
        if filters is not None:
            keys = self._parked[filters]
            del keys[key]
            if not keys:
                del self._parked[filters]
