"""The leader's and the followers' ends of the connection between them.

The leader listens on a Unix socket in the abstract name space, which ends with it, and lets in only processes of its
own user. Each follower has a queue: what is in it when the follower connected is the whole state. A follower that does
not keep up is let go, and begins anew; one that loses the leader goes on with what it knows, and connects again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable

import msgspec

from seaway.dns.workers.changes import MAX_FRAME_BYTES, Counted, ObjectChange, Signal, Word, WordDecoder, encode_word
from seaway.telemetry.exposition import Family
from seaway.telemetry.merging import decode_families

log = logging.getLogger(__name__)

MAX_WAITING = 1_000_000
"""Frames for one follower."""
BYTES_PER_WRITE = 1 << 18
COUNT_SECONDS = 2.0
"""What a follower gets to say what it has counted; then the page is without it."""
CONNECT_SECONDS = 0.1


class Hub:
    """The leader's end. `name` of the socket; `list_all`: the state now, as changes from nothing."""

    def __init__(self, name: str, followers: int, list_all: Callable[[], Iterable[ObjectChange]]) -> None:
        self._name = name
        self._list_all = list_all
        self._links: set[_Link] = set()
        self._missing = followers
        self._is_synced = False
        self._all_ready = asyncio.Event()

    async def run(self) -> None:
        """Take followers in until cancelled. Raises OSError when the name is taken."""
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.bind("\0" + self._name)
            server = await asyncio.start_unix_server(self._converse, sock=sock)
        except BaseException:
            sock.close()
            raise
        try:
            async with server:
                await server.serve_forever()
        finally:
            for link in tuple(self._links):
                link.end()

    async def wait_ready(self) -> None:
        """Returns when all followers have been ready at once."""
        await self._all_ready.wait()

    def publish(self, word: ObjectChange | Signal) -> None:
        """Tell all of them; costs nothing while there are none."""
        self._is_synced = self._is_synced or word is Signal.SYNCED
        if self._links:
            frame = encode_word(word)
            for link in tuple(self._links):
                link.send(frame)

    async def collect(self) -> list[list[Family]]:
        """What the followers have counted, of each that answers in time."""
        asked = [(link, link.ask()) for link in self._links]
        if asked:
            await asyncio.wait([future for _, future in asked], timeout=COUNT_SECONDS)
        for _, future in asked:
            future.cancel()
        return [decode_families(f.result().families) for _, f in asked if not f.cancelled() and not f.exception()]

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if _find_user(writer) != os.getuid():
            writer.close()
            return
        link = _Link(task, self._list_all(), is_synced=self._is_synced)
        self._links.add(link)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(link.write(writer))
                async for word in _read(reader, WordDecoder()):
                    self._take(link, word)
                raise EOFError
        except* (OSError, EOFError, ValueError, msgspec.MsgspecError):
            log.warning("workers: a follower has gone")
        finally:
            self._links.discard(link)
            writer.close()

    def _take(self, link: _Link, word: Word) -> None:
        if word is Signal.READY:
            link.is_ready = True
            if sum(each.is_ready for each in self._links) >= self._missing:
                self._all_ready.set()
        elif isinstance(word, Counted):
            link.take_count(word)


class _Link:
    """One follower: the frames that it has yet to get."""

    def __init__(self, task: asyncio.Task[None], state: Iterable[ObjectChange], *, is_synced: bool) -> None:
        self.is_ready = False
        self._task = task
        self._state = state
        self._frames = deque([encode_word(Signal.SYNCED)] if is_synced else ())
        self._wake = asyncio.Event()
        self._asked: list[asyncio.Future[Counted]] = []

    def send(self, frame: bytes) -> None:
        """Later, in order."""
        if len(self._frames) >= MAX_WAITING:
            log.warning("workers: a follower does not keep up; it begins anew")
            self.end()
            return
        self._frames.append(frame)
        self._wake.set()

    def ask(self) -> asyncio.Future[Counted]:
        """What it has counted."""
        future: asyncio.Future[Counted] = asyncio.get_running_loop().create_future()
        self._asked.append(future)
        self.send(encode_word(Signal.COUNT))
        return future

    def take_count(self, counted: Counted) -> None:
        """The answer to the oldest question."""
        if self._asked and not (future := self._asked.pop(0)).done():
            future.set_result(counted)

    def end(self) -> None:
        self._task.cancel()

    async def write(self, writer: asyncio.StreamWriter) -> None:
        """The state first, in pieces, so that others get their turn in between; then what happens."""
        waiting = bytearray()
        for change in self._state:
            waiting += encode_word(change)
            if len(waiting) >= BYTES_PER_WRITE:
                writer.write(waiting)
                await writer.drain()
                await asyncio.sleep(0)
                waiting = bytearray()
        writer.write(waiting)
        self._state = ()
        while True:
            while self._frames:
                writer.write(self._frames.popleft())
                if not len(self._frames) % 64:
                    await writer.drain()
            self._wake.clear()
            await self._wake.wait()


class Leader:
    """A follower's end: words as they come, from a connection that is made again when it breaks."""

    def __init__(self, name: str, *, has_details: bool) -> None:
        self._name = name
        self._decoder = WordDecoder(has_details=has_details)
        self._writer: asyncio.StreamWriter | None = None

    async def connect(self) -> AsyncIterator[Word]:
        """Wait for the leader; then its words, of which the whole state comes first, until it is gone."""
        while True:
            sock = socket.socket(socket.AF_UNIX)  # libuv would read an abstract name as an empty one
            try:
                sock.setblocking(False)
                sock.connect("\0" + self._name)
                reader, self._writer = await asyncio.open_unix_connection(sock=sock)
                break
            except OSError:
                sock.close()
            await asyncio.sleep(CONNECT_SECONDS)
        try:
            if _find_user(self._writer) == os.getuid():
                with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                    async for word in _read(reader, self._decoder):
                        yield word
        finally:
            self._writer.close()
            self._writer = None

    def tell(self, word: Signal | Counted) -> None:
        """Say it, if there is somebody to hear it."""
        if self._writer is not None:
            self._writer.write(encode_word(word))


async def _read(reader: asyncio.StreamReader, decoder: WordDecoder) -> AsyncIterator[Word]:
    while True:
        size = int.from_bytes(await reader.readexactly(4), "big")
        if size > MAX_FRAME_BYTES:
            raise ValueError(f"frame of {size} bytes")
        yield decoder.decode(await reader.readexactly(size))


def _find_user(writer: asyncio.StreamWriter) -> int:
    """Of the process at the other end. Rule: unix(7), SO_PEERCRED."""
    sock: socket.socket = writer.get_extra_info("socket")
    found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", found)[1])
