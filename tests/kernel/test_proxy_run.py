"""The proxy's loop against a real API and a real kernel, in a namespace of its own."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from seaway.api.registry import ENDPOINT_SLICES, EVENTS_OF_GROUP, NODES, SERVICE_CIDRS, SERVICES
from seaway.net.errors import OperationalError
from seaway.net.family import Family
from seaway.proxy import run as run_module
from seaway.proxy.config import DetectLocal, ServiceRoutes
from seaway.proxy.run import ProxyConfig, cleanup, run
from seaway.store.contract import Write
from seaway.store.memory import MemoryStore
from seaway.testing.builders import make_node, make_service, make_slice, merge
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
async def proxy(cluster: Cluster, config: ProxyConfig = CONFIG) -> AsyncIterator[None]:
    """A proxy that is ready; it ends with the block."""
    ready = asyncio.Event()
    client = cluster.client(user="system:kube-proxy", groups=())
    task = asyncio.create_task(run(config, client, on_ready=ready.set))
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


def test_a_service_goes_to_user_space_and_back_and_the_kernel_has_it_when_the_proxy_ends(node: Namespace) -> None:
    """Rule: issue of the userspace plane, part 3."""
    config = replace(CONFIG, metrics_address=("127.0.0.1", 10249))

    def read_metrics() -> list[str]:
        with node.entered(), urllib.request.urlopen("http://127.0.0.1:10249/metrics", timeout=5) as page:
            return [line for line in page.read().decode().splitlines() if line.startswith("seaway_proxy_userspace")]

    async def play() -> None:
        async with open_cluster() as cluster:
            admin = cluster.client()
            status = {"addresses": [{"type": "InternalIP", "address": NODE}]}
            made = await admin.create(NODES, make_node("node-1"))
            await admin.update(NODES, {**made, "status": status}, subresource="status")
            service = await admin.create(SERVICES, make_service("web"), "default")
            vip: str = service["spec"]["clusterIP"]
            refusing = make_slice("web-2", "web", [NODE], ports=[{"name": "", "port": 7079, "protocol": "TCP"}])
            await admin.create(ENDPOINT_SLICES, slice_on_node(7070), "default")
            await admin.create(ENDPOINT_SLICES, refusing, "default")
            asked = {"seaway.dev/plane": "userspace", "seaway.dev/ejection": "failures=1"}
            line = 'seaway_proxy_userspace_ejected_endpoints{namespace="default",service="web",port="80"} 1'

            async def annotate(annotations: dict[str, str | None]) -> None:
                await admin.patch(SERVICES, "web", "default", patch={"metadata": {"annotations": annotations}})

            async def asks_until_ejected() -> bool:
                with contextlib.suppress(OSError):
                    await asyncio.to_thread(ask, node, vip, 80, timeout_seconds=0.5)
                return any(text.startswith(line) for text in await asyncio.to_thread(read_metrics))

            async def is_told() -> bool:
                events = await admin.list(EVENTS_OF_GROUP, "default")
                return any(b"EndpointEjected" in bytes(event) for event in events.items)

            async with proxy(cluster, config):
                await annotate(dict(asked))
                await cluster.eventually(asks_until_ejected)
                await cluster.eventually(is_told)
                await admin.delete(ENDPOINT_SLICES, "web-2", "default")
                await annotate(dict.fromkeys(asked))
                await answers(cluster, node, vip, 80, "one")
                await annotate({"seaway.dev/plane": "userspace"})
                await answers(cluster, node, vip, 80, "one")
            assert ask(node, vip, 80)[0] == "one"

    with node.entered():
        asyncio.run(play())
        cleanup()


def test_where_pods_are_known_by_their_node_nothing_is_written_before_it_has_a_range(
    node: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rule: spec "proxy" §11.1, step 4."""
    config = replace(CONFIG, cluster_cidrs=(), detect_local=DetectLocal.NODE_CIDR)

    async def start(cluster: Cluster) -> None:
        async with proxy(cluster, config):
            pass

    async def play() -> None:
        async with open_cluster() as cluster:
            admin = cluster.client()
            monkeypatch.setattr(run_module, "NODE_SECONDS", 0.01)
            monkeypatch.setattr(run_module, "POD_CIDR_SECONDS", 0.01)
            with pytest.raises(OperationalError, match=r'^timeout waiting for node "node-1" to exist$'):
                await start(cluster)
            await admin.create(NODES, make_node("node-1"))
            monkeypatch.setattr(run_module, "NODE_SECONDS", 60.0)
            with pytest.raises(OperationalError, match=r'^timeout waiting for PodCIDR allocation on node "node-1"$'):
                await start(cluster)
            assert "seaway" not in node.run("nft", "list", "tables")
            monkeypatch.setattr(run_module, "POD_CIDR_SECONDS", 60.0)
            starting = asyncio.create_task(start(cluster))
            await admin.patch(
                NODES, "node-1", patch={"spec": {"podCIDR": "10.244.3.0/24", "podCIDRs": ["10.244.3.0/24"]}}
            )
            await starting
            assert "ip saddr != 10.244.3.0/24" in node.run("nft", "list", "chain", "ip", "seaway", "translate")

    with node.entered():
        asyncio.run(play())
        cleanup()


