"""The store in memory: the oracle that the others are compared with, and the store of tests.

Obvious rather than clever: a list of versions per key, a list of all events, and a search for every read.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from seaway.store.contract import (
    Compacted,
    Entry,
    Event,
    FutureRevision,
    Page,
    Precondition,
    PreconditionFailed,
    StoreError,
    Write,
)
from seaway.store.history import FIRST_REVISION, check_commit, check_read

Deliver = Callable[[Sequence[Event]], None]


@dataclass(frozen=True, slots=True)
class _Version:
    revision: int
    create_revision: int
    value: bytes | None


class MemoryStore:
    """A `Store` that ends with its process. Watchers are called inside `commit`, before it returns."""

    def __init__(self) -> None:
        self._revision = FIRST_REVISION
        self._compacted = 0
        self._versions: dict[str, list[_Version]] = {}
        self._events: list[Event] = []
        self._watchers: dict[int, tuple[str, int, Deliver]] = {}
        self._next_watcher = 0
        self._closed = False

    @property
    def current_revision(self) -> int:
        return self._revision

    @property
    def compacted_revision(self) -> int:
        return self._compacted

    async def get(self, key: str, revision: int = 0) -> Entry | None:
        return self._find_entry(key, self._check_read(revision))

    async def list(self, prefix: str, *, revision: int = 0, limit: int = 0, after: str = "") -> Page:
        at = self._check_read(revision)
        entries: list[Entry] = []
        for key in sorted(key for key in self._versions if key.startswith(prefix) and key > after):
            entry = self._find_entry(key, at)
            if entry is not None and limit and len(entries) == limit:
                return Page(tuple(entries), at, more=True)
            if entry is not None:
                entries.append(entry)
        return Page(tuple(entries), at)

    async def commit(self, preconditions: Sequence[Precondition], writes: Sequence[Write]) -> tuple[int, ...]:
        self._check_open()
        check_commit(preconditions, writes)
        for precondition in preconditions:
            existing = self._find_entry(precondition.key, self._revision)
            current = existing.revision if existing else 0
            if current != precondition.revision:
                raise PreconditionFailed(precondition.key, current)
        for write in writes:
            if write.value is None and self._find_entry(write.key, self._revision) is None:
                raise ValueError(f"{write.key}: absent, cannot be deleted")
        events = [self._write(write) for write in writes]
        self._events.extend(events)
        self._publish(events)
        return tuple(event.revision for event in events)

    def watch(self, prefix: str, after_revision: int, deliver: Deliver) -> Callable[[], None]:
        self._check_open()
        if after_revision < self._compacted:
            raise Compacted(after_revision, self._compacted)
        first = bisect_right(self._events, after_revision, key=lambda event: event.revision)
        past = [event for event in self._events[first:] if event.key.startswith(prefix)]
        identifier = self._next_watcher = self._next_watcher + 1
        self._watchers[identifier] = (prefix, after_revision, deliver)
        if past:
            deliver(past)

        def end() -> None:
            self._watchers.pop(identifier, None)

        return end

    async def compact(self, revision: int) -> None:
        self._check_open()
        if revision > self._revision:
            raise FutureRevision(revision, self._revision)
        self._compacted = max(self._compacted, revision)
        self._events = [event for event in self._events if event.revision > self._compacted]
        for key, versions in list(self._versions.items()):
            visible = bisect_right(versions, self._compacted, key=lambda version: version.revision)
            kept = versions[max(0, visible - 1) :]
            if kept[0].value is None and kept[0].revision <= self._compacted:
                kept = kept[1:]
            if kept:
                self._versions[key] = kept
            else:
                del self._versions[key]

    async def close(self) -> None:
        self._closed = True
        self._watchers.clear()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("store: closed")

    def _check_read(self, revision: int) -> int:
        self._check_open()
        return check_read(revision, current=self._revision, compacted=self._compacted)

    def _find_entry(self, key: str, revision: int) -> Entry | None:
        versions = self._versions.get(key, [])
        visible = bisect_right(versions, revision, key=lambda version: version.revision)
        if not visible:
            return None
        found = versions[visible - 1]
        if found.value is None:
            return None
        return Entry(key, found.value, found.revision, found.create_revision)

    def _write(self, write: Write) -> Event:
        before = self._find_entry(write.key, self._revision)
        self._revision += 1
        created = before.create_revision if before else self._revision
        self._versions.setdefault(write.key, []).append(_Version(self._revision, created, write.value))
        return Event(write.key, self._revision, write.value, before.value if before else None)

    def _publish(self, events: Sequence[Event]) -> None:
        for identifier, (prefix, after_revision, deliver) in list(self._watchers.items()):
            wanted = [event for event in events if event.revision > after_revision and event.key.startswith(prefix)]
            if wanted and identifier in self._watchers:
                deliver(wanted)
