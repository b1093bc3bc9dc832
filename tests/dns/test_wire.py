"""The codec under whatever may come: laws over random messages, with dnspython and the acceptance table as judges.

Rule: spec "discovery" A2.1 (order as applied), A2.4, A2.5.
"""

from __future__ import annotations

import struct

import dns.message
from hypothesis import given
from hypothesis import strategies as st

from seaway.dns.message import decode_message, decode_name
from seaway.dns.records import Address, Name, RCode, Record, RRType, Soa, Srv, Target, Text, is_encodable, render_record
from seaway.dns.wire import Edns, Query, assemble, decode_query, encode_reply

LABELS = st.one_of(
    st.sampled_from([b"web", b"Demo", b"svc", b"cluster", b"local", b"_tcp", b"x" * 63]),
    st.binary(min_size=1, max_size=8),
)
NAMES = st.lists(LABELS, max_size=6).map(tuple).filter(is_encodable)
TTLS = st.integers(0, 2**31 - 1)
NUMBERS = st.integers(0, 2**16 - 1)
TEXTS = st.lists(st.binary(max_size=20), min_size=1, max_size=3).map(lambda strings: Text(tuple(strings)))
RDATA = st.one_of(
    st.tuples(st.just(RRType.A), st.builds(Address, st.binary(min_size=4, max_size=4))),
    st.tuples(st.just(RRType.AAAA), st.builds(Address, st.binary(min_size=16, max_size=16))),
    st.tuples(st.sampled_from((RRType.CNAME, RRType.NS, RRType.PTR)), st.builds(Target, NAMES)),
    st.tuples(st.just(RRType.SRV), st.builds(Srv, NUMBERS, NUMBERS, NUMBERS, NAMES)),
    st.tuples(st.just(RRType.SOA), st.builds(Soa, NAMES, NAMES, *[st.integers(0, 2**32 - 1)] * 5)),
    st.tuples(st.just(RRType.TXT), TEXTS),
)
RECORDS = st.builds(lambda owner, ttl, typed: Record(owner, typed[0], ttl, typed[1]), NAMES, TTLS, RDATA)
EDNS = st.none() | st.builds(Edns, NUMBERS, st.just(0), st.booleans())


def encode_name(name: Name) -> bytes:
    return b"".join(bytes((len(label),)) + label for label in name) + b"\0"


@st.composite
def queries(draw: st.DrawFn) -> Query:
    name, qtype = draw(NAMES), draw(NUMBERS)
    return Query(0x0100, name, qtype, 1, encode_name(name) + struct.pack("!HH", qtype, 1), draw(EDNS))


@given(queries(), st.lists(RECORDS, max_size=5), st.lists(RECORDS, max_size=2), st.lists(RECORDS, max_size=3),
       st.integers(512, 1232))  # fmt: skip
def test_a_reply_reads_back_as_the_records_that_fit(
    query: Query, answer: list[Record], authority: list[Record], additional: list[Record], max_bytes: int
) -> None:
    reply = encode_reply(query, RCode.NOERROR, answer, authority, additional, max_bytes=max_bytes)
    wire = assemble(b"\x12\x34", query.question, reply)
    assert len(wire) <= max_bytes
    read = dns.message.from_wire(wire, one_rr_per_rrset=True)
    sections = (answer, authority, additional)
    counts = [len(section) for section in read.sections[1:]]
    is_cut = any(count < len(want) for count, want in zip(counts[:2], sections[:2], strict=True))
    assert bool(read.flags & 0x0200) == is_cut
    assert (read.edns >= 0) == (query.edns is not None)
    have = [
        (len(rrset.name.labels) - 1, rrset.ttl, int(rrset.rdtype), rrset[0].to_wire(origin=None))
        for section in read.sections[1:]
        for rrset in section
    ]
    written = [record for count, want in zip(counts, sections, strict=True) for record in want[:count]]
    assert [(n, ttl, kind) for n, ttl, kind, _ in have] == [(len(r.owner), r.ttl_seconds, r.rrtype) for r in written]
    assert [wire.lower() for *_, wire in have] == [encode_rdata(record).lower() for record in written]


def encode_rdata(record: Record) -> bytes:
    """Without compression, and so plain that it cannot be wrong."""
    match record.rdata:
        case Address(packed):
            return packed
        case Target(name):
            return encode_name(name)
        case Srv(priority, weight, port, target):
            return struct.pack("!HHH", priority, weight, port) + encode_name(target)
        case Soa(mname, rname, serial, refresh, retry, expire, minimum):
            numbers = struct.pack("!5I", serial, refresh, retry, expire, minimum)
            return encode_name(mname) + encode_name(rname) + numbers
        case Text(strings):
            return b"".join(bytes((len(text),)) + text for text in strings)
    raise AssertionError(render_record(record))


@given(NAMES, NUMBERS, NUMBERS, NUMBERS, EDNS, st.sampled_from((0x0000, 0x0100, 0x0110, 0x0130)))
def test_a_query_reads_back_as_it_was_sent(
    name: Name, query_id: int, qtype: int, qclass: int, edns: Edns | None, flags: int
) -> None:
    question = encode_name(name) + struct.pack("!HH", qtype, qclass)
    opt = struct.pack("!BHHIH", 0, 41, edns.udp_bytes, 0x8000 if edns.dnssec_ok else 0, 0) if edns else b""
    wire = struct.pack("!6H", query_id, flags, 1, 0, 0, int(edns is not None)) + question + opt
    assert decode_query(wire) == Query(flags, name, qtype, qclass, question, edns)
    assert decode_name(wire, 12) == (name, 12 + len(question) - 4)
    assert decode_message(wire).question == question[:-4].lower() + question[-4:]


HEADERS = st.tuples(
    NUMBERS,
    st.one_of(NUMBERS, st.sampled_from((0x0100, 0x2000, 0x0000))),
    st.sampled_from((0, 1, 1, 1, 2)),
    *[st.sampled_from((0, 0, 0, 1, 2, 3))] * 3,
)


@given(HEADERS, st.one_of(st.binary(max_size=80), NAMES.map(encode_name)), st.binary(max_size=30))
def test_the_table_of_acceptance_holds_for_any_bytes(header: tuple[int, ...], name: bytes, rest: bytes) -> None:
    """The rows in the order of the table, written down once more without the codec."""
    wire = struct.pack("!6H", *header) + name + rest
    _, flags, questions, answers, authorities, additionals = header
    out = decode_query(wire)
    opcode = flags >> 11 & 15
    if flags & 0x8000:
        assert out is None
    elif opcode not in (0, 4):
        assert isinstance(out, bytes) and out[:2] == wire[:2] and out[3] & 15 == RCode.NOTIMP
        assert out[2] >> 3 & 15 == opcode and out[4:] == bytes(8)
    elif questions != 1 or answers > 1 or authorities > 1 or additionals > 2:
        assert isinstance(out, bytes) and out[3] & 15 == RCode.FORMERR and out[4:] == bytes(8)
    elif isinstance(out, bytes):
        assert out[3] & 15 == RCode.FORMERR and out[2] & 0x80 and not out[2] & 0x7C
        assert out[:2] == wire[:2] and out[6:12] == bytes(6)
        assert out[12:] in (b"", wire[12 : len(out)])
    else:
        assert isinstance(out, Query) and wire[12:].startswith(out.question)
        assert out.flags == flags and len(out.question) == len(encode_name(out.name)) + 4


@given(st.binary(max_size=11))
def test_what_is_shorter_than_a_header_deserves_no_reply(wire: bytes) -> None:
    assert decode_query(wire) is None
