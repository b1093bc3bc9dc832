"""SQLite against the oracle on random histories: the same answers, the same errors, the same events."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seaway.store.contract import Event, Precondition, Store, StoreError, Write
from seaway.store.memory import MemoryStore
from seaway.store.sqlite import open_sqlite

KEYS = ("/a", "/a/b", "/a/c", "/ab", "/ä", "/b")


@dataclass(frozen=True)
class Commit:
    """`preconditions`: per key, the revisions counted back from the current one; None means absent."""

    preconditions: tuple[tuple[str, int | None], ...]
    writes: tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True)
class Burst:
    """Commits that are under way at the same time."""

    commits: tuple[Commit, ...]


@dataclass(frozen=True)
class Compact:
    back: int


@dataclass(frozen=True)
class Read:
    prefix: str
    back: int
    limit: int
    after: str


@dataclass(frozen=True)
class Watch:
    prefix: str
    back: int


@dataclass(frozen=True)
class Reopen:
    pass


Step = Burst | Compact | Read | Watch | Reopen

key = st.sampled_from(KEYS)
prefix = st.sampled_from(("", "/", "/a", "/a/", "/b", "/ä"))
commit = st.builds(
    Commit,
    st.lists(st.tuples(key, st.none() | st.integers(0, 4)), max_size=2).map(tuple),
    st.lists(st.tuples(key, st.none() | st.binary(max_size=3)), max_size=3).map(tuple),
)
step = st.one_of(
    st.builds(Burst, st.lists(commit, min_size=1, max_size=4).map(tuple)),
    st.builds(Compact, st.integers(-1, 12)),
    st.builds(Read, prefix, st.integers(-1, 12), st.integers(0, 3), st.sampled_from(("", *KEYS))),
    st.builds(Watch, prefix, st.integers(0, 12)),
    st.just(Reopen()),
)


class Subject:
    """One store and all that was seen of it."""

    def __init__(self, store: Store, path: Path | None) -> None:
        self.store = store
        self.path = path
        self.watched: list[list[Event]] = []

    async def perform(self, step: Step) -> object:
        try:
            return await self._perform(step)
        except (StoreError, ValueError) as error:
            return (type(error), vars(error) or str(error))

    async def _perform(self, step: Step) -> object:
        now = self.store.current_revision
        if isinstance(step, Burst):
            outcomes = await asyncio.gather(*(self._commit(c, now) for c in step.commits), return_exceptions=True)
            return [(type(o), vars(o)) if isinstance(o, BaseException) else o for o in outcomes]
        if isinstance(step, Compact):
            return await self.store.compact(max(0, now - step.back))
        if isinstance(step, Read):
            page = await self.store.list(
                step.prefix, revision=max(0, now - step.back), limit=step.limit, after=step.after
            )
            return page, [await self.store.get(entry.key, page.revision) for entry in page.entries]
        if isinstance(step, Watch):
            seen: list[Event] = []
            self.store.watch(step.prefix, now - step.back, seen.extend)
            self.watched.append(seen)
            return list(seen)
        if self.path is not None:
            await self.store.close()
            self.store = await open_sqlite(self.path)
            assert self.store.current_revision == now
        self.watched = []
        return None

    async def _commit(self, commit: Commit, now: int) -> tuple[int, ...]:
        preconditions = [Precondition(k, 0 if back is None else max(0, now - back)) for k, back in commit.preconditions]
        return await self.store.commit(preconditions, [Write(k, value) for k, value in commit.writes])


async def compare(steps: list[Step], folder: Path) -> None:
    path = folder / "seaway.db"
    oracle = Subject(MemoryStore(), None)
    subject = Subject(await open_sqlite(path), path)
    try:
        for step in steps:
            assert await subject.perform(step) == await oracle.perform(step), step
            assert subject.store.current_revision == oracle.store.current_revision
            assert subject.store.compacted_revision == oracle.store.compacted_revision
            if isinstance(step, Reopen):  # the watches of the oracle live on unseen
                oracle.watched = []
            assert subject.watched == oracle.watched
        assert await subject.store.list("") == await oracle.store.list("")
    finally:
        await subject.store.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(step, max_size=14))
def test_sqlite_answers_as_the_oracle_does(steps: list[Step]) -> None:
    with TemporaryDirectory() as folder:
        asyncio.run(compare(steps, Path(folder)))
