"""What several processes have counted, as one page."""

from __future__ import annotations

from seaway.telemetry.exposition import Family, render_families
from seaway.telemetry.merging import decode_families, encode_families, merge_families
from seaway.telemetry.metrics import Metrics


def count(requests: int, *seconds: float, client: str = "a") -> list[Family]:
    metrics = Metrics()
    metrics.counter("requests_total", "Requests.", "client").inc(client, by=requests)
    metrics.gauge("build_info", "What runs.", "version").set(1, "1.0")
    took = metrics.histogram("took_seconds", "Time.", bounds=(1, 2))
    for each in seconds:
        took.observe(each)
    return list(metrics.collect())


def page(families: list[Family]) -> list[str]:
    return [line for line in render_families(families).decode().splitlines() if not line.startswith("#")]


def test_numbers_are_added_up_cell_by_cell_and_facts_are_not() -> None:
    assert page(merge_families([count(3, 0.5, 9), count(4, 1.5), count(5, client="b")])) == [
        'build_info{version="1.0"} 1',
        'requests_total{client="a"} 7',
        'requests_total{client="b"} 5',
        'took_seconds_bucket{le="1"} 1',
        'took_seconds_bucket{le="2"} 2',
        'took_seconds_bucket{le="+Inf"} 3',
        "took_seconds_sum 11",
        "took_seconds_count 3",
    ]


def test_the_order_of_the_parts_does_not_matter() -> None:
    one, other = count(3, 0.5), count(4, 1.5, client="b")
    assert page(merge_families([one, other])) == page(merge_families([other, one]))


def test_the_parts_stay_as_they_are() -> None:
    one = count(3, 0.5)
    before = page(one)
    merge_families([one, count(4, 1.5)])
    assert page(one) == before


def test_families_travel_as_bytes() -> None:
    found = count(3, 0.5, 9)
    assert page(decode_families(encode_families(found))) == page(found)
