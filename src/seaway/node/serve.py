"""The node's own HTTPS server: `routes.py` says what for whom, here are sockets, TLS and the answers.

Anybody who reaches the node's address reaches this port, Pods included. So strangers are few, have little time, and
hold nothing: a connection counts as a stranger's until it has shown the API server's certificate.
Rule: spec "node" §5.1.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler, RequestPayloadError

from seaway.api.machinery.errors import ApiError
from seaway.api.registry import PODS
from seaway.client.requests import Client, TransportError
from seaway.net.errors import OperationalError
from seaway.node.config import NodeConfig, ServingConfig
from seaway.node.routes import Page, Refused, StreamRequest, encode_config, encode_pods, find_common_name, find_page
from seaway.node.streaming.serve import Streamer
from seaway.telemetry.exposition import CONTENT_TYPE, collect_process, render_families
from seaway.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

MAX_STRANGERS = 256
MAX_STRANGERS_OF_SOURCE = 64
"""A quarter: one Pod never shuts out the API server, whose connections are strangers' until their handshake."""
HANDSHAKE_SECONDS = 10.0
FIRST_HEADER_SECONDS = 10.0
IDLE_SECONDS = 90.0
"""The kubelet's."""
_BACKLOG = 128
_PAUSE_SECONDS = 0.5
"""Until the next try when the process has no file descriptor left."""
_NO_DESCRIPTOR = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))

Answer = Callable[[], Awaitable[tuple[str, bytes]]]
"""The content type and the body of a page."""


@dataclass(frozen=True, slots=True)
class Listening:
    """A socket that listens, and what is needed to serve on it."""

    socket: socket.socket
    context: ssl.SSLContext
    clients: tuple[str, ...]

    @property
    def port(self) -> int:
        return int(self.socket.getsockname()[1])


