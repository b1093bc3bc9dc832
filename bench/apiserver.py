"""The API server over SQLite, in its own process, over TLS: start-up, reads, and durable creations."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.credentials import make_credentials
from bench.dataset import fill_database, name_service
from bench.figures import Figure, Goal, median
from bench.generators import HttpLoad, run_wrk
from bench.processes import Child, MissingTool, choose_cores, find_tool, read_cpu_seconds, read_pss_mb

SERVICES, ENDPOINTS = 1000, 10
ROUNDS = 3
SECONDS = 2
CREATE = Path(__file__).with_name("create.lua")

START = Goal("apiserver: start-up, empty database", "s", elsewhere="3 s (kube-apiserver + etcd)")
START_FULL = Goal("apiserver: start-up with 1,000 Services", "s")
GET = Goal("apiserver: GET one Service, TLS, 16 connections", "/s", at_least=4000, elsewhere="1,400/s")
LIST = Goal("apiserver: LIST 1,000 EndpointSlices of 10, identity", "/s", at_least=400, elsewhere="41/s")
LIST_GZIP = Goal("apiserver: the same, gzip", "/s", at_least=400)
CREATIONS = Goal(
    "apiserver: create Services + EndpointSlices, durable, 64 writers",
    "/s",
    at_least=1500,
    elsewhere="190/s (kube-apiserver + etcd)",
)
CREATE_P99 = Goal("apiserver: p99 of such a creation", "ms", at_most=100)
MEMORY = Goal("apiserver: PSS after all that", "MB", elsewhere="275 MB + etcd 50 MB")
GOALS = (START, START_FULL, GET, LIST, LIST_GZIP, CREATIONS, CREATE_P99, MEMORY)

SLICES_URL = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"


def run() -> list[Figure]:
    """The median of several rounds; server and generator on a core each where there are two."""
    with TemporaryDirectory(prefix="seaway-bench-") as name:
        folder = Path(name)
        token = make_credentials(folder)
        start = median([_start(folder) for _ in range(ROUNDS)])
        for file in folder.glob("seaway.db*"):
            file.unlink()
        asyncio.run(fill_database(folder / "seaway.db", services=SERVICES, endpoints=ENDPOINTS))
        with Child("apiserver", {"folder": name}, core=choose_cores()[0]) as server:
            ready = server.read()
            figures = [Figure(START, start, "with imports, from the process's first line of Python")]
            figures.append(Figure(START_FULL, ready["seconds"]))
            figures += _measure_load(_Target(server, int(ready["port"]), token))
            figures.append(Figure(MEMORY, read_pss_mb(server.pid)))
            return figures


def _start(folder: Path) -> float:
    for file in folder.glob("seaway.db*"):
        file.unlink()
    with Child("apiserver", {"folder": str(folder)}) as server:
        return server.read()["seconds"]


@dataclass(frozen=True, slots=True)
class _Target:
    """The server under load."""

    server: Child
    port: int
    token: str

    def load(
        self, path: str, *, connections: int, headers: Mapping[str, str], script: Path | None = None
    ) -> tuple[list[HttpLoad], float]:
        """The rounds, and the server's CPU seconds per request."""
        before = read_cpu_seconds(self.server.pid)
        rounds: list[HttpLoad] = []
        for number in range(ROUNDS):
            os.environ["SEAWAY_BENCH_ROUND"] = f"{number}"
            rounds.append(
                run_wrk(
                    f"https://127.0.0.1:{self.port}{path}",
                    headers={"Authorization": f"Bearer {self.token}", "Accept": "application/json", **headers},
                    connections=connections,
                    seconds=SECONDS,
                    script=script,
                    core=choose_cores()[1],
                )
            )
        spent = read_cpu_seconds(self.server.pid) - before
        return rounds, spent / max(1, sum(load.requests for load in rounds))


def _measure_load(target: _Target) -> list[Figure]:
    try:
        find_tool("wrk")
    except MissingTool as error:
        return [Figure(goal, None, str(error)) for goal in (GET, LIST, LIST_GZIP, CREATIONS, CREATE_P99)]
    service = f"/api/v1/namespaces/default/services/{name_service(7)}"
    figures = [_figure(GET, *target.load(service, connections=16, headers={}))]
    figures.append(_figure(LIST, *target.load(SLICES_URL, connections=4, headers={})))
    figures.append(_figure(LIST_GZIP, *target.load(SLICES_URL, connections=4, headers={"Accept-Encoding": "gzip"})))
    json = {"Content-Type": "application/json"}
    rounds, cpu = target.load("/", connections=64, headers=json, script=CREATE)
    figures.append(_figure(CREATIONS, rounds, cpu))
    figures.append(Figure(CREATE_P99, median([load.p99_seconds for load in rounds]) * 1000))
    return figures


def _figure(goal: Goal, rounds: Sequence[HttpLoad], cpu_seconds: float) -> Figure:
    failures = sum(load.failures for load in rounds)
    requests = sum(load.requests for load in rounds)
    if failures:
        return Figure(goal, None, f"{failures} of {requests} requests failed")
    rate = median([load.per_second for load in rounds])
    return Figure(goal, rate, f"{cpu_seconds * 1e6:,.0f} µs of the server's CPU each")
