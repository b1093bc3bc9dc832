"""What a foreign name costs the server: asked of an upstream, and found in the cache."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from bench.dns import find_free_port
from bench.figures import Figure, Goal
from bench.generators import run_dnsperf
from bench.processes import Child, MissingTool, choose_cores, read_cpu_seconds

SECONDS = 4
NAMES = 200_000
"""More than are asked for meanwhile, so that none is asked for twice."""
KEPT_NAMES = 1000

FORWARDED = Goal("dns: CPU of a query that is forwarded", "µs", at_most=200)
CACHED = Goal("dns: CPU of a query for a foreign name from the cache", "µs")
GOALS = (FORWARDED, CACHED)


def run() -> list[Figure]:
    """CPU time of the server divided by answers, so that other load on the machine hardly matters."""
    with TemporaryDirectory(prefix="seaway-bench-") as name:
        return [
            _measure(FORWARDED, Path(name), names=NAMES),
            _measure(CACHED, Path(name), names=KEPT_NAMES),
        ]


def _measure(goal: Goal, folder: Path, *, names: int) -> Figure:
    queries = folder / "queries"
    queries.write_text("".join(f"host-{i:06}.example.com A\n" for i in range(names)))
    upstream_port, port = find_free_port(), find_free_port()
    with Child("upstream", {"port": upstream_port}, core=choose_cores()[1]) as upstream:
        upstream.read()
        options = {"port": port, "upstream": upstream_port, "is_cached": True}
        with Child("forwarder", options, core=choose_cores()[0]) as server:
            server.read()
            before = read_cpu_seconds(server.pid)
            try:
                load = run_dnsperf(port, queries, seconds=SECONDS, core=choose_cores()[1])
            except MissingTool as error:
                return Figure(goal, None, str(error))
            spent = read_cpu_seconds(server.pid) - before
    if load.wrong or not load.completed:
        return Figure(goal, None, f"{load.wrong} of {load.completed} answers were not NOERROR")
    note = f"{load.per_second:.0f}/s; {load.lost} of {load.completed} lost"
    return Figure(goal, spent / load.completed * 1e6, note)
