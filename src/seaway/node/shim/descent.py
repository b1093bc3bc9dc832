"""Who descends from whom among the processes of the host, by /proc. Rule: proc_pid_stat(5)."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable, Mapping


def parse_parent(stat: bytes) -> int:
    """The parent in the text of `/proc/PID/stat`; the name before it may hold anything."""
    return int(stat[stat.rindex(b")") + 2 :].split(b" ", 2)[1])


def choose_descendants(roots: Iterable[int], parents: Mapping[int, int]) -> set[int]:
    """All that descend from the roots, without these. parents: of each process."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents.items():
        children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    waiting = list(roots)
    while waiting:
        for child in children.get(waiting.pop(), ()):
            if child not in found:
                found.add(child)
                waiting.append(child)
    return found


def read_parents() -> dict[int, int]:
    """The parent of each process that is there."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError), open(f"/proc/{name}/stat", "rb") as file:
                parents[int(name)] = parse_parent(file.read())
    return parents


def kill_all(pids: Iterable[int]) -> None:
    """Those that are there and ours."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
