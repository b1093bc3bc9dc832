"""The scheduler against the real API server in memory, on a clock that jumps. Rule: spec "controllers" §7.7."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from seaway.api.machinery.http import Request, Response
from seaway.api.pod.types import Pod
from seaway.api.registry import EVENTS, NODES, PODS
from seaway.client.requests import Client, Transport, TransportError
from seaway.testing.builders import make_node, make_pod
from seaway.testing.clock import run_virtually
from seaway.testing.cluster import CONTROLLER_MANAGER, Cluster, open_cluster

Json = dict[str, Any]
LOOPS = ("scheduler", "nodes")


def play(scenario: Callable[[Cluster, Client], Awaitable[None]], *, enabled: tuple[str, ...] = LOOPS) -> None:
    async def main() -> None:
        async with open_cluster() as cluster:
            if enabled:
                await cluster.start_controllers(enabled=enabled, node_grace_seconds=1e6)
            await scenario(cluster, cluster.client())

    run_virtually(main())


async def create_node(client: Client, name: str, *, has: Json | None = None, **rest: Any) -> None:
    node = make_node(name, **rest)
    created = await client.create(NODES, node)
    amounts = {"cpu": "8", "memory": "16Gi", "pods": "110"} | (has or {})
    status = node["status"] | {"allocatable": amounts, "capacity": amounts}
    await client.update(NODES, {**created, "status": status}, subresource="status")


def ask(name: str, *, cpu: str = "", port: int = 0, **rest: Any) -> Json:
    container: Json = {"name": "main", "image": "program"}
    if cpu:
        container["resources"] = {"requests": {"cpu": cpu}}
    if port:
        container["ports"] = [{"containerPort": port, "hostPort": port}]
    return make_pod(name, **{"containers": [container], **rest})


async def list_pods(client: Client) -> list[Pod]:
    return [msgspec.json.decode(raw, type=Pod) for raw in (await client.list(PODS, "default")).items]


async def where_is(client: Client, name: str) -> str:
    return (await client.get(PODS, name, "default", as_type=Pod)).spec.node_name


async def told_of(client: Client, name: str) -> Json:
    live = await client.get(PODS, name, "default", as_type=dict)
    return next((c for c in live["status"].get("conditions", ()) if c["type"] == "PodScheduled"), {})


async def list_events(client: Client, name: str) -> list[tuple[str, str, str, int]]:
    page = await client.list(EVENTS, "default", field_selector=f"involvedObject.name={name}")
    events = [msgspec.json.decode(raw) for raw in page.items]
    return sorted((e["type"], e["reason"], e["message"], e["count"]) for e in events)


def test_a_pod_is_bound_and_told_so() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await create_node(client, "n1")
        await client.create(PODS, ask("a"), "default")
        await cluster.eventually(lambda: where_is(client, "a"))
        await asyncio.sleep(1)
        assert (await told_of(client, "a"))["status"] == "True"
        message = "Successfully assigned default/a to n1"
        assert await list_events(client, "a") == [("Normal", "Scheduled", message, 1)]

    play(scenario)


def test_a_pod_that_fits_nowhere_is_told_once_and_bound_when_there_is_room() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await create_node(client, "n1", has={"cpu": "2"})
        await client.create(PODS, ask("first", cpu="1500m"), "default")
        await cluster.eventually(lambda: where_is(client, "first"))
        await client.create(PODS, ask("second", cpu="1"), "default")
        await cluster.eventually(lambda: told_of(client, "second"))
        condition = await told_of(client, "second")
        assert (condition["status"], condition["reason"]) == ("False", "Unschedulable")
        assert condition["message"] == "0/1 nodes are available: 1 Insufficient cpu."
        version = (await client.get(PODS, "second", "default", as_type=Pod)).metadata.resource_version
        await asyncio.sleep(1000)
        again = await client.get(PODS, "second", "default", as_type=Pod)
        assert again.metadata.resource_version == version
        assert await list_events(client, "second") == [("Warning", "FailedScheduling", condition["message"], 1)]
        await client.delete(PODS, "first", "default", options={"gracePeriodSeconds": 0})
        await cluster.eventually(lambda: where_is(client, "second"), timeout_seconds=11)

    play(scenario)


def test_a_pod_that_fits_nowhere_is_bound_when_a_node_comes() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await client.create(PODS, ask("a"), "default")
        await cluster.eventually(lambda: told_of(client, "a"))
        assert (await told_of(client, "a"))["message"] == "no nodes available to schedule pods"
        await create_node(client, "n1")
        await cluster.eventually(lambda: where_is(client, "a"))

    play(scenario)


def test_company_that_a_pod_waits_for_wakes_it() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        for name in ("n1", "n2"):
            await create_node(client, name, meta={"labels": {"kubernetes.io/hostname": name}})
        term = {"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "kubernetes.io/hostname"}
        near = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
        await client.create(PODS, ask("friend", affinity=near), "default")
        await cluster.eventually(lambda: told_of(client, "friend"))
        message = "0/2 nodes are available: 2 node(s) didn't match pod affinity rules."
        assert (await told_of(client, "friend"))["message"] == message
        await client.create(PODS, ask("web", labels={"app": "web"}, nodeName="n2"), "default")
        assert await cluster.eventually(lambda: where_is(client, "friend")) == "n2"

    play(scenario)


def test_in_a_burst_no_node_is_overcommitted_and_no_port_taken_twice() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        for n in range(5):
            await create_node(client, f"n{n}", has={"cpu": "2"})
        pods = [ask(f"c{n:02}", cpu="500m") for n in range(24)] + [ask(f"p{n}", port=80) for n in range(8)]
        await asyncio.gather(*(client.create(PODS, pod, "default") for pod in pods))
        await asyncio.sleep(30)
        found = await list_pods(client)
        bound = [(p.spec.node_name, p.metadata.name[0]) for p in found if p.spec.node_name]
        assert Counter(bound) == {(f"n{n}", kind): count for n in range(5) for kind, count in (("c", 4), ("p", 1))}

    play(scenario)


def test_gates_hold_a_pod_until_they_are_gone() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await create_node(client, "n1")
        await client.create(PODS, ask("a", schedulingGates=[{"name": "example.com/wait"}]), "default")
        await asyncio.sleep(30)
        condition = await told_of(client, "a")
        assert (condition["status"], condition["reason"]) == ("False", "SchedulingGated")
        assert not await where_is(client, "a")
        await client.patch(PODS, "a", "default", patch={"spec": {"schedulingGates": None}})
        assert await cluster.eventually(lambda: where_is(client, "a")) == "n1"

    play(scenario)


def test_another_schedulers_pods_are_left_alone() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await create_node(client, "n1")
        await client.create(PODS, ask("a", schedulerName="other"), "default")
        await asyncio.sleep(30)
        assert not await where_is(client, "a")
        assert not await told_of(client, "a")

    play(scenario)


def test_a_cordoned_node_takes_nobody_until_it_is_uncordoned() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await create_node(client, "n1")
        await client.patch(NODES, "n1", patch={"spec": {"unschedulable": True}})
        await asyncio.sleep(1)
        taints = (await client.get(NODES, "n1", as_type=dict))["spec"]["taints"]
        assert [(t["key"], t["effect"]) for t in taints] == [("node.kubernetes.io/unschedulable", "NoSchedule")]
        await client.create(PODS, ask("a"), "default")
        await cluster.eventually(lambda: told_of(client, "a"))
        assert (await told_of(client, "a"))["message"] == "0/1 nodes are available: 1 node(s) were unschedulable."
        await client.patch(NODES, "n1", patch={"spec": {"unschedulable": None}})
        await cluster.eventually(lambda: where_is(client, "a"))

    play(scenario)


class Flaky:
    """A transport whose first bindings get no answer, whether they were made or not."""

    def __init__(self, inner: Transport, *, failures: int, is_made: bool) -> None:
        self._inner, self._left, self._is_made = inner, failures, is_made

    async def send(self, request: Request) -> Response:
        if not request.path.endswith("/binding") or not self._left:
            return await self._inner.send(request)
        self._left -= 1
        if self._is_made:
            await self._inner.send(request)
        raise TransportError("no answer")

    async def close(self) -> None:
        await self._inner.close()


@pytest.mark.parametrize("is_made", [True, False], ids=["it was made", "it was not"])
def test_a_binding_without_an_answer_keeps_its_place(is_made: bool) -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await create_node(client, "n1", has={"cpu": "1"})
        loops = cluster.client(user=CONTROLLER_MANAGER, groups=())
        flaky = Client(Flaky(loops.transport, failures=3, is_made=is_made))
        await cluster.start_controllers(enabled=LOOPS, node_grace_seconds=1e6, client=flaky)
        for name in ("a", "b"):
            await client.create(PODS, ask(name, cpu="600m"), "default")
        await asyncio.sleep(60)
        assert sorted(p.spec.node_name for p in await list_pods(client)) == ["", "n1"]

    play(scenario, enabled=())


def test_a_refused_binding_makes_room_again() -> None:
    """Somebody else puts the Pod elsewhere while its binding is under way."""

    async def scenario(cluster: Cluster, client: Client) -> None:
        await create_node(client, "n1", has={"cpu": "1"})
        await client.create(NODES, make_node("n2", unschedulable=True))
        loops = cluster.client(user=CONTROLLER_MANAGER, groups=())
        flaky = Client(Flaky(loops.transport, failures=1, is_made=False))
        await cluster.start_controllers(enabled=LOOPS, node_grace_seconds=1e6, client=flaky)
        await client.create(PODS, ask("a", cpu="1"), "default")
        await asyncio.sleep(0.05)
        binding: Json = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "a"}}
        binding["target"] = {"apiVersion": "v1", "kind": "Node", "name": "n2"}
        await client.create(PODS, binding, "default", name="a", subresource="binding")
        await client.create(PODS, ask("b", cpu="1"), "default")
        assert await cluster.eventually(lambda: where_is(client, "b")) == "n1"
        assert await where_is(client, "a") == "n2"

    play(scenario, enabled=())


def test_a_server_that_goes_away_in_a_burst_ends_in_the_same_places_as_one_that_does_not() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        direct = cluster.direct_client()
        for n in range(3):
            await create_node(client, f"n{n}", has={"cpu": "2"})
        for n in range(8):
            await client.create(PODS, ask(f"a{n}", cpu="500m"), "default")
            if n == 3:
                cluster.cut()
                for late in range(6):
                    await direct.create(PODS, ask(f"late{late}", cpu="500m"), "default")
                await asyncio.sleep(20)
                cluster.mend()
        await asyncio.sleep(120)
        bound = Counter(p.spec.node_name for p in await list_pods(direct))
        assert bound == {"n0": 4, "n1": 4, "n2": 4, "": 2}

    play(scenario)


@pytest.mark.parametrize("after_seconds", [0.0, 0.002, 0.005, 0.02], ids=lambda s: f"after {1000 * s:g} ms")
def test_a_scheduler_that_is_killed_in_a_burst_is_followed_by_one_that_overcommits_nothing(
    after_seconds: float,
) -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        for n in range(3):
            await create_node(client, f"n{n}", has={"cpu": "2"})
        task = await cluster.start_controllers(enabled=LOOPS, node_grace_seconds=1e6)
        await asyncio.sleep(1)
        await asyncio.gather(*(client.create(PODS, ask(f"a{n}", cpu="500m"), "default") for n in range(16)))
        await asyncio.sleep(after_seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await cluster.start_controllers(enabled=LOOPS, node_grace_seconds=1e6)
        await asyncio.sleep(60)
        bound = Counter(p.spec.node_name for p in await list_pods(client))
        assert bound == {"n0": 4, "n1": 4, "n2": 4, "": 4}

    play(scenario, enabled=())
