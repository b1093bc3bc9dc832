"""WebSockets: the handshake, messages, and the end. Rule: spec "api-machinery" §7.5; RFC 6455."""

from __future__ import annotations

import asyncio
import contextlib

from aiohttp import WSMsgType, web
from multidict import CIMultiDict

from seaway.api.machinery.http import Messages, Response, Upgrade

MAX_MESSAGE_BYTES = 1 << 20
"""Of a client: what it says to a watch is dropped, and channels carry small pieces."""
CLOSE_SECONDS = 2.0
_HANDSHAKE = frozenset(("upgrade", "connection", "sec-websocket-accept", "sec-websocket-protocol", "content-type"))


class _Peer:
    """`Messages` over aiohttp's WebSocket."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket

    async def send(self, message: str | bytes) -> None:
        if isinstance(message, str):
            await self._socket.send_str(message)
        else:
            await self._socket.send_bytes(message)

    async def receive(self) -> str | bytes | None:
        message = await self._socket.receive()
        if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
            text: str | bytes = message.data
            return text
        return None


async def converse(
    wire: web.BaseRequest, response: Response, upgrade: Upgrade, offered: tuple[str, ...]
) -> web.StreamResponse:
    """Shake hands, hold the conversation, close. The peer's end ends the conversation, and the other way round."""
    chosen = next((name for name in upgrade.protocols or offered if name in offered), "")
    socket = web.WebSocketResponse(
        protocols=(chosen,) if chosen else (), compress=False, max_msg_size=MAX_MESSAGE_BYTES, timeout=CLOSE_SECONDS
    )
    socket.headers.extend(CIMultiDict((k, v) for k, v in response.headers if k.lower() not in _HANDSHAKE))
    await socket.prepare(wire)
    peer: Messages = _Peer(socket)
    if upgrade.listens:
        await upgrade.converse(peer)
    else:
        await _speak_only(upgrade, peer)
    with contextlib.suppress(ConnectionError):
        await socket.close()
    return socket


async def _speak_only(upgrade: Upgrade, peer: Messages) -> None:
    """The conversation, and beside it someone who reads what nobody wants, until the peer closes."""
    speaking = asyncio.ensure_future(upgrade.converse(peer))
    listening = asyncio.ensure_future(_drop_all(peer))
    try:
        await asyncio.wait((speaking, listening), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (speaking, listening):
            task.cancel()
        results = await asyncio.gather(speaking, listening, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception) and not isinstance(result, ConnectionError):
            raise result


async def _drop_all(peer: Messages) -> None:
    while await peer.receive() is not None:
        pass
