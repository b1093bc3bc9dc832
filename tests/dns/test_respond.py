"""Messages in, messages out; dnspython is the judge of both. Rule: spec "discovery" A2, D2 (numbers: its rows)."""

from __future__ import annotations

import struct
from collections import Counter

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdatatype
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seaway.dns import respond as respond_module
from seaway.dns.index import Index
from seaway.dns.message import Message, WireError, decode_message, decode_name
from seaway.dns.objects import Namespace
from seaway.dns.respond import MAX_KEPT, Deferred, Responder
from tests.dns.fixture import CONFIG, SERIAL, cluster_ip, endpoints, headless, make_index


def make_responder(index: Index | None = None) -> Responder:
    return Responder(index or make_index(), CONFIG)


def ask_wire(text: str, **options: object) -> bytes:
    name, qtype = text.replace("@", "demo.svc.cluster.local").split()
    return dns.message.make_query(name, qtype, **options).to_wire()  # type: ignore[arg-type]


def respond(wire: bytes, responder: Responder | None = None, *, over_tcp: bool = False) -> dns.message.Message:
    out = (responder or make_responder()).respond(wire, over_tcp=over_tcp)
    assert isinstance(out, bytes)
    return dns.message.from_wire(out)


def with_endpoints(count: int, name: str = "db2", *, hostname: bool = False) -> Index:
    index = make_index()
    index.apply_service(None, headless(name), wall_seconds=SERIAL)
    found = [(f"10.{100 + i // 65536}.{i // 256 % 256}.{i % 256}", f"h-{i}" if hostname else None, True)
             for i in range(count)]  # fmt: skip
    index.apply_slice(None, endpoints(name, *found), wall_seconds=SERIAL)
    return index


@pytest.mark.parametrize(
    ("name", "qtype"),
    [
        ("wEb.DeMo.SvC.cLuStEr.LoCaL.", "A"),
        ("_HtTp._TcP.dUaL.DeMo.SvC.cLuStEr.LoCaL.", "SRV"),
        ("nosuch.demo.svc.ClUsTeR.lOcAl.", "A"),
        ("1.7.96.10.In-AdDr.ArPa.", "PTR"),
    ],
)
def test_d2_1_2_3_the_case_of_the_question_comes_back(name: str, qtype: str) -> None:
    responder = make_responder()
    respond(ask_wire(f"{name.lower()} {qtype}"), responder)
    for _ in range(2):
        wire = ask_wire(f"{name} {qtype}")
        out = responder.respond(wire)
        assert isinstance(out, bytes)
        reply = dns.message.from_wire(out)
        assert str(reply.question[0].name) == name
        assert all(str(rrset.name) == name for rrset in reply.answer)
        assert name.encode().split(b".")[0] in out
    assert len(responder.kept_udp) == 1


def test_d2_3_the_soa_record_has_the_zone_as_it_was_asked() -> None:
    reply = respond(ask_wire("nosuch.demo.svc.ClUsTeR.lOcAl. A"))
    assert (str(reply.authority[0].name), reply.rcode()) == ("ClUsTeR.lOcAl.", dns.rcode.NXDOMAIN)


@pytest.mark.parametrize(
    ("options", "count", "truncated", "limit"),
    [
        ({}, 29, True, 512),
        ({"use_edns": 0, "payload": 100}, 28, True, 512),
        ({"use_edns": 0, "payload": 4096}, 40, False, 1232),
        ({"use_edns": 0, "payload": 1232}, 40, False, 1232),
    ],
)
def test_d2_4_6_7_what_fits_into_a_datagram(
    options: dict[str, object], count: int, truncated: bool, limit: int
) -> None:
    index = with_endpoints(40, "d2")  # d2.demo.svc.cluster.local: 25 characters, as in the spec's table
    out = make_responder(index).respond(ask_wire("d2.@ A", **options))
    assert isinstance(out, bytes)
    reply = dns.message.from_wire(out)
    assert len(out) <= limit
    assert (len(reply.answer[0]), bool(reply.flags & dns.flags.TC)) == (count, truncated)
    assert (reply.edns == 0) == bool(options)


