"""Pipes and terminals read by an event loop, up to what was written before their program ended."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
from collections.abc import Awaitable, Callable, Iterator

PIECE_BYTES = 1 << 15
"""Of one message to a client, as client-go's own copies are."""


@contextlib.contextmanager
def open_pipe() -> Iterator[tuple[int, int]]:
    """(reading, writing); what is still open at the end is closed. Both block, as programs expect them to."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        yield reading, writing
    finally:
        os.close(reading)
        os.close(writing)


async def pump(handle: int, take: Callable[[bytes], Awaitable[None]], ended: asyncio.Event) -> None:
    """Read until the end, or once `ended` is set until nothing is left: children may hold the other side open.

    Never reads ahead of `take`, so a slow taker slows the program down. Rule: spec "node" §5.5.
    """
    os.set_blocking(handle, False)
    while True:
        try:
            piece = os.read(handle, PIECE_BYTES)
        except BlockingIOError:
            if ended.is_set():
                return
            await _wait(handle, ended)
            continue
        except OSError:
            return  # of a terminal that nobody has open any more
        if not piece:
            return
        await take(piece)


async def _wait(handle: int, ended: asyncio.Event) -> None:
    """Until something can be read, or the end."""
    loop = asyncio.get_running_loop()
    readable = loop.create_future()
    loop.add_reader(handle, functools.partial(_fulfil, readable))
    ending = asyncio.ensure_future(ended.wait())
    try:
        await asyncio.wait((readable, ending), return_when=asyncio.FIRST_COMPLETED)
    finally:
        loop.remove_reader(handle)
        ending.cancel()


async def write_all(handle: int, data: bytes) -> None:
    """Write all of it, as fast as it is read. Raises BrokenPipeError when nobody reads."""
    os.set_blocking(handle, False)
    loop = asyncio.get_running_loop()
    while data:
        try:
            data = data[os.write(handle, data) :]
        except BlockingIOError:
            writable = loop.create_future()
            loop.add_writer(handle, functools.partial(_fulfil, writable))
            try:
                await writable
            finally:
                loop.remove_writer(handle)


def _fulfil(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
