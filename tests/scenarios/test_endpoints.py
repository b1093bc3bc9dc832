"""The Endpoints loop against the real API server in memory. Rule: spec "controllers" §3."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from seaway.api.endpoints.types import Endpoints
from seaway.api.registry import ENDPOINTS, EVENTS, NAMESPACES, PODS, SERVICES
from seaway.client.requests import MERGE_PATCH, Client
from seaway.client.run import Change, Informer
from seaway.testing.builders import make_pod, make_service
from seaway.testing.cluster import Cluster
from tests.scenarios.test_control_loops import Json, find, play, run_pod, set_status

ALL_BUT_SLICES = ("endpoints", "garbage", "namespace")


async def show(client: Client, name: str = "web") -> list[str] | None:
    """One line per subset: ready | not ready : ports."""
    found = await find(client, ENDPOINTS, name, "default")
    return None if found is None else [_show_subset(subset) for subset in found.get("subsets", ())]


def _show_subset(subset: Json) -> str:
    ready, rest = (" ".join(a["ip"] for a in subset.get(key, ())) for key in ("addresses", "notReadyAddresses"))
    return f"{ready} | {rest} : {' '.join(str(p['port']) for p in subset.get('ports', ()))}"


async def expect(cluster: Cluster, client: Client, wanted: list[str] | None, name: str = "web") -> None:
    async def check() -> bool:
        return await show(client, name) == wanted

    try:
        await cluster.eventually(check)
    except TimeoutError:
        assert await show(client, name) == wanted
        raise


def endpoints(name: str = "web", **meta: Any) -> Json:
    subsets = [{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 80}]}]
    return {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": name, **meta}, "subsets": subsets}


def test_a_service_gets_its_endpoints_and_they_follow_its_pods() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await client.create(SERVICES, make_service("web", ports=[{"port": 80, "targetPort": 9376}]), "default")
        await expect(cluster, client, [])
        await run_pod(client, "a", "10.244.0.2", ready=False)
        await run_pod(client, "b", "10.244.0.3")
        await expect(cluster, client, ["10.244.0.3 | 10.244.0.2 : 9376"])
        await set_status(client, "a", make_pod("a", ip="10.244.0.2", ready=True)["status"])
        await expect(cluster, client, ["10.244.0.2 10.244.0.3 |  : 9376"])
        await client.delete(PODS, "b", "default", options={"gracePeriodSeconds": 0})
        await expect(cluster, client, ["10.244.0.2 |  : 9376"])
        await set_status(client, "a", {**make_pod("a", ip="10.244.0.2")["status"], "phase": "Succeeded"})
        await expect(cluster, client, [])
        await client.patch(SERVICES, "web", "default", patch={"spec": {"publishNotReadyAddresses": True}})
        await run_pod(client, "c", "10.244.0.4", ready=False)
        await expect(cluster, client, ["10.244.0.4 |  : 9376"])
        live = await client.get(ENDPOINTS, "web", "default", as_type=dict)
        assert live["metadata"]["labels"] == {"endpoints.kubernetes.io/managed-by": "endpoint-controller"}
        assert "ownerReferences" not in live["metadata"]

    play(scenario, enabled=ALL_BUT_SLICES)


def test_endpoints_end_with_their_service_whoever_is_first() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await client.create(SERVICES, make_service("web"), "default")
        await expect(cluster, client, [])
        await client.delete(SERVICES, "web", "default")
        await expect(cluster, client, None)
        await asyncio.sleep(5)
        assert await show(client) is None

    play(scenario)


def test_endpoints_by_hand_are_left_alone_while_there_is_a_service_without_selector() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        by_hand = await client.create(ENDPOINTS, endpoints(), "default")
        await client.create(SERVICES, make_service("web", selector={}), "default")
        await asyncio.sleep(5)
        await client.patch(SERVICES, "web", "default", patch={"metadata": {"labels": {"changed": "yes"}}})
        await asyncio.sleep(5)
        assert await find(client, ENDPOINTS, "web", "default") == by_hand
        await client.delete(ENDPOINTS, "web", "default")
        await asyncio.sleep(5)
        assert await show(client) is None, "nobody makes them again"

    play(scenario)


def test_a_service_that_gains_a_selector_takes_endpoints_by_hand_over() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        by_hand = endpoints(labels={"mine": "yes"}, annotations={"example.com/note": "kept"})
        await client.create(ENDPOINTS, by_hand, "default")
        await client.create(SERVICES, make_service("web", selector={}), "default")
        await run_pod(client, "a", "10.244.0.2")
        await client.patch(SERVICES, "web", "default", patch={"spec": {"selector": {"app": "web"}}})
        await expect(cluster, client, ["10.244.0.2 |  : 80"])
        meta = (await client.get(ENDPOINTS, "web", "default", as_type=dict))["metadata"]
        assert "mine" not in meta["labels"] and meta["annotations"]["example.com/note"] == "kept"

    play(scenario)


def test_a_service_that_loses_its_selector_keeps_its_endpoints() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await client.create(SERVICES, make_service("web"), "default")
        await run_pod(client, "a", "10.244.0.2")
        await expect(cluster, client, ["10.244.0.2 |  : 80"])
        await client.patch(SERVICES, "web", "default", patch={"spec": {"selector": None}})
        await client.delete(PODS, "a", "default", options={"gracePeriodSeconds": 0})
        await asyncio.sleep(5)
        assert await show(client) == ["10.244.0.2 |  : 80"]

    play(scenario)


def test_deleted_endpoints_come_back_and_edits_stay_until_something_changes() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await client.create(SERVICES, make_service("web"), "default")
        await run_pod(client, "a", "10.244.0.2")
        await expect(cluster, client, ["10.244.0.2 |  : 80"])
        await client.delete(ENDPOINTS, "web", "default")
        await expect(cluster, client, ["10.244.0.2 |  : 80"])
        await client.patch(ENDPOINTS, "web", "default", patch=endpoints(), patch_type=MERGE_PATCH)
        await asyncio.sleep(60)
        assert await show(client) == ["192.0.2.1 |  : 80"]
        await run_pod(client, "b", "10.244.0.3")
        await expect(cluster, client, ["10.244.0.2 10.244.0.3 |  : 80"])

    play(scenario, enabled=("endpoints",))  # without a Node, podgc would end the Pods in time


def test_what_was_missed_is_made_up_for_at_the_start() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await client.create(SERVICES, make_service("web"), "default")
        await run_pod(client, "a", "10.244.0.2")
        await client.create(ENDPOINTS, endpoints("leftover"), "default")
        lock = {"control-plane.alpha.kubernetes.io/leader": "{}"}
        await client.create(ENDPOINTS, endpoints("lock", annotations=lock), "default")
        await cluster.start_controllers(enabled=("endpoints",))
        await expect(cluster, client, ["10.244.0.2 |  : 80"])
        await expect(cluster, client, None, "leftover")
        await client.create(ENDPOINTS, endpoints("early"), "default")
        await asyncio.sleep(5)
        assert await show(client, "lock") == ["192.0.2.1 |  : 80"]
        assert await show(client, "early") == ["192.0.2.1 |  : 80"], "its Service may follow"

    play(scenario, enabled=())


def test_many_changes_are_few_writes_and_rest_is_rest() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await client.create(SERVICES, make_service("web"), "default")
        seen: list[Change[Endpoints]] = []
        informer = Informer(client, ENDPOINTS, Endpoints)
        informer.subscribe(seen.append)
        task = asyncio.create_task(informer.run())
        for n in range(120):
            await run_pod(client, f"p{n:03}", f"10.244.0.{n + 2}")
        await expect(cluster, client, [" ".join(sorted(f"10.244.0.{n + 2}" for n in range(120))) + " |  : 80"])
        await asyncio.sleep(1)
        settled = len(seen)
        assert 1 <= settled <= 3, "of 240 changes in a moment"
        await asyncio.sleep(60)
        assert len(seen) == settled
        task.cancel()

    play(scenario, enabled=("endpoints",))


def test_1001_pods_are_truncated_and_marked_and_the_mark_goes_with_the_last_one_too_many() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await client.create(SERVICES, make_service("web"), "default")
        for n in range(1001):
            await run_pod(client, f"p{n:04}", f"10.244.{n // 250}.{n % 250 + 1}")

        async def find_mark() -> tuple[int, str | None]:
            live = await client.get(ENDPOINTS, "web", "default", as_type=dict)
            annotations = live["metadata"].get("annotations", {})
            mark = annotations.get("endpoints.kubernetes.io/over-capacity")
            return sum(len(subset["addresses"]) for subset in live.get("subsets", ())), mark

        await asyncio.sleep(5)
        assert await find_mark() == (1000, "truncated")
        await client.delete(PODS, "p0000", "default", options={"gracePeriodSeconds": 0})
        await asyncio.sleep(5)
        assert await find_mark() == (1000, None)

    play(scenario, enabled=("endpoints",))


def test_a_namespace_that_ends_is_no_failure() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
        await client.create(SERVICES, make_service("web", "shop"), "shop")
        await cluster.eventually(lambda: find(client, ENDPOINTS, "web", "shop"))
        await client.delete(NAMESPACES, "shop")

        async def is_gone() -> bool:
            return await find(client, NAMESPACES, "shop") is None

        await cluster.eventually(is_gone)
        assert await find(client, ENDPOINTS, "web", "shop") is None

    play(scenario)


def test_a_status_of_the_service_is_no_reason_to_look_again() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await client.create(SERVICES, make_service("web"), "default")
        await run_pod(client, "a", "10.244.0.2")
        await expect(cluster, client, ["10.244.0.2 |  : 80"])
        await client.patch(ENDPOINTS, "web", "default", patch=endpoints(), patch_type=MERGE_PATCH)
        condition = {"type": "example.com/Seen", "status": "True", "reason": "Seen", "message": ""}
        condition["lastTransitionTime"] = "2026-01-01T00:00:00Z"
        patch = {"status": {"conditions": [condition]}}
        await client.patch(SERVICES, "web", "default", patch=patch, subresource="status")
        await asyncio.sleep(5)
        assert await show(client) == ["192.0.2.1 |  : 80"]

    play(scenario, enabled=("endpoints",))


def test_what_the_server_refuses_is_told_and_tried_again() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await client.create(SERVICES, make_service("web"), "default")
        await expect(cluster, client, [])
        await run_pod(client, "a", "127.0.0.1")
        await asyncio.sleep(20)
        page = await client.list(EVENTS, "default", field_selector="involvedObject.kind=Endpoints")
        events: list[Json] = [msgspec.json.decode(raw) for raw in page.items]
        assert [(e["reason"], e["source"]["component"]) for e in events] == [
            ("FailedToUpdateEndpoint", "endpoint-controller")
        ]
        assert events[0]["message"].startswith("Failed to update endpoint default/web: ") and events[0]["count"] > 1
        await set_status(client, "a", make_pod("a", ip="10.244.0.2", ready=True)["status"])
        await asyncio.sleep(31)
        assert await show(client) == ["10.244.0.2 |  : 80"]

    play(scenario, enabled=("endpoints",))
