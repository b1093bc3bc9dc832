"""What a container's program says goes to its log and to whoever is attached; what these say goes to the program.

The log gets all of it. Somebody attached who does not read falls behind and is let go: the program never waits for
anybody but the disk.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import termios
from collections.abc import Callable
from dataclasses import dataclass

from seaway.node.shim.logs import LogFile
from seaway.node.shim.loop import Loop, Sink

PIECE_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Stdio:
    """The program's ends of its streams; -1: none, which is /dev/null.

    console: a unix socket over which the master of a terminal is sent; the terminal is all three streams then.
    """

    stdin: int = -1
    stdout: int = -1
    stderr: int = -1
    console: int = -1

    def handles(self) -> set[int]:
        """What is open."""
        return {handle for handle in (self.stdin, self.stdout, self.stderr, self.console) if handle >= 0}

    def close(self) -> None:
        """In the shim, when the program has them."""
        for handle in self.handles():
            os.close(handle)


class Output:
    """One stream of a program: stdout, stderr, or all that a terminal shows (which logs call stdout)."""

    def __init__(self, loop: Loop, handle: int, log: LogFile, stream: bytes, on_end: Callable[[], None]) -> None:
        self._loop = loop
        self._handle = handle
        self._log = log
        self._stream = stream
        self._on_end = on_end
        self._followers: list[Sink] = []
        self.is_open = True
        loop.on_readable(handle, self._read)

    def follow(self, handle: int) -> None:
        """From now on what comes goes there too; the end closes it."""
        if self.is_open:
            self._followers.append(Sink(self._loop, handle))
        else:
            os.close(handle)

    def _read(self) -> None:
        try:
            piece = os.read(self._handle, PIECE_BYTES)
        except OSError:
            piece = b""  # a terminal without programs says EIO
        if piece:
            self._log.write(piece, self._stream)
            for follower in self._followers:
                follower.write(piece)
                if follower.is_full:
                    follower.close()
            self._followers = [follower for follower in self._followers if not follower.is_closed]
            return
        self.is_open = False
        self._loop.forget(self._handle)
        os.close(self._handle)
        self._log.end(self._stream)
        for follower in self._followers:
            follower.end()
        self._on_end()


class Input:
    """A program's stdin. What is attached is read only as fast as the program reads."""

    def __init__(self, loop: Loop, handle: int, *, ends_with_first: bool) -> None:
        self._loop = loop
        self._sink = Sink(loop, handle)
        self._sink.on_drained = self._resume
        self._ends_with_first = ends_with_first
        self._paused: list[int] = []

    def attach(self, source: int) -> None:
        """Read from there until its end."""
        if self._sink.is_closed:
            os.close(source)
        else:
            self._listen(source)

    def close(self) -> None:
        """The program has ended."""
        self._sink.close()
        for source in self._paused:
            os.close(source)
        self._paused = []

    def _listen(self, source: int) -> None:
        self._loop.on_readable(source, lambda: self._read(source))

    def _read(self, source: int) -> None:
        try:
            piece = os.read(source, PIECE_BYTES)
        except OSError:
            piece = b""
        self._sink.write(piece)
        if not piece or self._sink.is_closed:
            self._loop.forget(source)
            os.close(source)
            if self._ends_with_first:
                self._sink.end()
        elif self._sink.is_full:
            self._loop.forget(source)
            self._paused.append(source)

    def _resume(self) -> None:
        paused, self._paused = self._paused, []
        for source in paused:
            self._listen(source)


class Streams:
    """All streams of one container's program."""

    def __init__(self, log: LogFile) -> None:
        self._log = log
        self._outputs: dict[str, Output] = {}
        self._input: Input | None = None
        self._terminal = -1

    @property
    def has_terminal(self) -> bool:
        return self._terminal >= 0

    def take_output(self, loop: Loop, name: str, handle: int) -> None:
        """name: `stdout` or `stderr`."""
        self._outputs[name] = Output(loop, handle, self._log, name.encode(), self._close_log)

    def take_input(self, loop: Loop, handle: int, *, ends_with_first: bool) -> None:
        """The end of a pipe that the program reads."""
        self._input = Input(loop, handle, ends_with_first=ends_with_first)

    def take_terminal(self, loop: Loop, master: int, *, reads: bool) -> None:
        """Both directions. reads: somebody may type; the end of that is no end of the terminal's input."""
        self._terminal = os.dup(master)
        if reads:
            self.take_input(loop, os.dup(master), ends_with_first=False)
        self.take_output(loop, "stdout", master)

    def resize(self, rows: int, columns: int) -> None:
        """The size of the terminal, for a program that has one."""
        if self._terminal >= 0:
            with contextlib.suppress(OSError):
                fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def attach(self, name: str, handle: int) -> None:
        """name: `stdin`, `stdout` or `stderr`; a stream that the program lacks is at its end at once."""
        if name == "stdin" and self._input is not None:
            self._input.attach(handle)
        elif name in self._outputs:
            self._outputs[name].follow(handle)
        else:
            os.close(handle)

    def end_input(self) -> None:
        """The program has ended; what it said last is still on its way."""
        if self._input is not None:
            self._input.close()
        if self._terminal >= 0:
            os.close(self._terminal)
            self._terminal = -1

    def _close_log(self) -> None:
        if not any(output.is_open for output in self._outputs.values()):
            self._log.close()
