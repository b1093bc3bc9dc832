"""Session affinity on a real kernel. Rule: spec "proxy" §5."""

from __future__ import annotations

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


def test_a_client_keeps_its_endpoint(proxy: Running) -> None:
    serve(proxy)
    assert find(proxy).endswith(":8080")
    assert find(proxy, port=53, udp=True).endswith(":9090")
    assert find(proxy, VIP6).endswith(":8080")


def test_clients_are_still_spread(proxy: Running, world: World) -> None:
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


def test_a_node_port_keeps_its_client_too_under_either_policy(proxy: Running, world: World) -> None:
    for policy in ("Cluster", "Local"):
        serve(proxy, type="NodePort", externalTrafficPolicy=policy)
        answers = {ask(world.outside, NODE, 30080) for _ in range(12)}
        assert len({name for name, _ in answers}) == 1
        assert {source == OUTSIDE for _, source in answers} == {policy == "Local"}


def test_a_client_whose_endpoint_left_draws_anew_and_others_stay(proxy: Running, world: World) -> None:
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


def test_affinity_ends_with_its_time(proxy: Running) -> None:
    serve(proxy, seconds=1)
    client, found = proxy.world.pods[CLIENT_POD], set[str]()
    proxy.world.kernel.read_entries(Family.IPV4, TABLE, SERVICE.sticky(0, 1))
    for _ in range(400):  # each waits until what the one before left has ended
        found.add(ask(client, VIP, 80)[0])
        if len(found) > 1:
            break
        while any(
            key[8] == 6
            for slot in range(3)
            for key, _ in proxy.world.kernel.read_entries(Family.IPV4, TABLE, SERVICE.sticky(slot, 1))
        ):
            pass
    assert len(found) > 1


def test_another_time_keeps_the_client_and_none_ends_it(proxy: Running) -> None:
    serve(proxy)
    mine = find(proxy)
    serve(proxy, seconds=5400)
    assert find(proxy) == mine
    proxy.serve()
    proxy.sync()
    assert len(proxy.draw(proxy.world.pods[CLIENT_POD], VIP, 80)) == 3


def test_affinity_survives_a_restart_of_the_proxy(proxy: Running, world: World) -> None:
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
