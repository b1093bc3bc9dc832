"""Speaks with the shim, and starts it when none answers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import seaway
from seaway.node.runtime.contract import ContainerError, RuntimeGone

Json = dict[str, Any]

SOCKET = "shim.sock"
START_SECONDS = 10.0
_LINE_LIMIT = 64 * 1024 * 1024
_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from seaway.node.shim.run import main; main(sys.argv[2], int(sys.argv[3]))"
)


class ShimClient:
    """One node's shim. Each request is a connection of its own, so a slow one delays no other."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    async def ask(self, request: str, *, handles: Sequence[int] = (), **fields: Any) -> Json:
        """The answer. handles: descriptors that go along; they stay the caller's.

        Raises RuntimeGone when nobody answers, ContainerError when the shim refuses.
        """
        reader, writer = await self._open()
        try:
            line = json.dumps({"ask": request, **fields}).encode() + b"\n"
            if handles:
                line = line[_send_handles(writer, line, handles) :]
            writer.write(line)
            await writer.drain()
            line = await reader.readline()
        except OSError as error:
            raise RuntimeGone(f"shim: {error}") from error
        finally:
            writer.close()
        if not line:
            raise RuntimeGone(f"shim: closed the connection during {request}")
        answer: Json = json.loads(line)
        if answer.get("error") and "id" not in answer and "exit_code" not in answer:
            raise ContainerError(answer["error"])
        return answer

    async def watch(self) -> AsyncIterator[Json]:
        """An empty answer when the watch stands, then every container as it ends. Ends when the shim does."""
        reader, writer = await self._open()
        try:
            writer.write(b'{"ask": "watch"}\n')
            while line := await reader.readline():
                yield json.loads(line)
        finally:
            writer.close()

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A path longer than the 108 bytes of a socket address is reached through a directory handle."""
        try:
            handle = os.open(self.directory, os.O_PATH | os.O_DIRECTORY)
        except OSError as error:
            raise RuntimeGone(f"shim: {error}") from error
        try:
            return await asyncio.open_unix_connection(f"/proc/self/fd/{handle}/{SOCKET}", limit=_LINE_LIMIT)
        except OSError as error:
            raise RuntimeGone(f"shim: {error}") from error
        finally:
            os.close(handle)

    async def ensure_running(self) -> None:
        """Somebody answers; else start a shim, which outlives this process. Raises RuntimeGone."""
        with contextlib.suppress(RuntimeGone):
            await self.ask("list")
            return
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not await asyncio.to_thread(self._start):
            raise RuntimeGone(f"shim: did not start; see {self.directory / 'shim.log'}")

    def _start(self) -> bool:
        """Whether the shim said within START_SECONDS that it listens. It starts with an empty environment."""
        source = str(Path(seaway.__file__).parents[1])
        ready_r, ready_w = os.pipe()
        try:
            with (self.directory / "shim.log").open("ab") as log:
                launcher = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", _PROGRAM, source, str(self.directory), str(ready_w)],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={}, cwd="/", pass_fds=(ready_w,),
                )  # fmt: skip
            os.close(ready_w)
            ready_w = -1
            launcher.wait(START_SECONDS)
            return os.read(ready_r, 1) == b"r"
        except (OSError, subprocess.TimeoutExpired):
            return False
        finally:
            os.close(ready_r)
            if ready_w >= 0:
                os.close(ready_w)


def _send_handles(writer: asyncio.StreamWriter, line: bytes, handles: Sequence[int]) -> int:
    """How much of the line went with them. The transport's own socket cannot send descriptors, a copy of it can."""
    with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as copy:
        return socket.send_fds(copy, [line], handles)