def test_d2_5_tcp_has_room() -> None:
    reply = respond(ask_wire("db2.@ A"), make_responder(with_endpoints(40)), over_tcp=True)
    assert (len(reply.answer[0]), reply.flags & dns.flags.TC) == (40, 0)


def test_a_reply_over_udp_has_at_most_1232_bytes() -> None:
    wire = ask_wire("d2.@ A", use_edns=0, payload=65_535)
    out = make_responder(with_endpoints(100, "d2")).respond(wire)
    assert isinstance(out, bytes)
    reply = dns.message.from_wire(out)
    assert (len(out) <= 1232, len(reply.answer[0]), bool(reply.flags & dns.flags.TC)) == (True, 73, True)
    assert reply.payload == 1232


def test_d2_8_dnssec_ok_comes_back_and_changes_nothing() -> None:
    reply = respond(ask_wire("web.@ A", use_edns=0, want_dnssec=True))
    assert reply.ednsflags & dns.flags.DO
    assert not reply.flags & dns.flags.AD
    assert [rrset.rdtype for rrset in reply.answer] == [dns.rdatatype.A]


def test_d2_9_another_version_of_edns_is_refused() -> None:
    reply = respond(ask_wire("web.@ A", use_edns=1))
    assert (reply.rcode(), reply.edns, reply.answer, reply.authority) == (dns.rcode.BADVERS, 0, [], [])
    assert str(reply.question[0].name).startswith("web.")


def test_d2_10_options_are_not_echoed() -> None:
    options = [dns.edns.ECSOption("10.0.0.0", 24), dns.edns.CookieOption(b"12345678", b"")]
    responder = make_responder()
    reply = respond(ask_wire("web.@ A", use_edns=0, options=options), responder)
    assert (reply.edns, reply.options, len(reply.answer)) == (0, (), 1)
    assert not responder.kept_udp


def test_d2_11_flags() -> None:
    flags = dns.flags.CD | dns.flags.AD
    reply = respond(ask_wire("web.@ A", flags=flags))
    assert reply.flags == dns.flags.QR | dns.flags.AA | dns.flags.CD
    reply = respond(ask_wire("web.@ A", flags=dns.flags.RD))
    assert reply.flags == dns.flags.QR | dns.flags.AA | dns.flags.RD


@pytest.mark.parametrize("name", ["web.@", "www.example.com"])
def test_d2_12_other_classes_are_refused(name: str) -> None:
    reply = respond(ask_wire(f"{name} A", rdclass="CH"))
    assert (reply.rcode(), reply.flags & dns.flags.AA) == (dns.rcode.REFUSED, 0)


@pytest.mark.parametrize("opcode", [1, 2, 5, 6, 15])
def test_d2_13_other_opcodes_are_not_implemented(opcode: int) -> None:
    wire = bytearray(ask_wire("web.@ A"))
    wire[2] = opcode << 3
    out = make_responder().respond(bytes(wire))
    assert isinstance(out, bytes)
    assert (out[:2], out[2], out[3], out[4:]) == (wire[:2], 0x80 | opcode << 3, 4, bytes(8))


WEB = ask_wire("web.@ A")
NAME = WEB[12:-4]


