"""What several processes have counted, as one page: numbers are added up, cell by cell.

Facts are not: of a metric that says what runs (`…_info`), or since when, the first process speaks for all. Law: the sum
does not depend on the order of the parts, facts apart.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from seaway.telemetry.exposition import Distribution, Family, Row

_FACTS = ("_info", "process_start_time_seconds", "process_max_fds")


class _Cells(msgspec.Struct, array_like=True):
    bounds: tuple[float, ...]
    counts: list[int]
    total: float


class _Family(msgspec.Struct, array_like=True):
    name: str
    kind: str
    text: str
    labels: tuple[str, ...]
    numbers: list[tuple[tuple[str, ...], float]]
    distributions: list[tuple[tuple[str, ...], _Cells]]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[_Family])


def encode_families(families: Iterable[Family]) -> bytes:
    """For another process."""
    return _encoder.encode([_narrow(family) for family in families])


def decode_families(data: bytes) -> list[Family]:
    """The families again. Raises msgspec.DecodeError."""
    return [_widen(found) for found in _decoder.decode(data)]


def merge_families(parts: Iterable[Iterable[Family]]) -> list[Family]:
    """One family per name, sorted by name, as the first part that has it describes it. The parts stay as they are."""
    merged: dict[str, Family] = {}
    for part in parts:
        for family in part:
            known = merged.get(family.name)
            if known is None:
                merged[family.name] = family
            elif not family.name.endswith(_FACTS):
                merged[family.name] = _add(known, family)
    return [merged[name] for name in sorted(merged)]


def _add(one: Family, other: Family) -> Family:
    cells = dict(one.rows)
    for values, value in other.rows:
        known = cells.get(values)
        cells[values] = value if known is None else _add_cells(known, value)
    return Family(one.name, one.kind, one.text, one.labels, sorted(cells.items(), key=lambda row: row[0]))


def _add_cells(one: float | Distribution, other: float | Distribution) -> float | Distribution:
    if isinstance(one, Distribution) and isinstance(other, Distribution):
        total = Distribution(one.bounds)
        total.counts = [a + b for a, b in zip(one.counts, other.counts, strict=True)]
        total.total = one.total + other.total
        return total
    assert not isinstance(one, Distribution) and not isinstance(other, Distribution), "one name, two kinds"
    return one + other


def _narrow(family: Family) -> _Family:
    numbers, distributions = [], []
    for values, value in family.rows:
        if isinstance(value, Distribution):
            distributions.append((values, _Cells(tuple(value.bounds), value.counts, value.total)))
        else:
            numbers.append((values, value))
    return _Family(family.name, family.kind, family.text, family.labels, numbers, distributions)


def _widen(found: _Family) -> Family:
    rows: list[Row] = list(found.numbers)
    for values, cells in found.distributions:
        distribution = Distribution(cells.bounds)
        distribution.counts, distribution.total = cells.counts, cells.total
        rows.append((values, distribution))
    return Family(found.name, found.kind, found.text, found.labels, rows)
