"""A log as it is read: from its end, across a rotation, and while it grows."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from seaway.node.logs.run import PIECE_BYTES, read_log
from seaway.node.logs.select import LogOptions
from seaway.node.shim.logs import LogFile


def make_line(number: int) -> bytes:
    return b"2026-01-01T12:00:00.000000000Z stdout F line %d\n" % number


def read(path: Path, options: LogOptions) -> list[str]:
    async def gather() -> bytes:
        return b"".join([piece async for piece in read_log(path, options, is_running=lambda: False)])

    return asyncio.run(gather()).decode().splitlines()


@pytest.mark.parametrize("count", [0, 1, 3, 5000, 20_000])
def test_the_tail_counts_lines_over_both_files(tmp_path: Path, count: int) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(b"".join(make_line(n) for n in range(4000, 8000)))
    (tmp_path / "0.log.1").write_bytes(b"".join(make_line(n) for n in range(4000)))
    assert path.stat().st_size > PIECE_BYTES
    wanted = [f"line {n}" for n in range(max(0, 8000 - count), 8000)]
    assert read(path, LogOptions(tail_lines=count)) == wanted


def test_without_a_limit_the_older_file_comes_first(tmp_path: Path) -> None:
    (tmp_path / "0.log").write_bytes(make_line(2))
    (tmp_path / "0.log.1").write_bytes(make_line(1))
    assert read(tmp_path / "0.log", LogOptions()) == ["line 1", "line 2"]


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "0.log", LogOptions())


def test_following_ends_with_the_run_and_survives_a_rotation(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "0.log"), max_bytes=200)
    runs = True

    async def follow() -> bytes:
        nonlocal runs
        told = b""
        log.write(b"first\n")
        reading = read_log(tmp_path / "0.log", LogOptions(follow=True), is_running=lambda: runs)
        async with asyncio.timeout(30):
            told += await anext(reading)
            for number in range(9):
                log.write(b"%d\n" % number)
                told += await anext(reading)
            log.write(b"last without an end")
            log.close()
            runs = False
            async for piece in reading:
                told += piece
        return told

    assert asyncio.run(follow()).decode().splitlines() == ["first", *map(str, range(9)), "last without an end"]
    assert (tmp_path / "0.log.1").exists()


def test_both_streams_keep_the_lines_that_they_have_begun(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "0.log"))
    log.write(b"out ", b"stdout")
    log.write(b"err\n", b"stderr")
    log.write(b"goes on\n", b"stdout")
    log.close()
    assert read(tmp_path / "0.log", LogOptions()) == ["err", "out goes on"]
    assert read(tmp_path / "0.log", LogOptions(stream=b"stderr")) == ["err"]
