"""Ranges of numbers. Rule: spec "service-api" §5.2, §5.6."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seaway.apiserver.allocation.pool import (
    Full,
    OutOfRange,
    Pool,
    SparseBits,
    Taken,
    make_address_pool,
    make_port_pool,
)

ADDRESS_BANDS = [
    # range, first address, last static ("" for none), last address
    ("10.96.0.0/28", "10.96.0.1", "", "10.96.0.14"),
    ("10.96.0.0/30", "10.96.0.1", "", "10.96.0.2"),
    ("10.96.0.0/27", "10.96.0.1", "10.96.0.16", "10.96.0.30"),
    ("10.96.0.0/24", "10.96.0.1", "10.96.0.16", "10.96.0.254"),
    ("10.96.0.0/22", "10.96.0.1", "10.96.0.64", "10.96.3.254"),
    ("10.96.0.0/20", "10.96.0.1", "10.96.1.0", "10.96.15.254"),
    ("10.96.0.0/16", "10.96.0.1", "10.96.1.0", "10.96.255.254"),
    ("10.96.0.0/12", "10.96.0.1", "10.96.1.0", "10.111.255.254"),
    ("fd00::/124", "fd00::1", "", "fd00::f"),
    ("fd00::/123", "fd00::1", "fd00::10", "fd00::1f"),
    ("fd00::/120", "fd00::1", "fd00::10", "fd00::ff"),
    ("fd00::/118", "fd00::1", "fd00::40", "fd00::3ff"),
    ("fd00::/116", "fd00::1", "fd00::100", "fd00::fff"),
    ("fd00::/112", "fd00::1", "fd00::100", "fd00::ffff"),
    ("fd00::/108", "fd00::1", "fd00::100", "fd00::f:ffff"),
    ("fd00::/64", "fd00::1", "fd00::100", "fd00::ffff:ffff:ffff:ffff"),
]
PORT_BANDS = [
    (30000, 32767, 86), (30000, 30127, 16), (30000, 30999, 31), (30000, 32047, 64), (30000, 34095, 128),
    (30000, 38191, 128), (30000, 30016, 16), (30000, 30015, 0), (30000, 30000, 0),
]  # fmt: skip


@pytest.mark.parametrize(("cidr", "first", "static", "last"), ADDRESS_BANDS, ids=[band[0] for band in ADDRESS_BANDS])
def test_address_bands(cidr: str, first: str, static: str, last: str) -> None:
    pool = make_address_pool(cidr)
    assert pool.first == int(ipaddress.ip_address(first))
    assert pool.first + pool.size - 1 == int(ipaddress.ip_address(last))
    assert pool.static_size == (int(ipaddress.ip_address(static)) - pool.first + 1 if static else 0)


@pytest.mark.parametrize(("first", "last", "static"), PORT_BANDS)
def test_port_bands(first: int, last: int, static: int) -> None:
    pool = make_port_pool(first, last)
    assert (pool.first, pool.size, pool.static_size) == (first, last - first + 1, static)


def test_an_ipv6_range_wider_than_64_is_refused() -> None:
    with pytest.raises(ValueError, match="shortest allowed prefix length for service CIDR is 64, got 48"):
        make_address_pool("fd00::/48")


@pytest.mark.parametrize("cidr", ["10.0.0.0/31", "10.0.0.0/32"])
def test_a_range_without_addresses_is_full(cidr: str) -> None:
    with pytest.raises(Full):
        make_address_pool(cidr).choose((), lambda n: 0)


def test_the_static_band_comes_last() -> None:
    pool = make_port_pool(30000, 30031)
    taken = []
    while pool.free:
        number = pool.choose((), lambda n: n // 2)
        taken.append(number)
        pool.mark(number, True)
    assert set(taken[:16]) == set(range(30016, 30032))
    assert set(taken[16:]) == set(range(30000, 30016))
    with pytest.raises(Full):
        pool.choose((), lambda n: 0)


def test_a_wanted_number_is_checked() -> None:
    pool = make_port_pool(30000, 30031)
    pool.mark(30005, True)
    assert pool.check(30001, ()) == 30001
    for wanted, refusal in ((30005, Taken), (29999, OutOfRange), (30032, OutOfRange)):
        with pytest.raises(refusal):
            pool.check(wanted, ())
    with pytest.raises(Taken):
        pool.check(30001, {30001})


def test_reserved_numbers_are_passed_over() -> None:
    pool = Pool(1, 4, 0)
    assert pool.choose({2, 3}, lambda n: 1) == 4
    with pytest.raises(Full):
        pool.choose({1, 2, 3, 4}, lambda n: 1)


def test_a_full_stretch_is_crossed_in_few_looks() -> None:
    """No scan: a /12 with all but the last address taken would need a million looks one by one."""
    bits = SparseBits(1 << 20)
    for number in range(1 << 20):
        bits.add(number)
    bits.discard((1 << 20) - 1)
    looks = 0

    class CountedWords(dict[int, int]):
        def get(self, key: int, default: int = 0) -> int:  # type: ignore[override]
            nonlocal looks
            looks += 1
            return super().get(key, default)

    bits._levels = [CountedWords(words) for words in bits._levels]
    assert bits.next_absent(5) == (1 << 20) - 1
    assert looks <= 4


@settings(max_examples=60)
@given(
    st.sampled_from((40, 5000, 1 << 20, 1 << 64)),
    st.lists(st.tuples(st.booleans(), st.integers(0, (1 << 64) - 1)), max_size=60),
    st.integers(0, (1 << 64) - 1),
    st.booleans(),
)
def test_bits_are_a_set(size: int, changes: list[tuple[bool, int]], start: int, dense: bool) -> None:
    bits, oracle = SparseBits(size), set()
    if dense:
        block = range(min(size, 3000))
        oracle |= set(block)
        for number in block:
            bits.add(number)
    for adds, number in changes:
        number %= min(size, 4000) if dense else size
        if adds:
            bits.add(number)
            oracle.add(number)
        else:
            bits.discard(number)
            oracle.discard(number)
    assert len(bits) == len(oracle)
    assert all(number in bits for number in oracle)
    start %= min(size, 4000)
    expected = start
    while expected in oracle:
        expected += 1
    found = bits.next_absent(start)
    assert found == expected if expected < size else found >= size


@given(st.lists(st.integers(0, 1000), max_size=80), st.integers(0, 10**6))
def test_what_is_chosen_is_free_and_inside(taken: list[int], turn: int) -> None:
    pool = make_port_pool(30000, 30063)
    for number in taken:
        pool.mark(30000 + number % 64, True)
    had = {30000 + number % 64 for number in taken}
    assert pool.free == 64 - len(had)
    try:
        number = pool.choose((), lambda n: turn % n)
    except Full:
        assert len(had) == 64
    else:
        assert number in pool
        assert number not in had
        assert number >= 30016 or set(range(30016, 30064)) <= had
