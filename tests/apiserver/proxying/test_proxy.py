"""Requests through a real server to real programs. Rule: spec "service-api" §8; "api-machinery" §9.5; design §12."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import aiohttp.web
import pytest
import uvloop
from yarl import URL

from seaway.apiserver.serve import Ending
from seaway.apiserver.serving.dialing import make_kubelet_context
from seaway.apiserver.serving.forwarding import HttpBackends
from seaway.apiserver.upgrade import TOKEN_PROTOCOL
from seaway.testing.netns import Namespace
from tests.apiserver.certificates import Authority
from tests.apiserver.proxying.backends import (
    Network,
    answering,
    listening_at,
    make_address,
    make_endpoints,
    make_pod,
    make_service,
    make_subset,
    read_head,
)
from tests.apiserver.running import WAIT_SECONDS, Running, read_rest, running

BASE = "/api/v1/namespaces/default"
HELLO = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
REFUSED = "connect: connection refused"
POD_IP = "10.244.0.5"
Json = dict[str, Any]
Talk = Callable[[Running, aiohttp.ClientSession, Network], Awaitable[None]]


async def make_object(
    server: Running, session: aiohttp.ClientSession, plural: str, obj: Json, ns: str = "default"
) -> None:
    path = f"{server.url}/api/v1/namespaces/{ns}/{plural}"
    async with session.post(path, json=obj) as answer:
        assert answer.status == 201, await answer.text()
    if "status" in obj:
        name = obj["metadata"]["name"]
        patch = json.dumps({"status": obj["status"]})
        headers = {"content-type": "application/merge-patch+json"}
        async with session.patch(f"{path}/{name}/status", data=patch, headers=headers) as answer:
            assert answer.status == 200, await answer.text()


async def make_web(server: Running, session: aiohttp.ClientSession, ip: str = POD_IP, ns: str = "default") -> None:
    """Service `web`, its port 80 at port 8080 of Pod `web-1`."""
    await make_object(server, session, "pods", make_pod("web-1", ip, ports=(8080,)), ns)
    await make_object(server, session, "services", make_service("web", ("", 80)), ns)
    subset = make_subset(8080, make_address(ip, "web-1", ns))
    await make_object(server, session, "endpoints", make_endpoints("web", subset), ns)


def talking(tmp_path: Path, talk: Talk, **options: Any) -> None:
    network = Network()

    async def conversation(server: Running) -> None:
        async with server.session(token="good") as session:
            await talk(server, session, network)

    running(tmp_path, conversation, backends=network.backends, **options)


@pytest.mark.parametrize(
    "where", ["services/web", "services/web:80", "services/http:web:", "pods/web-1", "pods/web-1:8080"]
)
def test_a_request_reaches_the_program_and_its_answer_the_client(tmp_path: Path, where: str) -> None:
    seen: list[tuple[str, dict[str, str]]] = []

    async def talk(server: Running, session: aiohttp.ClientSession, network: Network) -> None:
        await make_web(server, session)
        async with network.listening(POD_IP, 8080, answering(HELLO, seen)):
            headers = {"X-Remote-User": "root", "X-Own": "kept", "X-Forwarded-For": "1.2.3.4"}
            url = f"{server.url}{BASE}/{where}/proxy/a%20b/c/?q=1&q=%2F"
            async with session.get(URL(url, encoded=True), headers=headers) as answer:
                assert (answer.status, await answer.text()) == (200, "hello")
                assert answer.headers["Content-Length"] == "5"
                assert answer.headers["Audit-Id"]
        ((first, fields),) = seen
        assert first == "GET /a%20b/c/?q=1&q=%2F HTTP/1.1"
        assert fields["host"] == f"127.0.0.1:{server.port}"
        assert fields["x-own"] == "kept"
        assert fields["x-forwarded-for"] == "1.2.3.4, 127.0.0.1"
        assert fields["x-forwarded-uri"] == f"{BASE}/{where}/proxy/a%20b/c/"
        assert not {"authorization", "x-remote-user"} & set(fields)

    talking(tmp_path, talk)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
def test_every_method_is_passed_on(tmp_path: Path, method: str) -> None:
    seen: list[tuple[str, dict[str, str]]] = []

    async def talk(server: Running, session: aiohttp.ClientSession, network: Network) -> None:
        await make_web(server, session)
        answer_with = HELLO.removesuffix(b"hello") if method == "HEAD" else HELLO
        async with (
            network.listening(POD_IP, 8080, answering(answer_with, seen)),
            session.request(method, f"{server.url}{BASE}/services/web/proxy/x") as answer,
        ):
            assert (answer.status, answer.headers["Content-Length"]) == (200, "5")
            assert await answer.text() == ("" if method == "HEAD" else "hello")
        assert [first for first, _ in seen] == [f"{method} /x HTTP/1.1"]

    talking(tmp_path, talk)


def test_a_path_without_a_slash_is_redirected_to_the_one_with_it(tmp_path: Path) -> None:
    async def talk(server: Running, session: aiohttp.ClientSession, network: Network) -> None:
        await make_web(server, session)
        path = f"{BASE}/services/web/proxy"
        for method in ("GET", "HEAD"):
            async with session.request(method, f"{server.url}{path}?a=b", allow_redirects=False) as answer:
                assert (answer.status, answer.headers["Location"]) == (301, f"{path}/?a=b")
        assert not network.dialled
        seen: list[tuple[str, dict[str, str]]] = []
        async with network.listening(POD_IP, 8080, answering(HELLO, seen)):
            async with session.post(f"{server.url}{path}") as answer:
                assert await answer.text() == "hello"
            assert seen[0][0] == "POST / HTTP/1.1"

    talking(tmp_path, talk)


LOOPS = pytest.mark.parametrize(
    "loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
LoopFactory = Callable[[], asyncio.AbstractEventLoop]


async def refusal(server: Running, session: aiohttp.ClientSession, path: str, **options: Any) -> tuple[int, str]:
    async with session.get(f"{server.url}{path}", **options) as answer:
        status = await answer.json()
        assert status["kind"] == "Status", status
        assert status["code"] == answer.status
        return answer.status, status["message"]


def test_what_cannot_be_reached_is_told_as_upstream_tells_it(tmp_path: Path) -> None:
    async def talk(server: Running, session: aiohttp.ClientSession, network: Network) -> None:
        await make_web(server, session)
        await make_object(server, session, "services", make_service("bare", ("", 80)))
        await make_object(server, session, "endpoints", make_endpoints("empty"))
        cases = {
            "services/a:b:c:d/proxy/": (400, 'invalid service request "a:b:c:d"'),
            "services/ftp:web:80/proxy/": (400, 'invalid service request "ftp:web:80"'),
            "pods/ftp:web:80/proxy/": (400, 'invalid pod request "ftp:web:80"'),
            "pods/web-1:http/proxy/": (400, 'invalid pod request "web-1:http"'),
            "pods/none/proxy/": (404, 'pods "none" not found'),
            "services/none:80/proxy/": (404, 'services "none" not found'),
            "services/none/proxy/": (404, 'services "none" not found'),
            "services/bare/proxy/": (404, 'services "bare" not found'),
            "services/empty/proxy/": (503, 'no endpoints available for service "empty"'),
            "services/web:81/proxy/": (503, 'no service port 81 found for service "web"'),
            "services/http:web:name/proxy/": (503, 'no endpoints available for service "http:web:name"'),
            "services/web/proxy/?dryRun=All": (400, "dryRun is not supported"),
            "services/web/proxy/": (
                503,
                f"error trying to reach service: dial tcp {POD_IP}:8080: connect: connection refused",
            ),
        }
        for path, expected in cases.items():
            assert await refusal(server, session, f"{BASE}/{path}") == expected
        assert network.dialled == [f"{POD_IP}:8080"]

    talking(tmp_path, talk)


def test_only_addresses_that_a_pod_of_the_namespace_has_are_dialled(tmp_path: Path) -> None:
    """Endpoints are written by users: a forged one must not make the server a way into other networks."""

    async def talk(server: Running, session: aiohttp.ClientSession, network: Network) -> None:
        async with session.post(f"{server.url}/api/v1/namespaces", json={"metadata": {"name": "other"}}) as answer:
            assert answer.status == 201
        await make_object(server, session, "pods", make_pod("mine", "10.244.0.5"))
        await make_object(server, session, "pods", make_pod("theirs", "10.244.0.6"), "other")
        forged = {
            "no-reference": make_address("10.244.0.5", None),
            "another-address": make_address("169.0.0.1", "mine"),
            "no-such-pod": make_address("10.244.0.5", "nobody"),
            "pod-of-another-namespace": make_address("10.244.0.6", "theirs", "other"),
            "namespace-not-named": {"ip": "10.244.0.5", "targetRef": {"kind": "Pod", "name": "mine"}},
            "address-of-another-namespaces-pod": make_address("10.244.0.6", "mine"),
        }
        for name, address in forged.items():
            await make_object(server, session, "endpoints", make_endpoints(name, make_subset(80, address)))
            expected = (503, f'no endpoints available for service "{name}"')
            assert await refusal(server, session, f"{BASE}/services/{name}/proxy/") == expected
        await make_object(server, session, "endpoints", make_endpoints("late", {
            "notReadyAddresses": [make_address("10.244.0.5", "mine")], "ports": [{"port": 80}]}))  # fmt: skip
        assert (await refusal(server, session, f"{BASE}/services/late/proxy/"))[0] == 503
        assert not network.dialled

    talking(tmp_path, talk)


@pytest.mark.parametrize("ip", ["127.0.0.1", "169.254.169.254", "::1", "224.0.0.1", "0.0.0.0"])
def test_a_pod_that_claims_a_special_address_is_not_dialled(tmp_path: Path, ip: str) -> None:
    async def talk(server: Running, session: aiohttp.ClientSession, network: Network) -> None:
        await make_object(server, session, "pods", make_pod("liar", ip))
        assert await refusal(server, session, f"{BASE}/pods/liar:80/proxy/") == (400, "address not allowed")
        assert not network.dialled

    talking(tmp_path, talk)


def test_a_pod_that_has_lost_its_address_is_not_dialled(tmp_path: Path) -> None:
    async def talk(server: Running, session: aiohttp.ClientSession, network: Network) -> None:
        await make_web(server, session)
        async with network.listening(POD_IP, 8080, answering(HELLO)):
            async with session.get(f"{server.url}{BASE}/services/web/proxy/") as answer:
                assert answer.status == 200
            patch = json.dumps({"status": {"podIP": "10.244.0.9", "podIPs": [{"ip": "10.244.0.9"}]}})
            headers = {"content-type": "application/merge-patch+json"}
            async with session.patch(f"{server.url}{BASE}/pods/web-1/status", data=patch, headers=headers) as answer:
                assert answer.status == 200
            assert (await refusal(server, session, f"{BASE}/services/web/proxy/"))[0] == 503

    talking(tmp_path, talk)


@LOOPS
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_an_upload_that_is_larger_than_any_object_flows_through(
    tmp_path: Path, framing: str, loop_factory: LoopFactory
) -> None:
    """12 MiB, four times what other requests may have; the backend answers while it still reads."""
    piece, count = b"x" * 65536, 192

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, fields = await read_head(reader)
        assert ("content-length" in fields) == (framing == "length")
        total = 0
        if framing == "length":
            await reader.readexactly(int(fields["content-length"]))
            total = int(fields["content-length"])
        else:
            while size := int((await reader.readline()).strip(), 16):
                await reader.readexactly(size + 2)
                total += size
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%d" % (len(str(total)), total))
        await writer.drain()
        await reader.read()

    async def talk(server: Running, session: aiohttp.ClientSession, network: Network) -> None:
        await make_web(server, session)

        async def pieces() -> Any:
            for _ in range(count):
                yield piece

        headers = {"Content-Length": str(len(piece) * count)} if framing == "length" else {}
        async with network.listening(POD_IP, 8080, serve):
            url = f"{server.url}{BASE}/services/web/proxy/up"
            async with session.post(url, data=pieces(), headers=headers) as answer:
                assert (answer.status, await answer.text()) == (200, str(len(piece) * count))

    talking(tmp_path, talk, loop_factory=loop_factory)


@LOOPS
def test_a_client_that_does_not_read_stops_the_backend_and_nothing_is_kept_whole(
    tmp_path: Path, loop_factory: LoopFactory
) -> None:
    sent = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while sent < 256 << 20:
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536

    async def talk(server: Running, session: aiohttp.ClientSession, network: Network) -> None:
        await make_web(server, session)
        async with (
            network.listening(POD_IP, 8080, serve),
            session.get(f"{server.url}{BASE}/services/web/proxy/") as answer,
        ):
            await answer.content.readexactly(1 << 20)
            before = -1
            while before != sent:  # until nothing moves any more
                before = sent
                for _ in range(200):
                    await asyncio.sleep(0)
                await asyncio.sleep(0.05)
            assert sent < 64 << 20
            answer.close()

    talking(tmp_path, talk, loop_factory=loop_factory)


@LOOPS
def test_both_ways_are_open_at_once(tmp_path: Path, loop_factory: LoopFactory) -> None:
    """Each piece of the body is answered before the next is sent."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while size := int((await reader.readline()).strip(), 16):
            piece = (await reader.readexactly(size + 2))[:-2].upper()
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        await reader.read()

    async def talk(server: Running, session: aiohttp.ClientSession, network: Network) -> None:
        await make_web(server, session)
        heard: asyncio.Queue[bytes] = asyncio.Queue()

        async def pieces() -> Any:
            yield b"one"
            assert await asyncio.wait_for(heard.get(), WAIT_SECONDS) == b"ONE"
            yield b"two"

        async with (
            network.listening(POD_IP, 8080, serve),
            session.post(f"{server.url}{BASE}/services/web/proxy/", data=pieces()) as answer,
        ):
            async for piece in answer.content.iter_any():
                heard.put_nowait(piece)
        assert heard.get_nowait() == b"TWO"

    talking(tmp_path, talk, loop_factory=loop_factory)


