"""How long replies of upstreams are repeated. Rule: spec "discovery" A3.4, D3 11-14."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def kept(config: CacheConfig, message: Message, *, at: float = 0.0) -> ReplyCache:
    cache = ReplyCache(config)
    cache.store(key(), NAME, message, at)
    return cache


@pytest.mark.parametrize(
    ("asked_at", "is_due"),
    [
        pytest.param((1, 2, 28), True, id="often, without a gap, near the end"),
        pytest.param((1, 2, 20), False, id="often, far from the end"),
        pytest.param((28,), False, id="seldom"),
        pytest.param((1, 2, 27, 28), True, id="on and on"),
    ],
)
def test_d3_18_a_reply_that_is_asked_for_often_is_due_before_its_end(asked_at: tuple[int, ...], is_due: bool) -> None:
    cache = kept(CacheConfig(prefetch_hits=3, prefetch_percent=10), reply(A.format(300)))
    found = [cache.find(key(), float(now)) for now in asked_at][-1]
    assert found is not None
    assert found.is_due == is_due


def test_d3_18_a_gap_begins_the_count_anew() -> None:
    config = CacheConfig(success_max_seconds=300, prefetch_hits=3, prefetch_gap_seconds=60.0)
    cache = kept(config, reply(A.format(300)))
    for now in (1.0, 2.0, 200.0):
        cache.find(key(), now)
    found = cache.find(key(), 280.0)
    assert found is not None and not found.is_due


def test_d3_18_a_stale_reply_has_ttl_0_for_as_long_as_is_wanted() -> None:
    cache = kept(CacheConfig(stale_seconds=100.0), reply(A.format(300)))
    found = cache.find(key(), 129.0)
    assert found is not None
    assert (found.is_stale, found.ttl_seconds) == (True, 0)
    assert cache.find(key(), 130.0) is None
    assert kept(CacheConfig(), reply(A.format(300))).find(key(), 30.0) is None


def test_d3_18_a_failure_takes_no_better_replys_place_and_is_never_stale() -> None:
    config = CacheConfig(stale_seconds=100.0)
    cache = kept(config, reply(A.format(300)))
    cache.store(key(), NAME, reply(rcode=2), 40.0)
    found = cache.find(key(), 41.0)
    assert found is not None and found.is_stale
    failing = kept(config, reply(rcode=2))
    assert failing.find(key(), 4.0) is not None
    assert failing.find(key(), 5.0) is None


def test_absence_ends_when_the_name_comes() -> None:
    cache = kept(CacheConfig(), reply(soa_ttl=900, rcode=3))
    cache.store(key(), NAME, reply(A.format(300)), 1.0)
    found = cache.find(key(), 2.0)
    assert found is not None and found.kind == "success"
    assert len(cache) == 1


@pytest.mark.parametrize(
    ("config", "message", "is_kept"),
    [
        (CacheConfig(unkept_successes=(parse_name("example.com"),)), reply(A.format(9)), False),
        (CacheConfig(unkept_successes=(parse_name("example.org"),)), reply(A.format(9)), True),
        (CacheConfig(unkept_denials=((),)), reply(A.format(9)), True),
        (CacheConfig(unkept_denials=((),)), reply(soa_ttl=9, rcode=3), False),
        (CacheConfig(unkept_denials=((),)), reply(rcode=2), False),
        (CacheConfig(zones=(parse_name("example.org"),)), reply(A.format(9)), False),
        (CacheConfig(failure_seconds=0), reply(rcode=2), False),
        (CacheConfig(success_min_seconds=0), reply(A.format(0)), False),
    ],
)
def test_what_a_zone_does_not_keep(config: CacheConfig, message: Message, is_kept: bool) -> None:
    assert bool(len(kept(config, message))) == is_kept


def test_ttls_that_are_to_stay_do_not_count_down() -> None:
    found = kept(CacheConfig(keeps_ttl=True), reply(A.format(300))).find(key(), 20.0)
    assert found is not None and found.ttl_seconds == 30


def test_each_kind_has_its_number() -> None:
    evicted: list[str] = []
    cache = ReplyCache(CacheConfig(success_capacity=2, denial_capacity=1), on_evict=evicted.append)
    for i in range(4):
        cache.store(key(f"s{i}"), NAME, reply(A.format(300)), 0.0)
        cache.store(key(f"d{i}"), NAME, reply(soa_ttl=9, rcode=3), 0.0)
    assert (cache.count("success"), cache.count("denial")) == (2, 1)
    assert sorted(evicted) == ["denial"] * 3 + ["success"] * 2


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans(), st.integers(0, 100)), max_size=120))
def test_the_limits_hold_whatever_comes(steps: list[tuple[int, bool, int]]) -> None:
    """And what is found is what was stored last, within its life."""
    config = CacheConfig(success_capacity=5, denial_capacity=3, max_bytes=20_000)
    cache, model, now = ReplyCache(config), dict[int, tuple[Message, float]](), 0.0
    for which, is_success, seconds in steps:
        now += seconds / 10
        message = reply(A.format(20)) if is_success else reply(soa_ttl=20, rcode=3)
        cache.store(key(str(which)), NAME, message, now)
        model[which] = message, now + 20
        assert cache.count("success") <= 5 and cache.count("denial") <= 3
        for each, (stored, expires) in model.items():
            found = cache.find(key(str(each)), now)
            assert found is None or (found.message.wire == stored.wire and expires > now)
    assert all(cache.find(key(str(which)), now + 20) is None for which in model)
    assert len(cache) == 0
