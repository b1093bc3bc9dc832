"""The userspace plane beside a bare asyncio splice, haproxy, and no proxy at all.

One server (nginx) and one generator (wrk, iperf3) for all of them, in turns; the proxy has a core to itself.
"""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import statistics
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.dataset import choose_cluster_ip
from bench.figures import Figure, Goal
from bench.generators import HttpLoad, run_wrk
from bench.processes import Child, MissingTool, choose_cores, find_tool, open_program, read_pss_mb, run_tool
from bench.traffic import FEW, SERVER, VIP_PORT, build_world, start_plane
from bench.traffic import PORT as TARGET_PORT

SECONDS, ROUNDS = 3, 3
CONNECTIONS, IDLE = 64, 10_000
VIP, PORT = "127.96.0.10", 18000
BACKEND, BACKEND_PORT = "127.244.0.5", 18080

REQUESTS = Goal("userspace: requests/s, of a bare asyncio splice", "%", at_least=80)
BESIDE = Goal("userspace: requests/s, of haproxy", "%")
KERNEL = Goal("userspace: requests/s, of the kernel plane between namespaces", "%")
ADDED = Goal("userspace: latency that it adds, p50", "ms", at_most=0.2)
BULK = Goal("userspace: one bulk stream", "GB/s", at_least=1.0)
BULK_BESIDE = Goal("userspace: one bulk stream through haproxy", "GB/s")
MEMORY = Goal("userspace: memory with 10,000 idle connections", "MB", at_most=150)
GOALS = (REQUESTS, BESIDE, KERNEL, ADDED, BULK, BULK_BESIDE, MEMORY)
PLACES = {"at": VIP, "at_port": PORT, "to": BACKEND, "to_port": BACKEND_PORT}

NGINX = """
worker_processes 1;
daemon off;
error_log /dev/null;
pid {folder}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen {address}:{port} backlog=4096; location / {{ return 200 "served\\n"; }} }}
}}
"""
HAPROXY = """
global
  nbthread 1
  maxconn 4000
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen bench
  bind {at}:{at_port}
  server one {to}:{to_port}
"""


def run() -> list[Figure]:
    """All figures; those whose tool is not installed with the reason."""
    with TemporaryDirectory(prefix="seaway-bench-") as name:
        folder = Path(name)
        return [
            *_try(_measure_requests, folder, (REQUESTS, BESIDE, KERNEL, ADDED)),
            *_try(_measure_bulk, folder, (BULK, BULK_BESIDE)),
            _measure_memory(),
        ]


def _try(measure, folder: Path, goals: tuple[Goal, ...]) -> list[Figure]:  # type: ignore[no-untyped-def]
    try:
        figures: list[Figure] = measure(folder)
    except MissingTool as error:
        return [Figure(goal, None, str(error)) for goal in goals]
    return figures


def _measure_requests(folder: Path) -> list[Figure]:
    rates: dict[str, list[HttpLoad]] = {}
    single: dict[str, list[HttpLoad]] = {}
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, address=BACKEND, port=BACKEND_PORT))
    command = [find_tool("nginx"), "-c", str(folder / "nginx.conf")]
    with open_program(command, core=choose_cores()[1]):
        _wait_for(BACKEND, BACKEND_PORT)
        for _ in range(ROUNDS):
            single.setdefault("direct", []).append(_load(BACKEND, BACKEND_PORT, connections=1))
            for kind in ("splice", "userspace", "haproxy"):
                with _open_proxy(kind, folder):
                    rates.setdefault(kind, []).append(_load(VIP, PORT, connections=CONNECTIONS))
                    if kind == "userspace":
                        single.setdefault(kind, []).append(_load(VIP, PORT, connections=1))
    kernel = _load_kernel_plane(folder)
    failures = sum(load.failures for loads in (*rates.values(), *single.values()) for load in loads)
    seen = {kind: statistics.median(load.per_second for load in loads) for kind, loads in rates.items()}
    p50 = {kind: statistics.median(load.p50_seconds for load in loads) for kind, loads in single.items()}
    note = ", ".join(f"{kind} {rate:,.0f}/s" for kind, rate in seen.items()) + f"; {failures} failures"
    of_kernel = (
        Figure(KERNEL, None, "needs root, for namespaces with veths")
        if kernel is None
        else Figure(KERNEL, 100 * seen["userspace"] / kernel.per_second, f"kernel plane {kernel.per_second:,.0f}/s")
    )
    return [
        Figure(REQUESTS, _compare(rates, "splice"), f"{CONNECTIONS} connections, 1 core; {note}"),
        Figure(BESIDE, _compare(rates, "haproxy")),
        of_kernel,
        Figure(ADDED, 1e3 * (p50["userspace"] - p50["direct"]), f"direct {1e3 * p50['direct']:.3f} ms"),
    ]


