"""Many datagrams per system call, by recvmmsg and sendmmsg, which Python's sockets do not have.

A `Batch` is one socket's buffers, made once: a slot per datagram for its bytes and its sender, and one per reply.
Replies leave to the senders of the queries that they answer. Rule: recvmmsg(2), sendmmsg(2); structures of the ABI of
Linux for 64 bits, elsewhere `Batch.is_possible` is False.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import sys

SLOTS = 64
SLOT_BYTES = 4096
_NAME_BYTES = 28  # sockaddr_in6, the longest that comes here
_MSG_DONTWAIT = 0x40
_MMSGHDR_BYTES = 64  # struct mmsghdr: msghdr of 56 bytes, its length, padding
_LENGTH_AT = 56 // 4
Peer = tuple[str, int] | tuple[str, int, int, int]

_libc = ctypes.CDLL(None) if sys.platform == "linux" and ctypes.sizeof(ctypes.c_void_p) == 8 else None
if _libc is not None and hasattr(_libc, "recvmmsg"):
    _recvmmsg, _sendmmsg = _libc.recvmmsg, _libc.sendmmsg
    _recvmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p]
    _sendmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]


class Batch:
    """The datagrams that one socket receives at once, and the replies that it sends at once."""

    is_possible = _libc is not None and hasattr(_libc, "recvmmsg")

    def __init__(self, sock: socket.socket) -> None:
        self._descriptor = sock.fileno()
        self._is_v6 = sock.family == socket.AF_INET6
        self.queries, self._names, self.replies = (
            bytearray(SLOTS * size) for size in (SLOT_BYTES, _NAME_BYTES, SLOT_BYTES)
        )
        queries, names, replies = map(_address_of, (self.queries, self._names, self.replies))
        self._names_at = tuple(names + i * _NAME_BYTES for i in range(SLOTS))
        name_bytes = _NAME_BYTES if self._is_v6 else 16
        self._in_vectors, in_vectors = _allocate(16 * SLOTS)
        self._out_vectors, out_vectors = _allocate(16 * SLOTS)
        self._in_headers, self._in_at = _allocate(_MMSGHDR_BYTES * SLOTS)
        self._out_headers, self._out_at = _allocate(_MMSGHDR_BYTES * SLOTS)
        for i in range(SLOTS):
            struct.pack_into("=QQ", self._in_vectors, 16 * i, queries + i * SLOT_BYTES, SLOT_BYTES)
            struct.pack_into("=QQ", self._out_vectors, 16 * i, replies + i * SLOT_BYTES, 0)
            for headers, vectors in ((self._in_headers, in_vectors), (self._out_headers, out_vectors)):
                # msg_name, msg_namelen, msg_iov, msg_iovlen; no control data
                at = _MMSGHDR_BYTES * i
                struct.pack_into("=QI4xQQ", headers, at, self._names_at[i], name_bytes, vectors + 16 * i, 1)
        self._in_lengths = memoryview(self._in_headers).cast("I")[_LENGTH_AT :: _MMSGHDR_BYTES // 4]
        self._out_lengths = memoryview(self._out_vectors).cast("Q")[1::2]
        self._out_names = memoryview(self._out_headers).cast("Q")[:: _MMSGHDR_BYTES // 8]

    def receive(self) -> list[int]:
        """The lengths of the datagrams that were waiting; that of number i lies in `queries` at i · SLOT_BYTES."""
        count = _recvmmsg(self._descriptor, self._in_at, SLOTS, _MSG_DONTWAIT, None)
        return self._in_lengths[:count].tolist() if count > 0 else []

    def find_peer(self, number: int) -> Peer:
        """Who sent the datagram, as `recvfrom` says it."""
        at = number * _NAME_BYTES
        port = int.from_bytes(self._names[at + 2 : at + 4], "big")
        if not self._is_v6:
            return socket.inet_ntop(socket.AF_INET, self._names[at + 4 : at + 8]), port
        flow = int.from_bytes(self._names[at + 4 : at + 8], "big")
        scope = int.from_bytes(self._names[at + 24 : at + 28], sys.byteorder)
        return socket.inet_ntop(socket.AF_INET6, self._names[at + 8 : at + 24]), port, flow, scope

    def put(self, place: int, number: int, reply: bytes) -> None:
        """The reply to the datagram; places are taken one after the other. At most SLOT_BYTES."""
        at, size = place * SLOT_BYTES, len(reply)
        self.replies[at : at + size] = reply
        self._out_lengths[place] = size
        self._out_names[place] = self._names_at[number]

    def send(self, count: int) -> None:
        """Send what was put in the first places. One that cannot be sent is lost: its client asks again."""
        sent = 0
        while sent < count:
            done = _sendmmsg(self._descriptor, self._out_at + sent * _MMSGHDR_BYTES, count - sent, _MSG_DONTWAIT)
            sent += max(1, done)


def _allocate(size: int) -> tuple[bytearray, int]:
    found = bytearray(size)
    return found, _address_of(found)


def _address_of(data: bytearray) -> int:
    """Where its bytes lie, for as long as it lives: nobody resizes it."""
    return ctypes.addressof((ctypes.c_char * len(data)).from_buffer(data))
