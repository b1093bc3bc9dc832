"""What a connection may take, on real sockets and on both loops. Rule: spec "api-machinery" §11, §1.4 (413)."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from seaway.api.machinery.http import Request
from seaway.apiserver.overload.limits import ConnectionLimits
from seaway.testing.builders import make_service
from tests.apiserver.conversation import ADMIN, CONFIG_MAPS, SERVICES
from tests.apiserver.running import WAIT_SECONDS, Running, read_answer, read_rest, running

Loop = Callable[[], asyncio.AbstractEventLoop]
SHORT = 0.2
HEAD = "Host: x\r\nAuthorization: Bearer good\r\n"
TOO_LARGE = "Request entity too large: limit is 3145728"


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loop_factory(request: pytest.FixtureRequest) -> Loop:
    factory: Loop = request.param
    return factory


def get(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\n{HEAD}\r\n".encode()


# Headers.


@pytest.mark.parametrize(
    ("request_text", "code"),
    [
        pytest.param(f"GET /{'a' * 70_000} HTTP/1.1\r\n{HEAD}\r\n", 414, id="a request line that is too long"),
        pytest.param(f"GET / HTTP/1.1\r\n{HEAD}X: {'a' * 40_000}\r\n\r\n", 431, id="a header field that is too long"),
        pytest.param(
            f"GET / HTTP/1.1\r\n{HEAD}{''.join(f'X{n}: a' + chr(13) + chr(10) for n in range(200))}\r\n",
            431,
            id="too many header fields",
        ),
        pytest.param(
            f"GET / HTTP/1.1\r\n{HEAD}{''.join(f'X{n}: ' + 'a' * 30_000 + chr(13) + chr(10) for n in range(12))}",
            431,
            id="a header that is too large and does not end",
        ),
        pytest.param("\x00\x01\x02 nonsense\r\n\r\n", 400, id="what is no HTTP"),
    ],
)
def test_headers_beyond_the_limits_are_refused_in_so_many_words(
    tmp_path: Path, loop_factory: Loop, request_text: str, code: int
) -> None:
    async def conversation(server: Running) -> None:
        reader, writer = await server.dial()
        writer.write(request_text.encode("latin-1"))
        status, headers, body = await read_answer(reader)
        assert status == code and headers.get("connection", "close") == "close"
        assert b"Traceback" not in body and b"nonsense" not in body
        assert await read_rest(reader) in (b"", None)
        writer.close()
        assert server.server.backlog == 0

    running(tmp_path, conversation, loop_factory=loop_factory)


def test_a_client_that_dribbles_its_header_is_cut_off(tmp_path: Path, loop_factory: Loop) -> None:
    async def conversation(server: Running) -> None:
        reader, writer = await server.dial()
        writer.write(get(f"{SERVICES}/none"))
        assert (await read_answer(reader))[0] == 404
        writer.write(b"GET / HT")  # the next one never gets further
        assert await read_rest(reader) in (b"", None)
        writer.close()

    running(tmp_path, conversation, limits=ConnectionLimits(header_seconds=SHORT), loop_factory=loop_factory)


def test_a_client_that_says_nothing_at_all_is_cut_off(tmp_path: Path, loop_factory: Loop) -> None:
    async def conversation(server: Running) -> None:
        reader, writer = await server.dial()
        assert await read_rest(reader) in (b"", None)
        writer.close()
        await server.until(lambda: server.server.metrics.connections["tcp"] == 0)

    running(tmp_path, conversation, limits=ConnectionLimits(header_seconds=SHORT), loop_factory=loop_factory)


def test_an_idle_connection_is_closed(tmp_path: Path, loop_factory: Loop) -> None:
    async def conversation(server: Running) -> None:
        reader, writer = await server.dial()
        writer.write(get(f"{SERVICES}/none"))
        assert (await read_answer(reader))[0] == 404
        assert await read_rest(reader) in (b"", None)
        writer.close()

    running(tmp_path, conversation, limits=ConnectionLimits(idle_seconds=SHORT), loop_factory=loop_factory)


def test_a_handshake_that_does_not_come_is_not_waited_for(tmp_path: Path, loop_factory: Loop) -> None:
    async def conversation(server: Running) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        assert await read_rest(reader) in (b"", None)
        writer.close()
        await server.until(lambda: server.server.metrics.connections["tcp"] == 0)
        assert server.server.metrics.broken_handshakes == 1

    running(tmp_path, conversation, limits=ConnectionLimits(handshake_seconds=SHORT), loop_factory=loop_factory)


def test_plain_http_on_the_tls_port_is_told_so(tmp_path: Path, loop_factory: Loop) -> None:
    async def conversation(server: Running) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        status, _, body = await read_answer(reader)
        assert (status, body) == (400, b"Client sent an HTTP request to an HTTPS server.\n")
        writer.close()
        await server.until(lambda: server.server.metrics.connections["tcp"] == 0)

    running(tmp_path, conversation, loop_factory=loop_factory)


# Bodies.


@pytest.mark.parametrize(
    ("headers", "parts"),
    [
        pytest.param("Content-Length: 3145729\r\n", [], id="said so beforehand, nothing sent"),
        pytest.param("Content-Length: 99999999999\r\n", [b"{}"], id="a length that is a lie"),
        pytest.param("Transfer-Encoding: chunked\r\n", [b"10000\r\n" + b" " * 65536 + b"\r\n"] * 49, id="in chunks"),
    ],
)
def test_a_body_beyond_3_mib_is_refused_however_it_comes(
    tmp_path: Path, loop_factory: Loop, headers: str, parts: list[bytes]
) -> None:
    async def conversation(server: Running) -> None:
        reader, writer = await server.dial()
        writer.write(f"POST {SERVICES} HTTP/1.1\r\n{HEAD}{headers}\r\n".encode())
        for part in parts:
            writer.write(part)
        status, answer_headers, body = await read_answer(reader)
        status_object = json.loads(body)
        assert (status, status_object["code"], status_object["reason"]) == (413, 413, "RequestEntityTooLarge")
        assert status_object["message"] == TOO_LARGE and answer_headers["audit-id"]
        writer.close()

    running(tmp_path, conversation, loop_factory=loop_factory)


def test_a_body_that_never_ends_is_not_waited_for(tmp_path: Path, loop_factory: Loop) -> None:
    async def conversation(server: Running) -> None:
        reader, writer = await server.dial()
        writer.write(f"POST {SERVICES} HTTP/1.1\r\n{HEAD}Content-Length: 1000\r\n\r\n{{".encode())
        status, _, body = await read_answer(reader)
        assert (status, json.loads(body)["reason"]) == (504, "Timeout")
        assert await read_rest(reader) in (b"", None)
        writer.close()
        assert not server.server.state.find_namespace("x")

    running(tmp_path, conversation, limits=ConnectionLimits(body_seconds=SHORT), loop_factory=loop_factory)


def test_a_packed_body_is_taken_as_it_is(tmp_path: Path) -> None:
    async def conversation(server: Running) -> None:
        headers = {"content-encoding": "gzip", "content-type": "application/json"}
        async with (
            server.session(token="good") as session,
            session.post(f"{server.url}{SERVICES}", data=b"{}", headers=headers) as answer,
        ):
            assert answer.status != 500 and answer.status >= 400

    running(tmp_path, conversation)


def test_health_is_answered_whatever_body_comes_with_the_question(tmp_path: Path, loop_factory: Loop) -> None:
    async def conversation(server: Running) -> None:
        reader, writer = await server.dial()
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n")
        assert (await read_answer(reader))[::2] == (200, b"ok")
        writer.close()

    running(tmp_path, conversation, loop_factory=loop_factory)


# Connections.


def test_connections_beyond_the_limit_of_a_source_are_closed_at_once(tmp_path: Path, loop_factory: Loop) -> None:
    async def conversation(server: Running) -> None:
        held = [await server.dial() for _ in range(3)]
        refused = socket.create_connection(("127.0.0.1", server.port))
        refused.settimeout(WAIT_SECONDS)
        answer = await asyncio.to_thread(refused.recv, 1)
        refused.close()
        assert answer == b"", "closed without a word: not even a handshake"
        assert server.server.metrics.refused_connections == {"total": 0, "source": 1}
        over_unix = server.over_unix()
        assert (await over_unix.send(Request("GET", "/readyz"))).status == 200, "the unix socket has room of its own"
        await over_unix.close()
        held[0][1].close()
        await server.until(lambda: server.server.metrics.connections["tcp"] == 2)
        reader, writer = await server.dial()
        writer.write(get("/readyz"))
        assert (await read_answer(reader))[0] == 200, "there is room again"
        for _, each in (*held, (reader, writer)):
            each.close()

    limits = ConnectionLimits(connections=10, connections_per_source=3)
    running(tmp_path, conversation, limits=limits, loop_factory=loop_factory)


# Slow readers.


async def fill(server: Running, count: int, size: int) -> None:
    async with server.session(token="good") as session:
        for index in range(count):
            obj = {"metadata": {"name": f"c{index}"}, "data": {"k": "x" * size}}
            async with session.post(f"{server.url}{CONFIG_MAPS}", json=obj) as answer:
                assert answer.status == 201


def narrow_socket(port: int) -> socket.socket:
    """A connection that takes little before its reader reads."""
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    narrow.connect(("127.0.0.1", port))
    narrow.setblocking(False)
    return narrow


@pytest.mark.parametrize("query", ["", "?watch=1"], ids=["of a large list", "of a watch"])
def test_a_reader_that_stands_still_is_cut_off(tmp_path: Path, loop_factory: Loop, query: str) -> None:
    async def conversation(server: Running) -> None:
        await fill(server, 40, 500_000)
        reader, writer = await asyncio.open_connection(
            sock=narrow_socket(server.port), ssl=server.context(), server_hostname="127.0.0.1", limit=1024
        )
        writer.write(get(f"{CONFIG_MAPS}{query}"))
        await reader.readuntil(b"\r\n\r\n")
        await server.until(lambda: server.server.metrics.stalled_connections == 1)
        await server.until(lambda: not server.server.state.streams)
        text = await server.server.handle(Request("GET", "/metrics"), ADMIN)
        assert isinstance(text.body, bytes) and b"seaway_apiserver_connections_stalled_total 1\n" in text.body
        writer.transport.abort()

    running(tmp_path, conversation, limits=ConnectionLimits(stall_seconds=SHORT), loop_factory=loop_factory)


def test_a_slow_reader_of_a_watch_can_resume_without_a_gap(tmp_path: Path) -> None:
    async def conversation(server: Running) -> None:
        async with server.session(token="good") as session:
            async with session.get(f"{server.url}{CONFIG_MAPS}?watch=1") as watch:
                await session.post(f"{server.url}{SERVICES}", json=make_service())
                await fill(server, 3, 10)
                seen = [json.loads(await watch.content.readline()) for _ in range(2)]
            version = seen[-1]["object"]["metadata"]["resourceVersion"]
            async with session.get(f"{server.url}{CONFIG_MAPS}?watch=1&resourceVersion={version}") as watch:
                event = json.loads(await asyncio.wait_for(watch.content.readline(), WAIT_SECONDS))
                assert event["object"]["metadata"]["name"] == "c2"

    running(tmp_path, conversation)
