"""Cluster DNS beside an API server with 10,000 Services and 100,000 endpoints: rate, latency, memory, workers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.credentials import make_credentials, socket_connection
from bench.dataset import choose_address, choose_cluster_ip, fill_database, name_service
from bench.figures import Figure, Goal, median, percentile
from bench.generators import DnsLoad, run_dnsperf
from bench.processes import (
    Child,
    MissingTool,
    choose_cores,
    find_tool,
    open_program,
    read_cpu_seconds,
    read_pss_mb,
    read_thread_seconds,
)
from seaway.api.registry import ENDPOINT_SLICES
from seaway.api.registry import SERVICES as SERVICES_OF_API
from seaway.client.transport import open_client
from seaway.dns.message import encode_question
from seaway.dns.wire import encode_upstream_query
from seaway.testing.builders import make_service, make_slice

SERVICES, ENDPOINTS = 10_000, 10
ROUNDS = 5
SECONDS = 2
QUESTIONS = 20_000

READY = Goal("dns: from start to ready, 10k Services", "s")
RATE = Goal(
    "dns: questions/s, 10k Services, one core", "/s", at_least=60_000, elsewhere="21,000/s on 2 cores (CoreDNS)"
)
P99 = Goal("dns: p99 at half of that load", "ms", at_most=2)
VISIBLE = Goal("dns: a change is answered after the API write, p50 of 50", "ms", at_most=10)
MEMORY = Goal("dns: PSS at 10k Services, 100k endpoints", "MB", at_most=100, elsewhere="220 MB (CoreDNS)")
SHARED = Goal("dns: CPU per question of two workers, against one", "", at_most=1.1)
FOLLOWER = Goal("dns: PSS of a second worker", "MB", at_most=100)
LARGE = Goal("dns: a headless Service of 5,000 endpoints over TCP, CPU per answer", "ms", at_most=1)
CHANGED = Goal("dns: the same right after one of its slices has changed", "ms", at_most=1)
PEER = Goal("dns: questions/s, of unbound's with the names as local data, one core", "")
GOALS = (READY, RATE, PEER, P99, VISIBLE, LARGE, CHANGED, MEMORY, SHARED, FOLLOWER)
LARGE_SLICES, LARGE_EACH = 50, 100
LARGE_QUESTIONS, LARGE_CHANGES = 500, 40
CHANGES = 50
LATENCY_SECONDS = 5
PROBE_SECONDS = 0.001
UNBOUND_START_SECONDS = 2.0
SETTLED_SECONDS = 1.0
WORKERS_RATE = 20_000
"""Questions a second for each worker: what one costs depends on how many come at once."""
MANY_CLIENTS = 64
"""So many that the kernel gives each of two workers about half of them."""


def run() -> list[Figure]:
    """The median of several rounds over A questions for Services in random order, all of which exist."""
    with TemporaryDirectory(prefix="seaway-bench-") as name:
        folder = Path(name)
        make_credentials(folder)
        asyncio.run(fill_database(folder / "seaway.db", services=SERVICES, endpoints=ENDPOINTS))
        queries = _write_queries(folder)
        with Child("apiserver", {"folder": name}) as server:
            server.read()
            port = find_free_port()
            with Child("dns", {"folder": name, "port": port}, core=choose_cores()[0]) as dns:
                ready = Figure(READY, dns.read()["seconds"])
                memory = Figure(MEMORY, read_pss_mb(dns.pid), "before the first question")
                rate = _measure(dns, port, queries)
                visible = Figure(VISIBLE, 1000 * median(asyncio.run(_watch_changes(folder, port))))
                found = [ready, rate, _measure_latency(port, queries, rate), visible, memory]
                found += asyncio.run(_measure_large(folder, dns, port))
                alone = _spend([dns], port, queries, per_second=WORKERS_RATE)
            found += _measure_workers(folder, port, queries, alone)
        found.append(_measure_peer(folder, queries, rate))
        return sorted(found, key=lambda figure: GOALS.index(figure.goal))


def _measure_workers(folder: Path, port: int, queries: Path, alone: float) -> list[Figure]:
    """The leader and a follower on one core, so that both are always busy or both wait."""
    core = choose_cores()[0]
    options = {"folder": str(folder), "port": port, "hub": f"seaway-bench-{port}"}
    with Child("dns", options, core=core) as leader, Child("dns-follower", options, core=core) as follower:
        follower.read()
        leader.read()
        memory = Figure(FOLLOWER, read_pss_mb(follower.pid))
        before, leader_before = read_cpu_seconds(follower.pid), read_cpu_seconds(leader.pid)
        shared = _spend([leader, follower], port, queries, per_second=2 * WORKERS_RATE)
        own = read_cpu_seconds(follower.pid) - before
        part = 100 * own / (own + read_cpu_seconds(leader.pid) - leader_before)
        detail = f"{shared:.1f} µs and {alone:.1f} µs; the follower had {part:.0f} % of it"
        return [Figure(SHARED, shared / alone, detail), memory]


def _spend(servers: list[Child], port: int, queries: Path, *, per_second: int) -> float:
    """Microseconds of the servers' CPU per question, of many clients."""
    before = sum(read_cpu_seconds(server.pid) for server in servers)
    core = choose_cores()[1]
    load = run_dnsperf(port, queries, seconds=LATENCY_SECONDS, core=core, per_second=per_second, clients=MANY_CLIENTS)
    spent = sum(read_cpu_seconds(server.pid) for server in servers) - before
    return spent / load.completed * 1e6