LONELY = "198.51.100.1"
LONELY_CONFIG = ProxyConfig(
    node_name="node-1",
    families=(Family.IPV4,),
    cluster_cidrs=("10.244.0.0/16",),
    service_cidrs=("10.96.0.0/16",),
    service_routes=ServiceRoutes("only0", (LONELY,)),
)


@pytest.fixture
def lonely() -> Iterator[Namespace]:
    """A node that has no route but those that the proxy makes."""
    if os.geteuid() != 0:
        pytest.skip("needs root: a network namespace; run as root or inside `unshare -Urnm`")
    with Namespace() as namespace, Namespace() as elsewhere, EchoServers() as servers:
        connect(namespace, "only0", elsewhere, "eth0")
        namespace.run("ip", "address", "add", f"{LONELY}/32", "dev", "only0")
        namespace.run("ip", "route", "add", "unreachable", "default")
        servers.listen(namespace, "one", 7070)
        servers.start()
        yield namespace


def make_range(name: str, *cidrs: str) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": name},
        "spec": {"cidrs": list(cidrs)},
    }  # fmt: skip


def fate(node: Namespace, address: str) -> str:
    """Of a datagram from the node: the name of who answers, or how it was refused."""
    try:
        return ask(node, address, 80, udp=True, timeout_seconds=0.5)[0]
    except TimeoutError:
        return "no answer"
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def test_a_range_that_is_added_live_is_routed_and_guarded_until_it_goes(lonely: Namespace) -> None:
    """Rule: spec "service-api" §5.5. EPERM is the drop of what no Service has; before and after there is no route."""

    async def play() -> None:
        async with open_cluster() as cluster:
            admin = cluster.client()
            await admin.create(NODES, make_node("node-1"))

            async def becomes(address: str, wanted: str) -> None:
                async def check() -> bool:
                    return await asyncio.to_thread(fate, lonely, address) == wanted

                await cluster.eventually(check)

            async with proxy(cluster, LONELY_CONFIG):
                assert fate(lonely, "10.96.9.9") == "EPERM", "ready means that the first range is guarded"
                assert fate(lonely, "10.97.0.9") == "EHOSTUNREACH"
                await admin.create(SERVICE_CIDRS, make_range("more", "10.97.0.0/24"))
                await becomes("10.97.0.9", "EPERM")
                ports = [{"port": 80, "protocol": "UDP"}]
                await admin.create(SERVICES, make_service("web", clusterIP="10.97.0.7", ports=ports), "default")
                piece = make_slice("web-1", "web", [LONELY], ports=[{"name": "", "port": 7070, "protocol": "UDP"}])
                await admin.create(ENDPOINT_SLICES, piece, "default")
                await becomes("10.97.0.7", "one")
                for cidr in ("0.0.0.0/0", "198.51.100.0/24", "10.244.8.0/24"):
                    name = cidr.replace(".", "-").replace("/", "-")
                    await admin.create(SERVICE_CIDRS, make_range(name, cidr))
                await admin.create(SERVICE_CIDRS, make_range("last", "10.98.0.0/24"))
                await becomes("10.98.0.1", "EPERM")
                assert fate(lonely, "203.0.113.1") == "EHOSTUNREACH", "everywhere is no range of Services"
                assert ask(lonely, LONELY, 7070)[0] == "one"
                routes = lonely.run("ip", "route", "show", "proto", "153").split()
                assert [word for word in routes if "/" in word] == ["10.96.0.0/16", "10.97.0.0/24", "10.98.0.0/24"]
            async with proxy(cluster, LONELY_CONFIG):
                assert fate(lonely, "10.97.0.7") == "one"
                await admin.delete(SERVICES, "web", "default")
                await admin.delete(SERVICE_CIDRS, "more")
                await becomes("10.97.0.9", "EHOSTUNREACH")
                assert fate(lonely, "10.98.0.1") == "EPERM"
            assert "10.97.0.0" not in lonely.run("nft", "list", "ruleset")

    with lonely.entered():
        asyncio.run(play())
        cleanup()


