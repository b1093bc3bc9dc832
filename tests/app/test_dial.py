"""The dial socket takes the UID of a Pod and a port, and nothing else. Rule: design §3, §12."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from seaway.api.registry import NODES
from seaway.apiserver.proxying.targets import Target
from seaway.app.dial import DialError, make_dialer, run_dial_socket, serve_dial_socket
from seaway.testing.builders import make_node
from seaway.testing.cluster import open_cluster

WAIT_SECONDS = 10.0
UID = "0b0c1f6e-0000-4000-8000-000000000001"
Talk = Callable[[Path, int], Awaitable[None]]


def serving(
    tmp_path: Path, talk: Talk, loop_factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
) -> None:
    """A Pod at 127.0.0.1 that says everything back in capitals and, when it has heard all, `end`."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data.upper())
            await writer.drain()
        writer.write(b"end")
        writer.close()

    async def run() -> None:
        pod = await asyncio.start_server(echo, "127.0.0.1", 0)
        path = tmp_path / "dial.sock"
        addresses = {UID: "127.0.0.1"}
        ready = asyncio.Event()
        task = asyncio.ensure_future(serve_dial_socket(path, addresses.get, on_ready=ready.set))
        await ready.wait()
        try:
            async with asyncio.timeout(3 * WAIT_SECONDS):
                await talk(path, pod.sockets[0].getsockname()[1])
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            pod.close()
        assert not path.exists()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(run())


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_pod_is_reached_by_its_uid_and_either_side_may_end_first(
    tmp_path: Path, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def talk(path: Path, port: int) -> None:
        assert path.stat().st_mode & 0o777 == 0o600
        reader, writer = await make_dialer(path)(Target("203.0.113.1", port, UID))  # the address is not looked at
        writer.write(b"a" * 300_000)
        assert await reader.readexactly(300_000) == b"A" * 300_000
        writer.write_eof()
        assert await reader.read() == b"end"
        writer.close()

    serving(tmp_path, talk, loop_factory)


def test_what_is_no_pod_of_the_node_is_refused(tmp_path: Path) -> None:
    async def talk(path: Path, port: int) -> None:
        with pytest.raises(DialError, match="no Pod of this node, nor the node"):
            await make_dialer(path)(Target("127.0.0.1", port, "another"))
        with pytest.raises(DialError, match="connection refused"):
            await make_dialer(path)(Target("127.0.0.1", 1, UID))

    serving(tmp_path, talk)


@pytest.mark.parametrize(
    "asked",
    [b"127.0.0.1 80\n", b"127.0.0.1:80\n", f"{UID}\n".encode(), f"{UID} 99999\n".encode(), b"x" * 100_000, b"\n"],
    ids=["an address", "an address with its port", "no port", "no such port", "endless", "nothing"],
)
def test_nothing_else_can_be_said(tmp_path: Path, asked: bytes) -> None:
    async def talk(path: Path, port: int) -> None:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(asked)
        answer = await reader.read()
        assert answer == b"" or answer.startswith(b"error ")
        writer.close()

    serving(tmp_path, talk)


def test_the_node_is_reached_by_its_own_uid(tmp_path: Path) -> None:
    """What the API has for the Node decides: its agent listens at the node's address."""

    async def say_who(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"agent")
        writer.close()

    async def run() -> None:
        async with open_cluster() as cluster:
            made = await cluster.client().create(NODES, make_node("node-1"))
            agent = await asyncio.start_server(say_who, "127.0.0.1", 0)
            port = agent.sockets[0].getsockname()[1]
            path = tmp_path / "dial.sock"
            task = asyncio.ensure_future(run_dial_socket(path, cluster.client(), "node-1", "127.0.0.1"))
            try:
                dial = make_dialer(path)

                async def answers() -> bool:
                    try:
                        reader, writer = await dial(Target("203.0.113.1", port, made["metadata"]["uid"]))
                    except OSError:
                        return False  # the node is not known yet, or the socket is not there yet
                    said = await reader.readexactly(5)
                    writer.close()
                    return said == b"agent"

                await cluster.eventually(answers)
                with pytest.raises(DialError, match="nor the node"):
                    await dial(Target("127.0.0.1", port, "node-1"))
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                agent.close()
                await asyncio.sleep(0.01)  # lets the loop take its closed transports off the selector

    asyncio.run(run())
