"""The forwarder against a name server on loopback. Rule: spec "discovery" A3.3, D3; design.md §12."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import pytest

from seaway.dns.forwarding.config import Block, CacheConfig, Policy, RouteConfig
from seaway.dns.forwarding.forward import Ask, Forwarder, ForwardError
from seaway.dns.forwarding.upstreams import Upstream as Where
from seaway.dns.message import RD, encode_question
from seaway.dns.records import parse_name
from tests.dns.upstream import Tamper, Upstream, serve_upstream

SOON: dict[str, Any] = {"attempt_seconds": 0.05, "deadline_seconds": 0.2, "max_fails": 0}
"""For upstreams that are meant not to answer."""


def ask(name: str = "www.example.com", qtype: int = 1, *, dnssec_ok: bool = False) -> Ask:
    return Ask(encode_question(parse_name(name), qtype), RD, dnssec_ok)


CACHE = CacheConfig()


def make_forwarder(*where: Where, cache: CacheConfig | None = CACHE, **options: Any) -> Forwarder:
    routes = (RouteConfig(where, **({"policy": Policy.SEQUENTIAL} | options)),) if where else ()
    return Forwarder(Block(routes=routes, cache=cache))


def run(
    body: Callable[[Forwarder, Upstream], Awaitable[None]],
    tamper: Tamper | None = None,
    *,
    before: tuple[Where, ...] = (),
    soon: bool = False,
) -> None:
    async def main() -> None:
        async with serve_upstream(tamper) as upstream:
            where = (*before, Where("127.0.0.1", upstream.port))
            forwarder = make_forwarder(*where, **(SOON if soon else {}))
            try:
                await body(forwarder, upstream)
            finally:
                await forwarder.close()

    asyncio.run(main())


def addresses(wire: bytes) -> list[str]:
    return sorted(each.address for rrset in dns.message.from_wire(wire).answer for each in rrset if rrset.rdtype == 1)


def test_an_answer_comes_back_and_is_kept() -> None:
    async def body(forwarder: Forwarder, upstream: Upstream) -> None:
        message, ttl = await forwarder.ask(ask())
        assert (addresses(message.wire), ttl) == (["198.51.100.7"], 30)
        again, _ = await forwarder.ask(ask("WWW.example.COM"))
        assert again.wire == message.wire
        assert upstream.asked == [("udp", "www.example.com.", "A")]
        assert upstream.queries[0].payload == 1232

    run(body)


def test_ids_and_ports_differ_from_query_to_query() -> None:
    async def body(forwarder: Forwarder, upstream: Upstream) -> None:
        for i in range(16):
            await forwarder.ask(ask(f"x{i}.example.com"))
        assert len({query.id for query in upstream.queries}) > 12
        assert len(set(upstream.ports)) > 12

    run(body)


def test_equal_questions_in_flight_are_asked_once() -> None:
    async def body(forwarder: Forwarder, upstream: Upstream) -> None:
        replies = await asyncio.gather(*(forwarder.ask(ask()) for _ in range(10)))
        assert len({message.wire for message, _ in replies}) == 1
        assert len(upstream.asked) == 1

    run(body)


def test_a_truncated_reply_is_asked_for_again_over_tcp() -> None:
    async def body(forwarder: Forwarder, upstream: Upstream) -> None:
        message, _ = await forwarder.ask(ask("big.example.com"))
        assert len(addresses(message.wire)) == 100
        assert [protocol for protocol, *_ in upstream.asked] == ["udp", "tcp"]

    run(body)


def test_d3_7_replies_that_do_not_fit_the_query_are_ignored() -> None:
    def tamper(wire: bytes, protocol: str) -> list[bytes]:
        wrong_id = bytes((wire[0] ^ 1,)) + wire[1:]
        wrong_name = wire.replace(b"\x03www", b"\x03xxx")
        wrong_type = wire.replace(b"\x03com\0\0\1\0\1", b"\x03com\0\0\2\0\1", 1)
        a_query = wire[:2] + bytes((wire[2] & 0x7F,)) + wire[3:]
        return [b"", b"junk", wrong_id, wrong_name, wrong_type, a_query, wire[:20], wire]

    async def body(forwarder: Forwarder, upstream: Upstream) -> None:
        message, _ = await forwarder.ask(ask())
        assert addresses(message.wire) == ["198.51.100.7"]

    run(body, tamper)


@pytest.mark.parametrize(
    "dead",
    [Where("127.0.0.1", 1), Where(path="/nonexistent/dns.sock")],
    ids=["a port that nobody listens on", "a socket that is not there"],
)
def test_d3_4_the_next_upstream_answers(dead: Where) -> None:
    async def body(forwarder: Forwarder, upstream: Upstream) -> None:
        message, _ = await forwarder.ask(ask())
        assert addresses(message.wire) == ["198.51.100.7"]

    run(body, before=(dead,))


def test_d3_5_a_servfail_of_the_upstream_is_an_answer() -> None:
    async def body(forwarder: Forwarder, upstream: Upstream) -> None:
        message, ttl = await forwarder.ask(ask("failing.example.com"))
        assert (message.flags & 15, ttl) == (2, 5)

    run(body)


def test_d3_6_silence_is_an_error_after_two_rounds_and_is_not_kept() -> None:
    async def body(forwarder: Forwarder, upstream: Upstream) -> None:
        for _ in range(2):
            with pytest.raises(ForwardError, match="no answer"):
                await forwarder.ask(ask("dead.example.com"))
        assert len(upstream.asked) == 4

    run(body, soon=True)


def test_without_upstreams_there_is_no_answer() -> None:
    async def main() -> None:
        with pytest.raises(ForwardError, match="no upstream"):
            await make_forwarder().ask(ask())

    asyncio.run(main())


def test_dnssec_ok_is_passed_on_and_kept_apart() -> None:
    async def body(forwarder: Forwarder, upstream: Upstream) -> None:
        await forwarder.ask(ask())
        await forwarder.ask(ask(dnssec_ok=True))
        assert [bool(query.ednsflags & dns.flags.DO) for query in upstream.queries] == [False, True]

    run(body)


def test_a_unix_socket_is_an_upstream(tmp_path: Path) -> None:
    async def main() -> None:
        path = str(tmp_path / "dns.sock")
        async with serve_upstream(path=path) as upstream:
            forwarder = make_forwarder(Where(path=path))
            message, _ = await forwarder.ask(ask("big.example.com"))
            assert len(addresses(message.wire)) == 100
            assert [protocol for protocol, *_ in upstream.asked] == ["unix"]
            await forwarder.close()

    asyncio.run(main())


def test_a_stream_that_ends_early_is_a_failure(tmp_path: Path) -> None:
    async def main() -> None:
        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(100)
            writer.write(struct.pack("!H", 500) + b"short")
            writer.close()

        path = str(tmp_path / "dns.sock")
        async with await asyncio.start_unix_server(hang_up, path):
            forwarder = make_forwarder(Where(path=path), attempt_seconds=0.2, deadline_seconds=0.5)
            with pytest.raises(ForwardError, match=r"unix://.*dns.sock"):
                await forwarder.ask(ask())
            await forwarder.close()

    asyncio.run(main())


async def end_of(forwarder: Forwarder, question: Ask) -> None:
    """Make what is kept of the question stale."""
    cache = forwarder._cache
    assert cache is not None
    _, entry = cache._find_entry(question.key)
    assert entry is not None
    entry.expires = asyncio.get_running_loop().time() - 1


def silent(wire: bytes, protocol: str) -> list[bytes]:
    return []


def failing(wire: bytes, protocol: str) -> list[bytes]:
    return [wire[:3] + bytes((wire[3] & 0xF0 | 2,)) + wire[4:]]


def run_kept(body: Callable[[Forwarder, Upstream], Awaitable[None]], cache: CacheConfig) -> None:
    async def main() -> None:
        async with serve_upstream() as upstream:
            forwarder = make_forwarder(Where("127.0.0.1", upstream.port), cache=cache, **SOON)
            await body(forwarder, upstream)
            await forwarder.close()

    asyncio.run(main())


def test_d3_18_a_stale_reply_is_given_at_once_and_fetched_anew() -> None:
    async def body(forwarder: Forwarder, upstream: Upstream) -> None:
        await forwarder.ask(ask())
        await end_of(forwarder, ask())
        assert (await forwarder.ask(ask()))[1] == 0
        async with asyncio.timeout(5):
            await upstream.was_asked(2)
            while (await forwarder.ask(ask()))[1] != 30:  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(0)
        assert len(upstream.asked) == 2

    run_kept(body, CacheConfig(stale_seconds=3600.0))


@pytest.mark.parametrize("tamper", [silent, failing])
def test_d3_18_verified_stale_replies_stand_in_only_for_failures(tamper: Tamper) -> None:
    async def body(forwarder: Forwarder, upstream: Upstream) -> None:
        await forwarder.ask(ask())
        await end_of(forwarder, ask())
        assert (await forwarder.ask(ask()))[1] == 30, "the upstream is well"
        await end_of(forwarder, ask())
        upstream.tamper = tamper
        message, ttl = await forwarder.ask(ask())
        assert (addresses(message.wire), ttl) == (["198.51.100.7"], 0)

    run_kept(body, CacheConfig(stale_seconds=3600.0, verifies=True))


def test_d3_18_a_reply_that_is_due_is_fetched_behind_the_clients_back() -> None:
    async def body(forwarder: Forwarder, upstream: Upstream) -> None:
        await forwarder.ask(ask())
        for _ in range(3):
            assert (await forwarder.ask(ask()))[1] is not None
        async with asyncio.timeout(5):
            await upstream.was_asked(2)

    run_kept(body, CacheConfig(success_max_seconds=1, success_min_seconds=1, prefetch_hits=2, prefetch_percent=90))
