"""Connections: who may open one, what it may take, and when it is given up.

A connection is counted when it is accepted, before anything is spent on TLS. Then each phase has its time: the
handshake, the header, the pause between requests; and a reader that leaves a full buffer standing is cut off, whatever
is being written. The limits are values of `limits.py`.
Rule: spec "api-machinery" §11; issue 3 part 6.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestHandler, RequestPayloadError

from seaway.apiserver.access.certificates import Shown
from seaway.apiserver.overload.limits import MAX_HEADER_BYTES, MAX_LINE_BYTES, ConnectionCounts, Verdict

if TYPE_CHECKING:
    from aiohttp._websocket.reader import WebSocketReader

    from seaway.apiserver.serve import HttpServer

_LOG = logging.getLogger("seaway.apiserver")
_PEER_CREDENTIALS = struct.Struct("3i")
_ACCEPTS_AT_ONCE = 64
_SHUTDOWN_SECONDS = 2.0
"""For the peer's half of the end of TLS; nobody is harmed when it does not come."""
_PAUSE_SECONDS = 0.5
"""Until the next try when the process has no file descriptor left."""
_NO_DESCRIPTOR = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_LINGER_SECONDS = 0.5
"""Between a refusal and the end: who still sends shall read why before the connection is reset."""
_TOO_LARGE = (431, "Request Header Fields Too Large")
_PLAIN_HTTP = (
    b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
    b"Client sent an HTTP request to an HTTPS server.\n"
)


class Acceptor:
    """Takes connections of one listening socket, as long as there is room for them."""

    def __init__(self, listening: socket.socket, http: HttpServer, context: ssl.SSLContext) -> None:
        self.listening = listening
        self._is_unix = listening.family == socket.AF_UNIX
        self._http = http
        self._context = context
        self._limits = http.limits
        self._counts = ConnectionCounts(http.limits)
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[None]] = set()
        self._loop.add_reader(listening.fileno(), self._accept)

    def close(self) -> None:
        """Take no more, and give up those whose handshake is not done. Safe to repeat."""
        if self.listening.fileno() >= 0:
            self._loop.remove_reader(self.listening.fileno())
            self.listening.close()
        for task in self._opening:
            task.cancel()

    def _accept(self) -> None:
        for _ in range(_ACCEPTS_AT_ONCE):
            try:
                accepted, address = self.listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno in _NO_DESCRIPTOR:
                    self._pause(error)
                    return
                raise
            self._take(accepted, address[0] if isinstance(address, tuple) else "")

    def _take(self, accepted: socket.socket, source: str) -> None:
        verdict = self._counts.admit(source)
        if verdict is not Verdict.ADMITTED:
            self._http.metrics.refused_connections[verdict.value] += 1
            accepted.close()
            return
        self._note()
        if self._is_unix and not _is_trusted_peer(accepted):
            accepted.close()
            self._release(source)
            return
        accepted.setblocking(False)
        task = self._loop.create_task(self._open(accepted, source))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, accepted: socket.socket, source: str) -> None:
        connection = self._http.make_connection(source, lambda: self._release(source))
        spare = accepted.dup()  # the transport closes its own when the handshake fails
        try:
            await self._loop.connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=self._context,
                ssl_handshake_timeout=self._limits.handshake_seconds,
                ssl_shutdown_timeout=_SHUTDOWN_SECONDS,
            )
        except (OSError, asyncio.CancelledError) as error:
            self._http.metrics.broken_handshakes += 1
            if isinstance(error, ssl.SSLError) and error.reason == "HTTP_REQUEST":
                with contextlib.suppress(OSError):
                    spare.send(_PLAIN_HTTP)
            if not connection.was_made:
                self._release(source)
        finally:
            spare.close()

    def _release(self, source: str) -> None:
        self._counts.release(source)
        self._note()

    def _note(self) -> None:
        self._http.metrics.connections["unix" if self._is_unix else "tcp"] = self._counts.total

    def _pause(self, error: OSError) -> None:
        _LOG.error("accept=paused error=%s", error.strerror)
        number = self.listening.fileno()
        self._loop.remove_reader(number)

        def resume() -> None:
            if self.listening.fileno() == number:
                self._loop.add_reader(number, self._accept)

        self._loop.call_later(_PAUSE_SECONDS, resume)


