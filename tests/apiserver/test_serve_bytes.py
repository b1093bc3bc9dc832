"""Any bytes on the socket: the answer is HTTP or the end of the connection, and nothing is logged as a bug.

Rule: issue "robustness" (no traceback), spec "api-machinery" §11 (limits).
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from seaway.apiserver.run import ServerConfig, open_server
from seaway.apiserver.serve import TcpListener, serve
from seaway.apiserver.serving import connection
from seaway.store.memory import MemoryStore
from tests.apiserver.certificates import Authority

ENOUGH = 64 << 10
_HEX = st.text("0123456789abcdefABCDEF", max_size=9)
_TOKEN = st.sampled_from(("GET", "POST", "PUT", "DELETE", "PRI", "G\tT", "get", "", "CONNECT", "OPTIONS", "A" * 9000))
_TARGET = st.one_of(
    st.sampled_from(
        ("/", "/api/v1/pods", "*", "//", "http://x/version", "/%", "/%zz", "/\x00", "/a b", "/version?%", "?", "")
    )
    | st.text(st.characters(codec="latin-1"), max_size=20),
)
_VERSION = st.sampled_from(("HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/9", "http/1.1", "", "HTTP/1.1 "))
_HEADER = st.sampled_from(
    (
        "Host: x", "Host: x\r\nHost: y", "Content-Length: 5", "Content-Length: -1",
        "Content-Length: 99999999999999999999",
        "Content-Length: 5\r\nContent-Length: 6", "Content-Length: 0x5", "Transfer-Encoding: chunked",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: chunked\r\nContent-Length: 3", "Transfer-Encoding: identity, chunked",
        "Expect: 100-continue",
        "Expect: 200-ok", "Connection: close", "Connection: upgrade\r\nUpgrade: websocket", "Upgrade: h2c",
        " folded: a", ": a",
        "a", "a b: c", "X: \x00", "X: \x7f", "X: " + "a" * 70_000, "Content-Encoding: gzip", "Content-Encoding: br",
        "Accept: \xff",
        "Authorization: Bearer", "Authorization: Bearer \xe9", "Authorization: Basic Og==", "Cookie: a=b;;",
        "Content-Type: a/b;;=",
        "Impersonate-User: \x01", "Audit-Id: \t", "Accept-Encoding: gzip", "Keep-Alive: x", "Trailer: x",
        "TE: trailers",
    )
)  # fmt: skip
_CHUNK = st.tuples(_HEX, st.sampled_from(("\r\n", "\n", ";a=b\r\n", " \r\n", "")), st.binary(max_size=20)).map(
    lambda parts: parts[0].encode() + parts[1].encode() + parts[2] + b"\r\n"
)
_BODY = st.one_of(
    st.binary(max_size=40), st.lists(_CHUNK, max_size=4).map(b"".join), st.just(b'5\r\n{"a":\r\n0\r\n\r\n')
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Something like a request, or several of them."""
    end = draw(st.sampled_from(("\r\n", "\r\n", "\r\n", "\n", "\r")))
    line = f"{draw(_TOKEN)} {draw(_TARGET)} {draw(_VERSION)}"
    head = end.join((line, *draw(st.lists(_HEADER, max_size=4)), "", ""))
    return head.encode("latin-1") + draw(_BODY)


class Log(logging.Handler):
    """Keeps what is logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@dataclass
class Door:
    """A server that listens on loopback, and the loop it runs on."""

    loop: asyncio.AbstractEventLoop
    port: int
    context: ssl.SSLContext
    log: Log

    def send(self, *parts: bytes) -> bytes:
        """What the server says to the bytes, until it or the client has no more to say."""
        return self.loop.run_until_complete(self._send(parts))

    async def _send(self, parts: tuple[bytes, ...]) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=self.context)
        said = b""
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
            # A request that ends the conversation, so that nobody waits for anybody; what came before may eat it.
            writer.write(b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            async with asyncio.timeout(0.25):
                while len(said) < ENOUGH and (data := await reader.read(ENOUGH)):
                    said += data
        except (ConnectionError, TimeoutError, ssl.SSLError):
            pass
        finally:
            writer.transport.abort()
        return said


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    """Its server lingers shortly after a refusal: nobody here has still to send what it would wait for."""
    loop, log = asyncio.new_event_loop(), Log()
    loop.set_exception_handler(lambda _, context: log.lines.append(str(context)))
    logging.getLogger().addHandler(log)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "_LINGER_SECONDS", 0.01)
        authority = Authority(Path(folder))

        async def start() -> tuple[object, ...]:
            store = MemoryStore()
            server = await open_server(ServerConfig(), store, runs_loops=False)
            return await serve(server, tls=authority.serving(), listen=[TcpListener("127.0.0.1", 0)]), server, store

        serving, server, store = loop.run_until_complete(start())
        context = ssl.create_default_context(cafile=str(authority.path))
        yield Door(loop, serving.addresses[0][1], context, log)  # type: ignore[attr-defined]
        for closable in (serving, server, store):
            loop.run_until_complete(closable.close())  # type: ignore[attr-defined]
        loop.run_until_complete(asyncio.sleep(0.01))  # lets the loop take its closed transports off the selector
    loop.close()
    logging.getLogger().removeHandler(log)


def check(door: Door, *parts: bytes) -> None:
    said = door.send(*parts)
    assert door.log.lines == []
    assert said == b"" or said.startswith(b"HTTP/"), said[:200]
    assert b"Traceback" not in said and b"Exception" not in said


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests(), st.integers(0, 80))
@example(b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 0)
@example(b"POST /api/v1/pods HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nabcde", 0)
@example(b"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", 3)
def test_something_like_a_request_is_answered_or_ended(door: Door, request: bytes, cut: int) -> None:
    check(door, request[:cut], request[cut:])


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=1, max_size=200))
def test_bytes_of_any_kind_are_answered_or_ended(door: Door, noise: bytes) -> None:
    check(door, noise)


def test_after_all_that_it_still_answers(door: Door) -> None:
    said = door.send()
    assert said.startswith(b"HTTP/1.1 200 OK") and b'"gitVersion"' in said
