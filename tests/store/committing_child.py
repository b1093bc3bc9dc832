"""A program that commits without end and says on standard output what was acknowledged: `key revision value`.

Usage: committing_child.py DATABASE ROUND [FILE-SIZE-LIMIT]. With a limit it ends by itself, once all are refused.
"""

from __future__ import annotations

import asyncio
import itertools
import resource
import sys
from pathlib import Path

from seaway.store.contract import StoreError, Write
from seaway.store.sqlite import SqliteStore, open_sqlite

COMMITTERS = 8


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def commit_on(store: SqliteStore, name: str, stop: asyncio.Event) -> None:
    """Commit until told to stop; a commit under way is waited for: it could be written once the limit is lifted."""
    for number in itertools.count():
        if stop.is_set():
            return
        key = f"/{name}/{number % 20}"
        value = f"{name}-{number}".ljust(200, ".")
        try:
            (revision,) = await store.commit((), [Write(key, value.encode())])
        except StoreError as error:
            say("refused", error)
            stop.set()
        else:
            say(key, revision, value)


async def compact_forever(store: SqliteStore) -> None:
    while True:
        await store.compact(store.current_revision)
        await asyncio.sleep(0.003)


async def main(path: Path, name: str, size_limit: int) -> None:
    store = await open_sqlite(path)
    say("start", store.current_revision)
    stop = asyncio.Event()
    works = [commit_on(store, f"{name}-{number}", stop) for number in range(COMMITTERS)]
    if not size_limit:
        await asyncio.gather(*works, compact_forever(store))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_limit, resource.RLIM_INFINITY))
    await asyncio.gather(*works)  # without compaction, which would make room again and again
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    (revision,) = await store.commit((), [Write("/afterwards", b"")])
    say("afterwards", revision)
    await store.close()


if __name__ == "__main__":
    arguments = sys.argv[1:]
    asyncio.run(main(Path(arguments[0]), arguments[1], int(arguments[2]) if len(arguments) > 2 else 0))
