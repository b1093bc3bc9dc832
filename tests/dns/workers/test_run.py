"""A leader and a follower, each on a port of its own so that a query reaches the one that is meant."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import dns.rcode
import pytest

from seaway.client.requests import Client
from seaway.dns.config import DnsConfig, Lifecycle
from seaway.dns.run import Source, follow, run
from seaway.dns.settings.run import ConfigFile
from seaway.dns.workers.run import Hub
from tests.dns.test_run import NAMESPACE, SLICE, Server, ask, ask_until, free_port, service

WEB = "web.default.svc.cluster.local"


class Crew:
    """The two of them, and the API server that the leader watches."""

    def __init__(self, config: DnsConfig | None = None) -> None:
        self.api = Server({"namespaces": [NAMESPACE], "services": [service("10.96.0.5")], "endpointslices": [SLICE]})
        self.api.opened.set()
        self.port, self.page_port = free_port(), free_page_port()
        self.name = f"seaway-test-{uuid4()}"
        self.config = DnsConfig(
            listen=(("127.0.0.1", self.port),),
            lifecycle=Lifecycle(metrics=("127.0.0.1", self.page_port)),
            workers=2,
        )
        self.leader: asyncio.Task[None] | None = None
        self.follower: asyncio.Task[None] | None = None
        self.follower_port = 0
        self.leader_ready, self.follower_ready = asyncio.Event(), asyncio.Event()

    def lead(self, source: Source | None = None) -> None:
        self.leader_ready = asyncio.Event()
        work = run(self.config, Client(self.api), on_ready=self.leader_ready.set, hub_name=self.name, source=source)
        self.leader = asyncio.create_task(work)

    def follow(self, source: Source | None = None) -> None:
        self.follower_port = free_port_but(self.port)
        self.follower_ready = asyncio.Event()
        config = replace(self.config, listen=(("127.0.0.1", self.follower_port),))
        self.follower = asyncio.create_task(follow(config, self.name, on_ready=self.follower_ready.set, source=source))

    async def stop(self, task: asyncio.Task[None] | None) -> None:
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def page(self) -> list[str]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.page_port)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        body = (await reader.read()).partition(b"\r\n\r\n")[2]
        writer.close()
        return body.decode().splitlines()


def free_page_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def free_port_but(taken: int) -> int:
    for port in range(30_000, 32_000):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, contextlib.suppress(OSError):
            udp.bind(("127.0.0.1", port))
            if port != taken:
                return port
    raise AssertionError("no port is free")


@contextlib.asynccontextmanager
async def crew(*, starts: bool = True) -> AsyncIterator[Crew]:
    found = Crew()
    try:
        async with asyncio.timeout(30):
            if starts:
                found.lead()
                found.follow()
                await found.leader_ready.wait()
            yield found
    finally:
        await found.stop(found.follower)
        await found.stop(found.leader)


def test_both_answer_and_a_change_reaches_both() -> None:
    async def main() -> None:
        async with crew() as both:
            for port in (both.port, both.follower_port):
                await ask_until(port, WEB, "10.96.0.5")
                await ask_until(port, f"10-244-0-5.{WEB}", "10.244.0.5")
            both.api.tell("services", "MODIFIED", service("10.96.0.6", 11))
            for port in (both.port, both.follower_port):
                await ask_until(port, WEB, "10.96.0.6")
            both.api.tell("services", "DELETED", service("10.96.0.6", 12))
            for port in (both.port, both.follower_port):
                while (await ask(port, WEB)).rcode() != dns.rcode.NXDOMAIN:
                    pass

    asyncio.run(main())


def test_the_leader_is_ready_when_its_followers_are() -> None:
    async def main() -> None:
        async with crew(starts=False) as both:
            both.lead()
            while True:
                with contextlib.suppress(ConnectionRefusedError):
                    await ask_until(both.port, WEB, "10.96.0.5")
                    break
                await asyncio.sleep(0)
            assert not both.leader_ready.is_set()
            both.follow()
            await both.leader_ready.wait()
            assert both.follower_ready.is_set()

    asyncio.run(main())


def test_one_page_has_the_sum() -> None:
    async def main() -> None:
        async with crew() as both:
            for _ in range(3):
                await ask(both.port, WEB)
                await ask(both.follower_port, WEB)
            lines = [line for line in await both.page() if line.startswith("coredns_dns_responses_total{")]
            assert sum(float(line.rsplit(" ", 1)[1]) for line in lines) == 6
            assert next(line for line in await both.page() if line.startswith("coredns_build_info{")).endswith(" 1")
            await both.stop(both.follower)
            lines = [line for line in await both.page() if line.startswith("coredns_dns_responses_total{")]
            assert sum(float(line.rsplit(" ", 1)[1]) for line in lines) == 3

    asyncio.run(main())


def test_a_follower_that_begins_anew_gets_the_whole_state() -> None:
    async def main() -> None:
        async with crew() as both:
            await both.stop(both.follower)
            both.api.tell("services", "MODIFIED", service("10.96.0.6", 11))
            await ask_until(both.port, WEB, "10.96.0.6")
            both.follow()
            await both.follower_ready.wait()
            await ask_until(both.follower_port, WEB, "10.96.0.6")

    asyncio.run(main())


def test_a_follower_without_leader_goes_on_and_takes_the_next_leaders_state() -> None:
    async def main() -> None:
        async with crew() as both:
            await ask_until(both.follower_port, WEB, "10.96.0.5")
            await both.stop(both.leader)
            await ask_until(both.follower_port, WEB, "10.96.0.5")
            both.api.objects["services"] = [service("10.96.0.7", 20)]
            both.lead()
            await both.leader_ready.wait()
            await ask_until(both.follower_port, WEB, "10.96.0.7")
            both.api.tell("services", "MODIFIED", service("10.96.0.8", 21))
            await ask_until(both.follower_port, WEB, "10.96.0.8")

    asyncio.run(main())


def test_what_the_leader_loads_again_its_followers_load_too(tmp_path: Path) -> None:
    async def main() -> None:
        async with crew(starts=False) as both:
            path = tmp_path / "Corefile"
            options = "ttl TTL\n  startup_timeout 0s"
            text = f".:{both.port} {{\n kubernetes cluster.local {{\n  {options}\n }}\n reload 2s 0s\n}}\n"
            path.write_text(text.replace("TTL", "7"))
            file = ConfigFile(path, hosts=["127.0.0.1"])
            config, checksum = file.load()
            both.config = replace(config, workers=2)

            def load() -> tuple[DnsConfig, str]:
                config, checksum = file.load()
                return replace(config, workers=2), checksum

            both.lead(Source(load, checksum))
            both.follow(Source(load, checksum))
            await both.leader_ready.wait()
            path.write_text(text.replace("TTL", "9"))
            while (await ask(both.follower_port, WEB)).answer[0].ttl != 9:
                pass
            assert (await ask(both.port, WEB)).answer[0].ttl == 9

    asyncio.run(main())


def test_a_name_that_is_taken_is_an_error() -> None:
    async def main() -> None:
        name = f"seaway-test-{uuid4()}"
        first = asyncio.create_task(Hub(name, 1, lambda: ()).run())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        with pytest.raises(OSError, match="in use"):
            await Hub(name, 1, lambda: ()).run()
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)

    asyncio.run(main())
