"""Laws of the codec, with dnspython as the judge, and the table of acceptance written down a second time.

Rule: spec "discovery" A2.1 to A2.5.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.wire
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seaway.dns.message import WireError, decode_alias_records, decode_message, decode_name, encode_question
from seaway.dns.packing import pack_addresses
from seaway.dns.records import (
    Address,
    AddressSet,
    Name,
    RCode,
    RData,
    Record,
    RRType,
    Soa,
    Srv,
    Target,
    Text,
    encoded_size,
    is_encodable,
    lower_name,
)
from seaway.dns.respond import Deferred, Responder
from seaway.dns.wire import Query, assemble, decode_query, encode_reply, encode_upstream_query, udp_limit
from tests.dns.fixture import CONFIG, make_index

NOERROR, FORMERR, NOTIMP = 0, 1, 4
QUERY, NOTIFY = 0, 4

labels = st.binary(min_size=1, max_size=63) | st.sampled_from([b"web", b"Web", b"demo", b"svc", b"cluster", b"local"])
wire_names = st.lists(labels, max_size=6).map(tuple).filter(is_encodable)
numbers16, numbers32 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
ids = st.binary(min_size=2, max_size=2)


# -- queries -----------------------------------------------------------------------------------------------------------


@given(numbers16, wire_names, numbers16, numbers16, st.integers(0, 0x07FF), st.booleans())
def test_a_query_of_our_own_is_read_as_it_was_written(
    query_id: int, name: Name, qtype: int, udp_bytes: int, flags: int, dnssec_ok: bool
) -> None:
    question = encode_question(name, qtype)
    wire = encode_upstream_query(query_id, question, flags=flags, udp_bytes=udp_bytes, dnssec_ok=dnssec_ok)
    query = decode_query(wire)
    assert isinstance(query, Query)
    assert (query.name, query.qtype, query.qclass, query.question) == (name, qtype, 1, question)
    assert query.edns is not None
    assert (query.edns.udp_bytes, query.edns.version, query.edns.dnssec_ok) == (udp_bytes, 0, dnssec_ok)
    assert query.is_plain


@given(wire_names, numbers16, numbers16, st.booleans(), numbers16)
def test_a_query_of_dnspython_is_read_as_it_was_meant(
    name: Name, qtype: int, qclass: int, edns: bool, payload: int
) -> None:
    message = dns.message.QueryMessage(id=7)
    message.find_rrset(
        message.question,
        dns.name.Name((*name, b"")),
        dns.rdataclass.RdataClass(qclass),
        dns.rdatatype.RdataType(qtype),
        create=True,
        force_unique=True,
    )
    if edns:
        message.use_edns(0, payload=payload, ednsflags=dns.flags.DO)
    query = decode_query(message.to_wire())
    assert isinstance(query, Query)
    assert (query.name, query.qtype, query.qclass) == (name, qtype, qclass)
    assert (query.edns is not None) == edns
    if query.edns is not None:
        assert (query.edns.udp_bytes, query.edns.dnssec_ok) == (payload, True)
        assert udp_limit(query, max_udp_bytes=1232) == min(1232, max(512, payload))


# -- replies -----------------------------------------------------------------------------------------------------------

rdatas: st.SearchStrategy[tuple[int, RData]] = st.one_of(
    st.binary(min_size=4, max_size=4).map(lambda packed: (int(RRType.A), Address(packed))),
    st.binary(min_size=16, max_size=16).map(lambda packed: (int(RRType.AAAA), Address(packed))),
    st.tuples(st.sampled_from([int(RRType.CNAME), int(RRType.NS), int(RRType.PTR)]), wire_names.map(Target)),
    st.builds(Srv, numbers16, numbers16, numbers16, wire_names).map(lambda srv: (int(RRType.SRV), srv)),
    st.builds(Soa, wire_names, wire_names, numbers32, numbers32, numbers32, numbers32, numbers32).map(
        lambda soa: (int(RRType.SOA), soa)
    ),
    st.lists(st.binary(max_size=255), min_size=1, max_size=3).map(lambda all: (int(RRType.TXT), Text(tuple(all)))),
)
records = st.builds(
    lambda owner, ttl_seconds, rdata: Record(owner, rdata[0], ttl_seconds, rdata[1]),
    wire_names,
    st.integers(0, 0x7FFFFFFF),
    rdatas,
)
sections = st.lists(records, max_size=4)


def make_query(name: Name, qtype: int = RRType.A, *, edns: bool = True, udp_bytes: int = 1232) -> Query:
    question = encode_question(name, qtype)
    wire = encode_upstream_query(0, question, flags=0, udp_bytes=udp_bytes, dnssec_ok=False)
    query = decode_query(wire if edns else struct.pack("!6H", 0, 0, 1, 0, 0, 0) + question)
    assert isinstance(query, Query)
    return query


def read_back(rrset: dns.rrset.RRset) -> Record:
    """A record as dnspython understood it."""
    (rdata,) = rrset
    ours: RData
    rrtype = int(rrset.rdtype)
    if rrtype in (RRType.A, RRType.AAAA):
        ours = Address(ipaddress.ip_address(rdata.address).packed)
    elif rrtype in (RRType.CNAME, RRType.NS, RRType.PTR):
        ours = Target(lower_name(rdata.target.labels[:-1]))
    elif rrtype == RRType.SRV:
        ours = Srv(rdata.priority, rdata.weight, rdata.port, lower_name(rdata.target.labels[:-1]))
    elif rrtype == RRType.SOA:
        mname, rname = (lower_name(name.labels[:-1]) for name in (rdata.mname, rdata.rname))
        ours = Soa(mname, rname, rdata.serial, rdata.refresh, rdata.retry, rdata.expire, rdata.minimum)
    else:
        ours = Text(tuple(rdata.strings))
    return Record(lower_name(rrset.name.labels[:-1]), rrtype, rrset.ttl, ours)


def lower_record(record: Record) -> Record:
    match record.rdata:
        case Target(name):
            rdata: RData = Target(lower_name(name))
        case Srv(priority, weight, port, target):
            rdata = Srv(priority, weight, port, lower_name(target))
        case Soa() as soa:
            rdata = replace(soa, mname=lower_name(soa.mname), rname=lower_name(soa.rname))
        case other:
            rdata = other
    return Record(lower_name(record.owner), record.rrtype, record.ttl_seconds, rdata)


@settings(deadline=None)
@given(wire_names, sections, sections, sections, st.booleans(), st.sampled_from([512, 1232, 65_535]), ids)
def test_what_dnspython_reads_is_what_was_written_as_far_as_it_fits(
    name: Name, answer: list[Record], authority: list[Record], additional: list[Record], edns: bool, limit: int,
    query_id: bytes
) -> None:  # fmt: skip
    query = make_query(name, edns=edns)
    reply = encode_reply(query, RCode.NOERROR, answer, authority, additional, max_bytes=limit)
    wire = assemble(query_id, query.question, reply)
    assert len(wire) <= limit
    message = dns.message.from_wire(wire, one_rr_per_rrset=True)
    assert (message.id.to_bytes(2, "big"), message.question[0].name.labels[:-1]) == (query_id, name)
    assert (message.edns == 0) == edns
    found = [[read_back(rrset) for rrset in section] for section in (message.answer, message.authority)]
    found.append([read_back(rrset) for rrset in message.additional])
    wanted = [[lower_record(record) for record in section] for section in (answer, authority, additional)]
    flat, whole = list(chain(*found)), list(chain(*wanted))
    assert flat == whole[: len(flat)], "whole records, in order"
    assert bool(message.flags & dns.flags.TC) == (found[:2] != wanted[:2])
    decode_message(wire)


@given(
    st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16),
    st.integers(2, 300),
    st.sampled_from([512, 1232, 65_535]),
    st.booleans(),
    numbers16,
)
@settings(deadline=None)
def test_a_ring_of_addresses_equals_the_records_in_some_rotation(
    first: bytes, count: int, limit: int, edns: bool, turn: int
) -> None:
    number, size = int.from_bytes(first, "big"), len(first)
    packed = sorted({((number + i) % (1 << size * 8)).to_bytes(size, "big") for i in range(count)})
    rrtype = RRType.A if size == 4 else RRType.AAAA
    query = make_query((b"db", b"x"), rrtype, edns=edns)
    answer = AddressSet(query.name, 5, pack_addresses(packed, size))
    reply = encode_reply(query, RCode.NOERROR, answer, max_bytes=limit)
    wire = assemble(b"\0\0", query.question, reply, turn=turn)
    assert len(wire) <= limit
    message = dns.message.from_wire(wire, one_rr_per_rrset=True)
    found = [ipaddress.ip_address(rrset[0].address).packed for rrset in message.answer]
    start = turn % len(packed)
    room = (limit - 12 - len(query.question) - (11 if edns else 0)) // (12 + size)
    assert found == (packed[start:] + packed[:start])[:room]
    assert bool(message.flags & dns.flags.TC) == (room < len(packed))
    assert {rrset.ttl for rrset in message.answer} == {5}


@given(wire_names, st.lists(st.tuples(wire_names, wire_names), max_size=4), numbers16)
def test_aliases_that_dnspython_wrote_are_read(name: Name, links: list[tuple[Name, Name]], query_id: int) -> None:
    message = dns.message.QueryMessage(id=query_id)
    message.flags = dns.flags.QR
    message.find_rrset(message.question, dns.name.Name((*name, b"")), dns.rdataclass.IN, dns.rdatatype.A, create=True)
    for owner, target in links:
        rdata = dns.rdata.from_text("IN", "CNAME", dns.name.Name((*target, b"")).to_text())
        message.answer.append(dns.rrset.from_rdata(dns.name.Name((*owner, b"")), 7, rdata))
    found = decode_alias_records(decode_message(message.to_wire()))
    assert [lower_record(record) for record in found] == [
        Record(lower_name(owner), RRType.CNAME, 7, Target(lower_name(target))) for owner, target in links
    ]


# -- acceptance --------------------------------------------------------------------------------------------------------


def judge(wire: bytes) -> int | None:
    """What becomes of a message: None dropped, FORMERR or NOTIMP, else accepted. Slow, and plain as the table."""
    if len(wire) < 12 or wire[2] & 0x80:
        return None
    opcode = wire[2] >> 3 & 15
    if opcode not in (QUERY, NOTIFY):
        return NOTIMP
    counts = struct.unpack("!4H", wire[4:12])
    if counts[0] != 1 or counts[1] > 1 or counts[2] > 1 or counts[3] > 2:
        return FORMERR
    try:
        parser = dns.wire.Parser(wire, 12)
        name = parser.get_name()
        parser.get_uint16(), parser.get_uint16()
        if parser.current != 12 + sum(len(label) + 1 for label in name.labels) + 4:
            return FORMERR  # a pointer in the first name of all
        opts = 0
        for section, count in enumerate(counts[1:]):
            for _ in range(count):
                if parser.remaining() == 0:
                    return NOERROR if opts < 2 else FORMERR
                owner_at = parser.current
                skip_labels(parser)
                rrtype, _, _, length = parser.get_struct("!HHIH")
                rdata = dns.wire.Parser(parser.get_bytes(length))
                if rrtype == RRType.OPT:
                    while rdata.remaining():
                        _, size = rdata.get_struct("!HH")
                        rdata.get_bytes(size)
                    opts += 1
                    if section != 2 or wire[owner_at] != 0:
                        return FORMERR
        return NOERROR if opts < 2 else FORMERR
    except dns.exception.DNSException:
        return FORMERR


def skip_labels(parser: dns.wire.Parser) -> None:
    """Pass over a name; where its pointers lead is nobody's business, since owners of such records are not read."""
    while (length := parser.get_uint8()) != 0:
        if length >= 0xC0:
            parser.get_uint8()
            return
        if length > 63:
            raise dns.name.BadLabelType
        parser.get_bytes(length)


