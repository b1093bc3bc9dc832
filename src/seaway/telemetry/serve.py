"""Listens for those who look after a piece: `/metrics`, `/healthz`, `/livez`, `/readyz` over plain HTTP.

Nothing here is secret, and nothing can be changed; still it listens on loopback unless it is told otherwise. Few ask,
seldom: one request per connection, a handful of connections, each with a deadline, and nothing of a body is read.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping

from seaway.net.errors import OperationalError
from seaway.telemetry.metrics import Metrics
from seaway.telemetry.page import BAD_REQUEST, answer_request, encode_answer

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 32
"""Who comes beyond them is let go without a word."""
MAX_HEADER_BYTES = 16 << 10
REQUEST_SECONDS = 10.0

Checks = Callable[[], Mapping[str, str | None]]


@contextlib.asynccontextmanager
async def serve_telemetry(host: str, port: int, metrics: Metrics, checks: Checks) -> AsyncIterator[int]:
    """Answer while the block runs; yields the port. port: 0 takes a free one. Raises OperationalError.

    checks: by name, None when all is well, else the reason, which the log learns.
    """
    conversations: set[asyncio.Task[None]] = set()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(conversations) >= MAX_CONNECTIONS:
            writer.close()
            return
        conversations.add(task)
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                writer.write(await _answer(reader, metrics, checks))
                await writer.drain()
        except (TimeoutError, ConnectionError):
            pass
        finally:
            conversations.discard(task)
            writer.close()

    try:
        server = await asyncio.start_server(converse, host, port, limit=MAX_HEADER_BYTES, backlog=MAX_CONNECTIONS)
    except OSError as error:
        text = f"metrics on {host}:{port}: {error.strerror}; give another address, or none"
        raise OperationalError(text) from error
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for task in conversations:
            task.cancel()
        await asyncio.gather(*conversations, return_exceptions=True)


async def _answer(reader: asyncio.StreamReader, metrics: Metrics, checks: Checks) -> bytes:
    try:
        header = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return BAD_REQUEST
    answer = answer_request(header, metrics, checks)
    if answer.code == 500:
        failed = " ".join(f"{name}={why!r}" for name, why in checks().items() if why is not None)
        log.warning("health failed %s", failed)
    return encode_answer(answer)
