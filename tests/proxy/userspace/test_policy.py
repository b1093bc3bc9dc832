"""What a Service asks of the plane, with real connections on loopback. Rule: issue of the userspace plane, part 3."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from seaway.api.endpointslice.types import EndpointSlice
from seaway.api.service.types import Service
from seaway.net.family import Family
from seaway.proxy.config import NodeView
from seaway.proxy.forwarding import forward_service
from seaway.proxy.splitting.plan import plan_redirected
from seaway.proxy.userspace.figures import ConnectionFigures
from seaway.proxy.userspace.gate import Neighbours
from seaway.proxy.userspace.plane import UserspacePlane
from seaway.proxy.userspace.proxyprotocol import Ends, Peer, decode_header
from seaway.proxy.userspace.serve import UserspaceSockets
from seaway.telemetry.metrics import Metrics
from seaway.testing.builders import make_service, make_slice

HERE = NodeView("node-1", "", ("127.0.0.1",))
VIP, KEY, WEB = "10.96.0.10", "default/web", ("default", "web", "80")
SECONDS = 10.0

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter


@dataclass
class Engine:
    """A userspace plane with one Service, and servers of its own."""

    plane: UserspacePlane
    sockets: UserspaceSockets
    metrics: Metrics
    told: list[tuple[str, str, str]] = field(default_factory=list)
    bound: dict[str, socket.socket] = field(default_factory=dict)
    servers: list[asyncio.Server] = field(default_factory=list)

    def bind(self, *names: str) -> None:
        """Endpoints at ports that ascend. Nobody listens: whoever connects is refused."""
        sockets = [socket.socket() for _ in names]
        for made in sockets:
            made.bind(("127.0.0.1", 0))
        self.bound.update(zip(names, sorted(sockets, key=lambda made: int(made.getsockname()[1])), strict=True))

    def port(self, name: str) -> int:
        return int(self.bound[name].getsockname()[1])

    async def start(self, name: str) -> None:
        """From now on the endpoint says its name, and then what it hears."""

        async def answer(reader: Reader, writer: Writer) -> None:
            with contextlib.closing(writer), contextlib.suppress(ConnectionError):
                writer.write(f"{name}\n".encode())
                while data := await reader.read(4096):
                    writer.write(data)

        self.servers.append(await asyncio.start_server(answer, sock=self.bound[name]))

    def serve(self, *names: str, **asked: str) -> None:
        """The Service has these endpoints and annotations."""
        annotations = {f"seaway.dev/{name.replace('_', '-')}": value for name, value in asked.items()}
        service = make_service("web", meta={"annotations": annotations}, clusterIP=VIP)
        slices = [
            make_slice(f"web-{name}", "web", ["127.0.0.1"], ports=[{"name": "", "port": self.port(name)}])
            for name in names
        ]
        pieces = [msgspec.convert(piece, EndpointSlice) for piece in slices]
        made = forward_service(msgspec.convert(service, Service), pieces, family=Family.IPV4, node=HERE)
        self.plane.sync({KEY: made}, HERE)

    async def connect(self) -> tuple[Reader, Writer]:
        (place,) = self.plane.bound(KEY).values()
        return await asyncio.open_connection(*place)

    async def ask(self) -> str:
        """Who answers a connection, which then ends; "" if it is reset."""
        try:
            reader, writer = await self.connect()
            with contextlib.closing(writer):
                return (await reader.readline()).decode().strip()
        except ConnectionResetError:  # at once, or a moment later
            return ""

    async def draw(self, times: int) -> Counter[str]:
        return Counter([await self.ask() for _ in range(times)])

    def count(self, name: str) -> dict[tuple[str, ...], float]:
        (family,) = [f for f in self.metrics.collect() if f.name == f"seaway_proxy_userspace_{name}"]
        return {values: number for values, number in family.rows if isinstance(number, float)}


@contextlib.asynccontextmanager
async def open_engine() -> AsyncIterator[Engine]:
    metrics, told = Metrics(), list[tuple[str, str, str]]()
    sockets = UserspaceSockets(Neighbours(), figures=ConnectionFigures(metrics), tell=lambda *text: told.append(text))
    plane = UserspacePlane(sockets, plan_redirected, pick=lambda bound: 0)
    engine = Engine(plane, sockets, metrics, told)
    try:
        yield engine
    finally:
        plane.close()
        sockets.close()
        for server in engine.servers:
            server.close()
        for made in engine.bound.values():
            made.close()


async def settle() -> None:
    """Rounds of the loop, in which what is on its way on loopback arrives, and transports close."""
    for _ in range(50):
        await asyncio.sleep(0)


def play(story: Callable[[Engine], Coroutine[Any, Any, None]]) -> None:
    """Run it; nothing is left afterwards."""

    async def run() -> None:
        before = len(os.listdir("/proc/self/fd"))
        async with open_engine() as engine:
            await asyncio.wait_for(story(engine), SECONDS)
        await settle()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            await task  # servers whose clients have gone
        assert len(os.listdir("/proc/self/fd")) == before

    asyncio.run(run())


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_endpoint_is_told_first_who_the_client_is(version: str) -> None:
    async def story(engine: Engine) -> None:
        heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def hear(reader: Reader, writer: Writer) -> None:
            with contextlib.closing(writer):
                heard.set_result(await reader.read())

        engine.bind("a")
        engine.servers.append(await asyncio.start_server(hear, sock=engine.bound["a"]))
        engine.serve("a", proxy_protocol=version)
        _, writer = await engine.connect()
        own = writer.get_extra_info("sockname")
        with contextlib.closing(writer):
            writer.write(b"the client's own")
            writer.write_eof()
            said = await heard
        found = decode_header(said)
        assert found is not None
        ends, size = found
        assert ends == Ends(Peer("127.0.0.1", own[1]), Peer("127.0.0.1", 80))
        assert said[size:] == b"the client's own"

    play(story)


def test_who_refuses_is_passed_over() -> None:
    async def story(engine: Engine) -> None:
        engine.bind("a", "b")
        await engine.start("b")
        engine.serve("a", "b")
        assert await engine.draw(3) == {"b": 3}
        assert engine.count("retries_total") == {WEB: 3.0}
        assert engine.count("connects_total") == {(*WEB, "refused"): 3.0, (*WEB, "connected"): 3.0}
        assert engine.told == []

    play(story)


def test_no_more_endpoints_are_tried_than_the_service_allows() -> None:
    async def story(engine: Engine) -> None:
        engine.bind(*"abcd")
        await engine.start("d")
        engine.serve("a", "b", "c", "d", connect_retries="1")
        assert await engine.draw(3) == {"": 3}
        assert engine.count("connects_total") == {(*WEB, "refused"): 6.0}
        engine.serve("a", "b", "c", "d", connect_retries="3")
        assert await engine.draw(3) == {"d": 3}

    play(story)


def test_with_no_retries_the_first_refusal_is_the_clients() -> None:
    async def story(engine: Engine) -> None:
        engine.bind("a", "b")
        await engine.start("b")
        engine.serve("a", "b", balance="round-robin", connect_retries="0")
        assert await engine.draw(4) == {"": 2, "b": 2}
        assert engine.count("retries_total") == {}

    play(story)


def test_who_does_not_answer_in_time_is_passed_over() -> None:
    """A full queue of a listener is silence on Linux: a SYN is dropped."""

    async def story(engine: Engine) -> None:
        with contextlib.ExitStack() as stack:
            engine.bind("a", "b")
            silent = engine.bound["a"]
            silent.listen(0)
            for _ in range(3):
                filling = stack.enter_context(socket.socket())
                filling.setblocking(False)
                filling.connect_ex(silent.getsockname())
            await engine.start("b")
            engine.serve("a", "b", connect_timeout="50ms")
            assert await engine.draw(2) == {"b": 2}
            assert engine.count("connects_total") == {(*WEB, "timed-out"): 2.0, (*WEB, "connected"): 2.0}

    play(story)


def test_who_fails_in_a_row_gets_no_connections_which_is_told_once() -> None:
    async def story(engine: Engine) -> None:
        engine.bind("a", "b")
        await engine.start("b")
        engine.serve("a", "b", ejection="failures=2,for=1h")
        assert await engine.draw(20) == {"b": 20}
        assert engine.count("connects_total")[*WEB, "refused"] == 2.0
        assert engine.count("ejected_endpoints") == {WEB: 1.0}
        text = f"endpoint 127.0.0.1:{engine.port('a')} of port 80 gets no new connections for 3600s"
        assert engine.told == [(KEY, "EndpointEjected", f"{text}: 2 in a row were refused")]

    play(story)


def test_one_that_is_alone_is_never_ejected() -> None:
    async def story(engine: Engine) -> None:
        engine.bind("a")
        engine.serve("a", ejection="failures=1,for=1h")
        assert await engine.draw(3) == {"": 3}
        assert engine.count("connects_total") == {(*WEB, "refused"): 3.0}
        assert engine.told == []

    play(story)


def test_the_fewest_connections_win_and_an_end_counts() -> None:
    async def story(engine: Engine) -> None:
        engine.bind("a", "b")
        for name in "ab":
            await engine.start(name)
        engine.serve("a", "b", balance="least-connections")
        held: dict[str, list[tuple[Reader, Writer]]] = {"a": [], "b": []}
        for _ in range(4):
            reader, writer = await engine.connect()
            held[(await reader.readline()).decode().strip()].append((reader, writer))
        assert [len(connections) for connections in held.values()] == [2, 2]
        assert engine.count("connections") == {WEB: 4.0}
        for reader, writer in held["a"]:
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
        assert await engine.ask() == "a"
        for _, writer in held["b"]:
            writer.close()

    play(story)


def test_a_connection_that_finishes_ends_for_both_after_what_was_said() -> None:
    async def story(engine: Engine) -> None:
        engine.bind("a")
        await engine.start("a")
        engine.serve("a", max_connection_age="1h")
        reader, writer = await engine.connect()
        assert await reader.readline() == b"a\n"
        writer.write(b"said before\n")
        assert await reader.readline() == b"said before\n"
        (connection,) = engine.sockets.splicer.connections
        connection.finish()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        await settle()
        assert engine.count("connections") == {WEB: 0.0}

    play(story)
