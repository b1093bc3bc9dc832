"""The shim's event loop: callbacks on descriptors, and writers that never wait.

Small on purpose: the shim holds every Pod of a node, and imports as little as it can.
"""

from __future__ import annotations

import contextlib
import os
import selectors
from collections.abc import Callable
from typing import Any

MAX_PENDING_BYTES = 1 << 18
"""What waits for a reader that is slow; who is slower than that is left behind, or not listened to for a while."""


class Loop:
    """Which descriptor calls what. A descriptor has one direction; a terminal, which has both, is duplicated."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def on_readable(self, source: Any, callback: Callable[[], None]) -> None:
        """Call it whenever something can be read, or the other side has closed."""
        self._selector.register(source, selectors.EVENT_READ, callback)

    def on_writable(self, source: Any, callback: Callable[[], None]) -> None:
        """Call it whenever something can be written, or nobody reads any more."""
        self._selector.register(source, selectors.EVENT_WRITE, callback)

    def forget(self, source: Any) -> None:
        """Call nothing for it any more. Safe to repeat."""
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(source)

    def turn(self, timeout_seconds: float | None) -> None:
        """Wait for something, and call what it is for."""
        for key, _ in self._selector.select(timeout_seconds):
            if self._is_registered(key.fileobj):
                key.data()

    def _is_registered(self, source: Any) -> bool:
        """An earlier callback of the same turn may have closed it."""
        try:
            return bool(self._selector.get_key(source))
        except (KeyError, ValueError):
            return False


class Sink:
    """Bytes on their way into a pipe or terminal. Owns the descriptor; `on_drained` is called when nothing waits."""

    def __init__(self, loop: Loop, handle: int) -> None:
        os.set_blocking(handle, False)
        self._loop = loop
        self._handle = handle
        self._pending = b""
        self._ends = False
        self.is_closed = False
        self.on_drained: Callable[[], None] = _nothing

    @property
    def is_full(self) -> bool:
        return len(self._pending) > MAX_PENDING_BYTES

    def write(self, data: bytes) -> None:
        """Take it; it goes on as fast as somebody reads."""
        if self.is_closed or not data:
            return
        waits = bool(self._pending)
        self._pending += data
        if not waits:
            self._flush()
            if self._pending and not self.is_closed:
                self._loop.on_writable(self._handle, self._resume)

    def end(self) -> None:
        """Close when all is written."""
        self._ends = True
        if not self._pending:
            self.close()

    def close(self) -> None:
        """Close at once. Safe to repeat."""
        if not self.is_closed:
            self.is_closed = True
            self._pending = b""
            self._loop.forget(self._handle)
            os.close(self._handle)

    def _flush(self) -> None:
        try:
            while self._pending:
                self._pending = self._pending[os.write(self._handle, self._pending) :]
        except BlockingIOError:
            return
        except OSError:
            self.close()  # nobody reads any more

    def _resume(self) -> None:
        self._flush()
        if self.is_closed or self._pending:
            return
        self._loop.forget(self._handle)
        if self._ends:
            self.close()
        self.on_drained()


def _nothing() -> None:
    return None
