"""What nodes' agents do to Pods, and how long each change takes to whoever watches EndpointSlices.

Runs beside an API server and its control loops. A change is late by what passes between the answer to the write of the
Pod's status and the watch event of the slice that shows it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bench.credentials import socket_connection
from bench.figures import percentile
from bench.pods import choose_pod_address, make_status, make_workload_pod, name_pod
from seaway.api.endpointslice.types import EndpointSlice
from seaway.api.registry import ENDPOINT_SLICES, PODS
from seaway.client.requests import Client
from seaway.client.run import Change, Informer
from seaway.client.transport import open_client

GRACE_SECONDS = 10.0
BLOCK = 100
FRESH = 1 << 20
"""The first number of the addresses that replaced Pods have."""


class _Sight:
    """The ready addresses in all slices, and who waits for one to come or go."""

    def __init__(self, client: Client) -> None:
        self.informer = Informer(client, ENDPOINT_SLICES, EndpointSlice)
        self.ready: dict[str, bool] = {}
        self.events = self.count = 0
        self.goal, self.reached = 0, asyncio.Event()
        self._waiting: dict[tuple[str, bool], asyncio.Future[float]] = {}
        self.informer.subscribe(self._note)

    def expect(self, address: str, is_ready: bool) -> asyncio.Future[float]:
        """The moment at which the address is first seen so."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting[address, is_ready] = waiting
        return waiting

    def check_goal(self) -> None:
        """Whether so many addresses are ready as are waited for."""
        if self.goal and self.count >= self.goal:
            self.reached.set()

    def _note(self, change: Change[EndpointSlice]) -> None:
        seen = time.monotonic()
        self.events += 1
        for slice_ in (change.old, change.new):
            for endpoint in (slice_.endpoints or ()) if slice_ is not None else ():
                address, is_ready = endpoint.addresses[0], slice_ is change.new and endpoint.is_ready
                self.count += is_ready - self.ready.get(address, False)
                self.ready[address] = is_ready
        for slice_ in (change.old, change.new):
            for endpoint in (slice_.endpoints or ()) if slice_ is not None else ():
                address = endpoint.addresses[0]
                waiting = self._waiting.pop((address, self.ready[address]), None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(seen)
        self.check_goal()


@asynccontextmanager
async def _open_sight(folder: Path) -> AsyncIterator[tuple[Client, _Sight]]:
    client = open_client(socket_connection(folder))
    sight = _Sight(client)
    running = asyncio.create_task(sight.informer.run())
    try:
        await sight.informer.wait_synced()
        yield client, sight
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await client.close()


async def wait_converged(folder: Path, endpoints: int, timeout_seconds: float) -> float:
    """Seconds until so many addresses are ready in slices. Raises TimeoutError."""
    begun = time.monotonic()
    async with _open_sight(folder) as (_, sight), asyncio.timeout(timeout_seconds):
        sight.goal = endpoints
        sight.check_goal()
        await sight.reached.wait()
        return time.monotonic() - begun


async def measure_turns(
    folder: Path, *, services: int, pods: int, per_second: float, count: int, say: Callable[..., None]
) -> None:
    """Pods turn unready and ready again in turn, so many a second. Says what was seen, in milliseconds."""
    async with _open_sight(folder) as (client, sight):
        await _turn(client, sight, _choose(services, pods, 20), 20.0, [])
        late: list[float] = []
        begun = time.monotonic()
        lost = await _turn(client, sight, _choose(services, pods, count), per_second, late)
        spent = time.monotonic() - begun
        say(
            p50=percentile(late, 0.5) * 1e3,
            p99=percentile(late, 0.99) * 1e3,
            lost=lost,
            per_second=count / spent,
            events=sight.events,
        )


def _choose(services: int, pods: int, count: int) -> list[tuple[int, int, bool]]:
    """(Service, Pod, ready afterwards): a hundred Pods turn unready one after the other, then ready in that order.

    Services take turns, so that a change is rarely seen together with another of its Service, or undone unseen.
    """
    spread = [(n % services, (n // services) % pods) for n in range((count + 1) // 2)]
    changes: list[tuple[int, int, bool]] = []
    for start in range(0, len(spread), BLOCK):
        part = spread[start : start + BLOCK]
        changes += [(service, pod, False) for service, pod in part] + [(service, pod, True) for service, pod in part]
    return changes


async def _turn(
    client: Client, sight: _Sight, changes: Sequence[tuple[int, int, bool]], per_second: float, late: list[float]
) -> int:
    """Returns how many changes were never seen."""
    start = time.monotonic() + 0.05
    lost = 0

    async def turn(number: int, service: int, pod: int, is_ready: bool) -> None:
        nonlocal lost
        await asyncio.sleep(start + number / per_second - time.monotonic())
        name = name_pod(service, pod)
        address = addresses[service, pod]
        seen = sight.expect(address, is_ready)
        status = make_status(address, ready=is_ready)
        await client.patch(
            PODS, name, "default", patch={"status": {"conditions": status["conditions"]}}, subresource="status"
        )
        written = time.monotonic()
        try:
            late.append(max(0.0, await asyncio.wait_for(seen, GRACE_SECONDS) - written))
        except TimeoutError:
            lost += 1

    addresses = await _find_addresses(client, {(service, pod) for service, pod, _ in changes})
    start = time.monotonic() + 0.05
    await asyncio.gather(*(turn(number, *change) for number, change in enumerate(changes)))
    return lost


async def _find_addresses(client: Client, chosen: set[tuple[int, int]]) -> dict[tuple[int, int], str]:
    found = {}
    for service, pod in sorted(chosen):
        live: dict[str, Any] = await client.get(PODS, name_pod(service, pod), "default", as_type=dict)
        found[service, pod] = live["status"]["podIP"]
    return found


async def measure_rollout(folder: Path, *, pods: int, at_once: int, say: Callable[..., None]) -> None:
    """All Pods of the first Service are replaced, so many at once. Says how many slices were written."""
    async with _open_sight(folder) as (client, sight):
        before, begun = sight.events, time.monotonic()
        emptiest = pods
        for start in range(0, pods, at_once):
            part = range(start, min(start + at_once, pods))
            seen = [sight.expect(choose_pod_address(FRESH + n), True) for n in part]
            await asyncio.gather(*(_add_pod(client, pods + n, choose_pod_address(FRESH + n)) for n in part))
            await asyncio.wait_for(asyncio.gather(*seen), GRACE_SECONDS)
            gone = [sight.expect(choose_pod_address(n), False) for n in part]
            options = {"gracePeriodSeconds": 0}
            await asyncio.gather(*(client.delete(PODS, name_pod(0, n), "default", options=options) for n in part))
            await asyncio.wait_for(asyncio.gather(*gone), GRACE_SECONDS)
            emptiest = min(emptiest, sight.count)
        say(writes=sight.events - before, seconds=time.monotonic() - begun, emptiest=emptiest)


async def _add_pod(client: Client, number: int, address: str) -> None:
    created = await client.create(PODS, make_workload_pod(0, number, number), "default")
    await client.update(PODS, {**created, "status": make_status(address)}, subresource="status")
