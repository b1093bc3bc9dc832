"""Hosts, rewrites, search lists, wasted queries, errors and the query log: the pure parts of forwarding.

Rule: spec "discovery" A3.1, A3.6, A4.4.
"""

from __future__ import annotations

import ipaddress

import dns.flags
import dns.message
import dns.rrset
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.dns.forwarding.complaints import MAX_LINES, PERIOD_SECONDS, Complaints
from seaway.dns.forwarding.config import (
    Block,
    Consolidation,
    HostsConfig,
    LogClass,
    LogConfig,
    Match,
    NameRewrite,
    TypeRewrite,
    choose_block,
)
from seaway.dns.forwarding.hosts import falls_through, find_hosts, parse_hosts
from seaway.dns.forwarding.paths import PodNamespaces, list_guesses, split_first_guess
from seaway.dns.forwarding.querylog import classify_reply, render_query
from seaway.dns.forwarding.rewrite import Rewritten, restore_reply, rewrite_question
from seaway.dns.forwarding.waste import WastedQueries
from seaway.dns.objects import Pod
from seaway.dns.records import Name, parse_name, render_name, render_record
from seaway.telemetry.exposition import render_families
from seaway.telemetry.metrics import Metrics
from tests.dns.fixture import TYPES, make_pod

ZONE = parse_name("cluster.local")


def name(text: str) -> Name:
    return parse_name(text)


# -- blocks ------------------------------------------------------------------------------------------------------------


def test_the_longest_zone_has_the_name() -> None:
    blocks = [Block(), Block(name("local")), Block(name("acme.local"))]
    found = [choose_block(blocks, name(text)) for text in ("a.acme.local", "acme.local", "x.local", "xacme.local", "y")]
    assert [block.zone if block else None for block in found] == [
        name("acme.local"), name("acme.local"), name("local"), name("local"), (),
    ]  # fmt: skip
    assert choose_block(blocks[1:], name("y")) is None


# -- hosts -------------------------------------------------------------------------------------------------------------

HOSTS = parse_hosts(
    """\
# comment
10.0.0.1   Node-1 node-1.example.org  # the first
fd00::1    node-1
10.0.0.2   node-1
10.0.0.1   node-1
bad        node-2
10.0.0.3
fe80::3%eth0 link
10.0.0.4   bad..name
""".splitlines()
)


@pytest.mark.parametrize(
    ("asked", "lines"),
    [
        ("node-1 A", ["node-1. 60 IN A 10.0.0.1", "node-1. 60 IN A 10.0.0.2"]),
        ("NODE-1 AAAA", ["NODE-1. 60 IN AAAA fd00::1"]),
        ("node-1 MX", []),
        ("node-1.example.org A", ["node-1.example.org. 60 IN A 10.0.0.1"]),
        ("link AAAA", ["link. 60 IN AAAA fe80::3"]),
        ("node-2 A", None),
        ("node-3 A", None),
    ],
)
def test_hosts_have_names(asked: str, lines: list[str] | None) -> None:
    text, qtype = asked.split()
    found = find_hosts(HOSTS, HostsConfig(ttl_seconds=60), name(text), TYPES[qtype], "")
    assert (None if found is None else [render_record(each) for each in found]) == lines


def test_hosts_have_addresses() -> None:
    asked = name("1.0.0.10.in-addr.arpa")
    found = find_hosts(HOSTS, HostsConfig(), asked, TYPES["PTR"], "10.0.0.1")
    assert found is not None
    assert [render_record(each) for each in found] == [
        "1.0.0.10.in-addr.arpa. 3600 IN PTR node-1.",
        "1.0.0.10.in-addr.arpa. 3600 IN PTR node-1.example.org.",
    ]
    assert find_hosts(HOSTS, HostsConfig(has_reverse=False), asked, TYPES["PTR"], "10.0.0.1") is None
    assert find_hosts(HOSTS, HostsConfig(), asked, TYPES["PTR"], "10.9.9.9") is None


