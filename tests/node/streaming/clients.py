"""What stands on both sides of the node's streams in tests: a runtime of plain processes, and a client of SPDY."""

from __future__ import annotations

import asyncio
import os
import pty
import socket
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seaway.node.runtime.contract import ContainerError
from seaway.node.streaming.spdy import DICTIONARY, FIN, GOAWAY, RST_STREAM, SYN_REPLY, encode_pairs


@dataclass
class ProcessRuntime:
    """Runs what is executed as a child of the test, and has one program to attach to: `cat` on pipes."""

    logs: Path
    attached: asyncio.Queue[Mapping[str, int]] = field(default_factory=asyncio.Queue)
    sizes: list[tuple[int, int]] = field(default_factory=list)

    async def exec_on(self, container_id: str, argv: tuple[str, ...], streams: Mapping[str, int]) -> int:
        if argv[0] == "nosuch":
            raise ContainerError("exec: 'nosuch': not found")
        if "console" in streams:
            master, slave = pty.openpty()
            with socket.socket(fileno=os.dup(streams["console"])) as console:
                socket.send_fds(console, [b"t"], [master])
            os.close(master)
            stdin = stdout = stderr = slave
        else:
            null = os.open(os.devnull, os.O_RDWR)
            stdin, stdout, stderr = (streams.get(name, null) for name in ("stdin", "stdout", "stderr"))
        process = await asyncio.create_subprocess_exec(*argv, stdin=stdin, stdout=stdout, stderr=stderr)
        os.close(slave if "console" in streams else null)
        try:
            return await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def attach(self, container_id: str, streams: Mapping[str, int]) -> bool:
        handles = {name: os.dup(handle) for name, handle in streams.items()}
        self.attached.put_nowait(handles)
        return False

    async def resize(self, container_id: str, rows: int, columns: int) -> None:
        self.sizes.append((rows, columns))

    async def open_sockets(self, uid: str) -> tuple[socket.socket, socket.socket]:
        made = socket.socket(socket.AF_INET), socket.socket(socket.AF_INET6)
        for each in made:
            each.setblocking(False)
        return made

    def find_loopbacks(self, uid: str) -> tuple[str, ...]:
        return ("127.0.0.1", "::1")

    def find_log(self, uid: str, name: str, attempt: int) -> Path:
        return self.logs / name / f"{attempt}.log"


class SpdyClient:
    """Opens streams as client-go does. `ended` and `reset`: streams that the server is done with."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.data: dict[int, bytes] = {}
        self.replied: set[int] = set()
        self.ended: set[int] = set()
        self.reset: set[int] = set()
        self.has_gone_away = False
        self._next = 1
        self._deflater = zlib.compressobj(zdict=DICTIONARY)
        self._inflater = zlib.decompressobj(zdict=DICTIONARY)

    def open(self, headers: Mapping[str, str], *, ends: bool = False) -> int:
        """The new stream's number."""
        stream, self._next = self._next, self._next + 2
        block = self._deflater.compress(encode_pairs(headers)) + self._deflater.flush(zlib.Z_SYNC_FLUSH)
        body = struct.pack(">IIBB", stream, 0, 0, 0) + block
        self.writer.write(struct.pack(">HHB", 0x8003, 1, FIN if ends else 0) + len(body).to_bytes(3) + body)
        self.data[stream] = b""
        return stream

    def send(self, stream: int, data: bytes, *, ends: bool = False) -> None:
        self.writer.write(struct.pack(">IB", stream, FIN if ends else 0) + len(data).to_bytes(3) + data)

    def ping(self, number: int) -> None:
        self.writer.write(struct.pack(">HHB", 0x8003, 6, 0) + (4).to_bytes(3) + struct.pack(">I", number))

    async def read_frame(self) -> bool:
        """False at the end."""
        try:
            head = await self.reader.readexactly(8)
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        body = await self.reader.readexactly(int.from_bytes(head[5:]))
        if head[0] & 0x80:
            kind = struct.unpack(">H", head[2:4])[0]
            if kind == SYN_REPLY:
                self._inflater.decompress(body[4:])
            stream = struct.unpack(">I", body[:4])[0]
            {SYN_REPLY: self.replied, RST_STREAM: self.reset}.get(kind, set()).add(stream)
            self.has_gone_away |= kind == GOAWAY
            return True
        stream = int.from_bytes(head[:4])
        assert stream in self.replied, "the server speaks on a stream before its reply"
        self.data[stream] += body
        if head[4] & FIN:
            self.ended.add(stream)
        return True

    async def until(self, holds: Any) -> None:
        while not holds():
            assert await self.read_frame(), "the server has gone"
