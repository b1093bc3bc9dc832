"""Rule: spec "node" §4.2, §4.3."""

from __future__ import annotations

import contextlib
import ipaddress
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.node.network.plan import (
    AddressesExhausted,
    AddressPool,
    HostNetwork,
    UnfitMtu,
    allocate_address,
    choose_link_name,
    choose_mtu,
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


UIDS = st.sampled_from("abcdef")
CRASH = st.integers(0, 3)


@given(st.lists(st.tuples(UIDS, st.booleans(), CRASH), max_size=60))
def test_no_two_pods_have_one_address_whenever_the_agent_ends(steps: list[tuple[str, bool, int]]) -> None:
    """An agent that ends after any of its steps is followed by one that knows only the disk and the Pods that run."""
    [fresh] = parse_pools("10.0.0.0/29")
    world = _Host(fresh)
    for uid, starts, ends_after in steps:
        for number, step in enumerate(world.start(uid) if starts else world.stop(uid), 1):
            step()
            world.check()
            if number == ends_after:
                world.restart()
                world.check()
                break


class _Host:
    """What is in memory, on disk and connected. The order of steps is that of `runtime/local/run.py`."""

    def __init__(self, pool: AddressPool) -> None:
        self.fresh = self.pool = pool
        self.disk: dict[str, object] = {}
        self.connected: dict[str, object] = {}

    def start(self, uid: str) -> list[Callable[[], None]]:
        return [lambda: self.allocate(uid), self.save, lambda: self.connect(uid)]

    def stop(self, uid: str) -> list[Callable[[], None]]:
        return [lambda: self.disconnect(uid), lambda: self.release(uid), self.save]

    def allocate(self, uid: str) -> None:
        with contextlib.suppress(AddressesExhausted):
            self.pool, _ = allocate_address(self.pool, uid)

    def release(self, uid: str) -> None:
        self.pool = release_address(self.pool, uid)

    def save(self) -> None:
        self.disk = json.loads(json.dumps(encode_pools([self.pool])))

    def connect(self, uid: str) -> None:
        if uid in self.pool.held:
            self.connected[uid] = self.pool.held[uid]

    def disconnect(self, uid: str) -> None:
        self.connected.pop(uid, None)

    def restart(self) -> None:
        [self.pool] = restore_pools([self.fresh], self.disk)

    def check(self) -> None:
        assert len(set(self.connected.values())) == len(self.connected)
        assert all(self.pool.held.get(uid) == address for uid, address in self.connected.items())


@pytest.mark.parametrize(
    ("asked", "uplink", "expected"),
    [
        pytest.param(0, 1450, 1450, id="the uplink's"),
        pytest.param(0, None, 1500, id="Ethernet's where there is no uplink"),
        pytest.param(0, 9000, 9000, id="large packets too"),
        pytest.param(1400, 1500, 1400, id="what was asked for"),
        pytest.param(1400, None, 1400, id="what was asked for, without an uplink"),
    ],
)
def test_the_largest_packet(asked: int, uplink: int | None, expected: int) -> None:
    assert choose_mtu(asked, uplink, has_ipv6=True) == expected


@pytest.mark.parametrize(
    ("asked", "uplink", "has_ipv6", "text"),
    [
        (1600, 1500, False, "MTU 1600 of Pods: the uplink takes 1500; set --mtu to at most that, or leave it out"),
        (1000, 1500, True, "MTU 1000 of Pods: 1280 or more needed for IPv6; set --mtu"),
        (0, 500, False, "MTU 500 of Pods: 576 or more needed; set --mtu"),
    ],
)
def test_a_size_that_cannot_be(asked: int, uplink: int, has_ipv6: bool, text: str) -> None:
    with pytest.raises(UnfitMtu) as caught:
        choose_mtu(asked, uplink, has_ipv6=has_ipv6)
    assert str(caught.value) == text


@given(st.uuids())
def test_link_names_fit_the_kernel(uid: object) -> None:
    assert len(choose_link_name(str(uid))) <= 15


@pytest.mark.parametrize("text", ["10.244.0.0/31", "10.244.0.1/24", "nonsense"])
def test_a_range_that_is_none(text: str) -> None:
    with pytest.raises(ValueError):
        parse_pools(text)
