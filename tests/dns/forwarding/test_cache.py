"""How long replies of upstreams are repeated. Rule: spec "discovery" A3.4, D3 11-14."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from seaway.dns.forwarding.cache import CacheKey, ReplyCache, choose_lifetime
from seaway.dns.forwarding.config import CacheConfig
from seaway.dns.message import AA, Message, decode_message
from seaway.dns.records import parse_name


def reply(*answer: str, soa_ttl: int = 0, rcode: int = 0, flags: int = dns.flags.QR | dns.flags.RD) -> Message:
    query = dns.message.make_query("www.example.com", "A", use_edns=0)
    response = dns.message.make_response(query)
    response.flags = dns.flags.Flag(flags)
    response.set_rcode(dns.rcode.Rcode(rcode))
    response.answer = [dns.rrset.from_text(*line.split()) for line in answer]
    if soa_ttl:
        soa = dns.rrset.from_text("example.com.", soa_ttl, "IN", "SOA", f"a. b. 1 2 3 4 {soa_ttl}")
        response.authority = [soa]
    return decode_message(response.to_wire())


NAME = parse_name("www.example.com")
A = "www.example.com. {} IN A 198.51.100.7"
ALIAS = "www.example.com. 60 IN CNAME x.example.com."


@pytest.mark.parametrize(
    ("message", "lifetime"),
    [
        pytest.param(reply(A.format(300)), 30, id="D3 11 a long TTL is cut"),
        pytest.param(reply(A.format(20)), 20, id="a TTL within the bounds"),
        pytest.param(reply(A.format(2)), 5, id="D3 11 a short TTL is raised"),
        pytest.param(reply(A.format(0)), 5, id="D3 11 so is none"),
        pytest.param(reply(soa_ttl=900, rcode=3), 30, id="D3 14 NXDOMAIN"),
        pytest.param(reply(soa_ttl=7), 7, id="NODATA"),
        pytest.param(reply(rcode=3), None, id="D3 14 NXDOMAIN without SOA"),
        pytest.param(reply(), None, id="NODATA without SOA"),
        pytest.param(reply(A.format(9), rcode=3), None, id="NXDOMAIN with an answer"),
        pytest.param(reply(ALIAS), None, id="an alias that leads nowhere"),
        pytest.param(reply(ALIAS, soa_ttl=9), 9, id="an alias whose end is denied"),
        pytest.param(reply(rcode=2), 5, id="SERVFAIL of the upstream"),
        pytest.param(reply(rcode=5), None, id="REFUSED"),
        pytest.param(reply(A.format(9), flags=dns.flags.QR | dns.flags.RD | dns.flags.TC), None, id="truncated"),
        pytest.param(reply(A.format(9), flags=dns.flags.QR), None, id="without recursion"),
    ],
)
def test_lifetimes(message: Message, lifetime: int | None) -> None:
    found = choose_lifetime(message, CacheConfig())
    assert (found.seconds if found else None) == lifetime


def key(name: str = "a", *, dnssec_ok: bool = False, checking_disabled: bool = False) -> CacheKey:
    return CacheKey(name.encode(), dnssec_ok, checking_disabled)


def test_d3_12_the_lifetime_counts_down_and_repeats_are_marked() -> None:
    cache, message = ReplyCache(), reply(A.format(300))
    assert cache.store(key(), NAME, message, 100.0) == 30
    found = cache.find(key(), 110.0)
    assert found is not None
    assert found.ttl_seconds == 20
    assert (found.message.flags, found.message.wire) == (message.flags | AA, message.wire)
    assert cache.find(key(), 130.0) is None
    assert len(cache) == 0


def test_d3_13_flags_that_change_the_reply_are_part_of_the_key() -> None:
    cache = ReplyCache()
    cache.store(key(), NAME, reply(A.format(300)), 0.0)
    assert cache.find(key(dnssec_ok=True), 1.0) is None
    assert cache.find(key(checking_disabled=True), 1.0) is None


def test_the_oldest_make_room() -> None:
    cache = ReplyCache(CacheConfig(max_bytes=20_000))
    for i in range(100):
        cache.store(key(str(i)), NAME, reply(A.format(300)), 0.0)
    assert 5 < len(cache) < 30
    assert cache.find(key("99"), 1.0) is not None
    assert cache.find(key("0"), 1.0) is None
