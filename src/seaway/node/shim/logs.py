"""A container's log file: one line per line of output, cut into a second file at a size.

Lines are `TIME STREAM F TEXT` (P: the line goes on), the format that log readers of Kubernetes know. Each stream has a
line that it has begun; whole lines come in the order in which they were read. Rule: spec "node" §5.3.
"""

from __future__ import annotations

import os
import time

MAX_BYTES = 10 * 1024 * 1024
"""At this size the file becomes `.1`, and the `.1` before it goes: a container keeps at most twice this."""
MAX_LINE_BYTES = 16384


class LogFile:
    """Appends output to a log."""

    def __init__(self, path: str, *, max_bytes: int = MAX_BYTES) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._rests: dict[bytes, bytes] = {}
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        self._open()

    def _open(self) -> None:
        self._handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._handle).st_size

    def write(self, output: bytes, stream: bytes = b"stdout") -> None:
        """Take a piece of a stream; what is no whole line waits for the next piece."""
        *lines, rest = (self._rests.get(stream, b"") + output).split(b"\n")
        stamp = _make_stamp()
        chunks: list[bytes] = []
        for line in lines:
            line = _cut(line, stamp, stream, chunks)
            chunks.append(b"%s %s F %s\n" % (stamp, stream, line))
        self._rests[stream] = _cut(rest, stamp, stream, chunks)
        self._append(b"".join(chunks))

    def end(self, stream: bytes) -> None:
        """Write the line that the stream had begun."""
        rest = self._rests.pop(stream, b"")
        if rest:
            self._append(b"%s %s F %s\n" % (_make_stamp(), stream, rest))

    def _append(self, text: bytes) -> None:
        if not text:
            return
        try:
            if self._size + len(text) > self._max_bytes and self._size:
                self._begin_anew()
            self._size += os.write(self._handle, text)
        except OSError:
            return  # a full disk must not stop the program

    def _begin_anew(self) -> None:
        """Raises OSError where no new file can be; the old one stays open, under its old name or its new one."""
        before = self._handle
        if os.path.exists(self.path):
            os.replace(self.path, f"{self.path}.1")
        self._open()
        os.close(before)

    def close(self) -> None:
        """Write the lines that were begun, and close."""
        for stream in tuple(self._rests):
            self.end(stream)
        os.close(self._handle)


def _cut(line: bytes, stamp: bytes, stream: bytes, chunks: list[bytes]) -> bytes:
    """Parts of a line that is too long go to the chunks; what is left of it is returned."""
    while len(line) > MAX_LINE_BYTES:
        chunks.append(b"%s %s P %s\n" % (stamp, stream, line[:MAX_LINE_BYTES]))
        line = line[MAX_LINE_BYTES:]
    return line


def _make_stamp() -> bytes:
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanoseconds:09d}Z".encode()
