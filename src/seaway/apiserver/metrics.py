"""What the server counts, under upstream's names where the meaning is the same.

Counting is a dict entry per label set; the Prometheus library is only met when somebody asks.
Rule: spec "api-machinery" §11.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

# Upstream's bounds of apiserver_request_duration_seconds, thinned out.
DURATION_BOUNDS = (0.001, 0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_LABELS = ("verb", "group", "version", "resource", "subresource", "scope")
Labels = tuple[str, str, str, str, str, str]


@dataclass(slots=True)
class Histogram:
    """Counts per bound (not cumulated; the last is beyond all bounds) and their sum."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(DURATION_BOUNDS) + 1))
    total_seconds: float = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(DURATION_BOUNDS, seconds)] += 1
        self.total_seconds += seconds


@dataclass(frozen=True, slots=True)
class Gauges:
    """What is read off when somebody asks. Objects and watchers per (group, plural)."""

    objects: dict[tuple[str, str], int]
    watchers: dict[tuple[str, str], int]
    revision: int


class Metrics:
    """Counters of one server."""

    def __init__(self, read_gauges: Callable[[], Gauges]) -> None:
        self._read_gauges = read_gauges
        self.requests: dict[tuple[Labels, int], int] = {}
        self.durations: dict[Labels, Histogram] = {}
        self.in_flight = {"mutating": 0, "readOnly": 0}
        self.refused_in_flight = 0

    def observe(self, labels: Labels, code: int, seconds: float) -> None:
        """One answered request."""
        key = (labels, code)
        self.requests[key] = self.requests.get(key, 0) + 1
        histogram = self.durations.get(labels)
        if histogram is None:
            histogram = self.durations[labels] = Histogram()
        histogram.observe(seconds)

    def render(self) -> bytes:
        """The Prometheus text."""
        from prometheus_client import CollectorRegistry, generate_latest  # has weight, and few ask

        registry = CollectorRegistry()
        registry.register(self)
        text: bytes = generate_latest(registry)
        return text

    def describe(self) -> list[Any]:
        """Nothing in advance: the registry need not collect to register."""
        return []

    def collect(self) -> Iterator[Any]:
        """The metric families of this moment, for the library's registry."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        requests = CounterMetricFamily("apiserver_request", "Requests by label and code", labels=[*_LABELS, "code"])
        for (labels, code), count in sorted(self.requests.items()):
            requests.add_metric([*labels, str(code)], count)
        yield requests
        durations = HistogramMetricFamily("apiserver_request_duration_seconds", "Time to the answer", labels=_LABELS)
        for labels, histogram in sorted(self.durations.items()):
            durations.add_metric(labels, _cumulate(histogram.counts), histogram.total_seconds)
        yield durations
        running = GaugeMetricFamily("apiserver_current_inflight_requests", "Requests at work", labels=["request_kind"])
        for kind, count in sorted(self.in_flight.items()):
            running.add_metric([kind], count)
        yield running
        refused = CounterMetricFamily("apiserver_dropped_requests", "Requests refused for the in-flight limit")
        refused.add_metric([], self.refused_in_flight)
        yield refused
        gauges = self._read_gauges()
        for name, text, values in (
            ("apiserver_storage_objects", "Stored objects", gauges.objects),
            ("apiserver_longrunning_requests", "Open watches", gauges.watchers),
        ):
            family = GaugeMetricFamily(name, text, labels=["group", "resource"])
            for (group, plural), count in sorted(values.items()):
                family.add_metric([group, plural], count)
            yield family
        yield GaugeMetricFamily("seaway_apiserver_revision", "Last revision that readers see", gauges.revision)


def _cumulate(counts: list[int]) -> list[tuple[str, float]]:
    total, buckets = 0, []
    for bound, count in zip([*map(str, DURATION_BOUNDS), "+Inf"], counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets
