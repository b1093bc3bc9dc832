"""Reads the log of a run: the file, the one that was rotated away before it, and what still comes."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import BinaryIO

from seaway.node.logs.select import LogOptions, Teller, find_tail, split_lines

PIECE_BYTES = 1 << 16
POLL_SECONDS = 0.1
"""Between two looks at a file that somebody follows."""
_MAX_LINE_BYTES = 1 << 16


async def read_log(path: Path, options: LogOptions, *, is_running: Callable[[], bool]) -> AsyncIterator[bytes]:
    """What the client reads, in pieces. is_running: whether more may come. Raises FileNotFoundError."""
    teller = Teller(options)
    older = path.with_name(f"{path.name}.1")
    current = path.open("rb")
    try:
        rest = await asyncio.to_thread(_seek_tail, current, older, options.tail_lines)
        async for piece in _tell(rest, teller):
            yield piece
        async for piece in _follow(path, current, teller, is_running if options.follow else None):
            yield piece
    finally:
        current.close()


def _seek_tail(current: BinaryIO, older: Path, count: int | None) -> bytes:
    """What of the older file is wanted; the current file stands where its wanted part begins."""
    try:
        before = older.read_bytes() if count != 0 else b""
    except FileNotFoundError:
        before = b""
    if count is None:
        return before
    position = current.seek(0, os.SEEK_END)
    if not count:
        return b""
    tail, start, found = b"", 0, 0
    while position and not start:  # at 0 the line may have begun before
        size = min(PIECE_BYTES, position)
        position -= size
        current.seek(position)
        tail = current.read(size) + tail
        start, found = find_tail(tail, count)
    current.seek(position + start)
    start, _ = find_tail(before, count - found)
    return before[start:]


async def _tell(data: bytes, teller: Teller) -> AsyncIterator[bytes]:
    """Whole lines, in pieces of some size."""
    told = bytearray()
    for line in split_lines(data):
        told += teller.tell(line)
        if len(told) >= PIECE_BYTES or teller.is_over:
            yield bytes(told)
            told.clear()
            await asyncio.sleep(0)
        if teller.is_over:
            return
    if told:
        yield bytes(told)


async def _follow(
    path: Path, current: BinaryIO, teller: Teller, is_running: Callable[[], bool] | None
) -> AsyncIterator[bytes]:
    """From where the file stands to its end, or as long as somebody may write; then the file that replaced it."""
    rest = b""
    opened: list[BinaryIO] = []
    try:
        while not teller.is_over:
            goes_on = is_running is not None and is_running()
            data = current.read(PIECE_BYTES)
            if data:
                lines, end, rest = (rest + data).rpartition(b"\n")
                if len(rest) > _MAX_LINE_BYTES:
                    lines, rest = lines + end + rest, b""
                    end = b""
                async for piece in _tell(lines + end, teller):
                    yield piece
                continue
            fresh = _reopen(path, current)
            if fresh is not None:
                opened.append(fresh)
                current = fresh
            elif goes_on:
                await asyncio.sleep(POLL_SECONDS)
            else:
                return
    finally:
        for each in opened:
            each.close()


def _reopen(path: Path, current: BinaryIO) -> BinaryIO | None:
    """The file that has the name now, if it is another."""
    with contextlib.suppress(OSError):
        if os.stat(path).st_ino != os.fstat(current.fileno()).st_ino:
            return path.open("rb")
    return None
