"""Traffic between Pods and other machines, on a host that is no router: served, guarded, and restored.

Rule: design.md §12 (forwarding per interface), spec "node" §4.4.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from seaway.api.registry import ENDPOINT_SLICES, NODES, SERVICES
from seaway.net.family import Family
from seaway.proxy.run import ProxyConfig, cleanup, run
from seaway.proxy.showing.run import diff_cluster, render_cluster
from seaway.proxy.tracing.run import read_cluster
from seaway.proxy.uplinks.kernel import UplinkError, Uplinks, has_switch, read_record
from seaway.testing.builders import make_node, make_service, make_slice
from seaway.testing.cluster import Cluster, open_cluster
from seaway.testing.netns import EchoServers, Namespace, ask, connect

pytestmark = pytest.mark.kernel

NODE, OUTSIDE = "192.0.2.1", "192.0.2.2"
NODE_2, ELSEWHERE = "198.51.100.1", "198.51.100.2"
POD, GATEWAY = "10.244.0.2", "10.244.0.1"


@dataclass
class World:
    """A node with one Pod; `outside` is on its uplink, `elsewhere` on a link for which it was a router before."""

    node: Namespace
    outside: Namespace
    elsewhere: Namespace
    pod: Namespace

    def switch(self, link: str) -> str:
        return self.node.run("cat", f"/proc/sys/net/ipv4/conf/{link}/forwarding").strip()


@pytest.fixture
def world() -> Iterator[World]:
    if os.geteuid() != 0:
        pytest.skip("needs root: namespaces with veths; run as root or inside `unshare -Urnm`")
    with contextlib.ExitStack() as stack:
        node, outside, elsewhere, pod = (stack.enter_context(Namespace()) for _ in range(4))
        node.write_sysctl("net/ipv4/ip_forward", "0")  # a new namespace takes over what this machine does
        for link, other, ours, theirs in (("up0", outside, NODE, OUTSIDE), ("up1", elsewhere, NODE_2, ELSEWHERE)):
            connect(node, link, other, "eth0")
            node.run("ip", "address", "add", f"{ours}/24", "dev", link)
            other.run("ip", "address", "add", f"{theirs}/24", "dev", "eth0")
        outside.run("ip", "route", "add", f"{ELSEWHERE}/32", "via", NODE)
        elsewhere.run("ip", "route", "add", "default", "via", NODE_2)
        node.run("ip", "route", "add", "default", "via", OUTSIDE)
        connect(node, "pod0", pod, "eth0")
        node.run("ip", "address", "add", f"{GATEWAY}/32", "dev", "pod0")
        node.run("ip", "route", "add", f"{POD}/32", "dev", "pod0")
        pod.run("ip", "address", "add", f"{POD}/32", "dev", "eth0")
        pod.run("ip", "route", "add", GATEWAY, "dev", "eth0")
        pod.run("ip", "route", "add", "default", "via", GATEWAY)
        for link in ("up1", "pod0"):
            node.write_sysctl(f"net/ipv4/conf/{link}/forwarding", "1")
        servers = stack.enter_context(EchoServers())
        for name, namespace in (("pod", pod), ("outside", outside), ("elsewhere", elsewhere)):
            servers.listen(namespace, name, 7070)
        servers.start()
        yield World(node, outside, elsewhere, pod)


def make_config(state: Path) -> ProxyConfig:
    return ProxyConfig(
        node_name="node-1",
        families=(Family.IPV4,),
        cluster_cidrs=("10.244.0.0/16",),
        service_cidrs=("10.96.0.0/16",),
        masquerade_outgoing=True,
        serves_uplinks=True,
        uplink_state=state,
    )


@contextlib.asynccontextmanager
async def proxy(cluster: Cluster, state: Path) -> AsyncIterator[None]:
    """A proxy that is ready; it ends with the block."""
    config = make_config(state)
    ready = asyncio.Event()
    client = cluster.client(user="system:kube-proxy", groups=())
    task = asyncio.create_task(run(config, client, on_ready=ready.set))
    waiting = asyncio.create_task(ready.wait())
    try:
        await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        yield
    finally:
        task.cancel()
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def fill(cluster: Cluster) -> None:
    """A node, and a node port with the Pod behind it."""
    admin = cluster.client()
    made = await admin.create(NODES, make_node("node-1"))
    status = {"addresses": [{"type": "InternalIP", "address": NODE}]}
    await admin.update(NODES, {**made, "status": status}, subresource="status")
    spec = {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]}
    await admin.create(SERVICES, make_service("web", **spec), "default")
    port = [{"name": "", "port": 7070, "protocol": "TCP"}]
    await admin.create(ENDPOINT_SLICES, make_slice("web-1", "web", [POD], ports=port, nodeName="node-1"), "default")


def is_out_of_reach(namespace: Namespace, address: str, port: int) -> bool:
    try:
        ask(namespace, address, port, timeout_seconds=0.3)
    except TimeoutError:
        return True
    return False


def check_served(world: World) -> None:
    assert ask(world.outside, NODE, 30080)[0] == "pod"
    assert ask(world.outside, NODE, 30080)[1] in (NODE, GATEWAY)
    assert ask(world.pod, OUTSIDE, 7070) == ("outside", NODE)
    assert ask(world.elsewhere, OUTSIDE, 7070) == ("outside", ELSEWHERE), "what was forwarded before still is"
    assert is_out_of_reach(world.outside, ELSEWHERE, 7070), "the host is no router for others"
    assert (world.switch("up0"), world.switch("up1"), world.switch("all")) == ("1", "1", "0")


def check_restored(world: World) -> None:
    assert (world.switch("up0"), world.switch("up1"), world.switch("all")) == ("0", "1", "0")
    assert "seaway" not in world.node.run("nft", "list", "tables")
    assert is_out_of_reach(world.outside, ELSEWHERE, 7070)


def test_other_machines_are_served_the_host_is_no_router_and_is_what_it_was_afterwards(
    world: World, tmp_path: Path
) -> None:
    state = tmp_path / "deep" / "uplinks.json"

    async def play() -> None:
        async with open_cluster() as cluster:
            await fill(cluster)
            seen = await read_cluster(cluster.client(), make_config(state))
            assert 'iifname "up0" jump guard' in render_cluster(seen), "what will be guarded is known before"
            async with proxy(cluster, state):
                await asyncio.to_thread(check_served, world)
            assert diff_cluster(seen) == ""
            kept = state.read_bytes()
            await asyncio.to_thread(check_served, world)  # the rules outlive the proxy
            async with proxy(cluster, state):  # the link forwards already, and is guarded still
                await asyncio.to_thread(check_served, world)
            assert state.read_bytes() == kept

    with world.node.entered():
        asyncio.run(play())
        listed = world.node.run("nft", "list", "ruleset")
        assert 'iifname "up0" jump guard' in listed and 'iifname "up1"' not in listed
        world.node.run("nft", "-c", "-f", "-", stdin=listed)
        cleanup(uplink_state=state)
        check_restored(world)
        assert not state.exists()
        cleanup(uplink_state=state)
        check_restored(world)


def test_a_proxy_that_no_longer_serves_uplinks_restores_them(world: World, tmp_path: Path) -> None:
    state = tmp_path / "uplinks.json"
    with world.node.entered():
        uplinks = Uplinks((Family.IPV4,), state)
        uplinks.prepare((NODE,))
        uplinks.turn_on()
        assert world.switch("up0") == "1"

        async def play() -> None:
            async with open_cluster() as cluster:
                config = ProxyConfig(node_name="node-1", families=(Family.IPV4,), uplink_state=state)
                client = cluster.client(user="system:kube-proxy", groups=())
                ready = asyncio.Event()
                task = asyncio.create_task(run(config, client, on_ready=ready.set))
                await asyncio.wait_for(ready.wait(), 10)
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

        asyncio.run(play())
        assert world.switch("up0") == "0"
        cleanup()


def test_the_record_is_on_disk_before_the_switch_is_touched(world: World, tmp_path: Path) -> None:
    state = tmp_path / "uplinks.json"
    with world.node.entered():
        uplinks = Uplinks((Family.IPV4,), state)
        uplinks.prepare((NODE,))
        assert [e.name for e in read_record(state).enabled] == ["up0"]
        assert uplinks.guarded(Family.IPV4) == ("up0",)
        assert world.switch("up0") == "0"
        uplinks.turn_on()
        assert world.switch("up0") == "1"
        again = Uplinks((Family.IPV4,), state)
        assert again.guarded(Family.IPV4) == ("up0",), "before it looks at the host"


def test_a_record_that_cannot_be_kept_leaves_the_host_as_it_is(world: World, tmp_path: Path) -> None:
    with world.node.entered():
        uplinks = Uplinks((Family.IPV4,), tmp_path / "uplinks.json")
        (tmp_path / "uplinks.json").mkdir()
        with pytest.raises(OSError, match="uplinks"):
            uplinks.prepare((NODE,))
        uplinks.turn_on()
        assert world.switch("up0") == "0"
        assert uplinks.guarded(Family.IPV4) == ()


def test_a_torn_record_stops_the_cleanup_before_the_guards_go(world: World, tmp_path: Path) -> None:
    state = tmp_path / "uplinks.json"
    state.write_text("{")
    with world.node.entered():
        world.node.run("nft", "add", "table", "ip", "seaway")
        with pytest.raises(UplinkError, match="see which links forward"):
            cleanup(uplink_state=state)
        assert "seaway" in world.node.run("nft", "list", "tables")


def test_ipv6_is_served_link_by_link_where_the_kernel_can(world: World, tmp_path: Path) -> None:
    if not has_switch(Family.IPV6):
        pytest.skip("needs force_forwarding of IPv6 (Linux 6.17)")
    path = "/proc/sys/net/ipv6/conf/up0/force_forwarding"
    world.node.run("ip", "-6", "address", "add", "2001:db8::1/64", "dev", "up0", "nodad")
    world.node.run("ip", "-6", "route", "add", "default", "via", "2001:db8::2")
    with world.node.entered():
        uplinks = Uplinks(Family, tmp_path / "uplinks.json")
        uplinks.prepare(())
        assert uplinks.guarded(Family.IPV6) == ("up0",)
        uplinks.turn_on()
        assert world.node.run("cat", path) == "1\n"
        cleanup(uplink_state=tmp_path / "uplinks.json")
        assert world.node.run("cat", path) == "0\n"
        world.node.write_sysctl("net/ipv6/conf/all/forwarding", "1")
        uplinks = Uplinks(Family, tmp_path / "uplinks.json")
        uplinks.prepare(())
        assert uplinks.guarded(Family.IPV6) == (), "a host that forwards already is left alone"