def test_hosts_of_a_zone_say_nothing_of_other_names() -> None:
    config = HostsConfig(zones=(name("example.org"),))
    assert find_hosts(HOSTS, config, name("node-1"), 1, "") is None
    assert find_hosts(HOSTS, config, name("node-1.example.org"), 1, "")


@pytest.mark.parametrize(
    ("config", "asked", "falls"),
    [
        (HostsConfig(), "a.b", False),
        (HostsConfig(fallthrough=()), "a.b", True),
        (HostsConfig(fallthrough=(name("b"),)), "a.b", True),
        (HostsConfig(fallthrough=(name("c"),)), "a.b", False),
        (HostsConfig(zones=(name("c"),)), "a.b", True),
    ],
)
def test_who_falls_through(config: HostsConfig, asked: str, falls: bool) -> None:
    assert falls_through(config, name(asked)) == falls


@given(st.lists(st.text(max_size=60), max_size=20))
def test_any_lines_are_a_table(lines: list[str]) -> None:
    for packed in parse_hosts(lines).names:
        ipaddress.ip_address(packed)


# -- rewrites ----------------------------------------------------------------------------------------------------------

RULES = {
    "exact": NameRewrite(Match.EXACT, "old.example.com.", "web.demo.svc.cluster.local."),
    "prefix": NameRewrite(Match.PREFIX, "dev-", "prod-"),
    "suffix": NameRewrite(Match.SUFFIX, ".corp.example.", ".svc.cluster.local.", answers_auto=True),
    "substring": NameRewrite(Match.SUBSTRING, "blue", "green"),
    "regex": NameRewrite(Match.REGEX, r"^(.*)\.(\w+)\.ext\.$", "{1}.{2}.svc.cluster.local."),
}


@pytest.mark.parametrize(
    ("rule", "asked", "looked_up"),
    [
        ("exact", "OLD.example.com", "web.demo.svc.cluster.local."),
        ("exact", "x.old.example.com", None),
        ("prefix", "dev-a.example", "prod-a.example."),
        ("prefix", "a-dev-.example", None),
        ("suffix", "web.demo.corp.example", "web.demo.svc.cluster.local."),
        ("suffix", "corp.example", None),
        ("substring", "a.blue.blue.example", "a.green.green.example."),
        ("regex", "web.demo.ext", "web.demo.svc.cluster.local."),
        ("regex", "web.demo.ext.example", None),
    ],
)
def test_rules_match_names(rule: str, asked: str, looked_up: str | None) -> None:
    found = rewrite_question([RULES[rule]], name(asked), 1)
    assert (None if found is None else render_name(found.name)) == looked_up


def test_the_first_rule_that_matches_ends_it_unless_it_continues() -> None:
    first = NameRewrite(Match.EXACT, "a.", "b.")
    second = NameRewrite(Match.EXACT, "b.", "c.")
    going_on = NameRewrite(Match.EXACT, "a.", "b.", stops=False)
    assert [rewrite_question(rules, name("a"), 1) for rules in ([first, second], [going_on, second])] == [
        Rewritten(name("b"), 1, (first,)),
        Rewritten(name("c"), 1, (going_on, second)),
    ]
    found = rewrite_question([TypeRewrite(255, 13)], name("a"), 255)
    assert found == Rewritten(name("a"), 13, ())


def test_a_rule_that_makes_no_name_is_passed_over() -> None:
    assert rewrite_question([NameRewrite(Match.PREFIX, "a", "x" * 64)], name("a"), 1) is None
    assert rewrite_question([NameRewrite(Match.EXACT, "a.", "a.")], name("A"), 1) is None


def restored(rule: NameRewrite, asked: str, *answer: str) -> tuple[str, list[str]]:
    found = rewrite_question([rule], name(asked.lower()), 1)
    assert found is not None
    query = dns.message.make_query(render_name(found.name), "A")
    reply = dns.message.make_response(query)
    reply.answer = [dns.rrset.from_text(*line.split()) for line in answer]
    question = dns.message.make_query(asked, "A").to_wire()[12:]
    message = restore_reply(reply.to_wire(), question, found)
    seen = dns.message.from_wire(message.wire)
    assert message.wire[12 : message.question_end] == question
    return str(seen.question[0].name), [str(rrset) for rrset in seen.answer]


