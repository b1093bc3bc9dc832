"""What a running proxy tells: health-check ports, its own pages, Events. Rule: spec "proxy" §7, §11.4."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from seaway.api.registry import ENDPOINT_SLICES, EVENTS_OF_GROUP, NODES, SERVICES
from seaway.client.requests import Client
from seaway.proxy.run import cleanup
from seaway.testing.builders import make_node, make_service, make_slice
from seaway.testing.cluster import open_cluster
from seaway.testing.netns import Namespace
from tests.kernel.test_proxy_run import CONFIG, NODE, node, proxy

__all__ = ["node"]
pytestmark = pytest.mark.kernel

TELLING = replace(
    CONFIG,
    healthz_address=("0.0.0.0", 10256),
    metrics_address=("127.0.0.1", 10249),
    shown={"kind": "KubeProxyConfiguration"},
)
HEALTH_PORT = 31000
LOCAL: dict[str, Any] = {
    "type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": HEALTH_PORT,
    "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}],
}  # fmt: skip


async def get(host: str, port: int, path: str = "/") -> tuple[int, bytes]:
    """Code and body; 0 when nobody listens, -1 when the port is closed meanwhile."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError:
        return 0, b""
    try:
        async with asyncio.timeout(2):
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    except (OSError, TimeoutError):
        return -1, b""
    finally:
        writer.close()
    return (int(head.split()[1]) if head else -1), body


async def register(admin: Client) -> None:
    status = {"addresses": [{"type": "InternalIP", "address": NODE}]}
    made = await admin.create(NODES, make_node("node-1"))
    await admin.update(NODES, {**made, "status": status}, subresource="status")


def endpoints(node_name: str, **changes: Any) -> dict[str, Any]:
    ports = [{"name": "", "port": 7070, "protocol": "TCP"}]
    return {**make_slice("web-1", "web", [NODE], ports=ports, nodeName=node_name), **changes}


def test_health_check_ports_follow_the_service_and_its_endpoints(node: Namespace) -> None:
    async def play() -> None:
        async with open_cluster() as cluster:
            admin = cluster.client()
            await register(admin)
            await admin.create(SERVICES, make_service("web", **LOCAL), "default")
            await admin.create(ENDPOINT_SLICES, endpoints("node-1"), "default")

            async def answers(code: int) -> None:
                async def check() -> bool:
                    return (await get(NODE, HEALTH_PORT))[0] == code

                await cluster.eventually(check)

            async with proxy(cluster, TELLING):
                await answers(200)
                assert await get("127.0.0.1", HEALTH_PORT) == (0, b""), "only where node ports are served"
                await admin.update(ENDPOINT_SLICES, endpoints("node-2"))
                await answers(503)
                assert json.loads((await get(NODE, HEALTH_PORT))[1]) == {
                    "service": {"namespace": "default", "name": "web"},
                    "localEndpoints": 0,
                    "serviceProxyHealthy": True,
                }
                cluster_policy = {"spec": {"externalTrafficPolicy": "Cluster", "healthCheckNodePort": None}}
                await admin.patch(SERVICES, "web", "default", patch=cluster_policy)
                await answers(0)
                await admin.patch(SERVICES, "web", "default", patch={"spec": LOCAL})
                await answers(503)
            await answers(0)

    with node.entered():
        asyncio.run(play())


def test_scenario_155_the_proxys_own_pages(node: Namespace) -> None:
    async def play() -> None:
        async with open_cluster() as cluster:
            admin = cluster.client()
            await register(admin)
            async with proxy(cluster, TELLING):

                async def is_up() -> bool:
                    return (await get("127.0.0.1", 10249, "/healthz")) == (200, b"ok")

                await cluster.eventually(is_up)
                code, body = await get(NODE, 10256, "/healthz")
                assert (code, json.loads(body)["nodeEligible"]) == (200, True)
                assert await get("127.0.0.1", 10249, "/proxyMode") == (200, b"nftables")
                _, page = await get("127.0.0.1", 10249, "/metrics")
                assert b'kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family="IPv4"}' in page
                assert b'kubeproxy_proxy_healthz_total{code="200"} 1' in page
                assert b"process_resident_memory_bytes" in page
                taint = {"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}
                await admin.patch(NODES, "node-1", patch={"spec": {"taints": [taint]}})

                async def is_leaving() -> bool:
                    return (await get(NODE, 10256, "/healthz"))[0] == 503

                await cluster.eventually(is_leaving)
                assert (await get(NODE, 10256, "/livez"))[0] == 200

    with node.entered():
        asyncio.run(play())


def test_a_node_that_is_leaving_gets_no_new_connections_from_load_balancers_also_once_it_is_gone(
    node: Namespace,
) -> None:
    """Rule: spec "proxy" §7.2, §11.3: what was last seen of a Node stays."""

    async def play() -> None:
        async with open_cluster() as cluster:
            admin = cluster.client()
            await register(admin)
            await admin.patch(NODES, "node-1", patch={"metadata": {"finalizers": ["example.com/drain"]}})
            async with proxy(cluster, TELLING):

                async def healthz(code: int) -> None:
                    async def check() -> bool:
                        return (await get(NODE, 10256, "/healthz"))[0] == code

                    await cluster.eventually(check)

                await healthz(200)
                await admin.delete(NODES, "node-1")
                await healthz(503)
                assert json.loads((await get(NODE, 10256, "/healthz"))[1])["nodeEligible"] is False
                assert (await get(NODE, 10256, "/livez"))[0] == 200
                await admin.patch(NODES, "node-1", patch={"metadata": {"finalizers": None}})
                await admin.create(SERVICES, make_service("later"), "default")

                async def is_synced() -> bool:
                    page = (await get("127.0.0.1", 10249, "/metrics"))[1]
                    return b'seaway_proxy_service_connections_total{namespace="default",service="later"' in page

                await cluster.eventually(is_synced)
                assert (await get(NODE, 10256, "/healthz"))[0] == 503

    with node.entered():
        asyncio.run(play())
        cleanup()


def test_each_refusal_is_one_event_also_after_a_restart(node: Namespace) -> None:
    async def play() -> None:
        async with open_cluster() as cluster:
            admin = cluster.client()
            await register(admin)
            meta = {"annotations": {"seaway.dev/balance": "least"}}
            await admin.create(SERVICES, make_service("web", meta=meta), "default")

            async def reasons() -> list[str]:
                found = await admin.list(EVENTS_OF_GROUP, "default")
                return sorted(msgspec.json.decode(e)["reason"] for e in found.items)

            for starts in (1, 2):

                async def are_told(starts: int = starts) -> bool:
                    return await reasons() == ["InvalidAnnotation", *["Starting"] * starts]

                async with proxy(cluster):
                    await cluster.eventually(are_told)

    with node.entered():
        asyncio.run(play())