@pytest.mark.parametrize(
    "answer_with",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nonly\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nonly\r\nzz\r\n",
    ],
    ids=["length", "chunked", "nonsense"],
)
def test_half_of_an_answer_does_not_look_like_a_whole_one(tmp_path: Path, answer_with: bytes) -> None:
    async def talk(server: Running, session: aiohttp.ClientSession, network: Network) -> None:
        await make_web(server, session)
        async with (
            network.listening(POD_IP, 8080, answering(answer_with)),
            session.get(f"{server.url}{BASE}/services/web/proxy/") as answer,
        ):
            assert answer.status == 200
            with pytest.raises(aiohttp.ClientError):
                await answer.read()

    talking(tmp_path, talk)


@pytest.mark.parametrize(
    ("answer_with", "text"),
    [
        (b"", "EOF"),
        (b"HTTP/1.1 200 OK\r\nA:", "unexpected EOF"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "malformed HTTP response 'SSH-2.0-OpenSSH'"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "101 without a request for it"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"x" * (300 << 10), "header longer than 262144 bytes"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "bad Content-Length '-1'"),
    ],
    ids=["nothing", "half a head", "another protocol", "an upgrade nobody wanted", "an endless head", "bad length"],
)
def test_a_backend_that_speaks_nonsense_is_named(tmp_path: Path, answer_with: bytes, text: str) -> None:
    async def talk(server: Running, session: aiohttp.ClientSession, network: Network) -> None:
        await make_web(server, session)
        async with network.listening(POD_IP, 8080, answering(answer_with)):
            expected = (503, f"error trying to reach service: {POD_IP}:8080: {text}")
            assert await refusal(server, session, f"{BASE}/services/web/proxy/") == expected

    talking(tmp_path, talk)