def _compare(rates: dict[str, list[HttpLoad]], beside: str) -> float:
    """The plane's requests in per cent of the other's, each round by itself: the middle one."""
    pairs = zip(rates["userspace"], rates[beside], strict=True)
    return statistics.median(100 * ours.per_second / theirs.per_second for ours, theirs in pairs)


def _load_kernel_plane(folder: Path) -> HttpLoad | None:
    """The same server and generator with rules in between, in namespaces; None without root's rights."""
    with contextlib.ExitStack() as stack:
        try:
            world = build_world(stack)
        except PermissionError:
            return None
        (folder / "far.conf").write_text(NGINX.format(folder=folder, address=SERVER, port=TARGET_PORT))
        stack.enter_context(start_plane(world, FEW, measure="nothing")).read()
        with world.server.entered():
            stack.enter_context(
                open_program([find_tool("nginx"), "-c", str(folder / "far.conf")], core=choose_cores()[1])
            )
        with world.client.entered():
            _wait_for(SERVER, TARGET_PORT)
            return _load(choose_cluster_ip(FEW), VIP_PORT, connections=CONNECTIONS)


def _measure_bulk(folder: Path) -> list[Figure]:
    figures = []
    seen: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for kind in ("direct", "userspace", "haproxy"):
            with contextlib.ExitStack() as stack:
                server = [find_tool("iperf3"), "-s", "-B", BACKEND, "-p", str(BACKEND_PORT)]
                stack.enter_context(open_program(server))
                _wait_for(BACKEND, BACKEND_PORT, is_asked=False)
                at = (BACKEND, BACKEND_PORT)
                if kind != "direct":
                    stack.enter_context(_open_proxy(kind, folder))
                    at = (VIP, PORT)
                arguments = ("-J", "-c", at[0], "-p", str(at[1]), "-t", str(SECONDS), "-l", "1M")
                told = json.loads(run_tool("iperf3", *arguments))
                seen.setdefault(kind, []).append(told["end"]["sum_received"]["bits_per_second"] / 8e9)
    median = {kind: statistics.median(rates) for kind, rates in seen.items()}
    figures.append(Figure(BULK, median["userspace"], f"iperf3, 2 cores for all; direct {median['direct']:.1f} GB/s"))
    figures.append(Figure(BULK_BESIDE, median["haproxy"]))
    return figures


def _measure_memory() -> Figure:
    limit = 1 << 16
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    count = min(IDLE, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 100)
    held: list[socket.socket] = []
    with Child("sink", {"at": BACKEND, "at_port": BACKEND_PORT}) as sink, Child("userspace", PLACES) as plane:
        sink.read()
        plane.read()
        before = read_pss_mb(plane.pid)
        try:
            for _ in range(count):
                client = socket.create_connection((VIP, PORT), timeout=30)
                held.append(client)
            for client in held[:: max(1, count // 100)]:
                client.sendall(b"still there")
            after = read_pss_mb(plane.pid)
        finally:
            for client in held:
                client.close()
    note = f"{count:,} connections, {(after - before) * 1e3 / count:.1f} kB each; {before:.0f} MB without any"
    return Figure(MEMORY, after if count == IDLE else None, note)


@contextlib.contextmanager
def _open_proxy(kind: str, folder: Path) -> Iterator[None]:
    if kind == "haproxy":
        (folder / "haproxy.cfg").write_text(HAPROXY.format(**PLACES))
        with open_program([find_tool("haproxy"), "-f", str(folder / "haproxy.cfg")], core=choose_cores()[0]):
            _wait_for(VIP, PORT)
            yield
        return
    with Child(kind, PLACES, core=choose_cores()[0]) as child:
        child.read()
        yield


def _load(address: str, port: int, *, connections: int) -> HttpLoad:
    return run_wrk(
        f"http://{address}:{port}/", headers={}, connections=connections, seconds=SECONDS, core=choose_cores()[1]
    )


def _wait_for(address: str, port: int, *, is_asked: bool = True) -> None:
    """Until somebody listens. Raises OSError after a while. is_asked: a connection that ends at once does no harm."""
    import time

    until = time.monotonic() + 10
    while True:
        try:
            if is_asked:
                socket.create_connection((address, port), timeout=5).close()
                return
            hexed = f"{socket.inet_aton(address)[::-1].hex().upper()}:{port:04X}"
            if any(hexed in line and " 0A " in line for line in Path("/proc/net/tcp").read_text().splitlines()):
                return
            raise ConnectionRefusedError
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
