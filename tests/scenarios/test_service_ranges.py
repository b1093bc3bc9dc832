"""The life of ServiceCIDRs against the real API server in memory, on a clock that jumps.

Rule: spec "service-api" §5.5, "controllers" §8.1.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from seaway.api.machinery.errors import InternalError, Invalid, NotFound
from seaway.api.registry import IP_ADDRESSES, SERVICE_CIDRS, SERVICES
from seaway.api.servicecidr.types import FINALIZER
from seaway.apiserver.config import ServerConfig
from seaway.client.requests import Client
from seaway.controllers.servicecidr.plan import READY_TEXT, TERMINATING_TEXT
from seaway.testing.builders import make_service
from seaway.testing.clock import run_virtually
from seaway.testing.cluster import Cluster, open_cluster

Json = dict[str, Any]
MORE = "10.99.0.0/24"


def play(scenario: Callable[[Cluster, Client], Awaitable[None]]) -> None:
    async def main() -> None:
        async with open_cluster(config=ServerConfig(service_cidrs=("10.96.0.0/30",))) as cluster:
            await cluster.start_controllers(enabled=("servicecidr",))
            await scenario(cluster, cluster.client())

    run_virtually(main())


async def make_range(client: Client, name: str, *cidrs: str) -> None:
    await client.create(SERVICE_CIDRS, {"metadata": {"name": name}, "spec": {"cidrs": cidrs}})


async def make(client: Client, name: str, **spec: Any) -> str:
    """The cluster IP of a new Service."""
    made = await client.create(SERVICES, make_service(name, **spec), "default")
    return str(made["spec"]["clusterIP"])


async def ready(client: Client, name: str) -> Json | None:
    found = await client.get(SERVICE_CIDRS, name, as_type=dict)
    return next((c for c in found.get("status", {}).get("conditions", ()) if c["type"] == "Ready"), None)


def says(client: Client, name: str, message: str) -> Callable[[], Awaitable[Json | None]]:
    async def look() -> Json | None:
        condition = await ready(client, name)
        return condition if condition and condition["message"] == message else None

    return look


def is_gone(client: Client, name: str) -> Callable[[], Awaitable[bool | None]]:
    async def look() -> bool | None:
        try:
            await client.get(SERVICE_CIDRS, name, as_type=dict)
        except NotFound:
            return True
        return None

    return look


def test_a_range_is_used_when_it_comes_and_stays_until_nothing_uses_it() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await make(client, "a")
        await make(client, "b")
        with pytest.raises(InternalError, match="range is full"):
            await make(client, "c")
        await make_range(client, "more", MORE)
        assert (await make(client, "c")).startswith("10.99.0.")
        condition = await cluster.eventually(says(client, "more", READY_TEXT))
        assert (condition["status"], condition["reason"]) == ("True", "")
        kept = await client.get(SERVICE_CIDRS, "more", as_type=dict)
        assert kept["metadata"]["finalizers"] == [FINALIZER]

        await client.delete(SERVICE_CIDRS, "more")
        condition = await cluster.eventually(says(client, "more", TERMINATING_TEXT))
        assert (condition["status"], condition["reason"]) == ("False", "Terminating")
        with pytest.raises(InternalError, match="range is full"):
            await make(client, "d")
        with pytest.raises(Invalid, match="does not match the current range"):
            await make(client, "d", clusterIP="10.99.0.5")
        await client.delete(SERVICES, "c", "default")
        await cluster.eventually(is_gone(client, "more"), timeout_seconds=30)

    play(scenario)


def test_another_range_that_covers_it_lets_it_go() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await make_range(client, "more", MORE)
        address = await make(client, "a", clusterIP="10.99.0.7")
        await cluster.eventually(says(client, "more", READY_TEXT))
        await client.delete(SERVICE_CIDRS, "more")
        await cluster.eventually(says(client, "more", TERMINATING_TEXT))
        await make_range(client, "wider", "10.99.0.0/16")
        await cluster.eventually(is_gone(client, "more"), timeout_seconds=30)
        await client.get(IP_ADDRESSES, address, as_type=dict)
        with pytest.raises(Invalid, match="already allocated"):
            await make(client, "b", clusterIP=address)

    play(scenario)


def test_an_address_of_somebody_else_does_not_hold_a_range() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await make_range(client, "more", MORE)
        parent = {"resource": "gateways", "group": "example.com", "name": "edge"}
        await client.create(IP_ADDRESSES, {"metadata": {"name": "10.99.0.9"}, "spec": {"parentRef": parent}})
        await cluster.eventually(says(client, "more", READY_TEXT))
        await client.delete(SERVICE_CIDRS, "more")
        await cluster.eventually(is_gone(client, "more"), timeout_seconds=30)

    play(scenario)


def test_the_default_range_is_held_by_its_first_service_and_carries_the_same_condition() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await make(client, "a")
        await cluster.eventually(says(client, "kubernetes", READY_TEXT))
        await client.delete(SERVICE_CIDRS, "kubernetes")
        await cluster.eventually(says(client, "kubernetes", TERMINATING_TEXT))

    play(scenario)
