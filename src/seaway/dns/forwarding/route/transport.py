"""Sockets to upstreams. Over UDP every query has a socket, a source port and an id of its own; streams are kept.

A fresh UDP socket costs some 25 microseconds more than a kept one, and makes a guesser guess 16 bits more, each time.
Over a stream (TCP, TLS, or a unix socket with the framing of TCP) queries are pipelined and replies come in any order;
it ends when nothing was asked for a while. Whatever goes wrong is an OSError, a TimeoutError or an EOFError.

Rule: spec "discovery" A3.3; RFC 7766 (streams), RFC 7858 (TLS), RFC 5452 (ports and ids).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import ssl

from seaway.dns.forwarding.config import RouteConfig, TlsOptions
from seaway.dns.forwarding.route.ask import Ask, Mismatch, encode_ask, mix_case, read_reply
from seaway.dns.forwarding.upstreams import Upstream
from seaway.dns.message import RCODE_MASK, TC, Message
from seaway.dns.records import RCode

MAX_UDP_BYTES = 4096
"""What a reply over UDP may have; more than is asked for, so that a careless upstream is still understood."""
MAX_PIPELINED = 256
"""Queries on one stream; then the next one opens another."""
PLAIN_SECONDS = 300.0
"""How long EDNS is done without: what one server behind an address refuses, another may want."""


class MismatchError(OSError):
    """The upstream answered, and not what it was asked."""


class Channel:
    """The way to one upstream."""

    def __init__(self, upstream: Upstream, config: RouteConfig, *, udp_bytes: int) -> None:
        self.upstream = upstream
        self.name = str(upstream)
        self.reused = 0
        """Queries that found an open stream, and `opened` those that did not."""
        self.opened = 0
        self._config = config
        self._udp_bytes = udp_bytes
        self._plain_until = 0.0
        self._streams_only = bool(upstream.path or upstream.is_tls or config.force_tcp)
        self._stream: _Stream | None = None
        self._opening = asyncio.Lock()
        self._tls = make_tls_context(config.tls) if upstream.is_tls else None

    async def exchange(self, ask: Ask, deadline: float) -> Message:
        """The reply. Raises OSError, TimeoutError or EOFError. What UDP cut short is asked for again over TCP.

        An upstream that does not understand EDNS is asked without for a while (RFC 6891 7).
        """
        now = asyncio.get_running_loop().time()
        if now >= self._plain_until:
            try:
                return await self._exchange(ask, deadline, self._udp_bytes)
            except _NoEdnsError:
                pass
        message = await self._exchange(ask, deadline, 0)
        if now >= self._plain_until and message.flags & RCODE_MASK != RCode.FORMERR:
            self._plain_until = now + PLAIN_SECONDS
        return message

    async def _exchange(self, ask: Ask, deadline: float, udp_bytes: int) -> Message:
        if self._streams_only:
            return await self._ask_stream(ask, deadline, udp_bytes)
        try:
            message = await self._ask_datagram(ask, deadline, udp_bytes)
        except _OtherCaseError:
            return await self._ask_stream(ask, deadline, udp_bytes)
        if message.flags & TC:
            with contextlib.suppress(OSError, EOFError, TimeoutError):
                return await self._ask_stream(ask, deadline, udp_bytes)
        return message

    async def close(self) -> None:
        """End the stream, and whoever waits for it."""
        if self._stream is not None:
            await self._stream.close()
            self._stream = None

    async def _ask_datagram(self, ask: Ask, deadline: float, udp_bytes: int) -> Message:
        loop = asyncio.get_running_loop()
        if self._config.random_case:
            ask = Ask(mix_case(ask.question, secrets.randbits(256)), ask.flags, ask.dnssec_ok)
        query = encode_ask(ask, secrets.randbits(16), udp_bytes=udp_bytes)
        future: asyncio.Future[Message] = loop.create_future()
        family = socket.AF_INET6 if ":" in self.upstream.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect((self.upstream.host, self.upstream.port))  # the kernel draws the port, and drops strangers
            sock.send(query)
            listener = _Listener(sock, query, future)
            loop.add_reader(sock, listener.receive)
            alarm = loop.call_at(deadline, listener.give_up)
            try:
                return await future
            finally:
                alarm.cancel()
                loop.remove_reader(sock)

    async def _ask_stream(self, ask: Ask, deadline: float, udp_bytes: int) -> Message:
        """Over the open stream if there is one, else over a new one.

        An upstream may end a stream at any time, some after each reply: as long as a stream that ends has brought
        replies, or was there before, the next one is tried.
        """
        async with asyncio.timeout_at(deadline):
            stream = self._stream
            is_new = stream is None or not stream.is_usable
            while True:
                if is_new or stream is None:
                    stream = await self._open_stream(stream)
                else:
                    self.reused += 1
                try:
                    return await stream.ask(ask, udp_bytes=udp_bytes)
                except (OSError, EOFError) as error:
                    is_last = is_new and not stream.has_answered
                    if is_last or isinstance(error, tuple(_ERRORS.values())):
                        raise
                is_new = True

    async def _open_stream(self, unwanted: _Stream | None) -> _Stream:
        """The stream that is kept from now on: of those who need one at the same time, one opens it."""
        async with self._opening:
            if self._stream is not None and self._stream is not unwanted and self._stream.is_usable:
                return self._stream
            self.opened += 1
            if self._stream is not None:
                self._stream.retire()
            upstream = self.upstream
            if upstream.path:
                reader, writer = await asyncio.open_unix_connection(upstream.path)
            elif self._tls is not None:
                name = self._config.tls.server_name or upstream.host
                reader, writer = await asyncio.open_connection(
                    upstream.host, upstream.port, ssl=self._tls, server_hostname=name
                )
            else:
                reader, writer = await asyncio.open_connection(upstream.host, upstream.port)
            self._stream = _Stream(reader, writer, expire_seconds=self._config.expire_seconds)
            return self._stream


class _OtherCaseError(OSError):
    """The reply has the question in another spelling: a guess, or an upstream that does not keep case. TCP tells."""


class _NoEdnsError(OSError):
    """The upstream refuses queries with an OPT record."""


_ERRORS: dict[Mismatch, type[OSError]] = {
    Mismatch.OTHER_CASE: _OtherCaseError,
    Mismatch.NO_EDNS: _NoEdnsError,
    Mismatch.OTHER_QUESTION: MismatchError,
}


class _Listener:
    """Takes what arrives for one query until something answers it."""

    def __init__(self, sock: socket.socket, query: bytes, future: asyncio.Future[Message]) -> None:
        self._sock = sock
        self._query = query
        self._future = future
        self._mismatch = Mismatch.STRANGE

    def receive(self) -> None:
        if self._future.done():
            return
        try:
            found = read_reply(self._sock.recv(MAX_UDP_BYTES), self._query)
        except BlockingIOError:
            return
        except OSError as error:
            self._future.set_exception(error)
            return
        if isinstance(found, Message):
            self._future.set_result(found)
        elif found is Mismatch.OTHER_QUESTION:
            self._mismatch = found  # a better one may come
        elif found is not Mismatch.STRANGE:
            self._future.set_exception(_ERRORS[found](found.value))

    def give_up(self) -> None:
        if not self._future.done():
            wrong = self._mismatch is not Mismatch.STRANGE
            self._future.set_exception(MismatchError(self._mismatch.value) if wrong else TimeoutError())


class _Stream:
    """A connection with many queries on it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, expire_seconds: float) -> None:
        self._reader = reader
        self._writer = writer
        self._expire_seconds = expire_seconds
        self._waiting: dict[bytes, tuple[bytes, asyncio.Future[Message]]] = {}
        self._is_open = True
        self._is_retired = False
        self.has_answered = False
        self._task = asyncio.get_running_loop().create_task(self._read())

    @property
    def is_usable(self) -> bool:
        """Another query may go over it."""
        return self._is_open and not self._is_retired and len(self._waiting) < MAX_PIPELINED

    async def ask(self, ask: Ask, *, udp_bytes: int) -> Message:
        """The reply. Raises OSError or EOFError when the stream ends before it."""
        query = encode_ask(ask, secrets.randbits(16), udp_bytes=udp_bytes)
        while query[:2] in self._waiting:
            query = secrets.token_bytes(2) + query[2:]
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[query[:2]] = query, future
        try:
            self._writer.write(len(query).to_bytes(2, "big") + query)
            return await future
        finally:
            del self._waiting[query[:2]]
            if self._is_retired and not self._waiting:
                self._task.cancel()

    def retire(self) -> None:
        """Take no further query; end with the last reply."""
        self._is_retired = True
        if not self._waiting:
            self._task.cancel()

    async def close(self) -> None:
        """End now."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _read(self) -> None:
        failure: Exception = EOFError("the upstream closed the connection")
        try:
            while True:
                size = int.from_bytes(await self._read_prefix(), "big")
                self._take(await self._reader.readexactly(size))
        except TimeoutError:
            pass  # idle for long enough
        except asyncio.IncompleteReadError:
            pass
        except OSError as error:
            failure = error
        finally:
            self._is_open = False
            self._writer.close()
            for _, future in self._waiting.values():
                if not future.done():
                    future.set_exception(failure)

    async def _read_prefix(self) -> bytes:
        while True:
            try:
                async with asyncio.timeout(self._expire_seconds):
                    return await self._reader.readexactly(2)
            except TimeoutError:
                if not self._waiting:
                    raise

    def _take(self, wire: bytes) -> None:
        query, future = self._waiting.get(wire[:2], (b"", None))
        if future is None or future.done():
            return
        found = read_reply(wire, query)
        if isinstance(found, Message):
            self.has_answered = True
            future.set_result(found)
        elif found is not Mismatch.STRANGE:
            future.set_exception(_ERRORS[found](found.value))


def make_tls_context(options: TlsOptions) -> ssl.SSLContext:
    """What connections to upstreams at `tls://` are made with. Raises OSError (of which ssl.SSLError is one)."""
    context = ssl.create_default_context(cafile=options.ca_path or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if options.cert_path:
        context.load_cert_chain(options.cert_path, options.key_path or None)
    return context
