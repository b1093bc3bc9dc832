"""A whole API in this process: the real server over the store in memory, without sockets, and the control loops.

async with open_cluster(controllers=True) as cluster:
    await cluster.client().create(SERVICES, make_service("web"), "default")
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from seaway.api.machinery.http import Identity, Request, Response
from seaway.apiserver.access.credentials import Credentials
from seaway.apiserver.config import ServerConfig
from seaway.apiserver.handler import ApiServer
from seaway.apiserver.proxying.verb import Backends
from seaway.apiserver.run import open_server
from seaway.client.election.lease import ElectionConfig
from seaway.client.requests import Client, TransportError
from seaway.client.transport import InProcessTransport
from seaway.controllers.run import ControllersConfig
from seaway.controllers.run import run as run_controllers
from seaway.store.memory import MemoryStore

T = TypeVar("T")
MASTERS = "system:masters"
CONTROLLER_MANAGER = "system:kube-controller-manager"
NODE_GRACE_SECONDS = 3.0
CHECK_SECONDS = 0.005


@dataclass(slots=True)
class Cluster:
    """The server and whoever talks to it."""

    server: ApiServer
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    is_reachable: bool = True
    opened_at: tuple[datetime, float] = field(
        default_factory=lambda: (datetime.now(UTC), asyncio.get_running_loop().time())
    )

    def wall_now(self) -> datetime:
        """The time of day that the control loops see: it moves on with the loop's, be that real or virtual."""
        wall, monotonic = self.opened_at
        return wall + timedelta(seconds=asyncio.get_running_loop().time() - monotonic)

    def client(self, *, user: str = "admin", groups: tuple[str, ...] = (MASTERS,)) -> Client:
        """A client with an identity, as the authenticator would make it."""
        identity = Identity(user, tuple(sorted({*groups, "system:authenticated"})))
        return Client(InProcessTransport(self._handle, identity))

    def direct_client(self) -> Client:
        """An administrator whom `cut` does not concern."""
        return Client(InProcessTransport(self.server.handle, Identity("admin", (MASTERS, "system:authenticated"))))

    def cut(self) -> None:
        """Nobody reaches the server any more, and every watch ends, until `mend`."""
        self.is_reachable = False
        self.server.end_streams()

    def mend(self) -> None:
        """The server answers again."""
        self.is_reachable = True

    async def _handle(self, request: Request, identity: Identity) -> Response:
        if not self.is_reachable:
            raise TransportError("the server was cut off")
        return await self.server.handle(request, identity)

    async def start_controllers(
        self,
        *,
        enabled: tuple[str, ...] = ("*",),
        node_grace_seconds: float = NODE_GRACE_SECONDS,
        ca_pem: str = "CA\n",
        election: ElectionConfig | None = None,
        client: Client | None = None,
    ) -> asyncio.Task[None]:
        """Run control loops until the cluster closes or the returned task is cancelled; returns when they are ready.

        client: whose; None: one of kube-controller-manager's.
        """
        ready = asyncio.Event()
        config = ControllersConfig(
            node_grace_seconds=node_grace_seconds,
            ca_pem=ca_pem,
            enabled=enabled,
            election=election,
            wall_now=self.wall_now,
        )
        client = client or self.client(user=CONTROLLER_MANAGER, groups=())
        task = asyncio.create_task(run_controllers(config, client, on_ready=ready.set))
        self.tasks.append(task)
        await first_of(task, ready)
        return task

    async def eventually(self, check: Callable[[], Awaitable[T | None]], *, timeout_seconds: float = 10.0) -> T:
        """The check's first result that is true. Raises TimeoutError, or what ended a control loop."""
        async with asyncio.timeout(timeout_seconds):
            while not (found := await check()):
                for task in self.tasks:
                    if task.done() and not task.cancelled():
                        task.result()
                await asyncio.sleep(CHECK_SECONDS)
            return found


@contextlib.asynccontextmanager
async def open_cluster(
    *,
    config: ServerConfig | None = None,
    controllers: bool = False,
    runs_loops: bool = True,
    store: MemoryStore | None = None,
    credentials: Credentials | None = None,
    backends: Backends | None = None,
) -> AsyncIterator[Cluster]:
    """A cluster; with `controllers`, all of them run before the block begins.

    store: what a cluster before this one has left, and this one leaves again; None: a fresh one, closed at the end.
    backends: what reaches Pods; None: nothing does.
    """
    kept = store or MemoryStore()
    cluster = Cluster(
        await open_server(
            config or ServerConfig(), kept, runs_loops=runs_loops, credentials=credentials, backends=backends
        )
    )
    try:
        if controllers:
            await cluster.start_controllers()
        yield cluster
    finally:
        for task in cluster.tasks:
            task.cancel()
        await asyncio.gather(*cluster.tasks, return_exceptions=True)
        await cluster.server.close()
        if store is None:
            await kept.close()


async def first_of(task: asyncio.Task[None], ready: asyncio.Event) -> None:
    """Returns when ready; raises what ended the task before."""
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if task.done():
        task.result()
