"""The DNS relay: the only way out of a sandbox, and only for DNS messages to the host's own resolvers.

Inside, the DNS piece opens the unix socket and speaks DNS over a stream (two-byte length, RFC 1035 §4.2.2);
outside, each message goes to an upstream by the ordinary forwarder.
"""

from __future__ import annotations

import asyncio
import logging
import os
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

from seaway.dns.forwarding.config import Block, CacheConfig, Policy, RouteConfig
from seaway.dns.forwarding.forward import Ask, Forwarder, ForwardError
from seaway.dns.forwarding.upstreams import parse_upstreams
from seaway.dns.message import AD, CD, RD, WireError
from seaway.dns.wire import MAX_TCP_BYTES, Query, assemble, decode_query, encode_relayed

log = logging.getLogger(__name__)

IDLE_SECONDS = 60.0
MAX_INFLIGHT = 256

Forward = Callable[[bytes], Awaitable[bytes]]


def make_forward(upstreams: tuple[str, ...]) -> Forward:
    """One message in, one answer out, by the forwarder of the DNS piece. Raises ForwardError; for junk, WireError."""
    routes = (RouteConfig(parse_upstreams(upstreams, listen=()), policy=Policy.SEQUENTIAL),) if upstreams else ()
    forwarder = Forwarder(Block(routes=routes, cache=CacheConfig()))

    async def forward(data: bytes) -> bytes:
        query = decode_query(data)
        if not isinstance(query, Query):
            raise WireError("no query")
        ask = Ask(query.question, query.flags & (RD | CD | AD), bool(query.edns and query.edns.dnssec_ok))
        message, ttl_seconds = await forwarder.ask(ask)
        reply = encode_relayed(query, message, ttl_seconds=ttl_seconds, max_bytes=MAX_TCP_BYTES)
        return assemble(data[:2], query.question, reply)

    return forward


async def run_relay(path: Path, upstreams: tuple[str, ...], *, on_ready: Callable[[], None]) -> None:
    """Serve until cancelled. upstreams: the host's resolvers."""
    forward = make_forward(upstreams)
    path.unlink(missing_ok=True)
    limit = asyncio.Semaphore(MAX_INFLIGHT)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _serve_stream(reader, writer, forward, limit)

    mask = os.umask(0o177)
    try:
        server = await asyncio.start_unix_server(serve, path)
    finally:
        os.umask(mask)
    on_ready()
    try:
        await server.serve_forever()
    finally:
        path.unlink(missing_ok=True)


async def _serve_stream(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, forward: Forward, limit: asyncio.Semaphore
) -> None:
    tasks: set[asyncio.Task[None]] = set()

    async def answer(message: bytes) -> None:
        try:
            reply = await forward(message)
        except (ForwardError, WireError, OSError) as error:
            log.info("event=unanswered reason=%r", str(error))
            return  # the asker's own time limit speaks
        finally:
            limit.release()
        writer.write(struct.pack("!H", len(reply)) + reply)

    try:
        while True:
            async with asyncio.timeout(IDLE_SECONDS):
                (size,) = struct.unpack("!H", await reader.readexactly(2))
                message = await reader.readexactly(size)
            await limit.acquire()
            task = asyncio.create_task(answer(message))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
    except (asyncio.IncompleteReadError, TimeoutError, ConnectionError, asyncio.CancelledError):
        pass  # the asker is done, or we are; Python 3.11's stream callback stumbles over a cancelled task
    finally:
        for task in tasks:
            task.cancel()
        writer.close()
