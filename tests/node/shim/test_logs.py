"""Rule: spec "node" §5.3; issue "node agent", faults (a full disk)."""

from __future__ import annotations

import shutil
from pathlib import Path

from seaway.node.shim.logs import LogFile


def read(path: Path) -> list[str]:
    return [line.split(" ", 3)[3] for line in path.read_text().splitlines()]


def test_a_log_is_cut_in_two(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "0.log"), max_bytes=200)
    for number in range(9):
        log.write(b"line %d\n" % number)
    log.close()
    assert (read(tmp_path / "0.log.1"), read(tmp_path / "0.log"))[1][-1] == "line 8"
    assert [*read(tmp_path / "0.log.1"), *read(tmp_path / "0.log")][-4:] == [f"line {n}" for n in range(5, 9)]


def test_where_no_new_file_can_be_the_program_is_not_stopped(tmp_path: Path) -> None:
    """No directory stands for no space: both refuse a new file."""
    directory = tmp_path / "logs"
    log = LogFile(str(directory / "0.log"), max_bytes=100)
    log.write(b"x" * 90 + b"\n")
    shutil.rmtree(directory)
    log.write(b"lost\n")
    directory.mkdir()
    log.write(b"found again\n")
    log.close()
    assert read(directory / "0.log") == ["found again"]
