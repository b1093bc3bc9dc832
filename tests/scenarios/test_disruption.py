"""Disruption budgets and what they let go, against the real API server in memory."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from seaway.api.machinery.errors import TooManyRequests
from seaway.api.registry import NODES, POD_DISRUPTION_BUDGETS, PODS, REPLICA_SETS
from seaway.client.requests import Client
from seaway.testing.builders import make_node, make_pod
from seaway.testing.cluster import Cluster
from tests.scenarios.test_control_loops import find, play, set_status

Json = dict[str, Any]


def make_budget(**spec: Any) -> Json:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "web", "labels": {"team": "a"}},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec},
    }


async def make_set(client: Client, replicas: int) -> Json:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    made = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "web"}, "spec": spec}
    meta = (await client.create(REPLICA_SETS, made, "default"))["metadata"]
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": meta["uid"], "controller": True}
    return {"ownerReferences": [owner]}


async def run_pods(client: Client, names: list[str], meta: Json) -> None:
    await client.create(NODES, make_node("n1"))
    for number, name in enumerate(names):
        await client.create(PODS, make_pod(name, labels={"app": "web"}, meta=meta, nodeName="n1"), "default")
        await set_status(client, name, make_pod(name, ip=f"10.244.0.{number + 2}", ready=True)["status"])


async def numbers(client: Client) -> tuple[int, int, int, int]:
    status = (await client.get(POD_DISRUPTION_BUDGETS, "web", "default", as_type=dict))["status"]
    return tuple(status[f] for f in ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"))  # type: ignore[return-value]


async def evict(client: Client, name: str) -> None:
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "default"}}
    await client.create(PODS, eviction, "default", name=name, subresource="eviction")


def test_a_budget_lets_pods_go_one_by_one() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        meta = await make_set(client, 3)
        await run_pods(client, ["a", "b", "c"], meta)
        await client.create(POD_DISRUPTION_BUDGETS, make_budget(maxUnavailable=1), "default")
        await asyncio.sleep(1)
        assert await numbers(client) == (1, 3, 2, 3)
        await evict(client, "a")
        with pytest.raises(TooManyRequests, match="would violate the pod's disruption budget"):
            await evict(client, "b")
        await asyncio.sleep(1)
        assert await numbers(client) == (0, 2, 2, 3)
        live = await client.get(POD_DISRUPTION_BUDGETS, "web", "default", as_type=dict)
        assert live["metadata"]["labels"] == {"team": "a"}
        assert live["status"].get("disruptedPods", {}) == {}
        await client.delete(PODS, "a", "default", options={"gracePeriodSeconds": 0})
        await client.create(PODS, make_pod("d", labels={"app": "web"}, meta=meta, nodeName="n1"), "default")
        await set_status(client, "d", make_pod("d", ip="10.244.0.9", ready=True)["status"])
        await asyncio.sleep(1)
        assert await numbers(client) == (1, 3, 2, 3)
        await evict(client, "b")
        pod = await find(client, PODS, "b", "default")
        assert pod is not None and "deletionTimestamp" in pod["metadata"]

    play(scenario, enabled=("disruption",))


def test_a_budget_follows_the_scale_of_its_owner() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await run_pods(client, ["a", "b"], await make_set(client, 2))
        await client.create(POD_DISRUPTION_BUDGETS, make_budget(minAvailable="50%"), "default")
        await asyncio.sleep(1)
        assert await numbers(client) == (1, 2, 1, 2)
        await client.patch(REPLICA_SETS, "web", "default", patch={"spec": {"replicas": 4}})
        await asyncio.sleep(1)
        assert await numbers(client) == (0, 2, 2, 4)

    play(scenario, enabled=("disruption",))


def test_a_budget_at_rest_writes_nothing() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await run_pods(client, ["a"], {})
        await client.create(POD_DISRUPTION_BUDGETS, make_budget(minAvailable=1), "default")
        await asyncio.sleep(1)
        before = await client.get(POD_DISRUPTION_BUDGETS, "web", "default", as_type=dict)
        await asyncio.sleep(1000)
        assert await client.get(POD_DISRUPTION_BUDGETS, "web", "default", as_type=dict) == before

    play(scenario, enabled=("disruption",))
