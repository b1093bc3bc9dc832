"""The store's contract, sentence by sentence, on every implementation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from seaway.store.contract import (
    Compacted,
    Entry,
    Event,
    FutureRevision,
    Precondition,
    PreconditionFailed,
    Store,
    StoreError,
    Write,
)
from seaway.store.memory import MemoryStore
from seaway.store.sqlite import open_sqlite

Scenario = Callable[[Store], Awaitable[None]]
Run = Callable[[Scenario], None]


@asynccontextmanager
async def open_store(kind: str, folder: Path) -> AsyncIterator[Store]:
    store: Store = MemoryStore() if kind == "memory" else await open_sqlite(folder / "seaway.db")
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture(params=["memory", "sqlite"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    async def main(scenario: Scenario) -> None:
        async with open_store(request.param, tmp_path) as store:
            await scenario(store)

    return lambda scenario: asyncio.run(main(scenario))


async def put(store: Store, key: str, value: bytes = b"{}") -> int:
    (revision,) = await store.commit((), [Write(key, value)])
    return revision


async def delete(store: Store, key: str) -> int:
    (revision,) = await store.commit((), [Write(key, None)])
    return revision


async def keys(store: Store, prefix: str, revision: int = 0) -> list[str]:
    return [entry.key for entry in (await store.list(prefix, revision=revision)).entries]


def test_the_first_write_has_revision_2_or_later_and_deletes_consume_one(run: Run) -> None:
    async def scenario(store: Store) -> None:
        first = await put(store, "/a")
        assert first >= 2
        gone = await delete(store, "/a")
        assert gone > first
        assert await put(store, "/b") > gone
        assert store.current_revision == gone + 1

    run(scenario)


def test_get_answers_value_revision_and_create_revision(run: Run) -> None:
    async def scenario(store: Store) -> None:
        assert await store.get("/a") is None
        created = await put(store, "/a", b"one")
        updated = await put(store, "/a", b"")
        assert await store.get("/a") == Entry("/a", b"", updated, created)
        assert await store.get("/a", created) == Entry("/a", b"one", created, created)
        assert await store.get("/a", created - 1) is None
        await delete(store, "/a")
        assert await store.get("/a") is None
        again = await put(store, "/a", b"two")
        assert await store.get("/a") == Entry("/a", b"two", again, again)

    run(scenario)


def test_list_is_by_prefix_in_bytewise_order(run: Run) -> None:
    async def scenario(store: Store) -> None:
        names = ["/s/a", "/s/b", "/s/", "/s/ä", "/s/a-b", "/s/a/b", "/s/\U0001f30a", "/s/\uffff", "/t/a", "/r", "/s"]
        for name in names:
            await put(store, name)
        found = await keys(store, "/s/")
        assert found == sorted((n for n in names if n.startswith("/s/")), key=str.encode)
        assert await keys(store, "/s/ä") == ["/s/ä"]
        assert await keys(store, "") == sorted(names, key=str.encode)
        assert await keys(store, "/nothing") == []

    run(scenario)


def test_pages_follow_each_other_at_one_revision(run: Run) -> None:
    async def scenario(store: Store) -> None:
        for number in range(5):
            await put(store, f"/s/{number}")
        page = await store.list("/s/", limit=2)
        assert ([e.key for e in page.entries], page.more) == (["/s/0", "/s/1"], True)
        await delete(store, "/s/2")
        await put(store, "/s/3", b"new")
        await put(store, "/s/1a")
        second = await store.list("/s/", revision=page.revision, limit=2, after="/s/1")
        assert [(e.key, e.value) for e in second.entries] == [("/s/2", b"{}"), ("/s/3", b"{}")]
        assert (second.more, second.revision) == (True, page.revision)
        third = await store.list("/s/", revision=page.revision, limit=2, after="/s/3")
        assert ([e.key for e in third.entries], third.more) == (["/s/4"], False)
        exact = await store.list("/s/", limit=5)
        assert (len(exact.entries), exact.more) == (5, False)

    run(scenario)


def test_a_long_list_is_whole(run: Run) -> None:
    async def scenario(store: Store) -> None:
        expected = [f"/s/{number:04}" for number in range(1203)]
        await asyncio.gather(*(put(store, key) for key in expected))
        assert await keys(store, "/s/") == expected
        page = await store.list("/s/", limit=1001)
        assert ([e.key for e in page.entries], page.more) == (expected[:1001], True)

    run(scenario)


@pytest.mark.parametrize("stale", [0, 1, 10_000])
def test_a_precondition_names_the_exact_revision_of_the_last_write(run: Run, stale: int) -> None:
    async def scenario(store: Store) -> None:
        revision = await put(store, "/a", b"1")
        with pytest.raises(PreconditionFailed) as caught:
            await store.commit([Precondition("/a", stale)], [Write("/a", b"2")])
        assert (caught.value.key, caught.value.current_revision) == ("/a", revision)
        assert store.current_revision == revision
        await store.commit([Precondition("/a", revision)], [Write("/a", b"2")])

    run(scenario)


def test_revision_zero_means_that_the_key_is_absent(run: Run) -> None:
    async def scenario(store: Store) -> None:
        await store.commit([Precondition("/a", 0)], [Write("/a", b"1")])
        gone = await delete(store, "/a")
        with pytest.raises(PreconditionFailed) as caught:
            await store.commit([Precondition("/a", gone)], [Write("/a", b"2")])
        assert caught.value.current_revision == 0
        await store.commit([Precondition("/a", 0)], [Write("/a", b"2")])

    run(scenario)


def test_the_first_failed_precondition_is_named_and_nothing_is_written(run: Run) -> None:
    async def scenario(store: Store) -> None:
        a = await put(store, "/a")
        before = store.current_revision
        with pytest.raises(PreconditionFailed) as caught:
            await store.commit(
                [Precondition("/a", a), Precondition("/b", 7), Precondition("/c", 8)],
                [Write("/a", b"x"), Write("/d", b"")],
            )
        assert (caught.value.key, caught.value.current_revision) == ("/b", 0)
        assert await keys(store, "") == ["/a"]
        assert store.current_revision == before

    run(scenario)


def test_a_commit_of_several_writes_answers_their_revisions_in_order(run: Run) -> None:
    async def scenario(store: Store) -> None:
        await put(store, "/old")
        revisions = await store.commit((), [Write("/b", b"1"), Write("/old", None), Write("/a", b"2")])
        assert list(revisions) == sorted(set(revisions))
        assert store.current_revision == revisions[-1]
        assert await keys(store, "") == ["/a", "/b"]
        assert (await store.get("/b")) == Entry("/b", b"1", revisions[0], revisions[0])

    run(scenario)


def test_a_commit_without_writes_only_checks(run: Run) -> None:
    async def scenario(store: Store) -> None:
        revision = await put(store, "/a")
        assert await store.commit([Precondition("/a", revision)], ()) == ()
        with pytest.raises(PreconditionFailed):
            await store.commit([Precondition("/a", 0)], ())
        assert store.current_revision == revision

    run(scenario)


@pytest.mark.parametrize(
    "writes",
    [
        pytest.param([Write("/a", b"1"), Write("/a", b"2")], id="the same key twice"),
        pytest.param([Write("/b", b"1"), Write("/absent", None)], id="deletes an absent key"),
        pytest.param([Write("", b"1")], id="has an empty key"),
        pytest.param([Write("/\udcff", b"1")], id="has a key that is not UTF-8"),
        pytest.param([Write(f"/{n}", b"1") for n in range(501)], id="has more keys than a commit may"),
    ],
)
def test_a_commit_that_nobody_can_mean_is_refused_alone(run: Run, writes: Sequence[Write]) -> None:
    async def scenario(store: Store) -> None:
        good, bad, other = await asyncio.gather(
            put(store, "/good"), store.commit((), writes), put(store, "/other"), return_exceptions=True
        )
        assert isinstance(bad, ValueError)
        assert (good, other) == (store.current_revision - 1, store.current_revision)
        assert await keys(store, "") == ["/good", "/other"]

    run(scenario)


def test_watch_delivers_past_events_then_live_ones(run: Run) -> None:
    async def scenario(store: Store) -> None:
        first = await put(store, "/s/a", b"1")
        second = await put(store, "/s/a", b"2")
        await put(store, "/other")
        seen: list[Event] = []
        end = store.watch("/s/", first, seen.extend)
        third = await delete(store, "/s/a")
        fourth = await put(store, "/s/a", b"3")
        assert seen == [
            Event("/s/a", second, b"2", b"1"),
            Event("/s/a", third, None, b"2"),
            Event("/s/a", fourth, b"3", None),
        ]
        end()
        end()
        await put(store, "/s/b")
        assert len(seen) == 3

    run(scenario)


def test_a_watch_from_a_revision_to_come_waits_for_it(run: Run) -> None:
    async def scenario(store: Store) -> None:
        seen: list[int] = []
        store.watch("", store.current_revision + 1, lambda events: seen.extend(e.revision for e in events))
        await put(store, "/a")
        second = await put(store, "/a")
        assert seen == [second]

    run(scenario)


def test_watchers_see_a_commit_at_once_and_before_its_caller(run: Run) -> None:
    async def scenario(store: Store) -> None:
        deliveries: list[list[str]] = []
        store.watch("", 0, lambda events: deliveries.append([e.key for e in events]))
        await store.commit((), [Write("/a", b""), Write("/b", b"")])
        assert deliveries == [["/a", "/b"]]
        again: list[list[str]] = []
        store.watch("", 0, lambda events: again.append([e.key for e in events]))
        assert again == [["/a", "/b"]]

    run(scenario)


def test_a_read_and_a_watch_inside_a_delivery_agree_with_it(run: Run) -> None:
    async def scenario(store: Store) -> None:
        inner: list[int] = []
        revisions: list[tuple[int, int]] = []

        def deliver(events: Sequence[Event]) -> None:
            revisions.append((events[-1].revision, store.current_revision))
            if len(revisions) == 1:
                store.watch("", events[0].revision - 1, lambda more: inner.extend(e.revision for e in more))

        store.watch("", store.current_revision, deliver)
        first = await put(store, "/a")
        second = await put(store, "/a")
        assert inner == [first, second]
        assert revisions == [(first, first), (second, second)]

    run(scenario)


def test_compaction_forgets_the_past_and_keeps_the_present(run: Run) -> None:
    async def scenario(store: Store) -> None:
        first = await put(store, "/a", b"1")
        await put(store, "/gone")
        await delete(store, "/gone")
        kept = await put(store, "/a", b"2")
        await put(store, "/a", b"3")
        await store.compact(kept)
        assert store.compacted_revision == kept
        assert await store.get("/a", kept) == Entry("/a", b"2", kept, first)
        assert await keys(store, "", kept) == ["/a"]
        for read in (store.get("/a", kept - 1), store.list("", revision=kept - 1)):
            with pytest.raises(Compacted) as caught:
                await read
            assert (caught.value.revision, caught.value.compacted_revision) == (kept - 1, kept)
        with pytest.raises(Compacted):
            store.watch("", kept - 1, lambda events: None)
        seen: list[Event] = []
        store.watch("", kept, seen.extend)
        assert seen == [Event("/a", kept + 1, b"3", b"2")]

    run(scenario)


def test_compaction_up_to_a_delete_does_not_bring_the_key_back(run: Run) -> None:
    async def scenario(store: Store) -> None:
        await put(store, "/a", b"1")
        await put(store, "/a", b"2")
        gone = await delete(store, "/a")
        await store.compact(gone - 1)
        await store.compact(gone)
        assert await store.get("/a", gone) is None
        assert await keys(store, "") == []
        assert store.current_revision == gone
        assert await put(store, "/a", b"3") == gone + 1

    run(scenario)


def test_compacting_again_or_further_back_changes_nothing(run: Run) -> None:
    async def scenario(store: Store) -> None:
        revision = await put(store, "/a")
        await store.compact(revision)
        await store.compact(revision)
        await store.compact(1)
        assert store.compacted_revision == revision
        with pytest.raises(FutureRevision):
            await store.compact(revision + 1)

    run(scenario)


def test_the_future_cannot_be_read(run: Run) -> None:
    async def scenario(store: Store) -> None:
        revision = await put(store, "/a")
        for read in (store.get("/a", revision + 1), store.list("", revision=revision + 1)):
            with pytest.raises(FutureRevision) as caught:
                await read
            assert (caught.value.revision, caught.value.current_revision) == (revision + 1, revision)

    run(scenario)


def test_of_many_who_want_one_key_exactly_one_gets_it(run: Run) -> None:
    async def scenario(store: Store) -> None:
        async def claim(number: int) -> int | None:
            try:
                await store.commit([Precondition("/ip", 0)], [Write("/ip", str(number).encode())])
            except PreconditionFailed:
                return None
            return number

        winners = [n for n in await asyncio.gather(*(claim(n) for n in range(100))) if n is not None]
        entry = await store.get("/ip")
        assert entry is not None
        assert [entry.value] == [str(n).encode() for n in winners]

    run(scenario)


def test_many_committers_lose_no_update_and_watchers_no_event(run: Run) -> None:
    async def scenario(store: Store) -> None:
        seen: list[Event] = []
        store.watch("/counter", 0, seen.extend)
        await put(store, "/counter/0", b"0")

        async def count() -> None:
            for _ in range(5):
                while True:
                    entry = await store.get("/counter/0")
                    assert entry is not None
                    value = str(int(entry.value) + 1).encode()
                    try:
                        await store.commit([Precondition("/counter/0", entry.revision)], [Write("/counter/0", value)])
                    except PreconditionFailed:
                        continue
                    break
                await asyncio.gather(put(store, "/noise"))

        await asyncio.gather(*(count() for _ in range(20)), store.compact(store.current_revision))
        assert [e.value for e in seen] == [str(n).encode() for n in range(101)]
        assert [e.previous for e in seen[1:]] == [e.value for e in seen[:-1]]
        assert [e.revision for e in seen] == sorted({e.revision for e in seen})

    run(scenario)


def test_a_closed_store_says_so(run: Run) -> None:
    async def scenario(store: Store) -> None:
        await put(store, "/a")
        await store.close()
        await store.close()
        for use in (put(store, "/a"), store.get("/a"), store.list(""), store.compact(1)):
            with pytest.raises(StoreError, match="closed"):
                await use

    run(scenario)
