"""The processes that benchmarks measure: `python -m bench.children KIND OPTIONS`, ended by the end of their input.

Each runs the product's own entry point, says one JSON line when it is ready, and further lines as its kind tells.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

Options = Mapping[str, Any]

SOL_NETLINK, ADD_MEMBERSHIP, GROUP_NFTABLES = 270, 1, 7
NEW_GENERATION = 10 << 8 | 15
"""NFNL_SUBSYS_NFTABLES and NFT_MSG_NEWGEN: sent once per batch that the kernel has taken."""
HEADER = struct.Struct("=IHHII")


def say(**values: float) -> None:
    """One line for the parent."""
    sys.stdout.write(msgspec.json.encode(values).decode() + "\n")
    sys.stdout.flush()


def now() -> float:
    """A clock that all processes share."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


async def run_apiserver(options: Options) -> None:
    """The API server over SQLite, on TLS and on the unix socket of the folder. Says its port and start-up time."""
    begun = now()
    from bench.credentials import find_credentials, find_tls
    from seaway.apiserver.run import ServerConfig, open_server
    from seaway.apiserver.serve import TcpListener, UnixListener, serve
    from seaway.app.calm import calm_collector
    from seaway.store.sqlite import open_sqlite

    folder = Path(options["folder"])
    store = await open_sqlite(folder / "seaway.db")
    server = await open_server(ServerConfig(), store, credentials=find_credentials(folder))
    serving = await serve(
        server,
        tls=find_tls(folder),
        listen=[TcpListener("127.0.0.1", 0), UnixListener(folder / "api.sock")],
    )
    calm_collector()
    say(port=serving.addresses[0][1], seconds=now() - begun)
    await input_ended()
    await serving.close()
    await server.close()
    await store.close()


async def run_dns(options: Options) -> None:
    """Cluster DNS beside an API server, as `seaway dns` runs it. Says when it is ready.

    hub: the name where another finds it, and the two of them share the port.
    """
    from seaway.app.calm import calmly
    from seaway.dns.run import DnsConfig, run

    hub = options.get("hub", "")
    config = DnsConfig(listen=(("127.0.0.1", options["port"]),), workers=2 if hub else 1)
    await _run_client(options, calmly(lambda client, on_ready: run(config, client, on_ready=on_ready, hub_name=hub)))


