"""The control loops beside an API server over SQLite: from a Pod that turns ready to whoever watches slices."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.credentials import make_credentials
from bench.figures import Figure, Goal
from bench.pods import fill_pods
from bench.processes import Child, read_cpu_seconds, read_pss_mb
from seaway.controllers.endpointslice.plan import MAX_ENDPOINTS

PATIENCE_SECONDS = 180
FEW, MANY, PODS_EACH = 10, 10_000, 10
IDLE_PER_SECOND, IDLE_CHANGES = 25, 300
CHURN_PER_SECOND, CHURN_CHANGES = 200, 2000
CROWD_SERVICES, CROWD_PODS = 1_000, 100
ROLLOUT_PODS, AT_ONCE = 1_000, 25
REST_SECONDS = 10
SETTLED_SECONDS = 2.0
ALL = ("*",)

STOCK = "p50 26 ms, p99 72 ms (kube-controller-manager)"
P50 = Goal("controllers: Pod ready → slice seen, p50", "ms", at_most=5, elsewhere=STOCK)
P99 = Goal("controllers: Pod ready → slice seen, p99", "ms", at_most=20)
CHURN = Goal("controllers: the same while 200 Pods/s turn, p99", "ms", at_most=100)
P50_MANY = Goal("controllers: Pod ready → slice seen among 10k Services, p50", "ms", at_most=5)
RATIO = Goal("controllers: CPU per change among 10k Services, against 10", "x", at_most=1.5)
P99_MANY = Goal("controllers: Pod ready → slice seen among 10k Services, p99", "ms", at_most=20)
CONVERGE = Goal("controllers: 1,000 Services × 100 Pods, from start to the last slice", "s", at_most=30)
ROLLOUT = Goal("controllers: slices written to replace 1,000 Pods, 25 at once", "", at_most=0)
MEMORY = Goal("controllers: PSS at 10k Services and 100k Pods, all loops", "MB", at_most=150,
              elsewhere="95 MB idle (kube-controller-manager)")  # fmt: skip
MEMORY_ONE = Goal("controllers: the same, endpointslice alone", "MB", at_most=150)
REST = Goal("controllers: CPU at rest with 10k Services and 100k Pods", "%", at_most=1)
GOALS = (P50, P99, CHURN, P50_MANY, RATIO, P99_MANY, CONVERGE, ROLLOUT, MEMORY, MEMORY_ONE, REST)


def run() -> list[Figure]:
    """One pass over each size; every change is written by a process of its own, and bounded in number and time."""
    figures: list[Figure] = []
    few = _measure_few(figures)
    _measure_many(figures, few)
    _measure_crowd(figures)
    _measure_rollout(figures)
    return figures


def _measure_few(figures: list[Figure]) -> float:
    """Returns the CPU seconds of the idle changes."""
    with _prepare(FEW, PODS_EACH) as folder, Child("apiserver", {"folder": folder}) as server:
        server.read()
        with Child("controllers", {"folder": folder, "enabled": ALL}) as loops:
            loops.read()
            _converge(folder, FEW * PODS_EACH)
            _settle(loops.pid)
            before = read_cpu_seconds(loops.pid)
            idle = _turn(folder, FEW, IDLE_PER_SECOND, IDLE_CHANGES)
            spent = read_cpu_seconds(loops.pid) - before
            churn = _turn(folder, FEW, CHURN_PER_SECOND, CHURN_CHANGES)
    note = f"{FEW} Services of {PODS_EACH}, from the answer to the Pod's status, {IDLE_CHANGES} changes, all loops"
    figures.append(Figure(P50, idle["p50"], note))
    figures.append(Figure(P99, idle["p99"], f"{idle['lost']:.0f} never seen"))
    figures.append(Figure(CHURN, churn["p99"], f"{churn['per_second']:.0f}/s, p50 {churn['p50']:.1f} ms, "
                          f"{churn['events']:.0f} slices written for {CHURN_CHANGES}, "
                          f"{churn['lost']:.0f} never seen"))  # fmt: skip
    return spent


def _measure_many(figures: list[Figure], few: float) -> None:
    with _prepare(MANY, PODS_EACH) as folder, Child("apiserver", {"folder": folder}) as server:
        server.read(PATIENCE_SECONDS)
        with Child("controllers", {"folder": folder, "enabled": ALL}) as loops:
            loops.read(PATIENCE_SECONDS)
            _converge(folder, MANY * PODS_EACH)
            _settle(loops.pid)
        with Child("controllers", {"folder": folder, "enabled": ALL}) as loops:
            ready = loops.read(PATIENCE_SECONDS)["seconds"]
            _settle(loops.pid)
            before = read_cpu_seconds(loops.pid)
            time.sleep(REST_SECONDS)
            rest = (read_cpu_seconds(loops.pid) - before) / REST_SECONDS * 100
            before = read_cpu_seconds(loops.pid)
            idle = _turn(folder, MANY, IDLE_PER_SECOND, IDLE_CHANGES)
            spent = read_cpu_seconds(loops.pid) - before
            memory = read_pss_mb(loops.pid)
        with Child("controllers", {"folder": folder, "enabled": ("endpointslice",)}) as loops:
            loops.read(PATIENCE_SECONDS)
            _settle(loops.pid)
            alone = read_pss_mb(loops.pid)
    figures.append(Figure(P50_MANY, idle["p50"], f"{idle['lost']:.0f} never seen"))
    figures.append(Figure(RATIO, spent / few, f"{spent / IDLE_CHANGES * 1e3:.1f} ms a change, all loops"))
    figures.append(Figure(P99_MANY, idle["p99"]))
    figures.append(Figure(MEMORY, memory, f"after {IDLE_CHANGES} changes; caches filled {ready:.1f} s after the start"))
    figures.append(Figure(MEMORY_ONE, alone))
    figures.append(Figure(REST, rest, f"over {REST_SECONDS} s"))


def _measure_crowd(figures: list[Figure]) -> None:
    with _prepare(CROWD_SERVICES, CROWD_PODS) as folder, Child("apiserver", {"folder": folder}) as server:
        server.read(PATIENCE_SECONDS)
        begun = time.monotonic()
        with Child("controllers", {"folder": folder, "enabled": ALL}):
            _converge(folder, CROWD_SERVICES * CROWD_PODS)
            seconds = time.monotonic() - begun
    figures.append(Figure(CONVERGE, seconds, "with start-up and filling the caches, all loops"))


def _measure_rollout(figures: list[Figure]) -> None:
    with _prepare(1, ROLLOUT_PODS) as folder, Child("apiserver", {"folder": folder}) as server:
        server.read(PATIENCE_SECONDS)
        with Child("controllers", {"folder": folder, "enabled": ALL}) as loops:
            loops.read()
            _converge(folder, ROLLOUT_PODS)
            found = _ask(folder, {"measure": "rollout", "pods": ROLLOUT_PODS, "at_once": AT_ONCE})
    goal = Goal(ROLLOUT.what, "", at_most=count_required(ROLLOUT_PODS, AT_ONCE, seen_at_once=1))
    fewest = count_required(ROLLOUT_PODS, AT_ONCE, seen_at_once=AT_ONCE)
    note = (
        f"{found['seconds']:.1f} s; never fewer than {found['emptiest']:.0f} ready; the rules require {fewest} "
        f"if all {AT_ONCE} are seen together, and the goal if each is seen by itself"
    )
    figures.append(Figure(goal, found["writes"], note))


def count_required(pods: int, at_once: int, *, seen_at_once: int) -> int:
    """Slices that the packing rules have written when so many changes of Pods are seen together.

    Counted slowly, in sizes of slices and places of Pods alone: Pods lie in full slices in the order of their names.
    Of what comes, all goes into the fullest slice that has room for it, or into a new one; what goes is written once
    for each slice that it lay in. How many changes a sync sees is a matter of time, and lies between one and all.
    """
    places = {n: n // MAX_ENDPOINTS for n in range(pods)}
    writes = 0
    for start in range(0, pods, at_once):
        wave = range(start, min(start + at_once, pods))
        for first in range(wave.start, wave.stop, seen_at_once):
            part = range(first, min(first + seen_at_once, wave.stop))
            sizes = Counter(places.values())
            fitting = [slice_ for slice_, size in sizes.items() if size + len(part) <= MAX_ENDPOINTS]
            chosen = max(fitting, key=lambda slice_: sizes[slice_], default=max(sizes) + 1)
            places.update({pods + n: chosen for n in part})
            writes += 1
        for first in range(wave.start, wave.stop, seen_at_once):
            part = range(first, min(first + seen_at_once, wave.stop))
            writes += len({places.pop(n) for n in part})
    return writes


def _settle(pid: int) -> None:
    """Until the first look at all Services is over: two seconds with next to no CPU. Raises RuntimeError."""
    ends = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < ends:
        before = read_cpu_seconds(pid)
        time.sleep(SETTLED_SECONDS)
        if read_cpu_seconds(pid) - before < 0.01 * SETTLED_SECONDS:
            return
    raise RuntimeError(f"controllers: not at rest after {PATIENCE_SECONDS} s")


def _converge(folder: str, endpoints: int) -> float:
    """Seconds until all are in slices."""
    options = {"measure": "converge", "endpoints": endpoints, "timeout_seconds": PATIENCE_SECONDS}
    return _ask(folder, options)["seconds"]


def _turn(folder: str, services: int, per_second: int, count: int) -> dict[str, float]:
    return _ask(
        folder,
        {"measure": "turns", "services": services, "pods": PODS_EACH, "per_second": per_second, "count": count},
    )


def _ask(folder: str, options: Mapping[str, object]) -> dict[str, float]:
    with Child("agents", {"folder": folder, **options}) as agents:
        return agents.read(PATIENCE_SECONDS)


@contextmanager
def _prepare(services: int, pods: int) -> Iterator[str]:
    """A folder with credentials and a database of so many Services and Pods."""
    with TemporaryDirectory(prefix="seaway-bench-") as name:
        make_credentials(Path(name))
        fill_pods(Path(name) / "seaway.db", services=services, pods=pods)
        yield name