def test_websockets_pass_and_the_token_stays_here(tmp_path: Path) -> None:
    async def talk(server: Running, session: aiohttp.ClientSession, network: Network) -> None:
        await make_web(server, session)
        seen: list[str] = []

        async def speak(request: aiohttp.web.Request) -> aiohttp.web.StreamResponse:
            seen.append(request.headers["Sec-WebSocket-Protocol"])
            peer = aiohttp.web.WebSocketResponse(protocols=("chat",))
            await peer.prepare(request)
            async for message in peer:
                await peer.send_bytes(message.data[::-1])
            return peer

        app = aiohttp.web.Application()
        app.router.add_get("/chat", speak)
        runner = aiohttp.web.AppRunner(app)
        await runner.setup()
        site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        network.ports[POD_IP, 8080] = runner.addresses[0][1]
        url = f"{server.url}{BASE}/services/web/proxy/chat"
        async with session.ws_connect(url, protocols=("chat", f"{TOKEN_PROTOCOL}Z29vZA")) as peer:
            assert peer.protocol == "chat"
            (line,) = await count_open(server, session)
            assert 'verb="CONNECT"' in line and line.endswith(" 1")
            for size in (1, 100_000, 900_000):
                await peer.send_bytes(b"a" * size + b"z")
                assert await peer.receive_bytes(timeout=WAIT_SECONDS) == b"z" + b"a" * size
        assert seen == ["chat"]
        assert await count_open(server, session) == []
        await runner.cleanup()

    talking(tmp_path, talk)


