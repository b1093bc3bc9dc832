"""Queries through a whole server that a Corefile describes: rewrites, hosts, stub domains, search lists, caches.

Rule: spec "discovery" A3, D3.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import dns.message
import dns.rcode
import pytest

from seaway.dns.config import DnsConfig
from seaway.dns.forwarding.forward import Forwarder
from seaway.dns.forwarding.paths import PodNamespaces
from seaway.dns.forwarding.serve import Relay
from seaway.dns.index import Index
from seaway.dns.lifecycle import run as lifecycle
from seaway.dns.lifecycle.run import find_loop
from seaway.dns.respond import Responder
from seaway.dns.serve import DnsError, Server
from seaway.dns.settings.read import Surroundings, read_settings
from tests.dns.fixture import SERIAL, endpoints, headless, make_index, make_pod
from tests.dns.test_serve import ZONE, ask_udp, dig, needs_dig
from tests.dns.upstream import Upstream, serve_upstream


@dataclass
class Scene:
    """A server, and what is around it."""

    server: Server
    relay: Relay
    responder: Responder
    index: Index
    upstreams: list[Upstream]

    def apply(self, old: Any, new: Any) -> None:
        """A change of a slice, as the watch brings it."""
        self.responder.drop(self.index.apply_slice(old, new, wall_seconds=SERIAL))


def read(corefile: str) -> DnsConfig:
    surroundings = Surroundings(lambda path: "", lambda pattern: (), {}, ("127.0.0.1",))
    return read_settings(corefile, file="Corefile", surroundings=surroundings)


def run(
    body: Callable[[Scene], Awaitable[None]],
    lines: str = "",
    *,
    blocks: str = "",
    upstreams: int = 1,
    pods: PodNamespaces | None = None,
    listen: tuple[str, int] | None = None,
) -> None:
    """lines: of the root's block besides its upstream; `@0`, `@1` are the upstreams."""

    async def main() -> None:
        served = [serve_upstream() for _ in range(upstreams)]
        found = [await each.__aenter__() for each in served]

        def fill(text: str) -> str:
            for i, upstream in enumerate(found):
                text = text.replace(f"@{i}", f"127.0.0.1:{upstream.port}")
            return text

        own = (
            ".:0 {\n errors\n kubernetes cluster.local in-addr.arpa ip6.arpa {\n"
            "  fallthrough in-addr.arpa ip6.arpa\n }\n forward . @0\n"
        )
        config = read(fill(f"{own}{lines}\n}}\n{blocks}"))
        if listen is not None:
            config = replace(config, listen=(listen,))
        index = make_index()
        responder = Responder(index, config.zone)
        forwarders = tuple(Forwarder(block) for block in config.server_blocks)
        relay = Relay(config, responder, forwarders, find_namespace=(pods or PodNamespaces()).find)
        server = Server(config, responder, relay)
        await server.open()
        try:
            async with asyncio.timeout(20):
                await body(Scene(server, relay, responder, index, found))
        finally:
            await server.close()
            for each in served:
                await each.__aexit__(None, None, None)

    asyncio.run(main())


def lines_of(reply: Any) -> list[str]:
    return [line for rrset in reply.answer for line in str(rrset).splitlines()]


# -- stub domains, reverse names, external names -----------------------------------------------------------------------


def test_d3_1_a_stub_domain_has_a_block_of_its_own() -> None:
    async def body(scene: Scene) -> None:
        reply = await ask_udp(scene.server, "abc.acme.local")
        assert lines_of(reply) == ["abc.acme.local. 60 IN A 192.0.2.1"], "without a cache TTLs are as they came"
        await ask_udp(scene.server, "widget.local")
        assert [name for _, name, _ in scene.upstreams[1].asked] == ["abc.acme.local."]
        assert [name for _, name, _ in scene.upstreams[0].asked] == ["widget.local."]

    run(body, blocks="acme.local:0 {\n forward . @1\n}", upstreams=2)


@needs_dig
def test_d3_2_the_name_of_an_address_outside_is_the_upstreams() -> None:
    async def body(scene: Scene) -> None:
        assert await dig(scene.server, "+short", "-x", "198.51.100.7") == "www.example.com.\n"
        assert await dig(scene.server, "+short", "-x", "10.96.7.1") == f"web.{ZONE}.\n"

    run(body)


