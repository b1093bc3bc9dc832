"""The client's loops: informers, which keep a cache of objects fresh, and the workers of a queue."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from random import SystemRandom
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import msgspec

from seaway.api.machinery.errors import ApiError, ServiceUnavailable, TooManyRequests, error_from_status
from seaway.api.machinery.meta import object_key
from seaway.api.registry import Resource
from seaway.client import reflector
from seaway.client.index import Change, diff_objects
from seaway.client.packing import PackedObjects, PlainObjects
from seaway.client.queuefigures import QueueFigures
from seaway.client.reflector import Failure, Reflector
from seaway.client.requests import Client, TransportError
from seaway.client.workqueue import BackOff, RetryLater, WorkQueue
from seaway.telemetry.metrics import Metrics

__all__ = ["Change", "Informer", "QueueLoop", "run_all"]

log = logging.getLogger(__name__)

T = TypeVar("T")
WATCH_GRACE_SECONDS = 30.0
_jitter = SystemRandom().random  # not `random`'s own state: it is that of the program that Seaway is a part of
"""After a watch should have been closed by the server: the peer is gone without a word."""


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Bookmark(msgspec.Struct):
    metadata: dict[str, Any]


_decode_event = msgspec.json.Decoder(_Event).decode
_decode_bookmark = msgspec.json.Decoder(_Bookmark).decode


class Informer(Generic[T]):
    """A cache of one collection, kept fresh by list and watch, that tells handlers what changed.

    Objects are decoded once, as `as_type`: a Reader with `metadata`, or dict for the whole object. Handlers are called
    on the loop's thread, in order, after the cache has changed; one that raises ends `run`: it is a bug.
    page_size: how many are listed at once; 0: all. is_packed: for caches of many; what is read is made anew, so that
    only what handlers are given and what `objects` answers can be compared, not its identity.
    """

    def __init__(
        self,
        client: Client,
        resource: Resource,
        as_type: type[T],
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        page_size: int = 0,
        is_packed: bool = False,
    ) -> None:
        self._client = client
        self._resource = resource
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._decode: Callable[[msgspec.Raw], T] = msgspec.json.Decoder(as_type).decode
        self._identify = _identify_dict if as_type is dict else _identify_reader
        self._page_size = page_size
        self._objects: Any = PackedObjects[T]() if is_packed else PlainObjects[T]()
        self._page = self._objects.begin()
        self._handlers: list[Callable[[Change[T]], None]] = []
        self._synced = asyncio.Event()
        self._state = Reflector()
        self._reachable_since: float | None = None
        self.objects: Mapping[str, T] = MappingProxyType(self._objects)
        """By `namespace/name`, or `name`; a live view."""

    @property
    def name(self) -> str:
        """The plural of what it caches, for logs and health checks."""
        return self._resource.plural

    @property
    def is_synced(self) -> bool:
        """The first list has arrived and every handler has seen it."""
        return self._synced.is_set()

    @property
    def resource_version(self) -> str:
        """The revision that the cache has reached; "" before the first list."""
        return self._state.resource_version

    @property
    def reachable_since(self) -> float | None:
        """When the server began to answer after its last failure, in the loop's time; None while it does not.

        What the cache has not seen since then may have happened without it.
        """
        return self._reachable_since

    def subscribe(self, handler: Callable[[Change[T]], None]) -> Callable[[], None]:
        """Tell the handler of every change; at once of each object that is already there. Returns the way out."""
        self._handlers.append(handler)
        for key in list(self._objects):
            handler(Change(key, None, self._objects[key]))
        return lambda: self._handlers.remove(handler)

    def decode_by(self, decode: Callable[[msgspec.Raw], T]) -> None:
        """Decode each object by this: as the type, or as a subtype that keeps more. Only before `run`."""
        assert not self._state.resource_version and not self._objects
        self._decode = decode

    async def wait_synced(self) -> None:
        """Returns when `is_synced`."""
        await self._synced.wait()

    async def run(self) -> None:
        """Keep the cache fresh until cancelled. Failures are logged and retried; only a bug ends it."""
        loop = asyncio.get_running_loop()
        self._state = Reflector(is_relist=self.is_synced)
        event: reflector.Event = reflector.Started()
        while True:
            self._state, action = reflector.step(self._state, event, loop.time())
            if action is None:
                await asyncio.sleep((reflector.next_deadline(self._state) or 0.0) - loop.time())
                event = reflector.Woken(_jitter())
            else:
                event = await self._perform(action)

    async def _perform(self, action: reflector.Action) -> reflector.Event:
        """What became of the action; changes the cache on the way."""
        try:
            if isinstance(action, reflector.List):
                return await self._list(action)
            async with asyncio.timeout(action.timeout_seconds + WATCH_GRACE_SECONDS):
                await self._watch(action)
            return reflector.WatchEnded(_jitter())
        except (ApiError, TransportError, TimeoutError, msgspec.DecodeError) as error:
            failed = _classify(error)
            self._reachable_since = None
            log.log(
                logging.INFO if failed.failure is Failure.UNREACHABLE else logging.WARNING,
                "reflector resource=%s action=%s failure=%s failures=%d error=%r",
                self._resource.plural, type(action).__name__.lower(), failed.failure.value, self._state.failures, error,
            )  # fmt: skip
            return failed

    async def _list(self, action: reflector.List) -> reflector.Event:
        page = await self._client.list(
            self._resource,
            self._namespace,
            # Revision 0 would give all that is at hand in one piece, whatever the page.
            resource_version="" if self._page_size and action.resource_version == "0" else action.resource_version,
            continue_token=action.continue_token,
            limit=self._page_size,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
        )
        if not action.continue_token:
            self._page = self._objects.begin()
        for raw in page.items:
            obj = self._decode(raw)
            key, version = self._identify(obj)
            known = self._objects.get(key)
            if known is not None and self._identify(known)[1] == version:
                self._page.adopt(key, self._objects)
            else:
                self._page[key] = obj
        if not page.continue_token:
            want, self._page = self._page, self._objects.begin()
            for change in diff_objects(self._objects, want, lambda key: self._objects.has_same(key, want)):
                if change.new is None:
                    del self._objects[change.key]
                else:
                    self._objects.adopt(change.key, want)
                self._tell(change)
            self._synced.set()
        return reflector.Listed(page.resource_version, page.continue_token, _jitter())

    async def _watch(self, action: reflector.Watch) -> None:
        query = {
            "allowWatchBookmarks": "true",
            "resourceVersion": action.resource_version,
            "timeoutSeconds": str(action.timeout_seconds),
            "labelSelector": self._label_selector,
            "fieldSelector": self._field_selector,
        }
        given = [(name, value) for name, value in query.items() if value]
        body = await self._client.watch(self._resource, self._namespace, query=given)
        if self._reachable_since is None:
            self._reachable_since = asyncio.get_running_loop().time()
        rest = b""
        try:
            async for chunk in body:
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line:
                        self._take_line(line)
        finally:
            await _close(body)

    def _take_line(self, line: bytes) -> None:
        event = _decode_event(line)
        if event.type == "ERROR":
            status = msgspec.json.decode(event.object)
            raise error_from_status(status.get("code", 500), status)
        if event.type == "BOOKMARK":
            version = str(_decode_bookmark(event.object).metadata.get("resourceVersion", ""))
        else:
            obj = self._decode(event.object)
            key, version = self._identify(obj)
            old = self._objects.get(key)
            if event.type != "DELETED":
                self._objects[key] = obj
                self._tell(Change(key, old, obj))
            elif old is not None:
                del self._objects[key]
                self._tell(Change(key, old, None))
        now = asyncio.get_running_loop().time()
        self._state, _ = reflector.step(self._state, reflector.Progressed(version), now)

    def _tell(self, change: Change[T]) -> None:
        for handler in tuple(self._handlers):
            handler(change)


async def run_all(*informers: Informer[Any]) -> None:
    """Run several informers until cancelled; a bug in one ends all."""
    async with asyncio.TaskGroup() as group:
        for informer in informers:
            group.create_task(informer.run())


class QueueLoop:
    """Workers that reconcile keys. `sync` returns the seconds after which the key is due again, or None.

    A sync that raises is logged and tried again after the key's back-off, at most `max_retries` times in a row.
    """

    def __init__(
        self,
        name: str,
        sync: Callable[[str], Awaitable[float | None]],
        *,
        workers: int = 5,
        back_off: BackOff | None = None,
        max_retries: int | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self.name = name
        self._sync = sync
        self._workers = workers
        self._max_retries = max_retries
        self._queue = WorkQueue(back_off)
        self._idle: set[asyncio.Future[None]] = set()
        self._figures = QueueFigures(metrics or Metrics(), name, depth=lambda: self._queue.depth, clock=_now)

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, key: str) -> None:
        """The key is due now."""
        self._queue.add(key)
        self._figures.added(key, _now())
        self._wake()

    def add_after(self, key: str, delay_seconds: float) -> None:
        """The key is due after the delay, or sooner if it already was to be."""
        self._queue.add_after(key, delay_seconds, asyncio.get_running_loop().time())
        self._wake()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._workers):
                group.create_task(self._work())

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            key = self._queue.take(loop.time())
            if key is None:
                await self._sleep()
                continue
            self._wake()
            self._figures.taken(key, loop.time())
            try:
                self._schedule(key, await self._sync(key))
            except (ApiError, TransportError, RetryLater) as error:
                self._retry(key, error)
            except Exception as error:  # a bug in one key must not stop the others
                log.exception("sync loop=%s key=%s", self.name, key)
                self._retry(key, error)
            finally:
                self._queue.done(key)
                self._figures.done(key, loop.time())
                self._wake()

    def _schedule(self, key: str, again_after_seconds: float | None) -> None:
        self._queue.forget(key)
        if again_after_seconds is not None:
            self._queue.add_after(key, again_after_seconds, asyncio.get_running_loop().time())

    def _retry(self, key: str, error: Exception) -> None:
        failures = self._queue.failures(key)
        if self._max_retries is not None and failures >= self._max_retries:
            self._queue.forget(key)
            log.error("sync loop=%s key=%s failures=%d given_up error=%r", self.name, key, failures, error)
            return
        delay = self._queue.add_failed(key, asyncio.get_running_loop().time())
        self._figures.retries.inc(self.name)
        log.warning("sync loop=%s key=%s failures=%d retry_seconds=%.3f error=%r",
                    self.name, key, failures + 1, delay, error)  # fmt: skip

    async def _sleep(self) -> None:
        loop = asyncio.get_running_loop()
        wakeup = loop.create_future()
        deadline = self._queue.next_deadline()
        timer = loop.call_at(deadline, _resolve, wakeup) if deadline is not None else None
        self._idle.add(wakeup)
        try:
            await wakeup
        finally:
            self._idle.discard(wakeup)
            if timer is not None:
                timer.cancel()

    def _wake(self) -> None:
        """One idle worker looks at the queue again: there is a key for it, or a nearer deadline."""
        if self._idle and len(self._queue):
            _resolve(self._idle.pop())


def _now() -> float:
    """The loop's time; before it runs, when queues are filled but nobody works, no time passes."""
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return 0.0


def _resolve(wakeup: asyncio.Future[None]) -> None:
    if not wakeup.done():
        wakeup.set_result(None)


def _classify(error: Exception) -> reflector.Failed:
    jitter = _jitter()
    if isinstance(error, ApiError) and error.status_code == 410:
        return reflector.Failed(Failure.EXPIRED, jitter)
    if isinstance(error, TooManyRequests):
        return reflector.Failed(Failure.THROTTLED, jitter, error.retry_after_seconds)
    if isinstance(error, TransportError | TimeoutError | ServiceUnavailable):
        return reflector.Failed(Failure.UNREACHABLE, jitter)
    return reflector.Failed(Failure.REFUSED, jitter)


def _identify_reader(obj: Any) -> tuple[str, str]:
    return object_key(obj.metadata), obj.metadata.resource_version


def _identify_dict(obj: Any) -> tuple[str, str]:
    meta = obj["metadata"]
    namespace = meta.get("namespace")
    return f"{namespace}/{meta['name']}" if namespace else meta["name"], meta["resourceVersion"]


async def _close(body: AsyncIterator[bytes]) -> None:
    """Ends a stream at once, rather than whenever the collector finds it."""
    aclose = getattr(body, "aclose", None)
    if aclose is not None:
        await aclose()