def make_wire(flags: int, counts: Sequence[int], parts: Sequence[bytes], cut: int) -> bytes:
    whole = struct.pack("!6H", 7, flags, *counts) + b"".join(parts)
    return whole[: len(whole) - cut]


small = st.sampled_from([0, 1, 1, 1, 2, 3, 65_535])
WEB = b"\3web\4demo\3svc\7cluster\5local\0\0\1\0\1"
questions = st.sampled_from([WEB, b"\0\0\2\0\1", b"\1a\xc0\x0c\0\1\0\1", b"\x40\0"])
extras = st.sampled_from(
    [
        b"\0\0\x29\x04\xd0\0\0\0\0\0\0",
        b"\0\0\x29\x04\xd0\0\1\0\0\0\0",
        b"\0\0\x29\x02\0\0\0\x80\0\0\x0c\0\x0a\0\x08cookies!",
        b"\xc0\x0c\0\1\0\1\0\0\0\5\0\4\x0a\0\0\1",
        b"\1a\0\0\x29\0\0\0\0\0\0\0\0",
        b"\0\0\x29\x04\xd0\0\0\0\0\0\5\0\3\0\2x",
        b"\0\0\x29\x04\xd0\0\0\0\0\0\3\0\3\0",
        b"\x80",
    ]
)
messages = st.one_of(
    st.binary(max_size=64),
    st.builds(
        make_wire,
        st.sampled_from([0, 0x0100, 0x0120, 0x8000, 0x1000, 0x2000, 0x2100, 0x2800, 0x7800]) | numbers16,
        st.tuples(small, st.sampled_from([0, 0, 1, 2]), st.sampled_from([0, 0, 1, 2]), st.sampled_from([0, 1, 2, 3])),
        st.tuples(questions, st.lists(extras, max_size=3).map(b"".join), st.binary(max_size=3)),
        st.integers(0, 12),
    ),
)


