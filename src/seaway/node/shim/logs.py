"""A container's log file: one line per line of output, cut into a second file at a size.

Lines are `TIME stdout F TEXT` (P: the line goes on), the format that log readers of Kubernetes know. stdout and
stderr share one pipe, so both are named stdout.
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
        self._rest = b""
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        self._open()

    def _open(self) -> None:
        self._handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._handle).st_size

    def write(self, output: bytes) -> None:
        """Take a piece of output; what is no whole line waits for the next piece."""
        *lines, self._rest = (self._rest + output).split(b"\n")
        stamp = _make_stamp()
        chunks = [stamp + b" stdout F " + line + b"\n" for line in lines]
        while len(self._rest) > MAX_LINE_BYTES:
            chunks.append(stamp + b" stdout P " + self._rest[:MAX_LINE_BYTES] + b"\n")
            self._rest = self._rest[MAX_LINE_BYTES:]
        self._append(b"".join(chunks))

    def _append(self, text: bytes) -> None:
        if not text:
            return
        if self._size + len(text) > self._max_bytes and self._size:
            os.close(self._handle)
            os.replace(self.path, f"{self.path}.1")
            self._open()
        try:
            self._size += os.write(self._handle, text)
        except OSError:
            return  # a full disk must not stop the program

    def close(self) -> None:
        """Write the line that was begun, and close."""
        if self._rest:
            self._append(_make_stamp() + b" stdout F " + self._rest + b"\n")
            self._rest = b""
        os.close(self._handle)


def _make_stamp() -> bytes:
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanoseconds:09d}Z".encode()
