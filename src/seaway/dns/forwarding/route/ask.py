"""A question to an upstream, and which bytes are a reply to it.

A reply counts only with the id and the question that were sent: everything else is somebody's guess. What has the id
and another question is told apart, since the upstream itself may be what is wrong. With random case (draft-vixie-
dnsext-dns0x20) the spelling must come back too.
"""

from __future__ import annotations

import enum
import functools
from dataclasses import dataclass

from seaway.dns.forwarding.cache import CacheKey
from seaway.dns.message import CD, HEADER_BYTES, QR, RCODE_MASK, RD, Message, WireError, decode_message, lower_question
from seaway.dns.records import RCode
from seaway.dns.wire import OPT_BYTES, encode_upstream_query


@dataclass(frozen=True)
class Ask:
    """One question to an upstream: name, type and class as on the wire, and the flags that are passed on."""

    question: bytes
    flags: int = RD
    dnssec_ok: bool = False

    @functools.cached_property
    def key(self) -> CacheKey:
        """What replies to it are kept under."""
        return CacheKey(lower_question(self.question), self.dnssec_ok, bool(self.flags & CD))


class Mismatch(enum.Enum):
    """Bytes that are no reply to the question."""

    STRANGE = "no message, or another id: not for us"
    NO_EDNS = "does not understand EDNS"
    OTHER_QUESTION = "answers another question"
    OTHER_CASE = "spells the question in another way"


def encode_ask(ask: Ask, query_id: int, *, udp_bytes: int) -> bytes:
    """The query to send, without EDNS when `udp_bytes` is 0."""
    query = encode_upstream_query(query_id, ask.question, flags=ask.flags, udp_bytes=udp_bytes, dnssec_ok=ask.dnssec_ok)
    return query if udp_bytes else query[:10] + b"\0\0" + query[HEADER_BYTES:-OPT_BYTES]


def read_reply(wire: bytes, query: bytes) -> Message | Mismatch:
    """The reply to the query, or what is wrong with the bytes. Never raises."""
    if wire[:2] != query[:2]:
        return Mismatch.STRANGE
    has_edns = query[11] == 1
    is_refusal = len(wire) >= HEADER_BYTES and wire[2] & 0x80 and wire[3] & RCODE_MASK in (RCode.FORMERR, RCode.NOTIMP)
    if has_edns and is_refusal and wire[4:6] == b"\0\0":
        return Mismatch.NO_EDNS  # RFC 6891 7: such a server may send no more than a header
    try:
        message = decode_message(wire)
    except WireError:
        return Mismatch.STRANGE
    # Of another length the pointers of its records would not fit our question.
    asked = query[HEADER_BYTES:-OPT_BYTES] if has_edns else query[HEADER_BYTES:]
    repeated = wire[HEADER_BYTES : message.question_end]
    if not message.flags & QR:
        return Mismatch.OTHER_QUESTION
    if repeated == asked:
        return Mismatch.NO_EDNS if has_edns and message.flags & RCODE_MASK == RCode.FORMERR else message
    is_same = lower_question(repeated) == lower_question(asked)
    return Mismatch.OTHER_CASE if is_same else Mismatch.OTHER_QUESTION


def mix_case(question: bytes, bits: int) -> bytes:
    """The question with each letter in upper case where the number has a bit: what a guesser must guess too."""
    name = bytearray(question[:-4].lower())
    for i, byte in enumerate(name):
        if 0x61 <= byte <= 0x7A and bits >> i & 1:
            name[i] = byte - 32
    return bytes(name) + question[-4:]
