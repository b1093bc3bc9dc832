"""One try, on real sockets of this host. (The loop never dials loopback; one try does not ask.)"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from seaway.controllers.healthcheck.check import Check
from seaway.controllers.healthcheck.state import Outcome
from seaway.controllers.healthcheck.targets import Target
from seaway.controllers.healthcheck.transport import probe
from seaway.pki.certificates import create_authority, issue_server
from seaway.testing.loopback import claim_loopback
from tests.net.probing.test_grpc import GOOD, NOT_SERVING, OK, SERVING, Server

HOST = "127.0.0.1"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(serve: Serve, context: ssl.SSLContext | None = None) -> AsyncIterator[Target]:
    """A server for a while; a connection that it still holds then is cut."""
    held: set[asyncio.StreamWriter] = set()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(hold, HOST, 0, ssl=context)
    try:
        yield Target(HOST, server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for writer in held:
            writer.transport.abort()
        await server.wait_closed()


def ask(check: Check, serve: Serve, context: ssl.SSLContext | None = None) -> Outcome:
    async def main() -> Outcome:
        async with serving(serve, context) as target:
            outcome = await probe(check, target)
            return Outcome(outcome.passed, outcome.message.replace(f"{HOST}:{target.port}", "TARGET"))

    return asyncio.run(main())


def answer(text: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(text)
        await writer.drain()

    return serve


async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def talk_without_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"x" * 4096)
        await writer.drain()


def get(path: str = "/healthz", *, kind: str = "http", timeout_seconds: float = 10.0) -> Check:
    return Check(kind=kind, rest=path, timeout_seconds=timeout_seconds)


STATUSES: dict[str, tuple[bytes, Outcome]] = {
    "200 is up": (b"HTTP/1.1 200 OK\r\n\r\n", Outcome(True)),
    "204 is up": (b"HTTP/1.1 204 No Content\r\n\r\n", Outcome(True)),
    "a redirect is up, and is not followed": (
        b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\n\r\n", Outcome(True)
    ),
    "404 is down": (b"HTTP/1.1 404 Not Found\r\n\r\n", Outcome(False, "http TARGET: status 404")),
    "503 is down": (b"HTTP/1.1 503 X\r\n\r\n", Outcome(False, "http TARGET: status 503")),
    "no HTTP is down, and what was said is not repeated": (
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n", Outcome(False, "http TARGET: malformed HTTP response")
    ),
    "an end before the answer is down": (b"", Outcome(False, "http TARGET: the connection ended before the answer")),
}  # fmt: skip


@pytest.mark.parametrize("case", STATUSES.values(), ids=STATUSES)
def test_what_an_http_answer_means(case: tuple[bytes, Outcome]) -> None:
    assert ask(get(), answer(case[0])) == case[1]


def test_what_is_asked_over_http() -> None:
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")

    assert ask(get("/a?b=1"), serve).passed
    first, host, *rest = heard[0].decode().split("\r\n")
    assert first == "GET /a?b=1 HTTP/1.1" and host.startswith("Host: 127.0.0.1:")
    assert rest == ["User-Agent: seaway-healthcheck", "Accept: */*", "Connection: close", "", ""]


def test_tcp_is_up_when_a_connection_stands() -> None:
    assert ask(Check(kind="tcp", timeout_seconds=10.0), say_nothing) == Outcome(True)


@pytest.mark.parametrize("kind", ["tcp", "http", "https", "grpc"])
def test_a_refused_connection_is_down(kind: str) -> None:
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind((HOST, 0))
        port = taken.getsockname()[1]
        outcome = asyncio.run(probe(Check(kind=kind, rest="/", timeout_seconds=10.0), Target(HOST, port)))
    assert outcome == Outcome(False, f"{kind} {HOST}:{port}: connect: connection refused")


@pytest.mark.parametrize("kind", ["http", "https", "grpc"])
def test_who_says_nothing_is_down_when_the_time_is_over(kind: str) -> None:
    check = Check(kind=kind, rest="/", timeout_seconds=0.05)
    assert ask(check, say_nothing) == Outcome(False, f"{kind} TARGET: no answer in 0.05 s")


@pytest.mark.parametrize("kind", ["http", "https", "grpc"])
def test_who_talks_without_end_is_heard_for_so_many_bytes_only(kind: str) -> None:
    outcome = ask(Check(kind=kind, rest="/", timeout_seconds=60.0), talk_without_end)
    assert not outcome.passed and "no answer" not in outcome.message


def test_https_is_up_whoever_signed_the_certificate(tmp_path: Path) -> None:
    pair = issue_server(
        create_authority("other", wall_now=datetime.now(UTC)), names=["x"], addresses=[], wall_now=datetime.now(UTC)
    )
    (tmp_path / "both.pem").write_bytes(pair.key_pem + pair.certificate_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "both.pem")
    assert ask(get(kind="https"), answer(b"HTTP/1.1 200 OK\r\n\r\n"), context) == Outcome(True)


@pytest.mark.parametrize("message", [SERVING, NOT_SERVING])
def test_grpc_is_up_when_the_service_serves(message: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server = Server(message, head=OK, trailers=GOOD)
        while data := await reader.read(4096):
            writer.write(server.receive(data))

    text = "" if message == SERVING else "grpc TARGET: service unhealthy (responded with NOT_SERVING)"
    assert ask(Check(kind="grpc", timeout_seconds=10.0), serve) == Outcome(message == SERVING, text)


@pytest.mark.parametrize("kind", ["tcp", "http"])
def test_an_address_of_the_cluster_is_dialled_where_loopback_has_it_and_named_as_it_is(kind: str) -> None:
    """Rule: issue "the userspace data plane", 1."""

    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if kind == "http":
                await answer(b"HTTP/1.1 204 No Content\r\n\r\n")(reader, writer)
            writer.close()

        with claim_loopback() as claim:
            place, address = str(claim.map.onto[256]), str(claim.map.origin[256])
            listening = await asyncio.start_server(serve, place, 0)
            target = Target(address, listening.sockets[0].getsockname()[1])
            check = Check(kind=kind, rest="/" if kind == "http" else "", timeout_seconds=10.0)
            async with listening:
                assert await probe(check, target, loopback=claim.map) == Outcome(True, "")
            listening.close()
            gone = await probe(check, target, loopback=claim.map)
            assert (gone.passed, f"{address}:{target.port}: connect: connection refused" in gone.message) == (
                False,
                True,
            )

    asyncio.run(main())
