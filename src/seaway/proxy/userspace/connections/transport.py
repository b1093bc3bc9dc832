"""One end of a connection: bytes that come from it go to the other end, and what that does not take is kept.

A read is followed by a write of the same bytes, from one buffer that all connections share; what the other end does not
take is kept, and nothing more is read until it is taken (back-pressure). So an idle connection holds no buffer at all.
1. The end of one direction is passed on when all before it was, and the other goes on (half-close).
2. A reset of one end is a reset of the other, once what the endpoint had sent before was delivered.
Rule: issue of the userspace plane, part 2; docs/design/0027.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

from seaway.proxy.userspace.kernel import ERR, HUP, IN, OUT

if TYPE_CHECKING:
    from seaway.proxy.userspace.connections.forward import Connection

FIRST_READ, LEAST_READ, MOST_READ = 16 * 1024, 4 * 1024, 512 * 1024
"""Bytes of a read: doubled while reads are full and taken whole, halved when the other end does not take them."""
LAST_READS = 32
"""Reads of what an endpoint said before it reset the connection."""
NOT_WATCHED, CLOSED = -1, -2
"""Masks of an end of which nothing is told."""


class End:
    """One end of a connection: its socket, and what is on the way to it."""

    __slots__ = ("at_end", "connection", "fd", "is_finished", "mask", "other", "pending", "socket", "window")

    other: End

    def __init__(self, connection: Connection, connected: socket.socket) -> None:
        self.connection, self.socket, self.fd = connection, connected, connected.fileno()
        self.pending: memoryview | None = None
        """What it has not taken yet."""
        self.mask = NOT_WATCHED
        self.window = FIRST_READ
        self.at_end = False
        """It sends nothing more."""
        self.is_finished = False
        """It was told that nothing more comes."""

    def watch(self, mask: int) -> None:
        """Only these events from now on, and errors."""
        poller = self.connection.splicer.poller
        if self.mask == NOT_WATCHED:
            poller.watch(self.fd, mask, self)
        elif mask != self.mask:
            poller.change(self.fd, mask)
        self.mask = mask

    def on_events(self, events: int) -> None:
        """It can take more, or has sent something, or has ended."""
        if events & OUT and self.mask > 0 and self.mask & OUT:
            self._flush()
        if events & (IN | ERR | HUP) and self.mask != CLOSED:
            if self.mask > 0 and self.mask & IN:
                self._read()
            elif events & ERR:
                self.connection.reset()
            elif events & HUP and self.mask == 0:
                # Nobody may read now, and it would be told for ever.
                self.connection.splicer.poller.forget(self.fd)
                self.mask = NOT_WATCHED
                if self.connection.endpoint is None:
                    self.connection.reset()

    def _read(self) -> None:
        connection, other = self.connection, self.other
        view = connection.splicer.view
        try:
            count = self.socket.recv_into(view, self.window)
        except BlockingIOError:
            return
        except OSError:
            connection.reset()
            return
        if not count:
            self.at_end = True
            connection.splicer.half_closed[connection] = (connection.moved, connection.splicer.loop.time())
            self.watch(self.mask & ~IN)
            if other.pending is None:
                other.finish()
            return
        connection.moved += count
        if other.is_finished:
            return  # nobody is there to take it
        try:
            sent = other.socket.send(view[:count])
        except BlockingIOError:
            sent = 0
        except OSError:
            other.deliver_last_words()
            connection.reset()
            return
        if sent == count:
            if count == self.window and count < MOST_READ:
                self.window = count * 2
            return
        self.window = max(LEAST_READ, self.window // 2)
        other.pending = memoryview(bytes(view[sent:count]))
        self.watch(self.mask & ~IN)
        other.watch(other.mask | OUT if other.mask > 0 else OUT)

    def _flush(self) -> None:
        pending, other = self.pending, self.other
        if pending is not None:
            try:
                sent = self.socket.send(pending)
            except BlockingIOError:
                return
            except OSError:
                self.deliver_last_words()
                self.connection.reset()
                return
            if sent < len(pending):
                self.pending = pending[sent:]
                return
            self.pending = None
        self.watch(self.mask & ~OUT)
        if other.at_end or self.connection.is_finishing:
            self.finish()
        if not other.at_end and self.connection.is_open:
            other.watch((other.mask if other.mask > 0 else 0) | IN)

    def finish(self) -> None:
        """Tell it that nothing more comes."""
        if not self.is_finished:
            self.is_finished = True
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)
        if self.at_end and self.other.at_end and self.other.is_finished:
            self.connection.close()

    def deliver_last_words(self) -> None:
        """What it sent before it reset the connection still is for the other end, as far as that takes it."""
        view, other = self.connection.splicer.view, self.other
        if other.pending is not None or other.is_finished:
            return
        for _ in range(LAST_READS):
            try:
                count = self.socket.recv_into(view, FIRST_READ)
                if not count or other.socket.send(view[:count]) < count:
                    return
            except OSError:
                return