def test_the_client_gets_its_own_name_back() -> None:
    assert restored(RULES["exact"], "Old.example.com", "web.demo.svc.cluster.local. 5 IN A 10.0.0.1") == (
        "Old.example.com.", ["Old.example.com. 5 IN A 10.0.0.1"],
    )  # fmt: skip


def test_names_beside_it_come_back_where_the_rule_can_be_turned() -> None:
    lines = ("web.demo.svc.cluster.local. 5 IN CNAME b.demo.svc.cluster.local.",
             "b.demo.svc.cluster.local. 5 IN A 10.0.0.1")  # fmt: skip
    assert restored(RULES["suffix"], "web.demo.corp.example", *lines)[1] == [
        "web.demo.corp.example. 5 IN CNAME b.demo.svc.cluster.local.",
        "b.demo.corp.example. 5 IN A 10.0.0.1",
    ]
    rule = NameRewrite(Match.REGEX, r"^(.*)\.ext\.$", "{1}.int.", answer_rewrites=((r"^(.*)\.int\.$", "{1}.out."),))
    assert restored(rule, "a.ext", "a.int. 5 IN CNAME b.int.", "b.int. 5 IN A 10.0.0.1")[1] == [
        "a.ext. 5 IN CNAME b.int.",
        "b.out. 5 IN A 10.0.0.1",
    ]


# -- search lists ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "namespace", "base"),
    [
        ("www.example.com.demo.svc.cluster.local", "demo", "www.example.com"),
        ("web.demo.svc.cluster.local", "demo", "web"),
        ("demo.svc.cluster.local", "demo", ""),
        ("www.example.com.other.svc.cluster.local", "demo", ""),
        ("www.example.com.svc.cluster.local", "demo", ""),
        ("www.example.com.demo.svc.cluster.local", "", ""),
    ],
)
def test_the_first_guess_of_a_search_list(asked: str, namespace: str, base: str) -> None:
    assert split_first_guess(name(asked), namespace, ZONE) == name(base)


def test_what_is_guessed_next() -> None:
    guesses = list_guesses(name("a.b"), ZONE, (name("lan"),))
    assert [render_name(guess) for guess in guesses] == [
        "a.b.svc.cluster.local.", "a.b.cluster.local.", "a.b.lan.", "a.b.",
    ]  # fmt: skip


def test_an_address_leads_to_the_namespace_of_its_pod() -> None:
    pods = PodNamespaces()
    one, two = make_pod("a", "10.0.0.1", "demo"), make_pod("b", "10.0.0.1", "other")
    pods.apply(None, one)
    assert (pods.find("10.0.0.1"), pods.find("10.0.0.2")) == ("demo", "")
    pods.apply(None, two)
    assert pods.find("10.0.0.1") == "", "of two namespaces nobody knows which"
    pods.apply(one, None)
    assert pods.find("10.0.0.1") == "other"
    pods.apply(two, msgspec.convert({"metadata": {"name": "b", "namespace": "other"}}, Pod))
    assert pods.find("10.0.0.1") == ""


def test_wasted_queries_are_counted_for_a_limited_number_of_clients() -> None:
    metrics = Metrics()
    wasted = WastedQueries(metrics, max_clients=2)
    for client, times in (("10.0.0.1", 5), ("10.0.0.2", 3), ("10.0.0.3", 1), ("10.0.0.4", 1), ("10.0.0.5", 1)):
        for _ in range(times):
            wasted.note(client)
    assert wasted.top(9) == [("10.0.0.1", 5), ("10.0.0.2", 3)]
    page = render_families(metrics.collect()).decode()
    assert 'seaway_dns_wasted_queries_total{client="10.0.0.1"} 5\n' in page
    assert 'seaway_dns_wasted_queries_total{client="others"} 3\n' in page


