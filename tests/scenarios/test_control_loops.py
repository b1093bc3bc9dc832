"""Control loops against the real API server in memory, on a clock that jumps."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from seaway.api.endpointslice.types import EndpointSlice
from seaway.api.machinery.errors import ApiError, NotFound
from seaway.api.pod.types import Pod
from seaway.api.registry import (
    CONFIG_MAPS,
    ENDPOINT_SLICES,
    EVENTS,
    LEASES,
    NAMESPACES,
    NODES,
    PODS,
    SERVICE_ACCOUNTS,
    SERVICES,
    Resource,
)
from seaway.client.requests import Client, TransportError
from seaway.client.run import Change, Informer
from seaway.net.errors import OperationalError
from seaway.testing.builders import make_node, make_pod, make_service
from seaway.testing.clock import run_virtually
from seaway.testing.cluster import Cluster, open_cluster

Json = dict[str, Any]
Scenario = Callable[[Cluster, Client], Awaitable[None]]


def play(scenario: Scenario, *, enabled: tuple[str, ...] = ("*",)) -> None:
    async def main() -> None:
        async with open_cluster() as cluster:
            if enabled:
                await cluster.start_controllers(enabled=enabled)
            await scenario(cluster, cluster.client())

    run_virtually(main())


async def find(client: Client, resource: Resource, name: str, namespace: str = "") -> Json | None:
    try:
        return await client.get(resource, name, namespace, as_type=dict)
    except NotFound:
        return None


async def list_slices(client: Client, service: str = "web") -> list[EndpointSlice]:
    page = await client.list(ENDPOINT_SLICES, "default", label_selector=f"kubernetes.io/service-name={service}")
    return [msgspec.json.decode(raw, type=EndpointSlice) for raw in page.items]


async def list_addresses(client: Client) -> list[tuple[str, bool]]:
    """(address, ready) of all endpoints of `web`, sorted."""
    return sorted((a, e.is_ready) for s in await list_slices(client) for e in s.endpoints or () for a in e.addresses)


async def run_pod(client: Client, name: str, ip: str, *, ready: bool = True, node: str = "n1") -> None:
    """What a node's agent does: a Pod with an address and a Ready condition."""
    pod = make_pod(name, labels={"app": "web"}, nodeName=node)
    await client.create(PODS, pod, "default")
    await set_status(client, name, make_pod(name, ip=ip, ready=ready)["status"])


async def set_status(client: Client, name: str, status: Json) -> None:
    live = await client.get(PODS, name, "default", as_type=dict)
    await client.update(PODS, {**live, "status": status}, subresource="status")


async def create_node(client: Client, name: str, *, ready: bool = True, **spec: Any) -> None:
    node = make_node(name, **spec)
    created = await client.create(NODES, node)
    status = make_node(name, ready=ready)["status"]
    await client.update(NODES, {**created, "status": status}, subresource="status")


async def expect_addresses(cluster: Cluster, client: Client, wanted: list[tuple[str, bool]]) -> None:
    async def check() -> bool:
        return await list_addresses(client) == wanted

    try:
        await cluster.eventually(check)
    except TimeoutError:
        assert await list_addresses(client) == wanted
        raise


def test_a_service_gets_its_slices_and_they_follow_its_pods() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await create_node(client, "n1")
        await client.create(SERVICES, make_service("web", ports=[{"port": 80, "targetPort": 9376}]), "default")
        placeholder = await cluster.eventually(lambda: list_slices(client))
        assert [s.endpoints or () for s in placeholder] == [()]
        await run_pod(client, "a", "10.244.0.2", ready=False)
        await run_pod(client, "b", "10.244.0.3")
        await expect_addresses(cluster, client, [("10.244.0.2", False), ("10.244.0.3", True)])
        await set_status(client, "a", make_pod("a", ip="10.244.0.2", ready=True)["status"])
        await expect_addresses(cluster, client, [("10.244.0.2", True), ("10.244.0.3", True)])
        slices = await list_slices(client)
        assert [s.metadata.name for s in slices] == [s.metadata.name for s in placeholder]
        assert [[p.port for p in s.ports or ()] for s in slices] == [[9376]]
        await client.delete(PODS, "b", "default", options={"gracePeriodSeconds": 0})
        await expect_addresses(cluster, client, [("10.244.0.2", True)])
        await set_status(client, "a", {**make_pod("a", ip="10.244.0.2")["status"], "phase": "Succeeded"})
        await expect_addresses(cluster, client, [])

    play(scenario)


