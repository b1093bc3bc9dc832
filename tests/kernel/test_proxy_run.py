"""The proxy's loop against a real API and a real kernel, in a namespace of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from seaway.api.registry import ENDPOINT_SLICES, NODES, SERVICES
from seaway.net.family import Family
from seaway.proxy.run import ProxyConfig, cleanup, run
from seaway.testing.builders import make_node, make_service, make_slice
from seaway.testing.cluster import Cluster, open_cluster
from seaway.testing.netns import EchoServers, Namespace, ask, connect

pytestmark = pytest.mark.kernel

NODE = "192.0.2.1"
CONFIG = ProxyConfig(node_name="node-1", families=(Family.IPV4,), cluster_cidrs=("10.244.0.0/16",))


@pytest.fixture(scope="module")
def node() -> Iterator[Namespace]:
    if os.geteuid() != 0:
        pytest.skip("needs root: a network namespace; run as root or inside `unshare -Urnm`")
    with Namespace() as namespace, Namespace() as outside, EchoServers() as servers:
        connect(namespace, "out", outside, "eth0")
        namespace.run("ip", "address", "add", f"{NODE}/24", "dev", "out")
        namespace.run("ip", "route", "add", "default", "dev", "out")
        servers.listen(namespace, "one", 7070)
        servers.listen(namespace, "two", 7071)
        servers.start()
        yield namespace


@contextlib.asynccontextmanager
async def proxy(cluster: Cluster) -> AsyncIterator[None]:
    """A proxy that is ready; it ends with the block."""
    ready = asyncio.Event()
    client = cluster.client(user="system:kube-proxy", groups=())
    task = asyncio.create_task(run(CONFIG, client, on_ready=ready.set))
    try:
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def slice_on_node(port: int) -> dict[str, Any]:
    return make_slice("web-1", "web", [NODE], ports=[{"name": "", "port": port, "protocol": "TCP"}], nodeName="node-1")


async def answers(cluster: Cluster, node: Namespace, address: str, port: int, name: str) -> None:
    async def check() -> bool:
        try:
            return (await asyncio.to_thread(ask, node, address, port, timeout_seconds=0.5))[0] == name
        except OSError:
            return False

    await cluster.eventually(check)


def test_a_service_is_served_follows_its_endpoints_and_outlives_the_proxy(node: Namespace) -> None:
    async def play() -> str:
        async with open_cluster() as cluster:
            admin = cluster.client()
            status = {"addresses": [{"type": "InternalIP", "address": NODE}]}
            made = await admin.create(NODES, make_node("node-1"))
            await admin.update(NODES, {**made, "status": status}, subresource="status")
            spec = {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]}
            service = await admin.create(SERVICES, make_service("web", **spec), "default")
            vip: str = service["spec"]["clusterIP"]
            await admin.create(ENDPOINT_SLICES, slice_on_node(7070), "default")
            async with proxy(cluster):
                assert ask(node, vip, 80)[0] == "one"  # ready means served
                await answers(cluster, node, NODE, 30080, "one")
                await admin.update(ENDPOINT_SLICES, slice_on_node(7071))
                await answers(cluster, node, vip, 80, "two")
            assert ask(node, vip, 80)[0] == "two"
            async with proxy(cluster):
                assert ask(node, vip, 80)[0] == "two"
            return vip

    with node.entered():
        asyncio.run(play())
        assert "seaway" in node.run("nft", "list", "tables")
        cleanup()
        assert "seaway" not in node.run("nft", "list", "tables")
        cleanup()
