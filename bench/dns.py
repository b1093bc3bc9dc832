"""Cluster DNS beside an API server with 10,000 Services: questions per second on one core, and memory."""

from __future__ import annotations

import asyncio
import random
import socket
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.credentials import make_credentials
from bench.dataset import fill_database, name_service
from bench.figures import Figure, Goal, median
from bench.generators import DnsLoad, run_dnsperf
from bench.processes import Child, MissingTool, choose_cores, read_cpu_seconds, read_pss_mb

SERVICES, ENDPOINTS = 10_000, 1
ROUNDS = 5
SECONDS = 2
QUESTIONS = 20_000

READY = Goal("dns: from start to ready, 10k Services", "s")
RATE = Goal(
    "dns: questions/s, 10k Services, one core", "/s", at_least=60_000, elsewhere="21,000/s on 2 cores (CoreDNS)"
)
MEMORY = Goal("dns: PSS at 10k Services", "MB", at_most=100, elsewhere="220 MB (CoreDNS)")
GOALS = (READY, RATE, MEMORY)


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
                rate = _measure(dns, port, queries)
                return [ready, rate, Figure(MEMORY, read_pss_mb(dns.pid))]


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
