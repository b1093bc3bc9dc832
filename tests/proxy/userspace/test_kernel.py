"""Descriptors and who is told of them, by epoll and by what other systems have."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Iterator

import pytest

from seaway.proxy.userspace.kernel import IN, OUT, Poller, SpareDescriptor
from tests.proxy.userspace.world import until


class Seen:
    """What a watcher was told, and what it does about it."""

    def __init__(self, act: Callable[[int], None] = lambda events: None) -> None:
        self.events: list[int] = []
        self._act = act

    def on_events(self, events: int) -> None:
        self.events.append(events)
        self._act(events)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    one.setblocking(False)
    yield one, other
    one.close()
    other.close()


def run(has_epoll: bool, body: Callable[[Poller], Awaitable[None]]) -> None:
    async def main() -> None:
        poller = Poller(asyncio.get_running_loop(), has_epoll=has_epoll)
        try:
            await body(poller)
        finally:
            poller.end()

    asyncio.run(main())


both = pytest.mark.parametrize("has_epoll", [True, False], ids=["epoll", "selectors"])


@both
def test_only_what_is_asked_for_is_told(has_epoll: bool, pair: tuple[socket.socket, socket.socket]) -> None:
    one, other = pair

    async def body(poller: Poller) -> None:
        seen = Seen(lambda events: poller.change(one.fileno(), 0))
        poller.watch(one.fileno(), OUT, seen)
        await until(lambda: seen.events == [OUT])
        other.send(b"x")
        poller.change(one.fileno(), IN)
        await until(lambda: seen.events == [OUT, IN])
        poller.forget(one.fileno())
        assert len(poller) == 0

    run(has_epoll, body)


@both
def test_a_watcher_may_close_another_that_was_to_be_told_in_the_same_moment(has_epoll: bool) -> None:
    """Its number is not another's before all were told."""
    pairs = [socket.socketpair() for _ in range(2)]
    told: list[int] = []

    async def body(poller: Poller) -> None:
        def close_all(events: int) -> None:
            told.append(events)
            for one, _ in pairs:
                poller.close(one)

        for one, other in pairs:
            other.send(b"x")
            poller.watch(one.fileno(), IN, Seen(close_all))
        await until(lambda: len(poller) == 0)
        assert told == [IN]
        assert all(one.fileno() < 0 for one, _ in pairs)

    run(has_epoll, body)
    for _, other in pairs:
        other.close()


def test_a_watcher_that_fails_is_told_nothing_more(
    pair: tuple[socket.socket, socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    one, other = pair
    other.send(b"x")

    def fail(events: int) -> None:
        raise RuntimeError("a fault of ours")

    async def body(poller: Poller) -> None:
        poller.watch(one.fileno(), IN, Seen(fail))
        await until(lambda: len(poller) == 0)

    run(True, body)
    assert "a fault of ours" in caplog.text


def test_a_client_is_reset_with_the_descriptor_in_reserve_and_the_reserve_comes_back() -> None:
    before = len(os.listdir("/proc/self/fd"))
    spare = SpareDescriptor()
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        listener.setblocking(False)
        assert not spare.refuse(listener), "nobody waits"
        client.connect(listener.getsockname())
        assert spare.refuse(listener)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    spare.close()
    spare.close()
    assert len(os.listdir("/proc/self/fd")) == before
