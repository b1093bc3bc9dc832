"""One watch: the lines that its client still has to read, and what makes it end.

The stream subscribes when it is made, so nothing is lost between the answer's header and the first read. It never
skips an event: a reader that is too slow is cut off and comes back with its last resourceVersion.
Rule: spec "api-machinery" §7.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain

from seaway.api.machinery.errors import ApiError, Expired, InternalError
from seaway.apiserver.effects import Cancellable, Effects, Wakeup, resolve
from seaway.apiserver.observability.metrics import WatchCell
from seaway.apiserver.options import ListOptions
from seaway.apiserver.reading.lists import Matcher
from seaway.apiserver.reading.render import EventEncoder
from seaway.apiserver.reading.watchcache import ADDED, DELETED, MODIFIED, Change, ResourceCache, encode_event
from seaway.apiserver.record import encode_object
from seaway.apiserver.state import ServerState

BOOKMARK_SECONDS = 60.0
BOOKMARK_BEFORE_END_SECONDS = 2.0
DEFAULT_TIMEOUT_SECONDS = 1800.0
"""Times [1, 2): upstream spreads the ends of watches over half an hour."""
MAX_PENDING_EVENTS = 10_000
MAX_PENDING_BYTES = 16 << 20
"""Of one watch that its reader has not taken. The state at its start does not count: that is encoded as it is read."""
MAX_CHUNK_BYTES = 256 << 10


class WatchStream:
    """An asynchronous iterator of chunks of whole lines."""

    def __init__(self, effects: Effects, *, namespace: str = "") -> None:
        self.namespace = namespace
        self._effects = effects
        self._pending: deque[bytes] = deque()
        self._wakeup: Wakeup | None = None
        self._is_ended = False
        self._timers: list[Cancellable] = []
        self._cache: ResourceCache | None = None
        self._state: ServerState | None = None
        self._matches: Matcher | None = None
        self._encoder: EventEncoder | None = None
        self._after = 0
        self._initial: Iterator[bytes] | None = None
        self._pending_bytes = 0
        self._cell: WatchCell | None = None
        self._on_end: Callable[[], None] | None = None

    def start(
        self,
        state: ServerState,
        cache: ResourceCache,
        encoder: EventEncoder,
        matches: Matcher | None,
        options: ListOptions,
    ) -> None:
        """Queue what the client must see first, and subscribe to the rest."""
        self._state, self._cache, self._encoder, self._matches = state, cache, encoder, matches
        self._cell = state.metrics.watch_cell(cache.resource)
        revision = options.revision or 0
        has_initial = options.send_initial or (options.send_initial is None and not revision)
        if has_initial:
            self._initial = self._make_initial(state.watch_cache.revision, options)
        elif revision:
            if revision < cache.horizon:
                self.fail(Expired(f"too old resource version: {revision} ({cache.horizon})"))
                return
            for change in cache.changes_after(revision):
                self.offer(change)
            self._after = revision
        cache.add_watcher(self)
        state.streams.add(self)
        self._start_timers(options)
        if state.ends_streams:
            self.end()

    def offer(self, change: Change) -> None:
        """Queue the change as this watch sees it: objects enter and leave its selection."""
        if change.revision <= self._after or self._is_ended:
            return
        matches, record, previous = self._matches, change.record, change.previous
        is_now = record is not None and (matches is None or matches(record))
        was = previous is not None and (matches is None or matches(previous))
        if self.namespace:
            subject = change.subject
            if subject.namespace != self.namespace:
                return
        if is_now:
            event_type = MODIFIED if was else ADDED
        elif was:
            event_type = DELETED
        else:
            return
        assert self._encoder is not None
        try:
            line = self._encoder.encode_change(event_type, change)
        except Exception as error:  # a printer that fails ends this watch, and not the delivery to all
            self._effects.report(error)
            self.fail(InternalError(f"Internal error occurred: {error!r}"))
            return
        self._push(line)
        if len(self._pending) > MAX_PENDING_EVENTS or self._pending_bytes > MAX_PENDING_BYTES:
            self._give_up()

    def fail(self, error: ApiError) -> None:
        """Queue the error and end: after the header, that is how a watch tells of one."""
        self._push(encode_event(b"ERROR", encode_object(error.to_status())))
        self.end()

    def end(self) -> None:
        """No more events; the reader gets what is queued. Safe to repeat."""
        if self._is_ended:
            return
        self._is_ended = True
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        if self._cache is not None:
            self._cache.remove_watcher(self)
        if self._state is not None:
            self._state.streams.discard(self)
        self._wake()
        if self._on_end is not None:
            self._on_end()

    def when_ended(self, callback: Callable[[], None]) -> None:
        """Call it once, when the watch ends; at once if it has."""
        if self._is_ended:
            callback()
        else:
            self._on_end = callback

    async def aclose(self) -> None:
        """The reader has gone."""
        self._forget()
        self.end()

    def __aiter__(self) -> WatchStream:
        return self

    async def __anext__(self) -> bytes:
        while not self._pending and self._initial is None:
            if self._is_ended:
                raise StopAsyncIteration
            self._wakeup = self._effects.new_wakeup()
            await self._wakeup
        chunk = self._take()
        # An empty state without a bookmark is no line at all: an empty chunk would end the answer.
        return chunk or await self.__anext__()

    def _take(self) -> bytes:
        """The next lines, about as many as go out at once; first the state at the start."""
        chunk: list[bytes] = []
        size = 0
        if self._initial is not None:
            for line in self._initial:
                chunk.append(line)
                size += len(line)
                if size >= MAX_CHUNK_BYTES:
                    break
            else:
                self._initial = None
        pending, cell = self._pending, self._cell
        while pending and size < MAX_CHUNK_BYTES:
            line = pending.popleft()
            chunk.append(line)
            size += len(line)
            self._pending_bytes -= len(line)
        if cell is not None:
            for line in chunk:
                cell.events.observe(len(line))
        return chunk[0] if len(chunk) == 1 else b"".join(chunk)

    def _make_initial(self, revision: int, options: ListOptions) -> Iterator[bytes]:
        """The lines of the state as it is now; encoded when they are taken: waiting for a reader costs little."""
        assert self._cache is not None and self._encoder is not None and self._cell is not None
        matches, encoder, cell = self._matches, self._encoder, self._cell
        records = tuple(record for record in self._cache.select(self.namespace) if matches is None or matches(record))
        cell.initial += len(records)
        lines: Iterator[bytes] = map(encoder.encode_added, records)
        if encoder.is_ordered:
            lines = iter(list(lines))
        if not options.allow_bookmarks:
            return lines
        bookmark = encoder.encode_bookmark(revision, is_initial_end=True)
        return chain(lines, self._end_initial(bookmark, self._effects.monotonic()))

    def _end_initial(self, bookmark: bytes, begun: float) -> Iterator[bytes]:
        yield bookmark
        if self._cell is not None:
            self._cell.end_list("namespace" if self.namespace else "cluster", self._effects.monotonic() - begun)

    def _give_up(self) -> None:
        """The reader cannot keep up. What it has not got it asks for again; but a state is not left half told."""
        assert self._cell is not None
        self._cell.terminated += 1
        if self._initial is None:
            self._forget()
        self.end()

    def _forget(self) -> None:
        self._initial = None
        self._pending.clear()
        self._pending_bytes = 0

    def _start_timers(self, options: ListOptions) -> None:
        effects = self._effects
        timeout = float(options.timeout_seconds) or DEFAULT_TIMEOUT_SECONDS * (1 + effects.random())
        self._timers.append(effects.call_later(timeout, self.end))
        if options.allow_bookmarks:
            last = timeout - BOOKMARK_BEFORE_END_SECONDS
            if last > 0:
                self._timers.append(effects.call_later(last, self._push_bookmark))
            self._timers.append(effects.call_later(BOOKMARK_SECONDS, self._push_regular_bookmark))

    def _push_regular_bookmark(self) -> None:
        self._push_bookmark()
        self._timers[-1] = self._effects.call_later(BOOKMARK_SECONDS, self._push_regular_bookmark)

    def _push_bookmark(self) -> None:
        assert self._state is not None and self._encoder is not None
        revision = self._state.watch_cache.revision
        if revision >= self._after and not self._is_ended:
            self._push(self._encoder.encode_bookmark(revision))

    def _push(self, line: bytes) -> None:
        self._pending.append(line)
        self._pending_bytes += len(line)
        self._wake()

    def _wake(self) -> None:
        if self._wakeup is not None:
            resolve(self._wakeup)
