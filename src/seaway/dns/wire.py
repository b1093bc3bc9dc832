"""Queries decoded, replies encoded: only what a server of its own records needs, hence fast.

A reply is made as a `Reply`: the part behind the question depends on nothing but the question in lower case (names
that end in the question's name are pointers into it), so the same bytes serve every spelling of it, and the question
of the client, spliced in, brings its case along. Compression is always used; targets of SRV are not compressed (RFC
2782).

Rule: spec "discovery" A2.1 (acceptance), A2.2 (header), A2.4 (size), A2.5 (EDNS); RFC 1035 4, RFC 6891.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from seaway.dns.edns import encode_padding, read_option_codes
from seaway.dns.message import (
    AA,
    AD,
    CD,
    CLASS_IN,
    DO,
    HEADER_BYTES,
    OPCODE_MASK,
    QR,
    RA,
    RCODE_MASK,
    RD,
    TC,
    Message,
    Place,
    WireError,
    decode_name,
    locate_record,
)
from seaway.dns.records import Address, AddressSet, Name, RCode, Record, RRType, Soa, Srv, Target, Text, lower_name

MIN_UDP_BYTES = 512  # RFC 1035 4.2.1, RFC 6891 6.2.3
MAX_TCP_BYTES = 65_535
OPT_BYTES = 11
SERIAL_FROM_END = 20  # of an SOA record: serial and four more 32-bit numbers end it
OPCODE_QUERY, OPCODE_NOTIFY = 0x0000, 0x2000
ADDRESS_BYTES = {int(RRType.A): 4, int(RRType.AAAA): 16}
_MAX_POINTER = 0x3FFF
_POINTED_BYTES = 12  # of a record before its data, when its owner is a pointer
_HEAD = struct.Struct("!HHHHH")
_HEADER = struct.Struct("!HHHHHH")
_RECORD = struct.Struct("!HHIH")
_SRV = struct.Struct("!HHH")
_SOA = struct.Struct("!IIIII")
_OPT = struct.Struct("!BHHIH")


@dataclass(frozen=True, slots=True)
class Edns:
    """What the OPT record of a query says. options: the codes of those that it has."""

    udp_bytes: int
    version: int
    dnssec_ok: bool
    options: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Query:
    """An accepted query. `question` is the name, type and class as sent; `is_plain`: nothing else but an empty OPT.

    reply_options: what the OPT record of the reply has, encoded; `is_padded`: and then as much as makes it a block.
    """

    flags: int
    name: Name
    qtype: int
    qclass: int
    question: bytes
    edns: Edns | None = None
    is_plain: bool = True
    reply_options: bytes = b""
    is_padded: bool = False

    @property
    def opt_bytes(self) -> int:
        """What the OPT record of the reply takes, without padding, which takes only what is left."""
        return OPT_BYTES + len(self.reply_options) if self.edns is not None else 0


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply without its id: `head` (flags and counts), the question of the client (to `question_end`), `tail`.

    stride: before the tail come `shown` bytes of the records of `block`, each of this length, of which any may come
    first, so that all are told in time though a message may not hold them. 0: none. Replies share blocks.
    serial_at: where in the tail the serial of the zone lies, which may have grown since; -1: nowhere.
    tally: how often it was sent, over IPv4 and over IPv6; raised by who sends it.
    """

    head: bytes
    question_end: int
    tail: bytes
    stride: int = 0
    block: bytes = b""
    shown: int = 0
    serial_at: int = -1
    tally: list[int] = field(default_factory=lambda: [0, 0], compare=False)


