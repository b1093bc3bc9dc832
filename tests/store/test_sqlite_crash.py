"""What was acknowledged is there after kill -9, and revisions never go back."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from seaway.store.contract import Entry
from seaway.store.sqlite import open_sqlite

CHILD = Path(__file__).with_name("committing_child.py")
ROUNDS = 4


async def read_back(path: Path) -> tuple[int, dict[str, Entry]]:
    store = await open_sqlite(path)
    page = await store.list("")
    await store.close()
    return store.current_revision, {entry.key: entry for entry in page.entries}


def test_kill_9_in_the_middle_of_writes_loses_nothing_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "seaway.db"
    last_revision = 0
    acknowledged: dict[str, tuple[int, str]] = {}
    for round_number in range(ROUNDS):
        with subprocess.Popen(
            [sys.executable, str(CHILD), str(path), str(round_number)], stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            start = child.stdout.readline().split()
            assert start[0] == "start" and int(start[1]) >= last_revision
            lines = [child.stdout.readline() for _ in range(300 + 137 * round_number)]
            child.kill()
            lines += child.stdout.readlines()  # said before the end, but not yet read
        for line in lines:
            if line.endswith("\n"):
                key, revision, value = line.split()
                acknowledged[key] = (int(revision), value)
                last_revision = max(last_revision, int(revision))
        revision_now, entries = asyncio.run(read_back(path))
        assert revision_now >= last_revision
        for key, (revision, value) in acknowledged.items():
            entry = entries[key]
            # A later write may have reached the disk without its acknowledgement being said.
            assert entry.revision > revision or (entry.revision == revision and entry.value.decode() == value)


def test_a_file_system_that_takes_no_more_refuses_clearly_and_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "seaway.db"
    finished = subprocess.run(
        [sys.executable, str(CHILD), str(path), "full", str(300_000)], capture_output=True, text=True, timeout=60
    )
    lines = [line.split(maxsplit=1) for line in finished.stdout.splitlines()]
    said = {words[0]: words[1] for words in lines if not words[0].startswith("/")}
    assert said["refused"].startswith(f"{path}: the file system refused to read or write; check free space")
    acknowledged = {words[0]: int(words[1].split()[0]) for words in lines if words[0].startswith("/")}
    revision_now, entries = asyncio.run(read_back(path))
    assert {key: entries[key].revision for key in acknowledged} == acknowledged
    assert entries["/afterwards"].revision == int(said["afterwards"]) == revision_now