async def count_open(server: Running, session: aiohttp.ClientSession) -> list[str]:
    """The metric of proxied requests that are open."""
    async with session.get(f"{server.url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return [line for line in lines if line.startswith("apiserver_longrunning_requests{") and "proxy" in line]


async def dial_upgrade(server: Running, protocol: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await server.dial()
    writer.write(
        f"GET {BASE}/services/web/proxy/up HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\n"
        f"Connection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n".encode()
    )
    return reader, writer


@LOOPS
@pytest.mark.parametrize("protocol", ["websocket", "SPDY/3.1", "raw"])
def test_any_protocol_may_be_spoken_after_an_upgrade(tmp_path: Path, protocol: str, loop_factory: LoopFactory) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, asked = await read_head(reader)
        assert (asked["upgrade"], asked["connection"]) == (protocol, "Upgrade")
        writer.write(
            f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: {protocol}\r\nConnection: Upgrade\r\n\r\nfirst".encode()
        )
        while data := await reader.read(65536):
            writer.write(data.upper())
            await writer.drain()
            if data.endswith(b"bye"):
                return

    async def talk(server: Running, session: aiohttp.ClientSession, network: Network) -> None:
        await make_web(server, session)
        async with network.listening(POD_IP, 8080, serve):
            reader, writer = await dial_upgrade(server, protocol)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), WAIT_SECONDS)
            assert head.startswith(b"HTTP/1.1 101 ") and f"Upgrade: {protocol}\r\n".encode() in head
            assert await asyncio.wait_for(reader.readexactly(5), WAIT_SECONDS) == b"first"
            for size in (1, 3, 1 << 20):
                writer.write(b"a" * size)
                assert await asyncio.wait_for(reader.readexactly(size), WAIT_SECONDS) == b"A" * size
            writer.write(b"GET / HTTP/1.1\r\n\r\nbye")  # nobody takes it for a request
            assert await asyncio.wait_for(reader.read(), WAIT_SECONDS) == b"GET / HTTP/1.1\r\n\r\nBYE"
            writer.close()

    talking(tmp_path, talk, loop_factory=loop_factory)


@LOOPS
@pytest.mark.parametrize("is_deaf", [False, True], ids=["the Pod listens", "the Pod reads nothing"])
def test_a_stop_ends_tunnels_at_once_after_what_was_said(
    tmp_path: Path, is_deaf: bool, loop_factory: LoopFactory
) -> None:
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: raw\r\nConnection: Upgrade\r\n\r\nlast words")
        await writer.drain()
        try:
            if is_deaf:
                await asyncio.Event().wait()
            await reader.read()
        finally:
            ended.set()

    async def talk(server: Running, session: aiohttp.ClientSession, network: Network) -> None:
        await make_web(server, session)
        async with network.listening(POD_IP, 8080, serve):
            reader, writer = await dial_upgrade(server, "raw")
            await asyncio.wait_for(reader.readuntil(b"last words"), WAIT_SECONDS)
            if is_deaf:
                writer.write(b"a" * (16 << 20))  # more than lies between: the server waits for the Pod
            await server.serving.close()  # its grace is longer than this test may take
            assert await read_rest(reader) in ((None, b"") if is_deaf else (b"",))
            if not is_deaf:
                await asyncio.wait_for(ended.wait(), WAIT_SECONDS)
            writer.transport.abort()

    talking(tmp_path, talk, loop_factory=loop_factory, end=Ending(grace_seconds=10 * WAIT_SECONDS))


def test_a_refused_upgrade_is_an_ordinary_answer(tmp_path: Path) -> None:
    async def talk(server: Running, session: aiohttp.ClientSession, network: Network) -> None:
        await make_web(server, session)
        async with network.listening(POD_IP, 8080, answering(HELLO)):
            for protocol in ("websocket", "raw"):
                reader, writer = await dial_upgrade(server, protocol)
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), WAIT_SECONDS)
                assert head.startswith(b"HTTP/1.1 200 ")
                assert await asyncio.wait_for(reader.readexactly(5), WAIT_SECONDS) == b"hello"
                writer.close()

    talking(tmp_path, talk)


