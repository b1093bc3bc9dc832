"""A server over the memory store, spoken to in requests and replies; its clock moves when the test says so."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from seaway.api.machinery.http import Identity, Request, Response
from seaway.apiserver.access.credentials import Credentials
from seaway.apiserver.handler import ApiServer
from seaway.apiserver.run import ServerConfig, open_server
from seaway.store.contract import Store
from seaway.store.memory import MemoryStore

Json = dict[str, Any]
T = TypeVar("T")
ADMIN = Identity("admin", ("system:authenticated", "system:masters"))
NOON = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)
SERVICES = "/api/v1/namespaces/default/services"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


class ManualTimer:
    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class ManualEffects:
    """Time stands still until `advance`; uids and random numbers are counted up."""

    def __init__(self) -> None:
        self.now = 0.0
        self.reported: list[Exception] = []
        self._timers: list[tuple[float, int, ManualTimer]] = []
        self._count = itertools.count(1)

    def monotonic(self) -> float:
        return self.now

    def wall_now(self) -> datetime:
        return NOON + timedelta(seconds=self.now)

    def new_uid(self) -> str:
        return f"00000000-0000-4000-8000-{next(self._count):012x}"

    def random(self) -> float:
        return (next(self._count) * 0.618033988749895) % 1

    def report(self, error: Exception) -> None:
        self.reported.append(error)

    def new_wakeup(self) -> asyncio.Future[None]:
        return asyncio.get_running_loop().create_future()

    def call_later(self, seconds: float, callback: Callable[[], object]) -> ManualTimer:
        timer = ManualTimer(callback)
        heapq.heappush(self._timers, (self.now + seconds, next(self._count), timer))
        return timer

    async def within(self, seconds: float, work: Awaitable[T]) -> T:
        """Real work is at once or never: it is broken off by `advance`, as any timer."""
        task = asyncio.ensure_future(work)
        timer = self.call_later(seconds, task.cancel)
        try:
            return await task
        except asyncio.CancelledError:
            raise TimeoutError from None
        finally:
            timer.cancel()

    async def advance(self, seconds: float) -> None:
        """Fire what is due, in order."""
        until = self.now + seconds
        while self._timers and self._timers[0][0] <= until:
            self.now, _, timer = heapq.heappop(self._timers)
            if timer.callback is not None:
                timer.callback()
            await asyncio.sleep(0)
        self.now = until


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: Any
    text: bytes

    @property
    def message(self) -> str:
        return str(self.body["message"])


class Conversation:
    """`await talk("POST", path, obj)` and look at the reply."""

    def __init__(self, server: ApiServer, effects: ManualEffects) -> None:
        self.server = server
        self.effects = effects

    async def __call__(
        self,
        method: str,
        target: str,
        body: Json | list[Any] | bytes | None = None,
        *,
        identity: Identity = ADMIN,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        response = await self.send(method, target, body, identity=identity, headers=headers)
        assert isinstance(response.body, bytes)
        content_type = dict(response.headers).get("Content-Type", "")
        is_json = content_type.startswith("application/json") and "Content-Encoding" not in dict(response.headers)
        decoded = json.loads(response.body) if is_json else response.body
        return Reply(response.status, dict(response.headers), decoded, response.body)

    async def send(
        self,
        method: str,
        target: str,
        body: Json | list[Any] | bytes | None = None,
        *,
        identity: Identity = ADMIN,
        headers: dict[str, str] | None = None,
    ) -> Response:
        path, _, query = target.partition("?")
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        request = Request(method, path, tuple(parse_qsl(query, keep_blank_values=True)), headers or {}, raw)
        return await self.server.handle(request, identity)

    async def patch(self, target: str, patch: Json | list[Any], *, kind: str = "merge-patch+json") -> Reply:
        return await self("PATCH", target, patch, headers={"content-type": f"application/{kind}"})

    async def watch(self, target: str, *, headers: dict[str, str] | None = None, identity: Identity = ADMIN) -> Watch:
        separator = "&" if "?" in target else "?"
        response = await self.send("GET", f"{target}{separator}watch=1", headers=headers, identity=identity)
        assert response.status == 200, response
        assert not isinstance(response.body, bytes)
        return Watch(response.body)


class Watch:
    """The events of one watch."""

    def __init__(self, stream: AsyncIterator[bytes]) -> None:
        self.stream = stream
        self._lines: list[bytes] = []
        self.ended = False

    async def events(self) -> list[Json]:
        """All events that are there now; never waits for more."""
        found = []
        while (event := await self._next()) is not None:
            found.append(event)
        return found

    async def names(self) -> list[tuple[str, str]]:
        """(type, name) of all events that are there now."""
        return [(event["type"], event["object"]["metadata"].get("name", "")) for event in await self.events()]

    async def _next(self) -> Json | None:
        if not self._lines:
            task = asyncio.ensure_future(anext(self.stream, b""))
            for _ in range(3):
                await asyncio.sleep(0)
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                return None
            chunk = task.result()
            if not chunk:
                self.ended = True
                return None
            self._lines = chunk.splitlines()
        event: Json = json.loads(self._lines.pop(0))
        return event


def talk(
    conversation: Callable[[Conversation], Awaitable[None]],
    *,
    store: Store | None = None,
    config: ServerConfig | None = None,
    credentials: Credentials | None = None,
) -> None:
    """Run the conversation with a fresh server. A bug of the server fails the test."""

    async def run() -> None:
        effects = ManualEffects()
        chosen = store or MemoryStore()
        server = await open_server(
            config or ServerConfig(), chosen, credentials=credentials, effects=effects, runs_loops=False
        )
        try:
            await conversation(Conversation(server, effects))
        finally:
            await server.close()
            await chosen.close()
        assert not effects.reported, effects.reported

    asyncio.run(run())
