"""The mirroring loop against the real API server in memory. Rule: spec "controllers" §4."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from seaway.api.endpointslice.types import EndpointSlice
from seaway.api.machinery.errors import Conflict, Expired, Forbidden, InternalError, TooManyRequests
from seaway.api.machinery.http import Identity, Request, Response
from seaway.api.registry import ENDPOINT_SLICES, ENDPOINTS, EVENTS, NAMESPACES, SERVICES
from seaway.client.requests import MERGE_PATCH, Client, Transport, TransportError
from seaway.client.run import Change, Informer
from seaway.testing.builders import make_service
from seaway.testing.cluster import Cluster
from tests.controllers.mirroring.mirrors import say
from tests.scenarios.test_control_loops import Json, create_node, find, list_slices, play, run_pod
from tests.scenarios.test_endpoints import endpoints
from tests.scenarios.test_endpoints import expect as expect_endpoints

MIRRORING = ("mirroring", "garbage", "namespace")
BY_HAND = ["IPv4 :80 | 192.0.2.1"]


def two_subsets(*ports: int) -> Json:
    subsets = [{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"name": f"p{n}", "port": n}]} for n in ports]
    return {**endpoints(), "subsets": subsets}


async def expect(cluster: Cluster, client: Client, wanted: list[str], service: str = "web") -> None:
    async def check() -> bool:
        return say(await list_slices(client, service)) == wanted

    try:
        await cluster.eventually(check)
    except TimeoutError:
        assert say(await list_slices(client, service)) == wanted
        raise


async def make_both(client: Client, **meta: Any) -> None:
    await client.create(SERVICES, make_service("web", selector={}), "default")
    await client.create(ENDPOINTS, endpoints(**meta), "default")


async def record_slices(client: Client) -> tuple[list[Change[EndpointSlice]], asyncio.Task[None]]:
    """Every change of a slice from now on."""
    seen: list[Change[EndpointSlice]] = []
    informer = Informer(client, ENDPOINT_SLICES, EndpointSlice)
    task = asyncio.create_task(informer.run())
    await informer.wait_synced()
    informer.subscribe(seen.append)
    return seen, task


def test_hand_made_endpoints_are_mirrored_through_create_update_and_delete() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await make_both(client)
        await expect(cluster, client, BY_HAND)
        (made,) = await list_slices(client)
        labels = made.metadata.labels
        assert labels["endpointslice.kubernetes.io/managed-by"] == "endpointslicemirroring-controller.k8s.io"
        changed = {"subsets": [{"addresses": [{"ip": "192.0.2.2"}], "ports": [{"name": "http", "port": 81}]}]}
        await client.patch(ENDPOINTS, "web", "default", patch=changed, patch_type=MERGE_PATCH)
        await expect(cluster, client, ["IPv4 http:81 | 192.0.2.2"])
        (kept,) = await list_slices(client)
        assert kept.metadata.name == made.metadata.name, "one update instead of a delete and a create"
        await client.delete(ENDPOINTS, "web", "default")
        await expect(cluster, client, [])

    play(scenario, enabled=MIRRORING)


def test_one_address_with_two_ports_is_two_slices() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await client.create(SERVICES, make_service("web", selector={}), "default")
        await client.create(ENDPOINTS, two_subsets(9090, 9091), "default")
        await expect(cluster, client, ["IPv4 p9090:9090 p9091:9091 | 192.0.2.1"])
        subsets = two_subsets(9090, 9091)["subsets"]
        subsets[1]["addresses"].append({"ip": "192.0.2.2"})
        await client.patch(ENDPOINTS, "web", "default", patch={"subsets": subsets}, patch_type=MERGE_PATCH)
        await expect(cluster, client, ["IPv4 p9090:9090 | 192.0.2.1", "IPv4 p9091:9091 | 192.0.2.1 192.0.2.2"])

    play(scenario, enabled=MIRRORING)


def test_both_families_and_more_than_1000_addresses() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        many = [{"ip": f"10.1.{n // 250}.{n % 250 + 1}"} for n in range(1000)] + [{"ip": "2001:db8::1"}]
        body = {**endpoints(), "subsets": [{"addresses": many, "ports": [{"port": 80}]}]}
        await client.create(SERVICES, make_service("web", selector={}), "default")
        await client.create(ENDPOINTS, body, "default")

        async def is_mirrored() -> bool:
            return bool(await list_slices(client))

        await cluster.eventually(is_mirrored)
        assert [(s.address_type, len(s.endpoints or ())) for s in await list_slices(client)] == [("IPv4", 1000)]
        await asyncio.sleep(1)
        page = await client.list(EVENTS, "default", field_selector="involvedObject.kind=Endpoints")
        (event,) = [msgspec.json.decode(raw) for raw in page.items]
        assert (event["reason"], event["type"]) == ("TooManyAddressesToMirror", "Warning")
        assert event["source"] == {"component": "endpoint-slice-mirroring-controller"}
        assert event["message"] == (
            "A max of 1000 addresses can be mirrored to EndpointSlices per Endpoints subset. 1 addresses were skipped"
        )
        body["subsets"][0]["addresses"] = many[1:]
        await client.patch(ENDPOINTS, "web", "default", patch={"subsets": body["subsets"]}, patch_type=MERGE_PATCH)

        async def has_both() -> bool:
            return len(await list_slices(client)) == 2

        await cluster.eventually(has_both)
        sizes = sorted((s.address_type, len(s.endpoints or ())) for s in await list_slices(client))
        assert sizes == [("IPv4", 999), ("IPv6", 1)]

    play(scenario, enabled=MIRRORING)


async def toggle_skip_label(client: Client, value: str | None) -> None:
    label = {"endpointslice.kubernetes.io/skip-mirror": value}
    await client.patch(ENDPOINTS, "web", "default", patch={"metadata": {"labels": label}}, patch_type=MERGE_PATCH)


def test_the_label_that_skips_takes_the_slices_away_and_gives_them_back() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await make_both(client)
        await expect(cluster, client, BY_HAND)
        await toggle_skip_label(client, "true")
        await expect(cluster, client, [])
        await toggle_skip_label(client, None)
        await expect(cluster, client, BY_HAND)

    play(scenario, enabled=MIRRORING)


def test_a_lock_of_leader_elections_is_not_mirrored() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await make_both(client, annotations={"control-plane.alpha.kubernetes.io/leader": "{}"})
        await asyncio.sleep(5)
        assert await list_slices(client) == []

    play(scenario, enabled=MIRRORING)


def test_endpoints_may_be_made_before_their_service_and_the_slices_go_with_it() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await client.create(ENDPOINTS, endpoints(), "default")
        await asyncio.sleep(5)
        assert await list_slices(client) == []
        await client.create(SERVICES, make_service("web", selector={}), "default")
        await expect(cluster, client, BY_HAND)
        await client.delete(SERVICES, "web", "default")
        await expect(cluster, client, [])

    play(scenario, enabled=MIRRORING)


def test_a_service_gains_and_loses_a_selector_while_all_loops_run() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await make_both(client)
        await expect(cluster, client, BY_HAND)
        await create_node(client, "n1")
        await run_pod(client, "a", "10.244.0.2")
        await client.patch(SERVICES, "web", "default", patch={"spec": {"selector": {"app": "web"}}})
        await expect(cluster, client, ["IPv4 :80 | 10.244.0.2"])
        (slice_,) = await list_slices(client)
        assert slice_.metadata.labels["endpointslice.kubernetes.io/managed-by"] == "endpointslice-controller.k8s.io"
        await expect_endpoints(cluster, client, ["10.244.0.2 |  : 80"])
        await client.patch(SERVICES, "web", "default", patch={"spec": {"selector": None}})
        await expect(cluster, client, ["IPv4 :80 | 10.244.0.2"] * 2)
        # Rule: spec "controllers" §1.2: stale slices stay and the Endpoints, now nobody's, are mirrored.

    play(scenario, enabled=("endpoints", "endpointslice", "garbage", "mirroring", "namespace"))


def test_slices_by_hand_and_of_others_are_left_alone() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        slice_ = {
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "by-hand", "labels": {
                "kubernetes.io/service-name": "web", "endpointslice.kubernetes.io/managed-by": "e2e-test",
            }},
            "endpoints": [{"addresses": ["192.0.2.9"]}], "ports": [{"name": "x", "port": 9}],
        }  # fmt: skip
        made = await client.create(ENDPOINT_SLICES, slice_, "default")
        await make_both(client)
        await expect(cluster, client, [*BY_HAND, "IPv4 x:9 | 192.0.2.9"])
        await client.delete(ENDPOINTS, "web", "default")
        await expect(cluster, client, ["IPv4 x:9 | 192.0.2.9"])
        assert await find(client, ENDPOINT_SLICES, "by-hand", "default") == made

    play(scenario, enabled=MIRRORING)


def test_what_others_do_to_a_mirrored_slice_is_put_right() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await make_both(client)
        await expect(cluster, client, BY_HAND)
        (made,) = await list_slices(client)
        await client.patch(ENDPOINT_SLICES, made.metadata.name, "default", patch={"endpoints": []})
        await expect(cluster, client, BY_HAND)
        await client.delete(ENDPOINT_SLICES, made.metadata.name, "default")
        await expect(cluster, client, BY_HAND)

    play(scenario, enabled=MIRRORING)


def test_the_own_writes_are_no_reason_to_write_and_rest_is_rest() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        seen, task = await record_slices(client)
        await client.create(SERVICES, make_service("web", selector={}), "default")
        await client.create(ENDPOINTS, {**endpoints(), "metadata": {"name": "web", "labels": {"a": ""}}}, "default")
        await expect(cluster, client, BY_HAND)
        await asyncio.sleep(600)
        assert len(seen) == 1, "an empty label is a label"
        for n in range(2, 12):
            subsets = [{"addresses": [{"ip": f"192.0.2.{n}"}], "ports": [{"port": 80}]}]
            await client.patch(ENDPOINTS, "web", "default", patch={"subsets": subsets}, patch_type=MERGE_PATCH)
        await expect(cluster, client, ["IPv4 :80 | 192.0.2.11"])
        await asyncio.sleep(600)
        assert {change.key for change in seen} == {seen[0].key}, "one slice, however stale the cache was"
        assert len(seen) <= 11
        task.cancel()

    play(scenario, enabled=("mirroring",))


def test_what_was_missed_is_made_up_for_at_the_start() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await make_both(client)
        first = await cluster.start_controllers(enabled=("mirroring",))
        await expect(cluster, client, BY_HAND)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        cluster.tasks.remove(first)
        await client.delete(ENDPOINTS, "web", "default")
        await client.create(SERVICES, make_service("new", selector={}), "default")
        await client.create(ENDPOINTS, endpoints("new"), "default")
        await cluster.start_controllers(enabled=("mirroring",))
        await expect(cluster, client, [])
        await expect(cluster, client, BY_HAND, "new")

    play(scenario, enabled=())


def test_a_cut_of_the_server_loses_nothing() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await make_both(client)
        await expect(cluster, client, BY_HAND)
        cluster.cut()
        subsets = [{"addresses": [{"ip": "192.0.2.2"}], "ports": [{"port": 80}]}]
        direct = cluster.direct_client()
        await direct.patch(ENDPOINTS, "web", "default", patch={"subsets": subsets}, patch_type=MERGE_PATCH)
        await asyncio.sleep(30)
        cluster.mend()
        await asyncio.sleep(60)
        assert say(await list_slices(direct)) == ["IPv4 :80 | 192.0.2.2"]

    play(scenario, enabled=("mirroring",))


def refuse(cluster: Cluster, matches: Callable[[Request], bool], error: Exception) -> list[Request]:
    """From now on the loops' requests that match are refused; returns those that were."""
    refused: list[Request] = []
    handle: Callable[[Request, Identity], Awaitable[Any]] = cluster.server.handle

    async def refusing(request: Request, identity: Identity) -> Any:
        if matches(request) and identity.user == "system:kube-controller-manager":
            refused.append(request)
            raise error
        return await handle(request, identity)

    cluster.server.handle = refusing  # type: ignore[method-assign]
    return refused


