"""Ranges of nodes, against the real API server in memory. Rule: spec "controllers" §7.8."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from seaway.api.node.types import Node
from seaway.api.registry import EVENTS, NODES
from seaway.client.requests import Client
from seaway.controllers.nodeipam.plan import IpamConfig, parse_ipam
from seaway.controllers.run import ControllersConfig, run
from seaway.net.errors import OperationalError
from seaway.testing.builders import make_node
from seaway.testing.clock import run_virtually
from seaway.testing.cluster import CONTROLLER_MANAGER, Cluster, open_cluster

TWO_NODES = parse_ipam(
    "10.244.0.0/23,fd00:244::/63", mask_size=None, ipv4_mask=None, ipv6_mask=None, service_ranges="10.96.0.0/16"
)


def start(cluster: Cluster, ipam: IpamConfig | None, *enabled: str) -> asyncio.Task[None]:
    config = ControllersConfig(node_grace_seconds=1e6, ca_pem="CA\n", enabled=enabled or ("*",), ipam=ipam)
    client = cluster.client(user=CONTROLLER_MANAGER, groups=())
    return asyncio.create_task(run(config, client, on_ready=lambda: None))


def play(scenario: Callable[[Cluster, Client], Awaitable[None]], *, enabled: tuple[str, ...] = ("*",)) -> None:
    async def main() -> None:
        async with open_cluster() as cluster:
            task = start(cluster, TWO_NODES, *enabled) if enabled else None
            if task is not None:
                cluster.tasks.append(task)
            await scenario(cluster, cluster.client())

    run_virtually(main())


async def ranges(client: Client, name: str) -> tuple[str, tuple[str, ...]]:
    spec = (await client.get(NODES, name, as_type=Node)).spec
    return spec.pod_cidr, spec.pod_cidrs


def test_each_node_gets_one_of_each_family_and_gives_it_back() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        for name in ("n1", "n2", "n3"):
            await client.create(NODES, make_node(name))
            await asyncio.sleep(1)
        assert await ranges(client, "n1") == ("10.244.0.0/24", ("10.244.0.0/24", "fd00:244::/64"))
        assert await ranges(client, "n2") == ("10.244.1.0/24", ("10.244.1.0/24", "fd00:244:0:1::/64"))
        assert await ranges(client, "n3") == ("", ())
        page = await client.list(EVENTS, "default", field_selector="involvedObject.name=n3,reason=CIDRNotAvailable")
        (event,) = [msgspec.json.decode(raw) for raw in page.items]
        assert event["message"] == "Node n3 status is now: CIDRNotAvailable"
        await client.delete(NODES, "n1")
        await asyncio.sleep(60)
        assert await ranges(client, "n3") == ("10.244.0.0/24", ("10.244.0.0/24", "fd00:244::/64"))

    play(scenario)


def test_what_nodes_have_at_the_start_is_kept() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await client.create(NODES, make_node("b"))
        await client.create(NODES, make_node("z", podCIDRs=["10.244.0.0/24", "fd00:244::/64"]))
        cluster.tasks.append(start(cluster, TWO_NODES, "nodeipam"))
        await asyncio.sleep(1)
        assert (await ranges(client, "z"))[0] == "10.244.0.0/24"
        assert (await ranges(client, "b"))[0] == "10.244.1.0/24"

    play(scenario, enabled=())


def test_a_node_with_a_range_of_others_is_fatal_at_the_start() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await client.create(NODES, make_node("z", podCIDRs=["192.0.2.0/24"]))
        with pytest.raises(ExceptionGroup) as caught:
            await start(cluster, TWO_NODES, "nodeipam")
        found = caught.value.split(OperationalError)[0]
        assert found is not None
        assert "node z: podCIDR 192.0.2.0/24 found" in str(found.exceptions[0].exceptions or found.exceptions[0])  # type: ignore[attr-defined]

    play(scenario, enabled=())


def test_without_the_flag_no_node_gets_anything() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        cluster.tasks.append(start(cluster, None, "*"))
        await client.create(NODES, make_node("n1"))
        await asyncio.sleep(5)
        assert await ranges(client, "n1") == ("", ())

    play(scenario, enabled=())


def test_the_loop_alone_asks_for_its_flags() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        with pytest.raises(OperationalError, match="it needs --allocate-node-cidrs"):
            await start(cluster, None, "nodeipam")

    play(scenario, enabled=())