def test_slices_end_with_their_service() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await client.create(SERVICES, make_service("web"), "default")
        await cluster.eventually(lambda: list_slices(client))
        await client.delete(SERVICES, "web", "default")

        async def are_gone() -> bool:
            return not await list_slices(client)

        await cluster.eventually(are_gone)

    play(scenario)


def test_slices_outlive_a_service_that_is_orphaned() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await client.create(SERVICES, make_service("web"), "default")
        await cluster.eventually(lambda: list_slices(client))
        await client.delete(SERVICES, "web", "default", options={"propagationPolicy": "Orphan"})

        async def is_gone() -> bool:
            return await find(client, SERVICES, "web", "default") is None

        await cluster.eventually(is_gone)
        await asyncio.sleep(5)
        assert [s.metadata.owner_references for s in await list_slices(client)] == [()]

    play(scenario)


def test_a_service_deleted_in_the_foreground_goes_after_its_slices() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await client.create(SERVICES, make_service("web"), "default")
        await cluster.eventually(lambda: list_slices(client))
        await client.delete(SERVICES, "web", "default", options={"propagationPolicy": "Foreground"})

        async def is_gone() -> bool:
            return await find(client, SERVICES, "web", "default") is None

        await cluster.eventually(is_gone)
        assert not await list_slices(client)

    play(scenario)


def test_a_service_made_while_nobody_looked_is_found_at_the_start() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await create_node(client, "n1")
        await client.create(SERVICES, make_service("web"), "default")
        await run_pod(client, "a", "10.244.0.2")
        await cluster.start_controllers()
        await expect_addresses(cluster, client, [("10.244.0.2", True)])

    play(scenario, enabled=())


def test_a_slice_that_a_user_deletes_comes_back() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await create_node(client, "n1")
        await client.create(SERVICES, make_service("web"), "default")
        await run_pod(client, "a", "10.244.0.2")
        await expect_addresses(cluster, client, [("10.244.0.2", True)])
        for slice_ in await list_slices(client):
            await client.delete(ENDPOINT_SLICES, slice_.metadata.name, "default")
        await expect_addresses(cluster, client, [("10.244.0.2", True)])

    play(scenario)


def test_a_pod_waits_for_its_node_to_be_known() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await client.create(SERVICES, make_service("web"), "default")
        await run_pod(client, "a", "10.244.0.2", node="late")
        await asyncio.sleep(5)
        assert await list_addresses(client) == []
        await create_node(client, "late")
        await expect_addresses(cluster, client, [("10.244.0.2", True)])

    play(scenario)


def test_many_changes_of_one_service_need_few_writes_and_no_foreign_resync() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await create_node(client, "n1")
        await client.create(SERVICES, make_service("web"), "default")
        seen: list[Change[EndpointSlice]] = []
        informer = Informer(client, ENDPOINT_SLICES, EndpointSlice)
        informer.subscribe(seen.append)
        task = asyncio.create_task(informer.run())
        for n in range(120):
            await run_pod(client, f"p{n:03}", f"10.244.0.{n + 2}")
        await expect_addresses(cluster, client, sorted((f"10.244.0.{n + 2}", True) for n in range(120)))
        settled = len(seen)
        await asyncio.sleep(60)
        assert len(seen) == settled
        assert sorted(len(s.endpoints or ()) for s in await list_slices(client)) == [20, 100]
        task.cancel()

    play(scenario, enabled=("endpointslice",))


def test_every_namespace_has_its_default_objects_and_gets_them_back() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
        for namespace in ("default", "kube-system", "shop"):
            await cluster.eventually(lambda ns=namespace: find(client, SERVICE_ACCOUNTS, "default", ns))
            found = await cluster.eventually(lambda ns=namespace: find(client, CONFIG_MAPS, "kube-root-ca.crt", ns))
            assert found["data"] == {"ca.crt": "CA\n"}
        await client.update(CONFIG_MAPS, {**found, "data": {"ca.crt": "changed"}})
        await client.delete(SERVICE_ACCOUNTS, "default", "shop")
        await cluster.eventually(lambda: find(client, SERVICE_ACCOUNTS, "default", "shop"))

        async def is_right() -> bool:
            live = await client.get(CONFIG_MAPS, "kube-root-ca.crt", "shop", as_type=dict)
            return bool(live["data"] == {"ca.crt": "CA\n"})

        await cluster.eventually(is_right)

    play(scenario)