def test_a_namespace_that_ends_is_no_failure() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
        ending = {"details": {"causes": [{"reason": "NamespaceTerminating", "message": "", "field": ""}]}}
        refused = refuse(
            cluster, lambda r: r.method == "POST" and "endpointslices" in r.path, Forbidden("ending", **ending)
        )
        await make_both(client)
        await asyncio.sleep(600)
        assert len(refused) == 1, "it is not tried again"

    play(scenario, enabled=("mirroring",))


@dataclass
class Unlucky:
    """A transport whose first writes fail: refused with an error, or carried out with their answers lost."""

    inner: Transport
    failures: int
    error: Exception
    loses_answers: bool = False
    writes: int = 0

    async def send(self, request: Request) -> Response:
        if request.method == "GET" or "events" in request.path:
            return await self.inner.send(request)
        self.writes += 1
        if self.writes > self.failures:
            return await self.inner.send(request)
        if self.loses_answers:
            await self.inner.send(request)
        raise self.error

    async def close(self) -> None:
        await self.inner.close()


TROUBLE: dict[str, tuple[Exception, bool]] = {
    "a storm of 429": (TooManyRequests("later", {"retryAfterSeconds": 1}), False),
    "a storm of 409": (Conflict("changed meanwhile"), False),
    "a storm of 500": (InternalError("broken"), False),
    "lost answers": (TransportError("reset"), True),
}


