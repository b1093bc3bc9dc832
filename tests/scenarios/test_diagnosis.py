"""The loop of diagnosis against the real API server in memory: what a user sees on a Service that leads nowhere."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from seaway.api.registry import EVENTS, PODS, SERVICES
from seaway.client.requests import STRATEGIC_PATCH, Client
from seaway.testing.builders import make_pod, make_service
from seaway.testing.cluster import Cluster
from tests.scenarios.test_control_loops import Json, play

ONLY = ("diagnosis",)


async def show(client: Client, name: str = "web") -> list[str]:
    """Conditions, a line each."""
    live = await client.get(SERVICES, name, "default", as_type=dict)
    return [
        f"{c['type'].rpartition('/')[2]}={c['status']} {c['reason']}: {c['message']}"
        for c in live["status"].get("conditions", ())
    ]


async def show_events(client: Client, name: str = "web") -> list[tuple[str, str, int]]:
    page = await client.list(EVENTS, "default", field_selector=f"involvedObject.name={name}")
    events: list[Json] = [msgspec.json.decode(raw) for raw in page.items]
    return sorted((e["reason"], e["message"], e["count"]) for e in events)


async def create_pod(client: Client, name: str, app: str, **spec: Any) -> None:
    await client.create(PODS, make_pod(name, labels={"app": app}, **spec), "default")


async def delete_pod(client: Client, name: str) -> None:
    await client.delete(PODS, name, "default", options={"gracePeriodSeconds": 0})


def test_a_selector_that_matches_no_pod_is_said_with_the_nearest_match_until_it_is_mended() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        for n in range(3):
            await create_pod(client, f"p{n}", "webb")
        await client.create(SERVICES, make_service("web"), "default")
        await asyncio.sleep(9)
        assert await show(client) == [] and await show_events(client) == []
        await asyncio.sleep(4)
        message = "no Pod has app=web; 3 Pods have app=webb"
        assert await show(client) == [f"EndpointsFound=False NoPodSelected: {message}"]
        assert await show_events(client) == [("NoPodSelected", message, 1)]
        await asyncio.sleep(600)
        assert await show_events(client) == [("NoPodSelected", message, 1)], "said once"
        await client.patch(PODS, "p0", "default", patch={"metadata": {"labels": {"app": "web"}}})
        await asyncio.sleep(2)
        assert await show(client) == ["EndpointsFound=True Found: "]
        await delete_pod(client, "p0")
        await asyncio.sleep(15)
        message = "no Pod has app=web; 2 Pods have app=webb"
        assert await show(client) == [f"EndpointsFound=False NoPodSelected: {message}"]
        assert await show_events(client) == [("NoPodSelected", message, 2)], "the same event, counted"

    play(scenario, enabled=ONLY)


def test_a_service_made_before_its_pods_makes_no_noise() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await client.create(SERVICES, make_service("web"), "default")
        await asyncio.sleep(8)
        await create_pod(client, "a", "web")
        await asyncio.sleep(60)
        before = (await client.get(SERVICES, "web", "default", as_type=dict))["metadata"]["resourceVersion"]
        await delete_pod(client, "a")
        await asyncio.sleep(5)
        await create_pod(client, "a", "web")
        await asyncio.sleep(60)
        live = await client.get(SERVICES, "web", "default", as_type=dict)
        assert live["metadata"]["resourceVersion"] == before, "nothing was written"
        assert await show_events(client) == []

    play(scenario, enabled=ONLY)


def test_a_hint_comes_when_pods_come_later() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await client.create(SERVICES, make_service("web"), "default")
        await asyncio.sleep(30)
        assert await show(client) == [
            "EndpointsFound=False NoPodSelected: no Pod has app=web; namespace default has no Pods"
        ]
        await create_pod(client, "a", "wep")
        await asyncio.sleep(15)
        assert await show(client) == ["EndpointsFound=False NoPodSelected: no Pod has app=web; 1 Pod has app=wep"]

    play(scenario, enabled=ONLY)


def test_a_named_port_that_no_pod_has_is_said() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        container = {"name": "main", "image": "program", "ports": [{"name": "htpp", "containerPort": 8080}]}
        await create_pod(client, "a", "web", containers=[container])
        await client.create(SERVICES, make_service("web", ports=[{"port": 80, "targetPort": "http"}]), "default")
        await asyncio.sleep(15)
        message = "no selected Pod has a TCP port named http; 1 Pod has htpp"
        assert await show(client) == [f"EndpointsFound=False TargetPortNotFound: {message}"]
        ports = [{"port": 80, "targetPort": "htpp"}]
        await client.patch(SERVICES, "web", "default", patch={"spec": {"ports": ports}})
        await asyncio.sleep(3)
        assert await show(client) == ["EndpointsFound=True Found: "]

    play(scenario, enabled=ONLY)


def test_a_class_that_nobody_serves_is_said_and_a_controller_is_not_disturbed() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await create_pod(client, "a", "web")
        balancer = make_service("web", type="LoadBalancer", loadBalancerClass="example.com/vip")
        await client.create(SERVICES, balancer, "default")
        other = make_service(
            "other", type="LoadBalancer", loadBalancerClass="example.com/vips", selector={"app": "web"}
        )
        await client.create(SERVICES, other, "default")
        ingress = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}
        await client.patch(SERVICES, "other", "default", patch=ingress, subresource="status")
        await asyncio.sleep(25)
        assert await show(client) == []
        await asyncio.sleep(10)
        message = (
            "no load-balancer controller has answered for class example.com/vip; "
            "1 Service has an address of class example.com/vips"
        )
        assert await show(client) == [f"LoadBalancerClassServed=False NoLoadBalancerController: {message}"]
        assert await show(client, "other") == []
        mine = {"type": "example.com/Mine", "status": "True", "reason": "R", "message": "m"}
        mine["lastTransitionTime"] = "2026-01-01T00:00:00Z"
        patch = {"status": {**ingress["status"], "conditions": [mine]}}
        await client.patch(SERVICES, "web", "default", patch=patch, patch_type=STRATEGIC_PATCH, subresource="status")
        await asyncio.sleep(3)
        assert sorted(await show(client)) == ["LoadBalancerClassServed=True Found: ", "Mine=True R: m"]
        live = await client.get(SERVICES, "web", "default", as_type=dict)
        assert [entry["ip"] for entry in live["status"]["loadBalancer"]["ingress"]] == ["192.0.2.1"]
        await client.patch(SERVICES, "web", "default", patch={"spec": {"type": "ClusterIP", "loadBalancerClass": None}})
        await asyncio.sleep(3)
        assert await show(client) == ["Mine=True R: m"], "a condition that says nothing any more goes"

    play(scenario, enabled=ONLY)


def test_pods_of_another_namespace_are_named() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await client.create(PODS, make_pod("a", "kube-public", labels={"app": "web"}), "kube-public")
        await client.create(SERVICES, make_service("web"), "default")
        await asyncio.sleep(15)
        assert await show(client) == [
            "EndpointsFound=False NoPodSelected: no Pod has app=web; 1 Pod of namespace kube-public has"
        ]

    play(scenario, enabled=ONLY)


def test_a_restart_repeats_nothing() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        task = await cluster.start_controllers(enabled=ONLY)
        await client.create(SERVICES, make_service("web"), "default")
        await asyncio.sleep(15)
        before = await client.get(SERVICES, "web", "default", as_type=dict)
        assert before["status"]["conditions"]
        task.cancel()
        await asyncio.sleep(1)
        await cluster.start_controllers(enabled=ONLY)
        await asyncio.sleep(60)
        assert await client.get(SERVICES, "web", "default", as_type=dict) == before
        assert [count for *_, count in await show_events(client)] == [1]

    play(scenario, enabled=())


def test_the_loop_can_be_turned_off() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await client.create(SERVICES, make_service("web"), "default")
        await asyncio.sleep(60)
        assert await show(client) == [] and await show_events(client) == []

    play(scenario, enabled=("*", "-diagnosis"))


def test_many_services_without_pods_are_told_at_a_bounded_rate() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        for n in range(60):
            await client.create(SERVICES, make_service(f"s{n}"), "default")
        await asyncio.sleep(12)

        async def count_said() -> int:
            return sum([bool(await show(client, f"s{n}")) for n in range(60)])

        assert 1 <= await count_said() <= 45
        await asyncio.sleep(5)
        assert await count_said() == 60

    play(scenario, enabled=ONLY)
