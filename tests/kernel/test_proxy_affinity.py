"""Session affinity on a real kernel. Rule: spec "proxy" §5."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import pytest

from seaway.net.family import Family
from seaway.proxy.nftables.structure import SERVICE
from seaway.testing.netns import ask
from tests.kernel.test_proxy import (
    CLIENT_POD,
    CONFIG,
    NODE,
    OUTSIDE,
    PODS,
    PODS6,
    VIP,
    VIP6,
    Running,
    World,
    proxy,
    world,
)

__all__ = ["proxy", "world"]
pytestmark = pytest.mark.kernel
TABLE = "seaway"


def serve(proxy: Running, *, seconds: int = 10800, pods: list[str] | None = None, **spec: Any) -> None:
    proxy.serve(
        sessionAffinity="ClientIP",
        sessionAffinityConfig={"clientIP": {"timeoutSeconds": seconds}},
        ports=[{"port": 80, "protocol": "TCP", "nodePort": 30080}, {"name": "dns", "port": 53, "protocol": "UDP"}],
        **spec,
    )
    both = [{"name": "", "port": 8080, "protocol": "TCP"}, {"name": "dns", "port": 9090, "protocol": "UDP"}]
    proxy.endpoints(list(PODS) if pods is None else pods, ports=both)
    proxy.endpoints(list(PODS6), ports=both)
    proxy.sync()


def find(proxy: Running, address: str = VIP, port: int = 80, *, times: int = 12, udp: bool = False) -> str:
    """The one endpoint that answers the Pod that asks again and again."""
    client = proxy.world.pods[CLIENT_POD]
    (found,) = {ask(client, address, port, udp=udp)[0] for _ in range(times)}
    return found


def test_scenario_115_a_client_keeps_its_endpoint(proxy: Running) -> None:
    serve(proxy)
    assert find(proxy).endswith(":8080")
    assert find(proxy, port=53, udp=True).endswith(":9090")
    assert find(proxy, VIP6).endswith(":8080")


def test_scenario_116_clients_are_independent_of_each_other(proxy: Running, world: World) -> None:
    """Each address of the client outside draws for itself."""
    serve(proxy)
    found = set()
    for number in range(10, 40):
        address = f"192.0.2.{number}"
        world.outside.run("ip", "address", "add", f"{address}/32", "dev", "lo")
        world.node.run("ip", "route", "add", f"{address}/32", "via", OUTSIDE)
        found.add(ask(world.outside, NODE, 30080, source=address)[0])
        world.node.run("ip", "route", "del", f"{address}/32")
        world.outside.run("ip", "address", "del", f"{address}/32", "dev", "lo")
    assert found == {f"{pod}:8080" for pod in PODS}


def test_scenario_125_a_node_port_keeps_its_client_too_under_either_policy(proxy: Running, world: World) -> None:
    for policy in ("Cluster", "Local"):
        serve(proxy, type="NodePort", externalTrafficPolicy=policy)
        answers = {ask(world.outside, NODE, 30080) for _ in range(12)}
        assert len({name for name, _ in answers}) == 1
        assert {source == OUTSIDE for _, source in answers} == {policy == "Local"}


def test_scenario_122_a_client_whose_endpoint_left_draws_anew_and_others_stay(proxy: Running, world: World) -> None:
    serve(proxy)
    mine = find(proxy)
    on_node = {ask(world.node, VIP, 80)[0] for _ in range(12)}
    assert len(on_node) == 1
    left = [pod for pod in PODS if f"{pod}:8080" != mine]
    serve(proxy, pods=left)
    other = find(proxy)
    assert other in {f"{pod}:8080" for pod in left}
    if on_node != {mine}:
        assert {ask(world.node, VIP, 80)[0] for _ in range(12)} == on_node
    serve(proxy)
    assert find(proxy) == other, "an endpoint that comes back has no memory"


def test_who_was_remembered_for_an_endpoint_that_left_is_gone_from_the_kernel(proxy: Running, world: World) -> None:
    serve(proxy)
    mine = find(proxy)
    assert sum(len(list_remembered(world, slot)) for slot in range(3)) == 1
    serve(proxy, pods=[pod for pod in PODS if f"{pod}:8080" != mine])
    assert sum(len(list_remembered(world, slot)) for slot in range(2)) == 0


def list_remembered(world: World, slot: int) -> list[bytes]:
    """Keys of TCP."""
    entries = world.kernel.read_entries(Family.IPV4, TABLE, SERVICE.sticky(slot, 10800))
    return [key for key, _ in entries if key[8] == 6]


def test_scenario_117_a_client_gets_the_same_endpoint_by_every_address_of_a_port(proxy: Running) -> None:
    serve(proxy, type="NodePort")
    mine = find(proxy)
    assert find(proxy, NODE, 30080, times=3) == mine


def test_scenario_118_two_ports_are_remembered_each_for_itself(proxy: Running, world: World) -> None:
    """The kernel knows the client of one port, and nothing of the other."""
    serve(proxy)
    find(proxy)
    held = [key for slot in range(3) for key, _ in entries_of(world, slot, 10800)]
    assert len(held) == 1
    find(proxy, port=53, udp=True)
    held = [key for slot in range(3) for key, _ in entries_of(world, slot, 10800)]
    assert sorted(key[8] for key in held) == [6, 17]


def test_scenario_120_every_new_connection_starts_the_time_anew(proxy: Running, world: World) -> None:
    serve(proxy, seconds=60)
    mine = find(proxy, times=1)
    (left,) = left_of(world)
    while (left_of(world))[0] > left - 0.2:
        pass
    (before,) = left_of(world)
    assert find(proxy, times=1) == mine
    (after,) = left_of(world)
    assert after > before


def entries_of(world: World, slot: int, seconds: int) -> list[tuple[bytes, float]]:
    return world.kernel.read_entries(Family.IPV4, TABLE, SERVICE.sticky(slot, seconds))


def left_of(world: World) -> list[float]:
    return [left for slot in range(3) for _, left in entries_of(world, slot, 60)]


def test_scenarios_119_121_affinity_ends_with_its_time_whatever_goes_on_in_old_connections(
    proxy: Running, world: World
) -> None:
    serve(proxy, seconds=1)
    with world.pods[CLIENT_POD].entered():
        old = socket.create_connection((VIP, 80), timeout=5)
    with old:
        assert sum(len(entries_of(world, slot, 1)) for slot in range(3)) == 1
        while any(entries_of(world, slot, 1) for slot in range(3)):
            with contextlib.suppress(OSError):
                old.send(b"still there")
    assert find(proxy, times=3).endswith(":8080")


def test_scenario_123_another_time_keeps_the_client_and_none_ends_it(proxy: Running) -> None:
    serve(proxy)
    mine = find(proxy)
    serve(proxy, seconds=5400)
    assert find(proxy) == mine
    proxy.serve()
    proxy.sync()
    assert len(proxy.draw(proxy.world.pods[CLIENT_POD], VIP, 80)) == 3


def test_scenario_124_affinity_survives_a_restart_of_the_proxy(proxy: Running, world: World) -> None:
    serve(proxy)
    mine = find(proxy)
    gone = next(pod for pod in PODS if f"{pod}:8080" != mine)
    serve(proxy, pods=[pod for pod in PODS if pod != gone])
    assert find(proxy) == mine
    again = world.start(CONFIG)
    serve(again, pods=[pod for pod in PODS if pod != gone])
    assert find(again) == mine
    serve(again)
    assert find(again) == mine
