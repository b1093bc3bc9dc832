"""Many watches and paced writes from one process: how long each change takes to everybody who watches it.

Lines are taken from raw TLS connections without a parser, so that a thousand of them cost this process little. Each
write carries the moment at which it was due, on the clock that all processes share; a line is late by what has passed
since then, so a server that holds up the writes is late, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from bench.figures import percentile
from seaway.testing.builders import make_slice

WRITERS = 8
CONNECTING_AT_ONCE = 32
GRACE_SECONDS = 3.0
GROUP = "/apis/discovery.k8s.io/v1/namespaces"
MARK = "bench/due"
_DUE = re.compile(rb'"bench/due":"([\d.]+)"')
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


def now() -> float:
    """A clock that all processes share."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


class _Tally:
    """By how much each line was late, until all that are expected have come."""

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self.late: list[float] = []
        self.complete = asyncio.Event()

    def add(self, seconds: float) -> None:
        self.late.append(seconds)
        if len(self.late) == self.expected:
            self.complete.set()


class _Watch(asyncio.Protocol):
    """One watch. Every marked line is told with the moment at which it was read."""

    def __init__(self, request: bytes, tell: Callable[[float], None]) -> None:
        self._request = request
        self._tell = tell
        self._rest = b""
        self.begun = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        moment = now()
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            found = _DUE.search(line)
            if found is not None:
                self._tell(moment - float(found[1]))
        if not self.begun.done():
            self.begun.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.begun.done():
            self.begun.set_exception(error or ConnectionError("the watch was not answered"))


class _Writer:
    """One connection for requests, one at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: str) -> None:
        self._reader = reader
        self._writer = writer
        self._head = head

    async def send(self, method: str, path: str, body: Mapping[str, Any]) -> None:
        """Raises RuntimeError for an answer that is no success."""
        media = "application/merge-patch+json" if method == "PATCH" else "application/json"
        content = msgspec.json.encode(body)
        head = (
            f"{method} {path} HTTP/1.1\r\n{self._head}Content-Type: {media}\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        self._writer.write(head.encode() + content)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(answer)
        text = await self._reader.readexactly(int(length[1]) if length else 0)
        if not answer.startswith(b"HTTP/1.1 20"):
            raise RuntimeError(f"{method} {path}: {text[:200].decode(errors='replace')}")

    def close(self) -> None:
        self._writer.close()


async def measure_watchers(
    folder: Path,
    *,
    port: int,
    watchers: int,
    namespaces: int,
    per_second: int,
    seconds: float,
    say: Callable[..., None],
) -> None:
    """Says a line when all watch and the writes begin, and one with what was seen. The watches stay open."""
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    head = f"Host: localhost\r\nAuthorization: Bearer {(folder / 'token').read_text()}\r\n"
    writers = [await _open_writer(port, context, head) for _ in range(WRITERS)]
    await _make_objects(writers, namespaces)
    count = int(per_second * seconds)
    tally = _Tally(sum(len(range(number % namespaces, watchers, namespaces)) for number in range(count)))
    begun = now()
    await _open_watches(port, context, head, watchers, namespaces, tally.add)
    say(seconds=now() - begun)
    start = now() + 0.1
    shares = [range(turn, count, WRITERS) for turn in range(WRITERS)]
    await asyncio.gather(
        *(_write(writer, share, namespaces, start, per_second) for writer, share in zip(writers, shares, strict=True))
    )
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(tally.complete.wait(), GRACE_SECONDS)
    late = tally.late
    say(p50=percentile(late, 0.5), p99=percentile(late, 0.99), lines=len(late), expected=tally.expected)


async def _open_writer(port: int, context: ssl.SSLContext, head: str) -> _Writer:
    return _Writer(*await asyncio.open_connection("127.0.0.1", port, ssl=context), head)


async def _make_objects(writers: list[_Writer], namespaces: int) -> None:
    """A namespace with one EndpointSlice of ten for each number."""

    async def make(writer: _Writer, numbers: range) -> None:
        for number in numbers:
            name = f"watched-{number}"
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            await writer.send("POST", "/api/v1/namespaces", namespace)
            addresses = [f"10.1.{number}.{1 + index}" for index in range(10)]
            await writer.send(
                "POST", f"{GROUP}/{name}/endpointslices", make_slice("web", "web", addresses, namespace=name)
            )

    await asyncio.gather(*(make(writer, range(turn, namespaces, WRITERS)) for turn, writer in enumerate(writers)))


async def _open_watches(
    port: int, context: ssl.SSLContext, head: str, watchers: int, namespaces: int, tell: Callable[[float], None]
) -> None:
    """Returns when the answer to each watch has begun."""
    loop = asyncio.get_running_loop()
    gate = asyncio.Semaphore(CONNECTING_AT_ONCE)

    async def watch(number: int) -> None:
        path = f"{GROUP}/watched-{number % namespaces}/endpointslices?watch=1&allowWatchBookmarks=true"
        request = f"GET {path} HTTP/1.1\r\n{head}\r\n".encode()
        async with gate:
            _, protocol = await loop.create_connection(lambda: _Watch(request, tell), "127.0.0.1", port, ssl=context)
            await protocol.begun

    await asyncio.gather(*map(watch, range(watchers)))


async def _write(writer: _Writer, numbers: range, namespaces: int, start: float, per_second: int) -> None:
    for number in numbers:
        due = start + number / per_second
        await asyncio.sleep(due - now())
        path = f"{GROUP}/watched-{number % namespaces}/endpointslices/web"
        await writer.send("PATCH", path, {"metadata": {"annotations": {MARK: f"{due:.6f}"}}})