@settings(max_examples=600, deadline=None)
@given(messages)
@example(b"")
@example(bytes(12))
@example(make_wire(0, (1, 0, 0, 2), (WEB, b"\0\0\x29\x04\xd0\0\0\0\0\0\0" * 2), 0))
@example(make_wire(0, (1, 0, 0, 1), (WEB, b"\0\0\x29\x04\xd0\0\0\0\0\0\5\0\3\0\2x"), 0))
@example(make_wire(0, (1, 0, 0, 0), (b"\1a\xc0\2\0\1\0\1",), 0))
def test_acceptance_follows_the_table(wire: bytes) -> None:
    verdict, found = judge(wire), decode_query(wire)
    if verdict is None:
        assert found is None
    elif verdict == NOERROR:
        assert isinstance(found, Query)
        assert wire[12 : 12 + len(found.question)] == found.question
    else:
        assert isinstance(found, bytes)
        assert (found[:2], found[3] & 15, found[6:12]) == (wire[:2], verdict, bytes(6))
        opcode = wire[2] >> 3 & 15
        is_counted = wire[4:6] == b"\0\1" and max(wire[6:12:2]) == 0 and wire[7] < 2 and wire[9] < 2 and wire[11] < 3
        assert found[2] >> 3 & 15 == (QUERY if verdict == FORMERR and is_counted else opcode)
        assert not found[2] & 4, "AA"
        dns.message.from_wire(found)


