"""Datagrams through the userspace plane: who stays with whom, and for how long."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import cast

import pytest

from seaway.proxy.balance import Balance
from seaway.proxy.forwarding import Refusal, Target
from seaway.proxy.userspace.associations import serve
from seaway.proxy.userspace.associations.serve import ANSWERED_SECONDS, UNANSWERED_SECONDS, UdpListener
from tests.proxy.userspace.world import MAP, NODE, VIP, World, open_world, pod_address, until

Body = Callable[[World], Awaitable[None]]


class Datagrams(asyncio.DatagramProtocol):
    """What has come, and an answer to each if there is a name to give."""

    def __init__(self, name: bytes = b"") -> None:
        self.name = name
        self.heard: list[tuple[bytes, str]] = []
        self.errors: list[Exception] = []
        self.transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        self.heard.append((data, address[0]))
        if self.name:
            self.transport.sendto(self.name + b" heard " + data, address)

    def error_received(self, error: Exception) -> None:
        self.errors.append(error)


def run(body: Body) -> None:
    async def main() -> None:
        async with open_world("UDP") as world:
            await body(world)

    asyncio.run(main())


@contextlib.asynccontextmanager
async def server(name: bytes) -> AsyncIterator[tuple[Target, Datagrams]]:
    address = pod_address()
    made = Datagrams(name)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: made, local_addr=(MAP.to_loopback(address) or "", 0)
    )
    try:
        yield Target(address, transport.get_extra_info("sockname")[1]), made
    finally:
        transport.close()


@contextlib.asynccontextmanager
async def client(world: World, source: str = "") -> AsyncIterator[Datagrams]:
    made = Datagrams()
    local = (MAP.to_loopback(source) or "", 0) if source else None
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: made, remote_addr=(MAP.to_loopback(VIP), world.port), local_addr=local
    )
    try:
        yield made
    finally:
        transport.close()


def the_listener(world: World) -> UdpListener:
    (listener,) = world.sockets._associating
    return listener


def test_an_answer_comes_from_the_address_that_was_asked_and_the_endpoint_sees_the_pod() -> None:
    async def body(world: World) -> None:
        pod = pod_address()
        async with server(b"one") as (target, heard), client(world, pod) as asks:
            world.sync(target)
            asks.transport.sendto(b"ping")
            await until(lambda: bool(asks.heard))
            assert asks.heard == [(b"one heard ping", MAP.to_loopback(VIP))]
            assert heard.heard == [(b"ping", MAP.to_loopback(pod))]

    run(body)


def test_a_client_stays_with_its_endpoint_until_that_has_gone() -> None:
    """Rule: spec "proxy" §6: the flow ends with its endpoint, and the next datagram goes to another."""

    async def body(world: World) -> None:
        async with server(b"one") as (one, _), server(b"two") as (two, _), client(world) as asks:
            world.sync(one)
            asks.transport.sendto(b"a")
            await until(lambda: len(asks.heard) == 1)
            world.sync(two, one)
            asks.transport.sendto(b"b")
            await until(lambda: len(asks.heard) == 2)
            world.sync(two, serving=(one, two))
            asks.transport.sendto(b"c")
            await until(lambda: len(asks.heard) == 3)
            world.sync(two, serving=(two,))
            asks.transport.sendto(b"d")
            await until(lambda: len(asks.heard) == 4)
            assert [data.split()[0] for data, _ in asks.heard] == [b"one", b"one", b"one", b"two"]

    run(body)


@pytest.mark.parametrize(
    ("is_answered", "seconds"),
    [
        pytest.param(False, UNANSWERED_SECONDS, id="30 seconds without an answer"),
        pytest.param(True, ANSWERED_SECONDS, id="120 seconds with one"),
    ],
)
def test_a_silent_association_ends(is_answered: bool, seconds: float) -> None:
    async def body(world: World) -> None:
        async with server(b"one" if is_answered else b"") as (target, heard), client(world) as asks:
            world.sync(target)
            asks.transport.sendto(b"ping")
            await until(lambda: len(asks.heard if is_answered else heard.heard) == 1)
            listener, now = the_listener(world), world.sockets.now()
            listener.forget_silent(now + seconds - 1)
            assert len(listener) == 1
            listener.forget_silent(now + seconds + 1)
            assert len(listener) == 0

    run(body)


def test_no_more_associations_are_kept_than_allowed_and_the_one_silent_for_longest_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serve, "MAX_ASSOCIATIONS", 2)

    async def body(world: World) -> None:
        async with contextlib.AsyncExitStack() as stack:
            target, _ = await stack.enter_async_context(server(b"one"))
            world.sync(target)
            clients = [await stack.enter_async_context(client(world)) for _ in range(3)]
            for number, each in enumerate(clients):
                each.transport.sendto(b"ping")
                await until(lambda each=each: len(each.heard) == 1)  # type: ignore[misc]
                assert len(the_listener(world)) == min(number + 1, 2)
            ports = {each.transport.get_extra_info("sockname")[1] for each in clients[1:]}
            assert {port for _, port in the_listener(world)._associations} == ports

    run(body)


def test_an_endpoint_where_nobody_listens_is_given_up_and_the_next_datagram_may_go_to_another() -> None:
    async def body(world: World) -> None:
        gone = Target(pod_address(), 9)
        async with server(b"two") as (two, _), client(world) as asks:
            world.sync(gone, two, balance=Balance.ROUND_ROBIN)

            def found() -> bool:
                asks.transport.sendto(b"ping")  # the first of them are lost, as datagrams are
                return bool(asks.heard)

            await until(found)
            assert asks.heard[0][0] == b"two heard ping"

    run(body)


def test_without_an_endpoint_the_port_is_closed_and_the_client_is_told() -> None:
    async def body(world: World) -> None:
        world.sync(refusal=Refusal.REJECT)
        async with client(world) as asks:
            asks.transport.sendto(b"ping")
            await until(lambda: bool(asks.errors))
            assert isinstance(asks.errors[0], ConnectionRefusedError)

    run(body)


def test_a_service_that_is_deleted_takes_its_associations_along() -> None:
    async def body(world: World) -> None:
        async with server(b"one") as (target, _), client(world) as asks:
            world.sync(target)
            asks.transport.sendto(b"ping")
            await until(lambda: len(asks.heard) == 1)
            world.plane.sync({"default/web": None}, NODE)
            asks.transport.sendto(b"ping")
            await until(lambda: bool(asks.errors))

    run(body)


def test_the_largest_datagram_passes_whole() -> None:
    async def body(world: World) -> None:
        async with server(b"") as (target, heard), client(world) as asks:
            world.sync(target)
            asks.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            sent = bytes(65507)
            asks.transport.sendto(sent)
            await until(lambda: bool(heard.heard))
            assert heard.heard[0][0] == sent

    run(body)
