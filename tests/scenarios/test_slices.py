"""The EndpointSlice loop against the real API server in memory. Rule: spec "controllers" §1.1, §1.2, §1.12, §2."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from seaway.api.endpointslice.types import EndpointSlice
from seaway.api.machinery.errors import TooManyRequests
from seaway.api.machinery.http import Identity, Request, Response
from seaway.api.registry import ENDPOINT_SLICES, EVENTS, NAMESPACES, NODES, PODS, SERVICES
from seaway.client.requests import MERGE_PATCH, Client
from seaway.testing.builders import make_node, make_pod, make_service
from seaway.testing.cluster import Cluster
from tests.scenarios.test_control_loops import (
    Json,
    create_node,
    expect_addresses,
    list_addresses,
    list_slices,
    play,
    run_pod,
    set_status,
)

SLICES_ONLY = ("endpointslice",)
MANAGED_BY, SERVICE_NAME = "endpointslice.kubernetes.io/managed-by", "kubernetes.io/service-name"
AUTO = {"metadata": {"annotations": {"service.kubernetes.io/topology-mode": "Auto"}}}


async def label(client: Client, slice_: EndpointSlice, **changes: str | None) -> None:
    """Change labels of a slice, as a user does."""
    patch = {
        "metadata": {"labels": {{"managed_by": MANAGED_BY, "service": SERVICE_NAME}[k]: v for k, v in changes.items()}}
    }
    await client.patch(ENDPOINT_SLICES, slice_.metadata.name, "default", patch=patch, patch_type=MERGE_PATCH)


async def patch_service(client: Client, patch: Json) -> None:
    await client.patch(SERVICES, "web", "default", patch=patch, patch_type=MERGE_PATCH)


async def list_events(client: Client) -> list[tuple[str, str, str]]:
    """(type, reason, message) of the Service's, sorted."""
    page = await client.list(EVENTS, "default", field_selector="involvedObject.kind=Service")
    return sorted((e["type"], e["reason"], e["message"]) for e in map(msgspec.json.decode, page.items))


async def begin(cluster: Cluster, client: Client) -> EndpointSlice:
    """A node, a Service, a Pod of it, and the slice of the three."""
    await create_node(client, "n1")
    await client.create(SERVICES, make_service("web"), "default")
    await run_pod(client, "a", "10.244.0.2")
    await expect_addresses(cluster, client, [("10.244.0.2", True)])
    return (await list_slices(client))[0]


def test_a_foreign_change_is_put_right_after_a_second() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        slice_ = await begin(cluster, client)
        await client.patch(ENDPOINT_SLICES, slice_.metadata.name, "default", patch={"endpoints": []},
                           patch_type=MERGE_PATCH)  # fmt: skip
        await asyncio.sleep(0.9)
        assert await list_addresses(client) == []
        await asyncio.sleep(0.2)
        assert await list_addresses(client) == [("10.244.0.2", True)]

    play(scenario, enabled=SLICES_ONLY)


def test_a_slice_that_left_this_loops_care_is_replaced_and_left_alone_and_taken_up_when_it_returns() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        slice_ = await begin(cluster, client)
        await label(client, slice_, managed_by="me")
        await asyncio.sleep(2)
        mine, theirs = sorted(await list_slices(client), key=lambda s: s.metadata.labels[MANAGED_BY] == "me")
        assert theirs.metadata.name == slice_.metadata.name and mine.endpoints == theirs.endpoints
        await client.delete(PODS, "a", "default", options={"gracePeriodSeconds": 0})
        await asyncio.sleep(1)
        assert {bool(s.endpoints) for s in await list_slices(client)} == {True, False}, "syncs go on"
        await label(client, slice_, managed_by="endpointslice-controller.k8s.io")
        await asyncio.sleep(2)
        assert [s.endpoints or () for s in await list_slices(client)] == [()]
        assert not await list_events(client)

    play(scenario, enabled=SLICES_ONLY)


def test_a_slice_that_is_moved_to_another_service_is_replaced_and_the_other_takes_it_or_deletes_it() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        slice_ = await begin(cluster, client)
        await client.create(SERVICES, make_service("other"), "default")
        await asyncio.sleep(1)
        await label(client, slice_, service="other")
        await asyncio.sleep(2)
        assert await list_addresses(client) == [("10.244.0.2", True)]
        others = await list_slices(client, "other")
        assert [s.endpoints or () for s in others] == [()], "one of another owner is deleted"
        assert slice_.metadata.name not in {s.metadata.name for s in others}

    play(scenario, enabled=SLICES_ONLY)


HANDS_OFF = [
    ("a selector that is removed", {"spec": {"selector": None}}),
    ("a Service that becomes an ExternalName", {"spec": {"type": "ExternalName", "externalName": "example.com",
                                                         "clusterIP": "", "clusterIPs": None}}),
]  # fmt: skip