async def run_dns_follower(options: Options) -> None:
    """The other one. Says when it is ready."""
    from seaway.app.calm import calm_collector, return_memory
    from seaway.dns.run import DnsConfig, follow

    begun = now()

    def on_ready() -> None:
        calm_collector()
        return_memory()
        say(pid=os.getpid(), seconds=now() - begun)

    config = DnsConfig(listen=(("127.0.0.1", options["port"]),), workers=2)
    ended = asyncio.ensure_future(input_ended())
    running = asyncio.ensure_future(follow(config, options["hub"], on_ready=on_ready))
    await asyncio.wait((ended, running), return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def run_forwarder(options: Options) -> None:
    """DNS without a cluster, for names that an upstream knows. Says when it listens."""
    from seaway.app.calm import calm_collector
    from seaway.dns.config import DnsConfig
    from seaway.dns.forwarding.config import Block, CacheConfig, RouteConfig
    from seaway.dns.forwarding.forward import Forwarder
    from seaway.dns.forwarding.serve import Relay
    from seaway.dns.forwarding.upstreams import Upstream
    from seaway.dns.index import Index
    from seaway.dns.respond import Responder
    from seaway.dns.serve import Server

    route = RouteConfig((Upstream("127.0.0.1", options["upstream"]),))
    block = Block(routes=(route,), cache=CacheConfig() if options["is_cached"] else None)
    config = DnsConfig(listen=(("127.0.0.1", options["port"]),), blocks=(block,), max_forwards_per_source=1000)
    index = Index()
    index.is_synced = True
    responder = Responder(index, config.zone)
    server = Server(config, responder, Relay(config, responder, (Forwarder(block),)))
    await server.open()
    calm_collector()  # as the command does
    say(seconds=0.0)
    await input_ended()
    await server.close()


async def run_upstream(options: Options) -> None:
    """A name server that knows every name under one address. Says when it listens."""
    record = bytes.fromhex("c00c000100010000012c0004c6336407")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", options["port"]))
        sock.setblocking(False)

        def answer() -> None:
            query, peer = sock.recvfrom(4096)
            question_end = query.index(b"\0", 12) + 5
            head = query[:2] + bytes.fromhex("81800001000100000000")
            sock.sendto(head + query[12:question_end] + record, peer)

        asyncio.get_running_loop().add_reader(sock, answer)
        say(seconds=0.0)
        await input_ended()


async def run_proxy(options: Options) -> None:
    """The proxy beside an API server, in its parent's namespace, as `seaway proxy` runs it. Says when it is ready."""
    from seaway.app.calm import calmly
    from seaway.net.family import Family
    from seaway.proxy.run import ProxyConfig, run

    config = ProxyConfig(node_name="bench", families=(Family.IPV4,), service_cidrs=("10.96.0.0/16",))
    await _run_client(options, calmly(lambda client, on_ready: run(config, client, on_ready=on_ready)))


async def run_controllers(options: Options) -> None:
    """The control loops beside an API server, as `seaway controllers` runs them. Says when they are ready."""
    from seaway.app.calm import calmly
    from seaway.controllers.config import ControllersConfig
    from seaway.controllers.run import run

    # No agent renews its lease here: nodes are not to be lost meanwhile.
    config = ControllersConfig(node_grace_seconds=86_400, ca_pem="CA", enabled=tuple(options["enabled"]))
    await _run_client(options, calmly(lambda client, on_ready: run(config, client, on_ready=on_ready)))


async def _run_client(options: Options, start: Callable[[Any, Callable[[], None]], Awaitable[None]]) -> None:
    from bench.credentials import socket_connection
    from seaway.client.transport import open_client

    begun = now()
    client = open_client(socket_connection(Path(options["folder"])))
    ended = asyncio.ensure_future(input_ended())
    running = asyncio.ensure_future(start(client, lambda: say(pid=os.getpid(), seconds=now() - begun)))
    await asyncio.wait((ended, running), return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await client.close()


async def run_proxy_host(options: Options) -> None:
    """A host with a proxy on it: says the proxy's line, then the time of every batch that the kernel takes."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    proxy = subprocess.Popen(
        [sys.executable, "-m", "bench.children", "proxy", msgspec.json.encode(options).decode()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert proxy.stdin is not None and proxy.stdout is not None
    try:
        line = await asyncio.to_thread(proxy.stdout.readline)
        threading.Thread(target=_report_generations, args=(_open_monitor(),), daemon=True).start()
        say(**msgspec.json.decode(line, type=dict[str, float]))
        await input_ended()
    finally:
        proxy.stdin.close()
        proxy.wait(10)
        proxy.stdout.close()


def _open_monitor() -> socket.socket:
    monitor = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
    monitor.bind((0, 0))
    monitor.setsockopt(SOL_NETLINK, ADD_MEMBERSHIP, GROUP_NFTABLES)
    return monitor


def _report_generations(monitor: socket.socket) -> None:
    while True:
        with contextlib.suppress(OSError):  # an overflow: the generation that matters comes when all is quiet
            packet = monitor.recv(1 << 20)
            seen = now()
            offset = 0
            while offset + HEADER.size <= len(packet):
                length, kind, _, _, _ = HEADER.unpack_from(packet, offset)
                if kind == NEW_GENERATION:
                    say(seen=seen)
                offset += (length + 3) & ~3


async def run_plane(options: Options) -> None:
    """The proxy's core over the kernel, without an API: says the seconds of a full sync, then of single changes."""
    from bench.planes import measure_plane
    from seaway.app.calm import THRESHOLDS

    gc.set_threshold(*THRESHOLDS)  # as the product
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for values in measure_plane(**options):
        say(**values)


async def run_traffic_plane(options: Options) -> None:
    """The proxy's core in the namespace of a node that forwards; what is measured says `measure`."""
    from bench.planes import fill_proxier, measure_start, sync
    from seaway.app.calm import THRESHOLDS
    from seaway.proxy.nftables.kernel import NftKernel

    gc.set_threshold(*THRESHOLDS)
    rest = {name: value for name, value in options.items() if name != "measure"}
    if options["measure"] == "start":
        for values in measure_start(**rest):
            say(**values)
    else:
        sync(fill_proxier(NftKernel(), **rest))
        say(pid=os.getpid())
    await input_ended()


async def run_feed(options: Options) -> None:
    """Lists and watches that send changes. Says when it listens, when the proxy follows, and what was seen."""
    from bench.feed import run_feed

    async for values in run_feed(options):
        say(**values)
    await input_ended()


async def run_connector(options: Options) -> None:
    """Connects again and again until its input ends, then says how often, how often in vain, and the middle seconds.

    It says its pid after the first connection.
    """
    ended = threading.Event()

    def wait() -> None:
        sys.stdin.buffer.read()
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    taken: list[float] = []
    failures = 0
    while not ended.is_set():
        begun = time.perf_counter()
        try:
            with socket.create_connection((options["address"], options["port"]), 2) as connection:
                seconds = time.perf_counter() - begun
                connection.recv(64)
            taken.append(seconds)
        except OSError:
            failures += 1
        if len(taken) + failures == 1:
            say(pid=os.getpid())
        time.sleep(options["pause"])
    say(served=len(taken), failures=failures, p50=sorted(taken)[len(taken) // 2] if taken else 0.0)


async def run_watchers(options: Options) -> None:
    """Watches and writes beside an API server. Says when all watch, then what they saw."""
    from bench.watchers import measure_watchers

    await measure_watchers(
        Path(options["folder"]),
        port=options["port"],
        watchers=options["watchers"],
        namespaces=options["namespaces"],
        per_second=options["per_second"],
        seconds=options["seconds"],
        say=say,
    )
    await input_ended()


async def run_agents(options: Options) -> None:
    """Changes Pods beside an API server. Says what was seen of it."""
    from bench.agents import measure_rollout, measure_turns, wait_converged

    folder, kind = Path(options["folder"]), options["measure"]
    rest = {name: value for name, value in options.items() if name not in ("folder", "measure")}
    if kind == "converge":
        say(seconds=await wait_converged(folder, rest["endpoints"], rest["timeout_seconds"]))
    elif kind == "turns":
        await measure_turns(folder, say=say, **rest)
    else:
        await measure_rollout(folder, say=say, **rest)
    await input_ended()


async def run_splice(options: Options) -> None:
    """The barest splice that asyncio can do, on the loop that the product runs on. Says when it listens."""

    class Half(asyncio.Protocol):
        def __init__(self, other: Half | None = None) -> None:
            self.other = other
            self.transport: Any = None
            self.early: list[bytes] = []

        def connection_made(self, transport: Any) -> None:
            self.transport = transport
            if self.other is None:
                self.dialling = loop.create_task(self.dial())

        async def dial(self) -> None:
            other = Half(self)
            await loop.create_connection(lambda: other, options["to"], options["to_port"])
            self.other = other
            for data in self.early:
                other.transport.write(data)

        def data_received(self, data: bytes) -> None:
            if self.other is None:
                self.early.append(data)
            else:
                self.other.transport.write(data)

        def connection_lost(self, error: Exception | None) -> None:
            if self.other is not None:
                self.other.transport.close()

    loop = asyncio.get_running_loop()
    server = await loop.create_server(Half, options["at"], options["at_port"], backlog=4096)
    say(seconds=0.0)
    await input_ended()
    server.close()


async def run_userspace(options: Options) -> None:
    """The userspace plane with one Service, as `seaway proxy --plane userspace` has it. Says when it listens."""
    from random import SystemRandom

    from seaway.app.calm import calm_collector
    from seaway.net.family import Family
    from seaway.net.loopback import LoopbackMap
    from seaway.proxy.config import NodeView
    from seaway.proxy.forwarding import Forwarding, Frontend, Masquerade, ServiceForwarding, Target, TrafficClass
    from seaway.proxy.userspace.figures import ConnectionFigures
    from seaway.proxy.userspace.gate import Neighbours
    from seaway.proxy.userspace.plan import plan_listeners
    from seaway.proxy.userspace.plane import UserspacePlane
    from seaway.proxy.userspace.serve import UserspaceSockets
    from seaway.telemetry.metrics import Metrics

    loopback = LoopbackMap()
    sockets = UserspaceSockets(
        Neighbours(loopback), figures=ConnectionFigures(Metrics()), tell=lambda *told: print(*told, file=sys.stderr)
    )
    plane = UserspacePlane(
        sockets,
        lambda service, node: plan_listeners(service, loopback=loopback, node_addresses=()),
        pick=SystemRandom().randrange,
    )
    address, to = loopback.from_loopback(options["at"]), loopback.from_loopback(options["to"])
    assert address is not None and to is not None
    forwarding = Forwarding(
        frontend=Frontend(TrafficClass.CLUSTER_IP, address, "TCP", options["at_port"]),
        port_name="",
        endpoints=(Target(to, options["to_port"]),),
        masquerade=Masquerade.OFF_CLUSTER,
    )
    service = ServiceForwarding(
        service="bench/web", family=Family.IPV4, age=("", ""), cluster_ip=address, forwardings=(forwarding,)
    )
    plane.sync({"bench/web": service}, NodeView("bench"))
    calm_collector()
    say(seconds=0.0, complaints=float(len(plane.complaints("bench/web"))))
    await input_ended()
    plane.close()
    sockets.close()


async def run_sink(options: Options) -> None:
    """A server that takes connections and says nothing. Says when it listens."""
    from seaway.proxy.userspace.kernel import raise_file_limit

    raise_file_limit()
    taken: list[socket.socket] = []
    listener = socket.create_server((options["at"], options["at_port"]), backlog=4096)
    listener.setblocking(False)

    def take() -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                taken.append(listener.accept()[0])

    asyncio.get_running_loop().add_reader(listener, take)
    say(seconds=0.0)
    await input_ended()
    for each in (*taken, listener):
        each.close()


async def input_ended() -> None:
    """Returns when the parent has closed this process's input."""
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)


KINDS: Mapping[str, Callable[[Options], Awaitable[None]]] = {
    "agents": run_agents,
    "apiserver": run_apiserver,
    "controllers": run_controllers,
    "dns": run_dns,
    "dns-follower": run_dns_follower,
    "feed": run_feed,
    "forwarder": run_forwarder,
    "proxy": run_proxy,
    "proxy-host": run_proxy_host,
    "plane": run_plane,
    "sink": run_sink,
    "splice": run_splice,
    "userspace": run_userspace,
    "upstream": run_upstream,
    "traffic-plane": run_traffic_plane,
    "connector": run_connector,
    "watchers": run_watchers,
}


async def _main(kind: str, options: Options) -> None:
    await KINDS[kind](options)


if __name__ == "__main__":
    import logging

    import uvloop

    logging.basicConfig(level=logging.WARNING)
    uvloop.run(_main(sys.argv[1], msgspec.json.decode(sys.argv[2])))
