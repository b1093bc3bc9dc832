"""The server with real sockets and the real dig. Rule: spec "discovery" A2.7, D2 20-22, D3; design.md §12."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest

from seaway.dns import serve
from seaway.dns.config import DnsConfig
from seaway.dns.counts import QueryCounts
from seaway.dns.forwarding import serve as relaying
from seaway.dns.forwarding.config import Block
from seaway.dns.forwarding.forward import Forwarder
from seaway.dns.forwarding.serve import Relay
from seaway.dns.respond import Responder
from seaway.dns.serve import DnsError, Server
from tests.dns.certificates import make_certificate
from tests.dns.fixture import SERIAL, cluster_ip, endpoints, headless, make_index
from tests.dns.upstream import Upstream, serve_upstream

ZONE = "demo.svc.cluster.local"
needs_dig = pytest.mark.skipif(shutil.which("dig") is None, reason="dig is not installed (package dnsutils)")


SOON: dict[str, Any] = {"attempt_seconds": 0.05, "deadline_seconds": 0.2, "max_fails": 0}
"""For upstreams that are meant not to answer."""


def make_relay(config: DnsConfig, responder: Responder, *, soon: bool = False) -> Relay:
    def hasten(block: Block) -> Block:
        return replace(block, routes=tuple(replace(route, **SOON) for route in block.routes)) if soon else block

    return Relay(config, responder, tuple(Forwarder(hasten(block)) for block in config.server_blocks))


def run(
    body: Callable[[Server, Upstream], Awaitable[None]],
    *,
    upstreams: bool = True,
    soon: bool = False,
    counts: QueryCounts | None = None,
    **options: Any,
) -> None:
    async def main() -> None:
        async with serve_upstream() as upstream:
            if upstreams:
                options.setdefault("upstreams", (f"127.0.0.1:{upstream.port}",))
            config = DnsConfig(listen=options.pop("listen", (("127.0.0.1", 0),)), **options)
            index = make_index()
            index.apply_service(None, headless("many"), wall_seconds=SERIAL)
            many = [(f"10.9.0.{i}", None, True) for i in range(60)]
            index.apply_slice(None, endpoints("many", *many), wall_seconds=SERIAL)
            responder = Responder(index, config.zone, counts=counts)
            server = Server(config, responder, make_relay(config, responder, soon=soon))
            await server.open()
            try:
                await body(server, upstream)
            finally:
                await server.close()

    asyncio.run(main())


async def ask_udp(server: Server, name: str, qtype: str = "A", *, source: str = "", **options: Any) -> Any:
    """The reply to one query, sent from `source` if given."""
    loop = asyncio.get_running_loop()
    query = dns.message.make_query(name, qtype, **options)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        if source:
            sock.bind((source, 0))
        sock.connect(server.addresses[0])
        sock.send(query.to_wire())
        async with asyncio.timeout(5):
            reply = dns.message.from_wire(await loop.sock_recv(sock, 65_535))
    assert query.is_response(reply)
    return reply


async def read_message(reader: asyncio.StreamReader) -> dns.message.Message:
    size = int.from_bytes(await reader.readexactly(2), "big")
    return dns.message.from_wire(await reader.readexactly(size))


def frame(name: str, qtype: str = "A") -> bytes:
    wire = dns.message.make_query(name, qtype).to_wire()
    return len(wire).to_bytes(2, "big") + wire


async def dig(server: Server, *arguments: str) -> str:
    host, port = server.addresses[0]
    process = await asyncio.create_subprocess_exec(
        "dig", f"@{host}", "-p", str(port), "+tries=1", "+time=5", *arguments, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    return out.decode()


@needs_dig
@pytest.mark.parametrize("protocol", ["+notcp", "+tcp"])
@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        ((f"web.{ZONE}",), ["10.96.7.1"]),
        ((f"dual.{ZONE}", "AAAA"), ["fd00:10:96::7:2"]),
        ((f"_mysql._tcp.db.{ZONE}", "SRV"), [f"0 50 13306 db-0.db.{ZONE}.", f"0 50 13306 db-1.db.{ZONE}."]),
        (("-x", "10.96.7.1"), [f"web.{ZONE}."]),
        ((f"ext.{ZONE}", "CNAME"), ["www.example.com."]),
        ((f"ext.{ZONE}",), ["www.example.com.", "198.51.100.7"]),
        ((f"ext.{ZONE}", "AAAA"), ["www.example.com.", "2001:db8::7"]),
        ((f"extbad.{ZONE}",), ["nx.example.com."]),
        ((f"many.{ZONE}",), sorted(f"10.9.0.{i}" for i in range(60))),
        (("www.example.com",), ["198.51.100.7"]),
        (("-x", "198.51.100.7"), ["www.example.com."]),
        (("big.example.com",), sorted(f"198.51.100.{i}" for i in range(100))),
        (("+search", "+domain=svc.cluster.local", "+ndots=5", "web.demo"), ["10.96.7.1"]),
    ],
)
def test_dig_prints(protocol: str, arguments: tuple[str, ...], printed: list[str]) -> None:
    async def body(server: Server, upstream: Upstream) -> None:
        found = (await dig(server, protocol, "+short", *arguments)).split("\n")[:-1]
        assert (sorted(found) if len(found) > 2 else found) == printed

    run(body)


@needs_dig
def test_dig_finds_nothing_to_warn_of() -> None:
    async def body(server: Server, upstream: Upstream) -> None:
        out = await dig(server, f"web.{ZONE}")
        assert "flags: qr aa rd;" in out
        assert "status: NOERROR" in out
        warnings = [line for line in out.splitlines() if "WARNING" in line and "Multicast" not in line]
        assert warnings == [";; WARNING: recursion requested but not available"]  # as of a stock cluster's DNS

    run(body)


@needs_dig
def test_d1_84_a_zone_transfer_fails() -> None:
    async def body(server: Server, upstream: Upstream) -> None:
        out = await dig(server, "+tcp", "cluster.local", "AXFR")
        assert "Transfer failed" in out
        assert "SOA" not in out

    run(body)


def test_d2_20_queries_in_one_segment_and_one_query_in_several() -> None:
    async def body(server: Server, upstream: Upstream) -> None:
        reader, writer = await asyncio.open_connection(*server.addresses[0])
        writer.write(frame(f"web.{ZONE}") + frame("www.example.com") + frame(f"nosuch.{ZONE}"))
        found = [await read_message(reader) for _ in range(3)]
        assert [reply.rcode() for reply in found] == [0, 0, 3]
        assert [str(reply.question[0].name) for reply in found] == [
            f"web.{ZONE}.",
            "www.example.com.",
            f"nosuch.{ZONE}.",
        ]
        for byte in frame(f"web.{ZONE}"):
            writer.write(bytes((byte,)))
            await writer.drain()
            await asyncio.sleep(0)
        assert (await read_message(reader)).answer
        writer.close()

    run(body)


@pytest.mark.parametrize("sent", [b"", b"\0", b"\0\x20abc"], ids=["nothing", "half a length", "half a query"])
def test_d2_21_a_connection_that_says_nothing_is_closed(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "FIRST_QUERY_SECONDS", 0.05)
    monkeypatch.setattr(serve, "IDLE_SECONDS", 0.05)

    async def body(server: Server, upstream: Upstream) -> None:
        reader, writer = await asyncio.open_connection(*server.addresses[0])
        writer.write(frame(f"web.{ZONE}") + sent)
        await read_message(reader)
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()

    run(body)


def test_connections_are_limited_per_source() -> None:
    async def body(server: Server, upstream: Upstream) -> None:
        first = [await asyncio.open_connection(*server.addresses[0]) for _ in range(2)]
        for reader, writer in first:
            writer.write(frame(f"web.{ZONE}"))
            await read_message(reader)
        reader, writer = await asyncio.open_connection(*server.addresses[0])
        assert await reader.read() == b""
        for _, each in (*first, (reader, writer)):
            each.close()

    run(body, max_connections_per_source=2)


def test_two_addresses_are_served_each_from_itself() -> None:
    async def body(server: Server, upstream: Upstream) -> None:
        assert [host for host, _ in server.addresses] == ["127.0.0.1", "127.0.0.2"]
        for host, port in server.addresses:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.settimeout(5)
                sock.sendto(frame(f"web.{ZONE}")[2:], (host, port))
                _, sender = await asyncio.to_thread(sock.recvfrom, 4096)
                assert sender == (host, port)

    run(body, listen=(("127.0.0.1", 0), ("127.0.0.2", 0)))


def test_foreign_answers_keep_what_the_upstream_said() -> None:
    async def body(server: Server, upstream: Upstream) -> None:
        reply = await ask_udp(server, "WWW.Example.com", use_edns=0)
        assert (str(reply.question[0].name), reply.edns) == ("WWW.Example.com.", 0)
        assert bool(reply.flags & dns.flags.RA)
        assert not reply.flags & dns.flags.AA
        assert reply.answer[0].ttl == 30
        nothing = await ask_udp(server, "nx.example.com")
        assert (nothing.rcode(), nothing.edns, len(nothing.authority)) == (dns.rcode.NXDOMAIN, -1, 1)

    run(body)


@pytest.mark.parametrize(
    ("options", "count", "truncated"), [({}, 29, True), ({"use_edns": 0, "payload": 4096}, 50, False)]
)
def test_d3_8_a_large_foreign_answer_is_cut_to_what_the_client_takes(
    options: dict[str, Any], count: int, truncated: bool
) -> None:
    async def body(server: Server, upstream: Upstream) -> None:
        reply = await ask_udp(server, "medium.example.com", **options)
        assert (len(reply.answer[0]), bool(reply.flags & dns.flags.TC)) == (count, truncated)

    run(body)


def test_an_external_name_is_answered_with_its_alias_first() -> None:
    async def body(server: Server, upstream: Upstream) -> None:
        reply = await ask_udp(server, f"Ext.{ZONE}")
        assert [str(rrset.name) for rrset in reply.answer] == [f"Ext.{ZONE}.", "www.example.com."]
        assert (reply.rcode(), bool(reply.flags & dns.flags.AA), reply.authority) == (0, True, [])
        bad = await ask_udp(server, f"extbad.{ZONE}")
        assert (bad.rcode(), len(bad.answer), bad.authority) == (0, 1, [])

    run(body)


def test_d3_6_when_upstreams_are_silent_the_answer_is_servfail() -> None:
    async def body(server: Server, upstream: Upstream) -> None:
        reply = await ask_udp(server, "dead.example.com")
        assert (reply.rcode(), reply.authority) == (dns.rcode.SERVFAIL, [])

    run(body, soon=True)


def test_without_upstreams_foreign_names_are_refused_and_aliases_stand_alone() -> None:
    async def body(server: Server, upstream: Upstream) -> None:
        assert (await ask_udp(server, "www.example.com")).rcode() == dns.rcode.REFUSED
        reply = await ask_udp(server, f"ext.{ZONE}")
        assert (reply.rcode(), len(reply.answer)) == (0, 1)
        assert (await ask_udp(server, "7.100.51.198.in-addr.arpa", "PTR")).rcode() == dns.rcode.NXDOMAIN

    run(body, upstreams=False)


def test_strangers_are_told_of_the_cluster_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relaying, "is_allowed", lambda source, networks: source == "127.0.0.1")

    async def body(server: Server, upstream: Upstream) -> None:
        for source, rcode in (("127.0.0.9", dns.rcode.REFUSED), ("127.0.0.1", dns.rcode.NOERROR)):
            assert (await ask_udp(server, "www.example.com", source=source)).rcode() == rcode
            assert (await ask_udp(server, f"web.{ZONE}", source=source)).rcode() == dns.rcode.NOERROR

    run(body)


@pytest.mark.parametrize("limit", [{"max_forwards": 2}, {"max_forwards_per_source": 2}])
def test_d3_9_the_third_slow_query_is_refused_at_once(limit: dict[str, int]) -> None:
    async def body(server: Server, upstream: Upstream) -> None:
        slow = [asyncio.create_task(ask_udp(server, "dead.example.com", "TYPE" + str(i + 300))) for i in range(2)]
        async with asyncio.timeout(5):
            await upstream.was_asked(2)
        assert (await ask_udp(server, "www.example.com")).rcode() == dns.rcode.REFUSED
        assert [reply.rcode() for reply in await asyncio.gather(*slow)] == [dns.rcode.SERVFAIL] * 2
        assert (await ask_udp(server, f"web.{ZONE}")).rcode() == dns.rcode.NOERROR

    run(body, soon=True, **limit)


@pytest.mark.parametrize("hosts", [("127.0.0.1", "127.0.0.2", "127.0.0.3"), ("127.0.0.1", "::1")])
def test_d2_22_replies_leave_from_the_address_that_was_asked(hosts: tuple[str, ...]) -> None:
    async def body(server: Server, upstream: Upstream) -> None:
        loop = asyncio.get_running_loop()
        for host, port in server.addresses:
            for name in (f"web.{ZONE}", f"nosuch.{ZONE}", "www.example.com"):
                family = socket.AF_INET6 if ":" in host else socket.AF_INET
                with socket.socket(family, socket.SOCK_DGRAM) as sock:
                    sock.setblocking(False)
                    sock.sendto(dns.message.make_query(name, "A").to_wire(), (host, port))
                    async with asyncio.timeout(5):
                        _, source = await loop.sock_recvfrom(sock, 65_535)
                assert source[:2] == (host, port)
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(frame(f"web.{ZONE}"))
            assert (await read_message(reader)).answer
            writer.close()

    run(body, listen=tuple((host, 0) for host in hosts))


# -- DNS over TLS ------------------------------------------------------------------------------------------------------


def trust(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(certificate))
    context.set_alpn_protocols(["dot"])
    return context


def test_queries_over_tls_are_answered_and_padded_where_wanted(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)

    async def body(server: Server, upstream: Upstream) -> None:
        reader, writer = await asyncio.open_connection(*server.tls_addresses[0], ssl=trust(certificate))
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "dot"
        for name in (f"web.{ZONE}", "www.example.com", f"nosuch.{ZONE}"):
            for padded in (False, True):
                options = [dns.edns.GenericOption(dns.edns.OptionType.PADDING, bytes(9))] if padded else []
                wire = dns.message.make_query(name, "A", use_edns=0, options=options).to_wire()
                writer.write(len(wire).to_bytes(2, "big") + wire)
                size = int.from_bytes(await reader.readexactly(2), "big")
                reply = dns.message.from_wire(await reader.readexactly(size))
                assert str(reply.question[0].name) == name + "."
                assert (size % 468 == 0) == padded
        writer.close()

    run(body, tls_listen=(("127.0.0.1", 0),), tls_certificate=str(certificate), tls_key=str(key))


def test_a_stranger_to_tls_is_let_go_and_others_are_served(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)

    async def body(server: Server, upstream: Upstream) -> None:
        reader, writer = await asyncio.open_connection(*server.tls_addresses[0])
        writer.write(frame(f"web.{ZONE}"))
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionError):
                await reader.read()
        writer.close()
        assert (await ask_udp(server, f"web.{ZONE}")).answer

    run(body, tls_listen=(("127.0.0.1", 0),), tls_certificate=str(certificate), tls_key=str(key))


def test_a_certificate_that_cannot_be_used_is_named() -> None:
    async def main() -> None:
        config = DnsConfig(listen=(("127.0.0.1", 0),), tls_listen=(("127.0.0.1", 0),), tls_certificate="/no/cert",
                           tls_key="/no/key")  # fmt: skip
        responder = Responder(make_index(), config.zone)
        with pytest.raises(DnsError, match=r"certificate /no/cert and key /no/key: .*No such file"):
            await Server(config, responder, make_relay(config, responder)).open()

    asyncio.run(main())


def test_a_renewed_certificate_is_taken_with_the_configuration_and_a_broken_one_is_not(tmp_path: Path) -> None:
    async def body(server: Server, upstream: Upstream) -> None:
        config = server._config

        async def serial() -> int:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            _, writer = await asyncio.open_connection(*server.tls_addresses[0], ssl=context)
            found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            writer.close()
            return hash(found)

        first = await serial()
        make_certificate(tmp_path)
        server.use(config, server._responder, server._relay)
        second = await serial()
        assert second != first
        (tmp_path / "key.pem").write_text("no key")
        server.use(config, server._responder, server._relay)
        assert await serial() == second

    certificate, key = make_certificate(tmp_path)
    run(body, tls_listen=(("127.0.0.1", 0),), tls_certificate=str(certificate), tls_key=str(key))


def test_junk_does_not_stop_the_server() -> None:
    async def body(server: Server, upstream: Upstream) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for junk in (b"", b"x", bytes(12), b"\xff" * 600, frame(f"web.{ZONE}")[2:20]):
                sock.sendto(junk, server.addresses[0])
        assert (await ask_udp(server, f"web.{ZONE}")).answer

    run(body)


def test_an_address_in_use_is_named_and_nothing_stays_bound() -> None:
    async def body(server: Server, upstream: Upstream) -> None:
        address = server.addresses[0]
        config = DnsConfig(listen=(("127.0.0.2", address[1]), address))
        responder = Responder(make_index(), config.zone)
        other = Server(config, responder, make_relay(config, responder))
        with pytest.raises(DnsError, match=rf"dns 127.0.0.1:{address[1]}/udp: Address already in use; choose"):
            await other.open()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.2", address[1]))

    run(body)


@pytest.mark.parametrize(("port", "is_drawn_again"), [(0, True), (20_054, False)])
def test_a_drawn_port_that_tcp_cannot_have_is_drawn_again(
    port: int, is_drawn_again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    bind, refused = serve._bind, []

    def refuse_once(family: Any, kind: Any, host: str, number: int, **options: Any) -> socket.socket:
        if kind == socket.SOCK_STREAM and not refused:
            refused.append(number)
            raise DnsError("in use")
        return bind(family, kind, host, number, **options)

    monkeypatch.setattr(serve, "_bind", refuse_once)
    if not is_drawn_again:
        with pytest.raises(DnsError):
            serve._bind_pair("127.0.0.1", port)
        return
    udp, tcp = serve._bind_pair("127.0.0.1", port)
    with udp, tcp:
        assert udp.getsockname() == tcp.getsockname()


def test_a_cluster_ip_added_while_serving_is_answered() -> None:
    index = make_index()
    config = DnsConfig(listen=(("127.0.0.1", 0),))
    responder = Responder(index, config.zone)

    async def main() -> None:
        server = Server(config, responder, make_relay(config, responder))
        await server.open()
        assert (await ask_udp(server, f"late.{ZONE}")).rcode() == dns.rcode.NXDOMAIN
        responder.drop(index.apply_service(None, cluster_ip("late", "10.96.7.77"), wall_seconds=SERIAL))
        assert (await ask_udp(server, f"late.{ZONE}")).answer[0][0].address == "10.96.7.77"
        await server.close()

    asyncio.run(main())