def decode_query(data: bytes) -> Query | bytes | None:
    """The query; or, as bytes, the refusal that it deserves; or None when it deserves no reply. Never raises."""
    if len(data) < HEADER_BYTES:
        return None
    _, flags, questions, answers, authorities, additionals = _HEADER.unpack_from(data)
    if flags & QR:
        return None
    if flags & OPCODE_MASK not in (OPCODE_QUERY, OPCODE_NOTIFY):
        return _encode_rejection(data, flags, RCode.NOTIMP)
    if questions != 1 or answers > 1 or authorities > 1 or additionals > 2:
        return _encode_rejection(data, flags, RCode.FORMERR)
    try:
        name, at = _decode_question_name(data)
        if at + 4 > len(data):
            raise WireError("question leaves the message")
    except WireError:
        return _encode_rejection(data, flags & ~OPCODE_MASK, RCode.FORMERR)
    question_end = at + 4
    try:
        places, end = _locate_records(data, question_end, (answers, authorities, additionals))
        edns = _read_edns(data, places)
    except WireError:
        return _encode_rejection(data, flags & ~OPCODE_MASK, RCode.FORMERR, question_end)
    qtype, qclass = data[at] << 8 | data[at + 1], data[at + 2] << 8 | data[at + 3]
    is_plain = end == len(data) and end == question_end + (OPT_BYTES if edns else 0)
    return Query(flags, name, qtype, qclass, data[HEADER_BYTES:question_end], edns, is_plain)


def encode_failure(data: bytes) -> bytes:
    """SERVFAIL to a query of which nothing is known but its header."""
    return _encode_rejection(data, data[2] << 8 | data[3], RCode.SERVFAIL)


def encode_reply(
    query: Query,
    rcode: RCode,
    answer: Sequence[Record] = (),
    authority: Sequence[Record] = (),
    additional: Sequence[Record] = (),
    *,
    max_bytes: int,
    authoritative: bool = True,
    truncated: bool = False,
) -> Reply:
    """The reply of at most `max_bytes`: whole records, in order; TC when one of answer or authority had to be left out.

    Rotation is offered when the answer is a set of addresses of the question's name.
    """
    if isinstance(answer, AddressSet) and answer.owner == query.name:
        return _encode_addresses(query, answer, max_bytes)
    writer = _Writer(query)
    room = max_bytes - query.opt_bytes
    counts = [0, 0, 0]
    for section, records in enumerate((answer, authority, additional)):
        written = writer.write_records(records, room)
        counts[section] = written
        if written < len(records):
            truncated = truncated or section < 2  # glue is a courtesy (RFC 2181 9)
            break
    flags = _reply_flags(query, rcode, authoritative=authoritative, truncated=truncated)
    head = _HEAD.pack(flags, 1, *counts[:2], counts[2] + bool(query.edns))
    start = HEADER_BYTES + len(query.question)
    tail = bytes(writer.out[start:]) + encode_opt(query, rcode, max_bytes, used=len(writer.out))
    if counts[0] == 0 and counts[1] == 1 and isinstance(authority[0].rdata, Soa):
        return Reply(head, start, tail, serial_at=writer.last_end - start - SERIAL_FROM_END)
    return Reply(head, start, tail)


def assemble(query_id: bytes, question: bytes, reply: Reply, *, serial: int = -1, turn: int = 0) -> bytes:
    """The message to send: `turn` chooses which of the rotating records is first, `serial` is the zone's of now."""
    tail = reply.tail
    if reply.stride:
        cut = turn * reply.stride % len(reply.block)
        window = reply.block[cut : cut + reply.shown]
        rest = reply.block[: reply.shown - len(window)]
        return b"".join((query_id, reply.head, question, window, rest, tail))
    if reply.serial_at >= 0 and serial >= 0:
        tail = tail[: reply.serial_at] + serial.to_bytes(4, "big") + tail[reply.serial_at + 4 :]
    return b"".join((query_id, reply.head, question, tail))


def encode_relayed(query: Query, message: Message, *, ttl_seconds: int | None, max_bytes: int) -> Reply:
    """An upstream's message as a reply to the query: its records without OPT, with one TTL for all if one is given.

    The message answers the same question, so that its pointers stay right. AD is passed on only to those who asked.
    """
    start = message.question_end
    out = bytearray(message.wire[: message.places[-1].end] if message.places else message.wire[:start])
    room = max_bytes - query.opt_bytes
    counts, end, truncated, extended = [0, 0, 0], start, bool(message.flags & TC), 0
    for place in message.places:
        if place.rrtype == RRType.OPT:
            extended = place.ttl_seconds >> 24
            break  # what follows it is additional, and could point past what is cut out
        if place.end > room:
            truncated = truncated or place.section < 2
            break
        if ttl_seconds is not None:
            struct.pack_into("!I", out, place.ttl_at, ttl_seconds)
        counts[place.section] += 1
        end = place.end
    rcode = message.flags & RCODE_MASK
    if extended and not query.edns:
        rcode = RCode.SERVFAIL
    wants_ad = query.flags & AD or (query.edns and query.edns.dnssec_ok)
    flags = (
        QR
        | message.flags & (AA | RA | (AD if wants_ad else 0))
        | query.flags & (RD | CD)
        | (TC if truncated else 0)
        | rcode
    )
    head = _HEAD.pack(flags, 1, *counts[:2], counts[2] + bool(query.edns))
    return Reply(head, start, bytes(out[start:end]) + encode_opt(query, extended << 4, max_bytes, used=end))


