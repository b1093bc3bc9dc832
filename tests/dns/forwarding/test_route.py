"""Routes against name servers on loopback that are silent, lie, refuse, or end connections.

Rule: spec "discovery" A3.3, D3 4-9.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import dns.message
import pytest

from seaway.dns.forwarding.config import Policy, RouteConfig, TlsOptions
from seaway.dns.forwarding.counts import ForwardingCounts
from seaway.dns.forwarding.forward import Block, Forwarder
from seaway.dns.forwarding.route import forward as routing
from seaway.dns.forwarding.route.ask import Mismatch, encode_ask, mix_case, read_reply
from seaway.dns.forwarding.route.forward import ForwardError, Route
from seaway.dns.forwarding.upstreams import Upstream as Where
from seaway.dns.message import RCODE_MASK, Message
from seaway.dns.records import RCode, parse_name
from seaway.telemetry.exposition import render_families
from seaway.telemetry.metrics import Metrics
from tests.dns.certificates import make_certificate
from tests.dns.forwarding.test_forward import ask
from tests.dns.upstream import Tamper, Upstream, serve_upstream

SOON: dict[str, Any] = {"attempt_seconds": 0.05, "deadline_seconds": 1.0, "check_seconds": 0.0}
NOBODY = Where("127.0.0.1", 1)


def silent(wire: bytes, protocol: str) -> list[bytes]:
    return []


def with_rcode(rcode: int) -> Tamper:
    return lambda wire, protocol: [wire[:3] + bytes((wire[3] & 0xF0 | rcode,)) + wire[4:]]


@contextlib.asynccontextmanager
async def route_to(*tampers: Tamper | None, **options: Any) -> AsyncIterator[tuple[Route, list[Upstream]]]:
    """A route to as many upstreams, which change their replies in these ways."""
    async with contextlib.AsyncExitStack() as stack:
        upstreams = [await stack.enter_async_context(serve_upstream(tamper)) for tamper in tampers]
        where = tuple(Where("127.0.0.1", upstream.port) for upstream in upstreams)
        route = Route(RouteConfig(where, **({"policy": Policy.SEQUENTIAL} | options)))
        try:
            yield route, upstreams
        finally:
            await route.close()


def run(body: Any) -> None:
    async def main() -> None:
        async with asyncio.timeout(20):
            await body()

    asyncio.run(main())


async def until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_true():  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.001)


def rcode_of(message: Message) -> int:
    return message.flags & RCODE_MASK


def test_d3_4_a_silent_upstream_is_passed_over_then_checked_then_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "CHECK_TIMEOUT_SECONDS", 0.02)

    async def body() -> None:
        async with route_to(silent, None, **SOON) as (route, (dead, alive)):
            assert rcode_of(await route.ask(ask())) == RCode.NOERROR
            assert [name for _, name, _ in dead.asked[:1]] == ["www.example.com."]
            await until(lambda: route.failures[0] > 2)
            assert ("udp", ".", "NS") in dead.asked
            before = sum(name == "www.example.com." for _, name, _ in dead.asked)
            await route.ask(ask())
            assert sum(name == "www.example.com." for _, name, _ in dead.asked) == before
            dead.tamper = lambda wire, protocol: [wire]
            await until(lambda: route.failures[0] == 0)
            await route.ask(ask())
            assert len(alive.asked) == 2, "an upstream that answers a check is the first again"

    run(body)


def test_d3_4_a_check_asks_what_it_is_told_to() -> None:
    async def body() -> None:
        options = {"check_name": parse_name("check.example"), "check_recursive": False}
        async with route_to(silent, None, **SOON, **options) as (route, (dead, _)):
            await route.ask(ask())
            await dead.was_asked(2)
            assert dead.asked[1] == ("udp", "check.example.", "NS")
            assert not dead.queries[1].flags & dns.flags.RD

    run(body)


def test_d3_4_without_a_limit_nothing_is_checked() -> None:
    async def body() -> None:
        async with route_to(silent, None, **SOON, max_fails=0) as (route, (dead, _)):
            for _ in range(3):
                await route.ask(ask())
            assert {name for _, name, _ in dead.asked} == {"www.example.com."}

    run(body)


@pytest.mark.parametrize("rcode", [RCode.SERVFAIL, RCode.REFUSED])
def test_d3_5_a_failure_is_passed_through(rcode: RCode) -> None:
    async def body() -> None:
        async with route_to(with_rcode(rcode), None) as (route, (_, second)):
            assert rcode_of(await route.ask(ask())) == rcode
            assert second.asked == []

    run(body)


def test_d3_5_failover_asks_the_next_and_the_last_reply_counts() -> None:
    async def body() -> None:
        failover = {"failover": frozenset((RCode.SERVFAIL, RCode.REFUSED))}
        async with route_to(with_rcode(2), None, **failover) as (route, _):
            assert rcode_of(await route.ask(ask())) == RCode.NOERROR
        async with route_to(with_rcode(2), with_rcode(5), **failover) as (route, upstreams):
            assert rcode_of(await route.ask(ask())) == RCode.REFUSED
            assert [len(upstream.asked) for upstream in upstreams] == [1, 1], "and not in a tight loop"

    run(body)


def test_next_hands_over_to_the_following_route() -> None:
    async def body() -> None:
        async with serve_upstream(with_rcode(3)) as first, serve_upstream() as second:
            one = RouteConfig((Where("127.0.0.1", first.port),), next_rcodes=frozenset((RCode.NXDOMAIN,)))
            two = RouteConfig((Where("127.0.0.1", second.port),))
            forwarder = Forwarder(Block(routes=(one, two)))
            message, ttl = await forwarder.ask(ask())
            assert (rcode_of(message), ttl) == (RCode.NOERROR, None)
            await forwarder.close()

    run(body)


def test_d3_1_the_narrowest_route_has_a_name_and_excluded_zones_go_past_it() -> None:
    async def body() -> None:
        async with serve_upstream() as stub, serve_upstream() as other:
            wide = RouteConfig((Where("127.0.0.1", other.port),))
            narrow = RouteConfig(
                (Where("127.0.0.1", stub.port),),
                zone=parse_name("acme.local"),
                excluded=(parse_name("public.acme.local"),),
            )
            forwarder = Forwarder(Block(routes=(wide, narrow)))
            for name in ("abc.Acme.local", "widget.local", "xacme.local", "www.public.acme.local"):
                await forwarder.ask(ask(name))
            assert [name for _, name, _ in stub.asked] == ["abc.acme.local."]
            assert [name for _, name, _ in other.asked] == ["widget.local.", "xacme.local.", "www.public.acme.local."]
            await forwarder.close()

    run(body)


def test_a_name_of_no_route_is_refused() -> None:
    async def body() -> None:
        config = RouteConfig((NOBODY,), zone=parse_name("acme.local"))
        with pytest.raises(ForwardError, match="no upstream") as caught:
            await Forwarder(Block(routes=(config,))).ask(ask())
        assert caught.value.rcode == RCode.REFUSED

    run(body)


def test_d3_7_an_upstream_that_answers_another_question_is_a_format_error() -> None:
    def lie(wire: bytes, protocol: str) -> list[bytes]:
        return [wire.replace(b"\x03www", b"\x03xxx")]

    async def body() -> None:
        async with route_to(lie, **SOON) as (route, _):
            with pytest.raises(ForwardError, match="answers another question") as caught:
                await route.ask(ask())
            assert caught.value.rcode == RCode.FORMERR
        async with route_to(lie, None, **SOON) as (route, _):
            assert rcode_of(await route.ask(ask())) == RCode.NOERROR, "the next one does better"

    run(body)


@pytest.mark.parametrize(
    "junk",
    [b"", b"junk", bytes(12), b"\xff" * 500],
    ids=["nothing", "too short", "zeros", "ones"],
)
def test_d3_7_garbage_is_silence(junk: bytes) -> None:
    async def body() -> None:
        async with route_to(lambda wire, protocol: [junk], **SOON) as (route, _):
            with pytest.raises(ForwardError, match="no answer"):
                await route.ask(ask())

    run(body)


def test_d3_9_more_queries_at_once_than_allowed_are_refused() -> None:
    metrics = Metrics()

    async def body() -> None:
        async with serve_upstream(silent) as dead:
            config = RouteConfig((Where("127.0.0.1", dead.port),), max_concurrent=2, **SOON)
            route = Route(config, counts=ForwardingCounts(metrics))
            slow = [asyncio.create_task(route.ask(ask(f"x{i}.example.com"))) for i in range(2)]
            await dead.was_asked(2)
            with pytest.raises(ForwardError, match="concurrent queries exceeded maximum 2") as caught:
                await route.ask(ask())
            assert caught.value.rcode == RCode.REFUSED
            await asyncio.gather(*slow, return_exceptions=True)
            await route.close()
        assert b"coredns_forward_max_concurrent_rejects_total 1\n" in render_families(metrics.collect())

    run(body)


def test_attempts_are_limited() -> None:
    async def body() -> None:
        async with route_to(silent, silent, **SOON, max_attempts=3, max_fails=0) as (route, upstreams):
            with pytest.raises(ForwardError):
                await route.ask(ask())
            assert [len(upstream.asked) for upstream in upstreams] == [2, 1]

    run(body)


def test_all_down_and_hurried_is_an_error_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "CHECK_TIMEOUT_SECONDS", 0.01)

    async def body() -> None:
        async with route_to(silent, **SOON, fails_fast=True) as (route, (dead,)):
            with pytest.raises(ForwardError):
                await route.ask(ask())
            await until(lambda: route.failures[0] > 2)
            with pytest.raises(ForwardError, match="no healthy proxies"):
                await route.ask(ask("late.example.com"))
            assert ("udp", "late.example.com.", "A") not in dead.asked

    run(body)


# -- streams -----------------------------------------------------------------------------------------------------------


def test_forced_tcp_is_one_connection_with_many_queries_on_it() -> None:
    async def body() -> None:
        async with route_to(None, force_tcp=True) as (route, (upstream,)):
            await asyncio.gather(*(route.ask(ask(f"x{i}.example.com")) for i in range(20)))
            assert {protocol for protocol, *_ in upstream.asked} == {"tcp"}
            assert len({query.id for query in upstream.queries}) == 20
            assert upstream.connections == 1

    run(body)


def test_a_connection_that_the_upstream_ended_is_opened_again() -> None:
    async def body() -> None:
        async with route_to(None, force_tcp=True) as (route, (upstream,)):
            await route.ask(ask())
            upstream.hang_up()
            assert rcode_of(await route.ask(ask("x.example.com"))) == RCode.NXDOMAIN
            assert upstream.connections == 2

    run(body)


def test_an_upstream_that_ends_each_connection_after_a_reply_answers_all_queries() -> None:
    async def body() -> None:
        async with route_to(None, force_tcp=True, max_attempts=1) as (route, (upstream,)):
            upstream.ends_streams = True
            found = await asyncio.gather(*(route.ask(ask(f"x{i}.example.com")) for i in range(20)))
            assert {rcode_of(message) for message in found} == {RCode.NXDOMAIN}
            assert upstream.connections == 20

    run(body)


def test_an_upstream_that_ends_connections_without_a_reply_is_a_failure() -> None:
    async def body() -> None:
        async with route_to(silent, force_tcp=True, max_attempts=1, max_fails=0) as (route, (upstream,)):
            upstream.ends_streams = True
            with pytest.raises(ForwardError, match="closed the connection"):
                await route.ask(ask())
            assert upstream.connections == 1

    run(body)


def test_an_idle_connection_ends() -> None:
    async def body() -> None:
        async with route_to(None, force_tcp=True, expire_seconds=0.01) as (route, (upstream,)):
            await route.ask(ask())
            await until(lambda: upstream.open_connections == 0)
            await route.ask(ask())
            assert upstream.connections == 2

    run(body)


def test_a_spelling_that_does_not_come_back_is_checked_over_tcp() -> None:
    def in_lower_case(wire: bytes, protocol: str) -> list[bytes]:
        return [wire[:12] + wire[12:].lower()]

    async def body() -> None:
        async with route_to(None, random_case=True) as (route, (upstream,)):
            await route.ask(ask("a-long-name-in-lower-case.example.com"))
            asked = str(upstream.queries[0].question[0].name)
            assert asked.lower() != asked
            assert [protocol for protocol, *_ in upstream.asked] == ["udp"]
        async with route_to(in_lower_case, random_case=True) as (route, (upstream,)):
            await route.ask(ask("a-long-name-in-lower-case.example.com"))
            assert [protocol for protocol, *_ in upstream.asked] == ["udp", "tcp"]

    run(body)


@pytest.mark.parametrize("is_bare", [True, False], ids=["with a bare header", "with the question"])
@pytest.mark.parametrize("force_tcp", [True, False])
def test_an_upstream_without_edns_is_asked_without(is_bare: bool, force_tcp: bool) -> None:
    async def body() -> None:
        async with route_to(None, force_tcp=force_tcp, max_attempts=1) as (route, (upstream,)):

            def refuse(wire: bytes, protocol: str) -> list[bytes]:
                if upstream.queries[-1].edns < 0:
                    return [wire]
                question = b"" if is_bare else wire[12:33]
                return [wire[:2] + b"\x81\x81\0" + bytes((not is_bare,)) + bytes(6) + question]

            upstream.tamper = refuse
            for _ in range(2):
                assert rcode_of(await route.ask(ask())) == RCode.NOERROR
            assert [query.edns for query in upstream.queries] == [0, -1, -1]

    run(body)


@pytest.mark.parametrize(
    ("server_name", "is_trusted"), [("", True), ("dns.test", True), ("other.test", False)],
)  # fmt: skip
def test_tls_upstreams_are_asked_and_checked(server_name: str, is_trusted: bool, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def body() -> None:
        async with serve_upstream(tls=context) as upstream:
            where = Where("127.0.0.1", upstream.port, is_tls=True)
            tls = TlsOptions(server_name, ca_path=str(certificate))
            route = Route(RouteConfig((where,), max_attempts=1, max_fails=0, tls=tls))
            if is_trusted:
                await route.ask(ask())
                await route.ask(ask("x.example.com"))
                assert (upstream.connections, [each[0] for each in upstream.asked]) == (1, ["tls", "tls"])
            else:
                with pytest.raises(ForwardError, match="Hostname mismatch"):
                    await route.ask(ask())
                assert upstream.asked == []
            await route.close()

    run(body)


# -- bytes -------------------------------------------------------------------------------------------------------------


def test_mixed_case_keeps_the_question() -> None:
    question = ask("www.example.com").question
    assert mix_case(question, 0) == question
    assert mix_case(question, (1 << 256) - 1) == question[:-4].upper() + question[-4:]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda wire: b"\0\0" + wire[2:], Mismatch.STRANGE),
        (lambda wire: wire[:11], Mismatch.STRANGE),
        (lambda wire: wire[:3] + b"\x81" + wire[4:], Mismatch.NO_EDNS),
        (lambda wire: wire[:3] + b"\x84" + bytes(8), Mismatch.NO_EDNS),
        (lambda wire: wire[:2] + b"\x01" + wire[3:], Mismatch.OTHER_QUESTION),
        (lambda wire: wire.replace(b"\x03www", b"\x03WWW"), Mismatch.OTHER_CASE),
        (lambda wire: wire.replace(b"\x03www", b"\x03wwx"), Mismatch.OTHER_QUESTION),
    ],
    ids=["another id", "no message", "FORMERR", "a bare NOTIMP", "a query", "another spelling", "another name"],
)
def test_what_is_no_reply(change: Callable[[bytes], bytes], found: Mismatch) -> None:
    query = encode_ask(ask(), 4711, udp_bytes=1232)
    reply = query[:2] + b"\x81" + query[3:]
    assert isinstance(read_reply(reply, query), Message)
    assert read_reply(change(reply), query) is found