def slice_of(service: str, addresses: list[str], *, port: int | None = 7070, kind: str = "IPv4") -> dict[str, Any]:
    ports = [{"name": "", "protocol": "TCP"} | ({} if port is None else {"port": port})]
    return make_slice(f"{service}-1", service, addresses, ports=ports, address_type=kind)


LONG = "l" * 63
HOSTILE: dict[str, tuple[dict[str, Any], str, str]] = {
    "port": (slice_of("port", ["10.9.0.1"], port=65536), "InvalidEndpointSlice",
             "EndpointSlice port-1: port 65536 is beyond 65535"),
    "foreign": (slice_of("foreign", ["2001:db8::1"]), "InvalidEndpointSlice",
                "EndpointSlice foreign-1: '2001:db8::1' is no address of IPv4"),
    "numberless": (slice_of("numberless", ["10.9.0.1"], port=None), "InvalidEndpointSlice",
                   "EndpointSlice numberless-1: port '' has no number"),
    "fqdn": (slice_of("fqdn", ["web.example"], kind="FQDN"), "InvalidEndpointSlice",
             "EndpointSlice fqdn-1 is not served: addressType 'FQDN'"),
    "many": (slice_of("many", [f"10.{n >> 8}.{n & 255}.9" for n in range(4200)]), "TooManyEndpoints",
             "port ''/TCP: more than 4096 endpoints of IPv4; 4096 are served"),
    LONG: (slice_of(LONG, ["10.9.0.1"], port=0), "InvalidEndpointSlice",
           f"EndpointSlice {LONG}-1: port '' has no number"),
}  # fmt: skip


def test_each_service_of_hostile_objects_has_one_event_however_often_it_is_synced(node: Namespace) -> None:
    """They are put where the server keeps its objects: its own validation would refuse some. Two proxies tell it once.

    The same address twice is no refusal: there is one endpoint.
    Rule: issue of the proxy, "bad input"; spec "proxy" §1.5.
    """

    async def play() -> None:
        store = MemoryStore()
        async with open_cluster(store=store) as cluster:
            admin = cluster.client()

            async def put(piece: dict[str, Any], turn: int) -> None:
                annotations = {"seaway.dev/weight": str(turn)}
                stored = merge(piece, {"metadata": {"uid": piece["metadata"]["name"], "annotations": annotations}})
                key = f"/registry/discovery.k8s.io/endpointslices/default/{stored['metadata']['name']}"
                await store.commit((), [Write(key, msgspec.json.encode(stored))])

            async def events() -> list[tuple[str, str, str, str]]:
                listed = await admin.list(EVENTS_OF_GROUP, "default")
                return sorted(
                    (e["regarding"]["name"], e["type"], e["reason"], e["note"])
                    for e in map(msgspec.json.decode, listed.items)
                    if e["regarding"]["kind"] == "Service"
                )

            vips = {}
            for name in (*HOSTILE, "twice"):
                made = await admin.create(SERVICES, make_service(name, ports=[{"port": 80}]), "default")
                vips[name] = made["spec"]["clusterIP"]
            await put(slice_of("twice", [NODE, NODE]), 1)
            expected = sorted((name, "Warning", reason, note) for name, (_, reason, note) in HOSTILE.items())
            async with proxy(cluster), proxy(cluster, replace(CONFIG, node_name="node-2", table="seaway-2")):
                for turn in (1, 2, 3):
                    for piece, *_ in HOSTILE.values():
                        await put(piece, turn)
                    await put(slice_of("twice", [NODE, NODE], port=7070 + turn % 2), turn)
                    await answers(cluster, node, vips["twice"], 80, ("one", "two")[turn % 2])

                async def is_told() -> bool:
                    return len(await events()) >= len(expected)

                await cluster.eventually(is_told, timeout_seconds=60)
                assert await events() == expected

    with node.entered():
        try:
            asyncio.run(play())
        finally:
            cleanup()
            cleanup("seaway-2")