def encode_opt(query: Query, rcode: int, max_bytes: int, *, used: int) -> bytes:
    """The OPT record of a reply: there if and only if the query had one. used: bytes of the message before it.

    Rule: spec "discovery" A2.5.
    """
    if query.edns is None:
        return b""
    shown = min(max(query.edns.udp_bytes, MIN_UDP_BYTES), max_bytes)
    ttl = (rcode >> 4) << 24 | (DO if query.edns.dnssec_ok and rcode != RCode.BADVERS else 0)
    options = query.reply_options
    if query.is_padded:
        options += encode_padding(used + OPT_BYTES + len(options), max_bytes)
    return _OPT.pack(0, RRType.OPT, shown, ttl, len(options)) + options


def udp_limit(query: Query, *, max_udp_bytes: int) -> int:
    """The largest reply that the client takes and that we send over UDP."""
    if query.edns is None:
        return MIN_UDP_BYTES
    return max(MIN_UDP_BYTES, min(query.edns.udp_bytes, max_udp_bytes))


def encode_upstream_query(query_id: int, question: bytes, *, flags: int, udp_bytes: int, dnssec_ok: bool) -> bytes:
    """A query of our own, always with EDNS: large replies over UDP, DO passed on."""
    opt = _OPT.pack(0, RRType.OPT, udp_bytes, DO if dnssec_ok else 0, 0)
    return _HEADER.pack(query_id, flags & (RD | AD | CD), 1, 0, 0, 1) + question + opt


class _Writer:
    """A message under construction, and where in it names can be pointed at. The header is left as zeros."""

    def __init__(self, query: Query) -> None:
        self.out = bytearray(HEADER_BYTES)
        self.out += query.question
        self.last_end = len(self.out)
        self._offsets: dict[Name, int] = {}
        self._note(lower_name(query.name), HEADER_BYTES)

    def write_records(self, records: Sequence[Record], room: int) -> int:
        """Append records as long as they fit in `room` bytes; the number of those that did.

        The first that does not fit ends the message: nothing may be written after it, its names are still known.
        """
        for written, record in enumerate(records):
            start = len(self.out)
            self._write_record(record)
            if len(self.out) > room:
                del self.out[start:]
                return written
            self.last_end = len(self.out)
        return len(records)

    def _write_record(self, record: Record) -> None:
        out = self.out
        self._write_name(record.owner)
        fixed = len(out)
        out += _RECORD.pack(record.rrtype, CLASS_IN, record.ttl_seconds, 0)
        match record.rdata:
            case Address(packed):
                out += packed
            case Target(name):
                self._write_name(name)
            case Srv(priority, weight, port, target):
                out += _SRV.pack(priority, weight, port)
                self._write_name(target, compressed=False)
            case Soa(mname, rname, serial, refresh, retry, expire, minimum):
                self._write_name(mname)
                self._write_name(rname)
                out += _SOA.pack(serial, refresh, retry, expire, minimum)
            case Text(strings):
                for text in strings:
                    out.append(len(text))
                    out += text
        length = len(out) - fixed - _RECORD.size
        out[fixed + 8 : fixed + 10] = length.to_bytes(2, "big")

    def _write_name(self, name: Name, *, compressed: bool = True) -> None:
        lower = lower_name(name)
        out = self.out
        for i in range(len(lower)):
            offset = self._offsets.get(lower[i:])
            if compressed and offset is not None:
                out += (0xC000 | offset).to_bytes(2, "big")
                return
            if len(out) <= _MAX_POINTER and offset is None:
                self._offsets[lower[i:]] = len(out)
            out.append(len(lower[i]))
            out += lower[i]
        out.append(0)

    def _note(self, name: Name, at: int) -> None:
        for i, label in enumerate(name):
            self._offsets[name[i:]] = at
            at += 1 + len(label)


