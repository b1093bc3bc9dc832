"""Which sockets a Service has where no network is its own, and where. Rule: issue of the userspace plane, part 1."""

from __future__ import annotations

import pytest

from seaway.api.service import served
from seaway.net.family import Family
from seaway.net.loopback import LoopbackMap
from seaway.proxy.forwarding import (
    Forwarding,
    Frontend,
    Masquerade,
    Refusal,
    ServiceForwarding,
    Target,
    TrafficClass,
)
from seaway.proxy.userspace.plan import (
    Listening,
    Place,
    find_moved,
    plan_listeners,
)

MAP = LoopbackMap()
ENDPOINTS = (Target("10.244.0.5", 8080),)


def forward(frontend: Frontend, endpoints: tuple[Target, ...] = ENDPOINTS, **options: object) -> Forwarding:
    return Forwarding(
        frontend=frontend,
        port_name="http",
        endpoints=endpoints,
        masquerade=Masquerade.OFF_CLUSTER,
        **options,  # type: ignore[arg-type]
    )


def service(*forwardings: Forwarding) -> ServiceForwarding:
    return ServiceForwarding(
        service="default/web", family=Family.IPV4, age=("", ""), cluster_ip="10.96.0.10", forwardings=forwardings
    )


def cluster_ip(port: int = 80, protocol: str = "TCP", address: str = "10.96.0.10") -> Frontend:
    return Frontend(TrafficClass.CLUSTER_IP, address, protocol, port)


def test_a_cluster_ip_is_on_loopback_at_its_own_port_and_else_at_ports_that_are_always_the_same() -> None:
    frontend = cluster_ip()
    wanted, unserved = plan_listeners(service(forward(frontend)), loopback=MAP, node_addresses=())
    spare = served.derive_port(served.Frontend("10.96.0.10", 80))
    assert wanted[Listening("default/web", frontend, "10.96.0.10")].places == (
        Place("127.96.0.10", 80),
        Place("127.96.0.10", spare),
        Place("127.96.0.10", 0),
        Place("127.0.0.1", spare),
        Place("127.0.0.1", 0),
    )
    assert not unserved


def test_without_a_map_an_address_is_bound_as_it_is_and_nowhere_else() -> None:
    wanted, _ = plan_listeners(service(forward(cluster_ip())), loopback=None, node_addresses=())
    assert [want.places for want in wanted.values()] == [(Place("10.96.0.10", 80),)]


def test_a_node_port_is_on_each_address_of_the_node() -> None:
    frontend = Frontend(TrafficClass.NODE_PORT, "", "TCP", 30080)
    wanted, _ = plan_listeners(
        service(forward(frontend)), loopback=MAP, node_addresses=("192.0.2.1", "127.0.0.1", "127.0.0.1")
    )
    assert {listening.at: want.places for listening, want in wanted.items()} == {
        "127.0.0.1": (Place("127.0.0.1", 30080),),
        "192.0.2.1": (Place("192.0.2.1", 30080),),
    }


@pytest.mark.parametrize(
    ("forwarding", "is_open"),
    [
        pytest.param(forward(cluster_ip(), ()), False, id="nobody to serve: closed"),
        pytest.param(forward(cluster_ip(), (), refusal=Refusal.DROP), False, id="nobody here: closed"),
        pytest.param(forward(cluster_ip(), outside=(), refusal=Refusal.DROP), True, id="for those inside: open"),
        pytest.param(forward(cluster_ip(), (), outside=ENDPOINTS), True, id="for those outside: open"),
    ],
)
def test_a_frontend_that_refuses_everybody_has_no_socket(forwarding: Forwarding, is_open: bool) -> None:
    wanted, unserved = plan_listeners(service(forwarding), loopback=MAP, node_addresses=())
    assert bool(wanted) == is_open
    assert not unserved


@pytest.mark.parametrize(
    ("frontend", "words"),
    [
        pytest.param(Frontend(TrafficClass.EXTERNAL_IP, "198.51.100.7", "TCP", 80), "no place", id="outside the map"),
        pytest.param(cluster_ip(address="10.0.0.7"), "no place on loopback", id="the host's own part of it"),
        pytest.param(cluster_ip(protocol="SCTP"), "TCP and UDP are served", id="SCTP"),
        pytest.param(Frontend(TrafficClass.CLUSTER_IP, "10.96.0.10", "UDP", 100, 200), "ranges of ports", id="a range"),
    ],
)
def test_what_has_no_place_is_said(frontend: Frontend, words: str) -> None:
    wanted, unserved = plan_listeners(service(forward(frontend)), loopback=MAP, node_addresses=())
    assert not wanted
    assert len(unserved) == 1
    assert words in unserved[0]


def test_only_what_is_elsewhere_is_told_and_node_ports_never_are() -> None:
    at_home, moved = cluster_ip(8000), cluster_ip(80)
    node_port = Frontend(TrafficClass.NODE_PORT, "", "TCP", 30080)
    bound = {
        Listening("default/web", at_home, "10.96.0.10"): Place("127.96.0.10", 8000),
        Listening("default/web", moved, "10.96.0.10"): Place("127.96.0.10", 41234),
        Listening("default/web", node_port, "127.0.0.1"): Place("127.0.0.1", 30080),
    }
    assert find_moved(bound, loopback=MAP) == {moved: Place("127.96.0.10", 41234)}