@pytest.mark.parametrize("trouble", TROUBLE.values(), ids=TROUBLE)
@pytest.mark.parametrize("failures", [1, 2, 5])
def test_trouble_ends_in_the_same_slices_and_none_twice(trouble: tuple[Exception, bool], failures: int) -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        inner = cluster.client(user="system:kube-controller-manager", groups=()).transport
        unlucky = Unlucky(inner, failures, *trouble)
        await cluster.start_controllers(enabled=("mirroring",), client=Client(unlucky))
        await client.create(SERVICES, make_service("web", selector={}), "default")
        body = {**endpoints(), "subsets": [*two_subsets(80)["subsets"], *other_subset()]}
        await client.create(ENDPOINTS, body, "default")
        await asyncio.sleep(120)
        wanted = ["IPv4 b:81 | 192.0.2.2", "IPv4 p80:80 | 192.0.2.1"]
        assert say(await list_slices(client)) == wanted
        assert unlucky.writes > failures or trouble[1], "it was tried again"
        await client.patch(ENDPOINTS, "web", "default", patch={"subsets": other_subset()}, patch_type=MERGE_PATCH)
        await asyncio.sleep(120)
        assert say(await list_slices(client)) == wanted[:1]

    play(scenario, enabled=())


def other_subset() -> list[Json]:
    return [{"addresses": [{"ip": "192.0.2.2"}], "ports": [{"name": "b", "port": 81}]}]