@LOOPS
def test_a_backend_with_a_certificate_of_its_own_is_reached(tmp_path: Path, loop_factory: LoopFactory) -> None:
    """It is not verified, as upstream: who has the Pod's address is the Pod."""
    authority = Authority(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    files = authority.serving()
    context.load_cert_chain(files.certificate, files.key)

    async def speak_plainly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(HELLO)
        await writer.drain()

    async def talk(server: Running, session: aiohttp.ClientSession, network: Network) -> None:
        await make_web(server, session)
        async with network.listening(POD_IP, 8080, answering(HELLO), ssl=context):
            for where in ("services/https:web:80", "services/https:web:", "pods/https:web-1:8080"):
                async with session.get(f"{server.url}{BASE}/{where}/proxy/") as answer:
                    assert await answer.text() == "hello"
        async with network.listening(POD_IP, 8080, speak_plainly):
            status, text = await refusal(server, session, f"{BASE}/services/https:web:80/proxy/")
            assert status == 503 and text.startswith(f"error trying to reach service: dial tcp {POD_IP}:8080: tls: ")

    (tmp_path / "api").mkdir()
    talking(tmp_path / "api", talk, loop_factory=loop_factory)


def test_a_client_that_asks_first_is_told_to_go_on(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, fields = await read_head(reader)
        assert "expect" not in fields
        body = await reader.readexactly(int(fields["content-length"]))
        writer.write(
            b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 4\r\n\r\n" + body
        )
        await writer.drain()
        await reader.read()

    async def talk(server: Running, session: aiohttp.ClientSession, network: Network) -> None:
        await make_web(server, session)
        url = f"{server.url}{BASE}/services/web/proxy/"
        async with (
            network.listening(POD_IP, 8080, serve),
            session.post(url, data=b"body", expect100=True) as answer,
        ):
            assert (answer.status, await answer.text()) == (201, "body")

    talking(tmp_path, talk)


def test_a_client_that_leaves_frees_the_backend(tmp_path: Path) -> None:
    freed = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nfirst")
        try:
            await reader.read()
        finally:
            freed.set()

    async def talk(server: Running, session: aiohttp.ClientSession, network: Network) -> None:
        await make_web(server, session)
        async with network.listening(POD_IP, 8080, serve):
            answer = await session.get(f"{server.url}{BASE}/services/web/proxy/")
            assert await answer.content.readexactly(5) == b"first"
            answer.close()
            await asyncio.wait_for(freed.wait(), WAIT_SECONDS)
            for _ in range(200):
                if not await count_open(server, session):
                    break
            assert await count_open(server, session) == []

    talking(tmp_path, talk)


def test_a_client_whose_body_breaks_is_told_and_the_backend_never_sees_an_end(tmp_path: Path) -> None:
    heard: list[bytes | None] = []
    begun = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        begun.set()
        try:
            heard.append(await reader.read())
        except ConnectionError:
            heard.append(None)

    async def talk(server: Running, session: aiohttp.ClientSession, network: Network) -> None:
        await make_web(server, session)
        async with network.listening(POD_IP, 8080, serve):
            reader, writer = await server.dial()
            writer.write(
                f"POST {BASE}/services/web/proxy/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\n"
                "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n".encode()
            )
            await asyncio.wait_for(begun.wait(), WAIT_SECONDS)
            writer.write(b"zz\r\n")
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), WAIT_SECONDS)
            assert head.startswith(b"HTTP/1.1 400 ")
            writer.close()
            await server.until(lambda: bool(heard))
            assert heard[0] is None or not heard[0].endswith(b"0\r\n\r\n")

    talking(tmp_path, talk)


