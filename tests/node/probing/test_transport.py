"""Rule: spec "node" §2.8 (table of handlers)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived, StreamEnded

from seaway.node.probes import Outcome
from seaway.node.probing.transport import HTTPTarget, probe_grpc, probe_http, probe_tcp

Answer = Callable[[str], bytes]


async def _with_server(answer: Answer, probe: Callable[[int], Awaitable[Outcome]]) -> tuple[Outcome, list[str]]:
    requests: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(answer(requests[-1].split(" ")[1]))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        return await probe(port), requests
    finally:
        server.close()
        await server.wait_closed()


def ask(answer: Answer, *headers: tuple[str, str], path: str = "/healthz?x=1") -> tuple[Outcome, list[str]]:
    async def probe(port: int) -> Outcome:
        target = HTTPTarget("http", "127.0.0.1", port, path, headers)
        return await probe_http(target, timeout_seconds=5, agent="kube-probe/1.36")

    return asyncio.run(_with_server(answer, probe))


@pytest.mark.parametrize(
    ("status", "passed", "message"),
    [
        (200, True, "body"),
        (399, True, "body"),
        (400, False, "HTTP probe failed with statuscode: 400"),
        (503, False, "HTTP probe failed with statuscode: 503"),
    ],
)
def test_status_codes(status: int, passed: bool, message: str) -> None:
    outcome, requests = ask(lambda _: f"HTTP/1.1 {status} X\r\nContent-Length: 4\r\n\r\nbody".encode())
    assert (outcome.passed, outcome.message) == (passed, message)
    assert requests[0].startswith("GET /healthz?x=1 HTTP/1.1\r\nHost: 127.0.0.1:")
    assert "User-Agent: kube-probe/1.36\r\nAccept: */*\r\nConnection: close\r\n\r\n" in requests[0]


def test_given_headers_win() -> None:
    _, [request] = ask(
        lambda _: b"HTTP/1.0 200 OK\r\n\r\n", ("Host", "x.example"), ("User-Agent", "me"), ("Accept", "")
    )
    assert "Host: x.example" in request and "User-Agent: me" in request
    assert request.count("Host:") == 1 and "Accept" not in request


def test_a_redirect_on_the_same_host_is_followed() -> None:
    def answer(path: str) -> bytes:
        if path == "/end":
            return b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n"
        return b"HTTP/1.1 302 X\r\nLocation: /end\r\nContent-Length: 0\r\n\r\n"

    outcome, requests = ask(answer)
    assert len(requests) == 2 and outcome.message == "HTTP probe failed with statuscode: 500"


def test_a_redirect_to_another_host_passes_with_a_warning() -> None:
    outcome, requests = ask(lambda _: b"HTTP/1.1 302 X\r\nLocation: http://other.example/\r\n\r\n")
    assert len(requests) == 1 and outcome.passed
    assert outcome.warning == "Probe terminated redirects, Response body: "


def test_redirects_have_an_end() -> None:
    outcome, requests = ask(lambda _: b"HTTP/1.1 302 X\r\nLocation: /\r\nContent-Length: 0\r\n\r\n")
    assert len(requests) == 10 and not outcome.passed


@pytest.mark.parametrize("answer", [b"SSH-2.0-x\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\n" + b"x" * 70000])
def test_what_is_no_http_fails(answer: bytes) -> None:
    outcome, _ = ask(lambda _: answer)
    assert not outcome.passed and not outcome.error and outcome.message.startswith('Get "http://127.0.0.1:')


def test_tcp() -> None:
    async def run() -> tuple[Outcome, Outcome]:
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        passed = await probe_tcp("127.0.0.1", port, timeout_seconds=5)
        server.close()
        await server.wait_closed()
        return passed, await probe_tcp("127.0.0.1", port, timeout_seconds=5)

    passed, failed = asyncio.run(run())
    assert passed.passed and not failed.passed and "refused" in failed.message.lower()


SERVING, NOT_SERVING = b"\x00\x00\x00\x00\x02\x08\x01", b"\x00\x00\x00\x00\x02\x08\x02"


async def _serve_health(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, message: bytes, code: str, asked: list[dict[str, str]]
) -> None:
    connection = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
    connection.initiate_connection()
    while piece := await reader.read(65536):
        for event in connection.receive_data(piece):
            if isinstance(event, RequestReceived):
                asked.append({str(name): str(value) for name, value in event.headers})
            elif isinstance(event, StreamEnded):
                connection.send_headers(event.stream_id, [(":status", "200"), ("content-type", "application/grpc")])
                connection.send_data(event.stream_id, message)
                connection.send_headers(event.stream_id, [("grpc-status", code)], end_stream=True)
        writer.write(connection.data_to_send())


def check_health(message: bytes, code: str = "0") -> tuple[Outcome, list[dict[str, str]]]:
    async def run() -> tuple[Outcome, list[dict[str, str]]]:
        asked: list[dict[str, str]] = []
        served = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await _serve_health(reader, writer, message, code, asked)
            writer.close()
            await writer.wait_closed()
            served.set()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        outcome = await probe_grpc("127.0.0.1", port, "web", timeout_seconds=5, agent="kube-probe/1.36")
        await served.wait()
        server.close()
        await server.wait_closed()
        return outcome, asked

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("message", "code", "expected"),
    [
        pytest.param(SERVING, "0", (True, "status: SERVING"), id="a service that serves"),
        pytest.param(
            NOT_SERVING, "0", (False, 'service unhealthy (responded with "NOT_SERVING")'), id="one that does not"
        ),
        pytest.param(
            b"", "12",
            (False, "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): "
                    "gRPC UNIMPLEMENTED"), id="a server without the health service",
        ),
        pytest.param(b"", "5", (False, "error: health rpc probe failed: gRPC NOT_FOUND"), id="a service nobody knows"),
    ],
)  # fmt: skip
def test_grpc(message: bytes, code: str, expected: tuple[bool, str]) -> None:
    outcome, [asked] = check_health(message, code)
    assert (outcome.passed, outcome.message) == expected
    assert asked["user-agent"] == "kube-probe/1.36" and asked[":path"] == "/grpc.health.v1.Health/Check"


def test_grpc_where_nobody_listens_and_where_nobody_answers() -> None:
    async def run() -> tuple[int, Outcome, Outcome]:
        held: list[asyncio.StreamWriter] = []
        server = await asyncio.start_server(lambda reader, writer: held.append(writer), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        silent = await probe_grpc("127.0.0.1", port, "", timeout_seconds=0.05, agent="x")
        server.close()
        for writer in held:
            writer.close()
            await writer.wait_closed()
        await server.wait_closed()
        return port, silent, await probe_grpc("127.0.0.1", port, "", timeout_seconds=5, agent="x")

    port, silent, refused = asyncio.run(run())
    assert silent.message == "timeout: health rpc did not complete within 0.05s"
    assert refused.message == (
        f'timeout: failed to connect service "127.0.0.1:{port}" within 5s: connect: connection refused'
    )
    assert not (silent.passed or silent.error or refused.passed or refused.error)


def test_a_hook_that_asks_a_plain_server_in_https_is_asked_again_in_http() -> None:
    async def probe(port: int, *, is_hook: bool) -> Outcome:
        target = HTTPTarget("https", "127.0.0.1", port, "/")
        return await probe_http(target, timeout_seconds=5, agent="kube-lifecycle/1.36", may_fall_back=is_hook)

    async def run(*, is_hook: bool) -> tuple[Outcome, int]:
        requests = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal requests
            if await reader.read(4) == b"GET ":
                requests += 1
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                writer.write(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request\r\n")
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        try:
            return await probe(server.sockets[0].getsockname()[1], is_hook=is_hook), requests
        finally:
            server.close()
            await server.wait_closed()

    hook, requests = asyncio.run(run(is_hook=True))
    assert hook.passed and requests == 1
    probe_outcome, requests = asyncio.run(run(is_hook=False))
    assert not probe_outcome.passed and requests == 0, "a probe takes the answer as it is"