@pytest.mark.parametrize("after", range(1, 5))
def test_a_loop_that_is_killed_between_two_writes_is_made_up_for(after: int) -> None:
    """The slices never lose both the old and the new address on the way."""

    async def scenario(cluster: Cluster, client: Client) -> None:
        await client.create(SERVICES, make_service("web", selector={}), "default")
        await client.create(ENDPOINTS, two_subsets(80, 81, 82), "default")
        first = await cluster.start_controllers(enabled=("mirroring",))
        await expect(cluster, client, ["IPv4 p80:80 p81:81 p82:82 | 192.0.2.1"])
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        cluster.tasks.remove(first)
        subsets = [{"addresses": [{"ip": f"192.0.2.{n}"}, {"ip": f"2001:db8::{n}"}],
                    "ports": [{"name": f"p{n}", "port": n}]} for n in (80, 81, 82)]  # fmt: skip
        await client.patch(ENDPOINTS, "web", "default", patch={"subsets": subsets}, patch_type=MERGE_PATCH)
        inner = cluster.client(user="system:kube-controller-manager", groups=()).transport
        dying = Dying(inner, after)
        second = await cluster.start_controllers(enabled=("mirroring",), client=Client(dying))
        await dying.has_died.wait()
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        cluster.tasks.remove(second)
        assert await list_slices(client), "never emptied on the way"
        await cluster.start_controllers(enabled=("mirroring",))
        wanted = [f"IPv4 p{n}:{n} | 192.0.2.{n}" for n in (80, 81, 82)]
        await expect(cluster, client, wanted + [f"IPv6 p{n}:{n} | 2001:db8::{n}" for n in (80, 81, 82)])

    play(scenario, enabled=())


class Dying:
    """A transport that carries so many writes out and hangs with the next."""

    def __init__(self, inner: Transport, writes: int) -> None:
        self.has_died = asyncio.Event()
        self._inner, self._left = inner, writes

    async def send(self, request: Request) -> Response:
        if request.method != "GET":
            if not self._left:
                self.has_died.set()
                await asyncio.Event().wait()
            self._left -= 1
        return await self._inner.send(request)

    async def close(self) -> None:
        await self._inner.close()


class Blind:
    """A transport whose watches of slices say nothing until `sees`, and then that they are too old."""

    def __init__(self, inner: Transport) -> None:
        self.sees = asyncio.Event()
        self._inner = inner

    async def send(self, request: Request) -> Response:
        if "endpointslices" in request.path and ("watch", "true") in request.query and not self.sees.is_set():
            await self.sees.wait()
            raise Expired("too old")
        return await self._inner.send(request)

    async def close(self) -> None:
        await self._inner.close()


def test_a_cache_that_sees_nothing_leads_to_no_second_slice_and_what_a_list_hides_is_made_again() -> None:
    async def scenario(cluster: Cluster, client: Client) -> None:
        blind = Blind(cluster.client(user="system:kube-controller-manager", groups=()).transport)
        await cluster.start_controllers(enabled=("mirroring",), client=Client(blind))
        await make_both(client)
        await expect(cluster, client, BY_HAND)
        for n in (2, 3):
            subsets = [{"addresses": [{"ip": f"192.0.2.{n}"}], "ports": [{"port": 80}]}]
            await client.patch(ENDPOINTS, "web", "default", patch={"subsets": subsets}, patch_type=MERGE_PATCH)
            await expect(cluster, client, [f"IPv4 :80 | 192.0.2.{n}"])
        (slice_,) = await list_slices(client)
        await client.delete(ENDPOINT_SLICES, slice_.metadata.name, "default")
        await asyncio.sleep(10)
        assert await list_slices(client) == [], "nobody has heard of it"
        blind.sees.set()
        await asyncio.sleep(60)
        assert say(await list_slices(client)) == ["IPv4 :80 | 192.0.2.3"]

    play(scenario, enabled=())