@needs_dig
def test_d3_3_an_external_name_that_only_the_upstream_knows() -> None:
    async def body(scene: Scene) -> None:
        assert await dig(scene.server, "+short", f"ext.{ZONE}") == "www.example.com.\n198.51.100.7\n"

    run(body)


@pytest.mark.parametrize("over_tcp", [False, True])
def test_d3_8_a_truncated_reply_and_its_retry(over_tcp: bool) -> None:
    async def body(scene: Scene) -> None:
        out = await dig(scene.server, "+ignore", "+noedns", "+tcp" if over_tcp else "+notcp", "big.example.com")
        assert ("flags: qr tc rd" in out) != over_tcp
        assert (out.count("\tA\t198.51.100.") == 100) == over_tcp
        assert scene.upstreams[0].asked[-1][0] == "tcp"

    run(body)


# -- the cluster's own names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lines", ["cache 30 {\n disable success cluster.local\n disable denial cluster.local\n}", "cache 30"]
)
def test_d3_15_16_17_what_changes_in_the_cluster_is_seen_at_once(lines: str) -> None:
    """Also where stock servers keep their own answers (16): here they are exact, and never kept in a cache."""

    async def body(scene: Scene) -> None:
        assert (await ask_udp(scene.server, f"late.{ZONE}")).rcode() == dns.rcode.NXDOMAIN
        scene.responder.drop(scene.index.apply_service(None, headless("late"), wall_seconds=SERIAL))
        assert (await ask_udp(scene.server, f"late.{ZONE}")).rcode() == dns.rcode.NXDOMAIN
        one = endpoints("late", ("10.9.0.1", None, True))
        scene.apply(None, one)
        assert lines_of(await ask_udp(scene.server, f"late.{ZONE}")) == [f"late.{ZONE}. 5 IN A 10.9.0.1"]
        scene.apply(one, endpoints("late", ("10.9.0.1", None, True), ("10.9.0.2", None, True)))
        assert len(lines_of(await ask_udp(scene.server, f"late.{ZONE}"))) == 2

    run(body, lines)


def test_d3_21_a_search_list_meets_nothing_but_absence_before_the_name() -> None:
    """Rule: spec "discovery" A3.6: every intermediate name is NXDOMAIN, and no upstream hears of it."""

    async def body(scene: Scene) -> None:
        suffixes = (ZONE, "svc.cluster.local", "cluster.local", "")
        found = {}
        for name in ("kubernetes.default", "web", "db-0.db", "_mysql._tcp.db.demo.svc", "www.example.com"):
            for suffix in suffixes:
                reply = await ask_udp(scene.server, f"{name}.{suffix}")
                if reply.rcode() != dns.rcode.NXDOMAIN:
                    found[name] = suffix, bool(reply.answer)
                    break
        assert found == {
            "kubernetes.default": ("svc.cluster.local", True),
            "web": (ZONE, True),
            "db-0.db": (ZONE, True),
            "_mysql._tcp.db.demo.svc": ("cluster.local", True),
            "www.example.com": ("", True),
        }
        assert [name for _, name, _ in scene.upstreams[0].asked] == ["www.example.com."]
        assert scene.server.wasted.top(1) == [("127.0.0.1", 6)]

    run(body)


# -- rewrites and hosts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["+notcp", "+tcp"])
@needs_dig
def test_a_foreign_name_is_rewritten_into_the_cluster(protocol: str) -> None:
    async def body(scene: Scene) -> None:
        out = await dig(scene.server, protocol, "Old.example.com")
        assert "Old.example.com.\t5\tIN\tA\t10.96.7.1" in out
        assert "status: NOERROR" in out
        assert scene.upstreams[0].asked == []

    run(body, f" rewrite name old.example.com web.{ZONE}")


def test_a_name_of_the_cluster_is_rewritten_before_its_records_are_looked_at() -> None:
    async def body(scene: Scene) -> None:
        assert lines_of(await ask_udp(scene.server, f"web.{ZONE}")) == [f"web.{ZONE}. 60 IN A 198.51.100.7"]
        assert lines_of(await ask_udp(scene.server, f"lonely.{ZONE}")) == [f"lonely.{ZONE}. 5 IN A 10.96.7.4"]

    run(body, f" rewrite name web.{ZONE} www.example.com")


