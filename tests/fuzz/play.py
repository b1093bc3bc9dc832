"""Plays steps against a fresh server and judges what it answers, and now and then what it holds.

The same steps always meet the same answers: uids and random numbers are counted, the clock stands still, and the store
makes way for others at places drawn from the seed. A request that waits (for a revision, say) gets the time it wants.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

import msgspec

from seaway.api.machinery.codec import decode_body
from seaway.api.machinery.errors import ApiError
from seaway.api.machinery.http import Request, Response
from seaway.apiserver.allocation.holdings import ADDRESS_PREFIX, PORT_PREFIX, address_keys, find_holder_key, port_keys
from seaway.apiserver.handler import ApiServer
from seaway.apiserver.run import ServerConfig, open_server
from seaway.store.contract import Entry, Event, Page, Precondition, StoreError, Write
from seaway.store.memory import MemoryStore
from tests.apiserver.conversation import ManualEffects
from tests.fuzz.grammar import World
from tests.fuzz.oracle import Answer, Complaint, judge, judge_event
from tests.fuzz.steps import WHO, Advance, Break, Check, Close, Compact, Read, Send, Step, Together
from tests.fuzz.surface import Endpoint, discover
from tests.fuzz.witness import Witness, read_now

CONFIG = ServerConfig(
    service_cidrs=("10.96.0.0/16", "fd10:96::/112"),
    node_port_range=(30000, 30100),
    external_ip_cidrs=("192.0.2.0/24",),
    advertise_address="192.0.2.200",
)
BROKEN = "store: out of order"
PATIENCE_TURNS = 60
PATIENCE_SECONDS = 120
Deliver = Callable[[Sequence[Event]], None]


class RestlessStore:
    """The store in memory, as slow as a real one: others run before and after a commit, events come later."""

    def __init__(self, inner: MemoryStore, rng: random.Random) -> None:
        self._inner, self._rng = inner, rng
        self.broken_commits = 0

    @property
    def current_revision(self) -> int:
        return self._inner.current_revision

    @property
    def compacted_revision(self) -> int:
        return self._inner.compacted_revision

    async def get(self, key: str, revision: int = 0) -> Entry | None:
        await self._make_way()
        return await self._inner.get(key, revision)

    async def list(self, prefix: str, *, revision: int = 0, limit: int = 0, after: str = "") -> Page:
        await self._make_way()
        return await self._inner.list(prefix, revision=revision, limit=limit, after=after)

    async def commit(self, preconditions: Sequence[Precondition], writes: Sequence[Write]) -> tuple[int, ...]:
        await self._make_way()
        if self.broken_commits > 0:
            self.broken_commits -= 1
            raise StoreError(BROKEN)
        revisions = await self._inner.commit(preconditions, writes)
        await self._make_way()
        return revisions

    def watch(self, prefix: str, after_revision: int, deliver: Deliver) -> Callable[[], None]:
        loop = asyncio.get_running_loop()
        return self._inner.watch(prefix, after_revision, lambda events: loop.call_soon(deliver, events) and None)

    async def compact(self, revision: int) -> None:
        await self._inner.compact(revision)

    async def close(self) -> None:
        await self._inner.close()

    async def _make_way(self) -> None:
        for _ in range(self._rng.choice((0, 0, 0, 1, 2))):
            await asyncio.sleep(0)


class Player:
    """A server, and everything that is known of how it has answered."""

    def __init__(
        self,
        server: ApiServer,
        store: RestlessStore,
        effects: ManualEffects,
        endpoints: tuple[Endpoint, ...],
        *,
        tampers: bool,
    ) -> None:
        self.endpoints = endpoints
        self.world = World()
        self.counts: Counter[tuple[str, str, int]] = Counter()
        self.requests = 0
        self._server, self._store, self._effects, self._tampers = server, store, effects, tampers
        self._watches: dict[int, AsyncIterator[bytes]] = {}
        self._opened = 0
        self._main = {(e.prefix, e.plural): e for e in endpoints if not e.subresource}
        self._witnesses = [Witness(server, e) for e in self._main.values() if {"list", "watch"} <= e.verbs]

    async def start(self) -> None:
        """Begin to watch everything."""
        for witness in self._witnesses:
            await witness.start()

    async def close(self) -> None:
        """End all watches."""
        for witness in self._witnesses:
            await witness.close()

    async def play(self, step: Step) -> list[Complaint]:
        """Do it; what was wrong."""
        match step:
            case Send():
                complaints = await self._send(step)
            case Together(sends):
                complaints = await self._send_together(sends)
            case Read(number):
                complaints = await self._read(number)
            case Close(number):
                stream = self._watches.pop(number, None)
                if stream is not None:
                    self.world.open_watches.remove(number)
                    await stream.aclose()  # type: ignore[attr-defined]
                complaints = []
            case Advance(seconds):
                await self._effects.advance(seconds)
                complaints = []
            case Compact(keep):
                await self._store.compact(max(0, self._store.current_revision - keep))
                complaints = []
            case Break(commits):
                self._store.broken_commits = commits
                complaints = []
            case Check():
                complaints = await self.check()
        return complaints + self._take_reported()

    async def check(self) -> list[Complaint]:
        """Judge the whole state."""
        self._store.broken_commits = 0
        complaints: list[Complaint] = []
        for witness in self._witnesses:
            complaints += await witness.check()
        complaints += self._judge_records()
        complaints += await self._judge_store()
        return complaints

    async def _send(self, send: Send) -> list[Complaint]:
        before = self._store.current_revision if await self._settle() else None
        response, complaints = await self._finish(send)
        complaints += await self._judge(send, response, before=before)
        return complaints

    async def _settle(self) -> bool:
        """Let the server count what a new quota limits, which it does when nobody asks; whether it has."""
        quotas = self._server.state.quotas
        for _ in range(PATIENCE_TURNS):
            if not quotas.find_uncounted():
                return True
            await asyncio.sleep(0)
        return False

    async def _send_together(self, sends: Iterable[Send]) -> list[Complaint]:
        done = await asyncio.gather(*(self._finish(send) for send in sends))
        complaints: list[Complaint] = []
        for send, (response, found) in zip(sends, done, strict=True):
            complaints += found + await self._judge(send, response, before=None)
        return complaints

    async def _finish(self, send: Send) -> tuple[Response | None, list[Complaint]]:
        """The response; time moves on when it is waited for."""
        self.requests += 1
        task = asyncio.ensure_future(self._server.handle(send.request, WHO[send.who]))
        turns = seconds = 0
        while not task.done():
            await asyncio.sleep(0)
            turns += 1
            if turns > PATIENCE_TURNS:
                await self._effects.advance(1.0)
                seconds += 1
                if seconds > PATIENCE_SECONDS:
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
                    return None, [
                        Complaint("no answer", f"{send.request.method} {send.request.path} {send.request.query}")
                    ]
        error = task.exception()
        if error is not None:
            return None, [
                Complaint(
                    f"handle raised {type(error).__name__}", f"{send.request.method} {send.request.path}: {error!r}"
                )
            ]
        return task.result(), []

    async def _judge(self, send: Send, response: Response | None, *, before: int | None) -> list[Complaint]:
        """before: the revision when a request was sent alone."""
        if response is None:
            return []
        request = send.request
        if not isinstance(response.body, bytes):
            self._count(request, response.status)
            if send.who in ("nobody", "anonymous"):
                return [Complaint("watch of somebody without rights", request.path)]
            self._watches[self._opened] = response.body
            self.world.open_watches.append(self._opened)
            self._opened += 1
            return []
        answer, complaints = judge(send, response)
        self._count(request, answer.status)
        if before is not None:
            after = self._store.current_revision
            is_write = request.method in ("POST", "PUT", "PATCH", "DELETE")
            if after != before and (not is_write or _is_dry_run(request)):
                complaints.append(
                    Complaint("a read or dry run has written", f"{request.method} {request.path} {request.query}")
                )
            if after != before and answer.status >= 400 and not (request.method == "DELETE" or answer.status >= 500):
                complaints.append(
                    Complaint("a refused request has written", f"{request.method} {request.path} {answer.body[:200]!r}")
                )
        self._learn(request, answer)
        if (
            send.verifies
            and before is not None
            and send.who == "admin"
            and answer.status in (200, 201)
            and not complaints
        ):
            complaints += await self._verify(request, answer)
        return complaints

    def _count(self, request: Request, status: int) -> None:
        parts = [part for part in request.path.split("/") if part]
        endpoint = None
        for at in range(2, len(parts)):
            endpoint = self._main.get(("/" + "/".join(parts[: 2 if parts[0] == "api" else 3]), parts[at])) or endpoint
        self.counts[(request.method, endpoint.label if endpoint else "-", status)] += 1

    def _learn(self, request: Request, answer: Answer) -> None:
        value = answer.value
        if answer.status >= 300 or not isinstance(value, dict) or not isinstance(value.get("metadata"), dict):
            if isinstance(value, dict) and isinstance(value.get("metadata"), dict) and "continue" in value["metadata"]:
                self.world.tokens.append(value["metadata"]["continue"])
            return
        meta = value["metadata"]
        revision = meta.get("resourceVersion", "")
        if isinstance(revision, str) and revision.isdigit():
            self.world.revisions.append(int(revision))
        if meta.get("continue"):
            self.world.tokens.append(meta["continue"])
        if (
            answer.is_object
            and "items" not in value
            and isinstance(value.get("apiVersion"), str)
            and request.method != "DELETE"
        ):
            group, _, version = value["apiVersion"].rpartition("/")
            self.world.remember((group, version, value["kind"]), msgspec.json.encode(value))

    async def _verify(self, request: Request, answer: Answer) -> list[Complaint]:
        """A written object is what a GET shows, and putting that back changes nothing."""
        value = answer.value
        if request.method not in ("POST", "PUT", "PATCH") or not answer.is_object or _is_dry_run(request):
            return []
        parts = request.path.strip("/").split("/")
        prefix = "/" + "/".join(parts[: 2 if parts[0] == "api" else 3])
        meta = value["metadata"]
        for endpoint in self.endpoints:
            group, _, version = value.get("apiVersion", "").rpartition("/")
            if (
                endpoint.prefix == prefix
                and not endpoint.subresource
                and endpoint.kind == (group, version, value["kind"])
            ):
                break
        else:
            return []
        if "get" not in endpoint.verbs or "name" not in meta or "resourceVersion" not in meta:
            return []
        path = endpoint.path(meta.get("namespace", ""), meta["name"].replace("%", "%25"))
        where = f"{request.method} {request.path}"
        shown, complaints = await self._ask("GET", path)
        if shown is None or complaints:
            return complaints
        if shown.status == 404 and "deletionTimestamp" in meta:
            return []  # the write removed the last finalizer
        if shown.value != value:
            return [
                Complaint(
                    "GET differs from the answer of the write", f"{where}: {_find_difference(value, shown.value)}"
                )
            ]
        if "update" not in endpoint.verbs:
            return []
        again, complaints = await self._ask("PUT", path, shown.body)
        if again is not None and (again.status != 200 or again.value != shown.value):
            found = _find_difference(shown.value, again.value) if again.status == 200 else again.body[:300].decode()
            complaints.append(
                Complaint(f"PUT of what GET returned is no no-op but {again.status}", f"{where}: {found}")
            )
        return complaints

    async def _ask(self, method: str, path: str, body: bytes = b"") -> tuple[Answer | None, list[Complaint]]:
        send = Send("admin", Request(method, path, (), {}, body))
        response, complaints = await self._finish(send)
        if response is None or not isinstance(response.body, bytes):
            return None, complaints
        self._count(send.request, response.status)
        answer, found = judge(send, response)
        return answer, complaints + found

    async def _read(self, number: int) -> list[Complaint]:
        stream = self._watches.get(number)
        if stream is None:
            return []
        lines, ended = await read_now(stream)
        complaints = [
            complaint
            for line in lines
            for complaint in judge_event(line)[1]
            if not line.startswith(b'{"type":"ADDED","object":null')
        ]
        if ended:
            del self._watches[number]
            self.world.open_watches.remove(number)
        return complaints

    def _take_reported(self) -> list[Complaint]:
        """An operator is told of a broken store, too: that is no bug."""
        bugs = [error for error in self._effects.reported if BROKEN not in str(error)]
        found = [_describe_bug(error) for error in bugs]
        self._effects.reported.clear()
        return found

    def _judge_records(self) -> list[Complaint]:
        """What is held decodes to itself, without a finding."""
        complaints = []
        self.world.counts.clear()
        self.world.terminating.clear()
        for cache in self._server.state.watch_cache:
            resource = cache.resource
            label = (
                f"{resource.plural}.{resource.group}"
                if resource.plural == "events" and resource.group
                else resource.plural
            )
            self.world.counts[label] = len(cache)
            for record in cache.select():
                if resource.plural == "namespaces" and record.is_deleting:
                    self.world.terminating.append(record.body)
                try:
                    decoded = decode_body(resource, "application/json", record.body, field_validation="Strict")
                except ApiError as error:
                    complaints.append(Complaint("a stored object does not decode", f"{label} {record.key}: {error}"))
                    continue
                held = msgspec.json.decode(record.body)
                if decoded.obj != held and resource.strategy.default(decoded.obj) != held:
                    found = _find_difference(held, decoded.obj)
                    complaints.append(Complaint("a stored object decodes to another", f"{label} {record.key}: {found}"))
        return complaints

    async def _judge_store(self) -> list[Complaint]:
        """Memory is what the store holds, and what Services hold is theirs alone."""
        state, complaints = self._server.state, []
        services: dict[str, dict[str, Any]] = {}
        for cache in state.watch_cache:
            entries = (await self._store.list(cache.resource.store_prefix)).entries
            stored = {entry.key.removeprefix(cache.resource.store_prefix): entry.revision for entry in entries}
            held = {record.key: record.revision for record in cache.select()}
            if stored != held:
                complaints.append(
                    Complaint(
                        "memory differs from the store", f"{cache.resource.plural}: {stored.items() ^ held.items()}"
                    )
                )
            if cache.resource.plural == "services":
                services = {record.key: msgspec.json.decode(record.body) for record in cache.select()}
        if self._tampers:
            return complaints
        wanted: dict[str, str] = {}
        for key, service in services.items():
            for held_key in address_keys(service["spec"]) | port_keys(service["spec"]):
                if held_key in wanted:
                    complaints.append(
                        Complaint("two Services hold one number", f"{held_key}: {wanted[held_key]} and {key}")
                    )
                wanted[held_key] = key
        found: dict[str, str] = {}
        for prefix in (ADDRESS_PREFIX, PORT_PREFIX):
            for entry in (await self._store.list(prefix)).entries:
                found[entry.key] = find_holder_key(entry.key, entry.value)
        if found != wanted:
            complaints.append(
                Complaint("claims differ from what Services hold", f"{sorted(found.items() ^ wanted.items())}"[:600])
            )
        free = state.allocator.port_pool.free
        used = sum(1 for key in found if key.startswith(PORT_PREFIX))
        first, last = CONFIG.node_port_range
        if free + used != last - first + 1:
            complaints.append(
                Complaint("free and used node ports are not all", f"{free} + {used} of {last - first + 1}")
            )
        return complaints


async def open_player(seed: str, *, tampers: bool) -> tuple[Player, Callable[[], Any]]:
    """A player with a fresh server, and what closes both."""
    random.seed(f"{seed} allocator")  # the server's own choice of free numbers
    effects, loop = ManualEffects(), asyncio.get_running_loop()
    # What breaks in a callback of the loop answers nobody, so it is looked for here.
    loop.set_exception_handler(
        lambda _, context: effects.report(context.get("exception") or RuntimeError(str(context["message"])))
    )
    store = RestlessStore(MemoryStore(), random.Random(f"{seed} store"))
    server = await open_server(CONFIG, store, effects=effects, runs_loops=False)
    player = Player(server, store, effects, await discover(server), tampers=tampers)
    await player.start()

    async def close() -> None:
        await player.close()
        await server.close()
        await store.close()

    return player, close


def _is_dry_run(request: Request) -> bool:
    """A DELETE with a body has its options there alone."""
    return not (request.method == "DELETE" and request.body) and any(k == "dryRun" and v for k, v in request.query)


def _describe_bug(error: Exception) -> Complaint:
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = (
        f"{place.tb_frame.f_code.co_filename.rpartition('/seaway/')[2]}:{place.tb_lineno}" if place is not None else "?"
    )
    return Complaint(f"unexpected {type(error).__name__} at {where}", repr(error)[:300])


def _find_difference(one: Any, other: Any, path: str = "") -> str:
    """The first place where the values differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            if key not in one or key not in other:
                return f"{path}.{key}: {one.get(key, 'absent')!r} / {other.get(key, 'absent')!r}"[:400]
            if one[key] != other[key]:
                return _find_difference(one[key], other[key], f"{path}.{key}")
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (left, right) in enumerate(zip(one, other, strict=True)):
            if left != right:
                return _find_difference(left, right, f"{path}[{index}]")
    return f"{path}: {one!r} / {other!r}"[:400]
