"""Options of the OPT record: which of them a query has, and what a reply says to them.

Answered are NSID (RFC 5001, where the server has been given a name), keepalive (RFC 7828, on streams alone) and padding
(RFC 7830, on encrypted streams alone; the length of a block is that of RFC 8467 4.1). All others are left out: client
subnet since answers do not depend on it, cookies since a client's cookie that comes back without ours proves nothing.
Rule: spec "discovery" A2.5, A6 #19.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Collection

from seaway.dns.message import WireError

MAX_NSID_BYTES = 128
PADDED_BLOCK_BYTES = 468
_OPTION = struct.Struct("!HH")


class OptionCode(enum.IntEnum):
    """The options that have a meaning here."""

    NSID = 3
    KEEPALIVE = 11
    PADDING = 12


def read_option_codes(data: bytes, start: int, end: int) -> frozenset[int]:
    """The codes of the options that lie there. Raises WireError."""
    codes: list[int] = []
    at = start
    while at < end:
        if at + _OPTION.size > end:
            raise WireError(f"option leaves its record at {at}")
        code, length = _OPTION.unpack_from(data, at)
        at += _OPTION.size + length
        if at > end:
            raise WireError(f"option leaves its record at {at}")
        codes.append(code)
    return frozenset(codes)


def encode_options(asked: Collection[int], *, nsid: bytes, idle_seconds: float | None) -> bytes:
    """What is said to the options of a query, but for padding. idle_seconds: of the stream; None: it is a datagram."""
    out = b""
    if OptionCode.NSID in asked and nsid:
        out += _OPTION.pack(OptionCode.NSID, len(nsid)) + nsid
    if OptionCode.KEEPALIVE in asked and idle_seconds is not None:
        out += _OPTION.pack(OptionCode.KEEPALIVE, 2) + int(idle_seconds * 10).to_bytes(2, "big")
    return out


def encode_padding(used_bytes: int, max_bytes: int) -> bytes:
    """The option that makes a message of `used_bytes` a whole number of blocks, or as long as it may be; or nothing."""
    total = used_bytes + _OPTION.size
    if total > max_bytes:
        return b""
    padding = min(-total % PADDED_BLOCK_BYTES, max_bytes - total)
    return _OPTION.pack(OptionCode.PADDING, padding) + bytes(padding)
