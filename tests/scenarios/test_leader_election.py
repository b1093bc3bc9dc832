"""Several `seaway controllers` against one API server: one works, and another goes on when it cannot.

Rule: spec "controllers" §0.2; client-go's leader election. On a clock that jumps.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from seaway.api.lease.types import Lease
from seaway.api.machinery.errors import NotFound
from seaway.api.machinery.http import Request, Response
from seaway.api.registry import ENDPOINT_SLICES, LEASES, SERVICES
from seaway.client.election.lease import ElectionConfig
from seaway.client.requests import Client, Transport, TransportError
from seaway.controllers.run import ControllersConfig, run
from seaway.testing.builders import make_service
from seaway.testing.clock import run_virtually
from seaway.testing.cluster import CONTROLLER_MANAGER, Cluster, open_cluster

LOOP = ("endpointslice",)


class Wire:
    """A transport that can be cut: requests fail, and what was open ends."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self.is_cut = False
        self.sent: list[str] = []

    async def send(self, request: Request) -> Response:
        if self.is_cut:
            raise TransportError("cut")
        if request.method != "GET":
            self.sent.append(f"{request.method} {request.path}")
        return await self._inner.send(request)

    async def close(self) -> None:
        await self._inner.close()


async def start(cluster: Cluster, identity: str) -> tuple[asyncio.Task[None], Wire]:
    wire = Wire(cluster.client(user=CONTROLLER_MANAGER, groups=()).transport)
    election = ElectionConfig(identity=identity, name="seaway-controllers")
    task = await cluster.start_controllers(enabled=LOOP, election=election, client=Client(wire))
    return task, wire


async def find_holder(client: Client) -> str:
    try:
        lease = await client.get(LEASES, "seaway-controllers", "kube-system", as_type=Lease)
    except NotFound:
        return ""
    return lease.spec.holder_identity


async def wait_for_holder(cluster: Cluster, *, other_than: str = "") -> str:
    client = cluster.client()

    async def check() -> str | None:
        holder = await find_holder(client)
        return holder if holder not in ("", other_than) else None

    return await cluster.eventually(check, timeout_seconds=120)


async def serve_service(cluster: Cluster, name: str) -> None:
    """Make a Service and wait for its slice: somebody works."""
    client = cluster.client()
    await client.create(SERVICES, make_service(name), "default")

    async def check() -> bool:
        selector = f"kubernetes.io/service-name={name}"
        return bool((await client.list(ENDPOINT_SLICES, "default", label_selector=selector)).items)

    await cluster.eventually(check, timeout_seconds=120)


def list_writes(wire: Wire) -> list[str]:
    return [line for line in wire.sent if "endpointslices" in line]


def play(scenario: Callable[[Cluster], Awaitable[None]]) -> None:
    async def main() -> None:
        async with open_cluster() as cluster:
            await scenario(cluster)

    run_virtually(main())


def test_of_two_only_one_works() -> None:
    async def scenario(cluster: Cluster) -> None:
        wires = {name: (await start(cluster, name))[1] for name in ("a", "b")}
        holder = await wait_for_holder(cluster)
        await serve_service(cluster, "web")
        await asyncio.sleep(60)
        assert await find_holder(cluster.client()) == holder
        assert len(list_writes(wires.pop(holder))) == 1
        assert not list_writes(wires.popitem()[1])

    play(scenario)


def test_a_leader_that_is_stopped_hands_over_at_once() -> None:
    async def scenario(cluster: Cluster) -> None:
        tasks = {name: (await start(cluster, name))[0] for name in ("a", "b")}
        first = await wait_for_holder(cluster)
        tasks[first].cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await tasks[first]
        cluster.tasks.remove(tasks[first])
        stopped_at = asyncio.get_running_loop().time()
        assert await find_holder(cluster.client()) == "", "the lease was given back"
        await wait_for_holder(cluster, other_than=first)
        assert asyncio.get_running_loop().time() - stopped_at < 5, "not only when the lease would have ended"
        await serve_service(cluster, "web")

    play(scenario)


def test_a_leader_that_is_cut_off_stops_before_another_begins_and_later_waits_for_its_turn() -> None:
    async def scenario(cluster: Cluster) -> None:
        wires = {name: (await start(cluster, name))[1] for name in ("a", "b")}
        first = await wait_for_holder(cluster)
        await serve_service(cluster, "one")
        wires[first].is_cut = True
        second = await wait_for_holder(cluster, other_than=first)
        wires[first].is_cut = False
        wires[first].sent.clear()
        await serve_service(cluster, "two")
        await asyncio.sleep(60)
        assert await find_holder(cluster.client()) == second
        assert not list_writes(wires[first]), "it had stopped working"
        wires[second].is_cut = True
        assert await wait_for_holder(cluster, other_than=second) == first
        wires[first].sent.clear()
        await serve_service(cluster, "three")
        assert len(list_writes(wires[first])) == 1, "it works again, from fresh caches"

    play(scenario)


def test_an_api_server_that_is_away_for_a_while_costs_no_leadership_for_good() -> None:
    async def scenario(cluster: Cluster) -> None:
        for name in ("a", "b"):
            await start(cluster, name)
        await wait_for_holder(cluster)
        cluster.cut()
        await asyncio.sleep(300)
        cluster.mend()
        await serve_service(cluster, "web")

    play(scenario)


def test_the_lease_says_who_holds_it_since_when_and_how_often_it_changed_hands() -> None:
    async def scenario(cluster: Cluster) -> None:
        await start(cluster, "a")
        await wait_for_holder(cluster)
        lease: dict[str, Any] = await cluster.client().get(LEASES, "seaway-controllers", "kube-system", as_type=dict)
        spec = lease["spec"]
        assert (spec["holderIdentity"], spec["leaseDurationSeconds"], spec["leaseTransitions"]) == ("a", 15, 0)
        assert spec["acquireTime"] <= spec["renewTime"]

    play(scenario)


def test_metrics_and_health_say_who_leads_and_what_the_queues_did() -> None:
    async def main() -> None:
        async with open_cluster() as cluster:
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            election = ElectionConfig(identity="a", name="seaway-controllers")
            config = ControllersConfig(
                node_grace_seconds=3, ca_pem="", enabled=LOOP, election=election, metrics_address=("127.0.0.1", port)
            )
            ready = asyncio.Event()
            client = cluster.client(user=CONTROLLER_MANAGER, groups=())
            cluster.tasks.append(asyncio.create_task(run(config, client, on_ready=ready.set)))
            await ready.wait()
            await wait_for_holder(cluster)
            await serve_service(cluster, "web")
            page = await fetch(port, "/metrics")
            assert 'leader_election_master_status{name="seaway-controllers"} 1\n' in page
            assert 'workqueue_adds_total{name="endpoint_slice"}' in page
            assert (await fetch(port, "/readyz?verbose")).endswith(
                "[+]ping ok\n[+]informer-sync ok\nreadyz check passed\n"
            )

    asyncio.run(main())


async def fetch(port: int, path: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer.decode()
