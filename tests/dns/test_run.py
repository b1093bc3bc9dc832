"""The whole piece over a client whose server is a table of lists and one queue of events per collection."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator
from typing import Any

import dns.message
import dns.rcode
import pytest

from seaway.api.machinery.http import Request, Response
from seaway.client.requests import Client
from seaway.dns.run import DnsConfig, run
from seaway.testing.builders import make_service, make_slice

Json = dict[str, Any]


class Server:
    """Lists what it was given, once `opened`; watches deliver what `send` is told."""

    def __init__(self, objects: dict[str, list[Json]]) -> None:
        self.objects = objects
        self.opened = asyncio.Event()
        self.events: dict[str, asyncio.Queue[Json]] = {}

    async def send(self, request: Request) -> Response:
        plural = request.path.rsplit("/", 1)[-1]
        await self.opened.wait()
        if ("watch", "true") in request.query:
            return Response(200, {}, self._watch(plural))
        items = self.objects.get(plural, [])
        return Response(200, {}, json.dumps({"metadata": {"resourceVersion": "10"}, "items": items}).encode())

    async def _watch(self, plural: str) -> AsyncIterator[bytes]:
        queue = self.events.setdefault(plural, asyncio.Queue())
        while True:
            yield json.dumps(await queue.get()).encode() + b"\n"

    def tell(self, plural: str, kind: str, obj: Json) -> None:
        self.events.setdefault(plural, asyncio.Queue()).put_nowait({"type": kind, "object": obj})

    async def close(self) -> None:
        pass


def version(obj: Json, resource_version: int) -> Json:
    return obj | {"metadata": obj["metadata"] | {"resourceVersion": str(resource_version)}}


def service(address: str, resource_version: int = 1) -> Json:
    return version(make_service("web", clusterIP=address, clusterIPs=[address]), resource_version)


NAMESPACE = {"metadata": {"name": "default", "resourceVersion": "1"}}
SLICE = version(make_slice("web-1", "web", ["10.244.0.5"]), 2)


def free_port() -> int:
    """Below the range that the kernel draws from for connections, so that none of them takes it meanwhile.

    Processes look in different places first, so that two that run tests at once do not find the same.
    """
    first = 20_053 + os.getpid() * 89 % 9_900
    for port in (*range(first, 30_000), *range(20_053, first)):
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
            contextlib.suppress(OSError),
        ):
            udp.bind(("127.0.0.1", port))
            tcp.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


async def ask(port: int, name: str, qtype: str = "A") -> Any:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect(("127.0.0.1", port))
        sock.send(dns.message.make_query(name, qtype).to_wire())
        async with asyncio.timeout(5):
            return dns.message.from_wire(await loop.sock_recv(sock, 4096))


async def ask_until(port: int, name: str, address: str) -> None:
    """A change arrives when the loop has read it: ask until it has."""
    async with asyncio.timeout(5):
        while True:
            reply = await ask(port, name)
            if [each.address for rrset in reply.answer for each in rrset] == [address]:
                return


def test_it_serves_servfail_then_answers_then_follows_changes() -> None:
    async def main() -> None:
        api = Server({"namespaces": [NAMESPACE], "services": [service("10.96.0.5")], "endpointslices": [SLICE]})
        ready, port = asyncio.Event(), free_port()
        config = DnsConfig(listen=(("127.0.0.1", port),))
        task = asyncio.create_task(run(config, Client(api), on_ready=ready.set))
        await asyncio.sleep(0)
        assert (await ask(port, "web.default.svc.cluster.local")).rcode() == dns.rcode.SERVFAIL
        assert not ready.is_set()
        api.opened.set()
        async with asyncio.timeout(5):
            await ready.wait()
        await ask_until(port, "web.default.svc.cluster.local", "10.96.0.5")
        await ask_until(port, "10-244-0-5.web.default.svc.cluster.local", "10.244.0.5")
        reply = await ask(port, "5.0.244.10.in-addr.arpa", "PTR")
        assert str(reply.answer[0][0].target) == "10-244-0-5.web.default.svc.cluster.local."
        api.tell("services", "MODIFIED", service("10.96.0.6", 11))
        await ask_until(port, "web.default.svc.cluster.local", "10.96.0.6")
        api.tell("services", "DELETED", service("10.96.0.6", 12))
        async with asyncio.timeout(5):
            while (await ask(port, "web.default.svc.cluster.local")).rcode() != dns.rcode.NXDOMAIN:
                pass
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", port))

    asyncio.run(main())


@pytest.mark.parametrize(("seconds", "last"), [(3600.0, ["7", "8", "9"]), (0.01, ["8", "9"])])
def test_an_address_that_vanishes_lingers_and_goes(
    seconds: float, last: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seaway.dns.moving.LINGER_SECONDS", seconds)

    async def main() -> None:
        db = version(make_service("db", clusterIP="None", clusterIPs=["None"]), 1)
        first = version(make_slice("db-1", "db", ["10.244.0.7"]), 2)
        second = version(make_slice("db-2", "db", ["10.244.0.8"]), 3)
        api = Server({"namespaces": [NAMESPACE], "services": [db], "endpointslices": [first, second]})
        api.opened.set()
        ready, port = asyncio.Event(), free_port()
        task = asyncio.create_task(run(DnsConfig(listen=(("127.0.0.1", port),)), Client(api), on_ready=ready.set))
        async with asyncio.timeout(5):
            await ready.wait()
        api.tell("endpointslices", "DELETED", version(first, 11))
        api.tell("endpointslices", "ADDED", version(make_slice("db-3", "db", ["10.244.0.9"]), 12))
        found: list[str] = []
        async with asyncio.timeout(5):
            while found != last:
                reply = await ask(port, "db.default.svc.cluster.local")
                found = sorted(each.address.rpartition(".")[2] for rrset in reply.answer for each in rrset)
                assert "9" not in found or found in (["7", "8", "9"], last)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())


def test_verified_pod_names_watch_pods() -> None:
    async def main() -> None:
        pod = {"metadata": {"name": "p", "namespace": "default", "resourceVersion": "3"},
               "status": {"phase": "Running", "podIP": "10.244.0.5"}}  # fmt: skip
        api = Server({"namespaces": [NAMESPACE], "pods": [pod]})
        api.opened.set()
        ready, port = asyncio.Event(), free_port()
        config = DnsConfig(listen=(("127.0.0.1", port),), pods="verified")
        task = asyncio.create_task(run(config, Client(api), on_ready=ready.set))
        async with asyncio.timeout(5):
            await ready.wait()
        await ask_until(port, "10-244-0-5.default.pod.cluster.local", "10.244.0.5")
        assert (await ask(port, "10-244-0-6.default.pod.cluster.local")).rcode() == dns.rcode.NXDOMAIN
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
