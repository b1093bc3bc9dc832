"""Cluster DNS beside an API server with 10,000 Services and 100,000 endpoints: rate, latency, memory, workers."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.credentials import make_credentials, socket_connection
from bench.dataset import fill_database, name_service
from bench.figures import Figure, Goal, median, percentile
from bench.generators import DnsLoad, run_dnsperf
from bench.processes import Child, MissingTool, choose_cores, read_cpu_seconds, read_pss_mb
from seaway.api.registry import SERVICES as SERVICES_OF_API
from seaway.client.transport import open_client
from seaway.dns.message import encode_question
from seaway.dns.wire import encode_upstream_query
from seaway.testing.builders import make_service

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
GOALS = (READY, RATE, P99, VISIBLE, MEMORY, SHARED, FOLLOWER)
CHANGES = 50
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
                alone = _spend([dns], port, queries)
            return found + _measure_workers(folder, port, queries, alone)


def _measure_workers(folder: Path, port: int, queries: Path, alone: float) -> list[Figure]:
    """The leader and a follower on one core, so that both are always busy or both wait."""
    core = choose_cores()[0]
    options = {"folder": str(folder), "port": port, "hub": f"seaway-bench-{port}"}
    with Child("dns", options, core=core) as leader, Child("dns-follower", options, core=core) as follower:
        follower.read()
        leader.read()
        memory = Figure(FOLLOWER, read_pss_mb(follower.pid))
        before = read_cpu_seconds(follower.pid)
        shared = _spend([leader, follower], port, queries)
        part = (read_cpu_seconds(follower.pid) - before) * 100
        detail = f"{shared:.1f} µs and {alone:.1f} µs; the follower had {part:.0f} ms of CPU a second"
        return [Figure(SHARED, shared / alone, detail), memory]


def _spend(servers: list[Child], port: int, queries: Path) -> float:
    """Microseconds of the servers' CPU per question, of many clients."""
    before = sum(read_cpu_seconds(server.pid) for server in servers)
    loads = [
        run_dnsperf(port, queries, seconds=SECONDS, core=choose_cores()[1], clients=MANY_CLIENTS) for _ in range(ROUNDS)
    ]
    spent = sum(read_cpu_seconds(server.pid) for server in servers) - before
    return spent / sum(load.completed for load in loads) * 1e6


def _measure_latency(port: int, queries: Path, rate: Figure) -> Figure:
    if rate.measured is None:
        return Figure(P99, None, rate.note)
    half = int(rate.measured / 2)
    load = run_dnsperf(port, queries, seconds=SECONDS, core=choose_cores()[1], per_second=half)
    detail = f"{load.per_second:,.0f}/s; p50 {1000 * percentile(load.latencies, 0.5):.2f} ms; {load.lost} lost"
    return Figure(P99, 1000 * percentile(load.latencies, 0.99), detail)


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
