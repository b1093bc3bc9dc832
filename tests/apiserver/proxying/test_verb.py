"""What a proxied request leaves behind in the audit and in metrics. Rule: spec "api-machinery" §11."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from seaway.api.machinery.http import Bytes, Response
from seaway.apiserver.observability.audit import AuditTrail, Level, Policy, Rule
from seaway.apiserver.proxying.targets import Target
from seaway.apiserver.proxying.verb import Outgoing
from tests.apiserver.conversation import Conversation, talk
from tests.apiserver.proxying.backends import make_pod

PROXY = "/api/v1/namespaces/default/pods/web/proxy"


class Body:
    """Two pieces, and word of the end."""

    def __init__(self) -> None:
        self._pieces = [b"b", b"a"]
        self._on_end: Callable[[], None] = lambda: None

    def when_ended(self, callback: Callable[[], None]) -> None:
        self._on_end = callback

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._pieces:
            raise StopAsyncIteration
        return self._pieces.pop()

    async def aclose(self) -> None:
        self._on_end()


class Echo:
    """Backends that keep what they were sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[Target, Outgoing, bytes]] = []

    async def exchange(self, target: Target, outgoing: Outgoing) -> Response:
        body = b"".join([chunk async for chunk in outgoing.chunks]) if outgoing.chunks is not None else b""
        self.sent.append((target, outgoing, body))
        if outgoing.is_upgrade:
            return Response(101, (("Upgrade", "raw"),), tunnel=self._tunnel)
        return Response(200, (("cache-control", "x"),), Body())

    async def _tunnel(self, peer: Bytes) -> None:
        await peer.open()


class Peer:
    async def open(self) -> None:
        return None

    async def read(self) -> bytes:
        return b""

    async def write(self, data: bytes) -> None:
        return None


def test_a_request_from_inside_of_the_process_is_passed_on_and_its_stream_is_audited_to_its_end() -> None:
    async def conversation(ask: Conversation) -> None:
        stages: list[tuple[str, str]] = []

        def write(line: bytes) -> bool:
            event = line.decode()
            stages.append((event.split('"stage":"')[1].split('"')[0], event.split('"verb":"')[1].split('"')[0]))
            return True

        await ask("POST", "/api/v1/namespaces/default/pods", make_pod("web"))
        status = {"status": {"podIPs": [{"ip": "10.0.0.1"}], "podIP": "10.0.0.1"}}
        assert (await ask.patch("/api/v1/namespaces/default/pods/web/status", status)).status == 200
        ask.server.audit = AuditTrail(Policy((Rule(level=Level.METADATA),)), write, ask.effects.wall_now)
        echo = ask.server.state.backends = Echo()
        headers = {"authorization": "Bearer x", "x-own": "1"}
        response = await ask.send("POST", f"{PROXY}/x/?a=b", b"body", headers=headers)
        ((target, outgoing, body),) = echo.sent
        assert (target.host, outgoing.method, outgoing.target, body) == ("10.0.0.1:80", "POST", "/x/?a=b", b"body")
        assert dict(outgoing.fields)["content-length"] == "4" and "authorization" not in dict(outgoing.fields)
        assert stages == [("RequestReceived", "create"), ("ResponseStarted", "create")]
        assert isinstance(response.body, Body)
        assert [piece async for piece in response.body] == [b"a", b"b"]
        await response.body.aclose()
        assert stages[2:] == [("ResponseComplete", "create")]

        stages.clear()
        response = await ask.send("GET", PROXY, headers={"connection": "upgrade", "upgrade": "raw"})
        assert (response.status, stages[-1]) == (101, ("ResponseStarted", "get"))
        assert response.tunnel is not None
        await response.tunnel(Peer())
        assert stages[2:] == [("ResponseComplete", "get")]

    talk(conversation)
