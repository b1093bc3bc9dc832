"""A small name server on loopback, made with dnspython: what upstreams say, and how they misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

RECORDS = {
    ("www.example.com.", "A"): ["www.example.com. 60 IN A 198.51.100.7"],
    ("www.example.com.", "AAAA"): ["www.example.com. 60 IN AAAA 2001:db8::7"],
    ("7.100.51.198.in-addr.arpa.", "PTR"): ["7.100.51.198.in-addr.arpa. 60 IN PTR www.example.com."],
    ("alias.example.com.", "A"): [
        "alias.example.com. 60 IN CNAME www.example.com.",
        "www.example.com. 60 IN A 198.51.100.7",
    ],
    ("abc.acme.local.", "A"): ["abc.acme.local. 60 IN A 192.0.2.1"],
    ("big.example.com.", "A"): [f"big.example.com. 60 IN A 198.51.100.{i}" for i in range(100)],
    ("medium.example.com.", "A"): [f"medium.example.com. 60 IN A 198.51.100.{i}" for i in range(50)],
}
Tamper = Callable[[bytes, str], list[bytes]]


class Upstream:
    """Answers over UDP, TCP and a unix stream socket; counts what it was asked, by protocol."""

    def __init__(self, tamper: Tamper | None = None) -> None:
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self.asked: list[tuple[str, str, str]] = []
        self.queries: list[dns.message.Message] = []
        self.ports: list[int] = []
        self.port = 0
        self.connections = 0
        """How many came, `open_connections` how many are still there."""
        self.writers: set[asyncio.StreamWriter] = set()
        self.ends_streams = False
        """After each reply, as some do."""
        self.pass_to: tuple[str, int] | None = None
        """A server that UDP queries are handed on to, instead of being answered."""
        self.tamper = tamper or (lambda wire, protocol: [wire])

    @property
    def open_connections(self) -> int:
        return len(self.writers)

    def hang_up(self) -> None:
        """End all connections."""
        for writer in self.writers:
            writer.transport.abort()

    async def was_asked(self, times: int) -> None:
        """Returns when that many queries have come."""
        if len(self.asked) < times:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append((times, waiter))
            await waiter

    def reply(self, wire: bytes, protocol: str) -> list[bytes]:
        query = dns.message.from_wire(wire)
        self.queries.append(query)
        question = query.question[0]
        name, qtype = str(question.name).lower(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((protocol, name, qtype))
        for times, waiter in self._waiters:
            if len(self.asked) >= times and not waiter.done():
                waiter.set_result(None)
        if name == "dead.example.com.":
            return []
        response = dns.message.make_response(query, recursion_available=True)
        if name == "failing.example.com.":
            response.set_rcode(dns.rcode.SERVFAIL)
        elif (name, qtype) in RECORDS:
            response.answer = [dns.rrset.from_text(*line.split()) for line in RECORDS[name, qtype]]
            merged: dict[tuple[object, int], dns.rrset.RRset] = {}
            for rrset in response.answer:
                merged.setdefault((rrset.name, rrset.rdtype), rrset).union_update(rrset)
            response.answer = list(merged.values())
        else:
            response.set_rcode(dns.rcode.NXDOMAIN)
            response.authority = [dns.rrset.from_text("example.com.", 60, "IN", "SOA", "a. b. 1 2 3 4 60")]
        limit = max(512, query.payload) if protocol == "udp" else 65_535
        try:
            out = response.to_wire(max_size=limit)
        except dns.exception.TooBig:
            response.answer = []
            response.flags |= dns.flags.TC
            out = response.to_wire()
        return self.tamper(out, protocol)


class _Protocol(asyncio.DatagramProtocol):
    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.upstream.ports.append(addr[1])
        if self.upstream.pass_to is not None:
            self.transport.sendto(data, self.upstream.pass_to)  # type: ignore[attr-defined]
            return
        for out in self.upstream.reply(data, "udp"):
            self.transport.sendto(out, addr)  # type: ignore[attr-defined]


async def _open_port(
    upstream: Upstream, connected: Any, tls: ssl.SSLContext | None
) -> tuple[asyncio.Server, asyncio.BaseTransport, int]:
    """A port that is free for TCP is most often, not always, free for UDP too."""
    for _ in range(16):
        server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
        address = server.sockets[0].getsockname()
        try:
            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: _Protocol(upstream), local_addr=address
            )
            return server, transport, address[1]
        except OSError:
            server.close()
    raise AssertionError("no port of loopback is free for both TCP and UDP")


@contextlib.asynccontextmanager
async def serve_upstream(
    tamper: Tamper | None = None, *, path: str = "", tls: ssl.SSLContext | None = None
) -> AsyncIterator[Upstream]:
    """Serving on one port of loopback, and at the path of a unix socket if one is given."""
    upstream = Upstream(tamper)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream.connections += 1
        upstream.writers.add(writer)
        protocol = "unix" if path else "tls" if tls else "tcp"
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                size = int.from_bytes(await reader.readexactly(2), "big")
                for out in upstream.reply(await reader.readexactly(size), protocol):
                    writer.write(len(out).to_bytes(2, "big") + out)
                if upstream.ends_streams:
                    break
        upstream.writers.discard(writer)
        writer.close()

    if path:
        server = await asyncio.start_unix_server(connected, path)
    else:
        server, transport, upstream.port = await _open_port(upstream, connected, tls)
    try:
        yield upstream
    finally:
        server.close()
        if not path:
            transport.close()
        await asyncio.sleep(0)
