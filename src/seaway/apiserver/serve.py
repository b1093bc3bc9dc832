"""Listens: HTTPS on TCP and on a unix socket; requests in, responses and watches out; the end.

One catch-all handler on aiohttp's low-level server; routing is `routes.py`, connections are `serving/connection.py`. A
socket never implies an identity: the unix socket only admits its owner's processes and root, and asks for credentials
as TCP does.
Rule: spec "api-machinery" §7.1, §7.4, §7.5, §10.1, §11 (limits, shutdown); design §12.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler, RequestPayloadError
from multidict import CIMultiDict

from seaway.api.machinery.errors import ApiError, BadRequest, RequestEntityTooLarge, Timeout, Unauthorized
from seaway.api.machinery.http import ANONYMOUS, BrokenStream, Identity, Incoming, Request, Response
from seaway.apiserver.access.certificates import CertificateReader
from seaway.apiserver.access.identity import find_bearer_token, find_credential_warnings
from seaway.apiserver.answers import make_text, make_warning_headers
from seaway.apiserver.handler import ApiServer
from seaway.apiserver.observability.accesslog import format_access
from seaway.apiserver.observability.health import is_health_path
from seaway.apiserver.overload.limits import (
    MAX_BODY_BYTES,
    MAX_FIELD_BYTES,
    MAX_FIELDS,
    MAX_LINE_BYTES,
    REQUEST_SECONDS,
    ConnectionLimits,
    TimeLimit,
    find_time_limit,
)
from seaway.apiserver.proxying.kubelet import STREAMED
from seaway.apiserver.proxying.verb import is_proxied
from seaway.apiserver.routes import parse_path
from seaway.apiserver.serving.connection import Acceptor, Connection
from seaway.apiserver.serving.logfile import LogFile
from seaway.apiserver.serving.websocket import converse
from seaway.apiserver.upgrade import (
    is_valid_origin,
    list_protocols,
    wants_websocket,
    watch_by_messages,
)
from seaway.net.tunnels.transport import Taken, TunnelPeer

SHUTDOWN_SECONDS = 3.0
"""For requests at work when the server stops: `up` promises 5 s for all."""
_LINGER_SECONDS = 2.0
"""For what a client still sends of a body that was refused."""
_SLICE_BYTES = 256 << 10
"""Of a large answer, between two looks at whether its reader follows."""
_BACKLOG = 512
_NO_CHECK_TIME = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME; Python has no name for it."""
_REPEATABLE = frozenset(("impersonate-group", "x-remote-group"))
_REPEATABLE_PREFIXES = ("impersonate-extra-", "x-remote-extra-")


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: the server's certificate with its key, the CA that signs clients, and the one of front proxies.

    A front proxy says in headers whom it speaks for. `front_proxy_names`: the common names that may; empty: any.
    """

    certificate: Path
    key: Path
    client_ca: Path
    front_proxy_ca: Path | None = None
    front_proxy_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TcpListener:
    """Port 0 takes any free port."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class UnixListener:
    """A socket file, made with mode 0600 and replaced when a dead server left one."""

    path: Path


Listener = TcpListener | UnixListener | socket.socket
"""A socket is one that listens already: bound by a parent that had the rights, or in another network namespace."""


class Serving:
    """A server that listens. `addresses` are what the TCP sockets are bound to."""

    def __init__(self, http: HttpServer, acceptors: list[Acceptor], paths: list[Path], end: Ending) -> None:
        names = [acceptor.listening.getsockname() for acceptor in acceptors]
        self.addresses = tuple((name[0], name[1]) for name in names if isinstance(name, tuple))
        self._http = http
        self._acceptors = acceptors
        self._paths = paths
        self._end = end

    async def close(self) -> None:
        """Fail readiness, wait the delay, stop listening, end watches and tunnels, finish requests. Safe to repeat.

        The `ApiServer` stays open. Rule: §11 (shutdown).
        """
        server = self._http.server
        server.stop_accepting()
        if self._acceptors and self._end.delay_seconds:
            await asyncio.sleep(self._end.delay_seconds)
        for acceptor in self._acceptors:
            acceptor.close()
        self._acceptors.clear()
        server.stop_streaming()
        await self._http.finish(self._end.grace_seconds)
        for path in self._paths:
            path.unlink(missing_ok=True)
        self._paths.clear()


