"""Sockets: queries come over UDP and TCP, replies leave from the address that was asked.

UDP is a loop over datagrams in one callback, without a task or a copy for a reply that is kept; whatever needs more
than the cluster's records is handed to the relay, which replies when it can. TCP has the two-byte framing, many
queries per connection answered in order, and limits in number and in time. Rule: spec "discovery" A2.7; design.md
§12.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from seaway.dns.config import DnsConfig
from seaway.dns.forwarding.querylog import render_query
from seaway.dns.forwarding.serve import Relay
from seaway.dns.forwarding.waste import WastedQueries
from seaway.dns.index import canonical_address
from seaway.dns.message import RCODE_MASK
from seaway.dns.records import RCode
from seaway.dns.respond import IDLE_SECONDS, Deferred, Responder
from seaway.dns.wire import encode_failure
from seaway.net.errors import OperationalError

DATAGRAMS_PER_WAKE = 64
"""Then other work gets its turn."""
MAX_QUERY_BYTES = 4096
RECEIVE_BUFFER_BYTES = 4 << 20
FIRST_QUERY_SECONDS = 3.0
WRITE_SECONDS = 5.0
MAX_PORT_DRAWS = 16
NXDOMAIN = int(RCode.NXDOMAIN)
Peer = tuple[str, int] | tuple[str, int, int, int]
WriteLog = Callable[[bytes, bytes, Peer, str, float], None]
log = logging.getLogger(__name__)
query_log = logging.getLogger("seaway.dns.query")


class DnsError(OperationalError):
    """The server cannot serve: which address, what was found, what to do."""


class Server:
    """The sockets of one configuration."""

    def __init__(
        self, config: DnsConfig, responder: Responder, relay: Relay, *, wasted: WastedQueries | None = None
    ) -> None:
        self._config = config
        self._responder = responder
        self._relay = relay
        self.wasted = wasted or WastedQueries()
        self._log = _make_log(relay)
        self._sockets: list[socket.socket] = []
        self._listeners: list[asyncio.Server] = []
        self._connections: set[asyncio.Task[None]] = set()
        self._connected: Counter[str] = Counter()
        self.addresses: tuple[tuple[str, int], ...] = ()
        """Where it listens; of port 0 the port that it got."""
        self.tls_addresses: tuple[tuple[str, int], ...] = ()
        """The same of DNS over TLS."""
        self._tls: ssl.SSLContext | None = None

    async def open(self) -> None:
        """Bind and begin to answer. Raises DnsError, and nothing stays bound."""
        try:
            self.addresses = tuple([await self._open_address(host, port) for host, port in self._config.listen])
            self.tls_addresses = tuple([await self._open_tls(host, port) for host, port in self._config.tls_listen])
        except BaseException:
            await self.close()
            raise

    def use(self, config: DnsConfig, responder: Responder, relay: Relay) -> None:
        """Answer with these from the next query on. The sockets stay, and what lies in them is answered too."""
        if self._tls is not None:
            self._renew_certificate(self._tls, config)
        self._config, self._responder, self._relay = config, responder, relay
        self._log = _make_log(relay)
        loop = asyncio.get_running_loop()
        for sock in self._sockets:
            loop.add_reader(sock, self._make_drain(sock))

    async def drain(self) -> None:
        """Take no new connection, and return when what is in flight is answered."""
        for listener in self._listeners:
            listener.close()
        await self._relay.drain()

    async def close(self) -> None:
        """Answer nothing more. Safe to repeat."""
        loop = asyncio.get_running_loop()
        for sock in self._sockets:
            loop.remove_reader(sock)
            sock.close()
        self._sockets.clear()
        for listener in self._listeners:
            listener.close()
        tasks = tuple(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for listener in self._listeners:
            await listener.wait_closed()
        self._listeners.clear()
        await self._relay.close()

    async def _open_address(self, host: str, port: int) -> tuple[str, int]:
        udp, tcp = _bind_pair(host, port, is_shared=self._config.workers > 1)
        self._sockets.append(udp)
        port = udp.getsockname()[1]
        self._listeners.append(await asyncio.start_server(self._serve_connection, sock=tcp, limit=1 << 16))
        asyncio.get_running_loop().add_reader(udp, self._make_drain(udp))
        return host, port

    async def _open_tls(self, host: str, port: int) -> tuple[str, int]:
        """The same framing and the same limits as TCP. Rule: RFC 7858."""
        if self._tls is None:
            self._tls = _make_context(self._config)
            self._tls.set_alpn_protocols(["dot"])
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = _bind(family, socket.SOCK_STREAM, host, port, is_shared=self._config.workers > 1)
        listener = await asyncio.start_server(
            self._serve_connection,
            sock=sock,
            limit=1 << 16,
            ssl=self._tls,
            ssl_handshake_timeout=FIRST_QUERY_SECONDS,
            ssl_shutdown_timeout=WRITE_SECONDS,
        )
        self._listeners.append(listener)
        return host, int(sock.getsockname()[1])

    def _renew_certificate(self, context: ssl.SSLContext, config: DnsConfig) -> None:
        """Take what the files hold now; what cannot be used is told, and the one before stays."""
        try:
            _make_context(config)  # so that half a pair never gets into the one that serves
            context.load_cert_chain(config.tls_certificate, config.tls_key, password=_refuse_password)
        except (DnsError, OSError) as error:
            log.warning("tls certificate is kept as it was: %s", error)

    # -- UDP -----------------------------------------------------------------------------------------------------------

    def _make_drain(self, sock: socket.socket) -> Callable[[], None]:
        """The callback of a readable socket, with everything that it touches in local variables: it is the hot loop."""
        if self._log is not None:
            return self._make_logging_drain(sock, self._log)
        receive, send = sock.recvfrom, sock.sendto
        kept, fill, take = self._responder.kept_udp, self._responder.fill, self._take
        join = b"".join
        note_wasted = self.wasted.note
        family = _find_family(sock)
        durations = self._responder.counts.find_durations(self._config.zone.cluster_domain)
        clock = time.perf_counter

        def drain() -> None:
            quick, slow_seconds, begun = 0, 0.0, clock()
            for _ in range(DATAGRAMS_PER_WAKE):
                try:
                    query, peer = receive(MAX_QUERY_BYTES)
                except OSError:
                    break  # drained; or an error that some earlier reply met, which concerns nobody now
                reply = kept.get(query[2:].lower())
                if reply is None:
                    started = clock()
                    take(query, peer, sock, started)
                    slow_seconds += clock() - started
                    continue
                quick += 1
                reply.tally[family] += 1
                if reply.stride or reply.serial_at >= 0:
                    out = fill(query, reply)
                    if out[3] & RCODE_MASK == NXDOMAIN:
                        note_wasted(peer[0])
                else:
                    out = join((query[:2], reply.head, query[12 : reply.question_end], reply.tail))
                try:
                    send(out, peer)
                except OSError:
                    continue  # no route, no room: the client asks again
            if quick:
                durations.observe((clock() - begun - slow_seconds) / quick, times=quick)

        return drain

    def _make_logging_drain(self, sock: socket.socket, write: WriteLog) -> Callable[[], None]:
        """The same for a server that logs queries, without haste: nothing of this costs those that do not."""

        def drain() -> None:
            for _ in range(DATAGRAMS_PER_WAKE):
                try:
                    query, peer = sock.recvfrom(MAX_QUERY_BYTES)
                except OSError:
                    return
                self._take(query, peer, sock, time.perf_counter(), write)

        return drain

    def _take(
        self, query: bytes, peer: Peer, sock: socket.socket, started: float, write: WriteLog | None = None
    ) -> None:
        """Answer a query whose reply is not kept, now or later, and count it."""
        family, counts = _find_family(sock), self._responder.counts

        def send(out: bytes) -> None:
            with contextlib.suppress(OSError):  # no route, no room: the client asks again
                sock.sendto(out, peer)
            seconds = time.perf_counter() - started
            counts.note(query, out, over_tcp=False, family=family, seconds=seconds)
            if write is not None:
                write(query, out, peer, "udp", seconds)

        found = self._respond(query)
        if isinstance(found, bytes):
            self._note_waste(found, peer[0])
            send(found)
        elif found is not None:
            self._relay.take(found, peer[0], send)

    def _respond(self, query: bytes, *, over_tcp: bool = False, over_tls: bool = False) -> bytes | Deferred | None:
        """A bug in one answer is told, counted and answered with SERVFAIL; the others go on."""
        try:
            return self._responder.respond(query, over_tcp=over_tcp, over_tls=over_tls)
        except Exception:
            log.exception("query=%s", query[:512].hex())
            self._responder.counts.panics.inc()
            return encode_failure(query)

    def _note_waste(self, reply: bytes, source: str) -> None:
        if reply[3] & RCODE_MASK == NXDOMAIN:
            self.wasted.note(source)

    # -- TCP -----------------------------------------------------------------------------------------------------------

    async def _serve_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        source = peer[0] if peer else ""
        task = asyncio.current_task()
        assert task is not None
        if (
            len(self._connections) >= self._config.max_connections
            or self._connected[source] >= self._config.max_connections_per_source
        ):
            writer.close()
            return
        self._connections.add(task)
        self._connected[source] += 1
        try:
            await self._serve_queries(reader, writer, peer or ("", 0))
        except (OSError, EOFError, TimeoutError):
            pass  # the peer has left, or was too slow
        finally:
            self._connections.discard(task)
            self._connected[source] -= 1
            if not self._connected[source]:
                del self._connected[source]
            writer.close()

    async def _serve_queries(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: Peer) -> None:
        over_tls = writer.get_extra_info("ssl_object") is not None
        wait_seconds = FIRST_QUERY_SECONDS
        while True:
            async with asyncio.timeout(wait_seconds):
                first = await reader.readexactly(1)
            async with asyncio.timeout(FIRST_QUERY_SECONDS):
                size = first[0] << 8 | (await reader.readexactly(1))[0]
                query = await reader.readexactly(size)
            messages = self._responder.transfer(query, canonical_address(peer[0].partition("%")[0]))
            if messages is not None:
                await _send_all(messages, writer)
                wait_seconds = IDLE_SECONDS
                continue
            started = time.perf_counter()
            out = self._respond(query, over_tcp=True, over_tls=over_tls)
            if isinstance(out, Deferred):
                out = await self._relay.answer(out, peer[0])
            elif out is not None:
                self._note_waste(out, peer[0])
            if out is not None:
                seconds = time.perf_counter() - started
                family = int(":" in peer[0])
                self._responder.counts.note(query, out, over_tcp=True, family=family, seconds=seconds)
                if self._log is not None:
                    self._log(query, out, peer, "tcp", seconds)
                writer.write(len(out).to_bytes(2, "big") + out)
                async with asyncio.timeout(WRITE_SECONDS):
                    await writer.drain()
            wait_seconds = IDLE_SECONDS


async def _send_all(messages: Iterator[bytes], writer: asyncio.StreamWriter) -> None:
    """One after the other, each when the peer has taken those before; others get their turn in between."""
    for message in messages:
        writer.write(len(message).to_bytes(2, "big") + message)
        async with asyncio.timeout(WRITE_SECONDS):
            await writer.drain()
        await asyncio.sleep(0)


def _make_log(relay: Relay) -> WriteLog | None:
    """What writes the query log; None: nobody wants one."""
    logs = relay.logs
    if not logs:
        return None

    def write(query: bytes, reply: bytes, peer: Peer, protocol: str, seconds: float) -> None:
        for config in logs:
            line = render_query(
                query, reply, peer=(peer[0], peer[1]), protocol=protocol, seconds=seconds, config=config
            )
            if line is not None:
                query_log.info("%s", line)
                return

    return write


def _find_family(sock: socket.socket) -> int:
    """The index of the socket's family in a tally."""
    return int(sock.family == socket.AF_INET6)


