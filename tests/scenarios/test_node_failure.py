"""What becomes of Pods and endpoints when nodes die, return or go, on a clock that jumps.

Rule: spec "controllers" §6.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from seaway.api.registry import EVENTS, NODES, PODS, SERVICES
from seaway.client.requests import Client
from seaway.testing.builders import make_node, make_pod, make_service
from seaway.testing.cluster import Cluster
from tests.scenarios.test_control_loops import (
    beat,
    create_node,
    expect_addresses,
    find,
    list_addresses,
    play,
    ready_of,
    run_pod,
    set_status,
)

Json = dict[str, Any]
PATIENCE_SECONDS = 300
QUARANTINE_SECONDS = 62


async def taints_of(client: Client, name: str) -> list[str]:
    node = await client.get(NODES, name, as_type=dict)
    return [f"{t['key'].rpartition('/')[2]}:{t['effect']}" for t in node["spec"].get("taints", ())]


async def list_events(client: Client, name: str) -> set[tuple[str, str, str, str]]:
    page = await client.list(EVENTS, "default", field_selector=f"involvedObject.name={name}")
    events = [msgspec.json.decode(raw) for raw in page.items]
    return {(e["source"]["component"], e["type"], e["reason"], e["message"]) for e in events}


async def is_leaving(client: Client, name: str) -> bool:
    pod = await find(client, PODS, name, "default")
    return pod is None or "deletionTimestamp" in pod["metadata"]


async def report(client: Client, name: str, *, ready: bool) -> None:
    """What the agent of a node says."""
    live = await client.get(NODES, name, as_type=dict)
    await client.update(NODES, {**live, "status": make_node(name, ready=ready)["status"]}, subresource="status")


def test_a_new_node_takes_pods_as_soon_as_the_loop_has_seen_it() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        made = await client.create(NODES, make_node("n1"))
        assert made["spec"]["taints"] == [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]

        async def is_open() -> bool:
            return not await taints_of(client, "n1")

        await cluster.eventually(is_open, timeout_seconds=1)
        await asyncio.sleep(1)
        text = "Node n1 event: Registered Node n1 in Controller"
        assert ("node-controller", "Normal", "RegisteredNode", text) in await list_events(client, "n1")
        await client.delete(NODES, "n1")
        await asyncio.sleep(1)
        text = "Node n1 event: Removing Node n1 from Controller"
        assert ("node-controller", "Normal", "RemovingNode", text) in await list_events(client, "n1")

    play(scenario)


def test_a_dead_node_loses_its_endpoints_at_once_and_its_pods_in_time() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        for name in ("n1", "n2"):
            await create_node(client, name)
        agents = {name: asyncio.create_task(beat(client, name)) for name in ("n1", "n2")}
        await client.create(SERVICES, make_service("web"), "default")
        await run_pod(client, "a", "10.244.0.2", node="n1")
        await run_pod(client, "b", "10.244.1.2", node="n2")
        await expect_addresses(cluster, client, [("10.244.0.2", True), ("10.244.1.2", True)])
        agents["n1"].cancel()
        await expect_addresses(cluster, client, [("10.244.0.2", False), ("10.244.1.2", True)])
        await asyncio.sleep(1)
        assert await taints_of(client, "n1") == ["unreachable:NoSchedule", "unreachable:NoExecute"]
        assert await taints_of(client, "n2") == []
        events = await list_events(client, "n1")
        assert ("node-controller", "Normal", "NodeNotReady", "Node n1 status is now: NodeNotReady") in events
        assert ("node-controller", "Warning", "NodeNotReady", "Node is not ready") in await list_events(client, "a")
        await asyncio.sleep(PATIENCE_SECONDS - 10)
        assert not await is_leaving(client, "a")
        await asyncio.sleep(10)
        assert await is_leaving(client, "a")
        assert not await is_leaving(client, "b")
        pod = await client.get(PODS, "a", "default", as_type=dict)
        (target,) = [c for c in pod["status"]["conditions"] if c["type"] == "DisruptionTarget"]
        assert (target["status"], target["reason"]) == ("True", "DeletionByTaintManager")
        text = "Marking for deletion Pod default/a"
        assert ("taint-eviction-controller", "Normal", "TaintManagerEviction", text) in await list_events(client, "a")
        await asyncio.sleep(100)
        assert await find(client, PODS, "a", "default"), "nobody is there to finish it"
        agents["n2"].cancel()

    play(scenario)


def test_a_node_that_returns_in_time_keeps_its_pods() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        for name in ("n1", "n2"):
            await create_node(client, name)
        agent = asyncio.create_task(beat(client, "n2"))
        await run_pod(client, "a", "10.244.0.2", node="n1")
        await asyncio.sleep(100)
        assert await taints_of(client, "n1") == ["unreachable:NoSchedule", "unreachable:NoExecute"]
        back = asyncio.create_task(beat(client, "n1"))
        await report(client, "n1", ready=True)
        await set_status(client, "a", make_pod("a", ip="10.244.0.2", ready=True)["status"])
        await asyncio.sleep(1)
        assert await taints_of(client, "n1") == []
        text = "Cancelling deletion of Pod default/a"
        assert ("taint-eviction-controller", "Normal", "TaintManagerEviction", text) in await list_events(client, "a")
        await asyncio.sleep(2 * PATIENCE_SECONDS)
        assert not await is_leaving(client, "a")
        assert await ready_of(client, PODS, "a", "default") == "True"
        agent.cancel()
        back.cancel()

    play(scenario)


def test_when_all_nodes_die_nobody_is_evicted_and_when_one_returns_the_rest_are() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        for name in ("n1", "n2"):
            await create_node(client, name)
            await run_pod(client, f"on-{name}", "10.244.0.2", node=name)
        await asyncio.sleep(3 * PATIENCE_SECONDS)
        for name in ("n1", "n2"):
            assert await ready_of(client, NODES, name) == "Unknown"
            assert await ready_of(client, PODS, f"on-{name}", "default") == "False"
            assert await taints_of(client, name) == ["unreachable:NoSchedule"]
            assert not await is_leaving(client, f"on-{name}")
        agent = asyncio.create_task(beat(client, "n2"))
        await report(client, "n2", ready=True)
        await asyncio.sleep(PATIENCE_SECONDS - 10)
        assert not await is_leaving(client, "on-n1")
        await asyncio.sleep(20)
        assert await is_leaving(client, "on-n1")
        assert not await is_leaving(client, "on-n2")
        agent.cancel()

    play(scenario)


def test_a_pod_that_is_first_seen_on_a_node_that_is_not_ready_is_not_ready() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        for name, ready in (("n1", False), ("n2", True)):
            await create_node(client, name, ready=ready)
            await run_pod(client, f"on-{name}", "10.244.0.2", node=name)
        await cluster.start_controllers(node_grace_seconds=1e6)
        await asyncio.sleep(1)
        assert await ready_of(client, PODS, "on-n1", "default") == "False"
        assert await ready_of(client, PODS, "on-n2", "default") == "True"
        assert ("node-controller", "Warning", "NodeNotReady", "Node is not ready") in await list_events(client, "on-n1")

    play(scenario, enabled=())


def test_a_node_that_says_that_it_is_not_ready_keeps_the_endpoints_that_it_has() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        for name in ("n1", "n2"):
            await create_node(client, name)
        agents = [asyncio.create_task(beat(client, name)) for name in ("n1", "n2")]
        await run_pod(client, "old", "10.244.0.2", node="n1")
        await asyncio.sleep(1)
        await report(client, "n1", ready=False)
        await asyncio.sleep(1)
        assert await ready_of(client, PODS, "old", "default") == "True"
        assert await taints_of(client, "n1") == ["not-ready:NoSchedule", "not-ready:NoExecute"]
        for agent in agents:
            agent.cancel()

    play(scenario)


def test_a_pod_that_tolerates_no_taint_leaves_at_once_and_one_that_does_stays() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await create_node(client, "n1")
        agent = asyncio.create_task(beat(client, "n1"))
        stays = [{"key": "drain", "operator": "Exists"}]
        await client.create(PODS, make_pod("leaves", nodeName="n1"), "default")
        await client.create(PODS, make_pod("stays", nodeName="n1", tolerations=stays), "default")
        waits = [{**stays[0], "effect": "NoExecute", "tolerationSeconds": 60}]
        await client.create(PODS, make_pod("waits", nodeName="n1", tolerations=waits), "default")
        await asyncio.sleep(1)
        await client.patch(NODES, "n1", patch={"spec": {"taints": [{"key": "drain", "effect": "NoExecute"}]}})
        await asyncio.sleep(1)
        assert await is_leaving(client, "leaves")
        await asyncio.sleep(58)
        assert not await is_leaving(client, "waits")
        await asyncio.sleep(2)
        assert await is_leaving(client, "waits")
        assert not await is_leaving(client, "stays")
        agent.cancel()

    play(scenario)


def test_pods_of_a_node_that_is_gone_fail_and_go() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await create_node(client, "n1")
        agent = asyncio.create_task(beat(client, "n1"))
        await client.create(SERVICES, make_service("web"), "default")
        await run_pod(client, "a", "10.244.0.2", node="n1")
        await expect_addresses(cluster, client, [("10.244.0.2", True)])
        agent.cancel()
        await client.delete(NODES, "n1")
        await asyncio.sleep(39)
        assert await find(client, PODS, "a", "default")
        await asyncio.sleep(QUARANTINE_SECONDS - 39)
        assert await find(client, PODS, "a", "default") is None
        assert await list_addresses(client) == []

    play(scenario)


def test_a_pod_that_ends_before_it_had_a_node_goes() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        pod = make_pod("a", meta={"finalizers": ["example.com/held"]})
        await client.create(PODS, pod, "default")
        await client.delete(PODS, "a", "default")
        await asyncio.sleep(21)
        live = await client.get(PODS, "a", "default", as_type=dict)
        assert live["status"]["phase"] == "Failed"

    play(scenario)