def listen(config: ServingConfig, address: str) -> Listening:
    """A port that is taken is replaced by a free one: the Node tells which it is. Raises OperationalError."""
    context = _make_context(config)
    try:
        try:
            bound = _bind(address, config.port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            bound = _bind(address, 0)
            log.warning("serving address=%s port=%d taken=yes instead=%d", address, config.port, bound.getsockname()[1])
    except OSError as error:
        raise OperationalError(
            f"node {address}:{config.port}: {error.strerror}; give an address of this host"
        ) from error
    return Listening(bound, context, config.clients)


def _bind(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    bound = socket.create_server((address, port), family=family, backlog=_BACKLOG)
    bound.setblocking(False)
    return bound


def _make_context(config: ServingConfig) -> ssl.SSLContext:
    """TLS 1.2 or later; a client may show a certificate of the CA. Raises OperationalError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(config.certificate, config.key)
        context.load_verify_locations(config.client_ca)
    except OSError as error:
        raise OperationalError(
            f"node certificate {config.certificate}, key {config.key}, client CA {config.client_ca}: {error}"
        ) from error
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["http/1.1"])
    return context


def make_answers(config: NodeConfig, client: Client, figures: Metrics, *, port: int) -> Mapping[Page, Answer]:
    """What each page says."""

    async def healthz() -> tuple[str, bytes]:
        return "text/plain", b"ok"

    async def pods() -> tuple[str, bytes]:
        page = await client.list(PODS, field_selector=f"spec.nodeName={config.node_name}")
        return "application/json", encode_pods(page.items)

    async def configz() -> tuple[str, bytes]:
        return "application/json", encode_config(config, port=port)

    async def metrics() -> tuple[str, bytes]:
        return CONTENT_TYPE, render_families([*figures.collect(), *collect_process()])

    return {Page.HEALTHZ: healthz, Page.PODS: pods, Page.CONFIGZ: configz, Page.METRICS: metrics}


async def serve(listening: Listening, answers: Mapping[Page, Answer], streamer: Streamer) -> None:
    """Serve until cancelled; the socket is closed then."""
    server = _Server(listening.clients, answers, streamer)
    loop = asyncio.get_running_loop()
    opening: set[asyncio.Task[None]] = set()
    try:
        while True:
            try:
                accepted, peer = await loop.sock_accept(listening.socket)
            except OSError as error:
                if error.errno not in _NO_DESCRIPTOR:
                    raise
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            if not server.strangers.admit(peer[0]):
                accepted.close()
                continue
            task = loop.create_task(_open(server, accepted, peer[0], listening.context))
            opening.add(task)
            task.add_done_callback(opening.discard)
    finally:
        listening.socket.close()
        for task in opening:
            task.cancel()
        await server.shutdown(0.1)


async def _open(server: _Server, accepted: socket.socket, source: str, context: ssl.SSLContext) -> None:
    """TLS on an accepted connection, which speaks HTTP from then on."""
    loop = asyncio.get_running_loop()
    connection = _Connection(server, source, loop=loop, **server.options)
    try:
        await loop.connect_accepted_socket(
            lambda: connection, accepted, ssl=context, ssl_handshake_timeout=HANDSHAKE_SECONDS
        )
    except (OSError, asyncio.CancelledError):
        connection.leave_strangers()
        accepted.close()


class Strangers:
    """Connections that have not shown whose they are, by the address that they come from."""

    def __init__(self) -> None:
        self._by_source: Counter[str] = Counter()
        self._total = 0

    def admit(self, source: str) -> bool:
        """Count the connection, if there is room for it."""
        if self._total >= MAX_STRANGERS or self._by_source[source] >= MAX_STRANGERS_OF_SOURCE:
            return False
        self._by_source[source] += 1
        self._total += 1
        return True

    def release(self, source: str) -> None:
        """A connection that was admitted has ended, or is no stranger's any more."""
        self._total -= 1
        self._by_source[source] -= 1
        if not self._by_source[source]:
            del self._by_source[source]


class _Server(web.Server):
    def __init__(self, clients: tuple[str, ...], answers: Mapping[Page, Answer], streamer: Streamer) -> None:
        self.options: dict[str, Any] = {
            "access_log": None, "keepalive_timeout": IDLE_SECONDS, "lingering_time": 0, "auto_decompress": False,
        }  # fmt: skip
        super().__init__(self._handle, handler_cancellation=True)
        self.strangers = Strangers()
        self.clients = clients
        self._answers = answers
        self._streamer = streamer

    async def _handle(self, wire: web.BaseRequest) -> web.StreamResponse:
        connection = wire.protocol
        assert isinstance(connection, _Connection)
        connection.stop_clock()
        path = wire.raw_path.partition("?")[0]
        found = find_page(wire.method, path, connection.user, clients=self.clients)
        if isinstance(found, Refused):
            refusal = web.Response(status=found.status, text=found.text)
            if connection.is_stranger:
                refusal.force_close()
            return refusal
        if isinstance(found, StreamRequest):
            return await self._streamer.answer(wire, found)
        try:
            content_type, body = await self._answers[found]()
        except (ApiError, TransportError) as error:
            log.warning("page=%s answered=no error=%r", found.value, str(error))
            return web.Response(status=500, text=f"{error}\n")
        return web.Response(body=body, headers={"Content-Type": content_type})


class _Connection(RequestHandler):
    """One connection. `user`: the name in the certificate that it showed."""

    __slots__ = ("_clock", "_server", "_source", "is_stranger", "user")

    def __init__(self, server: _Server, source: str, **options: Any) -> None:
        super().__init__(server, **options)
        self.user: str | None = None
        self.is_stranger = True
        self._server = server
        self._source = source
        self._clock: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        certificate = transport.get_extra_info("peercert")
        if certificate:
            self.user = find_common_name(certificate.get("subject", ()))
        if self.user in self._server.clients:
            self.leave_strangers()
        self._clock = self._loop.call_later(FIRST_HEADER_SECONDS, self._give_up)

    def connection_lost(self, exc: BaseException | None) -> None:
        self.stop_clock()
        self.leave_strangers()
        super().connection_lost(exc)

    def leave_strangers(self) -> None:
        """It has ended, or is the API server's. Safe to repeat."""
        if self.is_stranger:
            self.is_stranger = False
            self._server.strangers.release(self._source)

    def leave_http(self, parser: Any) -> None:
        """What comes from now on is the parser's, also what has come behind the request."""
        self._upgraded = True
        self.set_parser(parser)

    def stop_clock(self) -> None:
        """A header has come."""
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Bytes that are no request are the peer's fault, and no news."""
        if not isinstance(kw.get("exc_info"), RequestPayloadError | HttpProcessingError):
            super().log_exception(*args, **kw)

    def _give_up(self) -> None:
        transport = self.transport
        self.force_close()
        if transport is not None:
            transport.abort()