def _make_context(config: DnsConfig) -> ssl.SSLContext:
    """Raises DnsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(config.tls_certificate, config.tls_key, password=_refuse_password)
    except (OSError, ValueError) as error:
        raise DnsError(
            f"dns over tls: certificate {config.tls_certificate} and key {config.tls_key}: {error}; "
            "give two PEM files that belong together, the key without a password"
        ) from None
    return context


def _refuse_password() -> str:
    """Instead of a prompt on the terminal."""
    raise ValueError("the key has a password")


def _bind_pair(host: str, port: int, *, is_shared: bool = False) -> tuple[socket.socket, socket.socket]:
    """A UDP and a TCP socket on one port; of port 0 one that is free for both, where the kernel looks at UDP alone."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    draws = MAX_PORT_DRAWS if port == 0 else 1
    while True:
        udp = _bind(family, socket.SOCK_DGRAM, host, port, is_shared=is_shared)
        try:
            return udp, _bind(family, socket.SOCK_STREAM, host, udp.getsockname()[1], is_shared=is_shared)
        except DnsError:
            udp.close()
            draws -= 1
            if not draws:
                raise


def ensure_free(listen: Iterable[tuple[str, int]]) -> None:
    """Nobody has the addresses: where a port is shared, the kernel would let a second server in. Raises DnsError."""
    for host, port in listen:
        for sock in _bind_pair(host, port):
            sock.close()


def _bind(
    family: socket.AddressFamily, kind: socket.SocketKind, host: str, port: int, *, is_shared: bool
) -> socket.socket:
    """is_shared: with other processes of this user that say so too; the kernel gives each client to one of them."""
    sock = socket.socket(family, kind)
    try:
        sock.setblocking(False)
        if is_shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)  # a burst waits, and is not lost
        sock.bind((host, port))
        return sock
    except OSError as error:
        sock.close()
        protocol = "tcp" if kind == socket.SOCK_STREAM else "udp"
        raise DnsError(f"dns {host}:{port}/{protocol}: {error.strerror or error}; {_mend(error)}") from None


def _mend(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "ports below 1024 need root or CAP_NET_BIND_SERVICE"
    return "choose an address of this host and a port that nobody uses"
