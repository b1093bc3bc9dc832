"""Replies of upstreams for as long as they may be repeated, within a limit of bytes. Time is an argument.

Rule: spec "discovery" A3.4, as stock clusters configure it (`cache 30`): at least 5 s, at most 30 s; every record of
a reply carries the one lifetime. Left out: prefetching and stale replies.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from seaway.dns.message import AA, RCODE_MASK, RD, TC, Message, WireError, skip_name
from seaway.dns.records import RCode, RRType

MIN_TTL_SECONDS = 5
MAX_TTL_SECONDS = 30
FAILURE_TTL_SECONDS = 5
MAX_BYTES = 8 << 20
_OVERHEAD_BYTES = 600  # with 150 for each record, a little more than the objects around a message take


@dataclass(frozen=True, slots=True)
class CacheKey:
    """What replies depend on. `question` is in lower case, with type and class."""

    question: bytes
    dnssec_ok: bool
    checking_disabled: bool


@dataclass(frozen=True, slots=True)
class _Kept:
    message: Message
    expires: float


class ReplyCache:
    """Replies by question. The oldest make room for new ones."""

    def __init__(self, *, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._kept: dict[CacheKey, _Kept] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, key: CacheKey, now: float) -> tuple[Message, int] | None:
        """A reply that has not expired, and the whole seconds that it has left, at least 1."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        if kept.expires <= now:
            self._remove(key)
            return None
        return kept.message, max(1, round(kept.expires - now))

    def store(self, key: CacheKey, message: Message, now: float) -> int:
        """Keep the reply if it may be kept; the lifetime that its records are to show, either way."""
        lifetime = choose_lifetime(message)
        if lifetime is None:
            return MIN_TTL_SECONDS
        size = _size(message)
        if size > self._max_bytes // 16:
            return lifetime
        self._remove(key)
        while self._kept and self._bytes + size > self._max_bytes:
            self._remove(next(iter(self._kept)))
        self._kept[key] = _Kept(replace(message, flags=message.flags | AA), now + lifetime)  # as CoreDNS marks repeats
        self._bytes += size
        return lifetime

    def _remove(self, key: CacheKey) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._bytes -= _size(kept.message)


def choose_lifetime(message: Message) -> int | None:
    """For how many seconds the reply may be repeated; None: not at all."""
    rcode = message.flags & RCODE_MASK
    if message.flags & TC or not message.flags & RD:
        return None
    if rcode == RCode.SERVFAIL:
        return FAILURE_TTL_SECONDS
    records = [place for place in message.places if place.rrtype != RRType.OPT]
    has_answer = any(place.section == 0 for place in records)
    soa = next((place for place in records if place.section == 1 and place.rrtype == RRType.SOA), None)
    if rcode not in (RCode.NOERROR, RCode.NXDOMAIN) or (rcode == RCode.NXDOMAIN and has_answer):
        return None
    ttls = [place.ttl_seconds for place in records]
    if not has_answer or _lacks_type(message):
        if soa is None:
            return None
        ttls.append(_soa_minimum(message, soa.rdata_at, soa.end))
    return max(MIN_TTL_SECONDS, min(MAX_TTL_SECONDS, *ttls))


def _lacks_type(message: Message) -> bool:
    """The answer is an alias that does not reach the type asked for."""
    qtype = int.from_bytes(message.question[-4:-2], "big")
    return qtype != RRType.CNAME and all(place.rrtype == RRType.CNAME for place in message.places if place.section == 0)


def _soa_minimum(message: Message, at: int, end: int) -> int:
    """Rule: RFC 2308 4: the last field bounds the lifetime of a negative answer."""
    try:
        fixed = skip_name(message.wire, skip_name(message.wire, at))
    except WireError:
        return 0
    if fixed + 20 != end:
        return 0
    minimum: int = struct.unpack_from("!I", message.wire, fixed + 16)[0]
    return minimum


def _size(message: Message) -> int:
    return len(message.wire) + _OVERHEAD_BYTES + 150 * len(message.places)
