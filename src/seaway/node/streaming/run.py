"""One program and its client: exec and attach.

Output waits for the client, and so does the program; input waits for the program. When the program has ended, what it
wrote is sent, its status, and that is the end, whoever else holds its pipes. When the client has gone, the pipes close
(a terminal hangs up), and a program that was executed is left to itself. Rule: spec "node" §5.5.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import os
import socket
import struct
import termios
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from seaway.node.runtime.contract import ContainerError, Runtime
from seaway.node.runtime.pipes import pump, write_all
from seaway.node.streaming.protocol import Channel, Ending, Input, Resize, Wanted
from seaway.node.streaming.transport import CommandPeer

OUTPUTS = {"stdout": Channel.STDOUT, "stderr": Channel.STDERR}


async def run_exec(runtime: Runtime, container: str, argv: tuple[str, ...], wanted: Wanted, peer: CommandPeer) -> None:
    """Run the program in the container for the client. Raises ConnectionError when that has gone."""
    with Pipes() as pipes:
        streams = pipes.make(wanted)
        asking = asyncio.ensure_future(runtime.exec_on(container, argv, streams))
        try:
            if wanted.tty and not await pipes.take_terminal(asking):
                await peer.finish(_end_of(asking))
                return
            await _serve(peer, pipes, asking, pipes.set_size)
        finally:
            asking.cancel()


async def run_attach(runtime: Runtime, container: str, wanted: Wanted, peer: CommandPeer) -> None:
    """Join the client to the container's program, until that ends or the client leaves."""
    sizes: asyncio.Queue[Resize] = asyncio.Queue()

    async def resize() -> int:
        while True:
            size = await sizes.get()
            with contextlib.suppress(ContainerError):
                await runtime.resize(container, size.rows, size.columns)

    with Pipes() as pipes:
        streams = pipes.make(Wanted(wanted.stdin, wanted.stdout, wanted.stderr))
        try:
            await runtime.attach(container, streams)
        except ContainerError as error:
            await peer.finish(Ending(error=str(error)))
            return
        pipes.close_theirs()
        resizing = asyncio.ensure_future(resize())
        try:
            await _serve(peer, pipes, None, sizes.put_nowait)
        finally:
            resizing.cancel()


async def _serve(
    peer: CommandPeer, pipes: Pipes, asking: asyncio.Future[int] | None, resize: Callable[[Resize], None]
) -> None:
    """asking: gives the exit code; None: the program has ended when its output has."""
    ended = asyncio.Event()
    pumps = [
        asyncio.ensure_future(pump(pipes.ours[name], functools.partial(peer.send, OUTPUTS[name]), ended))
        for name in pipes.outputs
    ]
    whole = asyncio.gather(*pumps)
    whole.add_done_callback(_look_at)
    listening = asyncio.ensure_future(_listen(peer, pipes, resize))
    try:
        ends_by: asyncio.Future[Any] = asking or (whole if pumps else listening)
        await asyncio.wait((ends_by, listening), return_when=asyncio.FIRST_COMPLETED)
        if ends_by.done():
            ended.set()
            await whole
            await peer.finish(_end_of(asking) if asking is not None else Ending())
    finally:
        for task in (listening, *pumps):
            task.cancel()
        await asyncio.gather(listening, *pumps, return_exceptions=True)


def _look_at(whole: asyncio.Future[list[None]]) -> None:
    """A client that has gone in the middle of output is noticed where it is listened to."""
    if not whole.cancelled():
        whole.exception()


async def _listen(peer: CommandPeer, pipes: Pipes, resize: Callable[[Resize], None]) -> None:
    """Ends when the client has gone."""
    while (said := await peer.receive()) is not None:
        match said:
            case Resize():
                resize(said)
            case Input(b""):
                pipes.close_input()
            case Input(data) if "stdin" in pipes.ours:
                with contextlib.suppress(OSError):  # the program reads no more
                    await write_all(pipes.ours["stdin"], data)


def _end_of(asking: asyncio.Future[int]) -> Ending:
    error = asking.exception()
    if error is None:
        return Ending(asking.result())
    if isinstance(error, ContainerError):
        return Ending(error=str(error))
    raise error


class Pipes:
    """The streams of a program: our ends by name, and theirs until they are handed over. Closes all at its end."""

    def __init__(self) -> None:
        self.ours: dict[str, int] = {}
        self._theirs: dict[str, int] = {}
        self._console: socket.socket | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Pipes:
        return self

    def __exit__(self, *_: object) -> None:
        self.close_theirs()
        for handle in set(self.ours.values()):
            os.close(handle)
        self._stack.close()

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(name for name in OUTPUTS if name in self.ours)

    def make(self, wanted: Wanted) -> dict[str, int]:
        """What the program is to be given."""
        if wanted.tty:
            self._console, theirs = socket.socketpair()
            self._stack.enter_context(self._console)
            self._console.setblocking(False)
            self._theirs = {"console": theirs.detach()}
            return self._theirs
        for name, is_wanted in (("stdin", wanted.stdin), ("stdout", wanted.stdout), ("stderr", wanted.stderr)):
            if is_wanted:
                reading, writing = os.pipe2(os.O_CLOEXEC)
                self.ours[name], self._theirs[name] = (writing, reading) if name == "stdin" else (reading, writing)
        return self._theirs

    async def take_terminal(self, asking: asyncio.Future[int]) -> bool:
        """Whether the program got as far as a terminal."""
        assert self._console is not None
        console, loop = self._console, asyncio.get_running_loop()
        come = loop.create_future()
        loop.add_reader(console, lambda: None if come.done() else come.set_result(None))
        try:
            await asyncio.wait((come, asking), return_when=asyncio.FIRST_COMPLETED)
        finally:
            loop.remove_reader(console)
        try:
            _, handles, _, _ = socket.recv_fds(console, 1, 1)
        except OSError:
            handles = []
        if not handles:
            return False
        os.set_inheritable(handles[0], False)
        self.ours = {"stdin": handles[0], "stdout": handles[0]}
        return True

    def set_size(self, size: Resize) -> None:
        """Of the terminal."""
        with contextlib.suppress(OSError, KeyError):
            fcntl.ioctl(self.ours["stdout"], termios.TIOCSWINSZ, struct.pack("4H", size.rows, size.columns, 0, 0))

    def close_input(self) -> None:
        """No more input. A terminal cannot say so without hanging up."""
        handle = self.ours.get("stdin")
        if handle is not None and handle != self.ours.get("stdout"):
            del self.ours["stdin"]
            os.close(handle)

    def close_theirs(self) -> None:
        """They have been handed over. Safe to repeat."""
        for handle in self._theirs.values():
            os.close(handle)
        self._theirs = {}
