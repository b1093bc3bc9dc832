"""Netlink messages and attributes as bytes, both ways. Rule: include/uapi/linux/netlink.h of the kernel."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_DUMP = 0x300
NLM_F_REPLACE = 0x100
NLM_F_CREATE = 0x400
NLM_F_EXCL = 0x200
NLM_F_APPEND = 0x800
NLMSG_ERROR = 2
NLMSG_DONE = 3
NLA_NESTED = 0x8000
NLA_TYPE_MASK = 0x3FFF

HEADER = struct.Struct("=IHHII")
ATTRIBUTE = struct.Struct("=HH")
_unpack_attribute = ATTRIBUTE.unpack_from
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")


class Message(NamedTuple):
    """One received message; the payload is without the header."""

    type: int
    flags: int
    sequence: int
    payload: bytes


def pack_attribute(kind: int, value: bytes) -> bytes:
    """An attribute, padded to four bytes."""
    return ATTRIBUTE.pack(len(value) + 4, kind) + value + _PADDING[len(value) & 3]


def pack_nested(kind: int, *values: bytes) -> bytes:
    """An attribute that holds attributes."""
    body = b"".join(values)
    return ATTRIBUTE.pack(len(body) + 4, kind | NLA_NESTED) + body


def pack_u32(kind: int, value: int) -> bytes:
    """A number of four bytes in network order, as netfilter writes them."""
    return ATTRIBUTE.pack(8, kind) + value.to_bytes(4, "big")


def pack_string(kind: int, text: str) -> bytes:
    """A string with its end."""
    return pack_attribute(kind, text.encode() + b"\0")


def pack_message(kind: int, flags: int, sequence: int, payload: bytes) -> bytes:
    """A message with its header; the payload is a multiple of four bytes."""
    return HEADER.pack(16 + len(payload), kind, flags, sequence, 0) + payload


def parse_messages(received: bytes) -> Iterator[Message]:
    """The messages of one datagram. Raises ValueError when it ends within one."""
    offset = 0
    while offset + 16 <= len(received):
        length, kind, flags, sequence, _ = HEADER.unpack_from(received, offset)
        if length < 16 or offset + length > len(received):
            raise ValueError(f"netlink message of {length} bytes, {len(received) - offset} are there")
        yield Message(kind, flags, sequence, received[offset + 16 : offset + length])
        offset += (length + 3) & ~3


def parse_attributes(payload: bytes) -> dict[int, bytes]:
    """Type → value; of several of a type the last. Raises ValueError when one reaches beyond the end."""
    found: dict[int, bytes] = {}
    offset, end = 0, len(payload)
    while offset + 4 <= end:  # iterate_attributes, without a generator: tables are read back through this
        length, kind = _unpack_attribute(payload, offset)
        if length < 4 or offset + length > end:
            raise ValueError(f"netlink attribute of {length} bytes, {end - offset} are there")
        found[kind & NLA_TYPE_MASK] = payload[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def iterate_attributes(payload: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, value) in order, flags of the type left out."""
    offset = 0
    while offset + 4 <= len(payload):
        length, kind = ATTRIBUTE.unpack_from(payload, offset)
        if length < 4 or offset + length > len(payload):
            raise ValueError(f"netlink attribute of {length} bytes, {len(payload) - offset} are there")
        yield kind & NLA_TYPE_MASK, payload[offset + 4 : offset + length]
        offset += (length + 3) & ~3
