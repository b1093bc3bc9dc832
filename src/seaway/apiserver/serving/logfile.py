"""A log file that never holds up the loop: lines go to a thread, and are dropped (and counted) when it cannot follow.

A full disk is said once; writing is tried again with each line, and success is said too. Rule: design §12, issue 3
part 7.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import threading
from collections import deque
from pathlib import Path

_LOG = logging.getLogger("seaway.apiserver")
MAX_PENDING_BYTES = 8 << 20
"""Some 20,000 lines of an audit log: seconds of the heaviest load."""
CLOSE_SECONDS = 2.0


class LogFile:
    """Appends lines to a file, made with mode 0600; `-` is standard output. Raises OSError where that cannot be.

    When the file was moved away, as log rotation does, a new one is made.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = self._open()
        self._lines: deque[bytes] = deque()
        self._pending_bytes = 0
        self._is_failing = False
        self._is_closing = False
        self.lost = 0
        """Lines that were not written."""
        self._condition = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"log {path}", daemon=True)
        self._thread.start()

    def write(self, line: bytes) -> bool:
        """Take the line (whole, with its end), or say that there is no room for it. Never waits for the disk."""
        with self._condition:
            if self._is_closing or self._pending_bytes + len(line) > MAX_PENDING_BYTES:
                self.lost += 1
                return False
            self._lines.append(line)
            self._pending_bytes += len(line)
            if len(self._lines) == 1:
                self._condition.notify()
        return True

    def close(self) -> None:
        """Write what was taken, as far as that takes no longer than `CLOSE_SECONDS`. Safe to repeat."""
        with self._condition:
            self._is_closing = True
            self._condition.notify()
        self._thread.join(CLOSE_SECONDS)

    def _open(self) -> int:
        if self._path == "-":
            return os.dup(1)
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _run(self) -> None:
        while True:
            with self._condition:
                while not self._lines and not self._is_closing:
                    self._condition.wait()
                lines, self._lines = self._lines, deque()
                self._pending_bytes = 0
            if not lines:
                break
            self._append(lines)
        with contextlib.suppress(OSError):
            os.close(self._fd)

    def _append(self, lines: deque[bytes]) -> None:
        try:
            self._reopen_if_moved()
            rest = memoryview(b"".join(lines))
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError as error:
            self.lost += len(lines)
            if not self._is_failing:
                _LOG.error("log=%s lost=%d error=%s", self._path, len(lines), error.strerror)
            self._is_failing = True
            return
        if self._is_failing:
            _LOG.warning("log=%s lost=%d written=again", self._path, self.lost)
        self._is_failing = False

    def _reopen_if_moved(self) -> None:
        if self._path == "-":
            return
        try:
            there = Path(self._path).stat()
        except FileNotFoundError:
            there = None
        mine = os.fstat(self._fd)
        if there is None or (
            stat.S_ISREG(there.st_mode) and (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino)
        ):
            fresh = self._open()
            os.close(self._fd)
            self._fd = fresh