def header(questions: int = 1, answers: int = 0, authorities: int = 0, additionals: int = 0, flags: int = 0) -> bytes:
    return struct.pack("!6H", 7, flags, questions, answers, authorities, additionals)


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(header(0), id="D2 14 no question"),
        pytest.param(header(2) + WEB[12:] * 2, id="D2 14 two questions"),
        pytest.param(header(answers=2) + WEB[12:], id="two answers"),
        pytest.param(header(additionals=3) + WEB[12:], id="three additional records"),
        pytest.param(header() + b"\xc0\x0c\0\1\0\1", id="D2 16 a pointer at itself"),
        pytest.param(header() + b"\1a\xc0\x0c\0\1\0\1", id="D2 16 a pointer loop behind a label"),
        pytest.param(header() + b"\1a\xc0\x00\0\1\0\1", id="D2 16 a pointer into the header"),
        pytest.param(header() + NAME[:7], id="D2 16 cut in the name"),
        pytest.param(header() + NAME, id="D2 16 cut behind the name"),
        pytest.param(header() + NAME + b"\0", id="D2 16 cut in the type"),
        pytest.param(header() + NAME + b"\0\1", id="D2 16 cut behind the type"),
        pytest.param(header() + b"\x40" + b"a" * 64 + b"\0\0\1\0\1", id="D2 17 a label of 64"),
        pytest.param(header() + (b"\x3f" + b"a" * 63) * 4 + b"\0\0\1\0\1", id="D2 17 a name of 257"),
        pytest.param(header(), id="D2 18 a header alone"),
        pytest.param(header(additionals=1) + WEB[12:] + b"\0\0\x29", id="a record cut short"),
        pytest.param(header(additionals=1) + WEB[12:] + b"\0\0\x29\4\0\0\0\0\0\0\5", id="rdata cut short"),
        pytest.param(header(additionals=2) + WEB[12:] + b"\0\0\x29\4\0\0\0\0\0\0\0" * 2, id="two OPT records"),
        pytest.param(
            header(additionals=1) + WEB[12:] + b"\1a\0\0\x29\4\0\0\0\0\0\0\0", id="an OPT record off the root"
        ),
        pytest.param(header(answers=1) + WEB[12:] + b"\0\0\x29\4\0\0\0\0\0\0\0", id="an OPT record as an answer"),
    ],
)
def test_malformed_queries_are_format_errors(wire: bytes) -> None:
    out = make_responder().respond(wire)
    assert isinstance(out, bytes)
    assert (out[:2], out[2] & 0x80, out[3] & 15) == (wire[:2], 0x80, 1)
    dns.message.from_wire(out)


@pytest.mark.parametrize("wire", [b"", b"12345", WEB[:2] + b"\x81" + WEB[3:]], ids=["empty", "short", "a response"])
def test_d2_15_what_deserves_no_reply(wire: bytes) -> None:
    assert make_responder().respond(wire) is None


@pytest.mark.parametrize(
    "wire", [WEB + b"garbage", header(additionals=1) + WEB[12:]], ids=["D2 19 garbage behind", "an OPT promised"]
)
def test_what_is_tolerated(wire: bytes) -> None:
    assert len(respond(wire).answer) == 1


def test_d2_23_glue_is_left_out_first() -> None:
    index = with_endpoints(30, hostname=True)
    out = make_responder(index).respond(ask_wire("db2.@ SRV"))
    assert isinstance(out, bytes)
    reply = dns.message.from_wire(out)
    assert (len(out) <= 512, bool(reply.flags & dns.flags.TC), reply.additional) == (True, True, [])
    assert 5 <= len(reply.answer[0]) < 30


def test_srv_records_without_room_for_glue_are_not_truncated() -> None:
    out = make_responder(with_endpoints(8, hostname=True)).respond(ask_wire("db2.@ SRV"))
    assert isinstance(out, bytes)
    reply = dns.message.from_wire(out)
    assert (len(reply.answer[0]), bool(reply.flags & dns.flags.TC), len(reply.additional) < 8) == (8, False, True)


def test_d2_24_a_message_ends_at_65535_bytes() -> None:
    out = make_responder(with_endpoints(5000)).respond(ask_wire("db2.@ A"), over_tcp=True)
    assert isinstance(out, bytes)
    assert len(out) <= 65_535
    reply = dns.message.from_wire(out)
    assert (len(reply.answer[0]), bool(reply.flags & dns.flags.TC)) == (4093, True)