class Connection(RequestHandler):
    """One connection. Its certificate is read once, and compared with the clock by every request; its timers are only
    set where something is slow.
    """

    __slots__ = (
        "_body", "_clock", "_counted", "_header_bytes", "_http", "_on_lost", "_stall", "shown", "source", "was_made",
    )  # fmt: skip
    shown: Shown | None

    def __init__(self, http: HttpServer, source: str, on_lost: Callable[[], None], **options: Any) -> None:
        super().__init__(http, **options)
        self.source = source
        self.was_made = False
        self.shown = None
        self._http = http
        self._on_lost = on_lost
        self._clock: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._header_bytes = 0
        self._counted = 0
        self._body = EMPTY_PAYLOAD

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.was_made = True
        limits = self._http.limits
        cast(asyncio.Transport, transport).set_write_buffer_limits(high=limits.buffer_bytes)
        super().connection_made(transport)
        self._clock = self._loop.call_later(limits.header_seconds, self._give_up)
        certificate = transport.get_extra_info("peercert")
        if certificate:
            der = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
            self.shown = self._http.reader.read(certificate.get("subject", ()), der)

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Bytes that are no request, or no body of the promised form, are the peer's fault, and no news."""
        if not isinstance(kw.get("exc_info"), RequestPayloadError | HttpProcessingError):
            super().log_exception(*args, **kw)

    def data_received(self, data: bytes) -> None:
        before = self._request_count
        super().data_received(data)
        come = self._request_count - before
        if come:
            self._counted += come
            self._http.server.backlog += come
            self._header_bytes = 0
            if self._clock is not None:
                self._clock.cancel()
                self._clock = None
            self._body = self._messages[-1][1] if self._messages else EMPTY_PAYLOAD
        elif data and not self._upgraded and self._body.is_eof():
            self._take_partial_header(len(data))

    def begin_request(self) -> None:
        """A request of this connection is looked at."""
        if self._counted:
            self._counted -= 1
            self._http.server.backlog -= 1

    def leave_http(self, parser: WebSocketReader) -> None:
        """What comes from now on is the parser's, also what has come behind the request."""
        self._upgraded = True
        self.set_parser(parser)

    def _take_partial_header(self, count: int) -> None:
        self._header_bytes += count
        if self._header_bytes > MAX_HEADER_BYTES:
            self._refuse_header()
        elif self._clock is None:
            self._clock = self._loop.call_later(self._http.limits.header_seconds, self._give_up)

    def _refuse_header(self) -> None:
        self._close = True
        if self.transport is not None:
            self.transport.write(_make_plain_answer(*_TOO_LARGE))
        self._loop.call_later(_LINGER_SECONDS, self.force_close)

    def _make_error_handler(self, err_info: Any) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
        """What the parser refused: told in the client's terms, logged by nobody (clients write what they like)."""
        code, reason = classify_refusal(err_info.exc)

        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            self.begin_request()
            response = web.Response(status=code, text=f"{code} {reason}", headers={"X-Content-Type-Options": "nosniff"})
            response.force_close()
            await response.prepare(request)
            await response.write_eof()
            self._close = True  # what still comes is not looked at
            await asyncio.sleep(_LINGER_SECONDS)
            return response

        return answer

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall = self._loop.call_later(self._http.limits.stall_seconds, self._end_stalled)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def connection_lost(self, exc: BaseException | None) -> None:
        for timer in (self._clock, self._stall):
            if timer is not None:
                timer.cancel()
        self._clock = self._stall = None
        if self._counted:
            self._http.server.backlog -= self._counted
            self._counted = 0
        if self._manager is not None:
            self._on_lost()
        super().connection_lost(exc)

    def finish(self) -> None:
        """No more requests: end at once when idle, else when the one at work is answered."""
        if self._counted or self._request_in_progress:
            self._close = True
        else:
            self.force_close()

    def abort(self) -> None:
        """End it without a word: half of an answer must not look like a whole one."""
        transport = self.transport
        self.force_close()
        if transport is not None:
            transport.abort()

    def _give_up(self) -> None:
        """No header came in its time."""
        self._clock = None
        self.abort()

    def _end_stalled(self) -> None:
        self._stall = None
        self._http.metrics.stalled_connections += 1
        self.abort()


def classify_refusal(error: BaseException) -> tuple[int, str]:
    """The code for what the parser of headers refused. Rule: RFC 9110 §15.5.15, RFC 6585 §5.

    The parser names the limit that was passed, and that of the request line is another than that of a field.
    """
    if isinstance(error, LineTooLong):
        return (414, "URI Too Long") if MAX_LINE_BYTES in error.args else _TOO_LARGE
    if isinstance(error, HttpProcessingError) and error.message.startswith("Too many headers"):
        return _TOO_LARGE
    return 400, "Bad Request"


def _make_plain_answer(code: int, reason: str) -> bytes:
    text = f"{code} {reason}"
    head = f"HTTP/1.1 {text}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n"
    return f"{head}Content-Length: {len(text)}\r\n\r\n{text}".encode()


def _is_trusted_peer(accepted: socket.socket) -> bool:
    """On a unix socket only processes of the server's own user, and of root."""
    raw = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
    _, user, _ = _PEER_CREDENTIALS.unpack(raw)
    return user in (0, os.geteuid())
