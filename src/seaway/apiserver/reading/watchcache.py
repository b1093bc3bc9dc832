"""The server's memory of the store: every object of every kind, and the last changes of each kind.

The store's one watch over `/registry/` feeds `WatchCache.observe`, in revision order. All reads are answered from
here. Invariants:
1. `WatchCache.revision` is the last revision delivered; every record and every watcher has seen all up to it.
2. A `ResourceCache` can tell all changes after its `horizon`; a watch from an older revision is refused (410).
3. A change is encoded once per event type and shared by all watchers of the moment; those who resume later share, too.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import msgspec

from seaway.api.registry import RESOURCES, Resource
from seaway.apiserver.effects import Effects, Wakeup, resolve
from seaway.apiserver.record import Record, make_record, replace_revision
from seaway.store.contract import Entry, Event

ADDED, MODIFIED, DELETED = b"ADDED", b"MODIFIED", b"DELETED"

# A watcher resumes after seconds, not hours; upstream keeps 100 to 102,400 events per kind.
MAX_CHANGES = 20_000
MAX_CHANGE_BYTES = 16 << 20
CHANGE_BYTES = 800
"""What a change with its record takes in memory beside the body."""


class Change(msgspec.Struct, gc=False):
    """One write of one object: `record` is None for a delete, `previous` for a creation.

    Not seen by the garbage collector, which would otherwise walk the whole history: no Change can be in a circle.
    """

    revision: int
    record: Record | None
    previous: Record | None
    _lines: dict[bytes, bytes] | None = None
    _deleted_body: bytes | None = None

    @property
    def subject(self) -> Record:
        """The record that says which object it was."""
        found = self.record or self.previous
        assert found is not None
        return found

    @property
    def size(self) -> int:
        """What remembering it costs in memory."""
        return CHANGE_BYTES + len(self.subject.body)

    def body(self, event_type: bytes) -> bytes:
        """The object of the event: for DELETED its last state at the revision that ended it."""
        if event_type is not DELETED:
            assert self.record is not None
            return self.record.body
        if self._deleted_body is None:
            assert self.previous is not None
            self._deleted_body = replace_revision(self.previous.body, self.revision)
        return self._deleted_body

    def line(self, event_type: bytes) -> bytes:
        """The watch event on the wire, encoded once."""
        line = self._lines.get(event_type) if self._lines is not None else None
        return line or self.shared_line(event_type, lambda: encode_event(event_type, self.body(event_type)))

    def shared_line(self, key: bytes, make: Callable[[], bytes]) -> bytes:
        """The event in another form, made once per form."""
        lines = self._lines
        if lines is None:
            lines = self._lines = {}
        line = lines.get(key)
        if line is None:
            line = lines[key] = make()
        return line

    def forget_lines(self) -> None:
        """Everybody has them who will want them soon: history need not hold each object twice."""
        self._lines = None


def encode_event(event_type: bytes, body: bytes) -> bytes:
    """One line of a watch."""
    return b'{"type":"%b","object":%b}\n' % (event_type, body)


class Watcher(Protocol):
    """Told of every change of its namespace (empty: of all), in order."""

    namespace: str

    def offer(self, change: Change) -> None:
        """Take the change if it matches. Never waits, never raises."""


class ResourceCache:
    """All objects of one kind, in key order, and the changes that led here."""

    def __init__(self, resource: Resource, revision: int, primary_family: str = "IPv4") -> None:
        self.resource = resource
        self._primary_family = primary_family
        self.horizon = revision
        self.changed_at = revision
        self._records: dict[str, Record] = {}
        self._keys: list[str] = []
        self._changes: deque[Change] = deque()
        self._change_bytes = 0
        self.received = self.dispatched = 0
        """Changes taken from the store, and those of them that a watcher was told. For metrics."""
        self._watchers: dict[str, dict[Watcher, None]] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, namespace: str, name: str) -> Record | None:
        """The record, or None."""
        return self._records.get(f"{namespace}/{name}" if self.resource.namespaced else name)

    def select(self, namespace: str = "", *, after: str = "") -> Iterator[Record]:
        """The records of the namespace (empty: all) with keys above `after`, in key order."""
        start, stop = 0, len(self._keys)
        if namespace:
            start = bisect_left(self._keys, f"{namespace}/")
            stop = bisect_left(self._keys, f"{namespace}0", lo=start)
        if after:
            start = max(start, bisect_left(self._keys, after + "\0"))
        records = self._records
        return (records[key] for key in self._keys[start:stop])

    def count(self, namespace: str) -> int:
        """How many records the namespace has."""
        start = bisect_left(self._keys, f"{namespace}/")
        return bisect_left(self._keys, f"{namespace}0", lo=start) - start

    def load(self, entries: Iterable[Entry]) -> None:
        """Take the state at the start; entries in key order."""
        skip = len(self.resource.store_prefix)
        for entry in entries:
            key = entry.key[skip:]
            self._records[key] = self._make(key, entry.value, entry.revision)
            self._keys.append(key)

    def remember(self, event: Event) -> None:
        """Add a past change to the history alone: the state already holds its effect."""
        key = event.key[len(self.resource.store_prefix) :]
        record, previous = self._records.get(key), None
        if event.value is None:
            record = None
        elif record is None or record.revision != event.revision:
            record = self._make(key, event.value, event.revision)
        if event.previous is not None:
            previous = self._make(key, event.previous, event.revision)
        self._keep(Change(event.revision, record, previous))

    def apply(self, event: Event) -> Change:
        """Take one live change and tell the watchers."""
        key = event.key[len(self.resource.store_prefix) :]
        previous = self._records.get(key)
        record = None
        if event.value is None:
            if previous is not None:
                del self._records[key]
                del self._keys[bisect_left(self._keys, key)]
        else:
            record = self._records[key] = self._make(key, event.value, event.revision)
            if previous is None:
                insort(self._keys, key)
        change = Change(event.revision, record, previous)
        self.received += 1
        if record is None and previous is None:
            return change
        self.changed_at = event.revision
        self._keep(change)
        self.dispatched += bool(self._watchers)
        namespace = change.subject.namespace
        for group in ("", namespace) if namespace else ("",):
            watchers = self._watchers.get(group)
            if watchers:
                for watcher in tuple(watchers):
                    watcher.offer(change)
        change.forget_lines()
        return change

    def changes_after(self, revision: int) -> list[Change]:
        """All changes with a higher revision, oldest first. The caller has compared with `horizon`."""
        newer: list[Change] = []
        for change in reversed(self._changes):
            if change.revision <= revision:
                break
            newer.append(change)
        return newer[::-1]

    def add_watcher(self, watcher: Watcher) -> None:
        """Tell it every change from now on, until it is removed."""
        self._watchers.setdefault(watcher.namespace, {})[watcher] = None

    def remove_watcher(self, watcher: Watcher) -> None:
        """Safe to repeat."""
        group = self._watchers.get(watcher.namespace, {})
        group.pop(watcher, None)
        if not group:
            self._watchers.pop(watcher.namespace, None)

    @property
    def watcher_count(self) -> int:
        return sum(map(len, self._watchers.values()))

    def _make(self, key: str, value: bytes, revision: int) -> Record:
        return make_record(self.resource, key, value, revision, self._primary_family)

    def _keep(self, change: Change) -> None:
        self._changes.append(change)
        self._change_bytes += change.size
        while len(self._changes) > MAX_CHANGES or self._change_bytes > MAX_CHANGE_BYTES:
            oldest = self._changes.popleft()
            self._change_bytes -= oldest.size
            self.horizon = oldest.revision


class WatchCache:
    """All kinds, at one revision."""

    def __init__(
        self, effects: Effects, resources: Sequence[Resource] = RESOURCES, *, primary_family: str = "IPv4"
    ) -> None:
        self.revision = 0
        self._effects = effects
        self._by_resource = {
            resource.store_prefix: ResourceCache(resource, 0, primary_family)
            for resource in resources
            if resource.stored_as is None
        }
        self._listeners: list[Callable[[Event], None]] = []
        self._waiters: list[tuple[int, Wakeup]] = []

    def cache(self, resource: Resource) -> ResourceCache:
        """The objects of the kind."""
        return self._by_resource[resource.store_prefix]

    def __iter__(self) -> Iterator[ResourceCache]:
        return iter(self._by_resource.values())

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Call it with every event of every key, before anybody can read its effect."""
        self._listeners.append(listener)

    def load(self, resource: Resource, entries: Iterable[Entry], revision: int, horizon: int) -> None:
        """Take the state of one kind at the start; changes after `horizon` will be remembered or applied."""
        cache = self._by_resource[resource.store_prefix]
        cache.load(entries)
        cache.horizon = horizon
        cache.changed_at = revision
        self.revision = max(self.revision, revision)

    def observe(self, events: Sequence[Event]) -> None:
        """Take what the store's watch delivers. Events up to the loaded revision only fill the history."""
        loaded = self.revision
        for event in events:
            cache = self._by_resource.get(_prefix_of(event.key))
            if event.revision <= loaded:
                if cache is not None:
                    cache.remember(event)
                continue
            for listener in self._listeners:
                listener(event)
            if cache is not None:
                cache.apply(event)
            self.revision = event.revision
        if self._waiters and self.revision > loaded:
            self._wake()

    async def wait_for(self, revision: int, timeout_seconds: float) -> bool:
        """True as soon as everything up to the revision was observed, False when that takes too long."""
        if self.revision >= revision:
            return True
        wakeup = self._effects.new_wakeup()
        waiter = (revision, wakeup)
        self._waiters.append(waiter)
        timer = self._effects.call_later(timeout_seconds, lambda: resolve(wakeup))
        try:
            await wakeup
        finally:
            timer.cancel()
            if waiter in self._waiters:
                self._waiters.remove(waiter)
        return self.revision >= revision

    def _wake(self) -> None:
        reached = [waiter for waiter in self._waiters if waiter[0] <= self.revision]
        for waiter in reached:
            self._waiters.remove(waiter)
            resolve(waiter[1])


def _prefix_of(key: str) -> str:
    """`/registry/core/services/` of `/registry/core/services/default/web`."""
    at = key.find("/", 10)
    return key[: key.find("/", at + 1) + 1]
