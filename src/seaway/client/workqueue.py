"""A work queue of keys without a clock: what is due, what is being worked on, and how long a failed key waits.

1. A key waits at most once, however often it was added.
2. A key that is being worked on is never handed out again; added meanwhile, it waits again after `done`.
3. An earlier deadline replaces a later one, never the other way round.

Rule: spec "controllers" §0.1 (semantics), §0.2 (limits per loop).
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass

_MAX_EXPONENT = 32


class RetryLater(Exception):
    """A key cannot be finished now, through no fault of the code: it is tried again after its back-off."""


@dataclass(frozen=True, slots=True)
class BackOff:
    """Delay per failed key, `first_seconds` · 2^failures up to `max_seconds`; and a rate over all keys."""

    first_seconds: float = 0.005
    max_seconds: float = 1000.0
    rate_per_second: float = 10.0
    burst: int = 100


class WorkQueue:
    """The queue of one loop. `now` is monotonic seconds, never smaller than at the call before."""

    def __init__(self, back_off: BackOff | None = None) -> None:
        self._back_off = back_off or BackOff()
        self._ready: deque[str] = deque()
        self._waiting: set[str] = set()
        self._working: set[str] = set()
        self._dirty: set[str] = set()
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._failures: dict[str, int] = {}
        self._tokens = float(self._back_off.burst)
        self._refilled_at = 0.0

    def __len__(self) -> int:
        return len(self._waiting) + len(self._due)

    @property
    def depth(self) -> int:
        """How many keys are due now and wait for a worker."""
        return len(self._ready)

    def add(self, key: str) -> None:
        """The key is due now."""
        if key in self._working:
            self._dirty.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.append(key)

    def add_after(self, key: str, delay_seconds: float, now: float) -> None:
        """The key is due after the delay, or at an earlier deadline that it already has."""
        if delay_seconds <= 0:
            self.add(key)
            return
        due = now + delay_seconds
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._heap, (due, key))

    def add_failed(self, key: str, now: float) -> float:
        """The key is due after its back-off; returns the delay and counts the failure."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        limits = self._back_off
        delay = min(limits.first_seconds * 2.0 ** min(failures, _MAX_EXPONENT), limits.max_seconds)
        delay = max(delay, self._take_token(now))
        self.add_after(key, delay, now)
        return delay

    def forget(self, key: str) -> None:
        """The key's failures are over."""
        self._failures.pop(key, None)

    def failures(self, key: str) -> int:
        """How often the key failed in a row."""
        return self._failures.get(key, 0)

    def take(self, now: float) -> str | None:
        """The next key to work on, or None when none is due. Each is ended by `done`."""
        self._release_due(now)
        if not self._ready:
            return None
        key = self._ready.popleft()
        self._waiting.discard(key)
        self._working.add(key)
        return key

    def done(self, key: str) -> None:
        """Work on the key has ended; it waits again if it was added meanwhile."""
        self._working.discard(key)
        if key in self._dirty:
            self._dirty.discard(key)
            self.add(key)

    def next_deadline(self) -> float | None:
        """When the next delayed key is due; None when there is none. Keys due now are not counted."""
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _release_due(self, now: float) -> None:
        while (due := self.next_deadline()) is not None and due <= now:
            _, key = heapq.heappop(self._heap)
            del self._due[key]
            self.add(key)

    def _take_token(self, now: float) -> float:
        limits = self._back_off
        self._tokens = min(float(limits.burst), self._tokens + (now - self._refilled_at) * limits.rate_per_second)
        self._refilled_at = now
        self._tokens -= 1.0
        return max(0.0, -self._tokens / limits.rate_per_second)
