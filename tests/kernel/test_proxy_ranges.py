"""Ranges of ports on a real kernel. Rule: issue of the proxy, part 3."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from seaway.testing.netns import ask
from tests.kernel.test_proxy import (
    CLIENT_POD,
    EXTERNAL,
    OUTSIDE,
    PODS,
    PODS6,
    VIP,
    VIP6,
    Running,
    World,
    proxy,
    refused,
    world,
)

__all__ = ["proxy", "world"]
pytestmark = pytest.mark.kernel
PORTS = [{"name": "a", "port": 8080, "protocol": "TCP"}, {"name": "b", "port": 8080, "protocol": "UDP"}]


def serve(proxy: Running, last: int = 9090, *, pods: tuple[str, ...] = PODS, ports: Any = None, **spec: Any) -> None:
    """The echo servers listen on both ends of the range."""
    meta = {"annotations": {"seaway.dev/port-range": f"a=8080-{last},b=8080-{last}"}}
    proxy.serve(meta=meta, **{"ports": ports or PORTS, **spec})
    proxy.endpoints(list(pods), ports=PORTS)
    proxy.endpoints(list(PODS6), ports=PORTS)
    proxy.sync()


@pytest.mark.parametrize("udp", [False, True], ids=["TCP", "UDP"])
@pytest.mark.parametrize("vip", [VIP, VIP6], ids=["IPv4", "IPv6"])
def test_both_ends_of_a_range_reach_the_same_port_and_what_is_outside_is_refused(
    proxy: Running, world: World, vip: str, udp: bool
) -> None:
    serve(proxy)
    client = world.pods[CLIENT_POD]
    for port in (8080, 9090):
        assert ask(client, vip, port, udp=udp)[0].endswith(f":{port}")
    serve(proxy, last=9089)
    error = refused(client, vip, 9090, udp=udp)
    assert error == errno.ECONNREFUSED or (vip == VIP6 and not udp and error == errno.ETIMEDOUT)


def test_a_single_port_wins_inside_a_range(proxy: Running, world: World) -> None:
    serve(proxy, ports=[*PORTS, {"name": "c", "port": 9090, "protocol": "TCP"}])
    proxy.endpoints([PODS[0]], ports=[*PORTS, {"name": "c", "port": 8080, "protocol": "TCP"}])
    proxy.sync()
    assert ask(world.pods[CLIENT_POD], VIP, 9090)[0] == f"{PODS[0]}:8080"
    serve(proxy)
    assert ask(world.pods[CLIENT_POD], VIP, 9090)[0].endswith(":9090")


def test_a_hairpin_of_a_range_is_masqueraded(proxy: Running, world: World) -> None:
    serve(proxy, pods=PODS[:1])
    name, source = ask(world.pods[PODS[0]], VIP, 9090)
    assert name == f"{PODS[0]}:9090"
    assert source != PODS[0]


def test_external_local_keeps_the_source(proxy: Running, world: World) -> None:
    serve(proxy, type="LoadBalancer", externalTrafficPolicy="Local", externalIPs=[EXTERNAL])
    name, source = ask(world.outside, EXTERNAL, 9090)
    assert name.endswith(":9090")
    assert source == OUTSIDE


def test_a_client_keeps_its_endpoint_across_the_ports_of_a_range(proxy: Running, world: World) -> None:
    serve(proxy, sessionAffinity="ClientIP")
    found = {ask(world.pods[CLIENT_POD], VIP, port)[0].rsplit(":", 1)[0] for port in (8080, 9090) * 6}
    assert len(found) == 1
    (mine,) = found
    serve(proxy, pods=tuple(pod for pod in PODS if pod != mine), sessionAffinity="ClientIP")
    (other,) = {ask(world.pods[CLIENT_POD], VIP, port)[0].rsplit(":", 1)[0] for port in (8080, 9090) * 6}
    assert other != mine


def test_a_range_without_endpoints_is_refused(proxy: Running, world: World) -> None:
    serve(proxy, pods=())
    assert refused(world.pods[CLIENT_POD], VIP, 9090) == errno.ECONNREFUSED
