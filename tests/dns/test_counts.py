"""What is counted of queries and replies. Rule: spec "discovery" A4.3."""

from __future__ import annotations

import asyncio
from typing import Any

import dns.message
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.dns.counts import QueryCounts, parse_trigger_seconds
from seaway.dns.records import parse_name
from seaway.dns.respond import Responder
from seaway.telemetry.exposition import render_families
from seaway.telemetry.metrics import Metrics
from tests.dns.fixture import CONFIG, make_index
from tests.dns.test_serve import ask_udp, frame, read_message, run

WEB = "web.demo.svc.cluster.local"
WHERE = 'server="dns://:53",zone=".",view=""'


def query(name: str, qtype: str = "A", **options: Any) -> bytes:
    return dns.message.make_query(name, qtype, id=7, **options).to_wire()


def respond(data: bytes) -> bytes:
    found = Responder(make_index(), CONFIG).respond(data)
    assert isinstance(found, bytes)
    return found


def page(metrics: Metrics) -> list[str]:
    return render_families(metrics.collect()).decode().splitlines()


def note(
    data: bytes, reply: bytes, *, zones: tuple[str, ...] = (), over_tcp: bool = False, family: int = 0
) -> list[str]:
    metrics = Metrics()
    counts = QueryCounts(metrics, zones=tuple(map(parse_name, zones)))
    counts.note(data, reply, over_tcp=over_tcp, family=family, seconds=0.001)
    return page(metrics)


def test_a_query_is_counted_by_protocol_family_and_type() -> None:
    lines = note(query(WEB), respond(query(WEB)))
    assert f'coredns_dns_requests_total{{{WHERE},proto="udp",family="1",type="A"}} 1' in lines
    lines = note(query(WEB, "AAAA"), respond(query(WEB, "AAAA")), over_tcp=True, family=1)
    assert f'coredns_dns_requests_total{{{WHERE},proto="tcp",family="2",type="AAAA"}} 1' in lines


@pytest.mark.parametrize(
    ("name", "qtype", "rcode"),
    [(WEB, "A", "NOERROR"), ("nosuch.demo.svc.cluster.local", "A", "NXDOMAIN"), (WEB, "AXFR", "REFUSED")],
)
def test_a_reply_is_counted_by_its_code(name: str, qtype: str, rcode: str) -> None:
    lines = note(query(name, qtype), respond(query(name, qtype)))
    found = [line for line in lines if line.startswith("coredns_dns_responses_total")]
    assert len(found) == 1 and f'rcode="{rcode}"' in found[0] and found[0].endswith(" 1")


def test_types_that_upstream_does_not_name_are_other() -> None:
    assert any('type="other"' in line for line in note(query(WEB, "HINFO"), respond(query(WEB, "HINFO"))))


def test_sizes_and_times_have_upstreams_bounds() -> None:
    data = query(WEB)
    reply = respond(data)
    lines = note(data, reply)
    assert f'coredns_dns_request_size_bytes_sum{{{WHERE},proto="udp"}} {len(data)}' in lines
    assert f'coredns_dns_response_size_bytes_sum{{{WHERE},proto="udp"}} {len(reply)}' in lines
    bounds = [line.split('le="')[1].split('"')[0] for line in lines if "request_duration_seconds_bucket" in line]
    assert bounds[0] == "0.00025" and bounds[-2] == "8.192" and len(bounds) == 17
    sizes = [line.split('le="')[1].split('"')[0] for line in lines if "response_size_bytes_bucket" in line]
    wanted = (0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16000, 32000, 48000, 64000, "+Inf")
    assert sizes == list(map(str, wanted))


def test_queries_with_do_are_counted() -> None:
    assert f"coredns_dns_do_requests_total{{{WHERE}}} 1" in note(query(WEB, want_dnssec=True), respond(query(WEB)))
    assert not [
        line for line in note(query(WEB), respond(query(WEB))) if line.startswith("coredns_dns_do_requests_total{")
    ]


def test_the_zone_is_that_of_the_block_with_the_longest_suffix() -> None:
    lines = note(query("x.ACME.local"), respond(query(WEB)), zones=("local", "acme.local", ""))
    assert any('zone="acme.local."' in line for line in lines)
    assert not any(
        'zone="acme.local."' in line for line in note(query("xacme.local"), respond(query(WEB)), zones=("acme.local",))
    )


