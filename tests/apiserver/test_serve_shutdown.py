"""How the server stops: a real process under load, and each step by itself. Rule: spec "api-machinery" §11, §7.4."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest
import uvloop

from seaway.apiserver.serve import Ending
from seaway.client.kubeconfig import parse_kubeconfig
from tests.apiserver.conversation import CONFIG_MAPS, SERVICES
from tests.apiserver.running import WAIT_SECONDS, Running, read_answer, read_rest, running
from tests.apiserver.test_serve_overload import HeldStore

WRITERS = 16
HEAD = "Host: x\r\nAuthorization: Bearer good\r\n"


def test_kept_connections_are_given_up_and_work_in_hand_is_finished(tmp_path: Path) -> None:
    store = HeldStore()

    async def conversation(server: Running) -> None:
        reader, writer = await server.dial()
        idle, idle_writer = await server.dial()
        store.is_open.clear()
        body = json.dumps({"metadata": {"name": "last"}})
        writer.write(f"POST {CONFIG_MAPS} HTTP/1.1\r\n{HEAD}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        await server.until(lambda: server.server.metrics.in_flight["mutating"] == 1)
        closing = asyncio.ensure_future(server.serving.close())
        assert await read_rest(idle) in (b"", None), "an idle connection ends at once"
        with pytest.raises(OSError):
            await server.dial()
        store.is_open.set()
        status, headers, answer = await read_answer(reader)
        assert (status, json.loads(answer)["metadata"]["name"], headers["connection"]) == (201, "last", "close")
        await closing
        writer.close()
        idle_writer.close()

    running(tmp_path, conversation, store=store, loop_factory=uvloop.new_event_loop)


def test_readiness_fails_first_and_the_delay_goes_on_serving(tmp_path: Path) -> None:
    async def conversation(server: Running) -> None:
        reader, writer = await server.dial()
        closing = asyncio.ensure_future(server.serving.close())
        await server.until(lambda: server.server.is_stopping)
        async with server.session() as nobody:
            async with nobody.get(f"{server.url}/readyz?verbose") as answer:
                text = await answer.text()
                assert answer.status == 500 and answer.headers["Connection"] == "close"
                assert "[-]shutdown failed: reason withheld\n" in text and text.endswith("readyz check failed\n")
            async with nobody.get(f"{server.url}/livez") as answer:
                assert answer.status == 200
        writer.write(f"GET {SERVICES} HTTP/1.1\r\n{HEAD}\r\n".encode())
        status, headers, _ = await read_answer(reader)
        assert (status, headers["connection"]) == (200, "close")
        writer.close()
        await closing

    running(tmp_path, conversation, end=Ending(delay_seconds=2.0))  # all of the conversation is within it


def test_watches_end_with_their_last_chunk_and_none_begins_after(tmp_path: Path) -> None:
    async def conversation(server: Running) -> None:
        target = f"{server.url}{CONFIG_MAPS}?watch=1"
        async with server.session(token="good") as session, session.get(target) as watch:
            closing = asyncio.ensure_future(server.serving.close())
            assert await asyncio.wait_for(watch.content.read(), WAIT_SECONDS) == b"", "a clean end"
            await closing
        assert not server.server.state.streams

    running(tmp_path, conversation, loop_factory=uvloop.new_event_loop)


def test_what_takes_longer_than_the_grace_is_broken_off_without_half_an_answer(tmp_path: Path) -> None:
    store = HeldStore()

    async def conversation(server: Running) -> None:
        store.is_open.clear()
        reader, writer = await server.dial()
        body = json.dumps({"metadata": {"name": "stuck"}})
        writer.write(f"POST {CONFIG_MAPS} HTTP/1.1\r\n{HEAD}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        await server.until(lambda: server.server.metrics.in_flight["mutating"] == 1)
        await server.serving.close()
        assert await read_rest(reader) in (b"", None)
        writer.close()
        store.is_open.set()
        await server.until(lambda: not server.server.metrics.in_flight["mutating"])

    running(tmp_path, conversation, store=store, end=Ending(grace_seconds=0.2))


# A process of its own, ended by a signal while it works.


def start_server(folder: Path, port: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "seaway", "apiserver", "--data-dir", str(folder), "--secure-port", str(port)]
    command += ["--access-log", str(folder / "access.log"), "--audit-log-path", str(folder / "audit.log")]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


def find_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def wait_until_ready(server: subprocess.Popen[bytes]) -> None:
    assert server.stderr is not None
    lines = []
    while line := server.stderr.readline():
        lines.append(line)
        if b"ready" in line:
            return
    raise AssertionError(b"".join(lines).decode())


def make_client_context(folder: Path) -> ssl.SSLContext:
    connection = parse_kubeconfig(
        (folder / "admin.kubeconfig").read_text(), read_file=lambda name: (folder / name).read_text(), subject="test"
    )
    context = ssl.create_default_context(cadata=connection.ca_pem)
    for name, text in (("cert", connection.certificate_pem), ("key", connection.key_pem)):
        (folder / f"client.{name}").write_text(text or "")
    context.load_cert_chain(folder / "client.cert", folder / "client.key")
    return context


async def write_until_it_ends(url: str, context: ssl.SSLContext, stop: asyncio.Event) -> tuple[list[str], int]:
    """The names that were acknowledged, and how many answers were not whole."""
    acknowledged: list[str] = []
    broken = 0

    async def write(session: aiohttp.ClientSession, number: int) -> None:
        nonlocal broken
        for count in range(10_000):
            name = f"w{number}-{count}"
            try:
                async with session.post(f"{url}{CONFIG_MAPS}", json={"metadata": {"name": name}}) as answer:
                    if answer.status == 201:
                        body = await answer.json()
                        assert body["metadata"]["name"] == name
                        acknowledged.append(name)
                        if len(acknowledged) >= 200:
                            stop.set()
                    else:
                        assert answer.status in (429, 503)
            except (aiohttp.ClientPayloadError, ValueError):
                broken += 1
                return
            except aiohttp.ClientError:
                return

    async with connect(context) as session:
        await asyncio.gather(*(write(session, number) for number in range(WRITERS)))
    return acknowledged, broken


async def watch_until_it_ends(url: str, context: ssl.SSLContext) -> list[str]:
    async with connect(context) as session, session.get(f"{url}{CONFIG_MAPS}?watch=1") as watch:
        # The stream ends without an error only after the terminating chunk.
        return [json.loads(line)["object"]["metadata"]["name"] async for line in watch.content]


def connect(context: ssl.SSLContext) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context, limit=WRITERS))


def test_a_signal_under_load_loses_no_acknowledged_write_and_halves_no_answer(tmp_path: Path) -> None:
    folder, port = tmp_path / "data", find_port()
    url = f"https://127.0.0.1:{port}"
    server = start_server(folder, port)

    async def load() -> tuple[list[str], int, list[str]]:
        context = make_client_context(folder)
        stop = asyncio.Event()
        watching = asyncio.ensure_future(watch_until_it_ends(url, context))
        writing = asyncio.ensure_future(write_until_it_ends(url, context, stop))
        await asyncio.wait_for(stop.wait(), 3 * WAIT_SECONDS)
        os.kill(server.pid, signal.SIGTERM)
        acknowledged, broken = await asyncio.wait_for(writing, 3 * WAIT_SECONDS)
        watched = await asyncio.wait_for(watching, WAIT_SECONDS)
        await asyncio.sleep(0.05)  # lets the loop take its closed transports off the selector
        return acknowledged, broken, watched

    try:
        wait_until_ready(server)
        acknowledged, broken, watched = asyncio.run(load())
        assert server.wait(WAIT_SECONDS) == 0
    finally:
        server.kill()
        server.wait()
        assert server.stderr is not None
        said = server.stderr.read().decode()
        server.stderr.close()
    assert broken == 0 and len(acknowledged) >= 200
    assert "Traceback" not in said, said
    assert len(watched) == len(set(watched)), "no event twice"

    again = start_server(folder, port)
    try:
        wait_until_ready(again)

        async def read() -> set[str]:
            context = make_client_context(folder)
            async with connect(context) as session, session.get(f"{url}{CONFIG_MAPS}") as answer:
                names = {item["metadata"]["name"] for item in (await answer.json())["items"]}
            await asyncio.sleep(0.05)
            return names

        stored = asyncio.run(read())
        again.send_signal(signal.SIGTERM)
        assert again.wait(WAIT_SECONDS) == 0
    finally:
        again.kill()
        again.wait()
        assert again.stderr is not None
        again.stderr.close()
    assert set(acknowledged) <= stored
    assert set(watched) <= stored

    lines = (folder / "access.log").read_text().splitlines()
    created = [line for line in lines if " verb=POST " in line and " code=201 " in line]
    assert len(created) >= len(acknowledged)
    events = [json.loads(line) for line in (folder / "audit.log").read_text().splitlines()]
    complete = {event["auditID"] for event in events if event["stage"] == "ResponseComplete"}
    assert {line.split(" audit=")[1].split(" ")[0] for line in created} <= complete
