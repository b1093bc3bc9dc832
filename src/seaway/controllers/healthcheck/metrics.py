"""What the loop of health checks counts. No label is of a Service or a target: there may be thousands."""

from __future__ import annotations

from typing import Protocol

from seaway.controllers.healthcheck.check import Check
from seaway.controllers.healthcheck.state import Outcome
from seaway.telemetry.metrics import Metrics

PREFIX = "seaway_controllers_check_"
_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
"""To the longest timeout."""


class CountTargets(Protocol):
    """How many targets are up, or down, now."""

    def __call__(self, *, is_up: bool) -> int: ...


class CheckMetrics:
    """`writes` counts the patches of slices."""

    def __init__(self, metrics: Metrics, count: CountTargets) -> None:
        targets = metrics.gauge(PREFIX + "targets", "Addresses and ports that are checked.", "state")
        targets.read(lambda: float(count(is_up=True)), "up")
        targets.read(lambda: float(count(is_up=False)), "down")
        self._tries = metrics.counter(PREFIX + "tries_total", "Tries made.", "kind", "result")
        self._seconds = metrics.histogram(
            PREFIX + "try_seconds", "How long a try took, without the wait for its turn.", "kind", bounds=_SECONDS
        )
        self.writes = metrics.counter(PREFIX + "writes_total", "Patches of slices.")

    def observe_try(self, check: Check, outcome: Outcome, seconds: float) -> None:
        """A try was made."""
        self._tries.inc(check.kind, "passed" if outcome.passed else "failed")
        self._seconds.observe(seconds, check.kind)