def test_a_server_without_a_way_to_pods_says_so(tmp_path: Path) -> None:
    async def conversation(server: Running) -> None:
        async with server.session(token="good") as session:
            await make_web(server, session)
            expected = (503, "error trying to reach service: this server has no way to Pods")
            assert await refusal(server, session, f"{BASE}/services/web/proxy/") == expected

    running(tmp_path, conversation)


def test_pods_are_dialled_at_their_own_addresses(tmp_path: Path) -> None:
    """Without a stand-in for the network: addresses of Pods on the loopback link of a namespace made for it."""
    try:
        namespace = Namespace()
    except PermissionError:
        pytest.skip("making a network namespace needs CAP_SYS_ADMIN")

    async def conversation(server: Running) -> None:
        async with server.session(token="good") as session:
            await make_object(server, session, "pods", make_pod("a", "10.244.0.5", "fd00::5", ports=(8080,)))
            subset = make_subset(8080, make_address("fd00::5", "a"))
            await make_object(server, session, "endpoints", make_endpoints("six", subset))
            for address, text in (("10.244.0.5", b"four"), ("fd00::5", b"six!")):
                head = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
                where = "services/six" if ":" in address else "pods/a"
                async with (
                    listening_at(address, 8080, answering(head + text)),
                    session.get(f"{server.url}{BASE}/{where}/proxy/") as answer,
                ):
                    assert await answer.read() == text
            expected = "error trying to reach service: dial tcp 10.244.0.5:8080: connect: connection refused"
            assert await refusal(server, session, f"{BASE}/pods/a/proxy/") == (503, expected)

    with namespace:
        namespace.run("ip", "addr", "add", "10.244.0.5/32", "dev", "lo")
        namespace.run("ip", "addr", "add", "fd00::5/128", "dev", "lo", "nodad")
        with namespace.entered():
            running(tmp_path, conversation, backends=HttpBackends())


