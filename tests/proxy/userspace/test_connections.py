"""What a client and an endpoint see of a connection through the userspace plane: every byte, every end, every reset."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import select
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace

import pytest

from seaway.proxy.balance import Balance
from seaway.proxy.connectionpolicy import DEFAULT, EjectionRule
from seaway.proxy.forwarding import Refusal, Target
from seaway.proxy.userspace.connections import serve
from seaway.proxy.userspace.connections.forward import HALF_CLOSED_SECONDS
from seaway.proxy.userspace.connections.transport import LEAST_READ, MOST_READ
from seaway.proxy.userspace.kernel import Poller, Watcher
from seaway.proxy.userspace.proxyprotocol import Ends, Peer, decode_header
from tests.proxy.userspace.world import MAP, NODE, PATIENCE, VIP, World, echo, open_world, pod_address, read_all, until

Body = Callable[[World], Awaitable[None]]
LINGER = struct.pack("ii", 1, 0)


def run(body: Body, *, pick: Callable[[int], int] = lambda bound: 0) -> None:
    async def main() -> None:
        async with open_world(pick=pick) as world:
            await body(world)

    asyncio.run(main())


def reset(writer: asyncio.StreamWriter) -> None:
    """End the connection as a program does that crashed."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
    writer.transport.abort()


async def is_reset(reader: asyncio.StreamReader) -> bool:
    """Whether it ends by a reset, whatever comes before."""
    try:
        async with asyncio.timeout(PATIENCE):
            while await reader.read(65536):
                pass
    except ConnectionResetError:
        return True
    return False


def unused() -> Target:
    """An endpoint where nobody listens."""
    return Target(pod_address(), 9)


@pytest.fixture
def silent() -> Iterator[Target]:
    """An endpoint that does not even accept: its queue is full, and the kernel drops who comes."""
    address = pod_address()
    listener = socket.socket()
    listener.bind((MAP.to_loopback(address), 0))
    listener.listen(0)
    waiting = []
    while True:
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(listener.getsockname())
        waiting.append(client)
        if not select.select([], [client], [], 0.2)[1]:
            break
    yield Target(address, listener.getsockname()[1])
    for each in (*waiting, listener):
        each.close()


def test_bytes_arrive_in_both_directions_and_each_end_is_passed_on_by_itself() -> None:
    async def body(world: World) -> None:
        world.sync(await world.start(echo))
        reader, writer = await world.connect()
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.write_eof()  # the other direction goes on
        assert await read_all(reader) == b"bye"
        writer.close()
        await until(lambda: world.open_count == 0)
        assert world.cell("connections") == 0
        assert world.cell("connects_total", "connected") == 1

    run(body)


def test_an_endpoint_that_ends_first_still_hears_what_the_client_says() -> None:
    heard = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write_eof()
        heard.extend(await read_all(reader))
        writer.close()

    async def body(world: World) -> None:
        world.sync(await world.start(serve))
        reader, writer = await world.connect()
        assert await read_all(reader) == b""
        writer.write(b"after its end")
        writer.write_eof()
        await until(lambda: world.open_count == 0)
        assert bytes(heard) == b"after its end"
        writer.close()

    run(body)


def test_megabytes_arrive_whole_and_in_order() -> None:
    sent = bytes(range(256)) * 4096 * 16

    async def body(world: World) -> None:
        world.sync(await world.start(echo))
        reader, writer = await world.connect()

        async def send() -> None:
            writer.write(sent)
            await writer.drain()
            writer.write_eof()

        sending = asyncio.create_task(send())
        assert await read_all(reader) == sent + b"bye"
        await sending
        writer.close()

    run(body)


def test_who_does_not_read_is_waited_for_and_holds_no_more_than_one_read() -> None:
    """Back-pressure: the client is not read from, so that its own writes stand still."""
    go_on = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        writer.write(str(len(await read_all(reader))).encode())
        writer.close()

    async def body(world: World) -> None:
        world.sync(await world.start(serve))
        reader, writer = await world.connect()
        piece = b"x" * (1 << 20)
        total = 0
        while total < 64 << 20:  # what all buffers of the kernel together do not hold
            writer.write(piece)
            total += len(piece)
            try:
                async with asyncio.timeout(0.5):
                    await writer.drain()
            except TimeoutError:
                break
        else:
            pytest.fail("64 MiB were taken, though nobody read")
        (connection,) = world.sockets.splicer.connections
        assert connection.endpoint is not None
        assert connection.endpoint.pending is not None
        assert len(connection.endpoint.pending) <= MOST_READ
        assert connection.client.window >= LEAST_READ
        go_on.set()
        await writer.drain()
        writer.write_eof()
        assert await read_all(reader) == str(total).encode()
        writer.close()

    run(body)


