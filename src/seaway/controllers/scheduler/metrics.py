"""What the scheduler counts, under upstream's names: dashboards go on working."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from seaway.telemetry.metrics import Metrics, exponential_bounds

_BOUNDS = exponential_bounds(0.0001, 2, 15)
"""Upstream's begin at 1 ms; here most attempts are shorter."""


class SchedulerMetrics:
    """pending: how many Pods wait in each of the queue's parts, asked when somebody wants to know."""

    def __init__(self, metrics: Metrics, profile: str, pending: Callable[[], Mapping[str, int]]) -> None:
        self._profile = profile
        self._attempts = metrics.counter(
            "scheduler_schedule_attempts_total", "Pods for which a place was looked for.", "result", "profile"
        )
        self._seconds = metrics.histogram(
            "scheduler_scheduling_attempt_duration_seconds", "To find a place.", "result", "profile", bounds=_BOUNDS
        )
        gauge = metrics.gauge("scheduler_pending_pods", "Pods that wait for a place, or for its writing.", "queue")
        for queue in ("active", "backoff", "unschedulable"):
            gauge.read(lambda queue=queue: float(pending()[queue]), queue)  # type: ignore[misc]

    def count(self, result: str, seconds: float) -> None:
        """An attempt is over: `scheduled`, `unschedulable`, or `error` for a Pod that waits no more."""
        self._attempts.inc(result, self._profile)
        self._seconds.observe(seconds, result, self._profile)