NODE_IP = "192.0.2.7"


async def make_node(server: Running, session: aiohttp.ClientSession) -> None:
    path = f"{server.url}/api/v1/nodes"
    async with session.post(path, json={"metadata": {"name": "n"}}) as answer:
        assert answer.status == 201
    patch = {"status": {"addresses": [{"type": "InternalIP", "address": NODE_IP}]}}
    headers = {"content-type": "application/merge-patch+json"}
    async with session.patch(f"{path}/n/status", data=json.dumps(patch), headers=headers) as answer:
        assert answer.status == 200


@LOOPS
def test_a_nodes_agent_is_verified_and_shown_our_certificate_which_no_other_port_sees(
    tmp_path: Path, loop_factory: LoopFactory
) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("ours", "kube-apiserver-kubelet-client")
    kubelet = make_kubelet_context(certificate=certificate, key=key, authority=authority.path)
    stranger = Authority(make_folder(tmp_path / "stranger"), "stranger")
    network = Network(kubelet)
    shown: list[object] = []

    def speaking_as(who: Authority) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.path))
        context.load_cert_chain(*who.issue("agent", "agent", server=True))
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        shown.append(dict(part[0] for part in writer.get_extra_info("peercert").get("subject", ())))
        await answering(HELLO)(reader, writer)

    async def serve_others(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        shown.append(writer.get_extra_info("peercert"))
        await answering(HELLO)(reader, writer)

    async def conversation(server: Running) -> None:
        async with server.session(token="good") as session:
            await make_node(server, session)
            url = f"{server.url}/api/v1/nodes"
            async with network.listening(NODE_IP, 10250, serve, ssl=speaking_as(authority)):
                for name in ("n", "n:10250", "http:n:"):
                    async with session.get(f"{url}/{name}/proxy/healthz") as answer:
                        assert (answer.status, await answer.text()) == (200, "hello")
            async with (
                network.listening(NODE_IP, 9100, serve_others, ssl=speaking_as(authority)),
                session.get(f"{url}/https:n:9100/proxy/") as answer,
            ):
                assert await answer.text() == "hello"
            assert shown == [{"commonName": "kube-apiserver-kubelet-client"}] * 3 + [None]
            async with network.listening(NODE_IP, 10250, serve, ssl=speaking_as(stranger)):
                status, text = await refusal(server, session, "/api/v1/nodes/n/proxy/healthz")
            assert status == 503 and "CERTIFICATE_VERIFY_FAILED" in text
            assert len(shown) == 4, "an agent of another authority is not asked"

    running(make_folder(tmp_path / "api"), conversation, backends=network.backends, loop_factory=loop_factory)


def make_folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_a_server_without_a_certificate_for_agents_says_so(tmp_path: Path) -> None:
    async def talk(server: Running, session: aiohttp.ClientSession, network: Network) -> None:
        await make_node(server, session)
        network.ports[NODE_IP, 10250] = 1
        status, text = await refusal(server, session, "/api/v1/nodes/n:10250/proxy/metrics")
        assert status == 503 and "no certificate that the agents of nodes know" in text
        assert await refusal(server, session, "/api/v1/nodes/m/proxy/") == (404, 'nodes "m" not found')
        assert await refusal(server, session, "/api/v1/nodes/a:b:c/proxy/") == (400, 'invalid node request "a:b:c"')

    talking(tmp_path, talk)


@pytest.mark.parametrize("path", ["/api/v1/nodes/n/proxy/pods", "/api/v1/nodes/n:9100/proxy/"])
def test_who_may_read_nodes_may_not_ask_their_agents(tmp_path: Path, path: str) -> None:
    async def talk(server: Running, session: aiohttp.ClientSession, network: Network) -> None:
        await make_node(server, session)
        rules = [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["*"]}]
        role = {"metadata": {"name": "reads-nodes"}, "rules": rules}
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reads-nodes"}
        subject = {"kind": "User", "name": "polite", "apiGroup": "rbac.authorization.k8s.io"}
        binding = {"metadata": {"name": "reads-nodes"}, "roleRef": reference, "subjects": [subject]}
        group = f"{server.url}/apis/rbac.authorization.k8s.io/v1"
        for plural, obj in (("clusterroles", role), ("clusterrolebindings", binding)):
            async with session.post(f"{group}/{plural}", json=obj) as answer:
                assert answer.status == 201
        async with server.session(token="polite") as polite:
            async with polite.get(f"{server.url}/api/v1/nodes/n") as answer:
                assert answer.status == 200
            status, text = await refusal(server, polite, path)
            assert status == 403 and 'cannot get resource "nodes/proxy"' in text
        assert not network.dialled

    talking(tmp_path, talk)


