"""SCTP by hand: the first packet of an association, on kernels that have no SCTP of their own. Rule: RFC 9260 §3."""

from __future__ import annotations

import select
import socket
import struct

from seaway.testing.netns import Namespace

SCTP = 132
_INIT = struct.pack("!BBHIIHHI", 1, 0, 20, 0x5EA3A1, 65536, 1, 1, 1)


def crc32c(data: bytes) -> int:
    """The checksum of SCTP, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def make_init(source_port: int, port: int) -> bytes:
    """An INIT with its checksum; conntrack looks at it."""
    body = struct.pack("!HHI", source_port, port, 0)
    return body + struct.pack("<I", crc32c(body + bytes(4) + _INIT)) + _INIT


class Listeners:
    """Raw sockets that see the SCTP packets of some namespaces, for the family."""

    def __init__(self, servers: dict[str, Namespace], family: int) -> None:
        self._names: dict[socket.socket, str] = {}
        self._family = family
        self._source_port = 20000
        for name, namespace in servers.items():
            with namespace.entered():
                self._names[socket.socket(family, socket.SOCK_RAW, SCTP)] = name

    def close(self) -> None:
        for sock in self._names:
            sock.close()

    def ask(self, client: Namespace, address: str, port: int, *, timeout_seconds: float = 2.0) -> tuple[str, str, int]:
        """(who got the INIT, seen source, port). Raises OSError: refused, not permitted, or nobody got it in time."""
        self._source_port += 1
        with client.entered():
            sender = socket.socket(self._family, socket.SOCK_RAW, SCTP)
        packet = make_init(self._source_port, port)
        with sender:
            sender.connect((address, 0))
            sender.send(packet)
            while True:
                readable, _, _ = select.select([*self._names], [], [], timeout_seconds)
                if not readable:
                    raise TimeoutError("nobody got it")
                for sock in readable:
                    received, peer = sock.recvfrom(2048)
                    if self._family == socket.AF_INET:
                        received = received[(received[0] & 15) * 4 :]
                    if received[12:] == packet[12:] and self._is_ours(received):
                        name = self._names[sock]
                        return name, str(peer[0]), int.from_bytes(received[2:4], "big")

    def _is_ours(self, received: bytes) -> bool:
        """Whole, by its checksum: translation has to mend it."""
        assert crc32c(received[:8] + bytes(4) + received[12:]) == struct.unpack("<I", received[8:12])[0]
        return True