@pytest.mark.parametrize("data", [bytes(12), query(WEB)[:20], b"\0\0\x10\0" + query(WEB)[4:]])
def test_queries_that_no_block_sees_are_dropped_ones(data: bytes) -> None:
    lines = note(data, respond(data))
    assert any('zone="dropped"' in line and 'type="other"' in line for line in lines)
    assert any(line.startswith("coredns_dns_responses_total") and 'plugin=""' in line for line in lines)


SOME = st.sampled_from(
    [
        query(WEB),
        query(WEB, "AAAA"),
        query("nosuch." + WEB),
        query(WEB, use_edns=0),
        query("db." + WEB[4:]),
    ]
)


@given(st.lists(st.tuples(SOME, st.sampled_from((0, 1)), st.booleans()), max_size=20))
def test_counted_by_tallies_or_one_by_one_the_page_is_the_same(sent: list[tuple[bytes, int, bool]]) -> None:
    one_by_one, tallied = Metrics(), Metrics()
    each, tallies = QueryCounts(one_by_one), QueryCounts(tallied)
    durations = tallies.find_durations(CONFIG.cluster_domain)
    for data, family, over_tcp in sent:
        each.note(data, respond(data), over_tcp=over_tcp, family=family, seconds=0.25)
        tallies.find_tally(data, respond(data), over_tcp=over_tcp)[family] += 1
        durations.observe(0.25)
    if sent:
        assert page(tallied) == page(one_by_one)


def test_what_was_folded_is_not_counted_again() -> None:
    metrics = Metrics()
    counts = QueryCounts(metrics)
    tally = counts.find_tally(query(WEB), respond(query(WEB)), over_tcp=False)
    tally[0] += 3
    assert page(metrics) == page(metrics)
    tally[0] += 1
    assert f'coredns_dns_requests_total{{{WHERE},proto="udp",family="1",type="A"}} 4' in page(metrics)


def test_at_the_limit_tallies_are_begun_anew_and_no_count_is_lost() -> None:
    metrics = Metrics()
    counts = QueryCounts(metrics, max_tallies=3)
    responder = Responder(make_index(), CONFIG, counts=counts)
    asked = [query(f"{'x' * length}.demo.svc.cluster.local") for length in range(1, 11)]
    for data in (*asked, *reversed(asked)):
        responder.respond(data)
        responder.kept_udp[data[2:].lower()].tally[0] += 1
    assert len(responder.kept_udp) <= 3
    found = f'coredns_dns_requests_total{{{WHERE},proto="udp",family="1",type="A"}} 20'
    assert found in page(metrics)


def test_the_server_counts_what_it_sends_over_udp_and_tcp() -> None:
    metrics = Metrics()

    async def body(server: Any, _: Any) -> None:
        for _ in range(3):
            await ask_udp(server, WEB)
        await ask_udp(server, "nosuch." + WEB)
        await ask_udp(server, "www.example.com")
        reader, writer = await asyncio.open_connection(*server.addresses[0])
        writer.write(frame(WEB))
        await read_message(reader)
        writer.close()
        lines = page(metrics)
        assert f'coredns_dns_requests_total{{{WHERE},proto="udp",family="1",type="A"}} 5' in lines
        assert f'coredns_dns_requests_total{{{WHERE},proto="tcp",family="1",type="A"}} 1' in lines
        assert f"coredns_dns_request_duration_seconds_count{{{WHERE}}} 6" in lines

    run(body, counts=QueryCounts(metrics))


def test_a_bug_in_one_answer_is_counted_and_told_and_answered(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()

    async def body(server: Any, _: Any) -> None:
        broken = Responder(make_index(), CONFIG, counts=QueryCounts(metrics))
        broken.claims = lambda query: bool(1 // 0)
        server.use(server._config, broken, server._relay)
        assert (await ask_udp(server, WEB)).rcode() == dns.rcode.SERVFAIL

    run(body)
    assert "coredns_panics_total 1" in page(metrics)
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:01Z", 1.0),
        ("1970-01-01T00:00:01.123456789Z", 1.123456),
        ("1970-01-01T01:00:01+01:00", 1.0),
        ("1970-01-01T00:00:01", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_trigger_times(text: str, seconds: float | None) -> None:
    assert parse_trigger_seconds(text) == seconds
