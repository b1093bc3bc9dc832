"""`seaway up` as a user starts it: seconds until it is ready, and the memory of all its processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.figures import Figure, Goal, median
from bench.processes import list_descendants, read_pss_mb
from seaway.app.files import DataDir, find_state

ROUNDS = 3
PATIENCE_SECONDS = 30
SETTLE_SECONDS = 3.0

START = Goal("up: start to first Service served", "s", at_most=1.5, elsewhere="3 s (kube-apiserver + etcd alone)")
MEMORY = Goal(
    "up: PSS of all pieces, idle",
    "MB",
    at_most=200,
    elsewhere="520 MB and CoreDNS",
)
STOP = Goal("up: SIGTERM to end", "s", at_most=5)
GOALS = (START, MEMORY, STOP)


def run() -> list[Figure]:
    """The median of several fresh starts, in the sandbox."""
    starts: list[float] = []
    stops: list[float] = []
    memory: list[float] = []
    pieces = 0
    for number in range(ROUNDS):
        with start_up() as (process, folder, seconds):
            starts.append(seconds)
            if number == ROUNDS - 1:
                time.sleep(SETTLE_SECONDS)
                pids = list_processes(process.pid, folder)
                pieces = len(pids)
                memory.append(sum(read_pss_mb(pid) for pid in pids))
            begun = time.monotonic()
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE_SECONDS)
            stops.append(time.monotonic() - begun)
    return [
        Figure(START, median(starts), "from the command to its ready file, fresh data directory, sandbox"),
        Figure(MEMORY, memory[0], f"{pieces} processes"),
        Figure(STOP, median(stops)),
    ]


@contextmanager
def start_up(*flags: str) -> Iterator[tuple[subprocess.Popen[str], Path, float]]:
    """The running command, its data directory, the seconds until it was ready. Raises RuntimeError when it is not."""
    with TemporaryDirectory(prefix="seaway-bench-") as name:
        ready = Path(name) / "ready"
        command = [sys.executable, "-m", "seaway", "up", "--network", "sandbox", "--node-name", "bench"]
        command += ["--data-dir", f"{name}/data", "--ready-file", str(ready), "--secure-port", str(_find_free_port())]
        command += flags
        log = Path(name) / "log"
        begun = time.monotonic()
        with log.open("w") as output:
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, text=True)
        try:
            while not ready.exists():
                if process.poll() is not None or time.monotonic() - begun > PATIENCE_SECONDS:
                    raise RuntimeError(f"seaway up: not ready: {' '.join(log.read_text().split())}")
                time.sleep(0.005)
            yield process, Path(name) / "data", time.monotonic() - begun
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(PATIENCE_SECONDS)
                except subprocess.TimeoutExpired:
                    os.kill(process.pid, signal.SIGKILL)
                    process.wait()


def list_processes(pid: int, data_dir: Path) -> list[int]:
    """All processes of `up`: the sandbox's first process is a child of its own, adopted by the host's init."""
    state = find_state(DataDir(data_dir))
    holder = state.holder_pid if state is not None else 0
    return sorted({*list_descendants(pid), *(list_descendants(holder) if holder else ())})


def _find_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
