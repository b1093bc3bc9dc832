"""How turns, ejection and ages meet real connections. Rule: issue of the userspace plane, part 3."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from seaway.proxy.balance import Balance
from seaway.proxy.connectionpolicy import DEFAULT, ConnectionPolicy, EjectionRule
from tests.proxy.userspace.test_connections import is_reset, run, unused
from tests.proxy.userspace.world import World, echo, read_all, until

NO_RETRIES = replace(DEFAULT, connect_retries=0)


async def is_served(world: World) -> bool:
    """Whether a connection, which then ends, is not reset."""
    with contextlib.suppress(ConnectionResetError):  # so soon that `connect` may see it already
        reader, writer = await world.connect()
        with contextlib.closing(writer):
            writer.write_eof()
            return await read_all(reader) == b"bye"
    return False


def test_without_retries_the_first_refusal_is_the_clients_and_the_next_client_has_the_next_turn() -> None:
    async def body(world: World) -> None:
        world.sync(unused(), await world.start(echo), balance=Balance.ROUND_ROBIN, policy=NO_RETRIES)
        assert [await is_served(world) for _ in range(6)] == [False, True] * 3
        assert world.cell("retries_total") == 0

    run(body)


def test_an_attempt_at_another_endpoint_is_no_turn() -> None:
    async def body(world: World) -> None:
        world.sync(unused(), await world.start(echo), balance=Balance.ROUND_ROBIN)
        assert [await is_served(world) for _ in range(6)] == [True] * 6
        assert world.cell("connects_total", "refused") == 3

    run(body)


def test_one_that_is_alone_is_asked_however_often_it_refuses() -> None:
    async def body(world: World) -> None:
        world.sync(unused(), policy=ConnectionPolicy(ejection=EjectionRule(1, 3600.0)))
        assert [await is_served(world) for _ in range(3)] == [False] * 3
        assert world.cell("connects_total", "refused") == 3
        assert world.told == []

    run(body)


def test_a_connection_that_finishes_ends_for_both_after_what_was_said() -> None:
    async def body(world: World) -> None:
        world.sync(await world.start(echo), policy=ConnectionPolicy(max_age_seconds=3600.0))
        reader, writer = await world.connect()
        writer.write(b"before")
        assert await reader.readexactly(6) == b"before"
        (connection,) = world.sockets.splicer.connections
        connection.finish()
        assert await read_all(reader) == b"", "what the endpoint says afterwards is thrown away"
        writer.close()
        await until(lambda: world.open_count == 0)
        assert world.cell("connections") == 0

    run(body)


def test_who_finishes_is_no_reset_for_the_client() -> None:
    async def body(world: World) -> None:
        world.sync(await world.start(echo))
        reader, writer = await world.connect()
        await until(lambda: world.open_count == 1 and world.cell("connections") == 1)
        (connection,) = world.sockets.splicer.connections
        connection.finish()
        assert not await is_reset(reader)
        writer.close()

    run(body)
