"""An API server that is nothing but a list and a watch: it sends so many changes a second, each on its own line.

The proxy beside it is `seaway proxy` as anybody starts it; what reaches the kernel is read from the kernel.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import web

from bench.dataset import choose_address, choose_cluster_ip, name_service
from bench.figures import percentile
from seaway.net.family import Family
from seaway.proxy.forwarding import Target
from seaway.proxy.nftables.kernel import NftKernel
from seaway.proxy.nftables.render import pack_key, pack_target
from seaway.testing.builders import make_service, make_slice

TABLE = "seaway"
PORT, TARGET_PORT = 80, 8080
SETTLE_SECONDS = 2.0
"""Right after its start the proxy tidies its memory: that is no part of what is measured."""
TICK_SECONDS = 0.005
LOOK_SECONDS = 0.001
MARK_SECONDS = 0.1
"""How often a change is followed into the kernel."""
GIVE_UP_SECONDS = 30.0
ROLL_SECONDS = 0.05
"""How often the Service that is asked gets other endpoints."""


@dataclass
class Feed:
    """`services` Services of `endpoints` endpoints that change, one that marks, and one whose endpoints serve."""

    services: int
    endpoints: int
    served: tuple[str, ...]
    """Addresses that listen all the time; some of them are the endpoints of the last Service."""
    revision: int = 1
    watches: list[asyncio.Queue[bytes]] = field(default_factory=list)
    is_watched: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def marker(self) -> int:
        return self.services

    @property
    def asked(self) -> int:
        """The number of the Service whose endpoints serve."""
        return self.services + 1

    def list_services(self) -> Iterator[dict[str, Any]]:
        for number in range(self.services + 2):
            address = choose_cluster_ip(number)
            spec: dict[str, Any] = {"clusterIP": address, "clusterIPs": [address], "ipFamilies": ["IPv4"]}
            yield _stamp(make_service(name_service(number), ports=[{"port": PORT, "protocol": "TCP"}], **spec), 1)

    def list_slices(self) -> Iterator[dict[str, Any]]:
        for number in range(self.services):
            yield self.make_slice(number, [choose_address(number * self.endpoints + n) for n in range(self.endpoints)])
        yield self.make_slice(self.marker, ["192.0.2.1"])
        yield self.make_slice(self.asked, list(self.served))

    def make_slice(self, number: int, addresses: list[str]) -> dict[str, Any]:
        name = name_service(number)
        ports = [{"name": "", "port": TARGET_PORT, "protocol": "TCP"}]
        return _stamp(make_slice(name, name, addresses, ports=ports), self.revision)

    def send(self, number: int, addresses: list[str]) -> None:
        """The slice of the Service is now this."""
        self.revision += 1
        line = msgspec.json.encode({"type": "MODIFIED", "object": self.make_slice(number, addresses)}) + b"\n"
        for watch in self.watches:
            watch.put_nowait(line)

    async def serve(self, port: int) -> web.AppRunner:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        return runner

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        kind = request.path.rsplit("/", 1)[-1]
        if request.method == "POST":  # an Event
            return web.Response(status=201, body=await request.read(), content_type="application/json")
        if request.query.get("watch") in ("1", "true"):
            return await self._watch(request, kind)
        known = {"services": self.list_services, "endpointslices": self.list_slices}
        items = list(known[kind]()) if kind in known else []
        body = {"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items}
        return web.Response(body=msgspec.json.encode(body), content_type="application/json")

    async def _watch(self, request: web.Request, kind: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        lines: asyncio.Queue[bytes] = asyncio.Queue()
        if kind == "endpointslices":
            self.watches.append(lines)
            self.is_watched.set()
        try:
            while True:
                packed = [await lines.get()]
                while not lines.empty():
                    packed.append(lines.get_nowait())
                await response.write(b"".join(packed))
        finally:
            if lines in self.watches:
                self.watches.remove(lines)


def _stamp(obj: dict[str, Any], revision: int) -> dict[str, Any]:
    obj["metadata"]["resourceVersion"] = str(revision)
    return obj


async def run_feed(options: Mapping[str, Any]) -> AsyncIterator[dict[str, float]]:
    """First when it listens; then when the proxy has everything in the kernel; then, after all changes, what was seen:
    how many were sent, and how late those that were followed were there.
    """
    seconds, per_second = options["seconds"], options["per_second"]
    feed = Feed(options["services"], options["endpoints"], tuple(options["served"]))
    kernel = NftKernel()
    runner = await feed.serve(options["port"])
    yield {}
    try:
        await _wait(kernel, feed.marker, "192.0.2.1")
        await feed.is_watched.wait()
        await asyncio.sleep(SETTLE_SECONDS)
        yield {}
        marking = asyncio.ensure_future(_mark(feed, kernel, seconds))
        sent = await _change(feed, seconds, per_second)
        lags = await marking
        third = len(lags) // 3
        yield {
            "sent": sent,
            "followed": len(lags),
            "p50": percentile(lags, 0.5),
            "p99": percentile(lags, 0.99),
            "early": percentile(lags[:third], 0.99),
            "late": percentile(lags[-third:], 0.99),
        }
    finally:
        await runner.cleanup()
        kernel.close()


async def _change(feed: Feed, seconds: float, per_second: int) -> int:
    """Change one endpoint of a Service after the other; how often. Who is asked gets others now and then."""
    started = time.perf_counter()
    total, sent, rolls = round(seconds * per_second), 0, 0
    while sent < total:
        passed = time.perf_counter() - started
        for turn in range(sent, min(total, int(passed * per_second))):
            number = turn * 997 % feed.services
            others = [choose_address(number * feed.endpoints + n) for n in range(1, feed.endpoints)]
            feed.send(number, [f"198.51.100.{1 + turn % 250}", *others])
            sent = turn + 1
        if passed > rolls * ROLL_SECONDS:
            rolls += 1
            feed.send(feed.asked, _choose(feed.served, rolls))
        await asyncio.sleep(TICK_SECONDS)
    return sent


def _choose(addresses: tuple[str, ...], turn: int) -> list[str]:
    """One of them, then it and the next, then that one."""
    first, second = addresses[turn // 2 % len(addresses)], addresses[(turn // 2 + 1) % len(addresses)]
    return [first, second] if turn % 2 else [first]


async def _mark(feed: Feed, kernel: NftKernel, seconds: float) -> list[float]:
    """Seconds from the sending of a change to its being in the kernel, again and again."""
    lags: list[float] = []
    ends = time.perf_counter() + seconds
    while (begun := time.perf_counter()) < ends:
        address = f"192.0.2.{2 + len(lags) % 250}"
        feed.send(feed.marker, [address])
        await _wait(kernel, feed.marker, address)
        lags.append(time.perf_counter() - begun)
        await asyncio.sleep(max(0.0, MARK_SECONDS - lags[-1]))
    return lags


async def _wait(kernel: NftKernel, number: int, address: str) -> None:
    """Until the kernel has this endpoint in the first slot of the Service."""
    key, packed = pack_key(choose_cluster_ip(number), "TCP", PORT), pack_target(Target(address, TARGET_PORT))
    ends = time.perf_counter() + GIVE_UP_SECONDS
    while kernel.find_elements(Family.IPV4, TABLE, [("slot-0", key)]).get("slot-0", {}).get(key) != packed:
        if time.perf_counter() > ends:
            raise TimeoutError(f"{address} is not in the kernel after {GIVE_UP_SECONDS:.0f} s")
        await asyncio.sleep(LOOK_SECONDS)