@dataclass(frozen=True, slots=True)
class Ending:
    """How the server stops: how long it goes on after its readiness fails, and how long requests have to finish."""

    delay_seconds: float = 0.0
    grace_seconds: float = SHUTDOWN_SECONDS


async def serve(
    server: ApiServer,
    *,
    tls: TlsFiles,
    listen: Sequence[Listener],
    limits: ConnectionLimits | None = None,
    access_log: LogFile | None = None,
    end: Ending | None = None,
) -> Serving:
    """Accept requests on all listeners, or on none. Raises OSError when an address is taken or a file unreadable."""
    context = make_context(tls)
    http = HttpServer(server, make_reader(tls), limits or ConnectionLimits(), access_log)
    bound: list[socket.socket] = []
    paths: list[Path] = []
    try:
        for listener in listen:
            bound.append(_bind(listener))
            if isinstance(listener, UnixListener):
                paths.append(listener.path)
    except BaseException:
        for opened in bound:
            opened.close()
        for path in paths:
            path.unlink(missing_ok=True)
        raise
    acceptors = [Acceptor(opened, http, context) for opened in bound]
    return Serving(http, acceptors, paths, end or Ending())


def make_context(tls: TlsFiles) -> ssl.SSLContext:
    """TLS 1.2 or later; a client may show a certificate of the client CA.

    One of another CA, or for another use, ends the handshake: Python's ssl has no way to look at it and go on. One
    that is out of its time is let through to be answered with 401, as Kubernetes does.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(tls.certificate, tls.key)
    context.load_verify_locations(tls.client_ca)
    if tls.front_proxy_ca is not None:
        context.load_verify_locations(tls.front_proxy_ca)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= _NO_CHECK_TIME
    context.set_alpn_protocols(["http/1.1"])
    return context


def _bind(listener: Listener) -> socket.socket:
    if isinstance(listener, socket.socket):
        listener.setblocking(False)
        return listener
    if isinstance(listener, TcpListener):
        family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
        bound = socket.create_server((listener.host, listener.port), family=family, backlog=_BACKLOG)
        bound.setblocking(False)
        return bound
    listener.path.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        bound.bind(str(listener.path))
    except OSError:
        bound.close()
        raise
    finally:
        os.umask(mask)
    bound.listen(_BACKLOG)
    bound.setblocking(False)
    return bound


def make_reader(tls: TlsFiles) -> CertificateReader:
    """What tells whose the certificates are that the context lets through."""
    proxy_ca = tls.front_proxy_ca.read_bytes() if tls.front_proxy_ca is not None else b""
    return CertificateReader(tls.client_ca.read_bytes(), proxy_ca, tls.front_proxy_names)


class _WireRequest(web.BaseRequest):
    """A request that remembers its target as it was sent."""

    def __init__(self, message: RawRequestMessage, *arguments: Any, **options: Any) -> None:
        super().__init__(message, *arguments, client_max_size=MAX_BODY_BYTES, **options)
        self.target = message.path


class HttpServer(web.Server):
    """Makes connections, and turns aiohttp's requests into ours and back."""

    def __init__(
        self, server: ApiServer, reader: CertificateReader, limits: ConnectionLimits, access_log: LogFile | None
    ) -> None:
        super().__init__(
            self._handle,
            request_factory=self._make_wire_request,
            handler_cancellation=True,
            access_log=None,
            auto_decompress=False,  # upstream takes bodies as they are
            keepalive_timeout=limits.idle_seconds,
            lingering_time=_LINGER_SECONDS,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_FIELD_BYTES,
            max_headers=MAX_FIELDS,
        )
        self.server = server
        self.limits = limits
        self.reader = reader
        self.metrics = server.metrics
        self._access_log = access_log
        self._open: set[Connection] = set()
        self._writes: set[asyncio.Task[Response]] = set()
        self._tunnels: set[asyncio.Task[Any]] = set()
        self._empty: asyncio.Future[None] | None = None

    def make_connection(self, source: str, on_lost: Callable[[], None]) -> Connection:
        """The protocol of one accepted connection."""

        def lost() -> None:
            on_lost()
            self._open.discard(connection)
            if not self._open and self._empty is not None and not self._empty.done():
                self._empty.set_result(None)

        connection = Connection(self, source, lost, loop=self._loop, **self._kwargs)
        return connection

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        assert isinstance(handler, Connection)
        self._open.add(handler)

    async def finish(self, grace_seconds: float) -> None:
        """End what is idle, and what has left HTTP and knows no end of its own; let requests finish, and writes whose
        client has gone; then break off the rest.
        """
        while self._tunnels:
            self._tunnels.pop().cancel()
        for connection in tuple(self._open):
            connection.finish()
        try:
            async with asyncio.timeout(grace_seconds):
                if self._open:
                    self._empty = self._loop.create_future()
                    await self._empty
                await asyncio.gather(*self._writes, return_exceptions=True)
        except TimeoutError:
            for connection in tuple(self._open):
                connection.abort()
        await self.shutdown(0.1)

    def _make_wire_request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> _WireRequest:
        return _WireRequest(message, payload, protocol, writer, task, self._loop)

    async def _handle(self, wire: web.BaseRequest) -> web.StreamResponse:
        assert isinstance(wire, _WireRequest)
        connection = wire.protocol
        assert isinstance(connection, Connection)
        connection.begin_request()
        begun = self._loop.time()
        path, _, query = wire.target.partition("?")
        parameters = tuple(parse_qsl(query, keep_blank_values=True)) if query else ()
        request = Request(wire.method, path, parameters, _collect_headers(wire), b"", connection.source)
        identity: Identity | None = None
        try:
            identity = self._authenticate(connection, request)
            if _is_passed_on(path):
                request = replace(request, incoming=_make_incoming(wire, query))
            elif wire.can_read_body and not is_health_path(path):
                request = await self._read_body(wire, request)
            if request.method == "GET" and not parameters:  # from memory: there is nothing to wait for
                response = await self.server.handle(request, identity)
            else:
                response = await self._ask(request, identity)
        except ApiError as error:
            response = self.server.refuse(request, identity or ANONYMOUS, error)
        except asyncio.CancelledError:
            self.server.abandon(request)
            raise
        if identity is ANONYMOUS and (texts := find_credential_warnings(request.headers)):
            response = replace(response, headers=(*response.headers, *make_warning_headers(texts)))
        if self._access_log is None:
            body = response.body
            leaves_http = response.upgrade is not None or response.tunnel is not None
            if isinstance(body, bytes) and len(body) <= _SLICE_BYTES and not leaves_http:
                return self._send_whole(response, body)
            return await self._send(wire, request, response, until=begun + REQUEST_SECONDS)
        try:
            return await self._send(wire, request, response, until=begun + REQUEST_SECONDS)
        finally:
            self._log(wire, request, identity, response, self._loop.time() - begun)

    async def _ask(self, request: Request, identity: Identity) -> Response:
        """The server's answer, in the time that the request has. Raises ApiError."""
        limit = find_time_limit(request)
        if limit is None:
            return await self.server.handle(request, identity)
        if limit.seconds <= 0:
            raise limit.error
        if limit.is_write:
            return await self._ask_write(request, identity, limit)
        try:
            async with asyncio.timeout(limit.seconds):
                return await self.server.handle(request, identity)
        except TimeoutError:
            raise limit.error from None

    async def _ask_write(self, request: Request, identity: Identity, limit: TimeLimit) -> Response:
        """A write goes on when its client has gone or its time is over: half of it may be on disk already."""
        work = asyncio.ensure_future(self.server.handle(request, identity))
        self._writes.add(work)
        work.add_done_callback(self._writes.discard)
        try:
            return await asyncio.wait_for(asyncio.shield(work), limit.seconds)
        except TimeoutError:
            raise limit.error from None

    def _authenticate(self, connection: Connection, request: Request) -> Identity:
        """First the certificate, then a bearer token, else nobody in particular. Raises Unauthorized."""
        shown, begun = connection.shown, self._loop.time()
        identity = None if shown is None else shown.find_identity(request.headers, datetime.now(UTC))
        if identity is None:
            token = find_bearer_token(request.headers)
            if token is None and shown is None and self.server.allows_anonymous:
                return ANONYMOUS
            identity = self.server.find_identity(token) if token is not None else None
        self.metrics.count_authentication(identity, self._loop.time() - begun)
        if identity is None:
            raise Unauthorized("Unauthorized")
        return identity

    async def _read_body(self, wire: _WireRequest, request: Request) -> Request:
        """The request with its whole body. Raises RequestEntityTooLarge and Timeout."""
        too_large = RequestEntityTooLarge(f"Request entity too large: limit is {MAX_BODY_BYTES}")
        if (wire.content_length or 0) > MAX_BODY_BYTES:
            raise too_large
        if request.headers.get("expect", "").lower() == "100-continue":
            await wire.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            wire.writer.output_size = 0
        try:
            if wire.content.is_eof():
                body = await wire.read()
            else:
                async with asyncio.timeout(self.limits.body_seconds):
                    body = await wire.read()
        except web.HTTPRequestEntityTooLarge:
            raise too_large from None
        except RequestPayloadError as error:
            wire.protocol.close()  # after this answer: where the next request begins nobody can know
            raise BadRequest(f"the body cannot be read: {' '.join(str(error).split())}") from None
        except TimeoutError:
            wire.protocol.close()
            raise Timeout("Timeout: request did not complete within the allotted timeout", {}) from None
        return Request(request.method, request.path, request.query, request.headers, body, request.source)

    async def _send(
        self, wire: _WireRequest, request: Request, response: Response, *, until: float
    ) -> web.StreamResponse:
        body = response.body
        if response.tunnel is not None:
            assert isinstance(wire.protocol, Connection)
            await self._hold(response.tunnel(TunnelPeer(wire.protocol, response.headers)))
            return Taken(status=101)
        if isinstance(body, bytes):
            if response.upgrade is not None:
                return await converse(wire, response, response.upgrade, list_protocols(request.headers))
            if len(body) > _SLICE_BYTES:
                return await self._send_large(wire, request, response, body, until=until)
            return self._send_whole(response, body)
        if wants_websocket(request.headers) and response.status == 200 and request.incoming is None:
            is_welcome = is_valid_origin(request.headers.get("origin", ""))
            answer_with = watch_by_messages(response) if is_welcome else make_text(403, b"Forbidden\n")
            try:
                return await self._send(wire, request, answer_with, until=until)
            finally:
                await _release(body)
        return await self._stream(wire, request, response, body)

    async def _hold(self, conversation: Awaitable[None]) -> None:
        """Until the conversation has ended, or the server stops: each side then reads an end after what was said."""
        task = asyncio.current_task()
        assert task is not None
        if self.server.state.ends_streams:
            task.cancel()
        else:
            self._tunnels.add(task)
        try:
            await conversation
        except asyncio.CancelledError:
            if task in self._tunnels:
                raise  # the client has gone
            task.uncancel()
        finally:
            self._tunnels.discard(task)

    def _send_whole(self, response: Response, body: bytes) -> web.Response:
        """An answer that aiohttp writes at once."""
        answer = web.Response(status=response.status, headers=CIMultiDict(response.headers), body=body)
        if self.server.is_stopping:
            answer.force_close()
        return answer

    async def _send_large(
        self, wire: _WireRequest, request: Request, response: Response, body: bytes, *, until: float
    ) -> web.StreamResponse:
        """A large body piece by piece: its reader has to be done with it when the request's time is over."""
        answer = web.StreamResponse(status=response.status, headers=CIMultiDict(response.headers))
        answer.content_length = len(body)
        if self.server.is_stopping:
            answer.force_close()
        try:
            async with asyncio.timeout_at(until):
                await answer.prepare(wire)
                view = memoryview(body)
                for start in range(0, len(body), _SLICE_BYTES):
                    await answer.write(view[start : start + _SLICE_BYTES])
                await answer.write_eof()
        except TimeoutError:
            self._abort(wire, request)
        return answer

    async def _stream(
        self, wire: _WireRequest, request: Request, response: Response, chunks: AsyncIterator[bytes]
    ) -> web.StreamResponse:
        """Send each chunk as it comes, the header at once. The stream is released however it ends."""
        answer = web.StreamResponse(status=response.status, headers=CIMultiDict(response.headers))
        if self.server.is_stopping:
            answer.force_close()
        try:
            await answer.prepare(wire)
            async for chunk in chunks:
                await answer.write(chunk)
            await answer.write_eof()
        except ConnectionError:
            pass  # the reader has gone: that is how most watches end
        except BrokenStream:
            self._abort(wire, request)
        except Exception as error:
            error.add_note(f"stream of path={request.path!r}")
            self.server.state.effects.report(error)
            self._abort(wire, request)
        finally:
            await _release(chunks)
        return answer

    def _abort(self, wire: _WireRequest, request: Request) -> None:
        """After the header there is no other way to say that something went wrong."""
        self.server.count_abort(request)
        assert isinstance(wire.protocol, Connection)
        wire.protocol.abort()

    def _log(
        self, wire: _WireRequest, request: Request, identity: Identity | None, response: Response, seconds: float
    ) -> None:
        assert self._access_log is not None
        audit_id = next((value for name, value in response.headers if name == "Audit-Id"), "-")
        size = len(response.body) if isinstance(response.body, bytes) else wire.writer.output_size
        line = format_access(
            datetime.now(UTC), audit_id, request, identity, code=response.status, size=size, ms=seconds * 1000
        )
        self._access_log.write(line)
        self.metrics.access_log_drops = self._access_log.lost


