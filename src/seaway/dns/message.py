"""Any DNS message as bytes: names walked and decoded within hard limits, records located, none interpreted needlessly.

Everything here reads what strangers sent. A pointer may only lead backwards to where no label of the same name has been
read, so that a walk always ends; a length that leaves the message is a `WireError`, never an exception of another kind.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from seaway.dns.records import MAX_NAME_BYTES, Address, Name, Record, RRType, Target

HEADER_BYTES = 12
QR, AA, TC, RD, RA, AD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0020, 0x0010
OPCODE_MASK, RCODE_MASK = 0x7800, 0x000F
CLASS_IN = 1
DO = 0x8000  # the flag in an OPT record's TTL
_RECORD = struct.Struct("!HHIH")
_HEADER = struct.Struct("!HHHHHH")


class WireError(ValueError):
    """Bytes that are no DNS message; the text says where they stop to be one."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one record lies: its owner, its TTL, its rdata, its end. Section 0 is answer, 2 additional."""

    section: int
    rrtype: int
    rrclass: int
    ttl_seconds: int
    start: int
    ttl_at: int
    rdata_at: int
    end: int


@dataclass(frozen=True, slots=True)
class Message:
    """A whole message whose records lie within its bytes. `places` come in order; the OPT record is among them."""

    wire: bytes
    flags: int
    question_end: int
    places: tuple[Place, ...]

    @property
    def question(self) -> bytes:
        """Name, type and class, in lower case: what a reply must repeat."""
        return lower_question(self.wire[HEADER_BYTES : self.question_end])


def lower_question(question: bytes) -> bytes:
    """An encoded question with its name in lower case. (No length octet of a label is a letter.)"""
    return question[:-4].lower() + question[-4:]


def encode_question(name: Name, qtype: int) -> bytes:
    """A question of class IN."""
    return b"".join(bytes((len(label),)) + label for label in name) + b"\0" + struct.pack("!HH", qtype, CLASS_IN)


def skip_name(wire: bytes, at: int) -> int:
    """Where the name at `at` ends, pointers not followed. Raises WireError."""
    try:
        while length := wire[at]:
            if length >= 0xC0:
                if at + 2 > len(wire):
                    break
                return at + 2
            if length > 63:
                raise WireError(f"label type {length >> 6} at {at}")
            at += 1 + length
    except IndexError:
        raise WireError(f"name leaves the message at {at}") from None
    return at + 1


def decode_name(wire: bytes, at: int) -> tuple[Name, int]:
    """The name at `at`, decompressed, and where it ends. Raises WireError. Rule: RFC 1035 4.1.4."""
    labels: list[bytes] = []
    end, floor, size = 0, at, 1
    while True:
        if at >= len(wire):
            raise WireError(f"name leaves the message at {at}")
        length = wire[at]
        if length >= 0xC0:
            if at + 2 > len(wire):
                raise WireError(f"pointer leaves the message at {at}")
            end = end or at + 2
            at = (length & 0x3F) << 8 | wire[at + 1]
            if at >= floor:
                raise WireError(f"pointer to {at} does not lead backwards")
            floor = at
            continue
        if length > 63:
            raise WireError(f"label type {length >> 6} at {at}")
        if length == 0:
            return tuple(labels), end or at + 1
        label = wire[at + 1 : at + 1 + length]
        size += 1 + length
        if len(label) < length or size > MAX_NAME_BYTES:
            raise WireError(f"label too long at {at}")
        labels.append(label)
        at += 1 + length


def decode_message(wire: bytes) -> Message:
    """The message with one question and all its records located. Raises WireError."""
    if len(wire) < HEADER_BYTES:
        raise WireError("shorter than a header")
    _, flags, questions, *counts = _HEADER.unpack_from(wire)
    if questions != 1:
        raise WireError(f"{questions} questions, 1 expected")
    _, end = decode_name(wire, HEADER_BYTES)
    at = question_end = end + 4
    if at > len(wire):
        raise WireError("question leaves the message")
    places: list[Place] = []
    for section, count in enumerate(counts):
        for _ in range(count):
            place = locate_record(wire, at, section)
            places.append(place)
            at = place.end
    return Message(wire, flags, question_end, tuple(places))


def locate_record(wire: bytes, at: int, section: int) -> Place:
    """The record that begins at `at`. Raises WireError."""
    fixed = skip_name(wire, at)
    if fixed + 10 > len(wire):
        raise WireError(f"record leaves the message at {at}")
    rrtype, rrclass, ttl, length = _RECORD.unpack_from(wire, fixed)
    rdata_at = fixed + 10
    if rdata_at + length > len(wire):
        raise WireError(f"rdata leaves the message at {rdata_at}")
    return Place(section, rrtype, rrclass, ttl, at, fixed + 4, rdata_at, rdata_at + length)


def decode_alias_records(message: Message) -> tuple[Record, ...]:
    """The A, AAAA and CNAME records of the answer section, in order. Raises WireError."""
    records: list[Record] = []
    for place in message.places:
        if place.section != 0 or place.rrclass != CLASS_IN:
            continue
        owner, _ = decode_name(message.wire, place.start)
        rdata = message.wire[place.rdata_at : place.end]
        if (place.rrtype, len(rdata)) in ((RRType.A, 4), (RRType.AAAA, 16)):
            records.append(Record(owner, place.rrtype, place.ttl_seconds, Address(rdata)))
        elif place.rrtype == RRType.CNAME:
            target, _ = decode_name(message.wire, place.rdata_at)
            records.append(Record(owner, place.rrtype, place.ttl_seconds, Target(target)))
    return tuple(records)
