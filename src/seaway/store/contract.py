"""What a store promises. Memory, SQLite and etcd keep the same promises and pass one conformance suite.

1. Revisions are one strictly growing integer over all keys, and never go backwards, across restarts too. A delete
   consumes one. The first write of an empty store has revision 2 or later, so that 1 is never an object's.
2. A commit is all or nothing: every precondition holds at the moment of the writes, or nothing is written.
3. A commit is acknowledged only after it is on disk; whoever watches sees it only then.
4. A watcher gets every event after its revision once, in revision order, without gaps; events of one commit together.
5. Reads of a past revision work back to `compacted_revision`; older ones raise `Compacted`.

Values are opaque bytes. Keys are text; lists are in bytewise order of the UTF-8 key.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from seaway.net.errors import OperationalError


class StoreError(OperationalError):
    """The store cannot do its work: full disk, unreadable file, another process holds it."""


@dataclass
class Compacted(StoreError):
    """The asked revision is older than history. `compacted_revision` is the oldest that can be read."""

    revision: int
    compacted_revision: int


@dataclass
class FutureRevision(StoreError):
    """The asked revision is not there yet."""

    revision: int
    current_revision: int


@dataclass
class PreconditionFailed(StoreError):
    """The first precondition that did not hold, and the key's revision now (0: absent)."""

    key: str
    current_revision: int


class Precondition(msgspec.Struct, frozen=True, gc=False):
    """The key's last write has exactly this revision; 0 means that the key is absent."""

    key: str
    revision: int


class Write(msgspec.Struct, frozen=True, gc=False):
    """Put the value, or delete the key when `value` is None. Deleting an absent key is an error of the caller."""

    key: str
    value: bytes | None


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One key at one revision."""

    key: str
    value: bytes
    revision: int
    create_revision: int


class Event(msgspec.Struct, frozen=True, gc=False):
    """One write. `value` is None for a delete; `previous` is what was there before, None for a creation."""

    key: str
    revision: int
    value: bytes | None
    previous: bytes | None


@dataclass(frozen=True, slots=True)
class Page:
    """A list at one revision. `more`: keys after the last entry exist under the prefix."""

    entries: tuple[Entry, ...]
    revision: int
    more: bool = False


class Store(Protocol):
    """All methods may be called from one event loop; callbacks come on that loop's thread."""

    @property
    def current_revision(self) -> int:
        """The last acknowledged revision."""

    @property
    def compacted_revision(self) -> int:
        """The oldest revision that can still be read or watched from."""

    async def get(self, key: str, revision: int = 0) -> Entry | None:
        """The entry at the revision (0: now), or None."""

    async def list(self, prefix: str, *, revision: int = 0, limit: int = 0, after: str = "") -> Page:
        """The entries under the prefix at the revision (0: now), those with keys above `after`, at most `limit`."""

    async def commit(self, preconditions: Sequence[Precondition], writes: Sequence[Write]) -> tuple[int, ...]:
        """The revision of each write, in order. Raises PreconditionFailed. A key occurs once in `writes`."""

    def watch(self, prefix: str, after_revision: int, deliver: Callable[[Sequence[Event]], None]) -> Callable[[], None]:
        """Deliver all events under the prefix with a higher revision, first the past ones, then live ones.

        Past events may be delivered before this returns. Returns the function that ends the watch (safe to repeat).
        Raises Compacted.
        """

    async def compact(self, revision: int) -> None:
        """Forget history below the revision, in small steps that never hold up a writer for more than 50 ms."""

    async def close(self) -> None:
        """Finish acknowledged work and release the file. Safe to repeat."""
