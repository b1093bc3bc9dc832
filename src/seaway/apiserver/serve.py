"""Listens: HTTPS on TCP and on a unix socket, who the peer is, requests in, responses and watches out.

One catch-all handler on aiohttp's low-level server; routing is `routes.py`. A socket never implies an identity: the
unix socket only admits its owner's processes and root, and asks for credentials as TCP does.
Rule: spec "api-machinery" §7.1, §7.4, §10.1, §11 (shutdown); design §12.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpProcessingError, RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler, RequestPayloadError
from multidict import CIMultiDict

from seaway.api.machinery.errors import ApiError, BadRequest, RequestEntityTooLarge, Timeout, Unauthorized
from seaway.api.machinery.http import ANONYMOUS, Identity, Request, Response
from seaway.apiserver.answers import make_status, make_warning_headers
from seaway.apiserver.certificates import CertificateReader, Shown
from seaway.apiserver.handler import MAX_BODY_BYTES, ApiServer
from seaway.apiserver.identity import (
    find_bearer_token,
    find_credential_warnings,
)

REQUEST_SECONDS = 60.0
"""Upstream's limit for everything but watches."""
SHUTDOWN_SECONDS = 3.0
"""For requests at work when the server stops: `up` promises 5 s for all."""
KEEP_ALIVE_SECONDS = 120.0
"""More than the 90 s after which client-go drops an idle connection, so that the client closes first."""
MAX_LINE_BYTES = 64 << 10
_BACKLOG = 512
_NO_CHECK_TIME = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME; Python has no name for it."""
_ACCESS_LOG = logging.getLogger("seaway.apiserver.access")
_PEER_CREDENTIALS = struct.Struct("3i")
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


@dataclass(slots=True)
class Serving:
    """A server that listens. `addresses` are what the TCP sockets are bound to."""

    addresses: tuple[tuple[str, int], ...]
    _server: ApiServer
    _sockets: list[asyncio.Server]
    _http: _HttpServer
    _paths: list[Path]

    async def close(self) -> None:
        """Fail readiness, stop listening, end watches, finish requests. The `ApiServer` stays open. Safe to repeat."""
        self._server.stop_accepting()
        for listening in self._sockets:
            listening.close()
        self._sockets.clear()
        self._server.end_streams()
        self._http.pre_shutdown()
        await self._http.shutdown(SHUTDOWN_SECONDS)
        for path in self._paths:
            path.unlink(missing_ok=True)
        self._paths.clear()


async def serve(
    server: ApiServer,
    *,
    tls: TlsFiles,
    listen: Sequence[Listener],
    access_log: bool = False,
) -> Serving:
    """Accept requests on all listeners, or on none. Raises OSError when an address is taken or a file unreadable."""
    context = make_context(tls)
    http = _HttpServer(server, make_reader(tls), _ACCESS_LOG if access_log else None)
    loop = asyncio.get_running_loop()
    started: list[asyncio.Server] = []
    paths: list[Path] = []
    try:
        for listener in listen:
            bound = _bind(listener)
            if isinstance(listener, UnixListener):
                paths.append(listener.path)
                started.append(await loop.create_unix_server(http, sock=bound, ssl=context, backlog=_BACKLOG))
            else:
                started.append(await loop.create_server(http, sock=bound, ssl=context, backlog=_BACKLOG))
    except BaseException:
        for listening in started:
            listening.close()
        for path in paths:
            path.unlink(missing_ok=True)
        raise
    names = [sock.getsockname() for listening in started for sock in listening.sockets]
    addresses = tuple((name[0], name[1]) for name in names if isinstance(name, tuple))
    return Serving(addresses, server, started, http, paths)


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


class _Connection(RequestHandler):
    """One connection: its certificate is read once, and compared with the clock by every request."""

    __slots__ = ("_reader", "shown")
    shown: Shown | None

    def __init__(self, manager: web.Server, reader: CertificateReader, **options: Any) -> None:
        super().__init__(manager, **options)
        self._reader = reader

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.shown = None
        if not _is_trusted_peer(transport):
            cast(asyncio.Transport, transport).abort()
            return
        certificate = transport.get_extra_info("peercert")
        if certificate:
            der = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
            self.shown = self._reader.read(certificate.get("subject", ()), der)

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Bytes that are no request, or no body of the promised form, are the peer's fault, and no news."""
        if not isinstance(kw.get("exc_info"), RequestPayloadError | HttpProcessingError):
            super().log_exception(*args, **kw)


class _WireRequest(web.BaseRequest):
    """A request that remembers its target as it was sent."""

    def __init__(self, message: RawRequestMessage, *arguments: Any, **options: Any) -> None:
        super().__init__(message, *arguments, client_max_size=MAX_BODY_BYTES, **options)
        self.target = message.path


