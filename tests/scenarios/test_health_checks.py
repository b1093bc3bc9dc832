"""Health checks against the real API server in memory, on a clock that jumps; dialled is a world of the test."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest

from seaway.api.registry import ENDPOINT_SLICES, ENDPOINTS, EVENTS, SERVICES
from seaway.client.requests import JSON_PATCH, MERGE_PATCH, Client
from seaway.client.run import run_all
from seaway.controllers.config import ControllersConfig
from seaway.controllers.healthcheck.check import Check
from seaway.controllers.healthcheck.run import MAX_AT_ONCE, MAX_AT_ONCE_OF_SERVICE, HealthCheckController
from seaway.controllers.healthcheck.state import Outcome
from seaway.controllers.healthcheck.targets import Target
from seaway.controllers.shared.run import Shared
from seaway.telemetry.metrics import Metrics
from seaway.testing.builders import make_service, make_slice
from seaway.testing.clock import run_virtually
from seaway.testing.cluster import Cluster, open_cluster
from tests.scenarios.test_control_loops import Json, list_slices
from tests.scenarios.test_endpoints import endpoints
from tests.scenarios.test_mirroring import record_slices

A, B = "192.0.2.1", "192.0.2.2"
EVERY_SECOND = {"seaway.dev/check": "tcp", "seaway.dev/check-interval": "1s"}
HELD = "seaway.dev/held-down"
RISE, FALL = 2, 3


class World:
    """Who is down, and what was dialled."""

    def __init__(self) -> None:
        self.down: set[str | Target] = set()
        self.takes_seconds = 0.01
        self.metrics = Metrics()
        self.dialled: Counter[Target] = Counter()
        self.under_way: Counter[str] = Counter()
        self.most_under_way: Counter[str] = Counter()

    async def probe(self, check: Check, target: Target) -> Outcome:
        self.dialled[target] += 1
        for name in ("all", target.address.rsplit(".", 1)[0]):
            self.under_way[name] += 1
            self.most_under_way[name] = max(self.most_under_way[name], self.under_way[name])
        try:
            await asyncio.sleep(self.takes_seconds)
        finally:
            for name in ("all", target.address.rsplit(".", 1)[0]):
                self.under_way[name] -= 1
        is_up = not {target.address, target} & self.down
        return Outcome(is_up, "" if is_up else f"{check.kind} {target.address}: refused")


@contextlib.asynccontextmanager
async def checking(cluster: Cluster, world: World) -> AsyncIterator[None]:
    """The loop of health checks in that world, with no more rights than its role has."""
    client = cluster.client(user="seaway:healthcheck", groups=())
    shared = Shared(client, ControllersConfig(node_grace_seconds=3.0, ca_pem=""), world.metrics)
    controller = HealthCheckController(shared, probe=world.probe, jitter=lambda: 0.5)
    caches = asyncio.create_task(run_all(*shared.informers))
    for informer in shared.informers:
        await informer.wait_synced()
    loop = asyncio.create_task(controller.run())
    try:
        yield
        assert not loop.done(), "a bug has ended it"
    finally:
        for task in (loop, caches):
            task.cancel()
        await asyncio.gather(loop, caches, return_exceptions=True)


Scenario = Callable[[Cluster, Client, World], Awaitable[None]]


def play(scenario: Scenario, *, enabled: tuple[str, ...] = (), runs: bool = True) -> None:
    async def main() -> None:
        world = World()
        async with open_cluster() as cluster:
            if enabled:
                await cluster.start_controllers(enabled=enabled)
            async with checking(cluster, world) if runs else contextlib.nullcontext():
                await scenario(cluster, cluster.client(), world)

    run_virtually(main())


async def make(
    client: Client, *addresses: str, name: str = "web", annotations: Json | None = None, **rest: Any
) -> None:
    """A Service that asks for checks, and a slice by hand that says nothing of conditions."""
    meta = {"annotations": EVERY_SECOND if annotations is None else annotations}
    await client.create(SERVICES, make_service(name, meta=meta, **{"selector": {}, **rest}), "default")
    body = make_slice(f"{name}-1", name, [])
    body["endpoints"] = [{"addresses": [address]} for address in addresses]
    await client.create(ENDPOINT_SLICES, body, "default")


async def show(client: Client, service: str = "web") -> str:
    """Addresses, those that get no traffic in brackets."""
    found = [e for s in await list_slices(client, service) for e in s.endpoints or ()]
    return " ".join(e.addresses[0] if e.is_ready else f"({e.addresses[0]})" for e in found)


async def list_events(client: Client) -> list[tuple[str, str, str]]:
    page = await client.list(EVENTS, "default", field_selector="involvedObject.kind=Service")
    events = [msgspec.json.decode(raw) for raw in page.items]
    return sorted((e["type"], e["reason"], e["message"]) for e in events if e["source"]["component"] != "x")


async def annotate(client: Client, **annotations: str | None) -> None:
    given = {f"seaway.dev/{name.replace('_', '-')}": value for name, value in annotations.items()}
    await client.patch(SERVICES, "web", "default", patch={"metadata": {"annotations": given}}, patch_type=MERGE_PATCH)


async def get_slice(client: Client, name: str = "web-1") -> Json:
    return await client.get(ENDPOINT_SLICES, name, "default", as_type=dict)


async def time_until(client: Client, wanted: str) -> float:
    """Seconds until the slices say so."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while await show(client) != wanted:
        assert loop.time() < begun + 60, await show(client)
        await asyncio.sleep(0.01)
    return loop.time() - begun


