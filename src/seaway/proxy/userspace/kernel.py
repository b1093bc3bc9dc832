"""Descriptors: who is told of them, how many there may be, and the few options that a splice needs.

All sockets of the plane are in one epoll instance, which the event loop watches as a single descriptor. So a connection
costs the loop nothing, and what comes of many connections at once is taken in one call. Where there is no epoll,
`selectors` has the same.
Rule: epoll(7), socket(7) (SO_LINGER), ip(7) (IP_BIND_ADDRESS_NO_PORT).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import resource
import select
import selectors
import socket
import struct
from typing import Protocol

log = logging.getLogger(__name__)

IN, OUT, ERR, HUP = 0x001, 0x004, 0x008, 0x010
"""As epoll has them."""
MAX_EVENTS = 256
"""Taken in one call; the loop sees to others in between."""
WANTED_FILES = 1 << 18
"""Descriptors: 130,000 connections."""
FULL = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
"""The process, or the host, can hold no more."""
_IP_BIND_ADDRESS_NO_PORT = 24
_RESET = struct.pack("ii", 1, 0)


class Watcher(Protocol):
    """Who is told of a descriptor."""

    def on_events(self, events: int) -> None:
        """Some of IN, OUT, ERR and HUP. Told again as long as they hold. May be told of events that are over."""


class _Epoll:
    def __init__(self) -> None:
        self._epoll = select.epoll()
        self.fileno = self._epoll.fileno
        self.register = self._epoll.register
        self.modify = self._epoll.modify
        self.unregister = self._epoll.unregister
        self.close = self._epoll.close

    def poll(self, most: int) -> list[tuple[int, int]]:
        return self._epoll.poll(0, most)


class _Selector:
    """The same by what the host has. It cannot watch for errors alone: they wait until somebody reads."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self.close = self._selector.close

    def fileno(self) -> int:
        return int(self._selector.fileno())

    def register(self, fd: int, mask: int) -> None:
        if mask:
            self._selector.register(fd, self._translate(mask))

    def modify(self, fd: int, mask: int) -> None:
        self.unregister(fd)
        self.register(fd, mask)

    def unregister(self, fd: int) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(fd)

    def poll(self, most: int) -> list[tuple[int, int]]:
        return [
            (key.fd, (IN if events & selectors.EVENT_READ else 0) | (OUT if events & selectors.EVENT_WRITE else 0))
            for key, events in self._selector.select(0)[:most]
        ]

    @staticmethod
    def _translate(mask: int) -> int:
        return (selectors.EVENT_READ if mask & IN else 0) | (selectors.EVENT_WRITE if mask & OUT else 0)


class Poller:
    """Descriptors and their watchers, in an event loop. Sockets are closed by `close`, never directly.

    What is closed keeps its number until all events of a call were told, so that none is told of another's.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, has_epoll: bool = hasattr(select, "epoll")) -> None:
        self._loop = loop
        self._poll: _Epoll | _Selector = _Epoll() if has_epoll else _Selector()
        self._watchers: dict[int, Watcher] = {}
        self._closing: list[socket.socket] = []
        self._is_telling = False
        loop.add_reader(self._poll.fileno(), self._tell)

    def __len__(self) -> int:
        return len(self._watchers)

    def watch(self, fd: int, mask: int, watcher: Watcher) -> None:
        """From now on; errors are told also without a mask. Raises OSError when the kernel has no room."""
        self._poll.register(fd, mask)
        self._watchers[fd] = watcher

    def change(self, fd: int, mask: int) -> None:
        """Only these events from now on, and errors."""
        self._poll.modify(fd, mask)

    def forget(self, fd: int) -> None:
        """Tell nothing more of it; it may be watched again."""
        if self._watchers.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def close(self, closed: socket.socket) -> None:
        """Close the socket, watched or not."""
        fd = closed.fileno()
        if fd < 0:
            return
        self.forget(fd)
        if self._is_telling:
            self._closing.append(closed)
        else:
            closed.close()

    def end(self) -> None:
        """Watch nothing more. What is watched must have been closed before."""
        self._loop.remove_reader(self._poll.fileno())
        self._poll.close()
        self._bury()

    def _tell(self) -> None:
        """What has come, and what comes meanwhile: another turn of the loop costs more than another look."""
        left = MAX_EVENTS
        while left > 0 and (found := self._poll.poll(left)):
            left -= len(found)
            self._is_telling = True
            try:
                for fd, events in found:
                    watcher = self._watchers.get(fd)
                    if watcher is not None:
                        self._tell_one(fd, events, watcher)
            finally:
                self._is_telling = False
                self._bury()

    def _tell_one(self, fd: int, events: int, watcher: Watcher) -> None:
        try:
            watcher.on_events(events)
        except Exception:
            log.exception("socket=%d failed=%s", fd, type(watcher).__name__)
            self.forget(fd)  # it would be told again and again

    def _bury(self) -> None:
        if self._closing:
            for closed in self._closing:
                closed.close()
            self._closing.clear()


class SpareDescriptor:
    """One descriptor in reserve: when no other is left, a client can still be taken and told that it is refused."""

    def __init__(self) -> None:
        self._fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def refuse(self, listener: socket.socket) -> bool:
        """Reset the next client of the listener; whether there was one."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        try:
            client, _ = listener.accept()
        except OSError:
            return False
        finally:
            self._refill()
        reset_on_close(client)
        client.close()
        self._refill()
        return True

    def close(self) -> None:
        """Give it back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _refill(self) -> None:
        if self._fd < 0:
            with contextlib.suppress(OSError):
                self._fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


def raise_file_limit() -> int:
    """Allow this process as many descriptors as it may have; how many those are."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in (max(hard, WANTED_FILES), hard):  # root may have more than it was given
        with contextlib.suppress(OSError, ValueError):  # macOS says "unlimited" and means less
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
            break
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def reset_on_close(closed: socket.socket) -> None:
    """The peer is to see a reset, not an end; what was not sent is lost."""
    with contextlib.suppress(OSError):
        closed.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def send_at_once(connected: socket.socket) -> None:
    """Wait for no full segment: both ends decided already what belongs together."""
    with contextlib.suppress(OSError):
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def bind_source(unbound: socket.socket, address: str) -> None:
    """Connect from this address, whose port is chosen only then: one port may lead to many endpoints.

    An address that is not this host's is left: the kernel chooses.
    """
    with contextlib.suppress(OSError):
        unbound.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
        unbound.bind((address, 0))


def pending_error(connecting: socket.socket) -> int:
    """How an attempt to connect ended, as an errno; 0: it succeeded."""
    return connecting.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