def _measure_latency(port: int, queries: Path, rate: Figure) -> Figure:
    """What a client sees that asks now and then, while others ask half of what the server can answer.

    The generator's own figure would be of its two threads that share a core.
    """
    if rate.measured is None:
        return Figure(P99, None, rate.note)
    half = int(rate.measured / 2)
    cores, core = os.sched_getaffinity(0), choose_cores()[1]
    os.sched_setaffinity(0, {core} if core is not None else cores)
    try:
        with ThreadPoolExecutor(1) as others:
            running = others.submit(run_dnsperf, port, queries, seconds=LATENCY_SECONDS, core=core, per_second=half)
            with contextlib.suppress(PermissionError):  # without it the generator's turns on the core are measured too
                os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
            latencies = list(_probe(port, running))
        load = running.result()
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.sched_setaffinity(0, cores)
    middle = 1000 * percentile(latencies, 0.5)
    note = f"{load.per_second:,.0f}/s, {load.lost} lost; p50 {middle:.2f} ms of {len(latencies)}"
    return Figure(P99, 1000 * percentile(latencies, 0.99), note)


def _probe(port: int, running: Future[DnsLoad]) -> Iterator[float]:
    """Seconds that each of many questions took, one after the other."""
    question = encode_question((b"web-1", b"default", b"svc", b"cluster", b"local"), 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.connect(("127.0.0.1", port))
        while not running.done():
            time.sleep(PROBE_SECONDS)
            begun = time.perf_counter()
            sock.send(encode_upstream_query(1, question, flags=0, udp_bytes=1232, dnssec_ok=False))
            sock.recv(4096)
            yield time.perf_counter() - begun


async def _watch_changes(folder: Path, port: int) -> list[float]:
    """Seconds from the answer of the API server to a write until DNS says what was written."""
    client = open_client(socket_connection(folder))
    loop = asyncio.get_running_loop()
    seconds = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect(("127.0.0.1", port))
        for number in range(CHANGES):
            await client.create(SERVICES_OF_API, make_service(f"new-{number}"), "default")
            written = time.perf_counter()
            question = encode_question((f"new-{number}".encode(), b"default", b"svc", b"cluster", b"local"), 1)
            while True:
                sock.send(encode_upstream_query(number, question, flags=0, udp_bytes=1232, dnssec_ok=False))
                async with asyncio.timeout(5):
                    reply = await loop.sock_recv(sock, 4096)
                if not reply[3] & 0xF:
                    break
            seconds.append(time.perf_counter() - written)
    await client.close()
    return seconds


async def _measure_large(folder: Path, dns: Child, port: int) -> list[Figure]:
    """The server's CPU for each answer, of which all are cut at 64 kB; then for the first after a change."""
    client = open_client(socket_connection(folder))
    service = make_service("large", clusterIP="None", selector={"app": "large"})
    await client.create(SERVICES_OF_API, service, "default")
    for number in range(LARGE_SLICES):
        await client.create(ENDPOINT_SLICES, _make_part(number, number * LARGE_EACH), "default")
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    question = encode_question((b"large", b"default", b"svc", b"cluster", b"local"), 1)

    async def ask(number: int) -> int:
        query = encode_upstream_query(number, question, flags=0, udp_bytes=1232, dnssec_ok=False)
        writer.write(len(query).to_bytes(2, "big") + query)
        size = int.from_bytes(await reader.readexactly(2), "big")
        return int.from_bytes((await reader.readexactly(size))[6:8], "big")

    await asyncio.sleep(SETTLED_SECONDS)  # all slices have arrived
    before = read_thread_seconds(dns.pid)
    counts = [await ask(number) for number in range(LARGE_QUESTIONS)]
    kept = (read_thread_seconds(dns.pid) - before) / LARGE_QUESTIONS
    spent = 0.0
    for number in range(LARGE_CHANGES):
        await client.update(ENDPOINT_SLICES, _make_part(number, 10_000 + number * LARGE_EACH))
        await asyncio.sleep(0.05)  # the change is taken, and not measured
        before = read_thread_seconds(dns.pid)
        await ask(number)
        spent += read_thread_seconds(dns.pid) - before
    writer.close()
    await client.close()
    note = f"{min(counts)} addresses in each answer"
    return [Figure(LARGE, kept * 1000, note), Figure(CHANGED, spent / LARGE_CHANGES * 1000, "a slice of 100")]


def _make_part(number: int, first: int) -> dict[str, object]:
    return make_slice(f"large-{number}", "large", [choose_address(first + n) for n in range(LARGE_EACH)])


def _measure_peer(folder: Path, queries: Path, rate: Figure) -> Figure:
    """Unbound on the same core, with as many names as local data."""
    try:
        path = find_tool("unbound")
    except MissingTool as error:
        return Figure(PEER, None, str(error))
    port, zone = find_free_port(), "default.svc.cluster.local."
    names = "".join(f'local-data: "{name_service(n)}.{zone} 5 A {choose_cluster_ip(n)}"\n' for n in range(SERVICES))
    (folder / "unbound.conf").write_text(
        f'server:\nusername: ""\nchroot: ""\npidfile: ""\ndirectory: "{folder}"\ninterface: 127.0.0.1@{port}\n'
        f'num-threads: 1\ndo-daemonize: no\nlocal-zone: "{zone}" static\n{names}remote-control:\ncontrol-enable: no\n'
    )
    with open_program([path, "-d", "-c", str(folder / "unbound.conf")], core=choose_cores()[0]):
        time.sleep(UNBOUND_START_SECONDS)
        loads = [run_dnsperf(port, queries, seconds=SECONDS, core=choose_cores()[1]) for _ in range(ROUNDS)]
    theirs = median([load.per_second for load in loads])
    if rate.measured is None or any(load.wrong for load in loads):
        return Figure(PEER, None, "one of both was not measured")
    return Figure(PEER, rate.measured / theirs, f"unbound {theirs:,.0f}/s, one thread")


def _measure(dns: Child, port: int, queries: Path) -> Figure:
    before = read_cpu_seconds(dns.pid)
    try:
        rounds = [run_dnsperf(port, queries, seconds=SECONDS, core=choose_cores()[1]) for _ in range(ROUNDS)]
    except MissingTool as error:
        return Figure(RATE, None, str(error))
    spent = read_cpu_seconds(dns.pid) - before
    wrong = sum(load.wrong for load in rounds)
    if wrong:
        return Figure(RATE, None, f"{wrong} answers were not NOERROR")
    return Figure(RATE, median([load.per_second for load in rounds]), _describe(rounds, spent))


def _describe(rounds: list[DnsLoad], cpu_seconds: float) -> str:
    completed = sum(load.completed for load in rounds)
    lost = sum(load.lost for load in rounds)
    return f"{cpu_seconds / max(1, completed) * 1e6:.1f} µs of the server's CPU each; {lost} of {completed} lost"


def _write_queries(folder: Path) -> Path:
    numbers = [random.randrange(SERVICES) for _ in range(QUESTIONS)]
    path = folder / "queries"
    path.write_text("".join(f"{name_service(n)}.default.svc.cluster.local A\n" for n in numbers))
    return path


def find_free_port() -> int:
    """A port of loopback that nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