def test_a_namespace_ends_with_all_that_is_in_it() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
        await client.create(SERVICES, make_service("web", "shop"), "shop")
        await client.create(PODS, make_pod("a", "shop", nodeName="n1", terminationGracePeriodSeconds=30), "shop")
        await client.delete(NAMESPACES, "shop")
        await asyncio.sleep(2)
        assert await find(client, SERVICES, "web", "shop"), "nothing goes while a Pod remains"
        await client.delete(PODS, "a", "shop", options={"gracePeriodSeconds": 0})

        async def is_gone() -> bool:
            return await find(client, NAMESPACES, "shop") is None

        await cluster.eventually(is_gone)
        assert await find(client, SERVICES, "web", "shop") is None

    play(scenario)


def test_a_namespace_waits_for_a_finalizer_and_says_so() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
        held = make_service("web", "shop", meta={"finalizers": ["example.com/held"]})
        await client.create(SERVICES, held, "shop")
        await client.delete(NAMESPACES, "shop")

        async def find_condition() -> Json | None:
            live = await find(client, NAMESPACES, "shop")
            conditions = (live or {}).get("status", {}).get("conditions", ())
            return next((c for c in conditions if c["type"] == "NamespaceFinalizersRemaining"), None)

        condition = await cluster.eventually(find_condition)
        assert (condition["status"], condition["reason"]) == ("True", "SomeFinalizersRemain")
        assert condition["message"].endswith("example.com/held in 1 resource instances")
        live = await client.get(SERVICES, "web", "shop", as_type=dict)
        live["metadata"]["finalizers"] = []
        await client.update(SERVICES, live)

        async def is_gone() -> bool:
            return await find(client, NAMESPACES, "shop") is None

        await cluster.eventually(is_gone, timeout_seconds=30)

    play(scenario)


def lease(name: str, renew_time: str) -> Json:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": "kube-node-lease"},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": renew_time},
    }


async def beat(client: Client, name: str) -> None:
    """An agent that renews its lease every second."""
    await client.create(LEASES, lease(name, "2026-01-01T00:00:00.000000Z"), "kube-node-lease")
    for n in range(1, 10_000):
        await asyncio.sleep(1)
        with contextlib.suppress(TransportError):
            live = await client.get(LEASES, name, "kube-node-lease", as_type=dict)
            live["spec"]["renewTime"] = f"2026-01-01T00:00:00.{n:06}Z"
            await client.update(LEASES, live)


async def ready_of(client: Client, resource: Resource, name: str, namespace: str = "") -> str:
    live = await client.get(resource, name, namespace, as_type=dict)
    return next((str(c["status"]) for c in live["status"]["conditions"] if c["type"] == "Ready"), "")


def test_a_node_without_heartbeats_is_lost_and_its_endpoints_are_not_ready() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        loop = asyncio.get_running_loop()
        agents = {}
        for name in ("n1", "n2"):
            await create_node(client, name)
            agents[name] = asyncio.create_task(beat(client, name))
        await client.create(SERVICES, make_service("web"), "default")
        await run_pod(client, "a", "10.244.0.2", node="n1")
        await run_pod(client, "b", "10.244.1.2", node="n2")
        await asyncio.sleep(20.5)
        assert await list_addresses(client) == [("10.244.0.2", True), ("10.244.1.2", True)]
        agents["n1"].cancel()
        died_at = loop.time()
        await expect_addresses(cluster, client, [("10.244.0.2", False), ("10.244.1.2", True)])
        assert loop.time() - died_at < 3.1
        assert await ready_of(client, NODES, "n1") == "Unknown"
        assert await ready_of(client, NODES, "n2") == "True"
        agents["n2"].cancel()

    play(scenario)


def test_a_node_that_comes_back_is_left_to_its_agent() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await create_node(client, "n1")
        await run_pod(client, "a", "10.244.0.2")

        async def is_lost() -> bool:
            return await ready_of(client, PODS, "a", "default") == "False"

        await cluster.eventually(is_lost)
        agent = asyncio.create_task(beat(client, "n1"))
        await asyncio.sleep(0.5)
        node = await client.get(NODES, "n1", as_type=dict)
        await client.update(NODES, {**node, "status": make_node("n1")["status"]}, subresource="status")
        await set_status(client, "a", make_pod("a", ip="10.244.0.2", ready=True)["status"])
        await asyncio.sleep(30)
        assert await ready_of(client, NODES, "n1") == "True"
        assert await ready_of(client, PODS, "a", "default") == "True"
        agent.cancel()

    play(scenario)