@pytest.mark.parametrize(("count", "over_tcp"), [(5000, True), (100, False), (40, False)])
def test_d2_24_25_what_does_not_fit_has_its_turn_too(count: int, over_tcp: bool) -> None:
    responder = make_responder(with_endpoints(count))
    seen: Counter[str] = Counter()
    sizes, turns = set(), 40
    for turn in range(turns):
        wire = struct.pack("!H", turn * count // turns) + ask_wire("db2.@ A")[2:]
        out = responder.respond(wire, over_tcp=over_tcp)
        assert isinstance(out, bytes)
        assert out[2] & 0x02  # TC
        found = [out[at : at + 4] for at in range(len(wire) + 12, len(out), 16)]
        assert out[6:8] == len(found).to_bytes(2, "big")
        sizes.add(len(found))
        seen.update(found)
    assert len(seen) == count
    (size,) = sizes
    assert all(turns * size // count - 2 <= times <= turns * size // count + 2 for times in seen.values())


def test_targets_of_srv_are_not_compressed_and_their_glue_points_at_them() -> None:
    out = make_responder().respond(ask_wire("_mysql._tcp.db.@ SRV"))
    assert isinstance(out, bytes)
    assert out.count(b"\x04db-0\x02db\x04demo\x03svc\x07cluster\x05local\0") == 1
    assert {str(rrset.name) for rrset in dns.message.from_wire(out).additional} == {
        "db-0.db.demo.svc.cluster.local.",
        "db-1.db.demo.svc.cluster.local.",
    }


def test_d2_25_each_address_is_first_about_equally_often() -> None:
    responder = make_responder()
    first: Counter[str] = Counter()
    for number in range(300):
        wire = struct.pack("!H", number * 211 % 65_536) + ask_wire("twins.@ A")[2:]
        reply = respond(wire, responder)
        addresses = [each.address for each in reply.answer[0]]
        out = responder.respond(wire)
        assert isinstance(out, bytes)
        first[dns.message.from_wire(out, one_rr_per_rrset=True).answer[0][0].address] += 1
        assert sorted(addresses) == ["10.244.1.40", "10.244.1.41", "10.244.1.42"]
    assert len(first) == 3
    assert all(80 <= count <= 120 for count in first.values())


def test_the_order_of_srv_records_and_aliases_is_stable() -> None:
    responder = make_responder()
    for text in ("_mysql._tcp.db.@ SRV", "alias.@ A"):
        replies = {responder.respond(struct.pack("!H", i) + ask_wire(text)[2:])[2:] for i in range(9)}  # type: ignore[index]
        assert len(replies) == 1


# -- what is kept ------------------------------------------------------------------------------------------------------

labels = st.sampled_from(["web", "WEB", "db", "db-0", "ext", "alias", "nosuch", "_http", "_tcp", "10-244-1-5", "x"])
names = st.builds(
    lambda left, zone: ".".join((*left, zone)),
    st.lists(labels, max_size=3),
    st.sampled_from(["demo.svc.cluster.local", "demo.pod.Cluster.local", "cluster.local", "ghost.svc.cluster.local"]),
)
queries = st.builds(
    lambda name, qtype, edns, flags: ask_wire(f"{name} {qtype}", flags=flags, use_edns=0 if edns else -1, payload=edns),
    names,
    st.sampled_from(["A", "AAAA", "SRV", "CNAME", "TXT", "HTTPS", "TYPE97", "SOA", "NS", "ANY"]),
    st.sampled_from([0, 512, 1232, 0x0541, 0x0561, 4096]),
    st.sampled_from([0, dns.flags.RD, dns.flags.RD | dns.flags.AD, dns.flags.CD]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(queries, min_size=1, max_size=12))
def test_a_kept_reply_equals_a_fresh_one(wires: list[bytes]) -> None:
    responder = make_responder()
    for wire in wires * 2:
        assert responder.respond(wire) == make_responder().respond(wire)


def test_a_change_drops_the_replies_of_its_service_alone() -> None:
    index = make_index()
    responder = make_responder(index)
    for text in ("web.@ A", "db.@ A", "nosuch.@ A", "1.7.96.10.in-addr.arpa PTR"):
        respond(ask_wire(text), responder)
    old, new = cluster_ip("web", "10.96.7.1"), cluster_ip("web", "10.96.7.55")
    responder.drop(index.apply_service(old, new, wall_seconds=SERIAL + 5))
    assert len(responder.kept_udp) == 2
    assert respond(ask_wire("web.@ A"), responder).answer[0][0].address == "10.96.7.55"
    assert isinstance(responder.respond(ask_wire("1.7.96.10.in-addr.arpa PTR")), Deferred)


def test_a_service_that_comes_ends_its_nxdomain() -> None:
    index = make_index()
    responder = make_responder(index)
    assert respond(ask_wire("nosuch.@ A"), responder).rcode() == dns.rcode.NXDOMAIN
    responder.drop(index.apply_service(None, cluster_ip("nosuch", "10.96.7.55"), wall_seconds=SERIAL))
    assert respond(ask_wire("nosuch.@ A"), responder).rcode() == dns.rcode.NOERROR


def test_a_namespace_that_comes_ends_all() -> None:
    index = make_index()
    responder = make_responder(index)
    respond(ask_wire("ghost.svc.cluster.local A"), responder)
    responder.drop(index.apply_namespace(None, msgspec.convert({"metadata": {"name": "ghost"}}, Namespace)))
    assert not responder.kept_udp
    assert respond(ask_wire("ghost.svc.cluster.local A"), responder).rcode() == dns.rcode.NOERROR


def test_a_kept_negative_reply_shows_the_serial_of_now() -> None:
    index = make_index()
    responder = make_responder(index)
    for second in (SERIAL, SERIAL + 77):
        index.serial = second
        for edns in (-1, 0):
            reply = respond(ask_wire("nosuch.@ A", use_edns=edns), responder)
            assert reply.authority[0][0].serial == second
            assert (reply.authority[0][0].refresh, reply.authority[0][0].minimum) == (7200, 5)


def test_the_number_of_kept_replies_is_limited() -> None:
    responder = make_responder()
    for i in range(MAX_KEPT + 10):
        responder.respond(header() + bytes((len(f"n{i}"),)) + f"n{i}".encode() + WEB[16:])
    assert len(responder.kept_udp) <= MAX_KEPT


def test_the_bytes_of_kept_replies_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(respond_module, "MAX_KEPT_BYTES", 500_000)
    responder = make_responder(with_endpoints(5000))
    for payload in range(512, 527):
        responder.respond(ask_wire("db2.@ A", use_edns=0, payload=payload), over_tcp=True)
    assert 0 < sum(len(reply.tail) for reply in responder.kept_tcp.values()) <= 500_000


def test_unsynced_refusals_are_not_kept() -> None:
    index = make_index(is_synced=False)
    responder = make_responder(index)
    reply = respond(ask_wire("nosuch.@ A"), responder)
    assert (reply.rcode(), bool(reply.flags & dns.flags.AA), len(reply.authority)) == (dns.rcode.SERVFAIL, True, 1)
    index.is_synced = True
    assert respond(ask_wire("nosuch.@ A"), responder).rcode() == dns.rcode.NXDOMAIN


# -- anything at all ---------------------------------------------------------------------------------------------------


def mutate(wire: bytes, changes: list[tuple[int, int]], cut: int) -> bytes:
    out = bytearray(wire)
    for at, byte in changes:
        out[at % len(out)] = byte
    return bytes(out[: len(out) - cut % len(out)] if cut else out)


noise = st.one_of(
    st.binary(max_size=80),
    st.binary(max_size=80).map(lambda tail: header() + tail),
    st.builds(
        mutate, queries, st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4), st.integers(0, 60)
    ),
)


@settings(max_examples=400, deadline=None)
@given(noise)
def test_whatever_comes_in_what_goes_out_is_a_message_or_nothing(wire: bytes) -> None:
    responder = make_responder()
    out = responder.respond(wire)
    if isinstance(out, Deferred):
        out = responder.fail(out, dns.rcode.SERVFAIL)  # type: ignore[arg-type]
    if out is None:
        assert len(wire) < 12 or wire[2] & 0x80
        return
    assert (out[:2], out[2] & 0x80) == (wire[:2], 0x80)
    dns.message.from_wire(out)


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=120), st.booleans())
def test_any_bytes_are_a_message_or_a_wire_error(tail: bytes, whole: bool) -> None:
    wire = (struct.pack("!6H", 1, 0x8180, 1, 1, 0, 1) if whole else b"") + tail
    try:
        message = decode_message(wire)
    except WireError:
        return
    assert isinstance(message, Message)
    assert all(message.question_end <= place.start < place.end <= len(wire) for place in message.places)


@given(st.binary(max_size=60), st.integers(0, 60))
def test_names_end_whatever_their_pointers(wire: bytes, at: int) -> None:
    try:
        name, end = decode_name(wire, at)
    except WireError:
        return
    assert end <= len(wire)
    assert sum(map(len, name)) + len(name) + 1 <= 255