def test_a_reset_of_the_endpoint_is_a_reset_for_the_client() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        reset(writer)

    async def body(world: World) -> None:
        world.sync(await world.start(serve))
        reader, writer = await world.connect()
        writer.write(b"x")
        assert await is_reset(reader)
        writer.close()
        await until(lambda: world.open_count == 0)

    run(body)


def test_a_reset_of_the_client_is_a_reset_for_the_endpoint() -> None:
    seen: list[bool] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        seen.append(await is_reset(reader))
        writer.close()

    async def body(world: World) -> None:
        world.sync(await world.start(serve))
        reader, writer = await world.connect()
        await reader.readexactly(5)
        reset(writer)
        await until(lambda: seen == [True] and world.open_count == 0)

    run(body)


def test_what_an_endpoint_says_before_it_hangs_up_arrives() -> None:
    """As a server answers 413 and closes while the request still comes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.write(b"too large")
        writer.close()  # with bytes of the client unread: a reset

    async def body(world: World) -> None:
        world.sync(await world.start(serve))
        reader, writer = await world.connect()
        writer.write(b"x" * 200_000)
        assert await reader.readexactly(9) == b"too large"
        writer.transport.abort()

    run(body)


def test_a_client_that_goes_while_its_endpoint_is_asked_leaves_nothing(silent: Target) -> None:
    async def body(world: World) -> None:
        world.sync(silent, policy=replace(DEFAULT, connect_timeout_seconds=60.0))
        _, writer = await world.connect()
        await until(lambda: world.open_count == 1)
        reset(writer)
        await until(lambda: world.open_count == 0)

    run(body)


def test_another_endpoint_is_tried_when_one_refuses_and_the_client_sees_nothing_of_it() -> None:
    async def body(world: World) -> None:
        refuses = unused()
        world.sync(refuses, await world.start(echo))
        reader, writer = await world.connect()
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        assert world.cell("retries_total") == 1
        assert world.cell("connects_total", "refused") == 1
        writer.close()

    run(body)


def test_another_endpoint_is_tried_when_one_does_not_answer_in_time(silent: Target) -> None:
    async def body(world: World) -> None:
        world.sync(silent, await world.start(echo), policy=replace(DEFAULT, connect_timeout_seconds=0.05))
        reader, writer = await world.connect()
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        assert world.cell("connects_total", "timed-out") == 1
        writer.close()

    run(body)


@pytest.mark.parametrize(("retries", "attempts"), [(0, 1), (1, 2), (2, 3), (10, 4)])
def test_no_more_endpoints_are_tried_than_the_service_allows(retries: int, attempts: int) -> None:
    async def body(world: World) -> None:
        world.sync(*(unused() for _ in range(4)), policy=replace(DEFAULT, connect_retries=retries))
        with contextlib.suppress(ConnectionResetError):  # so soon that `connect` may see it already
            reader, writer = await world.connect()
            assert await is_reset(reader)
            writer.close()
        assert world.cell("connects_total", "refused") == attempts

    run(body)


def test_without_an_endpoint_to_connect_is_refused_and_with_one_again_it_is_not() -> None:
    async def body(world: World) -> None:
        world.sync(refusal=Refusal.REJECT)
        with pytest.raises(ConnectionRefusedError):
            await world.connect()
        world.sync(await world.start(echo))
        _, writer = await world.connect()
        writer.close()
        world.sync(refusal=Refusal.REJECT)
        with pytest.raises(ConnectionRefusedError):
            await world.connect()

    run(body)


def test_connections_stay_while_their_endpoint_terminates_and_end_when_it_has_gone() -> None:
    async def body(world: World) -> None:
        old, new = await world.start(echo), await world.start(echo)
        world.sync(old)
        reader, writer = await world.connect()
        world.sync(new, serving=(old, new), reset_after=0.0)
        writer.write(b"still")
        assert await reader.readexactly(5) == b"still"
        world.sync(new, serving=(new,), reset_after=0.0)
        assert await is_reset(reader)
        writer.close()

    run(body)


def test_an_endpoint_that_comes_back_in_time_keeps_its_connections() -> None:
    async def body(world: World) -> None:
        old, new = await world.start(echo), await world.start(echo)
        world.sync(old)
        reader, writer = await world.connect()
        world.sync(new, reset_after=3600.0)
        (port,) = world.plane.ports()
        assert list(port.leaving) == [old]
        world.sync(old, new, reset_after=3600.0)
        assert not port.leaving
        writer.write(b"still")
        assert await reader.readexactly(5) == b"still"
        writer.close()

    run(body)


def test_connections_of_a_service_that_is_deleted_go_on_and_its_address_is_refused() -> None:
    async def body(world: World) -> None:
        world.sync(await world.start(echo))
        reader, writer = await world.connect()
        world.plane.sync({"default/web": None}, NODE)
        with pytest.raises(ConnectionRefusedError):
            await world.connect()
        writer.write(b"still")
        assert await reader.readexactly(5) == b"still"
        writer.close()

    run(body)


def test_the_endpoint_sees_the_pod_that_asks() -> None:
    seen: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("peername")[0])
        writer.close()

    async def body(world: World) -> None:
        pod = pod_address()
        world.sync(await world.start(serve))
        reader, writer = await world.connect(source=pod)
        assert await read_all(reader) == b""
        assert seen == [MAP.to_loopback(pod)]
        writer.close()

    run(body)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_header_says_who_asks_and_whom_before_the_clients_first_byte(version: str) -> None:
    heard = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await read_all(reader))
        writer.close()

    async def body(world: World) -> None:
        pod = pod_address()
        world.sync(await world.start(serve), policy=replace(DEFAULT, proxy_protocol=version))
        reader, writer = await world.connect(source=pod)
        port = writer.get_extra_info("sockname")[1]
        writer.write(b"first")
        writer.write_eof()
        await read_all(reader)
        decoded = decode_header(bytes(heard))
        assert decoded is not None
        ends, size = decoded
        assert ends == Ends(Peer(pod, port), Peer(VIP, world.port))
        assert bytes(heard[size:]) == b"first"
        writer.close()

    run(body)


def test_least_connections_are_counted_until_they_end() -> None:
    async def body(world: World) -> None:
        targets = [await world.start(echo) for _ in range(3)]
        world.sync(*targets, balance=Balance.LEAST_CONNECTIONS)
        opened = [await world.connect() for _ in range(6)]
        await until(lambda: world.cell("connections") == 6)
        (port,) = world.plane.ports()
        assert {target: len(held) for target, held in port.connections.items()} == dict.fromkeys(targets, 2)
        emptied = targets[1]
        for connection in tuple(port.connections[emptied]):
            connection.reset()
        assert emptied not in port.connections
        opened += [await world.connect() for _ in range(2)]
        await until(lambda: len(port.connections.get(emptied, ())) == 2)
        for _, writer in opened:
            writer.close()

    run(body)


def test_an_endpoint_that_refuses_again_and_again_is_left_out_and_told_of() -> None:
    async def body(world: World) -> None:
        refuses, serves = unused(), await world.start(echo)
        rule = EjectionRule(failures=2, seconds=60.0)
        world.sync(refuses, serves, policy=replace(DEFAULT, ejection=rule))
        for _ in range(5):
            _, writer = await world.connect()
            await until(lambda: world.open_count == 1)
            writer.close()
            await until(lambda: world.open_count == 0)
        assert world.cell("connects_total", "refused") == 2
        assert world.cell("ejected_endpoints") == 1
        ((service, reason, text),) = world.told
        assert (service, reason) == ("default/web", "EndpointEjected")
        assert f"{refuses.address}:{refuses.port}" in text

    run(body)


def test_when_no_descriptor_is_left_clients_are_refused_it_is_told_and_it_recovers() -> None:
    async def body(world: World) -> None:
        world.sync(await world.start(echo))
        opened = [await world.connect()]
        await until(lambda: world.open_count == 1)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        clients = [socket.socket() for _ in range(4)]
        for client in clients:
            client.setblocking(False)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 1, limits[1]))
        taken: list[int] = []
        try:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(os.open(os.devnull, os.O_RDONLY))
            place = (MAP.to_loopback(VIP), world.port)
            for client in clients:
                assert client.connect_ex(place) in (0, errno.EINPROGRESS)
            await until(lambda: bool(world.told))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            for descriptor in taken:
                os.close(descriptor)
        for client in clients:
            client.close()
        opened.append(await world.connect())
        reader, writer = opened[-1]
        writer.write(b"again")
        assert await reader.readexactly(5) == b"again"
        ((service, reason, text),) = world.told
        assert (service, reason) == ("default/web", "TooManyConnections")
        assert "raise the limit of open files" in text
        for _, each in opened:
            each.close()

    run(body)


def test_a_thousand_connections_at_once_leave_nothing() -> None:
    async def body(world: World) -> None:
        world.sync(await world.start(echo), await world.start(echo))

        async def ask(number: int) -> None:
            reader, writer = await world.connect()
            said = str(number).encode() * 10
            writer.write(said)
            writer.write_eof()
            assert await read_all(reader) == said + b"bye"
            writer.close()

        for first in range(0, 1000, 100):
            await asyncio.gather(*(ask(first + number) for number in range(100)))
        await until(lambda: world.open_count == 0)

    run(body)


def test_an_endpoint_that_sends_for_ever_to_a_client_that_does_not_read_holds_up_nobody() -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
        except ConnectionError:
            writer.close()

    async def body(world: World) -> None:
        world.sync(await world.start(flood))
        _, stuck = await world.connect()
        stuck.transport.pause_reading()  # type: ignore[attr-defined]
        await until(lambda: any(c.client.pending is not None for c in world.sockets.splicer.connections))
        other = await world.start(echo)
        world.sync(other)
        reader, writer = await world.connect()
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()
        reset(stuck)
        await until(lambda: world.open_count == 0)

    run(body)


@pytest.mark.parametrize(
    "kept",
    [
        pytest.param(0, id="an endpoint that is asked"),
        pytest.param(1, id="a client that waits"),
        pytest.param(2, id="an endpoint that accepted"),
    ],
)
def test_where_no_socket_can_be_watched_clients_are_refused_and_the_listener_lives_on(
    kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(world: World) -> None:
        world.sync(await world.start(echo))
        room = kept

        def watch(self: Poller, fd: int, mask: int, watcher: Watcher) -> None:
            nonlocal room
            if room == 0:
                raise OSError(errno.ENOSPC, "max_user_watches")
            room -= 1
            real_watch(self, fd, mask, watcher)

        real_watch = Poller.watch
        with monkeypatch.context() as patch:
            patch.setattr(Poller, "watch", watch)
            with contextlib.suppress(ConnectionResetError):  # it may be refused while it connects
                reader, writer = await world.connect()
                assert await is_reset(reader)
                writer.close()
            await until(lambda: bool(world.told))
        assert [reason for _, reason, _ in world.told] == ["TooManyConnections"]
        await until(lambda: world.open_count == 0)
        reader, writer = await world.connect()
        writer.write(b"again")
        assert await reader.readexactly(5) == b"again"
        writer.close()

    run(body)


def test_a_client_that_has_gone_is_forgotten_with_an_endpoint_that_never_ends() -> None:
    async def body(world: World) -> None:
        heard = asyncio.Event()
        ended: list[bool] = []

        async def never_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(-1)
            heard.set()
            await until(lambda: world.open_count == 0)
            with contextlib.suppress(ConnectionError):
                writer.write(b"late")
            ended.append(True)
            writer.close()

        world.sync(await world.start(never_end))
        _, writer = await world.connect()
        writer.close()
        await heard.wait()
        splicer = world.sockets.splicer
        splicer.end_forgotten(world.sockets.now() + HALF_CLOSED_SECONDS - 1)
        assert world.open_count == 1
        splicer.end_forgotten(world.sockets.now() + HALF_CLOSED_SECONDS + 1)
        assert world.open_count == 0
        assert not splicer.half_closed
        await until(lambda: bool(ended))

    run(body)


def test_a_half_closed_connection_stays_while_anything_moves() -> None:
    async def body(world: World) -> None:
        more = asyncio.Event()

        async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(-1)
            writer.write(b"a")
            await more.wait()
            writer.write(b"b")
            writer.close()

        world.sync(await world.start(trickle))
        reader, writer = await world.connect()
        writer.write_eof()
        assert await reader.readexactly(1) == b"a"
        splicer, now = world.sockets.splicer, world.sockets.now()
        splicer.end_forgotten(now + HALF_CLOSED_SECONDS - 1)  # a byte has moved since it was half-closed
        splicer.end_forgotten(now + 2 * HALF_CLOSED_SECONDS - 2)
        assert world.open_count == 1
        more.set()
        assert await read_all(reader) == b"b"
        writer.close()
        await until(lambda: world.open_count == 0)
        assert not splicer.half_closed

    run(body)


def test_when_clients_cannot_even_be_refused_the_listener_waits_and_takes_them_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serve, "PAUSE_SECONDS", 2.0)  # longer than the turns below take on any machine

    async def body(world: World) -> None:
        world.sync(await world.start(echo))
        splicer = world.sockets.splicer
        splicer.spare.close()
        asked: list[socket.socket] = []
        real = splicer.spare

        class Lost:
            """Somebody else took the descriptor that was in reserve."""

            def refuse(self, listener: socket.socket) -> bool:
                asked.append(listener)
                return False

            def close(self) -> None:
                real.close()

        splicer.spare = Lost()  # type: ignore[assignment]
        client = socket.socket()
        client.setblocking(False)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 1, limits[1]))
        taken: list[int] = []
        try:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(os.open(os.devnull, os.O_RDONLY))
            assert client.connect_ex((MAP.to_loopback(VIP), world.port)) in (0, errno.EINPROGRESS)
            await until(lambda: bool(asked))
            for _ in range(50):
                await asyncio.sleep(0)  # it would be told in each of these turns
            assert len(asked) == 1
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            for descriptor in taken:
                os.close(descriptor)
        reader, writer = await asyncio.open_connection(sock=client)
        writer.write(b"late")
        assert await reader.readexactly(4) == b"late"
        writer.close()

    run(body)
