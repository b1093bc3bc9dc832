"""Real sockets: TLS, certificates, tokens, the unix socket, the end. Rule: spec "api-machinery" §7.1, §10.1, §11."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import ssl
import stat
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509

from seaway.api.machinery.http import Identity, Request
from seaway.apiserver.run import ServerConfig, open_server
from seaway.apiserver.serve import TcpListener, UnixListener, make_reader, serve
from seaway.store.memory import MemoryStore
from seaway.testing.builders import make_service
from tests.apiserver.certificates import Authority
from tests.apiserver.conversation import SERVICES
from tests.apiserver.running import CREDENTIALS, Running, running


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


WHOAMI = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


async def ask_who(server: Running, certificate: tuple[Path, Path] | None, **headers: str) -> tuple[int, dict[str, Any]]:
    """The status, and who the server takes the client for."""
    context = ssl.create_default_context(cafile=str(server.authority.path))
    if certificate is not None:
        context.load_cert_chain(*certificate)
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
        session.post(f"{server.url}{WHOAMI}", json={}, headers=headers) as answer,
    ):
        body = await answer.json()
        return answer.status, body["status"]["userInfo"] if answer.status == 201 else body


def test_a_certificate_past_its_time_is_401_and_a_good_token_beside_it_counts(tmp_path: Path) -> None:
    async def conversation(server: Running) -> None:
        old = server.authority.issue("old", "ann", "system:masters", days=(-2, -1))
        early = server.authority.issue("early", "ann", "system:masters", days=(1, 2))
        for certificate in (old, early):
            status, body = await ask_who(server, certificate)
            assert (status, body["reason"], body["message"]) == (401, "Unauthorized", "Unauthorized")
            assert "details" not in body and body["metadata"] == {}
            status, user = await ask_who(server, certificate, authorization="Bearer good")
            assert (status, user["username"]) == (201, "robot")

    running(tmp_path, conversation)


def test_a_connection_does_not_outlive_its_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    path, _ = authority.issue("ann", "ann")
    der = ssl.PEM_cert_to_DER_cert(path.read_text())
    shown = make_reader(authority.serving()).read(((("commonName", "ann"),),), der)
    ends = x509.load_der_x509_certificate(der).not_valid_after_utc
    assert shown.find_identity({}, ends) == Identity("ann", ("system:authenticated",))
    assert shown.find_identity({}, ends + timedelta(seconds=1)) is None


def test_the_uid_comes_from_the_certificates_own_field(tmp_path: Path) -> None:
    async def conversation(server: Running) -> None:
        certificate = server.authority.issue("ann", "ann", "g", uid="u-1")
        assert await ask_who(server, certificate) == (
            201, {"username": "ann", "uid": "u-1", "groups": ["g", "system:authenticated"]},
        )  # fmt: skip

    running(tmp_path, conversation)


def test_an_extra_blank_before_the_token_is_warned_of_and_the_client_is_anonymous(tmp_path: Path) -> None:
    async def conversation(server: Running) -> None:
        async with server.session() as session:
            headers = {"authorization": "Bearer  good"}
            async with session.get(f"{server.url}/version", headers=headers) as answer:
                assert answer.status == 200
                assert answer.headers["Warning"] == (
                    '299 - "the provided Authorization header contains extra space before the bearer token, and is '
                    'ignored"'
                )
            async with session.get(f"{server.url}/api", headers=headers) as answer:
                assert answer.status == 403

    running(tmp_path, conversation)


def test_without_anonymous_who_shows_nothing_is_401_even_for_health(tmp_path: Path) -> None:
    async def conversation(server: Running) -> None:
        async with server.session() as session, session.get(f"{server.url}/livez") as answer:
            assert answer.status == 401
        async with server.session(token="good") as session, session.get(f"{server.url}/livez") as answer:
            assert answer.status == 200

    running(tmp_path, conversation, credentials=replace(CREDENTIALS, allows_anonymous=False))


FORWARDED = {
    "X-Remote-User": "ann",
    "X-Remote-Group": "g",
    "X-Remote-Uid": "u-1",
    "X-Remote-Extra-scope%2Fa": "1",
}
ANN = {"username": "ann", "uid": "u-1", "groups": ["g", "system:authenticated"], "extra": {"scope/a": ["1"]}}


def proxied(tmp_path: Path, conversation: Callable[[Running, Authority], Awaitable[None]], *names: str) -> None:
    """A conversation with a server that believes the proxies of a second CA."""
    folder = tmp_path / "proxies"
    folder.mkdir()
    proxies = Authority(folder, "proxy-ca")

    async def talk(server: Running) -> None:
        await conversation(server, proxies)

    running(tmp_path, talk, front_proxy=(proxies.path, names))


def test_a_front_proxy_says_whom_it_speaks_for(tmp_path: Path) -> None:
    async def conversation(server: Running, proxies: Authority) -> None:
        proxy = proxies.issue("proxy", "front", "system:masters")
        assert await ask_who(server, proxy, **FORWARDED) == (201, ANN)
        assert (await ask_who(server, proxy))[0] == 401, "by itself it is nobody, whatever its certificate says"

    proxied(tmp_path, conversation, "front")


def test_the_headers_of_anybody_else_are_not_believed(tmp_path: Path) -> None:
    async def conversation(server: Running, proxies: Authority) -> None:
        other = proxies.issue("other", "other", "system:masters")
        assert (await ask_who(server, other, **FORWARDED))[0] == 401, "a proxy of another name"
        client = server.authority.issue("ben", "front", "x")
        status, user = await ask_who(server, client, **FORWARDED)
        assert (status, user["username"], user["groups"]) == (201, "front", ["x", "system:authenticated"])
        assert (await ask_who(server, None, **FORWARDED))[0] == 403
        token = {"authorization": "Bearer good"}
        assert (await ask_who(server, None, **FORWARDED, **token))[1]["username"] == "robot"

    proxied(tmp_path, conversation, "front")


def test_any_name_may_forward_where_none_is_given(tmp_path: Path) -> None:
    async def conversation(server: Running, proxies: Authority) -> None:
        assert await ask_who(server, proxies.issue("p", "anything"), **FORWARDED) == (201, ANN)

    proxied(tmp_path, conversation)


def test_without_a_ca_of_proxies_nobody_forwards(tmp_path: Path) -> None:
    async def conversation(server: Running) -> None:
        client = server.authority.issue("ben", "ben")
        assert (await ask_who(server, client, **FORWARDED))[1]["username"] == "ben"

    running(tmp_path, conversation)
