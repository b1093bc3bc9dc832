"""How often a Service was asked, as the kernel counts it. Rule: issue of the proxy, part 5."""

from __future__ import annotations

from dataclasses import replace

import pytest

from seaway.net.family import Family
from seaway.proxy.counting.plan import Tally
from seaway.proxy.counting.run import read_connections
from seaway.testing.netns import ask
from tests.kernel.test_proxy import (
    CLIENT_POD,
    CONFIG,
    NODE,
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


def count(world: World, tally: Tally) -> dict[str, int]:
    with world.node.entered():
        return tally.take(read_connections(tuple(Family), "seaway"))


def test_every_connection_to_a_port_is_counted_once_whatever_becomes_of_its_endpoints(
    proxy: Running, world: World
) -> None:
    tally, client = Tally(), world.pods[CLIENT_POD]
    ports = [{"name": "http", "port": 80, "protocol": "TCP", "nodePort": 30080}]
    targets = [{"name": "http", "port": 8080, "protocol": "TCP"}]
    proxy.serve(type="NodePort", ports=ports)
    proxy.endpoints([PODS[0]], ports=targets)
    proxy.endpoints([PODS6[0]], ports=targets)
    proxy.sync()
    assert count(world, tally) == {"default/web:http": 0}
    for _ in range(3):
        ask(client, VIP, 80)
    ask(client, VIP6, 80)
    ask(world.outside, NODE, 30080)
    assert count(world, tally) == {"default/web:http": 5}
    proxy.endpoints([PODS[1], PODS[2]], ports=targets)
    proxy.sync()
    ask(client, VIP, 80)
    assert count(world, tally) == {"default/web:http": 6}
    proxy.endpoints([], ports=targets)
    proxy.sync()
    refused(client, VIP, 80)
    assert count(world, tally)["default/web:http"] >= 7, "also the ones that are refused"
    assert 'comment "default/web:http"' in world.node.run("nft", "list", "set", "ip", "seaway", "connections")


def test_a_restart_goes_on_counting_and_a_proxy_that_counts_no_more_takes_the_counters_away(
    proxy: Running, world: World
) -> None:
    proxy.serve()
    proxy.endpoints([PODS[0]])
    proxy.sync()
    ask(world.pods[CLIENT_POD], VIP, 80)
    again = world.start()
    again.serve()
    again.endpoints([PODS[0]])
    again.sync()
    assert count(world, Tally()) == {"default/web": 1}
    silent = world.start(replace(CONFIG, counts_connections=False))
    silent.serve()
    silent.endpoints([PODS[0]])
    silent.sync()
    assert count(world, Tally()) == {}
    assert ask(world.pods[CLIENT_POD], VIP, 80)[0] == f"{PODS[0]}:8080"


def test_a_range_is_counted_as_its_port(proxy: Running, world: World) -> None:
    meta = {"annotations": {"seaway.dev/port-range": "8080-9090"}}
    proxy.serve(meta=meta, ports=[{"port": 8080, "protocol": "TCP"}])
    proxy.endpoints([PODS[0]])
    proxy.sync()
    for port in (8080, 9090, 9090):
        ask(world.pods[CLIENT_POD], VIP, port)
    assert count(world, Tally()) == {"default/web": 3}
