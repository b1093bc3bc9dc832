"""Rule: spec "controllers" §3.4."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.endpoints.subsets import count_addresses
from seaway.api.endpoints.types import EndpointAddress, EndpointPort, EndpointSubset
from seaway.controllers.endpoints.truncate import share_out, truncate_subsets


def subset(ready: int, not_ready: int = 0, port: int = 80) -> EndpointSubset:
    addresses = tuple(EndpointAddress(f"10.{port}.{n // 256}.{n % 256}") for n in range(ready + not_ready))
    return EndpointSubset(addresses[:ready], addresses[ready:], (EndpointPort("", port),))


CASES = {
    "1,000 are not too many": ([(1000, 0)], [(1000, 0)]),
    "of 1,001 the last one goes": ([(1001, 0)], [(1000, 0)]),
    "all ready ones stay before any other": ([(999, 500)], [(999, 1)]),
    "with 1,000 ready ones no other stays": ([(1000, 5)], [(1000, 0)]),
    "with more ready ones no other stays": ([(1500, 5)], [(1000, 0)]),
    "each subset has its share": ([(1000, 0), (500, 0)], [(667, 0), (333, 0)]),
    "the last subset has the short end": ([(400, 0), (400, 0), (400, 0)], [(334, 0), (334, 0), (332, 0)]),
    "what is not ready is shared out too": ([(300, 400), (300, 400)], [(300, 200), (300, 200)]),
    "a subset that has nothing left goes": ([(1000, 0), (0, 7)], [(1000, 0)]),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_stays(case: tuple[list[tuple[int, int]], list[tuple[int, int]]]) -> None:
    found = [subset(ready, rest, port) for port, (ready, rest) in enumerate(case[0], 1)]
    kept, is_truncated = truncate_subsets(found)
    assert [(len(s.addresses), len(s.not_ready_addresses)) for s in kept] == case[1]
    assert is_truncated == (case[0] != case[1])
    for before, after in zip(found, kept, strict=False):
        assert before.addresses[: len(after.addresses)] == after.addresses, "the first ones stay"


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=6), st.integers(1, 40))
def test_truncation_uses_the_whole_limit_and_prefers_ready_ones(sizes: list[tuple[int, int]], limit: int) -> None:
    found = [subset(ready, rest, port) for port, (ready, rest) in enumerate(sizes, 1) if ready or rest]
    kept, is_truncated = truncate_subsets(found, limit)
    total, ready = count_addresses(found), sum(len(s.addresses) for s in found)
    assert count_addresses(kept) == min(total, limit)
    assert sum(len(s.addresses) for s in kept) == min(ready, limit)
    assert is_truncated == (total > limit)
    assert all(s.addresses or s.not_ready_addresses for s in kept)


@given(st.lists(st.integers(0, 50), max_size=8), st.integers(0, 100))
def test_shares_never_exceed_what_is_there(sizes: list[int], budget: int) -> None:
    shares = share_out(sizes, budget)
    assert all(0 <= share <= size for share, size in zip(shares, sizes, strict=True))
    assert sum(shares) == min(sum(sizes), budget)
