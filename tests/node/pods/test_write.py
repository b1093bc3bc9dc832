"""Rule: spec "node" §3.1, §2.10 step 7."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from seaway.api.registry import PODS
from seaway.client.requests import Client
from seaway.node.pods.write.run import StatusWriter
from seaway.node.podspec import PodManifest
from seaway.node.status import make_pod_status
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


def test_a_pod_that_is_gone_is_forgotten() -> None:
    async def run() -> None:
        async with open_cluster() as cluster:
            client = cluster.client()
            pod = await create(client)
            await client.delete(PODS, "web", "default", options={"gracePeriodSeconds": 0})
            await write(StatusWriter(client, pod), make_status(pod))

    asyncio.run(run())
