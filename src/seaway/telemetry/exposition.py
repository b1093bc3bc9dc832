"""Metrics as Prometheus text. Rule: the text format 0.0.4 of Prometheus."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Distribution:
    """Counts per bound (not cumulated; the last is beyond all bounds) and the sum of what was seen."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float, *, times: int = 1) -> None:
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times

    def move(self, before: float, after: float) -> None:
        """Correct another distribution: what counted there as `before` counts as `after` here."""
        self.counts[bisect_left(self.bounds, before)] -= 1
        self.counts[bisect_left(self.bounds, after)] += 1
        self.total += after - before


Row = tuple[tuple[str, ...], float | Distribution]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its rows are label values and a number, or a distribution for a histogram."""

    name: str
    kind: str
    text: str
    labels: tuple[str, ...]
    rows: list[Row]


def render_families(families: Iterable[Family]) -> bytes:
    """The page: a row for each set of labels, in the order given."""
    return "".join(_render_family(family) for family in families).encode()


def collect_process() -> Iterator[Family]:
    """Memory, CPU and descriptors of this process, as every Prometheus client has them."""
    from prometheus_client import ProcessCollector  # has weight, and few ask

    for family in ProcessCollector(registry=None).collect():
        rows: list[Row] = [((), sample.value) for sample in family.samples]
        name = family.samples[0].name if family.samples else family.name
        yield Family(name, family.type, family.documentation, (), rows)


def _render_family(family: Family) -> str:
    lines = [f"# HELP {family.name} {family.text}\n# TYPE {family.name} {family.kind}\n"]
    for values, value in family.rows:
        pairs = [f'{name}="{_escape(text)}"' for name, text in zip(family.labels, values, strict=True)]
        if isinstance(value, Distribution):
            lines.append(_render_distribution(family.name, pairs, value))
        else:
            lines.append(f"{family.name}{_braces(pairs)} {_number(value)}\n")
    return "".join(lines)


def _render_distribution(name: str, pairs: list[str], distribution: Distribution) -> str:
    lines, count = [], 0
    for bound, number in zip((*map(_number, distribution.bounds), "+Inf"), distribution.counts, strict=True):
        count += number
        labels = _braces([*pairs, f'le="{bound}"'])
        lines.append(f"{name}_bucket{labels} {count}\n")
    lines.append(f"{name}_sum{_braces(pairs)} {_number(distribution.total)}\n")
    lines.append(f"{name}_count{_braces(pairs)} {count}\n")
    return "".join(lines)


def _braces(pairs: list[str]) -> str:
    return f"{{{','.join(pairs)}}}" if pairs else ""


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