def _decode_question_name(data: bytes) -> tuple[Name, int]:
    """Without pointers: before the first name there is nothing to point at."""
    name, end = decode_name(data, HEADER_BYTES)
    if end != HEADER_BYTES + 1 + len(name) + sum(map(len, name)):
        raise WireError("compressed question")
    return name, end


def _locate_records(data: bytes, at: int, counts: Sequence[int]) -> tuple[list[Place], int]:
    """The records that are there; a message may end early at the border of a record. Rule: spec "discovery" A2.1."""
    places: list[Place] = []
    for section, count in enumerate(counts):
        for _ in range(count):
            if at == len(data):
                return places, at
            places.append(locate_record(data, at, section))
            at = places[-1].end
    return places, at


def _read_edns(data: bytes, places: Sequence[Place]) -> Edns | None:
    found = [place for place in places if place.rrtype == RRType.OPT]
    if not found:
        return None
    if len(found) > 1 or found[0].section != 2 or found[0].rdata_at - found[0].start != OPT_BYTES:
        raise WireError("OPT record misplaced")  # RFC 6891 6.1.1: one, at the root, in additional
    opt = found[0]
    return Edns(
        opt.rrclass,
        opt.ttl_seconds >> 16 & 0xFF,
        bool(opt.ttl_seconds & DO),
        read_option_codes(data, opt.rdata_at, opt.end),
    )


def _reply_flags(query: Query, rcode: RCode, *, authoritative: bool, truncated: bool) -> int:
    opcode = query.flags & OPCODE_MASK
    copied = query.flags & (RD | CD) if opcode == OPCODE_QUERY else 0
    return QR | opcode | (AA if authoritative else 0) | (TC if truncated else 0) | copied | rcode & RCODE_MASK


def _encode_addresses(query: Query, answer: AddressSet, max_bytes: int) -> Reply:
    packed = answer.packed
    if packed.block_ttl_seconds != answer.ttl_seconds:
        packed.block, packed.block_ttl_seconds = _encode_block(answer), answer.ttl_seconds
    stride = _POINTED_BYTES + packed.size
    start = HEADER_BYTES + len(query.question)
    room = max_bytes - start - query.opt_bytes
    count = max(0, min(len(answer), room // stride))
    flags = _reply_flags(query, RCode.NOERROR, authoritative=True, truncated=count < len(answer))
    head = _HEAD.pack(flags, 1, count, 0, bool(query.edns))
    opt = encode_opt(query, RCode.NOERROR, max_bytes, used=start + count * stride)
    if len(answer) == 1:
        return Reply(head, start, packed.block[: count * stride] + opt)
    return Reply(head, start, opt, stride, packed.block, count * stride)


def _encode_block(answer: AddressSet) -> bytes:
    """Every address as a record whose owner is a pointer at the question: filled in by columns, not by records."""
    packed, count = answer.packed, len(answer)
    fixed = struct.pack("!HHHIH", 0xC000 | HEADER_BYTES, answer.rrtype, CLASS_IN, answer.ttl_seconds, packed.size)
    stride = _POINTED_BYTES + packed.size
    out = bytearray(count * stride)
    for at, byte in enumerate(fixed):
        if byte:
            out[at::stride] = bytes((byte,)) * count
    for at in range(packed.size):
        out[_POINTED_BYTES + at :: stride] = packed.addresses[at :: packed.size]
    return bytes(out)


def _encode_rejection(data: bytes, flags: int, rcode: RCode, question_end: int = 0) -> bytes:
    """Flags as received but for QR, AA, Z and the rcode; the question only where it could be read."""
    kept = flags & (OPCODE_MASK | TC | RD | RA | AD | CD)
    head = _HEAD.pack(QR | kept | rcode, 1 if question_end else 0, 0, 0, 0)
    return data[:2] + head + data[HEADER_BYTES:question_end]
