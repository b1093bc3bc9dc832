"""The API server over SQLite with 10,000 Services, in its own process, over TLS: reads, durable writes, watches."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.credentials import make_credentials
from bench.dataset import fill_database, name_service
from bench.figures import Figure, Goal, median
from bench.generators import HttpLoad, run_wrk
from bench.processes import Child, MissingTool, choose_cores, find_tool, read_cpu_seconds, read_pss_mb

SERVICES, PER_NAMESPACE, ENDPOINTS = 10_000, 1000, 10
WATCHERS, NAMESPACES, EVENTS_PER_SECOND, WATCH_SECONDS = 1000, 100, 200, 5
ROUNDS = 3
SECONDS = 2
CREATE = Path(__file__).with_name("create.lua")
CHANGE = Path(__file__).with_name("change.lua")

START = Goal("apiserver: start-up, empty database", "s", elsewhere="3 s (kube-apiserver + etcd)")
START_FULL = Goal("apiserver: start-up with 10,000 Services", "s")
MEMORY_FULL = Goal("apiserver: PSS with 10,000 Services and EndpointSlices of 10", "MB")
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
GET_P99 = Goal("apiserver: p99 of a GET meanwhile", "ms")
DELETIONS = Goal("apiserver: delete them, 64 writers", "/s")
PUTS = Goal("apiserver: PUT EndpointSlices of 10, 64 writers", "/s")
PATCHES = Goal("apiserver: merge patch of EndpointSlices of 10, 64 writers", "/s")
DELIVERY = Goal("apiserver: p99 from write to 1,000 watchers over 100 namespaces, 200/s", "ms", at_most=100)
MEMORY = Goal("apiserver: PSS after all that, 1,000 watches open", "MB", elsewhere="275 MB + etcd 50 MB")
LOADS = (GET, LIST, LIST_GZIP, CREATIONS, CREATE_P99, GET_P99, DELETIONS, PUTS, PATCHES)
GOALS = (START, START_FULL, MEMORY_FULL, *LOADS, DELIVERY, MEMORY)

SLICES_URL = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"


def run() -> list[Figure]:
    """The median of several rounds; server and generator on a core each where there are two."""
    with TemporaryDirectory(prefix="seaway-bench-") as name:
        folder = Path(name)
        token = make_credentials(folder)
        start = median([_start(folder) for _ in range(ROUNDS)])
        for file in folder.glob("seaway.db*"):
            file.unlink()
        database = folder / "seaway.db"
        asyncio.run(fill_database(database, services=SERVICES, endpoints=ENDPOINTS, per_namespace=PER_NAMESPACE))
        with Child("apiserver", {"folder": name}, core=choose_cores()[0]) as server:
            ready = server.read()
            target = _Target(server, int(ready["port"]), token)
            figures = [Figure(START, start, "with imports, from the process's first line of Python")]
            figures.append(Figure(START_FULL, ready["seconds"]))
            figures.append(Figure(MEMORY_FULL, read_pss_mb(server.pid)))
            figures += _measure_load(target)
            figures += _measure_watches(target, folder)
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
        self,
        path: str,
        *,
        connections: int,
        headers: Mapping[str, str] = {},
        script: Path | None = None,
        verb: str = "",
        seconds: int = SECONDS,
    ) -> tuple[list[HttpLoad], float]:
        """The rounds, and the server's CPU seconds per request. verb: what the script shall do."""
        variables = {"SEAWAY_BENCH_VERB": verb, "SEAWAY_BENCH_OBJECTS": f"{PER_NAMESPACE}"}
        before = read_cpu_seconds(self.server.pid)
        rounds: list[HttpLoad] = []
        for number in range(ROUNDS):
            rounds.append(
                run_wrk(
                    f"https://127.0.0.1:{self.port}{path}",
                    headers={"Authorization": f"Bearer {self.token}", "Accept": "application/json", **headers},
                    connections=connections,
                    seconds=seconds,
                    script=script,
                    variables={**variables, "SEAWAY_BENCH_ROUND": f"{number}"},
                    core=choose_cores()[1],
                )
            )
        spent = read_cpu_seconds(self.server.pid) - before
        return rounds, spent / max(1, sum(load.requests for load in rounds))


def _measure_load(target: _Target) -> list[Figure]:
    try:
        find_tool("wrk")
    except MissingTool as error:
        return [Figure(goal, None, str(error)) for goal in LOADS]
    service = f"/api/v1/namespaces/default/services/{name_service(7)}"
    figures = [_figure(GET, *target.load(service, connections=16))]
    figures.append(_figure(LIST, *target.load(SLICES_URL, connections=4)))
    figures.append(_figure(LIST_GZIP, *target.load(SLICES_URL, connections=4, headers={"Accept-Encoding": "gzip"})))
    json = {"Content-Type": "application/json"}
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(target.load, "/", connections=64, headers=json, script=CREATE)
        reads, _ = target.load(service, connections=1)
        rounds, cpu = writing.result()
    figures.append(_figure(CREATIONS, rounds, cpu))
    figures.append(Figure(CREATE_P99, median([load.p99_seconds for load in rounds]) * 1000))
    figures.append(Figure(GET_P99, median([load.p99_seconds for load in reads]) * 1000, "one connection"))
    for goal, verb, media in (
        (DELETIONS, "DELETE", "application/json"),
        (PUTS, "PUT", "application/json"),
        (PATCHES, "PATCH", "application/merge-patch+json"),
    ):
        # Half as long, so that what was created lasts for the deletions.
        load = target.load("/", connections=64, headers={"Content-Type": media}, script=CHANGE, verb=verb, seconds=1)
        figures.append(_figure(goal, *load))
    return figures


def _measure_watches(target: _Target, folder: Path) -> list[Figure]:
    options = {
        "watchers": WATCHERS,
        "namespaces": NAMESPACES,
        "per_second": EVENTS_PER_SECOND,
        "seconds": WATCH_SECONDS,
    }
    with Child("watchers", {"folder": str(folder), "port": target.port, **options}, core=choose_cores()[1]) as watching:
        connected = watching.read()["seconds"]
        before = read_cpu_seconds(target.server.pid)
        seen = watching.read()
        spent = read_cpu_seconds(target.server.pid) - before
        memory = Figure(MEMORY, read_pss_mb(target.server.pid))
    if seen["lines"] != seen["expected"]:
        return [Figure(DELIVERY, None, f"{seen['lines']:,.0f} lines of {seen['expected']:,.0f} came"), memory]
    each = spent / seen["lines"] * 1e6
    note = f"p50 {seen['p50'] * 1000:.1f} ms; {each:.0f} µs of the server's CPU per line, writes included"
    return [Figure(DELIVERY, seen["p99"] * 1000, f"{note}; all watched after {connected:.1f} s"), memory]


def _figure(goal: Goal, rounds: Sequence[HttpLoad], cpu_seconds: float) -> Figure:
    failures = sum(load.failures for load in rounds)
    requests = sum(load.requests for load in rounds)
    if failures:
        return Figure(goal, None, f"{failures} of {requests} requests failed")
    rate = median([load.per_second for load in rounds])
    return Figure(goal, rate, f"{cpu_seconds * 1e6:,.0f} µs of the server's CPU each")