@given(st.lists(st.sampled_from([f"10.0.0.{i}" for i in range(12)]), max_size=300))
def test_no_wasted_query_is_lost_and_clients_are_bounded(clients: list[str]) -> None:
    metrics = Metrics()
    wasted = WastedQueries(metrics, max_clients=3)
    for client in clients:
        wasted.note(client)
    (family,) = metrics.collect()
    counts = [count for _, count in family.rows]
    assert sum(counts) == len(clients)
    assert len(counts) <= 2 * 3 + 1


# -- errors and the query log ------------------------------------------------------------------------------------------


def test_alike_errors_are_told_once_per_period() -> None:
    complaints = Complaints([Consolidation(30.0, "timeout$", "warning")])
    assert complaints.note("2 a. A: i/o timeout", 100.0) == ()
    assert complaints.next_deadline() == 130.0
    assert complaints.note("2 b. A: i/o timeout", 120.0) == ()
    assert complaints.note("2 c. A: no route", 121.0) == (("error", "2 c. A: no route"),)
    assert complaints.summarise(130.0) == (("warning", "2 errors like 'timeout$' occurred in last 30s"),)
    assert complaints.next_deadline() is None


def test_a_flood_of_errors_is_a_few_lines_and_a_number() -> None:
    complaints = Complaints()
    told = [line for i in range(100) for line in complaints.note(f"error {i}", 100.0)]
    assert len(told) == MAX_LINES
    left = 100 - MAX_LINES
    assert complaints.summarise(100.0 + PERIOD_SECONDS) == (
        ("error", f"{left} more errors occurred in last {PERIOD_SECONDS:g}s"),
    )


def exchange(rcode: int = 0, *answer: str, asked: str = "web.demo.svc.cluster.local") -> tuple[bytes, bytes]:
    query = dns.message.make_query(asked, "A", use_edns=0, payload=4096, id=29008)
    reply = dns.message.make_response(query)
    reply.flags |= dns.flags.AA
    reply.set_rcode(dns.rcode.Rcode(rcode))
    reply.answer = [dns.rrset.from_text(*line.split()) for line in answer]
    return query.to_wire(), reply.to_wire()


A = "web.demo.svc.cluster.local. 5 IN A 10.0.0.1"


def line_of(query: bytes, reply: bytes, config: LogConfig, peer: tuple[str, int] = ("10.244.1.7", 50759)) -> str | None:
    return render_query(query, reply, peer=peer, protocol="udp", seconds=0.000037, config=config)


def test_a_line_of_the_query_log() -> None:
    query, reply = exchange(0, A)
    assert line_of(query, reply, LogConfig()) == (
        f'10.244.1.7:50759 - 29008 "A IN web.demo.svc.cluster.local. udp {len(query)} false 4096"'
        f" NOERROR qr,aa,rd {len(reply)} 0.000037000s"
    )
    shown = line_of(query, reply, LogConfig(), ("fd00::7", 5))
    assert shown is not None and shown.startswith("[fd00::7]:5 - ")


@pytest.mark.parametrize(
    ("rcode", "answer", "kind"),
    [
        (0, (A,), LogClass.SUCCESS),
        (0, (), LogClass.DENIAL),
        (3, (), LogClass.DENIAL),
        (2, (), LogClass.ERROR),
        (5, (), LogClass.ERROR),
    ],
)
def test_classes_of_replies(rcode: int, answer: tuple[str, ...], kind: LogClass) -> None:
    query, reply = exchange(rcode, *answer)
    assert classify_reply(reply) is kind
    for each in LogClass:
        is_shown = each in (kind, LogClass.ALL)
        assert (line_of(query, reply, LogConfig(frozenset((each,)))) is not None) == is_shown


def test_the_query_log_of_a_zone() -> None:
    query, reply = exchange(0, A)
    assert line_of(query, reply, LogConfig(zones=(name("example.org"),))) is None
    assert line_of(query, reply, LogConfig(zones=(name("example.org"), ZONE))) is not None


@given(st.binary(min_size=12, max_size=80), st.binary(min_size=12, max_size=40))
def test_any_query_has_a_line(query: bytes, reply: bytes) -> None:
    line = line_of(query, reply, LogConfig())
    assert line is not None
    assert "\n" not in line, "a name cannot begin a line of its own"
