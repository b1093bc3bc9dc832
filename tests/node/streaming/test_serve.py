"""The node's streams over real connections: WebSockets and SPDY, programs and ports. Rule: spec "node" §5.5 to §5.8."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import WSMsgType, web

from seaway.node.routes import parse_stream_path
from seaway.node.runtime.contract import Runtime
from seaway.node.serve import _Connection, _Server
from seaway.node.state import ContainerState
from seaway.node.streaming.serve import Streamer
from tests.node.manifests import decode_pod, make_run, make_state
from tests.node.streaming.clients import ProcessRuntime, SpdyClient

SUCCESS = {"metadata": {}, "status": "Success"}
WAIT_SECONDS = 30.0


class World:
    """A node with one Pod, behind a plain socket: TLS and names are proved elsewhere."""

    def __init__(self, runtime: ProcessRuntime, port: int, session: aiohttp.ClientSession) -> None:
        self.runtime = runtime
        self.port = port
        self.session = session
        self.writers: list[asyncio.StreamWriter] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def open_socket(self, path: str, *protocols: str) -> aiohttp.ClientWebSocketResponse:
        return await self.session.ws_connect(self.url(path), protocols=protocols)

    async def open_spdy(self, path: str, *protocols: str) -> tuple[SpdyClient, str]:
        """The client and what the server said before."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        versions = "".join(f"X-Stream-Protocol-Version: {name}\r\n" for name in protocols)
        head = f"POST {path} HTTP/1.1\r\nHost: n\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n{versions}\r\n"
        writer.write(head.encode())
        answer = (await reader.readuntil(b"\r\n\r\n")).decode()
        return SpdyClient(reader, writer), answer


@contextlib.asynccontextmanager
async def open_world(directory: Path) -> AsyncIterator[World]:
    runtime = ProcessRuntime(directory)
    pod = decode_pod("web", containers=[{"name": "main", "image": "x"}, {"name": "waits", "image": "x"}])
    state = make_state(ContainerState(name="main", current=make_run("main")))
    found = {("default", "web"): (pod, state)}
    streamer = Streamer(cast(Runtime, runtime), lambda namespace, name: found.get((namespace, name)))
    server = _Server(("api",), {}, streamer)
    loop = asyncio.get_running_loop()

    async def handle(wire: web.BaseRequest) -> web.StreamResponse:
        connection = wire.protocol
        assert isinstance(connection, _Connection)
        connection.stop_clock()
        asked = parse_stream_path(wire.path)
        assert asked is not None
        return await streamer.answer(wire, asked)

    server.request_handler = cast(Any, handle)

    def accept() -> _Connection:
        server.strangers.admit("127.0.0.1")
        return _Connection(server, "127.0.0.1", loop=loop, **server.options)

    listening = await loop.create_server(accept, "127.0.0.1", 0)
    try:
        async with aiohttp.ClientSession() as session:
            world = World(runtime, listening.sockets[0].getsockname()[1], session)
            yield world
            for writer in world.writers:
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()
    finally:
        listening.close()
        await server.shutdown(0.1)
        await asyncio.sleep(0.01)


