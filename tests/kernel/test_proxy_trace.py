"""The kernel's own account of a packet, and that nothing stays of the asking."""

from __future__ import annotations

import threading

import pytest

from seaway.proxy.tracing.kernel import TraceError, find_link, trace_packet
from seaway.proxy.tracing.walk import Question
from seaway.testing.netns import ask
from tests.kernel.test_proxy import CLIENT_POD, NODE, PODS, PODS6, VIP, VIP6, Running, World, proxy, world

__all__ = ["proxy", "world"]
pytestmark = pytest.mark.kernel


def serve(proxy: Running) -> None:
    proxy.serve(type="NodePort", ports=[{"port": 80, "protocol": "TCP", "nodePort": 30080}])
    proxy.endpoints([PODS[0]])
    proxy.endpoints([PODS6[0]])
    proxy.sync()


def test_a_packet_of_the_node_is_sent_and_followed_to_its_endpoint(proxy: Running, world: World) -> None:
    serve(proxy)
    before = world.node.run("nft", "--stateless", "list", "ruleset")
    with world.node.entered():
        is_sent, lines = trace_packet(Question(NODE, VIP, 80), timeout_seconds=5)
    assert is_sent
    assert lines[0] == f"{NODE} to {VIP}:80:"
    assert "  ip seaway translate, rule 3: goto pick-1" in lines, "the second counts"
    assert f"{NODE} to {PODS[0]}:8080:" in lines
    assert lines[-1] == "  ip seaway nat-postrouting, rule 1: accept"  # masqueraded
    assert world.node.run("nft", "--stateless", "list", "ruleset") == before


def test_ipv6_and_a_refusal(proxy: Running, world: World) -> None:
    serve(proxy)
    proxy.endpoints([], "web")
    proxy.serve("none", clusterIP=VIP, clusterIPs=[VIP, VIP6])
    proxy.proxier.set_slice("default/web-ipv6-node-1", None)
    proxy.sync()
    with world.node.entered():
        _, lines = trace_packet(Question("2001:db8::1", VIP6, 80), timeout_seconds=5)
    assert lines[-1] == "  ip6 seaway reject-all, rule 1: drop"  # a reject ends as a drop, after its ICMP


def test_a_pods_packet_is_waited_for(proxy: Running, world: World) -> None:
    serve(proxy)
    stop = threading.Event()

    def keep_asking() -> None:
        while not stop.is_set():
            ask(world.pods[CLIENT_POD], VIP, 80)

    asking = threading.Thread(target=keep_asking)
    asking.start()
    try:
        with world.node.entered():
            is_sent, lines = trace_packet(Question(CLIENT_POD, VIP, 80), timeout_seconds=20)
    finally:
        stop.set()
        asking.join()
    assert not is_sent
    assert f"{CLIENT_POD} to {PODS[0]}:8080:" in lines


def test_a_packet_that_never_comes_is_an_error_and_leaves_nothing(proxy: Running, world: World) -> None:
    serve(proxy)
    with world.node.entered(), pytest.raises(TraceError, match=r"no packet from 10.9.9.9 .* came"):
        trace_packet(Question("10.9.9.9", VIP, 80), timeout_seconds=0.2)
    assert "seaway-trace" not in world.node.run("nft", "--stateless", "list", "ruleset")


def test_the_link_that_a_source_comes_in_by_is_that_of_the_route_to_it(world: World) -> None:
    with world.node.entered():
        assert find_link(CLIENT_POD) == "pod3"
        assert find_link("fd10:244::9") == "pod3"
        assert find_link("127.0.0.1") == "lo"
