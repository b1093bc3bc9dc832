"""What a piece counts: named counters, gauges and histograms, each with a cell per set of label values.

Names are upstream's where the meaning is the same, written as upstream writes them (a counter's name is not made to end
in `_total`), so that dashboards go on working. Label values come from fixed lists or from names of loops and kinds,
never from what a client wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from seaway.telemetry.exposition import Distribution, Family, Row

Values = tuple[str, ...]


class Counter:
    """Only grows."""

    kind = "counter"

    def __init__(self) -> None:
        self.cells: dict[Values, float] = {}

    def inc(self, *values: str, by: float = 1.0) -> None:
        """values: of the labels, in their order."""
        self.cells[values] = self.cells.get(values, 0.0) + by

    def rows(self) -> list[Row]:
        return sorted(self.cells.items())


class Gauge:
    """Is what it was last set to, or what `read` says when somebody asks."""

    kind = "gauge"

    def __init__(self) -> None:
        self.cells: dict[Values, float] = {}
        self._readers: dict[Values, Callable[[], float]] = {}

    def set(self, value: float, *values: str) -> None:
        self.cells[values] = value

    def read(self, reader: Callable[[], float], *values: str) -> None:
        """Ask this function each time: for what is known anyway, and need not be kept twice."""
        self._readers[values] = reader

    def forget(self, *values: str) -> None:
        """There is nothing more to be said of these labels."""
        self.cells.pop(values, None)

    def rows(self) -> list[Row]:
        return sorted({**self.cells, **{values: reader() for values, reader in self._readers.items()}}.items())


class Histogram:
    """How often a number lay within each bound."""

    kind = "histogram"

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.cells: dict[Values, Distribution] = {}

    def observe(self, value: float, *values: str, times: int = 1) -> None:
        cell = self.cells.get(values)
        if cell is None:
            cell = self.cells[values] = Distribution(self.bounds)
        cell.observe(value, times=times)

    def rows(self) -> list[Row]:
        return sorted(self.cells.items(), key=lambda item: item[0])


M = TypeVar("M", Counter, Gauge, Histogram)


class Metrics:
    """All that one process counts, by name. Asking for a name again gives what is there already."""

    def __init__(self) -> None:
        self._all: dict[str, tuple[Counter | Gauge | Histogram, str, Values]] = {}
        self._refreshers: list[Callable[[], None]] = []

    def counter(self, name: str, text: str, *labels: str) -> Counter:
        """text: what is counted, as a sentence."""
        return self._keep(name, text, labels, Counter())

    def gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return self._keep(name, text, labels, Gauge())

    def histogram(self, name: str, text: str, *labels: str, bounds: Sequence[float]) -> Histogram:
        """bounds: upper ones, ascending, without infinity."""
        return self._keep(name, text, labels, Histogram(bounds))

    def refresh_by(self, refresh: Callable[[], None]) -> None:
        """Call this before each collection: for who counts in a quicker way, and adds up when somebody asks."""
        self._refreshers.append(refresh)

    def collect(self) -> Iterator[Family]:
        """All of them, sorted by name. One without labels is there from the start, as 0."""
        for refresh in self._refreshers:
            refresh()
        for name, (metric, text, labels) in sorted(self._all.items()):
            rows = metric.rows()
            if not rows and not labels:
                rows = [((), Distribution(metric.bounds) if isinstance(metric, Histogram) else 0.0)]
            yield Family(name, metric.kind, text, labels, rows)

    def _keep(self, name: str, text: str, labels: Values, metric: M) -> M:
        known = self._all.setdefault(name, (metric, text, labels))
        assert isinstance(known[0], type(metric)) and known[2] == labels, f"metric {name} has two meanings"
        return known[0]


def exponential_bounds(start: float, factor: float, count: int) -> tuple[float, ...]:
    """`start`, `start · factor`, …: `count` of them."""
    return tuple(start * factor**exponent for exponent in range(count))
