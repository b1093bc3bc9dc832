"""Passes requests on to Pods and nodes: sends, and brings back what comes, both ways at once and nothing kept whole.

Each request has a connection of its own, made by `dialing.py`.
Rule: spec "service-api" §8.3.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from seaway.api.machinery.errors import ServiceUnavailable
from seaway.api.machinery.http import BrokenStream, Bytes, Response
from seaway.apiserver.proxying.headers import find_field, make_response_fields, make_upgrade_fields
from seaway.apiserver.proxying.http1 import (
    MAX_HEAD_BYTES,
    Framing,
    Head,
    Unchunker,
    WireError,
    find_framing,
    parse_head,
    render_head,
)
from seaway.apiserver.proxying.targets import Target
from seaway.apiserver.proxying.transform import Transformer, find_transformer, rewrite_location
from seaway.apiserver.proxying.verb import Outgoing
from seaway.apiserver.serving.dialing import DIAL_SECONDS, Dial, Link, dial_directly

_PIECE_BYTES = 64 << 10
_MAX_INTERIM = 16
"""Answers of 1xx before the real one."""


class HttpBackends:
    """`Backends` over connections that `dial` makes."""

    def __init__(self, dial: Dial = dial_directly) -> None:
        self._dial = dial

    async def exchange(self, target: Target, outgoing: Outgoing) -> Response:
        """The answer once its head is there. Raises ServiceUnavailable, and InternalError for a Location."""
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                link = await self._dial(target)
        except (OSError, TimeoutError) as error:
            raise _unreachable(f"dial tcp {target.host}: {_describe(error)}") from None
        conversation = _Conversation(link, outgoing)
        try:
            return await conversation.answer()
        except (OSError, WireError, EOFError) as error:
            conversation.close()
            raise _unreachable(f"{target.host}: {_describe(error)}") from None
        except BaseException:
            conversation.close()
            raise


class _Conversation:
    """One request and its answer."""

    def __init__(self, link: Link, outgoing: Outgoing) -> None:
        self._reader, self._writer = link
        self._outgoing = outgoing
        self._upload: asyncio.Task[None] | None = None

    def close(self) -> None:
        """Give the connection up. Safe to repeat."""
        if self._upload is not None:
            self._upload.cancel()
        self._writer.transport.abort()

    async def answer(self) -> Response:
        """The answer, its head complete. Raises OSError, EOFError, WireError, ApiError."""
        outgoing = self._outgoing
        fields = outgoing.fields
        is_chunked = outgoing.chunks is not None and find_field(fields, "content-length") is None
        if is_chunked:
            fields = (*fields, ("Transfer-Encoding", "chunked"))
        self._writer.write(render_head(outgoing.method, outgoing.target, fields))
        if outgoing.chunks is not None:
            self._upload = asyncio.ensure_future(self._send_body(outgoing.chunks, is_chunked=is_chunked))
            self._upload.add_done_callback(_look_at)
        head = await self._await_head()
        if head.status == 101:
            return Response(101, make_upgrade_fields(head.fields), tunnel=self._tunnel)
        framing, length = find_framing(outgoing.method, head)
        answer = rewrite_location(make_response_fields(head.fields), outgoing.links)
        transformer = None if framing is Framing.NONE else find_transformer(answer, outgoing.links)
        if transformer is not None:
            answer = tuple(field for field in answer if field[0].lower() != "content-length")
        content = _read_content(self._reader, framing, length)
        if transformer is not None:
            content = _transform(content, transformer)
        return Response(head.status, answer, _Body(content, self.close))

    async def _await_head(self) -> Head:
        """The head of the final answer. A client whose body breaks has none to wait for."""
        reading = asyncio.ensure_future(self._read_head())
        try:
            if self._upload is not None:
                await asyncio.wait((reading, self._upload), return_when=asyncio.FIRST_COMPLETED)
                if self._upload.done():
                    self._upload.result()  # what is wrong with the body comes before what a backend made of it
            return await reading
        finally:
            if not reading.done():
                reading.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await reading

    async def _read_head(self) -> Head:
        for _ in range(_MAX_INTERIM):
            try:
                head = parse_head(await self._reader.readuntil(b"\r\n\r\n"))
            except asyncio.IncompleteReadError as error:
                raise EOFError("unexpected EOF" if error.partial else "EOF") from None
            except asyncio.LimitOverrunError:
                raise WireError(f"header longer than {MAX_HEAD_BYTES} bytes") from None
            if head.status == 101 and not self._outgoing.is_upgrade:
                raise WireError("101 without a request for it")
            if head.status == 101 or head.status >= 200:
                return head
        raise WireError(f"more than {_MAX_INTERIM} interim answers")

    async def _send_body(self, chunks: AsyncIterator[bytes], *, is_chunked: bool) -> None:
        """What the client sends, as fast as the backend takes it. A backend may answer and close before the end."""
        writer = self._writer
        try:
            async for chunk in chunks:
                if is_chunked and chunk:
                    writer.writelines((b"%x\r\n" % len(chunk), chunk, b"\r\n"))
                elif chunk:
                    writer.write(chunk)
                await writer.drain()
            if is_chunked:
                writer.write(b"0\r\n\r\n")
                await writer.drain()
        except ConnectionError:
            return
        except BaseException:
            writer.transport.abort()  # half of a body must not look like a whole one
            raise

    async def _tunnel(self, peer: Bytes) -> None:
        """Bytes both ways until one side has ended, as upstream."""
        try:
            await peer.open()
            async with asyncio.TaskGroup() as group:
                tasks: list[asyncio.Task[None]] = []
                tasks.append(group.create_task(self._pump_up(peer, tasks)))
                tasks.append(group.create_task(self._pump_down(peer, tasks)))
        finally:
            self.close()

    async def _pump_up(self, peer: Bytes, tasks: list[asyncio.Task[None]]) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await peer.read():
                self._writer.write(data)
                await self._writer.drain()
        tasks[1].cancel()

    async def _pump_down(self, peer: Bytes, tasks: list[asyncio.Task[None]]) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await self._reader.read(_PIECE_BYTES):
                await peer.write(data)
        tasks[0].cancel()


class _Body:
    """The body of an answer. However it ends, the connection behind it does too."""

    def __init__(self, content: AsyncGenerator[bytes, None], close: Callable[[], None]) -> None:
        self._content = content
        self._close = close
        self._on_end: Callable[[], None] | None = None

    def when_ended(self, callback: Callable[[], None]) -> None:
        """Call it once, when the body has ended or its reader has gone."""
        self._on_end = callback

    def __aiter__(self) -> _Body:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._content)

    async def aclose(self) -> None:
        """Nothing more is read."""
        self._close()
        await self._content.aclose()
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end()


async def _read_content(reader: asyncio.StreamReader, framing: Framing, length: int) -> AsyncGenerator[bytes, None]:
    """What is in the body's frames, as it comes. Raises BrokenStream when it stops before its end."""
    unchunker = Unchunker()
    try:
        while framing is not Framing.NONE:
            if (framing is Framing.LENGTH and not length) or unchunker.is_done:
                return
            data = await reader.read(min(length, _PIECE_BYTES) if framing is Framing.LENGTH else _PIECE_BYTES)
            if not data:
                if framing is Framing.CLOSE:
                    return
                raise BrokenStream("the backend has gone in the middle of its answer")
            length -= len(data)
            if framing is Framing.CHUNKED:
                data = unchunker.feed(data)
            if data:
                yield data
    except (OSError, WireError) as error:
        raise BrokenStream(str(error)) from None


async def _transform(content: AsyncGenerator[bytes, None], transformer: Transformer) -> AsyncGenerator[bytes, None]:
    try:
        async with contextlib.aclosing(content):
            async for data in content:
                for piece in transformer.feed(data):
                    yield piece
                if rest := transformer.flush():
                    yield rest
    except ValueError as error:
        raise BrokenStream(f"compressed HTML: {error}") from None
    if rest := transformer.finish():
        yield rest


def _look_at(upload: asyncio.Task[None]) -> None:
    """A body that breaks after the answer has begun is told by the connection, to both sides."""
    if not upload.cancelled():
        upload.exception()


def _unreachable(text: str) -> ServiceUnavailable:
    return ServiceUnavailable(f"error trying to reach service: {text}")


def _describe(error: BaseException) -> str:
    """The fault in words that operators know from upstream."""
    if isinstance(error, TimeoutError):
        return "i/o timeout"
    if isinstance(error, ssl.SSLError):
        return f"tls: {error.reason or error}"
    if isinstance(error, OSError) and error.errno:
        return f"connect: {os.strerror(error.errno).lower()}"
    return str(error) or type(error).__name__
