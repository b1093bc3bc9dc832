"""Rule: spec "controllers" §7.8 (bitmap, next fit with wrap-around)."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.controllers.nodeipam.pool import Full, OutOfRange, RangePool, allocate, contains, occupy, release, touches


def pool(text: str = "10.0.0.0/22", size: int = 24) -> RangePool:
    return RangePool(ipaddress.ip_network(text), size)


def net(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(text)


def test_parts_are_given_in_order_and_the_search_goes_on_from_the_last() -> None:
    now, found = pool(), []
    for _ in range(3):
        now, part = allocate(now)
        found.append(str(part))
    assert found == ["10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24"]
    now = release(now, net("10.0.0.0/24"))
    now, last = allocate(now)
    now, first = allocate(now)
    assert (str(last), str(first)) == ("10.0.3.0/24", "10.0.0.0/24")
    with pytest.raises(Full, match=r"10\.0\.0\.0/22: all 4 ranges of /24 are in use"):
        allocate(now)


def test_what_overlaps_is_taken_whole() -> None:
    now = occupy(pool(), net("10.0.1.128/25"))
    now = occupy(now, net("10.0.2.0/23"))
    assert [str(allocate(now)[1])] == ["10.0.0.0/24"]
    assert occupy(pool(), net("10.0.0.0/8")).used == 0b1111


def test_ranges_of_a_sixth_family() -> None:
    _, part = allocate(occupy(pool("fd00::/48", 64), net("fd00::/64")))
    assert str(part) == "fd00:0:0:1::/64"


@pytest.mark.parametrize("text", ["10.0.4.0/24", "fd00::/64"])
def test_what_is_elsewhere_is_refused(text: str) -> None:
    assert not contains(pool(), net(text)) and not touches(pool(), net(text))
    with pytest.raises(OutOfRange, match="needed"):
        occupy(pool(), net(text))


@given(st.lists(st.one_of(st.none(), st.integers(0, 15)), max_size=60))
def test_never_twice_never_outside_and_nothing_is_lost(steps: list[int | None]) -> None:
    """None: allocate; a number: the part with that index comes back."""
    now, held = pool("10.0.0.0/20"), set[str]()
    for step in steps:
        if step is None:
            try:
                now, part = allocate(now)
            except Full:
                assert len(held) == 16
                continue
            assert str(part) not in held and contains(now, part)
            held.add(str(part))
        else:
            now = release(now, now.part(step))
            held.discard(str(now.part(step)))
        assert now.used.bit_count() == len(held)