def _is_passed_on(path: str) -> bool:
    """Whether the request is another server's to read. Most paths are known by their last word."""
    if "/proxy" not in path and path.rpartition("/")[2] not in STREAMED:
        return False
    subresource = parse_path(path).subresource
    return is_proxied(subresource) or subresource in STREAMED


def _make_incoming(wire: _WireRequest, query: str) -> Incoming:
    fields = tuple(
        (name.decode("latin-1"), value.decode("utf-8", "surrogateescape")) for name, value in wire.raw_headers
    )
    return Incoming(fields, query, _read_chunks(wire) if wire.can_read_body else None)


async def _read_chunks(wire: _WireRequest) -> AsyncIterator[bytes]:
    """The body as it comes: what is not asked for stays with the client. Raises BadRequest."""
    if wire.headers.get("expect", "").lower() == "100-continue":
        await wire.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        wire.writer.output_size = 0
    try:
        async for chunk in wire.content.iter_any():
            yield chunk
    except RequestPayloadError as error:
        wire.protocol.close()
        raise BadRequest(f"the body cannot be read: {' '.join(str(error).split())}") from None


async def _release(chunks: AsyncIterator[bytes]) -> None:
    close = getattr(chunks, "aclose", None)
    if close is not None:
        await close()


def _collect_headers(wire: _WireRequest) -> dict[str, str]:
    """By lower-case name. Where a header is repeated the last one counts, but those that are lists are joined."""
    headers: dict[str, str] = {}
    for name, value in wire.headers.items():
        key = name.lower()
        if key in headers and (key in _REPEATABLE or key.startswith(_REPEATABLE_PREFIXES)):
            value = f"{headers[key]}\n{value}"
        elif key in headers and key in _LISTS:
            value = f"{headers[key]},{value}"
        headers[key] = value
    return headers


_LISTS = frozenset(("accept", "connection", "sec-websocket-protocol"))