def in_world(directory: Path, talk: Callable[[World], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(WAIT_SECONDS), open_world(directory) as world:
            await talk(world)

    asyncio.run(run())


async def gather(socket: aiohttp.ClientWebSocketResponse) -> dict[int, bytes]:
    """All that the server says, by channel."""
    said: dict[int, bytes] = {}
    async for message in socket:
        assert message.type is WSMsgType.BINARY
        said[message.data[0]] = said.get(message.data[0], b"") + message.data[1:]
    return said


def exec_path(*command: str, **flags: str) -> str:
    query = "&".join([*(f"{k}={v}" for k, v in flags.items()), *(f"command={c}" for c in command)])
    return f"/exec/default/web/main?{query}"


def test_output_and_the_exit_code_come_apart_and_the_end_is_a_normal_close(tmp_path: Path) -> None:
    async def talk(world: World) -> None:
        path = exec_path("sh", "-c", "echo%20out;echo%20err>%262;exit%203", output="1", error="1")
        socket = await world.open_socket(path, "v5.channel.k8s.io")
        said = await gather(socket)
        status = json.loads(said.pop(3))
        assert said == {1: b"out\n", 2: b"err\n"}
        assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]
        assert (socket.protocol, socket.close_code) == ("v5.channel.k8s.io", 1000)

    in_world(tmp_path, talk)


def test_the_end_of_input_is_a_message_of_its_own(tmp_path: Path) -> None:
    async def talk(world: World) -> None:
        socket = await world.open_socket(exec_path("cat", input="1", output="1"), "v5.channel.k8s.io")
        sent = os.urandom(300_000)
        for start in range(0, len(sent), 32_768):
            await socket.send_bytes(b"\0" + sent[start : start + 32_768])
        await socket.send_bytes(bytes((255, 0)))
        said = await gather(socket)
        assert said[1] == sent
        assert json.loads(said[3]) == SUCCESS

    in_world(tmp_path, talk)


def test_base64_is_spoken_where_a_client_needs_it(tmp_path: Path) -> None:
    async def talk(world: World) -> None:
        socket = await world.open_socket(exec_path("echo", "hi", output="1"), "v4.base64.channel.k8s.io")
        texts = [message.data async for message in socket]
        assert texts[0] == "1"
        assert "1aGkK" in texts

    in_world(tmp_path, talk)


def test_a_terminal_has_a_size_and_one_output(tmp_path: Path) -> None:
    async def talk(world: World) -> None:
        path = exec_path("sh", "-c", "read%20x;stty%20size", input="1", output="1", error="1", tty="1")
        socket = await world.open_socket(path, "v5.channel.k8s.io")
        await socket.send_bytes(b"\4" + b'{"Width":132,"Height":43}')
        await socket.send_bytes(b"\0go\r")
        said = await gather(socket)
        assert said[1].endswith(b"43 132\r\n")
        assert 2 not in said
        assert json.loads(said[3]) == SUCCESS

    in_world(tmp_path, talk)


def test_a_child_that_keeps_the_output_open_is_not_waited_for(tmp_path: Path) -> None:
    async def talk(world: World) -> None:
        path = exec_path("sh", "-c", "sleep%2060%26echo%20done", output="1")
        said = await gather(await world.open_socket(path, "v4.channel.k8s.io"))
        assert said[1] == b"done\n"
        assert json.loads(said[3]) == SUCCESS

    in_world(tmp_path, talk)


def test_a_program_that_cannot_begin_is_an_error_of_the_stream(tmp_path: Path) -> None:
    async def talk(world: World) -> None:
        said = await gather(await world.open_socket(exec_path("nosuch", output="1"), "v4.channel.k8s.io"))
        assert "exec: 'nosuch': not found" in json.loads(said[3])["message"]
        on_terminal = exec_path("nosuch", output="1", tty="1")
        said = await gather(await world.open_socket(on_terminal, "v4.channel.k8s.io"))
        assert json.loads(said[3])["code"] == 500

    in_world(tmp_path, talk)


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        pytest.param("/exec/default/gone/main?output=1", 404, "pod does not exist", id="no such Pod"),
        pytest.param("/exec/default/web/other?output=1", 500, 'container not found ("other")', id="no such container"),
        pytest.param(
            "/exec/default/web/waits?output=1", 500, 'container not found ("waits")', id="one that has not begun"
        ),
        pytest.param("/exec/default/web/u-9/main?output=1", 404, "pod does not exist", id="another Pod of the name"),
        pytest.param("/attach/default/web/main", 400, "you must specify at least 1 of stdin", id="no streams"),
        pytest.param("/portForward/default/gone", 404, "pod does not exist", id="ports of no Pod"),
        pytest.param(
            "/exec/default/web/main?output=1", 400, "X-Stream-Protocol-Version does not exist", id="no upgrade"
        ),
        pytest.param("/containerLogs/default/gone/main", 404, 'pod "gone" does not exist', id="logs of no Pod"),
        pytest.param("/containerLogs/default/web/x", 404, 'container "x" not found in pod "web"', id="of no container"),
        pytest.param("/containerLogs/default/web/waits", 400, "ContainerCreating", id="of one that has not begun"),
        pytest.param("/containerLogs/default/web/main?tailLines=x", 400, "Unable to decode query", id="nonsense"),
    ],
)
def test_refusals_have_the_kubelets_words(tmp_path: Path, path: str, status: int, text: str) -> None:
    async def talk(world: World) -> None:
        async with world.session.get(world.url(path)) as answer:
            assert (answer.status, text in await answer.text()) == (status, True)

    in_world(tmp_path, talk)


def test_spdy_names_what_it_speaks_when_the_client_speaks_something_else(tmp_path: Path) -> None:
    async def talk(world: World) -> None:
        _, answer = await world.open_spdy(exec_path("true", output="1"), "v9.channel.k8s.io")
        assert answer.startswith("HTTP/1.1 403")
        assert "X-Accepted-Stream-Protocol-Versions: v4.channel.k8s.io" in answer

    in_world(tmp_path, talk)


def test_a_program_over_spdy(tmp_path: Path) -> None:
    async def talk(world: World) -> None:
        path = exec_path("sh", "-c", "cat;echo%20err>%262;exit%207", input="1", output="1", error="1")
        client, answer = await world.open_spdy(path, "v5.channel.k8s.io, v4.channel.k8s.io", "v3.channel.k8s.io")
        assert answer.startswith("HTTP/1.1 101")
        assert "X-Stream-Protocol-Version: v4.channel.k8s.io" in answer
        error, stdin, out, err = (client.open({"streamType": n}) for n in ("error", "stdin", "stdout", "stderr"))
        await client.until(lambda: {error, stdin, out, err} <= client.replied)
        client.ping(1)
        client.send(stdin, b"through")
        client.send(stdin, b"", ends=True)
        await client.until(lambda: {error, out, err} <= client.ended and client.has_gone_away)
        assert (client.data[out], client.data[err]) == (b"through", b"err\n")
        assert json.loads(client.data[error])["reason"] == "NonZeroExitCode"
        assert not await client.read_frame()

    in_world(tmp_path, talk)


