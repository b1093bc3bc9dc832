"""A process that serves for months: its collector seldom looks, its allocator keeps no more than it uses."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import time
from collections.abc import Awaitable, Callable

from seaway.client.requests import Client

Ready = Callable[[], None]
Start = Callable[[Client, Ready], Awaitable[None]]

MMAP_THRESHOLD_BYTES = 1 << 18
"""From here on memory comes from the kernel and goes back to it: a page of a list is read once."""
REST_SECONDS = 5.0
REST_SHARE = 0.02
"""A process that uses less of a core is at rest."""
MAX_LOOKS = 24
"""After two minutes a process that never rests is as calm as it will be."""
THRESHOLDS = (10_000, 10, 10)
_M_MMAP_THRESHOLD = -3
"""malloc.h, of glibc."""


def calm_collector() -> None:
    """Let the garbage collector look less often, and only at what is made from now on. For a process that only serves.

    Requests leave next to nothing behind that counting references does not free: with Python's own 700 the collector
    took a tenth of all CPU, and stopped everything for 50 to 140 ms to walk what had been there from the start.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)


def calmly(start: Start) -> Start:
    """The piece, calm from the moment when it is ready, and again when its first work is done.

    What it read by then was much, and what it keeps lives long.
    """

    async def run(client: Client, on_ready: Ready) -> None:
        resting: asyncio.Task[None] | None = None

        def calm_and_say() -> None:
            nonlocal resting
            calm_collector()
            return_memory()
            resting = asyncio.get_running_loop().create_task(_calm_at_rest())
            on_ready()

        gc.set_threshold(*THRESHOLDS)
        _fix_allocator()
        try:
            await start(client, calm_and_say)
        finally:
            if resting is not None:
                resting.cancel()

    return run


async def _calm_at_rest() -> None:
    for _ in range(MAX_LOOKS):
        before, begun = time.process_time(), time.monotonic()
        await asyncio.sleep(REST_SECONDS)
        if time.process_time() - before < REST_SHARE * (time.monotonic() - begun):
            break
    calm_collector()
    return_memory()


def return_memory() -> None:
    """What the allocator has of free pages goes back to the kernel; nothing happens without glibc."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


def _fix_allocator() -> None:
    """glibc's own threshold grows with what is freed, up to 32 MB, and every page of a list then leaves a hole."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES)
