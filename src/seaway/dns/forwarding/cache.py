"""Replies of upstreams for as long as they may be repeated, within limits of number and bytes. Time is an argument.

A question has one reply at most, the newest; only a SERVFAIL does not replace a better one. All records of a reply
carry one lifetime, which counts down. Rule: spec "discovery" A3.4; RFC 2308 (negative), RFC 8767 (stale).
"""

from __future__ import annotations

import math
import struct
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from seaway.dns.forwarding.config import CacheConfig, is_within
from seaway.dns.message import AA, RCODE_MASK, RD, TC, Message, WireError, skip_name
from seaway.dns.records import Name, RCode, RRType

UNKEPT_TTL_SECONDS = 5
"""What the records of a reply show that may not be kept; CoreDNS shows the same."""
NOT_FOUND_CODES = (RCode.NOERROR, RCode.NXDOMAIN)
_FAILURES = (RCode.SERVFAIL, RCode.NOTIMP)
_OVERHEAD_BYTES = 700  # with 150 for each record, a little more than the objects around a message take


class CacheKey(NamedTuple):
    """What replies depend on. `question` is in lower case, with type and class."""

    question: bytes
    dnssec_ok: bool
    checking_disabled: bool


@dataclass(frozen=True, slots=True)
class Found:
    """A reply that is kept: what its records are to show, and whether it is over or should be fetched anew."""

    message: Message
    ttl_seconds: int
    is_stale: bool = False
    is_due: bool = False
    kind: str = "success"


@dataclass(frozen=True, slots=True)
class Lifetime:
    """For how long a reply may be repeated; `kind` is success, denial or failure."""

    seconds: int
    kind: str


class _Entry:
    """What is kept of one question, and how it is asked for."""

    __slots__ = ("expires", "hits", "lifetime", "message", "size", "used")

    def __init__(self, message: Message, lifetime: Lifetime, now: float) -> None:
        self.message = message
        self.lifetime = lifetime
        self.expires = now + lifetime.seconds
        self.hits = 0
        self.used = now
        self.size = len(message.wire) + _OVERHEAD_BYTES + 150 * len(message.places)


class ReplyCache:
    """Replies by question. The oldest of a kind make room for new ones."""

    def __init__(
        self, config: CacheConfig | None = None, *, on_evict: Callable[[str], None] = lambda kind: None
    ) -> None:
        """on_evict: is told the kind of each that had to make room."""
        self._config = config or CacheConfig()
        self._on_evict = on_evict
        # An ordinary dict whose first entries are gone is slow to say which is first now.
        self._kept: dict[str, OrderedDict[CacheKey, _Entry]] = {"success": OrderedDict(), "denial": OrderedDict()}
        self._bytes = 0

    def __len__(self) -> int:
        return sum(map(len, self._kept.values()))

    def count(self, kind: str) -> int:
        """Replies kept of the kind success or denial."""
        return len(self._kept[kind])

    def find(self, key: CacheKey, now: float) -> Found | None:
        """A reply that may be given, and the whole seconds that it has left: at least 1, or 0 when it is stale."""
        kind, entry = self._find_entry(key)
        if entry is None:
            return None
        config = self._config
        if entry.expires <= now:
            if entry.expires + config.stale_seconds <= now or entry.lifetime.kind == "failure":
                self._remove(key)
                return None
            return Found(entry.message, 0, is_stale=True, kind=kind)
        left = max(1, round(entry.expires - now))
        shown = entry.lifetime.seconds if config.keeps_ttl else left
        return Found(entry.message, shown, is_due=self._note_hit(entry, now), kind=kind)

    def store(self, key: CacheKey, name: Name, message: Message, now: float) -> int:
        """Keep the reply if it may be kept; the TTL that its records are to show, either way. name: in lower case."""
        config = self._config
        lifetime = choose_lifetime(message, config)
        if lifetime is None:
            return UNKEPT_TTL_SECONDS
        kind = "success" if lifetime.kind == "success" else "denial"
        unkept = config.unkept_successes if kind == "success" else config.unkept_denials
        if lifetime.seconds <= 0 or (unkept and any(is_within(name, zone) for zone in unkept)):
            return lifetime.seconds
        if config.zones and not any(is_within(name, zone) for zone in config.zones):
            return lifetime.seconds
        if lifetime.kind == "failure":
            _, better = self._find_entry(key)
            if better is not None and better.expires + config.stale_seconds > now:
                return lifetime.seconds
        marked = Message(message.wire, message.flags | AA, message.question_end, message.places)  # as CoreDNS does
        entry = _Entry(marked, lifetime, now)
        self._remove(key)
        if entry.size > config.max_bytes // 16:
            return lifetime.seconds
        self._make_room(kind, entry.size)
        self._kept[kind][key] = entry
        self._bytes += entry.size
        return lifetime.seconds

    def _note_hit(self, entry: _Entry, now: float) -> bool:
        """It is asked for often, and its end is near."""
        config = self._config
        if not config.prefetch_hits:
            return False
        if now - entry.used > config.prefetch_gap_seconds:
            entry.hits = 0
        entry.hits += 1
        entry.used = now
        threshold = math.ceil(entry.lifetime.seconds * config.prefetch_percent / 100)
        return entry.hits >= config.prefetch_hits and entry.expires - now <= threshold

    def _find_entry(self, key: CacheKey) -> tuple[str, _Entry | None]:
        for kind, entries in self._kept.items():
            entry = entries.get(key)
            if entry is not None:
                return kind, entry
        return "", None

    def _make_room(self, kind: str, size: int) -> None:
        config = self._config
        capacity = config.success_capacity if kind == "success" else config.denial_capacity
        while len(self._kept[kind]) >= capacity:
            self._evict(kind)
        while self._bytes + size > config.max_bytes:
            self._evict(max(self._kept, key=lambda each: len(self._kept[each])))

    def _evict(self, kind: str) -> None:
        self._remove(next(iter(self._kept[kind])))
        self._on_evict(kind)

    def _remove(self, key: CacheKey) -> None:
        for entries in self._kept.values():
            entry = entries.pop(key, None)
            if entry is not None:
                self._bytes -= entry.size


def choose_lifetime(message: Message, config: CacheConfig) -> Lifetime | None:
    """For how many seconds the reply may be repeated; None: not at all."""
    rcode = message.flags & RCODE_MASK
    if message.flags & TC or not message.flags & RD:
        return None
    if rcode in _FAILURES:
        return Lifetime(int(config.failure_seconds), "failure") if config.failure_seconds else None
    records = [place for place in message.places if place.rrtype != RRType.OPT]
    has_answer = any(place.section == 0 for place in records)
    soa = next((place for place in records if place.section == 1 and place.rrtype == RRType.SOA), None)
    if rcode not in NOT_FOUND_CODES or (rcode == RCode.NXDOMAIN and has_answer):
        return None
    ttls = [place.ttl_seconds for place in records]
    if has_answer and not _lacks_type(message):
        return Lifetime(max(config.success_min_seconds, min(config.success_max_seconds, *ttls)), "success")
    if soa is None:
        return None
    ttls.append(_soa_minimum(message, soa.rdata_at, soa.end))
    return Lifetime(max(config.denial_min_seconds, min(config.denial_max_seconds, *ttls)), "denial")


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
