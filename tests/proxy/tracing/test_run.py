"""A walk of what an API server holds."""

from __future__ import annotations

import asyncio

import pytest

from seaway.api.registry import ENDPOINT_SLICES, NODES, SERVICES
from seaway.proxy.config import ProxyConfig
from seaway.proxy.tracing.kernel import TraceError
from seaway.proxy.tracing.run import read_cluster
from seaway.proxy.tracing.walk import Outcome, Question, explain
from seaway.testing.builders import make_node, make_service, make_slice
from seaway.testing.cluster import open_cluster


def test_the_cluster_of_now_is_read_and_explained() -> None:
    async def play() -> None:
        async with open_cluster() as cluster:
            admin = cluster.client()
            made = await admin.create(NODES, make_node("node-1"))
            status = {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]}
            await admin.update(NODES, {**made, "status": status}, subresource="status")
            service = await admin.create(SERVICES, make_service("web"), "default")
            await admin.create(ENDPOINT_SLICES, make_slice("web-1", "web", ["10.244.0.5"]), "default")
            config = ProxyConfig(node_name="node-1", cluster_cidrs=("10.244.0.0/16",))
            found = await read_cluster(admin, config)
            walk = explain(Question("192.0.2.1", service["spec"]["clusterIP"], 80), found)
            assert (walk.outcome, walk.masqueraded) == (Outcome.FORWARDED, True)
            assert [target.address for target in walk.used] == ["10.244.0.5"]
            with pytest.raises(TraceError, match="node-9"):
                await read_cluster(admin, ProxyConfig(node_name="node-9"))

    asyncio.run(play())
