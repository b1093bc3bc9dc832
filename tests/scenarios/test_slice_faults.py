"""Trouble on the way to the slices: they end as they should, and no Service is empty meanwhile.

Rule: issue "Controllers", faults. An observer looks at every watch event, past the trouble.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from seaway.api.endpointslice.types import EndpointSlice
from seaway.api.machinery.errors import ApiError, Expired, ServiceUnavailable, TooManyRequests, make_conflict
from seaway.api.machinery.http import Identity, Request, Response
from seaway.api.registry import ENDPOINT_SLICES, PODS, SERVICES
from seaway.client.requests import MERGE_PATCH, Client, TransportError
from seaway.client.run import Change, Informer
from seaway.store.memory import MemoryStore
from seaway.testing.builders import make_pod, make_service
from seaway.testing.clock import run_virtually
from seaway.testing.cluster import CONTROLLER_MANAGER, Cluster, open_cluster
from tests.scenarios.test_control_loops import create_node, list_slices, run_pod

SLICES_ONLY = ("endpointslice",)
PODS_AT_FIRST = 5
SETTLE_SECONDS = 65.0
Meddler = Callable[[Request], Awaitable[ApiError | TransportError | None]]


class Observer:
    """Sees every state of the slices of `web`, and remembers whether it ever lacked endpoints after it had some."""

    def __init__(self, client: Client) -> None:
        self._informer = Informer(client, ENDPOINT_SLICES, EndpointSlice)
        self._informer.subscribe(self._look)
        self._task = asyncio.create_task(self._informer.run())
        self.had_endpoints = False
        self.emptied: list[str] = []
        self.events = 0

    def _look(self, change: Change[EndpointSlice]) -> None:
        self.events += 1
        is_empty = not any(slice_.endpoints for slice_ in self._informer.objects.values())
        self.had_endpoints = self.had_endpoints or not is_empty
        if self.had_endpoints and is_empty:
            self.emptied.append(change.key)

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


def meddle(cluster: Cluster, meddler: Meddler, *, after: bool = False) -> None:
    """Ask before each write of a slice (or after it was carried out) whether the loop is to be told of a failure."""
    inner = cluster.server.handle

    async def handle(request: Request, identity: Identity, *rest: Any, **options: Any) -> Response:
        is_write = request.method in ("POST", "PUT", "DELETE") and "/endpointslices" in request.path
        is_meant = is_write and identity.user == CONTROLLER_MANAGER
        answer = await inner(request, identity, *rest, **options) if after or not is_meant else None
        if is_meant and (error := await meddler(request)) is not None:
            raise error
        return answer if answer is not None else await inner(request, identity, *rest, **options)

    cluster.server.handle = handle  # type: ignore[method-assign]


async def build(client: Client) -> None:
    """A Service whose Pods name their port differently: several slices, which move when the port changes."""
    await create_node(client, "n1")
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    await client.create(SERVICES, make_service("web", ports=ports), "default")
    for number in range(PODS_AT_FIRST):
        await add_pod(client, number)


async def add_pod(client: Client, number: int) -> None:
    port = {"name": "http", "containerPort": 8000 + number % 3}
    pod = make_pod(f"p{number}", labels={"app": "web"}, nodeName="n1",
                   containers=[{"name": "c", "image": "i", "ports": [port]}])  # fmt: skip
    created = await client.create(PODS, pod, "default")
    status = make_pod(f"p{number}", ip=f"10.244.0.{number + 2}", ready=True)["status"]
    await client.update(PODS, {**created, "status": status}, subresource="status")


async def change(client: Client) -> None:
    """Everything at once: other ports, other labels, Pods that come and one that goes."""
    patch = {
        "metadata": {"labels": {"team": "shop"}},
        "spec": {"ports": [{"name": "http", "port": 80, "targetPort": 9090}]},
    }
    await client.patch(SERVICES, "web", "default", patch=patch, patch_type=MERGE_PATCH)
    for number in range(PODS_AT_FIRST, PODS_AT_FIRST + 3):
        await add_pod(client, number)
    await client.delete(PODS, "p0", "default", options={"gracePeriodSeconds": 0})


async def check(client: Client) -> None:
    """Exactly the slices that an undisturbed loop leaves, each endpoint once."""
    slices = await list_slices(client)
    found = sorted(e.addresses[0] for s in slices for e in s.endpoints or ())
    assert found == [f"10.244.0.{number + 2}" for number in range(1, PODS_AT_FIRST + 3)]
    assert [[p.port for p in s.ports or ()] for s in slices] == [[9090]]
    assert [s.metadata.labels["team"] for s in slices] == ["shop"]


async def settle(client: Client) -> None:
    """Past the longest back-off, and the look for lost echoes."""
    await asyncio.sleep(SETTLE_SECONDS)
    versions = sorted(s.metadata.resource_version for s in await list_slices(client))
    await asyncio.sleep(SETTLE_SECONDS)
    assert sorted(s.metadata.resource_version for s in await list_slices(client)) == versions, "rest is rest"


STORMS: list[tuple[str, Callable[[int], ApiError | TransportError | None], bool]] = [
    ("a storm of 409", lambda n: make_conflict("endpointslices", "", "x", None) if n % 3 else None, False),
    ("a storm of 429", lambda n: TooManyRequests("storm", {"retryAfterSeconds": 1}) if n % 4 else None, False),
    ("every second write answered by 503", lambda n: ServiceUnavailable("away") if n % 2 else None, False),
    ("no answer to writes that were not carried out", lambda n: TransportError("lost") if n % 2 else None, False),
    ("no answer to writes that were carried out", lambda n: TransportError("lost") if n % 2 else None, True),
    ("409 for writes that were carried out",
     lambda n: make_conflict("endpointslices", "", "x", None) if n % 2 else None, True),
]  # fmt: skip


@pytest.mark.parametrize(("fails", "after"), [s[1:] for s in STORMS], ids=[s[0] for s in STORMS])
def test_slices_come_through(fails: Callable[[int], ApiError | TransportError | None], after: bool) -> None:
    async def main() -> None:
        async with open_cluster() as cluster:
            client = cluster.client()
            numbers = itertools.count(1)

            async def meddler(request: Request) -> ApiError | TransportError | None:
                return fails(next(numbers))

            meddle(cluster, meddler, after=after)
            observer = Observer(client)
            await cluster.start_controllers(enabled=SLICES_ONLY)
            await build(client)
            await asyncio.sleep(SETTLE_SECONDS)
            await change(client)
            await settle(client)
            await check(client)
            assert not observer.emptied and observer.had_endpoints and next(numbers) > 4
            await observer.close()

    run_virtually(main())


@pytest.mark.parametrize("after", [False, True], ids=["before it is carried out", "after it is carried out"])
@pytest.mark.parametrize("number", range(1, 9), ids=lambda n: f"write {n}")
def test_the_loop_may_be_killed_at_any_write(number: int, after: bool) -> None:
    async def main() -> None:
        async with open_cluster() as cluster:
            client = cluster.client()
            await build(client)
            first = await cluster.start_controllers(enabled=SLICES_ONLY)
            await asyncio.sleep(1)
            observer = Observer(client)
            numbers, killed = itertools.count(1), asyncio.Event()

            async def meddler(request: Request) -> ApiError | TransportError | None:
                if next(numbers) == number:
                    first.cancel()
                    killed.set()
                    return TransportError("killed")
                return None

            meddle(cluster, meddler, after=after)
            await change(client)
            await asyncio.sleep(1)
            if not killed.is_set():  # there were fewer writes than that
                first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            cluster.tasks.remove(first)
            await cluster.start_controllers(enabled=SLICES_ONLY)
            await settle(client)
            await check(client)
            assert not observer.emptied and observer.had_endpoints
            await observer.close()

    run_virtually(main())


@pytest.mark.parametrize("seconds", [0.0, 0.5, 45.0, 3600.0], ids=["a moment", "half a second", "45 s", "an hour"])
def test_watches_are_cut_while_everything_changes(seconds: float) -> None:
    async def main() -> None:
        async with open_cluster() as cluster:
            client = cluster.client()
            direct = cluster.direct_client()
            observer = Observer(direct)
            await cluster.start_controllers(enabled=SLICES_ONLY)
            await build(client)
            await asyncio.sleep(1)
            cluster.cut()
            await change(direct)
            await asyncio.sleep(seconds)
            cluster.mend()
            await settle(direct)
            await check(direct)
            assert not observer.emptied
            await observer.close()

    run_virtually(main())


def test_a_clock_that_jumps_changes_nothing() -> None:
    async def main() -> None:
        async with open_cluster() as cluster:
            client = cluster.client()
            observer = Observer(client)
            await cluster.start_controllers(enabled=SLICES_ONLY)
            await build(client)
            loop = asyncio.get_running_loop()
            for _ in range(3):
                loop.advance(86_400.0)  # type: ignore[attr-defined]
                await asyncio.sleep(0)
            await change(client)
            loop.advance(0.5)  # type: ignore[attr-defined]
            await settle(client)
            await check(client)
            assert not observer.emptied
            await observer.close()

    run_virtually(main())


def test_the_server_is_started_anew_over_its_store() -> None:
    async def main() -> None:
        store = MemoryStore()
        async with open_cluster(store=store) as cluster:
            client = cluster.client()
            await build(client)
            await cluster.start_controllers(enabled=SLICES_ONLY)
            await asyncio.sleep(1)
            before = {s.metadata.name for s in await list_slices(client)}
            await change(client)  # nobody has time to act on it
        async with open_cluster(store=store) as cluster:
            client = cluster.client()
            observer = Observer(client)
            await cluster.start_controllers(enabled=SLICES_ONLY)
            await settle(client)
            await check(client)
            assert not observer.emptied
            assert {s.metadata.name for s in await list_slices(client)} <= before, "slices are taken up, not made anew"
            await observer.close()
        await store.close()

    run_virtually(main())


def test_a_slice_that_came_and_went_while_nobody_could_look_is_made_again() -> None:
    """The loop's own write is laid over its cache, and no event will ever take it away: a list hides that it went."""

    async def main() -> None:
        async with open_cluster() as cluster:
            client, direct = cluster.client(), cluster.direct_client()
            await create_node(client, "n1")
            await run_pod(client, "a", "10.244.0.2")
            await cluster.start_controllers(enabled=SLICES_ONLY)
            inner = cluster.server.handle

            async def lose(request: Request, identity: Identity, *rest: Any, **options: Any) -> Response:
                """The write is carried out and answered, but what it made is gone before a watch could tell of it."""
                if request.method != "POST" or "/endpointslices" not in request.path:
                    return await inner(request, identity, *rest, **options)
                cluster.server.handle = inner  # type: ignore[method-assign]
                cluster.cut()
                await asyncio.sleep(0)
                answer = await inner(request, identity, *rest, **options)
                for slice_ in await list_slices(direct):
                    await direct.delete(ENDPOINT_SLICES, slice_.metadata.name, "default")
                cluster.server.handle = expire  # type: ignore[method-assign]
                cluster.mend()
                return answer

            async def expire(request: Request, identity: Identity, *rest: Any, **options: Any) -> Response:
                """The history is not long enough for the watch that was cut."""
                if "/endpointslices" in request.path and ("watch", "true") in request.query:
                    cluster.server.handle = inner  # type: ignore[method-assign]
                    raise Expired("too old resource version")
                return await inner(request, identity, *rest, **options)

            cluster.server.handle = lose  # type: ignore[method-assign]
            await client.create(SERVICES, make_service("web"), "default")
            await asyncio.sleep(30)
            assert not await list_slices(client), "this is what was to be shown: no event told of the loss"
            await asyncio.sleep(SETTLE_SECONDS)
            assert [e.addresses for s in await list_slices(client) for e in s.endpoints or ()] == [("10.244.0.2",)]

    run_virtually(main())
