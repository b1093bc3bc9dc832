"""Sends UDP packets, each from an address and port of its own, as fast as it can: `udp_flood.py ADDRESS PORT SECONDS`.

Each is the first packet of a flow, and so meets the rules. Needs root. Sources are in 10.244.128.0/18.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import time

PACKETS, PER_ADDRESS, FIRST_PORT = 60_000, 20_000, 1024


def make_packets(address: str, port: int) -> list[bytes]:
    body = b"ping"
    packets = []
    for number in range(PACKETS):
        source = socket.inet_aton(f"10.244.{128 + number // PER_ADDRESS}.{1 + number % 250}")
        udp = struct.pack(">HHHH", FIRST_PORT + number % PER_ADDRESS, port, 8 + len(body), 0) + body
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, socket.IPPROTO_UDP, 0)
        packets.append(head + source + socket.inet_aton(address) + udp)
    return packets


def main(address: str, port: int, seconds: float) -> None:
    packets = make_packets(address, port)
    sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    ends = time.monotonic() + seconds
    for packet in packets:
        if time.monotonic() >= ends:
            break
        with contextlib.suppress(OSError):  # the link's queue is full
            sock.sendto(packet, (address, 0))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
