"""The listener of metrics and health: what it answers, and what it does not let be done to it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from seaway.net.errors import OperationalError
from seaway.telemetry.metrics import Metrics
from seaway.telemetry.serve import MAX_CONNECTIONS, MAX_HEADER_BYTES, serve_telemetry

HEALTHZ = b"GET /healthz HTTP/1.1\r\n\r\n"


def play(scenario: Callable[[int], Awaitable[None]], checks: dict[str, str | None] | None = None) -> None:
    async def main() -> None:
        async with serve_telemetry("127.0.0.1", 0, Metrics(), lambda: checks or {"ping": None}) as port:
            await scenario(port)

    asyncio.run(main())


async def ask(port: int, request: bytes) -> bytes:
    """The answer; nothing when the connection was ended instead."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        await writer.drain()
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def test_metrics_and_health_are_answered() -> None:
    async def scenario(port: int) -> None:
        assert b"process_resident_memory_bytes" in await ask(port, b"GET /metrics HTTP/1.1\r\n\r\n")
        assert (await ask(port, HEALTHZ)).endswith(b"\r\n\r\nok")

    play(scenario)


def test_why_a_check_failed_is_for_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(port: int) -> None:
        answer = await ask(port, b"GET /readyz HTTP/1.1\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 500") and b"secret" not in answer

    play(scenario, {"leader": "a secret reason"})
    assert "leader='a secret reason'" in caplog.text


def test_a_header_without_end_is_refused() -> None:
    async def scenario(port: int) -> None:
        answer = await ask(port, b"GET / HTTP/1.1\r\nA: " + b"a" * 2 * MAX_HEADER_BYTES)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 400")
        assert (await ask(port, HEALTHZ)).endswith(b"ok")

    play(scenario)


def test_those_who_say_nothing_take_only_so_many_places_and_leave_them_at_the_end() -> None:
    async def scenario(port: int) -> None:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MAX_CONNECTIONS)]
        while await ask(port, HEALTHZ):  # until the last of them has been taken in
            pass
        silent.pop()[1].close()
        while not await ask(port, HEALTHZ):
            pass
        for _, writer in silent:
            writer.close()

    play(scenario)


def test_a_port_that_is_taken_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:

        async def main() -> None:
            async with serve_telemetry("127.0.0.1", taken.getsockname()[1], Metrics(), dict):
                raise AssertionError("it listens beside another")

        with pytest.raises(OperationalError, match=r"metrics on 127\.0\.0\.1:\d+: .*; give another address, or none"):
            asyncio.run(main())
