"""Sends requests: over HTTPS, over TLS on a unix socket, or to a server in the same process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from seaway.api.machinery.http import Identity, Request, Response
from seaway.client.kubeconfig import Connection
from seaway.client.requests import Client, TransportError

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 65.0
"""For requests that are no stream: what the API server itself allows (60 s) and a little more."""
UNIX_SERVER_NAME = "kubernetes"
"""Which name of the server's certificate is checked on a unix socket, where the address says nothing."""

TOKEN_SECONDS = 60.0
"""How long a token that was read from a file is used before the file is read again, as in client-go."""
_STREAM_PARAMETERS = ("watch", "follow")


class HttpTransport:
    """Speaks HTTP/1.1 with one server and one identity; connections are kept and shared.

    PEM may be given as text or as files. With `unix_socket` the socket is dialled and `server` only names the host
    header; TLS is spoken there too. Connections belong to the event loop of the first `send`.
    """

    def __init__(
        self,
        server: str,
        *,
        ca_pem: str = "",
        ca_file: Path | None = None,
        certificate_pem: str = "",
        key_pem: str = "",
        certificate_file: Path | None = None,
        key_file: Path | None = None,
        token: str = "",
        token_file: Path | None = None,
        unix_socket: Path | None = None,
        server_name: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """token_file: where a newer token will be; `token` holds until it has been read."""
        self.server = f"https://{UNIX_SERVER_NAME}" if unix_socket else server.rstrip("/")
        self.unix_socket = unix_socket
        self._server_name = server_name or (UNIX_SERVER_NAME if unix_socket else "")
        self.token_file = token_file
        self._token = _Token(token, token_file, clock)
        self._context: ssl.SSLContext | None = None
        self._session: aiohttp.ClientSession | None = None
        if self.server.startswith("https:"):
            self._context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None, cadata=ca_pem or None)
            if certificate_file:
                self._context.load_cert_chain(certificate_file, key_file)
            elif certificate_pem:
                _load_certificate(self._context, certificate_pem, key_pem)

    @classmethod
    def from_connection(cls, connection: Connection) -> HttpTransport:
        """The transport that a kubeconfig describes."""
        return cls(
            connection.server,
            ca_pem=connection.ca_pem,
            certificate_pem=connection.certificate_pem,
            key_pem=connection.key_pem,
            token=connection.token,
            token_file=Path(connection.token_file) if connection.token_file else None,
            unix_socket=Path(connection.unix_socket) if connection.unix_socket else None,
            server_name=connection.server_name,
        )

    async def send(self, request: Request) -> Response:
        """The answer. The body of a watch that was accepted is an iterator; end it with `aclose`."""
        is_stream = any(request.find_parameter(name) in ("true", "1") for name in _STREAM_PARAMETERS)
        session = self._open_session()
        timeout = aiohttp.ClientTimeout(total=None if is_stream else ANSWER_SECONDS, sock_connect=CONNECT_SECONDS)
        try:
            answer = await session.request(
                request.method,
                self._url(request),
                headers={**request.headers, **self._credentials()},
                data=request.body or None,
                timeout=timeout,
                allow_redirects=False,
                server_hostname=self._server_name or None,
            )
            if answer.status == 401:
                self._token.doubt()
            headers = tuple((name.lower(), value) for name, value in answer.headers.items())
            if is_stream and answer.status < 400:
                return Response(answer.status, headers, self._stream(answer, request))
            async with answer:
                return Response(answer.status, headers, await answer.read())
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._no_answer(request, error) from error

    async def close(self) -> None:
        """Close all connections; running watches end with TransportError."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _stream(self, answer: aiohttp.ClientResponse, request: Request) -> AsyncIterator[bytes]:
        try:
            async for chunk in answer.content.iter_any():
                yield chunk
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._no_answer(request, error) from error
        finally:
            answer.close()

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector: aiohttp.BaseConnector
            if self.unix_socket is not None:
                connector = _TlsUnixConnector(self.unix_socket, self._context, self._server_name)
            else:
                connector = aiohttp.TCPConnector(limit=0, ssl=self._context if self._context else False)
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                # Most answers travel a few metres: compressing costs more than it saves.
                headers={"accept-encoding": "identity"},
                read_bufsize=1 << 20,
            )
        return self._session

    def _url(self, request: Request) -> URL:
        query = f"?{urlencode(request.query)}" if request.query else ""
        return URL(f"{self.server}{request.path}{query}", encoded=True)

    def _credentials(self) -> dict[str, str]:
        token = self._token.read()
        return {"authorization": f"Bearer {token}"} if token else {}

    def _no_answer(self, request: Request, error: BaseException) -> TransportError:
        peer = self.unix_socket or self.server
        cause = str(error) or type(error).__name__
        return TransportError(f"{request.method} {request.path}: no answer from {peer}: {cause}")


class _Token:
    """A bearer token, and the file in which somebody renews it. What cannot be read leaves the last one in use."""

    def __init__(self, text: str, file: Path | None, clock: Callable[[], float]) -> None:
        self._text, self._file, self._clock = text, file, clock
        self._good_until = clock() + TOKEN_SECONDS if text else clock()

    def read(self) -> str:
        if self._file is not None and self._clock() >= self._good_until:
            self._good_until = self._clock() + TOKEN_SECONDS
            with contextlib.suppress(OSError, UnicodeDecodeError):
                self._text = self._file.read_text().strip() or self._text
        return self._text

    def doubt(self) -> None:
        """The server does not take it: the next request looks for another."""
        self._good_until = self._clock()


class InProcessTransport:
    """Hands requests to a server in the same process, as one identity. Nothing is encoded but the bodies."""

    def __init__(self, handle: Callable[[Request, Identity], Awaitable[Response]], identity: Identity) -> None:
        self._handle = handle
        self.identity = identity

    async def send(self, request: Request) -> Response:
        """The server's answer, as it is."""
        return await self._handle(request, self.identity)

    async def close(self) -> None:
        """Nothing to release: the server belongs to whoever opened it."""


def open_client(connection: Connection, *, user_agent: str = "seaway") -> Client:
    """A client for what a kubeconfig describes; it connects on first use."""
    return Client(HttpTransport.from_connection(connection), user_agent=user_agent)


class _TlsUnixConnector(aiohttp.UnixConnector):
    """aiohttp's unix sockets carry no TLS; the API server asks for a client certificate there as on TCP."""

    def __init__(self, path: Path, context: ssl.SSLContext | None, server_name: str) -> None:
        super().__init__(str(path), limit=0)
        self._context = context
        self._server_name = server_name

    async def _create_connection(
        self,
        req: Any,
        traces: Any,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  (aiohttp's signature)
    ) -> ResponseHandler:
        async with asyncio.timeout(timeout.sock_connect):
            _, protocol = await asyncio.get_running_loop().create_unix_connection(
                self._factory, self._path, ssl=self._context, server_hostname=self._server_name
            )
        return protocol


def _load_certificate(context: ssl.SSLContext, certificate_pem: str, key_pem: str) -> None:
    """Loads PEM text, for which `ssl` knows files only: one that no other process can open, where that exists."""
    pem = f"{certificate_pem.rstrip()}\n{key_pem}".encode()
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("client-certificate")
        try:
            os.write(fd, pem)
            context.load_cert_chain(f"/proc/self/fd/{fd}")
        finally:
            os.close(fd)
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(file.name)
