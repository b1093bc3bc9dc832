"""Two ways to speak with a client about one program: messages of a WebSocket, and streams of SPDY.

Both give what the client says as values, and take output and the ending. A client that has gone is None when it is
listened to, and ConnectionError when it is spoken to.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Protocol

from aiohttp import WSMsgType, web

from seaway.node.streaming.protocol import (
    CLOSE_CHANNEL,
    Channel,
    Ending,
    Input,
    Resize,
    Wanted,
    decode_message,
    encode_ending,
    encode_message,
    parse_sizes,
)
from seaway.node.streaming.spdy import CANCEL, Data, GoneAway, Opened, Pinged, Reset, SpdyConnection, SpdyError

OPEN_SECONDS = 30.0
"""For a client to open its streams."""
CLOSE_SECONDS = 10.0
MAX_MESSAGE_BYTES = 1 << 20


class Bytes(Protocol):
    """A connection: bytes both ways."""

    async def read(self) -> bytes:
        """What has come; empty at the end."""

    async def write(self, data: bytes) -> None:
        """Waits while the peer is slow. Raises ConnectionError."""


class CommandPeer(Protocol):
    """The client of one program."""

    async def receive(self) -> Input | Resize | None:
        """What it says next."""

    async def send(self, channel: Channel, data: bytes) -> None:
        """Output."""

    async def finish(self, ending: Ending) -> None:
        """How the program ended, and the end of the connection."""


class MessagePeer:
    """Over a WebSocket; the handshake is done."""

    def __init__(self, socket: web.WebSocketResponse, protocol: str, wanted: Wanted) -> None:
        self._socket = socket
        self._protocol = protocol
        self._wanted = wanted

    async def greet(self) -> None:
        """An empty message says that all is ready."""
        wanted = self._wanted
        first = Channel.STDOUT if wanted.stdout else Channel.STDERR if wanted.stderr else Channel.ERROR
        await self.send(first, b"")

    async def receive(self) -> Input | Resize | None:
        while True:
            message = await self._socket.receive()
            if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
                return None
            found = decode_message(self._protocol, message.data)
            if found is None:
                continue
            channel, data = found
            if channel == Channel.STDIN and data:
                return Input(data)
            if channel == CLOSE_CHANNEL and data == bytes((Channel.STDIN,)):
                return Input(b"")
            if channel == Channel.RESIZE:
                sizes, _ = parse_sizes(data.decode("utf-8", "replace"))
                if sizes:
                    return sizes[-1]

    async def send(self, channel: Channel, data: bytes) -> None:
        message = encode_message(self._protocol, channel, data)
        if isinstance(message, str):
            await self._socket.send_str(message)
        else:
            await self._socket.send_bytes(message)

    async def finish(self, ending: Ending) -> None:
        text = encode_ending(self._protocol, ending)
        async with asyncio.timeout(CLOSE_SECONDS):
            if text:
                await self.send(Channel.ERROR, text)
            await self._socket.close()


class StreamPeer:
    """Over SPDY. `open` waits for the client's streams."""

    def __init__(self, connection: Bytes, protocol: str, wanted: Wanted) -> None:
        self._connection = connection
        self._protocol = protocol
        self._wanted = wanted
        self._spdy = SpdyConnection()
        self._streams: dict[Channel, int] = {}
        self._events: deque[Input | Resize] = deque()
        self._sizes = ""

    async def open(self) -> None:
        """Raises TimeoutError when the client does not open what it asked for, ConnectionError when it has gone."""
        missing = set(self._wanted.channels)
        if self._protocol in ("v2.channel.k8s.io", "channel.k8s.io"):
            missing.discard(Channel.RESIZE)
        async with asyncio.timeout(OPEN_SECONDS):
            while not missing <= set(self._streams):
                if not await self._take_more():
                    raise ConnectionResetError("the client has gone")

    async def receive(self) -> Input | Resize | None:
        while not self._events:
            if not await self._take_more():
                return None
        return self._events.popleft()

    async def send(self, channel: Channel, data: bytes) -> None:
        if data:
            await self._connection.write(self._spdy.data(self._streams[channel], data))

    async def finish(self, ending: Ending) -> None:
        spdy, streams = self._spdy, self._streams
        frames = [spdy.data(streams[Channel.ERROR], encode_ending(self._protocol, ending), ends=True)]
        frames += [
            spdy.data(streams[channel], b"", ends=True)
            for channel in (Channel.STDOUT, Channel.STDERR)
            if channel in streams
        ]
        frames += [spdy.reset(streams[c]) for c in (Channel.STDIN, Channel.RESIZE) if c in streams]
        await self._connection.write(b"".join((*frames, spdy.go_away())))

    async def _take_more(self) -> bool:
        """False: the client has gone, or speaks nonsense."""
        data = await self._connection.read()
        if not data:
            return False
        try:
            events = self._spdy.feed(data)
        except SpdyError:
            return False
        for event in events:
            match event:
                case Opened():
                    await self._take_stream(event)
                case Data():
                    self._take_data(event)
                case Reset(stream) if stream == self._streams.get(Channel.ERROR):
                    return False
                case GoneAway():
                    return False
                case Pinged(frame):
                    await self._connection.write(frame)
        return True

    async def _take_stream(self, opened: Opened) -> None:
        name = opened.headers.get("streamtype", "").upper()
        channel = Channel.__members__.get(name)
        if channel is None or channel in self._streams or channel not in self._wanted.channels:
            await self._connection.write(self._spdy.reset(opened.stream, CANCEL))
            return
        self._streams[channel] = opened.stream
        await self._connection.write(self._spdy.reply(opened.stream))
        if channel is Channel.STDIN and opened.is_ended:
            self._events.append(Input(b""))

    def _take_data(self, event: Data) -> None:
        if event.stream == self._streams.get(Channel.STDIN):
            if event.data:
                self._events.append(Input(event.data))
            if event.is_ended:
                self._events.append(Input(b""))
        elif event.stream == self._streams.get(Channel.RESIZE):
            sizes, self._sizes = parse_sizes(self._sizes + event.data.decode("utf-8", "replace"))
            self._events.extend(sizes[-1:])


class MessageBytes:
    """`Bytes` in the binary messages of a WebSocket."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket

    async def read(self) -> bytes:
        while True:
            message = await self._socket.receive()
            if message.type is not WSMsgType.BINARY:
                return b""
            if message.data:
                data: bytes = message.data
                return data

    async def write(self, data: bytes) -> None:
        await self._socket.send_bytes(data)

    async def close(self) -> None:
        with contextlib.suppress(ConnectionError):
            await self._socket.close()
