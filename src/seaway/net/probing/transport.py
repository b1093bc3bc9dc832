"""The connections of probes: one for each try, no proxy, none kept, TLS unverified, few bytes read.

Raises OSError, ValueError or asyncio.IncompleteReadError for whatever a peer does wrong; time limits are the caller's.
"""

from __future__ import annotations

import asyncio
import functools
import os
import ssl

from seaway.net.probing.grpc import HealthCall
from seaway.net.probing.http import HTTPTarget, parse_head, render_request

MAX_HEAD_BYTES = 64 * 1024
_PIECE_BYTES = 16 * 1024


def describe(error: Exception) -> str:
    """The system's own words; asyncio's name the address, which is said already."""
    if isinstance(error, OSError) and error.errno and not isinstance(error, ssl.SSLError):
        return f"connect: {os.strerror(error.errno).lower()}"
    if isinstance(error, asyncio.IncompleteReadError):
        return "the connection ended before the answer"
    return str(error) or type(error).__name__


async def connect(host: str, port: int) -> None:
    """Returns when a connection stood, which is closed again."""
    _, writer = await asyncio.open_connection(host, port)
    close(writer)


async def exchange(target: HTTPTarget, agent: str, *, max_body_bytes: int) -> tuple[int, str, bytes]:
    """Status, location and the beginning of the body."""
    context = _make_context() if target.scheme == "https" else None
    reader, writer = await asyncio.open_connection(target.host, target.port, ssl=context, limit=MAX_HEAD_BYTES)
    try:
        writer.write(render_request(target, agent))
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        status, location, length = parse_head(head)
        body = await _read_body(reader, max_body_bytes if length is None else min(length, max_body_bytes))
        return status, location, body
    except asyncio.LimitOverrunError as error:
        raise ValueError("malformed HTTP response: the head is too long") from error
    finally:
        close(writer)


async def call_health(host: str, port: int, call: HealthCall) -> str:
    """What the health service says is wrong; empty when it serves. `call` is a new one."""
    reader, writer = await asyncio.open_connection(host, port, limit=MAX_HEAD_BYTES)
    try:
        writer.write(call.start())
        while call.verdict is None:
            piece = await reader.read(_PIECE_BYTES)
            writer.write(call.receive(piece) if piece else call.end())
        return call.verdict
    finally:
        close(writer)


def close(writer: asyncio.StreamWriter) -> None:
    """Without SO_LINGER: a lingering close blocks the whole loop."""
    writer.close()


@functools.cache
def _make_context() -> ssl.SSLContext:
    """One for all: whose certificate it is does not matter, so none of the system's are loaded."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def _read_body(reader: asyncio.StreamReader, max_bytes: int) -> bytes:
    """A server that ends early does not fail the probe."""
    try:
        return await reader.readexactly(max_bytes)
    except asyncio.IncompleteReadError as error:
        return error.partial