def test_a_target_that_dies_is_out_and_one_that_comes_back_is_back_in_rise_times_the_interval() -> None:
    async def scenario(cluster: Cluster, client: Client, world: World) -> None:
        await make(client, A, B)
        await asyncio.sleep(10)
        before = await get_slice(client)
        assert await show(client) == f"{A} {B}"
        for phase in (0.0, 0.3, 0.9):
            await asyncio.sleep(phase)
            world.down = {A}
            assert await time_until(client, f"({A}) {B}") <= FALL * 1.0 + 0.1
            held = await get_slice(client)
            assert held["endpoints"][0]["conditions"] == {"ready": False, "serving": False}
            assert held["metadata"]["annotations"] == {HELD: f'{{"{A}":{{}}}}'}
            world.down = set()
            assert await time_until(client, f"{A} {B}") <= RISE * 1.0 + 0.1
        after = await get_slice(client)
        assert after["endpoints"] == before["endpoints"]
        assert HELD not in after["metadata"].get("annotations", {})
        assert [(type_, reason) for type_, reason, _ in await list_events(client)] == [
            ("Normal", "EndpointsUp"), ("Warning", "EndpointsDown"),
        ]  # fmt: skip
        page = await client.list(EVENTS, "default", field_selector="reason=EndpointsDown")
        assert [msgspec.json.decode(raw)["count"] for raw in page.items] == [3]
        assert (await list_events(client))[1][2] == f"no more traffic to {A} (tcp {A}: refused)"

    play(scenario)


def test_when_nothing_changes_nothing_is_written() -> None:
    async def scenario(cluster: Cluster, client: Client, world: World) -> None:
        world.down = {A}
        await make(client, A, B)
        await asyncio.sleep(10)
        seen, task = await record_slices(client)
        seen.clear()
        await asyncio.sleep(3600)
        assert seen == []
        assert 3590 <= world.dialled[Target(B, 8080)] <= 3612
        task.cancel()

    play(scenario)


def test_what_is_counted() -> None:
    async def scenario(cluster: Cluster, client: Client, world: World) -> None:
        world.down = {A}
        await make(client, A, B)
        await asyncio.sleep(10)
        found = {family.name: family.rows for family in world.metrics.collect()}
        assert found["seaway_controllers_check_targets"] == [(("down",), 1.0), (("up",), 1.0)]
        assert found["seaway_controllers_check_tries_total"] == [(("tcp", "failed"), 10.0), (("tcp", "passed"), 10.0)]
        assert found["seaway_controllers_check_writes_total"] == [((), 1.0)]

    play(scenario)


def test_one_failure_in_between_is_nothing() -> None:
    async def scenario(cluster: Cluster, client: Client, world: World) -> None:
        await make(client, A)
        await asyncio.sleep(10)
        before = await get_slice(client)
        for _ in range(20):
            world.down = {A}
            await asyncio.sleep(1.9)
            world.down = set()
            await asyncio.sleep(1.1)
        assert await get_slice(client) == before

    play(scenario)


