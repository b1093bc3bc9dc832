"""What the shim knows: who is connected, the Pods' namespaces, the programs that run or ran."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from dataclasses import dataclass, field
from typing import Any

from seaway.node.shim.spawn import Namespaces
from seaway.node.shim.stdio import Streams

Json = dict[str, Any]


@dataclass(slots=True, eq=False)
class Connection:
    """A client; `buffer` is what it has sent of its request, `handles` the descriptors that came along."""

    socket: socket.socket
    buffer: bytes = b""
    handles: list[int] = field(default_factory=list)
    is_closed: bool = False

    def take_handles(self, count: int) -> list[int]:
        """As many descriptors as the request says; they are the taker's. Raises ValueError."""
        if count != len(self.handles):
            raise ValueError(f"{len(self.handles)} descriptors found, {count} needed")
        taken, self.handles = self.handles, []
        return taken

    def send(self, message: Json) -> None:
        """A client that does not read what it asked for is left behind."""
        with contextlib.suppress(OSError):
            self.socket.sendall(json.dumps(message).encode() + b"\n")


@dataclass(slots=True)
class SandboxRecord:
    """A Pod's namespaces; None: it has those of the node. `labels` are the agent's."""

    uid: str
    namespaces: Namespaces | None
    labels: Json

    @property
    def net(self) -> int | None:
        """The handle of a network of its own."""
        return self.namespaces.net if self.namespaces is not None else None


@dataclass(slots=True)
class Program:
    """A container's init, or a program executed in a container. asker: who waits for its start, or for its end.

    ends_with_asker: it is killed when nobody waits for it any more. is_kept: it has no namespaces, `pid` is its
    keeper's, and `leash` our end of that one's leash. container: in which it was executed.
    """

    id: str
    labels: Json
    spec: Json
    pid: int = 0
    started_at: float = 0.0
    finished_at: float | None = None
    exit_code: int = 0
    error: str = ""
    report: bytes = b""
    asker: Connection | None = None
    is_exec: bool = False
    ends_with_asker: bool = False
    streams: Streams | None = None
    report_open: bool = True
    is_kept: bool = False
    leash: int = -1
    container: str = ""

    def kill(self) -> None:
        """End it with all that came from it. Safe to repeat."""
        if self.is_kept:
            self.loosen()
        elif self.pid and self.finished_at is None:
            os.kill(self.pid, signal.SIGKILL)

    def loosen(self) -> None:
        """Let go of the leash, if there is one: its keeper ends what is left."""
        if self.leash >= 0:
            os.close(self.leash)
            self.leash = -1

    def describe(self) -> Json:
        """As clients see it."""
        return {
            "id": self.id, "labels": self.labels, "pid": self.pid, "started_at": self.started_at,
            "finished_at": self.finished_at, "exit_code": self.exit_code, "error": self.error,
        }  # fmt: skip
