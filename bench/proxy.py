"""The proxy in a network namespace of its own: how long until the kernel follows."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench import traffic
from bench.credentials import make_credentials, socket_connection
from bench.dataset import fill_database, name_service
from bench.figures import Figure, Goal, median, percentile
from bench.processes import Child, MissingTool, find_tool, read_pss_mb
from seaway.api.registry import ENDPOINT_SLICES
from seaway.client.requests import Client
from seaway.client.transport import open_client

CHANGES = 60
PAUSE_SECONDS = 0.01
UNSHARE = ("--user", "--map-root-user", "--net")

FULL_1K = Goal("proxy: full sync, 1k Services × 10", "s", elsewhere="0.6 s")
FULL_10K = Goal("proxy: full sync, 10k × 10", "s", at_most=3, elsewhere="10.7 s")
FULL_5K = Goal("proxy: full sync, 5k × 50", "s", at_most=8, elsewhere="minutes (published)")
KERNEL_1K = Goal("proxy: one endpoint's change in the kernel, p99, 1k × 10", "ms", at_most=1)
KERNEL_10K = Goal("proxy: one endpoint's change in the kernel, p99, 10k × 10", "ms", at_most=1)
WRITE_1K = Goal("proxy: API write → kernel, p99, 1k × 10", "ms", at_most=20, elsewhere="0.3 s")
WRITE_10K = Goal("proxy: API write → kernel, p99, 10k × 10", "ms", at_most=20, elsewhere="6.3 s")
NFT_10K = Goal("proxy: full sync, 10k × 10, as fast as the nft program with the same ruleset", "x")
READY = Goal("proxy: from start to rules in place, 10k × 10", "s")
MEMORY = Goal("proxy: PSS at 10k × 10", "MB", at_most=200, elsewhere="438 MB")
GOALS = (FULL_1K, FULL_10K, FULL_5K, KERNEL_1K, KERNEL_10K, WRITE_1K, WRITE_10K, NFT_10K, READY, MEMORY, *traffic.GOALS)


def run() -> list[Figure]:
    """Full syncs once each; single changes as percentiles."""
    try:
        prefix = (find_tool("unshare"), *(UNSHARE if os.geteuid() else ("--net",)))
    except MissingTool as error:
        return [Figure(goal, None, str(error)) for goal in GOALS]
    figures = _measure_plane(prefix, 1000, 10, FULL_1K, KERNEL_1K)
    figures += _measure_plane(prefix, 10_000, 10, FULL_10K, KERNEL_10K)
    figures += _measure_plane(prefix, 5000, 50, FULL_5K, None)
    figures += _measure_writes(prefix, 1000, WRITE_1K, None, None)
    figures += _measure_writes(prefix, 10_000, WRITE_10K, READY, MEMORY)
    figures += traffic.measure_traffic()
    return sorted(figures, key=lambda figure: GOALS.index(figure.goal))


def _measure_plane(
    prefix: tuple[str, ...], services: int, endpoints: int, full: Goal, change: Goal | None
) -> list[Figure]:
    changes = CHANGES if change is not None else 0
    has_peer = full is FULL_10K and shutil.which("nft") is not None
    options = {"services": services, "endpoints": endpoints, "changes": changes, "has_peer": has_peer}
    with Child("plane", options, prefix=prefix) as plane:
        seconds = plane.read()["full"]
        figures = [Figure(full, seconds, "from decoded objects, into an empty table")]
        seen = [plane.read() for _ in range(changes)]
        if full is FULL_10K:
            figures.append(_compare_nft(plane.read()["nft"] if has_peer else None, seconds))
    if change is not None:
        whole = percentile([values["seconds"] for values in seen], 0.99) * 1000
        kernel = percentile([values["kernel"] for values in seen], 0.99) * 1000
        figures.append(Figure(change, kernel, f"encoding and the kernel; {whole:.2f} ms with all decisions"))
    return figures


def _compare_nft(nft: float | None, seconds: float) -> Figure:
    if nft is None:
        return Figure(NFT_10K, None, "nft is not installed")
    if not nft:
        return Figure(NFT_10K, None, "nft failed: without root its batch exceeds the socket's buffer")
    return Figure(NFT_10K, nft / seconds, f"nft -f takes {nft:.2f} s, and has no decisions to make")


def _measure_writes(
    prefix: tuple[str, ...], services: int, write: Goal, ready: Goal | None, memory: Goal | None
) -> list[Figure]:
    with TemporaryDirectory(prefix="seaway-bench-") as name:
        folder = Path(name)
        make_credentials(folder)
        asyncio.run(fill_database(folder / "seaway.db", services=services, endpoints=10))
        with Child("apiserver", {"folder": name}) as server:
            server.read()
            with Child("proxy-host", {"folder": name}, prefix=prefix) as host:
                started = host.read()
                delays = asyncio.run(_change_endpoints(folder, host, services))
                figures = [_describe(write, delays)]
                if ready is not None:
                    figures.append(Figure(ready, started["seconds"], "with imports and lists"))
                if memory is not None:
                    figures.append(Figure(memory, read_pss_mb(int(started["pid"]))))
                return figures


def _describe(goal: Goal, delays: list[float]) -> Figure:
    middle = median(delays) * 1000
    return Figure(goal, percentile(delays, 0.99) * 1000, f"p50 {middle:.1f} ms of {len(delays)}, from before the PUT")


async def _change_endpoints(folder: Path, host: Child, services: int) -> list[float]:
    """Seconds from before each write to the kernel's word that it took a batch."""
    client = open_client(socket_connection(folder))
    try:
        return [await _change_endpoint(client, host, n * 997 % services, n) for n in range(CHANGES)]
    finally:
        await client.close()


async def _change_endpoint(client: Client, host: Child, number: int, turn: int) -> float:
    name = name_service(number)
    obj: dict[str, Any] = await client.get(ENDPOINT_SLICES, name, "default", as_type=dict)
    obj["endpoints"][0]["addresses"] = [f"192.0.2.{1 + turn % 250}"]
    begun = time.clock_gettime(time.CLOCK_MONOTONIC)
    await client.update(ENDPOINT_SLICES, obj)
    seen = await asyncio.to_thread(host.read)
    await asyncio.sleep(PAUSE_SECONDS)
    return seen["seen"] - begun
