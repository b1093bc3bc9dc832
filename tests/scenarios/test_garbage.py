"""The garbage collector against the real API server in memory, on a clock that jumps. Rule: spec "controllers" §7.3."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from seaway.api.machinery.errors import NotFound
from seaway.api.machinery.http import Request, Response
from seaway.api.registry import CONFIG_MAPS, EVENTS, NAMESPACES, PRIORITY_CLASSES, SERVICES, Resource
from seaway.client.requests import Client, Transport
from seaway.testing.builders import make_service
from seaway.testing.clock import run_virtually
from seaway.testing.cluster import CONTROLLER_MANAGER, Cluster, open_cluster

Json = dict[str, Any]
LOOP = ("garbage",)


def play(scenario: Callable[[Cluster, Client], Awaitable[None]]) -> None:
    async def main() -> None:
        async with open_cluster() as cluster:
            await cluster.start_controllers(enabled=LOOP)
            await scenario(cluster, cluster.client())

    run_virtually(main())


def make_config_map(name: str, owner: Json | None = None, **reference: Any) -> Json:
    meta: Json = {"name": name}
    if owner is not None:
        meta["ownerReferences"] = [refer(owner, **reference)]
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}


def refer(owner: Json, **reference: Any) -> Json:
    names = {"name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]}
    return {"apiVersion": owner["apiVersion"], "kind": owner["kind"], **names, **reference}


async def is_there(client: Client, resource: Resource, name: str, namespace: str = "") -> bool:
    try:
        await client.get(resource, name, namespace, as_type=dict)
    except NotFound:
        return False
    return True


async def wait_gone(cluster: Cluster, resource: Resource, name: str, namespace: str = "default") -> None:
    client = cluster.client()

    async def check() -> bool:
        return not await is_there(client, resource, name, namespace)

    await cluster.eventually(check, timeout_seconds=120)


async def find_events(client: Client, namespace: str, reason: str) -> list[Json]:
    page = await client.list(EVENTS, namespace, field_selector=f"reason={reason}")
    return [json.loads(bytes(raw)) for raw in page.items]


def test_an_object_goes_with_its_last_owner_and_stays_with_one() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        one = await client.create(CONFIG_MAPS, make_config_map("one"), "default")
        two = await client.create(CONFIG_MAPS, make_config_map("two"), "default")
        both = make_config_map("both", one)
        both["metadata"]["ownerReferences"].append(refer(two))
        await client.create(CONFIG_MAPS, both, "default")
        await client.delete(CONFIG_MAPS, "one", "default")

        async def has_one_owner() -> bool:
            live: Json = await client.get(CONFIG_MAPS, "both", "default", as_type=dict)
            return [ref["name"] for ref in live["metadata"]["ownerReferences"]] == ["two"]

        await cluster.eventually(has_one_owner)
        await client.delete(CONFIG_MAPS, "two", "default")
        await wait_gone(cluster, CONFIG_MAPS, "both")

    play(scenario)


def test_an_owner_of_another_uid_is_another() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await client.create(CONFIG_MAPS, make_config_map("owner"), "default")
        gone = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owner", "uid": "another"}}
        await client.create(CONFIG_MAPS, make_config_map("child", gone), "default")
        await wait_gone(cluster, CONFIG_MAPS, "child")

    play(scenario)


def test_an_owner_in_another_namespace_is_none_and_that_is_said() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "far"}})
        owner = await client.create(SERVICES, make_service("web", namespace="far"), "far")
        await asyncio.sleep(1)  # the cache has it by now
        await client.create(CONFIG_MAPS, make_config_map("child", owner), "default")
        await wait_gone(cluster, CONFIG_MAPS, "child")
        (event,) = await find_events(client, "default", "OwnerRefInvalidNamespace")
        uid = owner["metadata"]["uid"]
        assert event["message"] == (
            f'ownerRef [v1/Service, namespace: default, name: web, uid: {uid}] does not exist in namespace "default"'
        )

    play(scenario)


def test_an_object_of_no_namespace_cannot_have_an_owner_in_one_and_is_left_alone() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        owner = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "uid": "gone"}}
        body = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "value": 1,
                "metadata": {"name": "high", "ownerReferences": [refer(owner)]}}  # fmt: skip
        await client.create(PRIORITY_CLASSES, body)

        async def is_said() -> list[Json]:
            return await find_events(client, "default", "OwnerRefInvalidNamespace")

        await cluster.eventually(is_said)
        await asyncio.sleep(120)
        assert await is_there(client, PRIORITY_CLASSES, "high")

    play(scenario)


def test_an_owner_of_a_kind_that_nobody_knows_counts_as_present() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        owner = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w", "uid": "u"}}
        await client.create(CONFIG_MAPS, make_config_map("child", owner), "default")
        await asyncio.sleep(120)
        assert await is_there(client, CONFIG_MAPS, "child", "default")

    play(scenario)


def test_in_the_foreground_an_owner_goes_after_those_that_block_it() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        owner = await client.create(CONFIG_MAPS, make_config_map("owner"), "default")
        child = make_config_map("child", owner, blockOwnerDeletion=True)
        child["metadata"]["finalizers"] = ["example.com/wait"]
        await client.create(CONFIG_MAPS, child, "default")
        await client.delete(CONFIG_MAPS, "owner", "default", options={"propagationPolicy": "Foreground"})
        await asyncio.sleep(60)
        assert await is_there(client, CONFIG_MAPS, "owner", "default"), "its dependent is held by a finalizer"
        await client.patch(CONFIG_MAPS, "child", "default", patch={"metadata": {"finalizers": None}})
        await wait_gone(cluster, CONFIG_MAPS, "child")
        await wait_gone(cluster, CONFIG_MAPS, "owner")

    play(scenario)


class YoungServer:
    """A server that learns of PriorityClasses later, as one does when a CustomResourceDefinition is added."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self.is_complete = False

    async def send(self, request: Request) -> Response:
        response = await self._inner.send(request)
        if request.path == "/apis" and not self.is_complete:
            assert isinstance(response.body, bytes)
            document = json.loads(response.body)
            kept = [group for group in document["items"] if group["metadata"]["name"] != "scheduling.k8s.io"]
            return Response(200, response.headers, json.dumps({**document, "items": kept}).encode())
        return response

    async def close(self) -> None:
        await self._inner.close()


def test_a_kind_that_comes_later_is_followed_too() -> None:
    async def main() -> None:
        async with open_cluster() as cluster:
            client = cluster.client()
            server = YoungServer(cluster.client(user=CONTROLLER_MANAGER, groups=()).transport)
            await cluster.start_controllers(enabled=LOOP, client=Client(server))
            body = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "value": 1,
                    "metadata": {"name": "owner"}}  # fmt: skip
            owner = await client.create(PRIORITY_CLASSES, body)
            await client.create(CONFIG_MAPS, make_config_map("child", owner), "default")
            await client.delete(PRIORITY_CLASSES, "owner")
            await asyncio.sleep(120)
            assert await is_there(client, CONFIG_MAPS, "child", "default"), "nothing is known of such an owner"
            server.is_complete = True
            other = await client.create(PRIORITY_CLASSES, body)
            await client.create(CONFIG_MAPS, make_config_map("other", other), "default")
            await asyncio.sleep(60)
            await client.delete(PRIORITY_CLASSES, "owner")
            await wait_gone(cluster, CONFIG_MAPS, "other")

    run_virtually(main())