def test_a_restart_changes_nothing_and_takes_up_where_it_was() -> None:
    async def scenario(cluster: Cluster, client: Client, world: World) -> None:
        world.down = {A}
        async with checking(cluster, world):
            await make(client, A, B)
            await asyncio.sleep(10)
            assert await show(client) == f"({A}) {B}"
        before = await get_slice(client)
        async with checking(cluster, world):
            await asyncio.sleep(60)
            assert await get_slice(client) == before
        world.down = {B}
        async with checking(cluster, world):
            assert await time_until(client, f"{A} {B}") <= RISE * 1.0 + 0.6
            assert await time_until(client, f"{A} ({B})") <= FALL * 1.0 + 0.1

    play(scenario, runs=False)


def test_without_the_annotation_the_slice_is_as_its_author_wrote_it() -> None:
    async def scenario(cluster: Cluster, client: Client, world: World) -> None:
        await make(client, A, B)
        before = (await get_slice(client))["endpoints"]
        world.down = {A, B}
        await time_until(client, f"({A}) ({B})")
        await annotate(client, check=None)
        await time_until(client, f"{A} {B}")
        after = await get_slice(client)
        assert after["endpoints"] == before and "annotations" not in after["metadata"]
        await asyncio.sleep(1)
        dialled = world.dialled.total()
        await asyncio.sleep(60)
        assert world.dialled.total() == dialled

    play(scenario)


def test_a_slip_of_the_pen_sends_no_traffic_to_the_dead_and_is_told_once_for_each_annotation() -> None:
    async def scenario(cluster: Cluster, client: Client, world: World) -> None:
        world.down = {A}
        await make(client, A, B)
        await time_until(client, f"({A}) {B}")
        await annotate(client, check_interval="2", check_rise="many")
        world.down = set()
        await asyncio.sleep(60)
        assert await show(client) == f"({A}) {B}", "what is not checked stays as it was"
        wrong = [message for _, reason, message in await list_events(client) if reason == "InvalidCheck"]
        assert wrong == [
            "seaway.dev/check-interval: '2' found, 250ms to 60m allowed",
            "seaway.dev/check-rise: 'many' found, 1 to 20 allowed",
        ]
        page = await client.list(EVENTS, "default", field_selector="reason=InvalidCheck")
        assert [msgspec.json.decode(raw)["count"] for raw in page.items] == [1, 1]
        await annotate(client, check_interval="1s", check_rise=None)
        assert await time_until(client, f"{A} {B}") <= RISE * 1.0 + 0.6

    play(scenario)


def test_mirrored_slices_are_checked_and_both_loops_leave_what_the_other_wrote() -> None:
    async def scenario(cluster: Cluster, client: Client, world: World) -> None:
        seen, task = await record_slices(client)
        meta = {"annotations": EVERY_SECOND}
        await client.create(SERVICES, make_service("web", meta=meta, selector={}), "default")
        await client.create(ENDPOINTS, endpoints(), "default")
        await time_until(client, A)
        world.down = {A}
        await time_until(client, f"({A})")
        await asyncio.sleep(600)
        assert len(seen) == 2, "one by each"
        more = [{"addresses": [{"ip": A}, {"ip": B}], "ports": [{"port": 80}]}]
        await client.patch(ENDPOINTS, "web", "default", patch={"subsets": more}, patch_type=MERGE_PATCH)
        await time_until(client, f"({A}) {B}")
        await asyncio.sleep(600)
        assert len(seen) == 3
        world.down = set()
        await time_until(client, f"{A} {B}")
        await annotate(client, check=None)
        world.down = {A}
        await asyncio.sleep(600)
        assert len(seen) == 4
        (slice_,) = await list_slices(client)
        assert [e.conditions.serving for e in slice_.endpoints or ()] == [None, None]
        task.cancel()

    play(scenario, enabled=("mirroring",))


