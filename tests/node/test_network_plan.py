"""Rule: spec "node" §4.2, §4.3."""

from __future__ import annotations

import ipaddress
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.node.network.plan import (
    AddressesExhausted,
    AddressPool,
    HostNetwork,
    allocate_address,
    choose_link_name,
    encode_pools,
    find_incomplete,
    parse_pools,
    plan_attachment,
    release_address,
    restore_pools,
    sort_ranges,
)


def give(pool: AddressPool, *holders: str) -> tuple[AddressPool, list[str]]:
    addresses = []
    for holder in holders:
        pool, address = allocate_address(pool, holder)
        addresses.append(str(address))
    return pool, addresses


def test_addresses_go_round() -> None:
    [pool] = parse_pools("10.244.0.0/29")
    pool, addresses = give(pool, "a", "b", "c")
    assert addresses == ["10.244.0.2", "10.244.0.3", "10.244.0.4"]
    pool = release_address(pool, "a")
    pool, addresses = give(pool, "d", "e", "f")
    assert addresses == ["10.244.0.5", "10.244.0.6", "10.244.0.2"], "an address is used again as late as possible"
    with pytest.raises(AddressesExhausted) as caught:
        allocate_address(pool, "g")
    assert str(caught.value) == "no IP addresses available in range set: 10.244.0.2-10.244.0.6"


def test_a_holder_keeps_its_address() -> None:
    [pool] = parse_pools("10.244.0.0/24")
    pool, first = give(pool, "a", "b", "a")
    assert first[0] == first[2]
    [restored] = restore_pools(parse_pools("10.244.0.0/24"), json.loads(json.dumps(encode_pools([pool]))))
    assert restored == pool
    assert give(restored, "b")[1] == ["10.244.0.3"]


def test_what_was_kept_for_another_range_is_dropped() -> None:
    [pool] = parse_pools("10.244.0.0/24")
    saved = {"10.244.0.0/24": {"last": "10.9.0.1", "held": {"a": "10.244.0.1", "b": "10.9.0.1", "c": "10.244.0.9"}}}
    [restored] = restore_pools([pool], saved)
    assert {h: str(a) for h, a in restored.held.items()} == {"c": "10.244.0.9"} and restored.last is None
    assert restore_pools([pool], {}) == (pool,)


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.booleans()), max_size=40))
def test_an_address_never_has_two_holders(steps: list[tuple[str, bool]]) -> None:
    [pool] = parse_pools("10.0.0.0/29")
    for holder, keep in steps:
        if not keep:
            pool = release_address(pool, holder)
            continue
        try:
            pool, address = allocate_address(pool, holder)
        except AddressesExhausted:
            assert len(pool.held) == 5
        else:
            assert ipaddress.ip_address("10.0.0.2") <= address <= ipaddress.ip_address("10.0.0.6")
        assert len(set(pool.held.values())) == len(pool.held)


def test_two_families_go_in_pairs() -> None:
    pools = tuple(allocate_address(pool, "uid")[0] for pool in parse_pools("10.244.3.0/24, fd10:244:3::/64"))
    found = plan_attachment("uid", pools)
    assert [str(a) for a in found.addresses] == ["10.244.3.2", "fd10:244:3::2"]
    assert [str(g) for g in found.gateways] == ["10.244.3.1", "fd10:244:3::1"]
    assert dict(found.host_sysctls)[f"net/ipv4/conf/{found.link}/forwarding"] == "1"
    assert not any("/all/" in path for path, _ in found.host_sysctls), "forwarding is enabled per interface"


def test_what_lacks_an_address_or_a_route_on_the_host_is_found() -> None:
    pools = parse_pools("10.244.3.0/24, fd10:244:3::/64")
    for uid in ("a", "b"):
        pools = tuple(allocate_address(pool, uid)[0] for pool in pools)
    a, b = plan_attachment("a", pools), plan_attachment("b", pools)
    addresses = {link: frozenset(a.gateways) for link in (a.link, b.link)}
    routes = frozenset((address, want.link) for want in (a, b) for address in want.addresses)
    assert find_incomplete((a, b), HostNetwork(addresses, routes)) == ()
    for address in b.addresses:
        assert find_incomplete((a, b), HostNetwork(addresses, routes - {(address, b.link)})) == (b,)
        assert find_incomplete((a, b), HostNetwork(addresses, routes - {(address, b.link)} | {(address, "x")})) == (b,)
    for gateway in a.gateways:
        lacking = addresses | {a.link: addresses[a.link] - {gateway}}
        assert find_incomplete((a, b), HostNetwork(lacking, routes)) == (a,)
    assert find_incomplete((a, b), HostNetwork({}, frozenset())) == (a, b)


def test_the_nodes_family_comes_first() -> None:
    assert sort_ranges("10.244.3.0/24, fd10::/64", "2001:db8::1") == "fd10::/64,10.244.3.0/24"
    assert sort_ranges("fd10::/64,10.244.3.0/24", "192.0.2.1") == "10.244.3.0/24,fd10::/64"
    assert sort_ranges("10.244.3.0/24", "2001:db8::1") == "10.244.3.0/24"


@given(st.uuids())
def test_link_names_fit_the_kernel(uid: object) -> None:
    assert len(choose_link_name(str(uid))) <= 15


@pytest.mark.parametrize("text", ["10.244.0.0/31", "10.244.0.1/24", "nonsense"])
def test_a_range_that_is_none(text: str) -> None:
    with pytest.raises(ValueError):
        parse_pools(text)
