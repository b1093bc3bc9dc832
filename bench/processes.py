"""Processes that are measured and processes that measure: started, pinned, read from /proc, ended."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType

import msgspec

PATIENCE_SECONDS = 30
TICKS = os.sysconf("SC_CLK_TCK")
PACKAGES = {
    "wrk": "wrk",
    "haproxy": "haproxy",
    "nginx": "nginx-light",
    "iperf3": "iperf3",
    "dnsperf": "dnsperf",
    "unshare": "util-linux",
    "nft": "nftables",
}


class MissingTool(Exception):
    """A program that a benchmark needs is not installed."""


class Child:
    """`python -m bench.children KIND …` in a process of its own. It says JSON lines, and ends when its input does."""

    def __init__(
        self, kind: str, options: Mapping[str, object], *, prefix: Sequence[str] = (), core: int | None = None
    ) -> None:
        command = [*prefix, sys.executable, "-m", "bench.children", kind, msgspec.json.encode(options).decode()]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=_pin(core))
        self._kind = kind
        self._said = b""
        self.pid = self._process.pid

    def read(self, patience_seconds: float = PATIENCE_SECONDS) -> dict[str, float]:
        """The next line that it says. Raises RuntimeError when it has ended, or says nothing for too long."""
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        while b"\n" not in self._said:
            if not select.select([descriptor], [], [], patience_seconds)[0]:
                raise RuntimeError(f"{self._kind}: no answer within {patience_seconds:.0f} s")
            piece = os.read(descriptor, 1 << 16)
            if not piece:
                raise RuntimeError(f"{self._kind}: ended with exit code {self._process.wait(10)} before it answered")
            self._said += piece
        line, _, self._said = self._said.partition(b"\n")
        return msgspec.json.decode(line, type=dict[str, float])

    def finish(self) -> dict[str, float]:
        """End its input; the line that it says to that."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self.read()

    def close(self) -> None:
        """Let it end; kill it when it does not within 10 s."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def run_tool(
    name: str,
    *arguments: str,
    core: int | None = None,
    timeout_seconds: float = 60,
    variables: Mapping[str, str] | None = None,
) -> str:
    """What the program prints; variables: of its environment. Raises MissingTool, and RuntimeError with its words."""
    path = find_tool(name)
    with TemporaryFile("w+") as out:  # a pipe would keep this process busy, on the core of what is measured
        done = subprocess.run(
            [path, *arguments],
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            timeout=timeout_seconds,
            preexec_fn=_pin(core),
            check=False,
            env={**os.environ, **(variables or {})},
        )
        out.seek(0)
        said = out.read()
    if done.returncode:
        raise RuntimeError(f"{name}: {(done.stderr or said).strip()}")
    return said


@contextlib.contextmanager
def open_program(command: Sequence[str], *, core: int | None = None) -> Iterator[None]:
    """Runs beside what is measured, and is ended afterwards."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=_pin(core)
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def find_tool(name: str) -> str:
    """The program's path. Raises MissingTool."""
    path = shutil.which(name)
    if path is None:
        raise MissingTool(f"{name} is not installed; install the package {PACKAGES.get(name, name)}")
    return path


def choose_cores() -> tuple[int | None, int | None]:
    """A core for what is measured and another for what measures; None where there is only one."""
    cores = sorted(os.sched_getaffinity(0))
    return (cores[0], cores[1]) if len(cores) > 1 else (None, None)


def read_cpu_seconds(pid: int) -> float:
    """User and system time of the process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def read_thread_seconds(pid: int) -> float:
    """What the process's first thread has run so far, to the nanosecond."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def read_pss_mb(pid: int) -> float:
    """The process's share of memory in MB: what it has alone, and its part of what it shares."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError(f"process {pid}: no Pss in smaps_rollup")


def list_descendants(pid: int) -> list[int]:
    """The process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for other in _list_processes():
        with contextlib.suppress(OSError, IndexError):
            parent = int(Path(f"/proc/{other}/stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(other)
    found = [pid]
    for one in found:
        found.extend(children.get(one, ()))
    return found


def _list_processes() -> Iterator[int]:
    return (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())


def _pin(core: int | None) -> _Pin | None:
    return None if core is None else _Pin(core)


class _Pin:
    """Called between fork and exec."""

    def __init__(self, core: int) -> None:
        self._core = core

    def __call__(self) -> None:
        os.sched_setaffinity(0, {self._core})