def test_attach_joins_both_directions_and_passes_the_size_on(tmp_path: Path) -> None:
    async def talk(world: World) -> None:
        path = "/attach/default/web/main?input=1&output=1&tty=1"
        socket = await world.open_socket(path, "v5.channel.k8s.io")
        assert await socket.receive_bytes() == b"\1"
        streams = await world.runtime.attached.get()
        await socket.send_bytes(b'\4{"Width":80,"Height":24}')
        await socket.send_bytes(b"\0typed")
        os.write(streams["stdout"], b"shown")
        assert await socket.receive_bytes() == b"\1shown"
        assert await asyncio.to_thread(os.read, streams["stdin"], 100) == b"typed"
        for handle in streams.values():
            os.close(handle)
        assert json.loads((await gather(socket))[3]) == SUCCESS
        assert world.runtime.sizes == [(24, 80)]

    in_world(tmp_path, talk)


async def open_echo() -> tuple[asyncio.Server, int]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


def test_many_connections_share_one_spdy_connection(tmp_path: Path) -> None:
    async def talk(world: World) -> None:
        server, port = await open_echo()
        client, answer = await world.open_spdy("/portForward/default/web", "portforward.k8s.io")
        assert answer.startswith("HTTP/1.1 101")
        streams = []
        for request in range(3):
            shared = {"port": str(port), "requestID": str(request)}
            error = client.open({"streamType": "error", **shared}, ends=True)
            streams.append((error, client.open({"streamType": "data", **shared})))
        sent = {data: os.urandom(100_000) for _, data in streams}
        for data, content in sent.items():
            for start in range(0, len(content), 30_000):
                client.send(data, content[start : start + 30_000])
            client.send(data, b"", ends=True)
        await client.until(lambda: set(sent) <= client.ended)
        assert {data: client.data[data] for data in sent} == sent
        server.close()

    in_world(tmp_path, talk)


def test_a_port_that_nobody_has_is_said_on_the_error_stream_and_the_connection_stays(tmp_path: Path) -> None:
    async def talk(world: World) -> None:
        server, port = await open_echo()
        client, _ = await world.open_spdy("/portForward/default/web", "portforward.k8s.io")
        error = client.open({"streamType": "error", "port": "1", "requestID": "0"}, ends=True)
        data = client.open({"streamType": "data", "port": "1", "requestID": "0"})
        await client.until(lambda: {error, data} <= client.reset)
        assert client.data[error] == b"error forwarding port 1 to pod default/web, uid : connect: connection refused"
        nonsense = client.open({"streamType": "data", "port": "0"})
        await client.until(lambda: nonsense in client.reset)
        client.open({"streamType": "error", "port": str(port), "requestID": "1"}, ends=True)
        second = client.open({"streamType": "data", "port": str(port), "requestID": "1"})
        client.send(second, b"still here", ends=True)
        await client.until(lambda: second in client.ended)
        assert client.data[second] == b"still here"
        server.close()

    in_world(tmp_path, talk)


def test_ports_over_messages_begin_with_their_numbers(tmp_path: Path) -> None:
    async def talk(world: World) -> None:
        server, port = await open_echo()
        socket = await world.open_socket(f"/portForward/default/web?port={port}&port=1", "v4.channel.k8s.io")
        first = [await socket.receive_bytes() for _ in range(4)]
        assert first == [bytes((c,)) + (port if c < 2 else 1).to_bytes(2, "little") for c in range(4)]
        assert (await socket.receive_bytes())[:1] == b"\3"
        await socket.send_bytes(b"\0hello")
        assert await socket.receive_bytes() == b"\0hello"
        await socket.close()
        server.close()

    in_world(tmp_path, talk)


def test_a_log_is_sent_as_it_grows(tmp_path: Path) -> None:
    async def talk(world: World) -> None:
        (tmp_path / "main").mkdir()
        (tmp_path / "main" / "0.log").write_bytes(b"2026-01-01T00:00:00.000000000Z stdout F hello\n")
        async with world.session.get(world.url("/containerLogs/default/web/main?follow=true")) as answer:
            assert answer.headers["Content-Type"] == "text/plain"
            assert await answer.content.readline() == b"hello\n"
            with (tmp_path / "main" / "0.log").open("ab") as file:
                file.write(b"2026-01-01T00:00:01.000000000Z stderr F more\n")
            assert await answer.content.readline() == b"more\n"

    in_world(tmp_path, talk)
