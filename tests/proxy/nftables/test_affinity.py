"""Session affinity: who is remembered by which slot, and where they go when endpoints move. Rule: spec "proxy" §5."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seaway.net.family import Family
from seaway.proxy.forwarding import Forwarding, Frontend, Masquerade, ServiceForwarding, Target, TrafficClass
from seaway.proxy.nftables.affinity import LEAST_SECONDS, Sticky, choose_entries, plan_moves
from seaway.proxy.nftables.fake import FakeKernel
from seaway.proxy.nftables.plane import NftablesTable
from seaway.proxy.nftables.render import pack_address, pack_key, pack_target
from seaway.proxy.nftables.structure import LOCAL, LOCAL_NODE_PORT, NODE_PORT, SERVICE, Lane, RenderConfig

FAMILY, TABLE = Family.IPV4, "seaway"
PLAIN = RenderConfig(FAMILY)
A, B, C, D = (f"{name}".encode() for name in "abcd")
KEY = (SERVICE, b"vip")


def move(before: tuple[bytes, ...], after: tuple[bytes, ...], seconds: int = 60) -> dict[str, str]:
    """Slot → slot ("" is forgotten) for one frontend whose affinity was of 60 seconds."""
    new = {KEY: Sticky(seconds, after)} if after else {}
    moves = plan_moves({KEY: Sticky(60, before)}, new)
    return {source.removeprefix("sticky-60-slot-"): goal[b"vip"] for source, goal in moves.items()}


MOVES = {
    "nothing changes": ((A, B), (A, B), 60, {}),
    "another endpoint comes": ((A, B), (A, B, C), 60, {}),
    "the last one leaves": ((A, B), (A,), 60, {"1": ""}),
    "one leaves and the last one takes its slot": (
        (A, B, C), (C, B), 60, {"0": "", "2": "sticky-60-slot-0"},
    ),
    "one is replaced": ((A, B), (A, C), 60, {"1": ""}),
    "two change places": ((A, B), (B, A), 60, {"0": "sticky-60-slot-1", "1": "sticky-60-slot-0"}),
    "another time keeps the clients": (
        (A, B), (A, B), 90, {"0": "sticky-90-slot-0", "1": "sticky-90-slot-1"},
    ),
    "all leave": ((A, B), (), 60, {"0": "", "1": ""}),
}  # fmt: skip


@pytest.mark.parametrize(("before", "after", "seconds", "wanted"), MOVES.values(), ids=MOVES.keys())
def test_where_clients_go(
    before: tuple[bytes, ...], after: tuple[bytes, ...], seconds: int, wanted: dict[str, str]
) -> None:
    assert move(before, after, seconds) == wanted


def test_only_clients_of_the_frontend_are_touched_and_none_that_ends_by_itself() -> None:
    entries = [(b"c1c1vip", 30.0), (b"c2c2vip", LEAST_SECONDS / 2), (b"c3c3other", 30.0), (b"c4c4old", 9.0)]
    forgotten, moved = choose_entries(entries, {b"vip": "there", b"old": ""}, 4)
    assert forgotten == [b"c1c1vip", b"c4c4old"]
    assert moved == {"there": [(b"c1c1vip", 30.0)]}


# The law: whoever is remembered is remembered for an endpoint that is served, and for the one that they had.

targets = st.lists(st.integers(1, 6).map(lambda n: Target(f"10.0.0.{n}", 80)), unique=True, max_size=5).map(tuple)


@st.composite
def sticky_services(draw: st.DrawFn) -> ServiceForwarding:
    seconds = draw(st.sampled_from((None, 60, 90)))
    frontends = [Frontend(TrafficClass.CLUSTER_IP, "172.30.0.1", "TCP", 80)]
    if draw(st.booleans()):
        frontends.append(Frontend(TrafficClass.NODE_PORT, "", "TCP", 3000))
    endpoints = draw(targets)
    forwardings = []
    for frontend in frontends:
        is_local = bool(endpoints) and frontend.traffic_class is TrafficClass.NODE_PORT and draw(st.booleans())
        outside = tuple(t for t in endpoints if draw(st.booleans())) if is_local else None
        forwardings.append(
            Forwarding(
                frontend=frontend, port_name="", endpoints=endpoints, outside=outside,
                masquerade=Masquerade.ALWAYS, affinity_seconds=seconds,
            )
        )  # fmt: skip
    return ServiceForwarding(
        service="default/web", family=FAMILY, age=("", ""), cluster_ip="172.30.0.1", forwardings=tuple(forwardings)
    )


connections = st.lists(st.tuples(st.integers(1, 5), st.integers(0, 3), st.integers(0, 4)), max_size=6)
Place = tuple[Lane, bytes]


def places(table: NftablesTable) -> dict[Place, tuple[int, tuple[Target, ...]]]:
    """Where clients are remembered now: the seconds, and who stands in which slot."""
    found: dict[Place, tuple[int, tuple[Target, ...]]] = {}
    for service in table.services():
        for f in service.forwardings:
            if f.affinity_seconds is None:
                continue
            key = pack_key(f.frontend.address, f.frontend.protocol, f.frontend.port)
            is_node_port = f.frontend.traffic_class is TrafficClass.NODE_PORT
            found[NODE_PORT if is_node_port else SERVICE, key] = (f.affinity_seconds, f.endpoints)
            if f.outside:
                found[LOCAL_NODE_PORT if is_node_port else LOCAL, key] = (f.affinity_seconds, f.outside)
    return {place: value for place, value in found.items() if value[1]}


@given(st.lists(st.tuples(st.none() | sticky_services(), connections, st.booleans()), min_size=1, max_size=8))
@settings(max_examples=150, deadline=None)
def test_clients_keep_their_endpoint_while_it_is_served_and_are_forgotten_when_it_leaves(
    steps: list[tuple[ServiceForwarding | None, list[tuple[int, int, int]], bool]],
) -> None:
    kernel = FakeKernel()
    table = NftablesTable(kernel, PLAIN)
    had: dict[tuple[Place, bytes], Target] = {}
    for service, clients, restarts in steps:
        if restarts:
            table = NftablesTable(kernel, PLAIN)
        table.sync({"default/web": service}, PLAIN)
        now = places(table)
        had = {(place, c): t for (place, c), t in had.items() if place in now and t in now[place][1]}
        assert read_remembered(kernel, now) == had
        ordered = sorted(now, key=lambda place: (place[0].prefix, place[1]))
        for client, which, slot in clients:
            if not ordered:
                continue
            place = ordered[which % len(ordered)]
            seconds, endpoints = now[place]
            address = pack_address(f"192.0.2.{client}")
            if (place, address) not in had:
                index = slot % len(endpoints)
                kernel.remember(FAMILY, TABLE, place[0].sticky(index, seconds), address + place[1], 30.0)
                had[place, address] = endpoints[index]


def read_remembered(
    kernel: FakeKernel, now: dict[Place, tuple[int, tuple[Target, ...]]]
) -> dict[tuple[Place, bytes], Target]:
    """By place and client: the endpoint that the kernel would send them to."""
    found: dict[tuple[Place, bytes], Target] = {}
    for place, (seconds, endpoints) in now.items():
        for index, target in enumerate(endpoints):
            for key, _ in kernel.read_entries(FAMILY, TABLE, place[0].sticky(index, seconds)):
                if key[4:] == place[1]:
                    assert (place, key[:4]) not in found, "nobody is remembered twice"
                    found[place, key[:4]] = target
    return found


def test_a_restart_finds_who_stands_where_and_moves_nobody() -> None:
    kernel = FakeKernel()
    frontend = Frontend(TrafficClass.CLUSTER_IP, "172.30.0.1", "TCP", 80)
    endpoints = tuple(Target(f"10.0.0.{n}", 80) for n in range(1, 5))
    one = Forwarding(
        frontend=frontend, port_name="", endpoints=endpoints, masquerade=Masquerade.ALWAYS, affinity_seconds=60
    )
    service = ServiceForwarding(
        service="default/web", family=FAMILY, age=("", ""), cluster_ip="172.30.0.1", forwardings=(one,)
    )
    table = NftablesTable(kernel, PLAIN)
    table.sync({"default/web": service}, PLAIN)
    fewer = replace(service, forwardings=(replace(one, endpoints=endpoints[1:]),))
    table.sync({"default/web": fewer}, PLAIN)
    before = kernel.read_whole(FAMILY, TABLE)
    applied = len(kernel.applied)
    again = NftablesTable(kernel, PLAIN)
    again.sync({"default/web": fewer}, PLAIN)
    assert kernel.read_whole(FAMILY, TABLE) == before
    assert [t for t in kernel.applied[applied:] if not t.is_empty] == []
    slot = kernel.read_whole(FAMILY, TABLE).elements["slot-0"]
    assert slot[pack_key("172.30.0.1", "TCP", 80)] == pack_target(endpoints[3]), "the last one filled the hole"