@settings(max_examples=300, deadline=None)
@given(messages, st.booleans())
def test_replies_to_anything_are_no_larger_than_promised(wire: bytes, over_tcp: bool) -> None:
    responder = Responder(make_index(), CONFIG)
    out = responder.respond(wire, over_tcp=over_tcp)
    if isinstance(out, Deferred):
        out = responder.fail(out, RCode.REFUSED)
    if out is None:
        return
    query = decode_query(wire)
    limit = udp_limit(query, max_udp_bytes=1232) if isinstance(query, Query) else 512
    assert len(out) <= (65_535 if over_tcp else limit)
    parsed = dns.message.from_wire(out)
    assert (parsed.edns >= 0) == (isinstance(query, Query) and query.edns is not None)
    assert not parsed.flags & (dns.flags.AD if isinstance(query, Query) else 0)


@given(st.binary(max_size=300), st.integers(0, 300))
def test_names_are_read_as_dnspython_reads_them(wire: bytes, at: int) -> None:
    try:
        parser = dns.wire.Parser(wire, min(at, len(wire)))
        expected: tuple[Name, int] | None = (parser.get_name().labels[:-1], parser.current)
    except dns.exception.DNSException:
        expected = None
    try:
        found: tuple[Name, int] | None = decode_name(wire, min(at, len(wire)))
    except WireError:
        found = None
    assert found == expected
    if found is not None:
        assert encoded_size(found[0]) <= 255


@pytest.mark.parametrize("rcode", [RCode.NOERROR, RCode.NXDOMAIN, RCode.BADVERS, RCode.REFUSED])
def test_an_rcode_beyond_fifteen_travels_in_the_opt_record(rcode: RCode) -> None:
    query = make_query((b"x",))
    out = assemble(b"\0\1", query.question, encode_reply(query, rcode, max_bytes=1232))
    assert dns.message.from_wire(out).rcode() == dns.rcode.Rcode(rcode)
