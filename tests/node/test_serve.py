"""The node's own server on real sockets. Rule: spec "node" §5.1."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import aiohttp
import pytest
import uvloop

from seaway.api.machinery.errors import ServiceUnavailable
from seaway.node.config import ServingConfig
from seaway.node.routes import Page
from seaway.node.runtime.contract import Runtime
from seaway.node.serve import MAX_STRANGERS_OF_SOURCE, Answer, listen, serve
from seaway.node.streaming.serve import Streamer
from seaway.pki.certificates import Authority, Pair, create_authority, issue_client, issue_server

WAIT_SECONDS = 20.0
API_SERVER = "kube-apiserver-kubelet-client"


class Running:
    """The server, and clients for it."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.url = f"https://127.0.0.1:{port}"
        self.authority = read_authority(folder)

    def context(self, user: str = "", authority: Authority | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.authority.certificate_pem.decode())
        if user:
            pair = issue_client(authority or self.authority, user=user, groups=(), wall_now=datetime.now(UTC))
            context.load_cert_chain(*write_pair(self.folder, "client", pair))
        return context

    def session(self, user: str = "", authority: Authority | None = None) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self.context(user, authority)))

    async def get(self, path: str, user: str = "") -> tuple[int, str]:
        async with self.session(user) as session, session.get(self.url + path) as answer:
            return answer.status, await answer.text()


def write_pair(folder: Path, name: str, pair: Pair) -> tuple[Path, Path]:
    certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
    certificate.write_bytes(pair.certificate_pem)
    key.write_bytes(pair.key_pem)
    return certificate, key


def read_authority(folder: Path) -> Authority:
    return Authority((folder / "ca.crt").read_bytes(), (folder / "ca.key").read_bytes())


def make_config(folder: Path, port: int = 0) -> ServingConfig:
    now = datetime.now(UTC)
    authority = create_authority("test", wall_now=now)
    write_pair(folder, "ca", authority)
    certificate, key = write_pair(
        folder, "kubelet", issue_server(authority, names=["n"], addresses=["127.0.0.1"], wall_now=now)
    )
    return ServingConfig(
        certificate=certificate, key=key, client_ca=folder / "ca.crt", port=port, clients=(API_SERVER,)
    )


async def fails() -> tuple[str, bytes]:
    raise ServiceUnavailable("the API server is away")


async def ok() -> tuple[str, bytes]:
    return "text/plain", b"ok"


class Nobody(Streamer):
    """A node without Pods: nothing of its runtime is ever asked."""

    def __init__(self) -> None:
        super().__init__(cast(Runtime, None), lambda namespace, name: None)


NOBODY = Nobody()
ANSWERS: dict[Page, Answer] = {Page.HEALTHZ: ok, Page.PODS: fails}


def running(
    tmp_path: Path,
    talk: Callable[[Running], Awaitable[None]],
    loop_factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop,
) -> None:
    async def run() -> None:
        listening = listen(make_config(tmp_path), "127.0.0.1")
        port = listening.port
        task = asyncio.ensure_future(serve(listening, ANSWERS, NOBODY))
        try:
            async with asyncio.timeout(3 * WAIT_SECONDS):
                await talk(Running(tmp_path, port))
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await asyncio.sleep(0.01)  # lets the loop take its closed transports off the selector

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(run())


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_only_the_api_servers_certificate_is_answered(
    tmp_path: Path, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def talk(server: Running) -> None:
        assert await server.get("/healthz", API_SERVER) == (200, "ok")
        assert await server.get("/healthz?verbose=1", API_SERVER) == (200, "ok")
        assert await server.get("/healthz") == (401, "Unauthorized")
        status, text = await server.get("/healthz", "system:node:other")
        assert status == 403 and text.startswith("Forbidden (user=system:node:other, verb=get, resource=nodes")
        assert await server.get("/pods", API_SERVER) == (500, "the API server is away\n")
        assert await server.get("/stats/summary", API_SERVER) == (404, "404 page not found\n")

    running(tmp_path, talk, loop_factory)


def test_a_certificate_of_another_authority_ends_the_handshake(tmp_path: Path) -> None:
    async def talk(server: Running) -> None:
        forged = create_authority("test", wall_now=datetime.now(UTC))
        async with server.session(API_SERVER, forged) as session:
            with pytest.raises((aiohttp.ClientError, OSError)):
                await session.get(f"{server.url}/healthz")

    running(tmp_path, talk)


def test_a_stranger_has_one_answer_per_connection(tmp_path: Path) -> None:
    async def talk(server: Running) -> None:
        for user, kept in (("", b"close"), (API_SERVER, b"")):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=server.context(user))
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            assert (b"Connection: close" in head) == (kept == b"close"), head
            writer.transport.abort()

    running(tmp_path, talk)


def test_strangers_of_one_address_are_few_and_leave_room_when_they_go(tmp_path: Path) -> None:
    async def talk(server: Running) -> None:
        context = server.context()
        held = [
            await asyncio.open_connection("127.0.0.1", server.port, ssl=context) for _ in range(MAX_STRANGERS_OF_SOURCE)
        ]
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
        for _, writer in held:
            writer.transport.abort()

        async def ask() -> bool:
            try:
                return (await server.get("/healthz", API_SERVER))[0] == 200
            except (aiohttp.ClientError, OSError):
                return False

        for _ in range(int(WAIT_SECONDS / 0.01)):  # until the server has seen that they are gone
            if await ask():
                return
            await asyncio.sleep(0.01)
        raise AssertionError("the server never had room again")

    running(tmp_path, talk)


def test_the_api_servers_connections_are_not_counted(tmp_path: Path) -> None:
    async def talk(server: Running) -> None:
        context = server.context(API_SERVER)
        held = []
        for _ in range(MAX_STRANGERS_OF_SOURCE + 8):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            held.append(writer)
        for writer in held:
            writer.transport.abort()

    running(tmp_path, talk)


def test_a_taken_port_is_replaced_by_a_free_one(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        listening = listen(make_config(tmp_path, port), "127.0.0.1")
        listening.socket.close()
        assert listening.socket.fileno() == -1
    with socket.create_server(("127.0.0.1", port)) as taken:
        again = listen(make_config(tmp_path, port), "127.0.0.1")
        assert again.port not in (0, port)
        again.socket.close()
