"""Rule: client-go's workqueue metrics."""

from __future__ import annotations

from seaway.client.queuefigures import QueueFigures
from seaway.telemetry.exposition import Distribution
from seaway.telemetry.metrics import Metrics


def collect(metrics: Metrics) -> dict[str, float]:
    """By name: the number, or the sum of what a histogram saw."""
    rows = {family.name: family.rows for family in metrics.collect()}
    return {
        name: value.total if isinstance(value, Distribution) else value
        for name, found in rows.items()
        for labels, value in found
        if labels == ("pods",)
    }


def test_a_key_is_followed_from_its_adding_to_its_end() -> None:
    metrics, now = Metrics(), 100.0
    figures = QueueFigures(metrics, "pods", depth=lambda: 7, clock=lambda: now)
    figures.added("a", 100.0)
    figures.added("a", 101.0)
    figures.taken("a", 103.0)
    figures.added("b", 103.0)
    figures.taken("b", 104.0)
    now = 106.0
    found = collect(metrics)
    assert found["workqueue_depth"] == 7
    assert found["workqueue_adds_total"] == 3
    assert found["workqueue_queue_duration_seconds"] == 3 + 1, "a key that waits already does not wait anew"
    assert found["workqueue_unfinished_work_seconds"] == 3 + 2
    assert found["workqueue_longest_running_processor_seconds"] == 3
    figures.done("a", 106.0)
    figures.done("b", 106.0)
    found = collect(metrics)
    assert found["workqueue_work_duration_seconds"] == 3 + 2
    assert found["workqueue_unfinished_work_seconds"] == found["workqueue_longest_running_processor_seconds"] == 0


def test_a_key_that_came_due_by_its_deadline_has_not_waited() -> None:
    metrics = Metrics()
    QueueFigures(metrics, "pods", depth=lambda: 0, clock=lambda: 0).taken("a", 5.0)
    assert collect(metrics)["workqueue_queue_duration_seconds"] == 0
