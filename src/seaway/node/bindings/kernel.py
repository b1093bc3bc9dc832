"""Reads sockets of this network, and whose they are. Rule: proc(5), /proc/net, /proc/PID/fd."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from seaway.node.bindings.plan import Listener, parse_listeners

_TABLES = (("TCP", "tcp"), ("TCP", "tcp6"), ("UDP", "udp"), ("UDP", "udp6"))
_SOCKET = "socket:["


def read_listeners() -> tuple[Listener, ...]:
    """All of this host. A host without IPv6 has no table for it."""
    found: list[Listener] = []
    for protocol, name in _TABLES:
        with contextlib.suppress(OSError):
            found += parse_listeners(protocol, Path("/proc/net", name).read_text())
    return tuple(found)


def read_inodes(pids: Iterable[int]) -> frozenset[int]:
    """The sockets that the processes have. Those that have ended, or may not be looked at, have none."""
    found = set()
    for pid in pids:
        directory = f"/proc/{pid}/fd"
        with contextlib.suppress(OSError):
            for name in os.listdir(directory):
                with contextlib.suppress(OSError):
                    target = os.readlink(f"{directory}/{name}")
                    if target.startswith(_SOCKET):
                        found.add(int(target[len(_SOCKET) : -1]))
    return frozenset(found)
