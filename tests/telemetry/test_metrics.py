"""Rule: the text format 0.0.4 of Prometheus."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from seaway.telemetry.exposition import Family, collect_process, render_families
from seaway.telemetry.metrics import Metrics, exponential_bounds


def read(metrics: Metrics) -> dict[str, float]:
    """Every sample by its name and labels, as Prometheus reads the page."""
    families = text_string_to_metric_families(render_families(metrics.collect()).decode())
    return {
        "".join([sample.name, *(f" {key}={value}" for key, value in sorted(sample.labels.items()))]): sample.value
        for family in families
        for sample in family.samples
    }


def test_counters_grow_by_their_labels() -> None:
    metrics = Metrics()
    syncs = metrics.counter("syncs_total", "Syncs.", "result")
    syncs.inc("success")
    syncs.inc("success", by=2)
    syncs.inc("stale")
    assert read(metrics) == {"syncs_total result=success": 3, "syncs_total result=stale": 1}


def test_a_counter_is_written_as_upstream_names_it() -> None:
    metrics = Metrics()
    metrics.counter("endpoint_slice_controller_syncs", "Syncs.", "result").inc("stale")
    assert render_families(metrics.collect()).decode().splitlines() == [
        "# HELP endpoint_slice_controller_syncs Syncs.",
        "# TYPE endpoint_slice_controller_syncs counter",
        'endpoint_slice_controller_syncs{result="stale"} 1',
    ]


def test_what_has_no_labels_is_there_from_the_start() -> None:
    metrics = Metrics()
    metrics.counter("a_total", "A.")
    metrics.gauge("b", "B.")
    metrics.histogram("c", "C.", bounds=(1,))
    assert read(metrics) == {"a_total": 0, "b": 0, "c_bucket le=1": 0, "c_bucket le=+Inf": 0, "c_sum": 0, "c_count": 0}


def test_a_gauge_is_what_it_was_set_to_or_what_is_read() -> None:
    metrics = Metrics()
    depth = metrics.gauge("depth", "Depth.", "name")
    waiting = ["x", "y"]
    depth.read(lambda: len(waiting), "pods")
    depth.set(7, "services")
    waiting.append("z")
    assert read(metrics) == {"depth name=pods": 3, "depth name=services": 7}
    depth.forget("services")
    assert read(metrics) == {"depth name=pods": 3}


def test_a_histogram_counts_each_number_at_its_bound() -> None:
    metrics = Metrics()
    sizes = metrics.histogram("size", "Size.", "kind", bounds=(1, 2))
    for number in (0.5, 1, 1.5, 9):
        sizes.observe(number, "a")
    assert read(metrics) == {
        "size_bucket kind=a le=1": 2, "size_bucket kind=a le=2": 3, "size_bucket kind=a le=+Inf": 4,
        "size_sum kind=a": 12, "size_count kind=a": 4,
    }  # fmt: skip


def test_two_loops_may_share_a_metric_but_not_a_name() -> None:
    metrics = Metrics()
    metrics.counter("adds_total", "Adds.", "name").inc("a")
    metrics.counter("adds_total", "Adds.", "name").inc("b")
    assert read(metrics) == {"adds_total name=a": 1, "adds_total name=b": 1}
    with pytest.raises(AssertionError, match="metric adds_total has two meanings"):
        metrics.gauge("adds_total", "Adds.", "name")


def test_values_of_labels_are_escaped() -> None:
    page = render_families([Family("a", "gauge", "A.", ("l",), [(('"\\\n',), 1.0)])]).decode()
    (family,) = text_string_to_metric_families(page)
    assert family.samples[0].labels == {"l": '"\\\n'}


def test_a_process_says_what_it_uses() -> None:
    names = {family.name for family in collect_process()}
    assert {"process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"} <= names


def test_bounds_grow_by_a_factor() -> None:
    assert exponential_bounds(2, 2, 4) == (2, 4, 8, 16)
