"""The informer against a small server that speaks list and watch bytes; the queue's workers."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from seaway.api.machinery.http import Request, Response
from seaway.api.pod.types import Pod
from seaway.api.registry import PODS
from seaway.client.requests import Client, TransportError
from seaway.client.run import Change, Informer, QueueLoop, run_all
from seaway.client.workqueue import BackOff
from seaway.testing.builders import make_pod

EXPIRED = {"kind": "Status", "status": "Failure", "message": "too old", "reason": "Expired", "code": 410}


@dataclass
class ListWatchServer:
    """Serves one collection; tests change it, cut watches, or forget its history."""

    revision: int = 1
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    log: list[tuple[int, bytes]] = field(default_factory=list)
    compacted: int = 0
    is_down: bool = False
    requests: list[str] = field(default_factory=list)
    watchers: list[asyncio.Queue[bytes | None]] = field(default_factory=list)
    page_size: int = 0

    def put(self, name: str, **pod: Any) -> None:
        self.revision += 1
        kind = "MODIFIED" if name in self.objects else "ADDED"
        self.objects[name] = make_pod(name, **pod)
        self._emit(kind, self.objects[name])

    def remove(self, name: str) -> None:
        self.revision += 1
        self._emit("DELETED", self.objects.pop(name))

    def bookmark(self) -> None:
        self.revision += 1
        self._emit("BOOKMARK", {"kind": "Pod", "metadata": {}})

    def cut(self, last: bytes | None = None) -> None:
        for watcher in self.watchers:
            if last is not None:
                watcher.put_nowait(last)
            watcher.put_nowait(None)
        self.watchers.clear()

    def _emit(self, kind: str, obj: dict[str, Any]) -> None:
        obj["metadata"]["resourceVersion"] = str(self.revision)
        line = json.dumps({"type": kind, "object": obj}).encode() + b"\n"
        self.log.append((self.revision, line))
        for watcher in self.watchers:
            watcher.put_nowait(line)

    async def send(self, request: Request) -> Response:
        if self.is_down:
            raise TransportError("refused")
        query = dict(request.query)
        if "watch" in query:
            self.requests.append(f"watch {query['resourceVersion']}")
            return Response(200, (), self._watch(int(query["resourceVersion"])))
        self.requests.append(f"list {query.get('resourceVersion', '')}{query.get('continue', '')}")
        items = [self.objects[name] for name in sorted(self.objects)]
        start = int(query.get("continue", 0))
        page = items[start : start + self.page_size] if self.page_size else items
        more = self.page_size and start + self.page_size < len(items)
        meta = {"resourceVersion": str(self.revision), **({"continue": str(start + self.page_size)} if more else {})}
        return Response(200, (), json.dumps({"metadata": meta, "items": page}).encode())

    async def _watch(self, after: int) -> AsyncIterator[bytes]:
        if after < self.compacted:
            yield json.dumps({"type": "ERROR", "object": EXPIRED}).encode() + b"\n"
            return
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        for revision, line in self.log:
            if revision > after:
                queue.put_nowait(line)
        self.watchers.append(queue)
        while (line := await queue.get()) is not None:
            yield line[: len(line) // 2]  # no respect for lines
            yield line[len(line) // 2 :]

    async def close(self) -> None:
        pass


Scenario = Callable[[ListWatchServer, Informer[Pod], list[str]], Awaitable[None]]


Play = Callable[[ListWatchServer, Scenario], list[str]]


@pytest.fixture(name="play", params=[False, True], ids=["kept as they are", "packed"])
def _make_play(request: pytest.FixtureRequest) -> Play:
    return functools.partial(play_scenario, is_packed=request.param)


def play_scenario(server: ListWatchServer, scenario: Scenario, *, is_packed: bool) -> list[str]:
    """What a handler saw: `+name`, `~name`, `-name`."""
    seen: list[str] = []

    def note(change: Change[Pod]) -> None:
        sign = "-" if change.new is None else "+" if change.old is None else "~"
        seen.append(sign + change.key.removeprefix("default/"))

    async def main() -> None:
        informer = Informer(Client(server), PODS, Pod, is_packed=is_packed)
        informer.subscribe(note)
        task = asyncio.create_task(run_all(informer))
        async with asyncio.timeout(5):
            await informer.wait_synced()
            await scenario(server, informer, seen)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(main())
    return seen


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110  (the cache has no event for each change)
        await asyncio.sleep(0)


def test_events_arrive_in_order_and_are_decoded(play: Play) -> None:
    async def scenario(server: ListWatchServer, informer: Informer[Pod], seen: list[str]) -> None:
        server.put("b", ip="10.0.0.2", ready=True)
        server.remove("a")
        server.put("b")
        await until(lambda: informer.resource_version == "5")
        assert list(informer.objects) == ["default/b"]
        assert not informer.objects["default/b"].is_ready

    server = ListWatchServer()
    server.put("a")
    assert play(server, scenario) == ["+a", "+b", "-a", "~b"]
    assert server.requests == ["list 0", "watch 2"]


def test_pages_are_followed(play: Play) -> None:
    async def scenario(server: ListWatchServer, informer: Informer[Pod], seen: list[str]) -> None:
        assert len(informer.objects) == 3

    server = ListWatchServer(page_size=1)
    for name in "cab":
        server.put(name)
    assert play(server, scenario) == ["+a", "+b", "+c"]
    assert server.requests[:3] == ["list 0", "list 1", "list 2"]


def test_a_cut_watch_resumes_after_the_last_bookmark_without_a_list(play: Play) -> None:
    async def scenario(server: ListWatchServer, informer: Informer[Pod], seen: list[str]) -> None:
        await until(lambda: bool(server.watchers))
        server.bookmark()
        await until(lambda: informer.resource_version == "3")
        server.cut()
        server.put("b")
        await until(lambda: "+b" in seen)

    server = ListWatchServer()
    server.put("a")
    assert play(server, scenario) == ["+a", "+b"]
    assert server.requests == ["list 0", "watch 2", "watch 3"]


def test_a_server_that_was_away_is_found_again(play: Play) -> None:
    async def scenario(server: ListWatchServer, informer: Informer[Pod], seen: list[str]) -> None:
        await until(lambda: bool(server.watchers))
        server.is_down = True
        server.cut()
        await asyncio.sleep(0.03)
        server.put("b")
        server.is_down = False
        await until(lambda: "+b" in seen)

    assert play(ListWatchServer(), scenario) == ["+b"]


def test_after_expiry_handlers_see_only_differences(play: Play) -> None:
    async def scenario(server: ListWatchServer, informer: Informer[Pod], seen: list[str]) -> None:
        await until(lambda: bool(server.watchers))
        quiet, server.watchers = server.watchers, []  # what follows is lost to the watch
        server.put("b")
        server.remove("c")
        server.put("d")
        server.compacted = server.revision
        quiet[0].put_nowait(None)
        await until(lambda: "+d" in seen)

    server = ListWatchServer()
    for name in "abc":
        server.put(name)
    assert play(server, scenario) == ["+a", "+b", "+c", "~b", "-c", "+d"]
    assert server.requests == ["list 0", "watch 4", "watch 4", "list ", "watch 7"]


def test_a_late_subscriber_sees_what_is_there(play: Play) -> None:
    async def scenario(server: ListWatchServer, informer: Informer[Pod], seen: list[str]) -> None:
        late: list[str] = []
        leave = informer.subscribe(lambda change: late.append(change.key))
        assert late == ["default/a"]
        leave()
        server.put("b")
        await until(lambda: "+b" in seen)
        assert late == ["default/a"]

    server = ListWatchServer()
    server.put("a")
    play(server, scenario)


def test_whole_objects_are_kept_as_dicts() -> None:
    async def main() -> None:
        server = ListWatchServer()
        server.put("a")
        informer = Informer(Client(server), PODS, dict)
        task = asyncio.create_task(informer.run())
        await informer.wait_synced()
        assert informer.objects["default/a"]["spec"]["containers"][0]["name"] == "main"
        task.cancel()

    asyncio.run(main())


def test_a_queue_retries_what_failed_and_works_on_others_meanwhile() -> None:
    tried: list[str] = []

    async def sync(key: str) -> float | None:
        tried.append(key)
        if key == "bad" and tried.count("bad") < 3:
            raise TransportError("refused")
        return 0.001 if tried.count("again") == 1 and key == "again" else None

    async def main() -> None:
        queue = QueueLoop("test", sync, workers=2, back_off=BackOff(first_seconds=0.001))
        task = asyncio.create_task(queue.run())
        for key in ("bad", "good", "again"):
            queue.add(key)
        async with asyncio.timeout(5):
            await until(lambda: tried.count("bad") == 3 and tried.count("again") == 2)
        task.cancel()

    asyncio.run(main())
    assert tried.count("good") == 1


def test_a_queue_gives_up_after_its_retries() -> None:
    tried: list[str] = []

    async def sync(key: str) -> float | None:
        tried.append(key)
        raise TransportError("refused")

    async def main() -> None:
        queue = QueueLoop("test", sync, back_off=BackOff(first_seconds=0.001), max_retries=2)
        task = asyncio.create_task(queue.run())
        queue.add("bad")
        async with asyncio.timeout(5):
            await until(lambda: len(tried) == 3 and not len(queue))
        task.cancel()

    asyncio.run(main())