class _HttpServer(web.Server):
    """Makes connections, and turns aiohttp's requests into ours and back."""

    def __init__(self, server: ApiServer, reader: CertificateReader, access_log: logging.Logger | None) -> None:
        super().__init__(
            self._handle,
            request_factory=self._make_wire_request,
            handler_cancellation=True,
            access_log=access_log,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_LINE_BYTES,
        )
        self._server = server
        self._reader = reader

    def __call__(self) -> RequestHandler:
        return _Connection(self, self._reader, loop=self._loop, **self._kwargs)

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
        path, _, query = wire.target.partition("?")
        headers = _collect_headers(wire)
        parameters = tuple(parse_qsl(query, keep_blank_values=True)) if query else ()
        request = Request(wire.method, path, parameters, headers)
        try:
            identity = self._authenticate(wire, headers)
            if wire.can_read_body:
                body = await _read_body(wire, headers)
                request = Request(wire.method, path, parameters, headers, body)
        except ApiError as error:
            return _to_wire(make_status(error, request))
        if request.method == "GET":
            response = await self._server.handle(request, identity)
        else:
            response = await self._handle_write(request, identity)
        if identity is ANONYMOUS and (texts := find_credential_warnings(headers)):
            warnings = make_warning_headers(texts)
            response = Response(response.status, (*response.headers, *warnings), response.body)
        if isinstance(response.body, bytes):
            return _to_wire(response)
        return await _stream(wire, response, response.body)

    async def _handle_write(self, request: Request, identity: Identity) -> Response:
        """A write goes on when its client has gone: half of it may be on disk already."""
        work = asyncio.ensure_future(self._server.handle(request, identity))
        try:
            return await asyncio.wait_for(asyncio.shield(work), REQUEST_SECONDS)
        except TimeoutError:
            text = "Timeout: request did not complete within the allotted timeout"
            return make_status(Timeout(text, {}), request)

    def _authenticate(self, wire: _WireRequest, headers: dict[str, str]) -> Identity:
        """First the certificate, then a bearer token, else nobody in particular. Raises Unauthorized."""
        connection = wire.protocol
        assert isinstance(connection, _Connection)
        shown = connection.shown
        identity = None if shown is None else shown.find_identity(headers, datetime.now(UTC))
        if identity is not None:
            return identity
        token = find_bearer_token(headers)
        if token is None and shown is None and self._server.allows_anonymous:
            return ANONYMOUS
        identity = self._server.find_identity(token) if token is not None else None
        if identity is None:
            raise Unauthorized("Unauthorized")
        return identity


def _is_trusted_peer(transport: asyncio.BaseTransport) -> bool:
    """On a unix socket only processes of the server's own user, and of root."""
    peer = transport.get_extra_info("socket")
    if peer is None or peer.family != socket.AF_UNIX:
        return True
    raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
    _, user, _ = _PEER_CREDENTIALS.unpack(raw)
    return user in (0, os.geteuid())


def _collect_headers(wire: _WireRequest) -> dict[str, str]:
    """By lower-case name. Where a header is repeated the last one counts, but those that are lists are joined."""
    headers: dict[str, str] = {}
    for name, value in wire.headers.items():
        key = name.lower()
        if key in headers and (key in _REPEATABLE or key.startswith(_REPEATABLE_PREFIXES)):
            value = f"{headers[key]}\n{value}"
        elif key in headers and key == "accept":
            value = f"{headers[key]},{value}"
        headers[key] = value
    return headers


async def _read_body(wire: _WireRequest, headers: dict[str, str]) -> bytes:
    """The whole body. Raises RequestEntityTooLarge."""
    if headers.get("expect", "").lower() == "100-continue":
        await wire.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        wire.writer.output_size = 0
    try:
        return await wire.read()
    except web.HTTPRequestEntityTooLarge:
        raise RequestEntityTooLarge(f"Request entity too large: limit is {MAX_BODY_BYTES}") from None
    except RequestPayloadError as error:
        wire.protocol.close()  # after this answer: where the next request begins nobody can know
        raise BadRequest(f"the body cannot be read: {' '.join(str(error).split())}") from None


def _to_wire(response: Response) -> web.Response:
    assert isinstance(response.body, bytes)
    return web.Response(status=response.status, headers=CIMultiDict(response.headers), body=response.body)


async def _stream(wire: web.BaseRequest, response: Response, chunks: AsyncIterator[bytes]) -> web.StreamResponse:
    """Send each chunk as it comes, the header at once. The stream is released however it ends."""
    answer = web.StreamResponse(status=response.status, headers=CIMultiDict(response.headers))
    try:
        await answer.prepare(wire)
        async for chunk in chunks:
            await answer.write(chunk)
        await answer.write_eof()
    except ConnectionError:
        pass  # the reader has gone: that is how most watches end
    finally:
        close = getattr(chunks, "aclose", None)
        if close is not None:
            await close()
    return answer
