"""Rule: spec "node" §2.8 (table of handlers)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from seaway.node.probes import Outcome
from seaway.node.probing.transport import HTTPTarget, probe_http, probe_tcp

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
