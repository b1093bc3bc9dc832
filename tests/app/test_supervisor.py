"""Pieces are started, repeated and stopped: real processes, with small mains."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from seaway.app.supervisor import restart_delay_seconds


@pytest.mark.parametrize(("failures", "delay"), [(0, 0.1), (1, 0.2), (3, 0.8), (7, 10.0), (1000, 10.0)])
def test_the_pause_before_a_restart_doubles_up_to_a_bound(failures: int, delay: float) -> None:
    assert restart_delay_seconds(failures) == pytest.approx(delay)


PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from seaway.app.supervisor import Piece, Supervisor

logs = Path(sys.argv[1])

def steady(report):
    report("ready")
    signal.pause()
    return 0

def dies_once(report):
    report("ready")
    if not (logs / "died").exists():
        (logs / "died").touch()
        return 3
    signal.pause()
    return 0

def stubborn(report):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    report("ready")
    while True:
        signal.pause()

def never_ready(report):
    report("fatal file x: broken; mend it")
    return 1

mains = {"steady": steady, "stubborn": stubborn, "dies-once": dies_once, "never-ready": never_ready}
supervisor = Supervisor([Piece(n, mains[n]) for n in sys.argv[2:]], logs, stop_seconds=0.3)
supervisor.on_ready = lambda: print("all ready", flush=True)
supervisor.on_death = lambda name, how: print("died", name, how.split(";")[0], flush=True)
print("fatal:", supervisor.run(), flush=True)
"""


def start(logs: Path, *pieces: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(logs), *pieces], stdout=subprocess.PIPE, text=True)


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_all_ready_is_said_once_and_a_signal_stops_all(tmp_path: Path) -> None:
    with start(tmp_path, "steady") as process:
        assert read_line(process) == "all ready"
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.send_signal(signal.SIGTERM)
        assert read_line(process) == "fatal:"
    assert process.returncode == 0
    assert len(children) == 1
    assert not Path(f"/proc/{children[0]}").exists()


def test_a_piece_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    with start(tmp_path, "steady", "stubborn") as process:
        assert read_line(process) == "all ready"
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.send_signal(signal.SIGTERM)
        assert read_line(process) == "fatal:"
    assert [Path(f"/proc/{child}").exists() for child in children] == [False, False]


def test_a_piece_that_was_ready_and_dies_starts_again(tmp_path: Path) -> None:
    with start(tmp_path, "dies-once", "steady") as process:
        lines = {read_line(process), read_line(process)}
        assert lines == {"all ready", "died dies-once exit code 3"}
        process.send_signal(signal.SIGINT)
        assert read_line(process) == "fatal:"


def test_a_piece_that_cannot_start_ends_everything_with_its_words(tmp_path: Path) -> None:
    with start(tmp_path, "steady", "never-ready") as process:
        assert read_line(process) == "fatal: never-ready: file x: broken; mend it"
    assert process.returncode == 0


def test_children_end_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    with start(tmp_path, "steady") as process:
        assert read_line(process) == "all ready"
        (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        fd = os.pidfd_open(int(child))
        process.kill()
        process.wait(10)
    import select

    assert select.select([fd], [], [], 10)[0] == [fd]
    os.close(fd)
