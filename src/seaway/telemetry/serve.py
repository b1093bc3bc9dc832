"""Listens for those who look after a piece: `/metrics`, `/healthz`, `/livez`, `/readyz` over plain HTTP.

Nothing here is secret, and nothing can be changed; still it listens on loopback unless it is told otherwise. Few ask,
seldom: one request per connection, a handful of connections, each with a deadline, and nothing of a body is read.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from seaway.net.errors import OperationalError
from seaway.telemetry.metrics import Metrics
from seaway.telemetry.page import BAD_REQUEST, Answer, answer_request, encode_answer

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 32
"""Who comes beyond them is let go without a word."""
MAX_HEADER_BYTES = 16 << 10
REQUEST_SECONDS = 10.0

Checks = Callable[[], Mapping[str, str | None]]
Reply = Callable[[bytes], Answer | Awaitable[Answer]]


@contextlib.asynccontextmanager
async def serve_telemetry(host: str, port: int, metrics: Metrics, checks: Checks) -> AsyncIterator[int]:
    """Answer while the block runs; yields the port. port: 0 takes a free one. Raises OperationalError.

    checks: by name, None when all is well, else the reason, which the log learns.
    """

    def answer(header: bytes) -> Answer:
        found = answer_request(header, metrics, checks)
        if found.code == 500:
            failed = " ".join(f"{name}={why!r}" for name, why in checks().items() if why is not None)
            log.warning("health failed %s", failed)
        return found

    try:
        server = await open_pages(host, port, answer)
    except OSError as error:
        text = f"metrics on {host}:{port}: {error.strerror}; give another address, or none"
        raise OperationalError(text) from error
    try:
        yield server.port
    finally:
        await server.close()


class PageServer:
    """One listening address, and the conversations that it has."""

    def __init__(self, answer: Reply) -> None:
        """answer: to the header of a request; only one who is awaited may take its time."""
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._is_closing = False
        self._conversations: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def port(self) -> int:
        """The port that it listens on."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def open(self, host: str, port: int) -> None:
        """Listen. Raises OSError."""
        self._server = await asyncio.start_server(
            self._converse, host, port, limit=MAX_HEADER_BYTES, backlog=MAX_CONNECTIONS
        )

    async def close(self) -> None:
        """Listen no more, and let everybody go."""
        self._is_closing = True
        if self._server is not None:
            loop = asyncio.get_running_loop()
            if isinstance(loop, asyncio.SelectorEventLoop):
                # A connection that is being accepted while the server closes would never be closed itself.
                for sock in self._server.sockets:
                    loop.remove_reader(sock.fileno())
                await asyncio.sleep(0)
            self._server.close()
        for writer in self._conversations.values():
            writer.transport.abort()
        if self._conversations:
            await asyncio.wait(self._conversations)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self._is_closing or len(self._conversations) >= MAX_CONNECTIONS:
            writer.close()
            return
        self._conversations[task] = writer
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                writer.write(await self._reply(reader))
                await writer.drain()
        except (TimeoutError, ConnectionError):
            pass
        finally:
            del self._conversations[task]
            writer.close()

    async def _reply(self, reader: asyncio.StreamReader) -> bytes:
        try:
            header = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return BAD_REQUEST
        answer = self._answer(header)
        return encode_answer(answer if isinstance(answer, Answer) else await answer)


async def open_pages(host: str, port: int, answer: Reply) -> PageServer:
    """A server that answers until it is closed. port: 0 takes a free one. Raises OSError."""
    server = PageServer(answer)
    await server.open(host, port)
    return server