@pytest.mark.parametrize("seconds", [0.1, 2.9, 60.0], ids=["a moment", "almost the grace", "a minute"])
def test_no_node_is_lost_because_the_server_was_away(seconds: float) -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await create_node(client, "n1")
        agent = asyncio.create_task(beat(client, "n1"))
        await client.create(SERVICES, make_service("web"), "default")
        await run_pod(client, "a", "10.244.0.2")
        await asyncio.sleep(10.2)
        versions = [s.metadata.resource_version for s in await list_slices(client)]
        cluster.cut()
        await asyncio.sleep(seconds)
        cluster.mend()
        await asyncio.sleep(120)
        assert await ready_of(client, NODES, "n1") == "True"
        assert await list_addresses(client) == [("10.244.0.2", True)]
        assert [s.metadata.resource_version for s in await list_slices(client)] == versions
        agent.cancel()
        await expect_addresses(cluster, client, [("10.244.0.2", False)])

    play(scenario)


def test_what_changed_while_the_loops_were_cut_off_is_made_up_for() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await create_node(client, "n1")
        await client.create(SERVICES, make_service("web"), "default")
        await cluster.eventually(lambda: list_slices(client))
        cluster.cut()
        direct = cluster.direct_client()
        await run_pod(direct, "a", "10.244.0.2")
        await asyncio.sleep(20)
        cluster.mend()
        await cluster.eventually(lambda: list_addresses(client), timeout_seconds=40)

    play(scenario, enabled=("endpointslice", "garbage"))


def test_pods_are_spread_over_ready_nodes() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await create_node(client, "n1")
        await create_node(client, "n2")
        await create_node(client, "down", ready=False)
        await create_node(client, "closed", unschedulable=True)
        await create_node(client, "tainted", taints=[{"key": "k", "effect": "NoSchedule"}])
        for n in range(6):
            await client.create(PODS, make_pod(f"p{n}"), "default")

        async def are_bound() -> list[Pod] | None:
            page = await client.list(PODS, "default")
            pods = [msgspec.json.decode(raw, type=Pod) for raw in page.items]
            return pods if all(p.spec.node_name for p in pods) else None

        pods = await cluster.eventually(are_bound)
        assert sorted(p.spec.node_name for p in pods) == ["n1"] * 3 + ["n2"] * 3

    play(scenario)


def test_a_pod_that_fits_nowhere_says_why_and_is_bound_when_it_fits() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await create_node(client, "n1", ready=False)
        await client.create(PODS, make_pod("a"), "default")

        async def find_message() -> str | None:
            live = await client.get(PODS, "a", "default", as_type=dict)
            conditions = live["status"].get("conditions", ())
            return next((c["message"] for c in conditions if c["type"] == "PodScheduled"), None)

        assert await cluster.eventually(find_message) == "0/1 nodes are available: 1 node(s) had untolerated taint(s)."
        node = await client.get(NODES, "n1", as_type=dict)
        await client.update(NODES, {**node, "status": make_node("n1")["status"]}, subresource="status")

        async def is_bound() -> bool:
            live = await client.get(PODS, "a", "default", as_type=dict)
            return live["spec"].get("nodeName") == "n1"

        await cluster.eventually(is_bound)

    play(scenario)


def test_an_unknown_loop_is_refused() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        with pytest.raises(OperationalError, match="controllers: nonsense found"):
            await cluster.start_controllers(enabled=("*", "-nonsense"))
        cluster.tasks.clear()

    play(scenario, enabled=())


def test_controllers_may_do_no_more_than_their_role() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        loops = cluster.client(user="system:kube-controller-manager", groups=())
        with pytest.raises(ApiError, match="forbidden"):
            await loops.create(SERVICES, make_service("web"), "default")

    play(scenario, enabled=())


def test_a_slice_that_the_server_refuses_is_told_on_the_service() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await create_node(client, "n1")
        await client.create(SERVICES, make_service("web"), "default")
        await run_pod(client, "a", "127.0.0.1")
        await asyncio.sleep(5)
        page = await client.list(EVENTS, "default", field_selector="involvedObject.kind=Service")
        events: list[Json] = [msgspec.json.decode(raw) for raw in page.items]
        assert [(e["reason"], e["source"]["component"]) for e in events] == [
            ("FailedToUpdateEndpointSlices", "endpoint-slice-controller")
        ]
        assert events[0]["message"].startswith("Error updating Endpoint Slices for Service default/web: ")

    play(scenario, enabled=("endpointslice",))
