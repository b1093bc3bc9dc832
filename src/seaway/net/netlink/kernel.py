"""The netlink socket."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterator

from seaway.net.netlink.messages import (
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    Message,
    pack_message,
    parse_messages,
)

NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12
RECEIVE_BYTES = 1 << 20
SEND_BUFFER_BYTES = 212_992
"""What anybody may ask for (net.core.wmem_max as it comes); the kernel grants twice that to one message."""
REPLY_TIMEOUT_SECONDS = 30  # a reply is there when send returns; only a kernel in trouble takes longer
DUMP_ATTEMPTS = 5
_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
_NLM_F_DUMP_INTR = 0x10


class DumpInterrupted(OSError):
    """What was listed changed meanwhile."""


class NetlinkSocket:
    """One socket of one netlink protocol. Raises OSError."""

    def __init__(self, protocol: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._socket.bind((0, 0))
        self._socket.settimeout(REPLY_TIMEOUT_SECONDS)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    def next_sequence(self, count: int = 1) -> int:
        """The first of `count` sequence numbers that no reply can be mistaken for."""
        first = self._sequence + 1
        self._sequence += count
        if self._sequence > 0x7FFFFFFF:
            self._sequence, first = count, 1
        return first

    def join(self, group: int) -> None:
        """Receive what the kernel tells this group, too."""
        self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)

    def send(self, packed: bytes) -> None:
        self._socket.send(packed)

    def wait(self, timeout_seconds: float) -> list[Message]:
        """The messages of the next datagram; none when none comes in time."""
        self._socket.settimeout(timeout_seconds)
        try:
            return self.receive()
        except TimeoutError:
            return []
        finally:
            self._socket.settimeout(REPLY_TIMEOUT_SECONDS)

    def receive(self) -> list[Message]:
        """The messages of one datagram."""
        return list(parse_messages(self._socket.recv(RECEIVE_BYTES)))

    def drain(self) -> Iterator[Message]:
        """What is there already."""
        self._socket.setblocking(False)
        try:
            while True:
                yield from self.receive()
        except BlockingIOError:
            return
        finally:
            self._socket.settimeout(REPLY_TIMEOUT_SECONDS)

    def request(self, kind: int, payload: bytes, *, flags: int = 0) -> list[Message]:
        """The replies to one request: up to the acknowledgement, or of a whole dump."""
        sequence = self.next_sequence()
        self.send(pack_message(kind, NLM_F_REQUEST | flags, sequence, payload))
        replies: list[Message] = []
        while True:
            for message in self.receive():
                if message.sequence != sequence:
                    continue
                if flags & NLM_F_DUMP and message.flags & _NLM_F_DUMP_INTR:
                    raise DumpInterrupted(errno.EINTR, os.strerror(errno.EINTR))
                if message.type == NLMSG_ERROR:
                    raise_error(message)
                    return replies
                if message.type == NLMSG_DONE:
                    return replies
                replies.append(message)
                if not flags & (NLM_F_DUMP | NLM_F_ACK):
                    return replies

    def dump(self, kind: int, payload: bytes) -> list[Message]:
        """A whole listing; tried again when it changed meanwhile."""
        for _ in range(DUMP_ATTEMPTS):
            with contextlib.suppress(DumpInterrupted):
                return self.request(kind, payload, flags=NLM_F_DUMP)
            for _ in self.drain():
                pass
        raise DumpInterrupted(errno.EINTR, os.strerror(errno.EINTR))

    def walk(self, kind: int, payload: bytes) -> Iterator[list[Message]]:
        """A listing, a datagram at a time. Nothing else may be asked of this socket until it has ended, or was left."""
        sequence = self.next_sequence()
        self.send(pack_message(kind, NLM_F_REQUEST | NLM_F_DUMP, sequence, payload))
        has_ended = False
        try:
            while not has_ended:
                messages = [message for message in self.receive() if message.sequence == sequence]
                for message in messages:
                    has_ended = has_ended or message.type in (NLMSG_DONE, NLMSG_ERROR)
                    if message.type == NLMSG_ERROR:
                        raise_error(message)
                yield [message for message in messages if message.type not in (NLMSG_DONE, NLMSG_ERROR)]
        finally:
            while not has_ended:  # the kernel lists one thing at a time for a socket
                has_ended = any(message.type in (NLMSG_DONE, NLMSG_ERROR) for message in self.receive())


def raise_error(message: Message) -> None:
    """Raise the error that the message carries, if it is one; an acknowledgement is none."""
    code = -struct.unpack_from("=i", message.payload)[0]
    if code:
        raise OSError(code, os.strerror(code))