def test_a_service_with_a_selector_is_told_that_probes_do_this() -> None:
    async def scenario(cluster: Cluster, client: Client, world: World) -> None:
        world.down = {A}
        await make(client, A, selector={"app": "web"})
        await asyncio.sleep(60)
        assert await show(client) == A and not world.dialled
        assert [reason for _, reason, _ in await list_events(client)] == ["CheckIgnored"]
        await client.patch(SERVICES, "web", "default", patch={"spec": {"selector": None}})
        await time_until(client, f"({A})")
        await client.patch(SERVICES, "web", "default", patch={"spec": {"selector": {"app": "web"}}})
        await time_until(client, A)

    play(scenario)


def test_what_the_author_writes_meanwhile_counts() -> None:
    async def scenario(cluster: Cluster, client: Client, world: World) -> None:
        world.down = {A}
        await make(client, A)
        await time_until(client, f"({A})")
        more = [{"op": "add", "path": "/endpoints/-", "value": {"addresses": [B]}}]
        await client.patch(ENDPOINT_SLICES, "web-1", "default", patch=more, patch_type=JSON_PATCH)
        await asyncio.sleep(5)
        assert await show(client) == f"({A}) {B}"
        assert world.dialled[Target(B, 8080)] >= 4
        anew = {"endpoints": [{"addresses": [A], "conditions": {"ready": True}}]}
        await client.patch(ENDPOINT_SLICES, "web-1", "default", patch=anew, patch_type=MERGE_PATCH)
        assert await time_until(client, f"({A})") <= 0.1, "what is known to be down is not tried anew"
        dialled = world.dialled[Target(B, 8080)]
        world.down = set()
        await time_until(client, A)
        assert (await get_slice(client))["endpoints"][0]["conditions"] == {"ready": True}
        assert world.dialled[Target(B, 8080)] == dialled, "it is gone"
        drained = {"endpoints": [{"addresses": [A], "conditions": {"ready": False}}]}
        await client.patch(ENDPOINT_SLICES, "web-1", "default", patch=drained, patch_type=MERGE_PATCH)
        await asyncio.sleep(60)
        assert await show(client) == f"({A})"
        assert HELD not in (await get_slice(client))["metadata"].get("annotations", {})

    play(scenario)


def test_another_check_keeps_who_is_down() -> None:
    async def scenario(cluster: Cluster, client: Client, world: World) -> None:
        world.down = {A}
        await make(client, A, B)
        await time_until(client, f"({A}) {B}")
        seen, task = await record_slices(client)
        seen.clear()
        await annotate(client, check="http:///healthz", check_interval="5s", check_timeout="1s")
        await asyncio.sleep(120)
        assert seen == []
        task.cancel()

    play(scenario)


def test_without_the_api_the_loop_goes_on_and_says_what_it_found_afterwards() -> None:
    async def scenario(cluster: Cluster, client: Client, world: World) -> None:
        await make(client, A, B)
        await asyncio.sleep(5)
        cluster.cut()
        world.down = {A}
        await asyncio.sleep(60)
        assert await show(cluster.direct_client()) == f"{A} {B}"
        cluster.mend()
        await asyncio.sleep(60)
        assert await show(cluster.direct_client()) == f"({A}) {B}"

    play(scenario)


def test_a_service_that_is_gone_is_not_checked_and_its_slices_are_let_go() -> None:
    async def scenario(cluster: Cluster, client: Client, world: World) -> None:
        world.down = {A}
        await make(client, A)
        await time_until(client, f"({A})")
        await client.delete(SERVICES, "web", "default")
        await time_until(client, A)
        await asyncio.sleep(1)
        dialled = world.dialled.total()
        await asyncio.sleep(60)
        assert world.dialled.total() == dialled

    play(scenario)


