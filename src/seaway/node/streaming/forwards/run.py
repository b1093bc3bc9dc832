"""Makes the connections into a Pod's loopback, and copies both ways, over streams or over messages.

Over one client connection many TCP connections pass, and there is no flow control: while one of them cannot take what
the client sends, nothing more is read from the client. Rule: spec "node" §5.7.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Coroutine, Sequence
from typing import Any

from aiohttp import WSMsgType, web

from seaway.node.runtime.contract import ContainerError, Runtime
from seaway.node.streaming.forwards.protocol import ForwardRefused, Pair, Pairing, describe_failure
from seaway.node.streaming.protocol import decode_message, encode_message
from seaway.node.streaming.spdy import Data, Event, GoneAway, Opened, Pinged, Reset, SpdyConnection, SpdyError
from seaway.node.streaming.transport import Bytes

log = logging.getLogger(__name__)

PAIR_SECONDS = 30.0
DIAL_SECONDS = 30.0
PIECE_BYTES = 1 << 15
Link = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def dial(runtime: Runtime, uid: str, port: int) -> Link:
    """A connection to the Pod's own loopback: IPv4, then IPv6. Raises OSError, ContainerError."""
    loop = asyncio.get_running_loop()
    first, second = await runtime.open_sockets(uid)
    address, *others = runtime.find_loopbacks(uid)
    try:
        async with asyncio.timeout(DIAL_SECONDS):
            try:
                await loop.sock_connect(first, (address, port))
                chosen, other = first, second
            except OSError as error:
                if not others:
                    raise
                try:
                    await loop.sock_connect(second, (others[0], port))
                except OSError:
                    raise error from None
                chosen, other = second, first
        other.close()
        return await asyncio.open_connection(sock=chosen)
    except BaseException:
        first.close()
        second.close()
        raise


def describe(error: BaseException) -> str:
    """The fault in the words that clients know."""
    if isinstance(error, TimeoutError):
        return "i/o timeout"
    if isinstance(error, OSError) and error.errno:
        return f"connect: {os.strerror(error.errno).lower()}"
    return str(error) or type(error).__name__


class StreamForwarder:
    """One client connection over SPDY."""

    def __init__(self, runtime: Runtime, uid: str, pod: str, connection: Bytes) -> None:
        self._runtime = runtime
        self._uid = uid
        self._pod = pod
        self._connection = connection
        self._spdy = SpdyConnection()
        self._pairing = Pairing()
        self._inputs: dict[int, asyncio.Queue[Data | None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until the client has gone."""
        try:
            while data := await self._connection.read():
                for event in self._spdy.feed(data):
                    await self._take(event)
        except (SpdyError, ConnectionError) as error:
            log.info("portforward pod=%s ended=%r", self._pod, str(error))
        finally:
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _take(self, event: Event) -> None:
        match event:
            case Opened():
                await self._open(event)
            case Data(stream) if stream in self._inputs:
                await self._inputs[stream].put(event)
            case Reset(stream):
                self._pairing.drop(stream)
                if stream in self._inputs:
                    await self._inputs[stream].put(None)
            case Pinged(frame):
                await self._connection.write(frame)
            case GoneAway():
                pass  # what is open goes on

    async def _open(self, opened: Opened) -> None:
        try:
            pair = self._pairing.take(opened.stream, opened.headers)
        except ForwardRefused as error:
            log.info("portforward pod=%s stream=%d refused=%r", self._pod, opened.stream, str(error))
            await self._connection.write(self._spdy.reset(opened.stream))
            return
        await self._connection.write(self._spdy.reply(opened.stream))
        if pair is None:
            self._spawn(self._expire(opened))
            return
        self._inputs[pair.data] = asyncio.Queue(1)
        self._spawn(self._forward(pair))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _expire(self, opened: Opened) -> None:
        """A stream whose other half does not come."""
        await asyncio.sleep(PAIR_SECONDS)
        self._pairing.drop(opened.stream)

    async def _forward(self, pair: Pair) -> None:
        spdy, connection = self._spdy, self._connection
        try:
            reader, writer = await dial(self._runtime, self._uid, pair.port)
        except (OSError, ContainerError) as error:
            text = describe_failure(pair.port, self._pod, describe(error))
            del self._inputs[pair.data]
            frames = (spdy.data(pair.error, text, ends=True), spdy.reset(pair.data), spdy.reset(pair.error))
            await connection.write(b"".join(frames))
            return
        sending = asyncio.ensure_future(self._send(pair, writer))
        try:
            while data := await reader.read(PIECE_BYTES):
                await connection.write(spdy.data(pair.data, data))
            await connection.write(spdy.data(pair.data, b"", ends=True) + spdy.data(pair.error, b"", ends=True))
            await sending
        except ConnectionError:
            with contextlib.suppress(ConnectionError):
                await connection.write(spdy.reset(pair.data) + spdy.reset(pair.error))
        finally:
            sending.cancel()
            writer.close()
            queue = self._inputs.pop(pair.data)
            while not queue.empty():
                queue.get_nowait()  # who waits to put more may go on
            spdy.forget(pair.data)
            spdy.forget(pair.error)

    async def _send(self, pair: Pair, writer: asyncio.StreamWriter) -> None:
        """What the client says goes to the Pod, until it has said all. A Pod that has gone hears nothing more."""
        queue = self._inputs[pair.data]
        while (event := await queue.get()) is not None:
            with contextlib.suppress(ConnectionError):
                writer.write(event.data)
                await writer.drain()
                if event.is_ended:
                    writer.write_eof()
                    return
        writer.transport.abort()  # the client gave the stream up


async def forward_messages(
    runtime: Runtime, uid: str, pod: str, ports: Sequence[int], socket: web.WebSocketResponse, protocol: str
) -> None:
    """One connection for each port, over two channels each: data, and errors. Begins with the ports themselves."""
    writers: dict[int, asyncio.StreamWriter] = {}
    tasks: list[asyncio.Task[None]] = []

    async def send(channel: int, data: bytes) -> None:
        message = encode_message(protocol, channel, data)
        await (socket.send_str(message) if isinstance(message, str) else socket.send_bytes(message))

    async def copy(index: int, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(PIECE_BYTES):
                await send(2 * index, data)

    try:
        for index, port in enumerate(ports):
            for channel in (2 * index, 2 * index + 1):
                await send(channel, port.to_bytes(2, "little"))
        for index, port in enumerate(ports):
            try:
                reader, writers[2 * index] = await dial(runtime, uid, port)
            except (OSError, ContainerError) as error:
                await send(2 * index + 1, describe_failure(port, pod, describe(error)))
                continue
            tasks.append(asyncio.ensure_future(copy(index, reader)))
        await _listen(socket, protocol, writers, tasks)
    finally:
        for task in tasks:
            task.cancel()
        for writer in writers.values():
            writer.close()


async def _listen(
    socket: web.WebSocketResponse,
    protocol: str,
    writers: dict[int, asyncio.StreamWriter],
    tasks: Sequence[asyncio.Task[None]],
) -> None:
    """What the client says, until it has gone or no connection is left."""
    over = asyncio.gather(*tasks)
    while True:
        receiving = asyncio.ensure_future(socket.receive())
        await asyncio.wait((receiving, over), return_when=asyncio.FIRST_COMPLETED)
        if not receiving.done():
            receiving.cancel()
            return
        message = receiving.result()
        if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
            return
        found = decode_message(protocol, message.data)
        if found is not None and found[0] in writers:
            with contextlib.suppress(ConnectionError):
                writers[found[0]].write(found[1])
                await writers[found[0]].drain()
