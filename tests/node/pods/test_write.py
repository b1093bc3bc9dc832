"""Rule: spec "node" §3.1, §2.10 step 7."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from seaway.api.machinery.errors import Invalid
from seaway.api.registry import PODS
from seaway.client.requests import STRATEGIC_PATCH, Client
from seaway.node.pods.write.run import StatusWriter
from seaway.node.podspec import PodManifest
from seaway.node.status import make_pod_status, make_status_patch
from seaway.testing.builders import make_pod
from seaway.testing.cluster import open_cluster
from tests.node.manifests import NOW, make_state, running


async def create(client: Client) -> PodManifest:
    pod = make_pod("web", nodeName="node-1")
    pod.pop("status")
    return msgspec.convert(await client.create(PODS, pod, "default"), PodManifest)


def make_status(pod: PodManifest) -> dict[str, Any]:
    return make_pod_status(pod, make_state(running()), host_ips=("192.0.2.1",), written=None, wall_now=NOW)


async def write(writer: StatusWriter, status: dict[str, Any]) -> None:
    """Returns when there is nothing to write any more."""
    running_ = asyncio.create_task(writer.run())
    writer.want(status)
    await asyncio.wait_for(writer.flush(), 10)
    running_.cancel()
    await asyncio.gather(running_, return_exceptions=True)


async def read(client: Client) -> dict[str, Any]:
    return await client.get(PODS, "web", "default", as_type=dict)


def test_a_status_is_written() -> None:
    async def run() -> dict[str, Any]:
        async with open_cluster() as cluster:
            client = cluster.client()
            pod = await create(client)
            await write(StatusWriter(client, pod), make_status(pod))
            return await read(client)

    status = asyncio.run(run())["status"]
    assert (status["phase"], status["podIP"]) == ("Running", "10.244.0.2")


def test_a_pod_of_the_same_name_that_came_later_is_left_alone() -> None:
    async def run() -> tuple[str, dict[str, Any]]:
        async with open_cluster() as cluster:
            client = cluster.client()
            first = await create(client)
            await client.delete(PODS, "web", "default", options={"gracePeriodSeconds": 0})
            second = await create(client)
            writer = StatusWriter(client, first)
            await write(writer, make_status(first))
            await asyncio.wait_for(writer.delete(), 10)
            return second.uid, await read(client)

    uid, found = asyncio.run(run())
    assert found["metadata"]["uid"] == uid and found["status"]["phase"] == "Pending"


def test_the_server_refuses_the_status_of_another_pod_of_the_name() -> None:
    """As an invalid field: a foreign UID is a conflict in a PUT, and in a patch it is not. Rule: spec "api-machinery"
    §1 (409, Conflict); spec "node" §3.1 asks for a refusal, and the writer takes either.
    """

    async def run() -> None:
        async with open_cluster() as cluster:
            client = cluster.client()
            pod = await create(client)
            patch = make_status_patch("another", make_status(pod), None)
            with pytest.raises(Invalid, match=r'metadata\.uid: Invalid value: "another": field is immutable'):
                await client.patch(
                    PODS, "web", "default", patch=patch, patch_type=STRATEGIC_PATCH, subresource="status"
                )  # fmt: skip
            assert (await read(client))["status"]["phase"] == "Pending"

    asyncio.run(run())


def test_a_pod_that_is_gone_is_forgotten() -> None:
    async def run() -> None:
        async with open_cluster() as cluster:
            client = cluster.client()
            pod = await create(client)
            await client.delete(PODS, "web", "default", options={"gracePeriodSeconds": 0})
            await write(StatusWriter(client, pod), make_status(pod))

    asyncio.run(run())
