"""Requests that leave HTTP: what a WebSocket is to a watch, and later to exec, attach and port-forward.

A verb answers a `Response` with status 101 and an `Upgrade`: the subprotocols that it speaks, and the conversation that
it holds once the connection is there. A watch need not know: `watch_by_messages` makes an upgrade of
its stream. Frames, pings and closing are `serving/websocket.py`'s business.
Rule: spec "api-machinery" §7.5, §9.4; §10.1 (the token among the subprotocols, which is not said back).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from urllib.parse import urlsplit

from seaway.api.machinery.http import Messages, Response, Upgrade

TOKEN_PROTOCOL = "base64url.bearer.authorization.k8s.io."


def wants_websocket(headers: Mapping[str, str]) -> bool:
    """Whether the request asks for a WebSocket."""
    if headers.get("upgrade", "").lower() != "websocket":
        return False
    return "upgrade" in (part.strip() for part in headers.get("connection", "").lower().split(","))


def is_valid_origin(origin: str) -> bool:
    """A browser says where its page comes from; a WebSocket without that is refused. Rule: §7.5."""
    try:
        parts = urlsplit(origin)
        return bool(parts.scheme and parts.hostname) and parts.port != 0  # a port that is no number raises
    except ValueError:
        return False


def list_protocols(headers: Mapping[str, str]) -> tuple[str, ...]:
    """The subprotocols that the client offers, without the one that is a token."""
    offered = (part.strip() for part in headers.get("sec-websocket-protocol", "").split(","))
    return tuple(name for name in offered if name and not name.startswith(TOKEN_PROTOCOL))


def watch_by_messages(response: Response) -> Response:
    """The answer that sends each line of the stream as a text message of its own."""
    lines = response.body
    assert not isinstance(lines, bytes)

    async def converse(peer: Messages) -> None:
        await send_lines(lines, peer)

    return Response(101, response.headers, upgrade=Upgrade(converse))


async def send_lines(chunks: AsyncIterator[bytes], peer: Messages) -> None:
    """Each line is one message, without its end."""
    async for chunk in chunks:
        for line in chunk.splitlines():
            await peer.send(line.decode())