def test_the_api_server_and_clouds_metadata_are_never_dialled_and_that_is_told() -> None:
    async def scenario(cluster: Cluster, client: Client, world: World) -> None:
        api = make_slice("kubernetes-1", "kubernetes", ["192.0.2.100"], ports=[{"name": "https", "port": 6443}])
        await client.create(ENDPOINT_SLICES, api, "default")
        meta = {"annotations": {**EVERY_SECOND, "seaway.dev/check": "tcp://:6443"}}
        await client.create(SERVICES, make_service("web", meta=meta, selector={}), "default")
        body = make_slice("web-1", "web", ["192.0.2.100", "100.100.100.200", A])
        await client.create(ENDPOINT_SLICES, body, "default")
        await asyncio.sleep(10)
        assert set(world.dialled) == {Target(A, 6443)}
        assert [(reason, message) for _, reason, message in await list_events(client)] == [
            ("CheckRefused",
             "never checked: 100.100.100.200 (an address of a cloud's metadata), 192.0.2.100 (the API server)"),
        ]  # fmt: skip
        await annotate(client, check="tcp://:5432")
        await asyncio.sleep(10)
        assert world.dialled[Target("192.0.2.100", 5432)] > 5, "its host may have other programs"

    play(scenario)


def addresses(service: int, count: int) -> list[str]:
    return [f"10.0.{service}.{n + 1}" for n in range(count)]


def test_many_that_fall_at_once_are_written_at_50_a_second_at_most() -> None:
    async def scenario(cluster: Cluster, client: Client, world: World) -> None:
        for n in range(200):
            await make(client, *addresses(n, 1), name=f"s{n}")
        await asyncio.sleep(5)
        times: list[float] = []
        seen, task = await record_slices(client)
        loop = asyncio.get_running_loop()
        seen_before = len(seen)
        world.down = {addresses(n, 1)[0] for n in range(200)}
        while len(seen) - seen_before < 200:
            count = len(seen)
            await asyncio.sleep(0.005)
            times += [loop.time()] * (len(seen) - count)
            assert loop.time() < 60
        fullest = max(sum(t <= other < t + 1.0 for other in times) for t in times)
        assert 20 <= fullest <= 51
        task.cancel()

    play(scenario)


def test_so_many_are_tried_at_once_and_one_service_takes_no_others_turn() -> None:
    async def scenario(cluster: Cluster, client: Client, world: World) -> None:
        world.takes_seconds = 10.0
        for n in range(6):
            await make(client, *addresses(n, 200), name=f"s{n}", annotations={"seaway.dev/check": "tcp"})
        await asyncio.sleep(200)
        assert world.most_under_way["all"] == MAX_AT_ONCE
        assert {world.most_under_way[f"10.0.{n}"] for n in range(6)} <= set(range(1, MAX_AT_ONCE_OF_SERVICE + 1))
        assert len(world.dialled) == 1200, "each has its turn"

    play(scenario)


@pytest.mark.parametrize("count", [1000, 1001])
def test_more_targets_of_a_service_than_allowed_are_left_out_and_told(count: int) -> None:
    async def scenario(cluster: Cluster, client: Client, world: World) -> None:
        two_seconds = {"seaway.dev/check": "tcp"}
        await make(client, *(f"10.0.{n // 250}.{n % 250 + 1}" for n in range(1000)), annotations=two_seconds)
        if count > 1000:
            await client.create(ENDPOINT_SLICES, make_slice("web-2", "web", ["10.9.0.1"]), "default")
        world.takes_seconds = 0.0
        await asyncio.sleep(30)
        assert len(world.dialled) == 1000
        told = [message for _, _, message in await list_events(client)]
        text = "1000 addresses and ports are checked, 1 are not: 1000 of a Service and 5000 of all are allowed, "
        text += "and 500 and 1000 tries a second"
        assert told == ([text] if count > 1000 else [])

    play(scenario)


def test_an_endpoint_with_two_ports_is_down_when_one_of_them_is() -> None:
    async def scenario(cluster: Cluster, client: Client, world: World) -> None:
        meta = {"annotations": EVERY_SECOND}
        await client.create(SERVICES, make_service("web", meta=meta, selector={}), "default")
        ports = [{"name": "a", "port": 80}, {"name": "b", "port": 81}, {"name": "u", "port": 53, "protocol": "UDP"}]
        await client.create(ENDPOINT_SLICES, make_slice("web-1", "web", [A], ports=ports), "default")
        await asyncio.sleep(5)
        assert set(world.dialled) == {Target(A, 80), Target(A, 81)}
        world.down = {Target(A, 81)}
        await time_until(client, f"({A})")
        world.down = set()
        await time_until(client, A)

    play(scenario)
