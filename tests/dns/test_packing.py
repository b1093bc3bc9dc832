"""Thousands of addresses as bytes: what is packed is what the slices say, and every address is told in its turn."""

from __future__ import annotations

import dataclasses
import ipaddress

import dns.flags
import dns.message
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seaway.dns.index import Shard
from seaway.dns.objects import EndpointSlice
from seaway.dns.packing import V4, V6, Packs, pack_address, pack_addresses
from seaway.dns.records import Address, AddressSet, Record, RRType, parse_name
from seaway.dns.respond import Responder
from tests.dns.fixture import CONFIG, endpoints
from tests.dns.test_respond import ask_wire, with_endpoints

POOL = ("10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1", "FD00::1", "::ffff:10.0.0.1", "nonsense", "10.0.0.999")
slices = st.lists(st.tuples(st.sampled_from(POOL), st.none(), st.sampled_from([True, None, False])), max_size=5)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["s1", "s2", "s3"]), slices), max_size=8))
def test_what_is_packed_is_what_the_slices_say(written: list[tuple[str, list[tuple[str, None, bool | None]]]]) -> None:
    packs = Packs(pack_address)
    kept: dict[str, EndpointSlice] = {}
    for name, found in written:
        kept[name] = endpoints("db", *found, name=name)
        shard = Shard(None, tuple(kept.values()))
        told = [pack_address(address) for each in kept.values() for one in each.published for address in one.addresses]
        for size in (V4, V6):
            assert packs.find(("demo", "db"), shard, size) == pack_addresses(told, size)


def test_a_slice_that_is_the_same_is_not_packed_again() -> None:
    packed: list[str] = []

    def pack(address: str) -> bytes:
        packed.append(address)
        return pack_address(address)

    packs = Packs(pack)
    first, second = (endpoints("db", (f"10.0.0.{i}", None, True), name=f"s{i}") for i in (1, 2))
    packs.find(("demo", "db"), Shard(None, (first, second)), V4)
    changed = msgspec.structs.replace(second, endpoints=endpoints("db", ("10.0.0.3", None, True)).endpoints)
    assert len(packs.find(("demo", "db"), Shard(None, (first, changed)), V4)) == 2
    assert packed == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]


@pytest.mark.parametrize(
    ("text", "size"), [("10.0.0.1", 4), ("fd00::1", 16), ("", 0), ("10.0.0", 0), ("10.0.0.01", 0), ("a.example", 0)]
)
def test_an_address_in_network_order(text: str, size: int) -> None:
    assert len(pack_address(text)) == size


@given(st.one_of(st.ip_addresses().map(str), st.from_regex(r"[0-9. +_x]{1,15}", fullmatch=True), st.text(max_size=12)))
def test_what_is_an_address_is_what_the_library_says(text: str) -> None:
    try:
        want = ipaddress.ip_address(text).packed
    except ValueError:
        want = b""
    assert pack_address(text) == want


def test_a_set_of_addresses_is_a_sequence_of_records() -> None:
    owner = parse_name("a.b")
    found = AddressSet(owner, 5, pack_addresses([pack_address(f"10.0.0.{i}") for i in (3, 1, 2, 1)], V4))
    assert list(found) == [Record(owner, RRType.A, 5, Address(bytes((10, 0, 0, i)))) for i in (1, 2, 3)]
    assert (found[-1], found[:1], len(found), bool(found)) == (list(found)[2], (found[0],), 3, True)
    with pytest.raises(IndexError):
        found[3]


def ask(responder: Responder, wire: bytes, query_id: int, *, over_tcp: bool = True) -> list[str]:
    out = responder.respond(query_id.to_bytes(2, "big") + wire[2:], over_tcp=over_tcp)
    assert isinstance(out, bytes)
    assert len(out) <= (65_535 if over_tcp else 512)
    reply = dns.message.from_wire(out)
    assert reply.flags & dns.flags.TC
    return [each.address for each in reply.answer[0]]


@pytest.mark.parametrize(("over_tcp", "shown"), [(True, 4093), (False, 29)])
def test_of_5000_endpoints_each_is_told_in_its_turn(over_tcp: bool, shown: int) -> None:
    """Rule: spec "discovery" A2.4 (4,093 fit), A2.6 (uniform)."""
    responder, wire = Responder(with_endpoints(5000, "d2"), CONFIG), ask_wire("d2.@ A")
    step = shown if shown < 100 else 900
    counts: dict[str, int] = {}
    for query_id in range(0, 5000, step):
        found = ask(responder, wire, query_id, over_tcp=over_tcp)
        assert len(found) == len(set(found)) == shown
        for address in found:
            counts[address] = counts.get(address, 0) + 1
    assert len(counts) == 5000


def test_all_replies_of_a_service_share_its_records() -> None:
    index = with_endpoints(5000, "d2")
    responder = Responder(index, CONFIG)
    for size in range(512, 612):
        responder.respond(ask_wire("d2.@ A", use_edns=0, payload=size))
    assert len({id(reply.block) for reply in responder.kept_udp.values()}) == 1
    assert len(responder.kept_udp) > 50


def test_another_ttl_is_another_block() -> None:
    index = with_endpoints(40, "d2")
    for ttl in (5, 30, 5):
        out = Responder(index, dataclasses.replace(CONFIG, ttl_seconds=ttl)).respond(ask_wire("d2.@ A"), over_tcp=True)
        assert isinstance(out, bytes)
        assert dns.message.from_wire(out).answer[0].ttl == ttl


def test_large_replies_are_kept_within_a_limit_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seaway.dns.respond.MAX_KEPT_BYTES", 200_000)
    responder = Responder(with_endpoints(300, "d2", hostname=True), CONFIG)
    most = 0
    for size in range(512, 530):
        responder.respond(ask_wire("_http._tcp.d2.@ SRV", use_edns=0, payload=size), over_tcp=True)
        most = max(most, sum(len(reply.tail) for reply in responder.kept_tcp.values()))
        responder.drop([("demo", "other")])
    assert 100_000 < most <= 200_000
