"""Beside stock kube-proxy, and after it; the ruleset as text. Rule: spec "proxy" §9, §14 (coexistence)."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import pytest

from seaway.api.registry import ENDPOINT_SLICES, NODES, SERVICES
from seaway.proxy.config import DetectLocal, ProxyConfig
from seaway.proxy.run import cleanup
from seaway.proxy.showing.run import diff_cluster, render_cluster
from seaway.proxy.tracing.run import read_cluster
from seaway.testing.builders import make_node, make_service
from seaway.testing.cluster import open_cluster
from seaway.testing.netns import Namespace, ask
from tests.kernel.test_proxy_run import CONFIG, answers, node, proxy, slice_on_node

__all__ = ["node"]
pytestmark = pytest.mark.kernel

STOCK = """
table ip kube-proxy { chain services { type nat hook output priority -100; }; }
table ip nat { chain KUBE-SERVICES { }; }
"""


def test_stock_tables_are_left_alone_until_told_and_then_go_without_a_gap(
    node: Namespace, caplog: pytest.LogCaptureFixture
) -> None:
    async def play() -> None:
        async with open_cluster() as cluster:
            admin = cluster.client()
            await admin.create(NODES, make_node("node-1"))
            vip = (await admin.create(SERVICES, make_service("web"), "default"))["spec"]["clusterIP"]
            await admin.create(ENDPOINT_SLICES, slice_on_node(7070), "default")
            async with proxy(cluster):
                assert ask(node, vip, 80)[0] == "one"
                assert "table ip kube-proxy" in node.run("nft", "list", "tables")
            assert "end it and start with --replace" in caplog.text
            assert "1 chains of kube-proxy's iptables mode in ip nat" in caplog.text
            async with proxy(cluster, replace(CONFIG, replaces=True)):
                assert ask(node, vip, 80)[0] == "one"
                assert "table ip kube-proxy" not in node.run("nft", "list", "tables")
                assert "KUBE-SERVICES" in node.run("nft", "list", "ruleset"), "what others may still use is only named"

    with node.entered(), caplog.at_level(logging.WARNING):
        node.run("nft", "-f", "-", stdin=STOCK)
        asyncio.run(play())
        node.run("nft", "delete", "table", "ip", "nat")
        cleanup()


MODES = {
    "by their addresses": CONFIG,
    "by what their Node says": replace(CONFIG, cluster_cidrs=(), detect_local=DetectLocal.NODE_CIDR),
    "by their bridge": replace(CONFIG, detect_local=DetectLocal.BRIDGE_INTERFACE, pod_link="cni0"),
    "by how their links start": replace(CONFIG, detect_local=DetectLocal.INTERFACE_NAME_PREFIX, pod_link="veth"),
    "and all is masqueraded, and nothing counted": replace(
        CONFIG, masquerade_all=True, masquerade_bit=3, counts_connections=False
    ),
}


@pytest.mark.parametrize("config", MODES.values(), ids=[f"Pods are known {how}" for how in MODES])
def test_diff_knows_how_pods_are_known(node: Namespace, config: ProxyConfig) -> None:
    """A proxy that is in step differs in nothing from what its own flags say."""

    async def play() -> None:
        async with open_cluster() as cluster:
            admin = cluster.client()
            await admin.create(NODES, make_node("node-1", podCIDR="10.244.3.0/24", podCIDRs=["10.244.3.0/24"]))
            await admin.create(SERVICES, make_service("web"), "default")
            await admin.create(ENDPOINT_SLICES, slice_on_node(7070), "default")
            async with proxy(cluster, config):
                seen = await read_cluster(admin, config)
                assert diff_cluster(seen) == ""
                node.run("nft", "-c", "-f", "-", stdin=render_cluster(seen))

    with node.entered():
        asyncio.run(play())
        cleanup()


def test_render_and_diff_tell_what_a_sync_would_do(node: Namespace) -> None:
    async def play() -> None:
        async with open_cluster() as cluster:
            admin = cluster.client()
            await admin.create(NODES, make_node("node-1"))
            vip = (await admin.create(SERVICES, make_service("web"), "default"))["spec"]["clusterIP"]
            await admin.create(ENDPOINT_SLICES, slice_on_node(7070), "default")
            async with proxy(cluster):
                await answers(cluster, node, vip, 80, "one")
            seen = await read_cluster(admin, CONFIG)
            assert diff_cluster(seen) == ""
            node.run("nft", "-c", "-f", "-", stdin=render_cluster(seen))
            await admin.update(ENDPOINT_SLICES, slice_on_node(7071))
            node.run("nft", "insert", "rule", "ip", "seaway", "translate", "return")
            found = diff_cluster(await read_cluster(admin, CONFIG))
            assert ": 192.0.2.1 . 7071" in found
            assert "set rules translate" in found
            assert "set rules nat-output" not in found
            cleanup()
            assert diff_cluster(seen).startswith("table ip seaway\nadd table")

    with node.entered():
        asyncio.run(play())
