"""The database file: whose it is, who may open it, and what is said when it cannot be used."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from seaway.store.contract import StoreError, Write
from seaway.store.sqlite import SqliteStore, open_sqlite


async def fill(path: Path, count: int) -> None:
    store = await open_sqlite(path)
    await asyncio.gather(*(store.commit((), [Write(f"/key/{n}", b"x" * 500)]) for n in range(count)))
    await store.close()


async def read_all(path: Path) -> int:
    store = await open_sqlite(path)
    try:
        return len((await store.list("")).entries)
    finally:
        await store.close()


def garbage(path: Path) -> None:
    path.write_bytes(b"not a database at all, but long enough to look at\n" * 100)


def foreign(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.commit()
    connection.close()


def newer(path: Path) -> None:
    asyncio.run(fill(path, 1))
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 7")
    connection.close()


def damaged(path: Path) -> None:
    asyncio.run(fill(path, 200))
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 4096))


def truncated(path: Path) -> None:
    asyncio.run(fill(path, 200))
    os.truncate(path, 8192)


def folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        pytest.param(garbage, "not a database; move it away, or choose another --data-dir", id="not a database"),
        pytest.param(foreign, "a database of another program; move it away", id="another program's database"),
        pytest.param(newer, "schema 7 found, 1 is the newest known here; use the newer Seaway", id="newer schema"),
        pytest.param(damaged, "the database is damaged; restore a copy, or move it away", id="damaged pages"),
        pytest.param(truncated, "the database is damaged; restore a copy, or move it away", id="cut short"),
        pytest.param(folder, "Is a directory; check that the folder exists", id="a folder in its place"),
    ],
)
def test_an_unusable_file_gets_one_line_that_says_what_to_do(
    tmp_path: Path, spoil: Callable[[Path], None], sentence: str
) -> None:
    path = tmp_path / "seaway.db"
    spoil(path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(StoreError, match=re.escape(f"{path}: {sentence}")) as caught:
        asyncio.run(read_all(path))
    assert "\n" not in str(caught.value)
    assert before == (path.read_bytes() if path.is_file() else b"")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file or directory; check that the folder exists"):
        asyncio.run(open_sqlite(tmp_path / "absent" / "seaway.db"))


def test_a_read_only_file_system_is_refused_clearly() -> None:
    with pytest.raises(StoreError, match="check"):
        asyncio.run(open_sqlite(Path("/proc/self/seaway.db")))


def test_a_second_process_is_told_who_holds_the_database(tmp_path: Path) -> None:
    path = tmp_path / "seaway.db"
    program = f"""
import asyncio, pathlib
from seaway.store.sqlite import open_sqlite
try:
    asyncio.run(open_sqlite(pathlib.Path({str(path)!r})))
except Exception as error:
    print(type(error).__name__, error)
"""

    async def scenario() -> str:
        store = await open_sqlite(path)
        finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
        await store.commit((), [Write("/still", b"works")])
        await store.close()
        return finished.stdout.strip()

    said = asyncio.run(scenario())
    pid = os.getpid()
    assert said == f"StoreError {path}: in use by process {pid}; stop it or choose another --data-dir"
    assert asyncio.run(read_all(path)) == 1


def test_nobody_else_can_read_the_files(tmp_path: Path) -> None:
    path = tmp_path / "seaway.db"
    path.touch(mode=0o644)

    async def scenario() -> dict[str, int]:
        store = await open_sqlite(path)
        await store.commit((), [Write("/a", b"secret")])
        modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
        await store.close()
        return modes

    names = ("seaway.db", "seaway.db-wal", "seaway.db-shm", "seaway.db.lock")
    assert asyncio.run(scenario()) == dict.fromkeys(names, 0o600)


def test_revisions_do_not_go_back_when_compaction_removed_the_newest_rows(tmp_path: Path) -> None:
    path = tmp_path / "seaway.db"

    async def scenario() -> None:
        store = await open_sqlite(path)
        for number in range(5):
            await store.commit((), [Write(f"/{number}", b"")])
        await store.commit((), [Write(f"/{number}", None) for number in range(5)])
        last = store.current_revision
        await store.compact(last)
        await store.close()
        again = await open_sqlite(path)
        assert (again.current_revision, again.compacted_revision) == (last, last)
        assert await again.commit((), [Write("/0", b"")]) == (last + 1,)
        await again.close()

    asyncio.run(scenario())


def test_compaction_lets_writers_in_between_and_removes_every_replaced_row(tmp_path: Path) -> None:
    path = tmp_path / "seaway.db"

    async def update(store: SqliteStore, number: int) -> None:
        await store.commit((), [Write(f"/{number % 7}", str(number).encode())])

    async def scenario() -> None:
        store = await open_sqlite(path)
        await asyncio.gather(*(update(store, number) for number in range(700)))
        compaction = asyncio.create_task(store.compact(store.current_revision))
        await asyncio.sleep(0)
        written = 0
        while not compaction.done():
            await update(store, written)
            written += 1
        assert written > 1
        await compaction
        await store.compact(store.current_revision)
        await store.close()

    asyncio.run(scenario())
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT count(*) FROM history").fetchone()[0]
    assert rows == 7
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_compaction_cut_short_by_close_is_taken_up_again(tmp_path: Path) -> None:
    path = tmp_path / "seaway.db"

    async def scenario() -> None:
        store = await open_sqlite(path)
        for number in range(300):
            await store.commit((), [Write("/a", str(number).encode())])
        compacted = store.current_revision
        task = asyncio.create_task(store.compact(compacted))
        while store.compacted_revision < compacted:  # noqa: ASYNC110 (no event tells of it)
            await asyncio.sleep(0)
        await store.close()
        await asyncio.wait([task])
        again = await open_sqlite(path)
        assert again.compacted_revision == compacted
        await again.compact(compacted)
        entry = await again.get("/a")
        assert entry is not None and entry.value == b"299"
        await again.close()

    asyncio.run(scenario())
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM history").fetchone()[0] == 1
    connection.close()


def test_a_broken_watcher_is_reported_and_the_others_are_served(tmp_path: Path) -> None:
    async def scenario() -> None:
        reports: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context["message"]))
        store = await open_sqlite(tmp_path / "seaway.db")
        seen: list[object] = []

        def broken(events: object) -> None:
            raise RuntimeError

        store.watch("", 0, broken)
        store.watch("", 0, seen.append)
        await store.commit((), [Write("/a", b"")])
        assert (len(reports), len(seen)) == (1, 1)
        await store.close()

    asyncio.run(scenario())


def test_a_caller_that_gave_up_does_not_disturb_the_batch(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = await open_sqlite(tmp_path / "seaway.db")
        given_up = asyncio.create_task(store.commit((), [Write("/a", b"")]))
        await asyncio.sleep(0)
        given_up.cancel()
        await store.commit((), [Write("/b", b"")])
        assert len((await store.list("")).entries) == 2
        await store.close()

    asyncio.run(scenario())


def test_the_switch_interval_is_given_back(tmp_path: Path) -> None:
    async def scenario() -> float:
        store = await open_sqlite(tmp_path / "seaway.db")
        inside = sys.getswitchinterval()
        await store.close()
        return inside

    before = sys.getswitchinterval()
    assert asyncio.run(scenario()) < before
    assert sys.getswitchinterval() == pytest.approx(before)
