"""The userspace plane with real sockets on loopback, without an API server: one Service, and what clients see of it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace

from seaway.net.family import Family
from seaway.net.loopback import LoopbackMap
from seaway.proxy.config import NodeView
from seaway.proxy.connectionpolicy import DEFAULT, ConnectionPolicy
from seaway.proxy.forwarding import Forwarding, Frontend, Masquerade, ServiceForwarding, Target, TrafficClass
from seaway.proxy.userspace.figures import ConnectionFigures
from seaway.proxy.userspace.gate import Neighbours
from seaway.proxy.userspace.plan import plan_listeners
from seaway.proxy.userspace.plane import UserspacePlane
from seaway.proxy.userspace.serve import UserspaceSockets
from seaway.telemetry.metrics import Metrics

MAP = LoopbackMap()
NODE = NodeView("node-1", addresses=("10.250.0.1",))
KEY = "default/web"
VIP = "10.96.0.10"
PATIENCE = 20.0
_pods = itertools.count(1)

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def free_port(address: str = "127.96.0.10", kind: int = socket.SOCK_STREAM) -> int:
    """A port that nobody has there."""
    with socket.socket(socket.AF_INET, kind) as found:
        found.bind((address, 0))
        return int(found.getsockname()[1])


def pod_address() -> str:
    """An address that no other test has."""
    number = next(_pods)
    return f"10.{200 + os.getpid() % 50}.{os.getpid() // 50 % 250 + 1}.{number % 250 + 1}"


def count_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@dataclass
class World:
    """`port` of the Service is served for whatever endpoints `serve` was given last."""

    sockets: UserspaceSockets
    plane: UserspacePlane
    metrics: Metrics
    port: int = 0
    protocol: str = "TCP"
    told: list[tuple[str, str, str]] = field(default_factory=list)
    servers: list[asyncio.Server] = field(default_factory=list)

    def sync(
        self,
        *endpoints: Target,
        policy: ConnectionPolicy = DEFAULT,
        reset_after: float | None = None,
        **options: object,
    ) -> None:
        """The Service has these endpoints now. options: of Forwarding."""
        forwarding = Forwarding(
            frontend=Frontend(TrafficClass.CLUSTER_IP, VIP, self.protocol, self.port),
            port_name="http",
            endpoints=endpoints,
            masquerade=Masquerade.OFF_CLUSTER,
        )
        service = ServiceForwarding(
            service=KEY,
            family=Family.IPV4,
            age=("", KEY),
            cluster_ip=VIP,
            forwardings=(replace(forwarding, **options),),  # type: ignore[arg-type]
            reset_after_seconds=reset_after,
            policy=policy,
        )
        self.plane.sync({KEY: service}, NODE)

    async def start(self, serve: Serve) -> Target:
        """A server of its own address."""
        address = pod_address()
        server = await asyncio.start_server(serve, MAP.to_loopback(address), 0)
        self.servers.append(server)
        return Target(address, server.sockets[0].getsockname()[1])

    async def connect(self, source: str = "") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """As a client would. source: a Pod's own address."""
        local = (MAP.to_loopback(source) or "", 0) if source else None
        return await asyncio.open_connection(MAP.to_loopback(VIP), self.port, local_addr=local)

    @property
    def open_count(self) -> int:
        return len(self.sockets.splicer.connections)

    def cell(self, name: str, *labels: str) -> float:
        """A metric of the plane's."""
        family = next(f for f in self.metrics.collect() if f.name == f"seaway_proxy_userspace_{name}")
        return float(dict(family.rows).get(("default", "web", "http", *labels), 0.0))  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def open_world(protocol: str = "TCP", pick: Callable[[int], int] = lambda bound: 0) -> AsyncIterator[World]:
    """Everything is closed afterwards, and no descriptor is left: that is asserted."""
    before = count_descriptors()
    metrics = Metrics()
    told: list[tuple[str, str, str]] = []
    neighbours = Neighbours(MAP)
    sockets = UserspaceSockets(neighbours, figures=ConnectionFigures(metrics), tell=lambda *words: told.append(words))
    plane = UserspacePlane(
        sockets, lambda service, node: plan_listeners(service, loopback=MAP, node_addresses=("127.0.0.1",)), pick=pick
    )
    kind = socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM
    world = World(sockets, plane, metrics, free_port(kind=kind), protocol, told)
    try:
        async with asyncio.timeout(PATIENCE):
            yield world
    finally:
        plane.close()
        sockets.close()
        for server in world.servers:
            server.close()
        await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE):
        while count_descriptors() > before or len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def until(is_so: Callable[[], bool]) -> None:
    """Raises TimeoutError."""
    async with asyncio.timeout(PATIENCE):
        while not is_so():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say what was heard; at the end of it `bye`."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write(b"bye")
    writer.close()


async def read_all(reader: asyncio.StreamReader) -> bytes:
    return await reader.read(-1)
