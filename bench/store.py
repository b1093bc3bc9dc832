"""The SQLite store: durable commits per second, and how long one waits."""

from __future__ import annotations

import asyncio
import itertools
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop

from bench.figures import Figure, Goal, median, percentile
from seaway.store.contract import Precondition, Write
from seaway.store.sqlite import SqliteStore, open_sqlite

WRITERS = 64
SECONDS = 1.5
ROUNDS = 5
VALUE = b"x" * 1000  # about a Service
BUSY_SECONDS = 0.001

RATE = Goal("store: durable commits, 64 writers", "/s", at_least=5000)
P99 = Goal("store: p99 of such a commit", "ms", at_most=100)
BUSY_RATE = Goal("store: the same beside a loop that is never idle", "/s", at_least=1500)
COMPACT_P99 = Goal("store: slowest commit while compacting", "ms", at_most=50)
GOALS = (RATE, P99, BUSY_RATE, COMPACT_P99)


def run() -> list[Figure]:
    """The median of several rounds; each writes to a fresh file under the temporary folder."""
    rounds = [_measure() for _ in range(ROUNDS)]
    busy = [_measure(is_busy=True) for _ in range(3)]
    compacting = [_measure(compacts=True) for _ in range(3)]
    note = f"median of {ROUNDS} rounds of {SECONDS:g} s; values of {len(VALUE)} bytes; half of the keys new"
    return [
        Figure(RATE, median([len(latencies) / SECONDS for latencies in rounds]), note),
        Figure(P99, median([percentile(latencies, 0.99) for latencies in rounds]) * 1000),
        Figure(BUSY_RATE, median([len(latencies) / SECONDS for latencies in busy])),
        Figure(COMPACT_P99, median([max(latencies) for latencies in compacting]) * 1000),
    ]


def _measure(*, is_busy: bool = False, compacts: bool = False) -> list[float]:
    """The seconds of every commit of one round."""
    with TemporaryDirectory(prefix="seaway-bench-") as folder:
        return uvloop.run(_write(Path(folder), is_busy, compacts))


async def _write(folder: Path, is_busy: bool, compacts: bool) -> list[float]:
    store = await open_sqlite(folder / "seaway.db")
    numbers = itertools.count()
    latencies: list[float] = []
    ends = time.perf_counter() + SECONDS

    async def write() -> None:
        while (begun := time.perf_counter()) < ends:
            number = next(numbers)
            key = f"/registry/core/services/default/web-{number // 2}"
            await store.commit([Precondition(key, 0)] if number % 2 == 0 else (), [Write(key, VALUE)])
            latencies.append(time.perf_counter() - begun)

    others = []
    if is_busy:
        others.append(asyncio.create_task(_spin()))
    if compacts:
        others.append(asyncio.create_task(_compact(store)))
    await asyncio.gather(*(write() for _ in range(WRITERS)))
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await store.close()
    return latencies


async def _spin() -> None:
    """What a server does that always has a next request: work, and a glance at the sockets between."""
    while True:
        until = time.perf_counter() + BUSY_SECONDS
        while time.perf_counter() < until:
            continue
        await asyncio.sleep(0)


async def _compact(store: SqliteStore) -> None:
    while True:
        await store.compact(store.current_revision)
        await asyncio.sleep(0.01)