def test_a_suffix_of_a_company_is_the_clusters() -> None:
    async def body(scene: Scene) -> None:
        reply = await ask_udp(scene.server, "db-0.db.demo.corp.example")
        assert lines_of(reply) == ["db-0.db.demo.corp.example. 5 IN A 10.244.1.10"]
        assert (await ask_udp(scene.server, "nosuch.demo.corp.example")).rcode() == dns.rcode.NXDOMAIN

    run(body, " rewrite name suffix .corp.example .svc.cluster.local answer auto")


def test_a_rewritten_external_name_is_chased() -> None:
    async def body(scene: Scene) -> None:
        reply = await ask_udp(scene.server, "short.example")
        assert lines_of(reply) == [
            "short.example. 5 IN CNAME www.example.com.",
            "www.example.com. 60 IN A 198.51.100.7",
        ]

    run(body, f" rewrite name short.example ext.{ZONE}")


def test_a_name_that_a_rewrite_made_is_not_rewritten_again() -> None:
    async def body(scene: Scene) -> None:
        reply = await ask_udp(scene.server, "www.example.com")
        assert (reply.rcode(), str(reply.question[0].name)) == (dns.rcode.NXDOMAIN, "www.example.com.")
        assert [name for _, name, _ in scene.upstreams[0].asked] == ["www.prod.example.com."]

    run(body, " rewrite name suffix .example.com .prod.example.com")


def test_the_target_of_an_alias_may_be_in_the_hosts() -> None:
    async def body(scene: Scene) -> None:
        reply = await ask_udp(scene.server, f"ext.{ZONE}")
        assert lines_of(reply) == [f"ext.{ZONE}. 5 IN CNAME www.example.com.", "www.example.com. 3600 IN A 10.0.0.1"]

    run(body, " hosts {\n  10.0.0.1 www.example.com\n  fallthrough\n }")


def test_hosts_are_asked_before_everything_else() -> None:
    async def body(scene: Scene) -> None:
        assert lines_of(await ask_udp(scene.server, "Node-1")) == ["Node-1. 60 IN A 10.0.0.1"]
        assert lines_of(await ask_udp(scene.server, f"web.{ZONE}")) == [f"web.{ZONE}. 60 IN A 10.0.0.9"]
        reply = await ask_udp(scene.server, "1.0.0.10.in-addr.arpa", "PTR")
        assert lines_of(reply) == ["1.0.0.10.in-addr.arpa. 60 IN PTR node-1."]
        nodata = await ask_udp(scene.server, "node-1", "MX")
        assert (nodata.rcode(), nodata.answer) == (dns.rcode.NOERROR, [])
        assert (await ask_udp(scene.server, "www.example.com")).answer, "others fall through"
        assert (await ask_udp(scene.server, f"lonely.{ZONE}")).answer

    run(body, f" hosts {{\n  10.0.0.1 node-1\n  10.0.0.9 web.{ZONE}\n  ttl 60\n  fallthrough\n }}")


def test_hosts_that_let_nothing_through_end_it_for_foreign_names() -> None:
    async def body(scene: Scene) -> None:
        assert (await ask_udp(scene.server, "www.example.com")).rcode() == dns.rcode.SERVFAIL
        assert (await ask_udp(scene.server, f"web.{ZONE}")).answer, "the cluster's names stay its own"

    run(body, " hosts {\n  10.0.0.1 node-1\n }")


# -- autopath ----------------------------------------------------------------------------------------------------------


def test_the_server_walks_the_search_list_of_the_pod_that_asks() -> None:
    async def body(scene: Scene) -> None:
        reply = await ask_udp(scene.server, f"www.example.com.{ZONE}")
        assert lines_of(reply) == [
            f"www.example.com.{ZONE}. 5 IN CNAME www.example.com.",
            "www.example.com. 60 IN A 198.51.100.7",
        ]
        inside = await ask_udp(scene.server, f"kubernetes.default.{ZONE}")
        assert lines_of(inside)[1:] == ["kubernetes.default.svc.cluster.local. 5 IN A 10.96.0.1"]
        assert lines_of(await ask_udp(scene.server, f"web.{ZONE}")) == [f"web.{ZONE}. 5 IN A 10.96.7.1"]
        scene.upstreams[0].asked.clear()
        assert (await ask_udp(scene.server, f"nosuch.demo.{ZONE}")).rcode() == dns.rcode.NXDOMAIN
        assert [name for _, name, _ in scene.upstreams[0].asked] == ["nosuch.demo."], "a guess is not walked itself"
        nothing = await ask_udp(scene.server, f"nx.example.com.{ZONE}")
        assert (nothing.rcode(), nothing.answer) == (dns.rcode.NXDOMAIN, [])

    pods = PodNamespaces()
    pods.apply(None, make_pod("p", "127.0.0.1", "demo"))
    run(body, " autopath @kubernetes", pods=pods)


