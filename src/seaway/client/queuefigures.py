"""What a work queue counts, under upstream's names. Times are the loop's monotonic seconds.

Rule: client-go's workqueue metrics; spec "controllers" §1.14 (names of queues).
"""

from __future__ import annotations

from collections.abc import Callable

from seaway.telemetry.metrics import Metrics, exponential_bounds

_BOUNDS = exponential_bounds(1e-8, 10, 10)
"""Upstream's: 10 ns to 10 s."""


class QueueFigures:
    """Of one queue. depth: how many keys are due and wait. clock: the time that `now` is of."""

    def __init__(self, metrics: Metrics, name: str, *, depth: Callable[[], float], clock: Callable[[], float]) -> None:
        self._name = name
        self._waiting_since: dict[str, float] = {}
        self._working_since: dict[str, float] = {}
        metrics.gauge("workqueue_depth", "Keys that wait.", "name").read(depth, name)
        metrics.gauge(
            "workqueue_unfinished_work_seconds", "How long all keys at work have been at it, together.", "name"
        ).read(lambda: sum(clock() - since for since in self._working_since.values()), name)
        metrics.gauge(
            "workqueue_longest_running_processor_seconds", "How long the oldest key at work has been at it.", "name"
        ).read(lambda: max((clock() - since for since in self._working_since.values()), default=0.0), name)
        self._adds = metrics.counter("workqueue_adds_total", "Keys added.", "name")
        self.retries = metrics.counter("workqueue_retries_total", "Keys that failed and are tried again.", "name")
        self._waits = metrics.histogram(
            "workqueue_queue_duration_seconds", "How long a key waited.", "name", bounds=_BOUNDS
        )
        self._works = metrics.histogram(
            "workqueue_work_duration_seconds", "How long a key was worked on.", "name", bounds=_BOUNDS
        )

    def added(self, key: str, now: float) -> None:
        """The key is due now. One that waits already does not wait anew."""
        self._adds.inc(self._name)
        self._waiting_since.setdefault(key, now)

    def taken(self, key: str, now: float) -> None:
        """A worker has the key. One that came due by its deadline has not waited."""
        self._waits.observe(max(0.0, now - self._waiting_since.pop(key, now)), self._name)
        self._working_since[key] = now

    def done(self, key: str, now: float) -> None:
        """The worker is through with it, well or not."""
        self._works.observe(now - self._working_since.pop(key, now), self._name)