@pytest.mark.parametrize("patch", [h[1] for h in HANDS_OFF], ids=[h[0] for h in HANDS_OFF])
def test_slices_stay_as_they_are_for(patch: Json) -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        slice_ = await begin(cluster, client)
        await patch_service(client, patch)
        await client.delete(PODS, "a", "default", options={"gracePeriodSeconds": 0})
        await asyncio.sleep(5)
        found = await list_slices(client)
        assert [(s.metadata.name, s.endpoints, s.metadata.labels) for s in found] == [
            (slice_.metadata.name, slice_.endpoints, slice_.metadata.labels)
        ]

    play(scenario, enabled=SLICES_ONLY)


def test_a_selector_that_comes_back_takes_stale_slices_up_again() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        slice_ = await begin(cluster, client)
        await patch_service(client, {"spec": {"selector": None}})
        await client.delete(PODS, "a", "default", options={"gracePeriodSeconds": 0})
        await run_pod(client, "b", "10.244.0.3")
        await patch_service(client, {"spec": {"selector": {"app": "web"}}})
        await expect_addresses(cluster, client, [("10.244.0.3", True)])
        assert [s.metadata.name for s in await list_slices(client)] == [slice_.metadata.name]

    play(scenario, enabled=SLICES_ONLY)


def test_a_service_made_anew_under_its_name_gets_slices_of_its_own() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        slice_ = await begin(cluster, client)
        await client.delete(SERVICES, "web", "default")
        assert await list_slices(client), "nobody collects garbage here"
        created = await client.create(SERVICES, make_service("web"), "default")
        await asyncio.sleep(1)
        found = await list_slices(client)
        assert [s.metadata.owner_references[0].uid for s in found] == [created["metadata"]["uid"]]
        assert found[0].metadata.name != slice_.metadata.name

    play(scenario, enabled=SLICES_ONLY)


def test_a_label_of_the_service_reaches_its_slices() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await begin(cluster, client)
        await patch_service(client, {"metadata": {"labels": {"team": "shop", MANAGED_BY: "nobody"}}})
        await asyncio.sleep(1)
        labels = (await list_slices(client))[0].metadata.labels
        assert labels["team"] == "shop" and labels[MANAGED_BY] == "endpointslice-controller.k8s.io"

    play(scenario, enabled=SLICES_ONLY)


def test_a_pod_on_an_unknown_node_is_told_and_tried_again() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await begin(cluster, client)
        await run_pod(client, "b", "10.244.0.3", node="ghost")
        await asyncio.sleep(5)
        assert await list_addresses(client) == [("10.244.0.2", True)]
        text = "skipping Pod b for Service default/web: Node ghost Not Found"
        message = f"Error updating Endpoint Slices for Service default/web: {text}"
        assert await list_events(client) == [("Warning", "FailedToUpdateEndpointSlices", message)]

    play(scenario, enabled=SLICES_ONLY)


def test_the_trigger_time_is_that_of_the_change_and_goes_with_a_deletion() -> None:
    def read(slice_: EndpointSlice) -> str | None:
        return slice_.metadata.annotations.get("endpoints.kubernetes.io/last-change-trigger-time")

    async def scenario(cluster: Cluster, client: Client) -> None:
        await create_node(client, "n1")
        created = await client.create(SERVICES, make_service("web"), "default")
        await asyncio.sleep(1)
        assert read((await list_slices(client))[0]) == created["metadata"]["creationTimestamp"]
        await run_pod(client, "a", "10.244.0.2", ready=False)
        await asyncio.sleep(1)
        status = make_pod("a", ip="10.244.0.2", ready=True)["status"]
        status["conditions"][0]["lastTransitionTime"] = "2030-01-02T03:04:05Z"
        await set_status(client, "a", status)
        await asyncio.sleep(1)
        assert read((await list_slices(client))[0]) == "2030-01-02T03:04:05Z"
        await client.delete(PODS, "a", "default", options={"gracePeriodSeconds": 0})
        await asyncio.sleep(1)
        assert read((await list_slices(client))[0]) is None

    play(scenario, enabled=SLICES_ONLY)


def test_a_terminating_namespace_is_no_failure() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
        await client.create(SERVICES, make_service("web", "shop"), "shop")
        await asyncio.sleep(1)
        await client.delete(NAMESPACES, "shop")  # nobody empties it here
        await client.delete_collection(ENDPOINT_SLICES, "shop")
        await asyncio.sleep(5)
        assert not (await client.list(ENDPOINT_SLICES, "shop")).items
        assert not (await client.list(EVENTS, "shop")).items

    play(scenario, enabled=SLICES_ONLY)


async def make_zones(client: Client, **cpu: str) -> None:
    """A node in a zone of its own for each; named by it."""
    for zone, amount in cpu.items():
        await create_node(client, zone, meta={"labels": {"topology.kubernetes.io/zone": zone}})
        live = await client.get(NODES, zone, as_type=dict)
        live["status"]["allocatable"] = {"cpu": amount}
        await client.update(NODES, live, subresource="status")


async def read_hints(client: Client) -> list[tuple[str, list[str]]]:
    """(address, zones) of each endpoint, sorted."""
    slices = await list_slices(client)
    return sorted(
        (e.addresses[0], [z.name for z in e.hints.for_zones] if e.hints else [])
        for s in slices
        for e in s.endpoints or ()
    )


