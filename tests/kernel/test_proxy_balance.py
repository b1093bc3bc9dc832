"""Algorithms and weights on a real kernel. Rule: issue of the proxy, part 3."""

from __future__ import annotations

from collections import Counter

import pytest

from seaway.testing.netns import ask
from tests.kernel.test_proxy import CLIENT_POD, NODE, OUTSIDE, PODS, PODS6, VIP, VIP6, Running, World, proxy, world

__all__ = ["proxy", "world"]
pytestmark = pytest.mark.kernel


def serve(proxy: Running, balance: str, *pods: str, **spec: object) -> None:
    proxy.serve(meta={"annotations": {"seaway.dev/balance": balance}}, **spec)
    for family in (PODS, PODS6):
        proxy.endpoints([pod for pod in pods if pod in family] or list(family))
    proxy.sync()


def draw(proxy: Running, times: int, address: str = VIP) -> list[str]:
    client = proxy.world.pods[CLIENT_POD]
    return [ask(client, address, 80)[0].removesuffix(":8080") for _ in range(times)]


def test_round_robin_takes_turns(proxy: Running) -> None:
    serve(proxy, "round-robin", *PODS)
    first = draw(proxy, 3)
    assert sorted(first) == sorted(PODS)
    assert draw(proxy, 9) == first * 3


def test_a_hash_gives_a_client_one_endpoint_by_every_address_and_on_every_node(proxy: Running, world: World) -> None:
    ports = [{"port": 80, "protocol": "TCP", "nodePort": 30080}]
    serve(proxy, "hash", *PODS, type="NodePort", ports=ports, externalTrafficPolicy="Local")
    (mine,) = set(draw(proxy, 8))
    (mine6,) = set(draw(proxy, 8, VIP6))
    (outside,) = {ask(world.outside, NODE, 30080) for _ in range(8)}
    assert outside[1] == OUTSIDE
    gone = next(pod for pod in PODS if pod != mine)
    serve(proxy, "hash", *[pod for pod in PODS if pod != gone], ports=ports, type="NodePort")
    assert set(draw(proxy, 8, VIP6)) == {mine6}
    serve(proxy, "hash", *PODS, ports=ports, type="NodePort")
    assert set(draw(proxy, 8)) == {mine}, "what has come back has its places again"


def test_clients_of_a_hash_are_spread(proxy: Running, world: World) -> None:
    serve(proxy, "hash", *PODS, type="NodePort", ports=[{"port": 80, "protocol": "TCP", "nodePort": 30080}])
    found = Counter()
    for number in range(60, 100):
        address = f"192.0.2.{number}"
        world.outside.run("ip", "address", "add", f"{address}/32", "dev", "lo")
        world.node.run("ip", "route", "add", f"{address}/32", "via", OUTSIDE)
        found[ask(world.outside, NODE, 30080, source=address)[0]] += 1
        world.node.run("ip", "route", "del", f"{address}/32")
        world.outside.run("ip", "address", "del", f"{address}/32", "dev", "lo")
    assert len(found) == len(PODS)


def test_weights_are_shares_and_none_is_nobody(proxy: Running) -> None:
    proxy.serve()
    weights = f'{{"{PODS[0]}": 3, "{PODS[1]}": 1, "{PODS[2]}": 0}}'
    proxy.endpoints(list(PODS), annotations={"seaway.dev/weights": weights})
    proxy.sync()
    shares = Counter(draw(proxy, 400))
    assert shares.keys() == {PODS[0], PODS[1]}
    assert 240 < shares[PODS[0]] < 350
    proxy.endpoints(list(PODS))
    proxy.sync()
    assert set(draw(proxy, 60)) == set(PODS)
