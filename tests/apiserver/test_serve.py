"""Real sockets: TLS, certificates, tokens, the unix socket, the end. Rule: spec "api-machinery" §7.1, §10.1, §11."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import ssl
import stat
from pathlib import Path

import aiohttp
import pytest

from seaway.api.machinery.http import Request
from seaway.apiserver.run import ServerConfig, open_server
from seaway.apiserver.serve import TcpListener, UnixListener, serve
from seaway.store.memory import MemoryStore
from seaway.testing.builders import make_service
from tests.apiserver.certificates import Authority
from tests.apiserver.conversation import SERVICES
from tests.apiserver.running import Running, running


def test_a_certificate_is_an_identity_on_tcp(tmp_path: Path) -> None:
    async def conversation(server: Running) -> None:
        async with server.session(user="ann") as session:
            async with session.post(f"{server.url}{SERVICES}", json=make_service()) as answer:
                assert answer.status == 201
            async with session.get(f"{server.url}{SERVICES}/web") as answer:
                body = await answer.json()
                assert body["spec"]["type"] == "ClusterIP"
                assert answer.headers["Content-Type"] == "application/json" and answer.headers["Audit-Id"]
            assert len(server.serving.addresses) == 2, "the inherited socket is served too"
            async with session.get(f"https://127.0.0.1:{server.serving.addresses[1][1]}{SERVICES}") as answer:
                assert len((await answer.json())["items"]) == 1

    running(tmp_path, conversation)


def test_tokens_good_and_bad_and_none(tmp_path: Path) -> None:
    async def conversation(server: Running) -> None:
        for token, code in (("good", 200), ("bad", 401), ("", 403)):
            async with server.session(token=token) as session, session.get(f"{server.url}{SERVICES}") as answer:
                assert answer.status == code
                body = await answer.json()
                if code == 401:
                    assert (body["message"], body["reason"]) == ("Unauthorized", "Unauthorized")
                if code == 403:
                    assert 'User "system:anonymous" cannot list' in body["message"]

    running(tmp_path, conversation)


def test_the_unix_socket_is_private_and_asks_for_credentials(tmp_path: Path) -> None:
    async def conversation(server: Running) -> None:
        assert stat.S_IMODE(server.socket_path.stat().st_mode) == 0o600
        certificate, key = server.authority.issue("ann", "ann", "system:masters")
        known = server.over_unix(certificate_file=certificate, key_file=key)
        unknown = server.over_unix()
        assert (await unknown.send(Request("GET", "/version"))).status == 200
        assert (await unknown.send(Request("GET", SERVICES))).status == 403, "a socket never implies an identity"
        assert (await known.send(Request("GET", SERVICES))).status == 200
        await known.close()
        await unknown.close()

    running(tmp_path, conversation)
    assert not (tmp_path / "api.sock").exists()


def test_a_certificate_of_another_ca_does_not_connect(tmp_path: Path) -> None:
    async def conversation(server: Running) -> None:
        folder = tmp_path / "other"
        folder.mkdir()
        certificate, key = Authority(folder).issue("eve", "eve", "system:masters")
        context = ssl.create_default_context(cafile=str(server.authority.path))
        context.load_cert_chain(certificate, key)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
            with pytest.raises(aiohttp.ClientError):
                await session.get(f"{server.url}/version")

    running(tmp_path, conversation)


def test_an_idle_watch_answers_its_header_and_events_come_one_per_line(tmp_path: Path) -> None:
    async def conversation(server: Running) -> None:
        target = f"{server.url}{SERVICES}?watch=1"
        async with server.session(token="good") as session, session.get(target) as watch:
            assert watch.status == 200 and watch.headers["Transfer-Encoding"] == "chunked"
            await session.post(f"{server.url}{SERVICES}", json=make_service())
            event = json.loads(await asyncio.wait_for(watch.content.readline(), 5))
            assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "web")
            closing = asyncio.ensure_future(server.serving.close())
            assert await asyncio.wait_for(watch.content.read(), 5) == b"", "the end of the server is a clean end"
            await closing

    running(tmp_path, conversation)


def test_a_watcher_that_hangs_up_is_forgotten(tmp_path: Path) -> None:
    async def conversation(server: Running) -> None:
        streams = server.serving._http.server.state.streams
        target = f"{server.url}{SERVICES}?watch=1"
        async with server.session(token="good") as session, session.get(target):
            (stream,) = streams
        for _ in range(1000):
            if stream not in streams:
                return
            await asyncio.sleep(0.005)
        raise AssertionError("the watch is still there")

    running(tmp_path, conversation)


def test_a_body_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    async def conversation(server: Running) -> None:
        async with server.session(token="good") as session:
            big = io.BytesIO(b" " * ((3 << 20) + 10))
            headers = {"content-type": "application/json"}
            async with session.post(f"{server.url}{SERVICES}", data=big, headers=headers) as answer:
                assert answer.status == 413
                assert (await answer.json())["message"] == "Request entity too large: limit is 3145728"

    running(tmp_path, conversation)


def test_a_taken_port_opens_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        store = MemoryStore()
        server = await open_server(ServerConfig(), store, runs_loops=False)
        with socket.create_server(("127.0.0.1", 0)) as other:
            taken = TcpListener("127.0.0.1", other.getsockname()[1])
            free = UnixListener(tmp_path / "api.sock")
            with pytest.raises(OSError):
                await serve(server, tls=Authority(tmp_path).serving(), listen=(free, taken))
        assert not (tmp_path / "api.sock").exists()
        await server.close()
        await store.close()

    asyncio.run(run())
