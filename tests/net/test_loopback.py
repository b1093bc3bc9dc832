"""One pure function in both directions: addresses of the cluster, and where they are on loopback."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.net.loopback import LoopbackMap

STOCK = LoopbackMap()
SMALL = LoopbackMap.parse("172.16.0.0/12 = 127.16.0.0/12")


@pytest.mark.parametrize(
    ("wanted", "mapped", "address", "loopback"),
    [
        ("a cluster IP", STOCK, "10.96.0.10", "127.96.0.10"),
        ("a Pod", STOCK, "10.244.0.5", "127.244.0.5"),
        ("another range", SMALL, "172.17.3.4", "127.17.3.4"),
        ("what is outside of the range is nowhere", STOCK, "192.168.0.1", None),
        ("the host's own addresses are nobody's", STOCK, "10.0.0.1", None),
        ("nor is the last one, a broadcast", STOCK, "10.255.255.255", None),
        ("IPv6 has one loopback address only", STOCK, "fd10:96::a", None),
        ("no address at all", STOCK, "None", None),
    ],
)
def test_where_an_address_is(wanted: str, mapped: LoopbackMap, address: str, loopback: str | None) -> None:
    assert mapped.to_loopback(address) == loopback, wanted
    if loopback is not None:
        assert mapped.from_loopback(loopback) == address


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "127.0.0.53", "127.255.255.255", "::1", "10.96.0.10", "localhost", ""]
)
def test_what_is_no_address_of_the_cluster_on_loopback(address: str) -> None:
    assert STOCK.from_loopback(address) is None


@given(st.sampled_from([STOCK, SMALL]), st.integers(0, 2**32 - 1))
def test_both_directions_undo_each_other(mapped: LoopbackMap, number: int) -> None:
    address = str(ipaddress.IPv4Address(number))
    if (loopback := mapped.to_loopback(address)) is not None:
        assert ipaddress.IPv4Address(loopback).is_loopback
        assert mapped.from_loopback(loopback) == address
    if (origin := mapped.from_loopback(address)) is not None:
        assert mapped.to_loopback(origin) == address


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("10.0.0.0/8", "two ranges"),
        ("10.0.0.0/8=127.0.0.0/16", "one size"),
        ("10.0.0.0/8=128.0.0.0/8", "within 127.0.0.0/8"),
        ("127.0.0.0/8=127.0.0.0/8", "loopback itself"),
        ("10.0.0.1/8=127.0.0.0/8", "host bits"),
        ("fd00::/8=127.0.0.0/8", "fd00"),
    ],
)
def test_a_map_that_does_not_fit_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        LoopbackMap.parse(text)


def test_its_text_is_read_back() -> None:
    assert LoopbackMap.parse(str(SMALL)) == SMALL