def test_hints_by_topology_follow_the_nodes() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await make_zones(client, z1="2", z2="2")
        await client.create(SERVICES, make_service("web", meta=AUTO["metadata"]), "default")
        for number in range(4):
            await run_pod(client, f"p{number}", f"10.244.0.{number + 2}", node=f"z{number % 2 + 1}")
        await asyncio.sleep(1)
        assert [zones for _, zones in await read_hints(client)] == [["z1"], ["z2"], ["z1"], ["z2"]]
        news = ("Normal", "TopologyAwareHintsEnabled", "Topology Aware Hints has been enabled, addressType: IPv4")
        assert news in await list_events(client)
        await make_zones(client, z3="2")
        await asyncio.sleep(1)
        reason = "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold"
        lost = ("Warning", "TopologyAwareHintsDisabled", f"{reason} (4 endpoints, 3 zones), addressType: IPv4")
        events = await list_events(client)
        assert lost in events and [zones for _, zones in await read_hints(client)] == [[]] * 4
        assert any("4 ready" in text for _, reason, text in events if reason == "TopologyHintsDropped")
        await client.delete(NODES, "z3")
        await run_pod(client, "p4", "10.244.0.9", ready=False, node="z1")  # hints come back with the next sync only
        await asyncio.sleep(1)
        assert [zones for _, zones in await read_hints(client)] == [["z1"], ["z2"], ["z1"], ["z2"], []]
        await patch_service(client, {"metadata": {"annotations": None}})
        await asyncio.sleep(1)
        assert [zones for _, zones in await read_hints(client)] == [[]] * 5
        ended = ("Warning", "TopologyAwareHintsDisabled", "Topology Aware Hints has been disabled, addressType: IPv4")
        assert ended in await list_events(client)

    play(scenario, enabled=SLICES_ONLY)


def test_a_node_that_is_not_ready_any_more_takes_its_zones_hints_along() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await make_zones(client, z1="2", z2="2")
        await client.create(SERVICES, make_service("web", meta=AUTO["metadata"]), "default")
        for number in range(4):
            await run_pod(client, f"p{number}", f"10.244.0.{number + 2}", node=f"z{number % 2 + 1}")
        await asyncio.sleep(1)
        assert [zones for _, zones in await read_hints(client)] == [["z1"], ["z2"], ["z1"], ["z2"]]
        live = await client.get(NODES, "z2", as_type=dict)
        live["status"]["conditions"] = make_node("z2", ready=False)["status"]["conditions"]
        await client.update(NODES, live, subresource="status")
        await asyncio.sleep(1)
        assert [zones for _, zones in await read_hints(client)] == [[]] * 4

    play(scenario, enabled=SLICES_ONLY)


def test_the_same_refusal_is_posted_once_and_again_after_ten_minutes() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await create_node(client, "n1")
        await client.create(SERVICES, make_service("web", trafficDistribution="PreferClose"), "default")
        for number in range(3):
            await run_pod(client, f"p{number}", f"10.244.0.{number + 2}", ready=number == 0)
            await asyncio.sleep(1)

        async def count() -> list[int]:
            page = await client.list(EVENTS, "default", field_selector="reason=TopologyHintsDropped")
            return [msgspec.json.decode(raw)["count"] for raw in page.items]

        assert await count() == [1]
        await asyncio.sleep(601)
        await patch_service(client, {"metadata": {"labels": {"touched": "yes"}}})
        await asyncio.sleep(1)
        assert await count() == [2]

    play(scenario, enabled=SLICES_ONLY)


def test_nothing_is_deleted_while_what_replaces_it_is_refused() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await create_node(client, "n1")
        ports = [{"name": "http", "port": 80, "targetPort": "http"}]
        await client.create(SERVICES, make_service("web", ports=ports), "default")
        for number in range(3):  # a slice for each number
            container = {"name": "c", "image": "i", "ports": [{"name": "http", "containerPort": 8000 + number}]}
            await client.create(
                PODS, make_pod(f"p{number}", labels={"app": "web"}, nodeName="n1", containers=[container]), "default"
            )
            await set_status(
                client, f"p{number}", make_pod(f"p{number}", ip=f"10.244.0.{number + 2}", ready=True)["status"]
            )
        await asyncio.sleep(1)
        assert len(await list_slices(client)) == 3
        inner = cluster.server.handle

        async def refuse(request: Request, identity: Identity, *rest: Any, **options: Any) -> Response:
            if request.method in ("PUT", "POST") and "endpointslices" in request.path:
                raise TooManyRequests("a storm")
            return await inner(request, identity, *rest, **options)

        cluster.server.handle = refuse  # type: ignore[method-assign]
        await cluster.direct_client().patch(
            SERVICES, "web", "default", patch={"spec": {"ports": [{**ports[0], "targetPort": 9090}]}}
        )
        await asyncio.sleep(5)
        assert len(await list_addresses(client)) == 3
        cluster.server.handle = inner  # type: ignore[method-assign]
        await asyncio.sleep(31)
        assert [[p.port for p in s.ports or ()] for s in await list_slices(client)] == [[9090]]
        assert len(await list_addresses(client)) == 3

    play(scenario, enabled=SLICES_ONLY)
