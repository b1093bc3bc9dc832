"""Pods for the proxy to reach: objects with addresses of a Pod network, and real programs on loopback behind them."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

from seaway.apiserver.proxying.targets import Target
from seaway.apiserver.serving.dialing import Link, dial_directly
from seaway.apiserver.serving.forwarding import HttpBackends

Json = dict[str, Any]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def make_pod(name: str, *addresses: str, ports: tuple[int, ...] = ()) -> Json:
    container: Json = {"name": "main", "image": "x", "ports": [{"containerPort": port} for port in ports]}
    return {
        "metadata": {"name": name},
        "spec": {"containers": [container]},
        "status": {"podIPs": [{"ip": ip} for ip in addresses], "podIP": addresses[0] if addresses else ""},
    }


def make_service(name: str, *ports: tuple[str, int]) -> Json:
    named = [{"name": n, "port": port} if n else {"port": port} for n, port in ports]
    return {"metadata": {"name": name}, "spec": {"ports": named}}


def make_endpoints(name: str, *subsets: Json) -> Json:
    return {"metadata": {"name": name}, "subsets": list(subsets)}


def make_subset(port: int, *addresses: Json, name: str = "") -> Json:
    told = {"port": port, "name": name} if name else {"port": port}
    return {"addresses": list(addresses), "ports": [told]}


def make_address(ip: str, pod: str | None, namespace: str = "default") -> Json:
    if pod is None:
        return {"ip": ip}
    return {"ip": ip, "targetRef": {"kind": "Pod", "namespace": namespace, "name": pod}}


class Network:
    """Where addresses lead: `(address, port)` of the Pod network to a port of loopback. Others refuse."""

    def __init__(self, kubelet: ssl.SSLContext | None = None) -> None:
        self.kubelet = kubelet
        self.ports: dict[tuple[str, int], int] = {}
        self.dialled: list[str] = []

    async def dial(self, target: Target) -> Link:
        self.dialled.append(target.host)
        port = self.ports.get((target.address, target.port))
        if port is None:
            raise ConnectionRefusedError(111, "refused")
        return await dial_directly(replace(target, address="127.0.0.1", port=port), self.kubelet)

    @property
    def backends(self) -> HttpBackends:
        return HttpBackends(self.dial)

    @contextlib.asynccontextmanager
    async def listening(self, address: str, port: int, serve: Serve, **options: Any) -> AsyncIterator[None]:
        """A program that speaks at the address, one call per connection."""
        async with listening_at("127.0.0.1", 0, serve, **options) as bound:
            self.ports[address, port] = bound
            yield


@contextlib.asynccontextmanager
async def listening_at(address: str, port: int, serve: Serve, **options: Any) -> AsyncIterator[int]:
    """A program at an address of this host; gives its port. Nothing of it is left behind."""
    tasks: set[asyncio.Task[None]] = set()

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(run, address, port, **options)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def read_head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    """The request line, and the fields by lower-case name."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.strip().split("\r\n")
    return first, {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


def answering(answer: bytes, seen: list[tuple[str, dict[str, str]]] | None = None) -> Serve:
    """A program that says the same to every request."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        if seen is not None:
            seen.append(head)
        writer.write(answer)
        await writer.drain()
        writer.write_eof()
        await reader.read()

    return serve
