"""Connections that leave HTTP for a protocol of others: after the 101 their bytes are nobody's business here."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol, cast

from aiohttp import web

_PIECE_BYTES = 64 << 10


class Taken(web.StreamResponse):
    """What aiohttp is told of a connection that was taken from it: all is sent, and there is no next request."""

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


class LeavesHttp(Protocol):
    """A connection of aiohttp's that can be taken from it."""

    transport: asyncio.Transport | None

    def leave_http(self, parser: Any) -> None:
        """What comes from now on is the parser's, also what has come behind the request."""

    async def _drain_helper(self) -> None: ...


class TunnelPeer:
    """The bytes both ways over the connection of a request. headers: of the 101."""

    def __init__(self, connection: LeavesHttp, headers: Sequence[tuple[str, str]]) -> None:
        self._connection = connection
        self._headers = headers
        self._reader = asyncio.StreamReader(limit=_PIECE_BYTES)

    async def open(self) -> None:
        """Send the 101; what comes from now on, and what has come behind the request, is the tunnel's."""
        connection = self._connection
        transport = connection.transport
        if transport is None:
            raise ConnectionResetError("the client has gone")
        self._reader.set_transport(transport)
        connection.leave_http(cast(Any, self))
        lines = ["HTTP/1.1 101 Switching Protocols", *(f"{name}: {value}" for name, value in self._headers)]
        transport.write("\r\n".join((*lines, "", "")).encode("utf-8", "surrogateescape"))

    async def read(self) -> bytes:
        """What has come; empty at the end."""
        return await self._reader.read(_PIECE_BYTES)

    async def write(self, data: bytes) -> None:
        """Send, and wait while the client is slow."""
        transport = self._connection.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has gone")
        transport.write(data)
        await self._connection._drain_helper()

    def close(self) -> None:
        """When what was written is sent. Safe to repeat."""
        if self._connection.transport is not None:
            self._connection.transport.close()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Called by aiohttp in place of its parser."""
        self._reader.feed_data(data)
        return False, b""

    def feed_eof(self) -> None:
        """The client has gone."""
        self._reader.feed_eof()