@pytest.mark.parametrize("namespace", ["other", ""], ids=["a Pod of another namespace", "no Pod"])
def test_nobody_else_has_the_list_walked(namespace: str) -> None:
    async def body(scene: Scene) -> None:
        reply = await ask_udp(scene.server, f"www.example.com.{ZONE}")
        assert (reply.rcode(), scene.upstreams[0].asked) == (dns.rcode.NXDOMAIN, [])

    pods = PodNamespaces()
    if namespace:
        pods.apply(None, make_pod("p", "127.0.0.1", namespace))
    run(body, " autopath @kubernetes", pods=pods)


# -- loops, logs -------------------------------------------------------------------------------------------------------


def test_d3_10_a_server_that_is_its_own_upstream_by_a_detour_finds_out() -> None:
    async def body(scene: Scene) -> None:
        host, port = scene.server.addresses[0]
        scene.upstreams[0].pass_to = host, port
        with pytest.raises(DnsError, match=r'^Loop \(127.0.0.1 -> 127.0.0.1:\d+\) detected for zone "."'):
            await find_loop(lambda: scene.relay, scene.server.addresses[0])

    run(body, " loop")


def test_d3_10_without_a_loop_one_query_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "PROBE_TRIES", 1)

    async def body(scene: Scene) -> None:
        await find_loop(lambda: scene.relay, scene.server.addresses[0])
        assert [qtype for *_, qtype in scene.upstreams[0].asked] == ["HINFO"]

    run(body, " loop")


@needs_dig
def test_the_query_log_has_a_line_per_query(caplog: pytest.LogCaptureFixture) -> None:
    async def body(scene: Scene) -> None:
        with caplog.at_level(logging.INFO, logger="seaway.dns.query"):
            await ask_udp(scene.server, f"web.{ZONE}")
            await ask_udp(scene.server, f"nosuch.{ZONE}")
            await ask_udp(scene.server, "nx.example.com")
            await dig(scene.server, "+tcp", f"nosuch.{ZONE}", "AAAA")
        shown = [record.message.split('"')[1].split(" udp ")[0].split(" tcp ")[0] for record in caplog.records]
        assert shown == [f"A IN nosuch.{ZONE}.", "A IN nx.example.com.", f"AAAA IN nosuch.{ZONE}."]

    run(body, " log {\n  class denial\n }")


def test_errors_of_upstreams_are_told(caplog: pytest.LogCaptureFixture) -> None:
    async def body(scene: Scene) -> None:
        scene.upstreams[0].tamper = lambda wire, protocol: []
        assert (await ask_udp(scene.server, "www.example.com")).rcode() == dns.rcode.SERVFAIL
        (line,) = [record.message for record in caplog.records if "plugin/errors" in record.message]
        assert line.startswith("plugin/errors: 2 www.example.com. A: 127.0.0.1:")
        assert line.endswith("no answer")

    run(body, " forward example.com @0 {\n  read_timeout 50ms\n  max_fails 0\n }")


# -- caches ------------------------------------------------------------------------------------------------------------


def test_d3_12_a_repeated_question_is_answered_from_the_cache() -> None:
    async def body(scene: Scene) -> None:
        first, second = [await ask_udp(scene.server, "www.example.com") for _ in range(2)]
        assert [lines_of(reply) for reply in (first, second)] == [["www.example.com. 30 IN A 198.51.100.7"]] * 2
        aa = [bool(reply.flags & dns.flags.AA) for reply in (first, second)]
        ra = [bool(reply.flags & dns.flags.RA) for reply in (first, second)]
        assert (aa, ra, len(scene.upstreams[0].asked)) == ([False, True], [True, True], 1)

    run(body, " cache 30")


def test_what_is_not_to_be_kept_is_asked_each_time() -> None:
    async def body(scene: Scene) -> None:
        for name in ("www.example.com", "www.example.com", "nx.example.com", "nx.example.com"):
            await ask_udp(scene.server, name)
        assert [name for _, name, _ in scene.upstreams[0].asked] == ["www.example.com."] + ["nx.example.com."] * 2

    run(body, " cache 30 {\n  disable denial example.com\n }")
