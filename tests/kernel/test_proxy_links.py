"""Pods known by their links, on a real kernel. Rule: spec "proxy" §3.5."""

from __future__ import annotations

import pytest

from seaway.net.family import Family
from seaway.proxy.config import DetectLocal, ProxyConfig
from seaway.testing.netns import ask
from tests.kernel.test_proxy import CLIENT_POD, NODE, OUTSIDE, PODS, PODS6, VIP, VIP6, World, world

__all__ = ["world"]
pytestmark = pytest.mark.kernel

MODES = {
    "by the prefix of their links": ProxyConfig(
        node_name="node-1", detect_local=DetectLocal.INTERFACE_NAME_PREFIX, pod_link="pod", masquerade_bit=5
    ),
    "by the one link": ProxyConfig(node_name="node-1", detect_local=DetectLocal.BRIDGE_INTERFACE, pod_link="pod3"),
}


@pytest.mark.parametrize("config", MODES.values(), ids=MODES.keys())
def test_pods_are_known(world: World, config: ProxyConfig) -> None:
    running = world.start(config)
    running.serve(
        type="NodePort", externalTrafficPolicy="Local", ports=[{"port": 80, "protocol": "TCP", "nodePort": 30080}]
    )
    running.endpoints([PODS[0]])
    running.endpoints([PODS6[0]])
    running.sync()
    try:
        assert ask(world.pods[CLIENT_POD], VIP, 80)[1] == CLIENT_POD, "a Pod keeps its address"
        assert ask(world.pods[CLIENT_POD], VIP6, 80)[1] == "fd10:244::9"
        assert ask(world.outside, NODE, 30080)[1] == OUTSIDE, "the Local policy keeps everybody's"
        world.outside.run("ip", "route", "replace", f"{VIP}/32", "via", NODE)
        assert ask(world.outside, VIP, 80)[1] != OUTSIDE, "others are hidden behind the node"
        listed = world.node.run("nft", "list", "ruleset")
        assert 'iifname != "pod' in listed
        world.node.run("nft", "-c", "-f", "-", stdin=listed)
        for family in Family:
            assert not world.kernel.find_altered(running.planes[family].table.want())
    finally:
        world.outside.run("ip", "route", "flush", "to", f"{VIP}/32")
        for family in Family:
            world.kernel.delete(family, config.table)