def test_who_may_not_use_the_proxy_is_refused_before_anything_is_looked_at(tmp_path: Path) -> None:
    """Rights are those of `services/proxy` with the verb of the method; rights on the Service itself give none."""

    async def talk(server: Running, session: aiohttp.ClientSession, network: Network) -> None:
        await make_web(server, session)
        role = {
            "metadata": {"name": "reader"},
            "rules": [
                {"apiGroups": [""], "resources": ["services", "pods"], "verbs": ["*"]},
                {"apiGroups": [""], "resources": ["services/proxy"], "verbs": ["get"]},
            ],
        }
        binding = {
            "metadata": {"name": "reader"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
            "subjects": [{"kind": "User", "name": "polite", "apiGroup": "rbac.authorization.k8s.io"}],
        }
        rbac = f"{server.url}/apis/rbac.authorization.k8s.io/v1/namespaces/default"
        for plural, obj in (("roles", role), ("rolebindings", binding)):
            async with session.post(f"{rbac}/{plural}", json=obj) as answer:
                assert answer.status == 201
        async with network.listening(POD_IP, 8080, answering(HELLO)), server.session(token="polite") as polite:
            for method, path, status in (
                ("GET", "services/web/proxy/", 200),
                ("GET", "services/web/proxy/deep/er?a=b", 200),
                ("HEAD", "services/web/proxy", 200),
                ("POST", "services/web/proxy/deep", 403),
                ("POST", "services/web/proxy/", 403),
                ("OPTIONS", "services/web/proxy/", 403),
                ("GET", "pods/web-1/proxy/", 403),
                ("GET", "pods/none/proxy/", 403),
            ):
                async with polite.request(method, f"{server.url}{BASE}/{path}") as answer:
                    assert (method, path, answer.status) == (method, path, status)
            told = await refusal(server, polite, f"{BASE}/pods/web-1/proxy/deep/er")
            assert told[1].startswith('pods "web-1" is forbidden: User "polite" cannot get resource "pods/proxy" in ')
        assert len(network.dialled) == 3

    talking(tmp_path, talk)


def test_a_page_of_a_dashboard_leads_back_through_the_proxy(tmp_path: Path) -> None:
    page = b'<a href="/x/">x</a><img src=/y.png><a href="rel">r</a><a href="http://other/z">z</a><i/>'
    page_after = '<a href="{p}/x/">x</a><img src="{p}/y.png"><a href="rel">r</a><a href="http://other/z">z</a><i/>'

    async def talk(server: Running, session: aiohttp.ClientSession, network: Network) -> None:
        await make_web(server, session)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: %d\r\n\r\n" % len(page)
        async with (
            network.listening(POD_IP, 8080, answering(head + page)),
            session.get(f"{server.url}{BASE}/services/web/proxy/") as answer,
        ):
            assert await answer.text() == page_after.format(p=f"{BASE}/services/web/proxy")
        moved = b"HTTP/1.1 302 Found\r\nLocation: http://10.244.0.5:8080/login/?a=b\r\nContent-Length: 0\r\n\r\n"
        async with (
            network.listening(POD_IP, 8080, answering(moved)),
            session.get(f"{server.url}{BASE}/services/web/proxy/", allow_redirects=False) as answer,
        ):
            assert (answer.status, answer.headers["Location"]) == (302, f"{BASE}/services/web/proxy/login/?a=b")

    talking(tmp_path, talk)
