"""Traffic through the proxy's rules, in network namespaces: a Pod that asks, a node that forwards, a Pod that serves.

Needs root. Direct and through a Service are measured in turns, so that both meet the same machine.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from bench.dataset import choose_cluster_ip
from bench.figures import Figure, Goal, median
from bench.processes import Child, MissingTool, find_tool, read_cpu_seconds, read_pss_mb
from seaway.testing.netns import EchoServers, Namespace, connect

CLIENT, SERVER = "10.244.0.2", "10.244.1.2"
HEALTHY = (SERVER, "10.244.1.3", "10.244.1.4")
PORT = 8080
FEED_PORT = 8001
KUBECONFIG = f"""apiVersion: v1
kind: Config
clusters: [{{name: feed, cluster: {{server: "http://127.0.0.1:{FEED_PORT}"}}}}]
contexts: [{{name: feed, context: {{cluster: feed}}}}]
current-context: feed
"""
VIP_PORT = 80
ROUNDS, IPERF_SECONDS = 5, 2
FEW, MANY, SERVICES = 10, 30_000, 10_000
LATENCY_SECONDS = 3
STRESS_SECONDS, STRESS_PER_SECOND = 60, 1000

THROUGHPUT = Goal("proxy: throughput through a cluster IP, of direct", "%", at_least=95)
CONNECTIONS = Goal("proxy: connect through a cluster IP, 30,000 Services against 10", "x", at_most=1.1)
DIRECT = Goal("proxy: connect through a cluster IP against direct, 10k Services", "x")
DIGEST = Goal("proxy: restart with the right rules there, 10k × 10", "s", at_most=1)
READBACK = Goal("proxy: restart that reads all back, 10k × 10", "s", at_most=4)
VERIFY = Goal("proxy: look at the whole table after others changed rules, 10k × 10", "s")
STEP = Goal("proxy: what a change waits for that look at most", "ms", at_most=20)
SERVED = Goal("proxy: connections that succeed while it restarts", "%", at_least=100)
STRESS = Goal("proxy: 1,000 changes/s by its watch for a minute, lag p99, 10k × 10", "ms", at_most=20)
GROWTH = Goal("proxy: lag of the last third of that minute against the first", "x", at_most=2)
GROWN = Goal("proxy: memory that came in its last two thirds", "MB", at_most=5)
STRESS_SERVED = Goal("proxy: connections that succeed in that minute", "%", at_least=100)
GOALS = (
    *(THROUGHPUT, CONNECTIONS, DIRECT, DIGEST, READBACK, VERIFY, STEP, SERVED),
    *(STRESS, GROWTH, GROWN, STRESS_SERVED),
)


def measure_traffic() -> list[Figure]:
    """Every figure of GOALS, in their order."""
    try:
        with contextlib.ExitStack() as stack:
            world = build_world(stack)
            figures = [_measure_throughput(world)]
            servers = stack.enter_context(EchoServers())
            servers.listen(world.server, "echo", PORT)
            servers.start()
            figures += _measure_connects(world)
            figures += _measure_restarts(world)
            figures += measure_stress(world)
    except PermissionError:
        return [Figure(goal, None, "needs root, for namespaces with veths") for goal in GOALS]
    return figures


@dataclass(frozen=True, slots=True)
class World:
    """The three namespaces."""

    client: Namespace
    node: Namespace
    server: Namespace


def build_world(stack: contextlib.ExitStack) -> World:
    """Two Pods on routed veths. Raises PermissionError without root's rights."""
    client, node, server = (stack.enter_context(Namespace()) for _ in range(3))
    node.write_sysctl("net/ipv4/ip_forward", "1")
    for number, (pod, address) in enumerate(((client, CLIENT), (server, SERVER))):
        gateway = f"10.244.{number}.1"
        connect(node, f"pod{number}", pod, "eth0")
        node.run("ip", "address", "add", f"{gateway}/24", "dev", f"pod{number}")
        pod.run("ip", "address", "add", f"{address}/24", "dev", "eth0")
        pod.run("ip", "route", "add", "default", "via", gateway)
    # Every connection leaves a port in TIME_WAIT: there are more of them than connections.
    client.write_sysctl("net/ipv4/ip_local_port_range", "2048 65000")
    return World(client, node, server)


@contextlib.contextmanager
def start_plane(world: World, services: int, **options: object) -> Iterator[Child]:
    """The proxy's core on the node; its table goes when it ends."""
    try:
        with _start_child(world, services, **options) as child:
            yield child
    finally:
        with contextlib.suppress(RuntimeError):
            world.node.run("nft", "delete", "table", "ip", "bench")


def _start_child(world: World, services: int, **options: object) -> Child:
    with world.node.entered():
        return Child("traffic-plane", {"services": services, "endpoints": 10, "served": SERVER, **options})


def start_connector(world: World, address: str, port: int, *, pause: float) -> Child:
    """A client that connects until it is told to finish. Returns after its first attempt."""
    with world.client.entered():
        child = Child("connector", {"address": address, "port": port, "pause": pause})
    child.read()
    return child


def _measure_throughput(world: World) -> Figure:
    try:
        find_tool("iperf3")
    except MissingTool as error:
        return Figure(THROUGHPUT, None, str(error))
    with start_plane(world, FEW, measure="nothing") as plane:
        plane.read()
        ratios = []
        for _ in range(ROUNDS):
            direct = _run_iperf(world, SERVER, PORT)
            ratios.append(_run_iperf(world, choose_cluster_ip(FEW), VIP_PORT) / direct)
    note = f"iperf3, {IPERF_SECONDS} s each, in turns; the ratios: {', '.join(f'{r:.3f}' for r in ratios)}"
    return Figure(THROUGHPUT, 100 * median(ratios), note)


def _run_iperf(world: World, address: str, port: int) -> float:
    """Bits per second."""
    with world.server.entered():
        server = subprocess.Popen(["iperf3", "-s", "-1", "-p", str(PORT)], stdout=subprocess.DEVNULL)
    try:
        time.sleep(0.3)
        arguments = ("iperf3", "-J", "-c", address, "-p", str(port), "-t", str(IPERF_SECONDS))
        return float(msgspec.json.decode(world.client.run(*arguments))["end"]["sum_received"]["bits_per_second"])
    finally:
        server.kill()
        server.wait()


def _measure_connects(world: World) -> list[Figure]:
    """The smallest median of three turns each: what else the machine does can only add."""
    seconds: dict[int, float] = {}
    direct = _connect_for(world, SERVER, PORT)
    for services in (FEW, SERVICES, MANY):
        with start_plane(world, services, measure="nothing") as plane:
            plane.read(120)
            seconds[services] = min(_connect_for(world, choose_cluster_ip(services), VIP_PORT) for _ in range(3))
            direct = min(direct, _connect_for(world, SERVER, PORT))
    note = ", ".join(f"{services:,} Services {1e6 * value:.0f} µs" for services, value in seconds.items())
    return [
        Figure(CONNECTIONS, seconds[MANY] / seconds[FEW], f"{note}; endpoints in other Services: 10 each"),
        Figure(
            DIRECT, seconds[SERVICES] / direct, f"direct {1e6 * direct:.0f} µs, through the node's rules all the same"
        ),
    ]


def _connect_for(world: World, address: str, port: int) -> float:
    with start_connector(world, address, port, pause=0.001) as connector:
        time.sleep(LATENCY_SECONDS)
        return connector.finish()["p50"]


def _measure_restarts(world: World) -> list[Figure]:
    """Each start is a process of its own, and traffic goes on meanwhile."""
    with start_plane(world, SERVICES, measure="start", first="192.0.2.1") as plane:
        plane.read(60)
        with start_connector(world, choose_cluster_ip(SERVICES), VIP_PORT, pause=0.002) as connector:
            digest, look = _restart(world, "192.0.2.1")
            readback, _ = _restart(world, "192.0.2.2")
            told = connector.finish()
    return [
        Figure(DIGEST, digest["seconds"], f"from decoded objects; CPU {digest['cpu']:.2f} s"),
        Figure(READBACK, readback["seconds"], f"one endpoint differed; CPU {readback['cpu']:.2f} s"),
        Figure(VERIFY, look["seconds"], "both the elements and the rules"),
        Figure(STEP, 1000 * look["longest"]),
        _describe_served(SERVED, told),
    ]


def _restart(world: World, first: str) -> tuple[dict[str, float], dict[str, float]]:
    with _start_child(world, SERVICES, measure="start", first=first) as plane:
        return plane.read(60), plane.read(60)


def measure_stress(
    world: World, *, services: int = SERVICES, seconds: int = STRESS_SECONDS, per_second: int = STRESS_PER_SECOND
) -> list[Figure]:
    """`seaway proxy` follows a watch of so many changes a second; connections go to endpoints that are always healthy.

    Those come and go as endpoints of the Service that is asked.
    """
    for address in HEALTHY[1:]:
        world.server.run("ip", "address", "add", f"{address}/24", "dev", "eth0")
    options = {"services": services, "endpoints": 10, "served": HEALTHY, "port": FEED_PORT,
               "seconds": seconds, "per_second": per_second}  # fmt: skip
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="seaway-bench-")))
        with world.node.entered():
            feed = stack.enter_context(Child("feed", options))
            feed.read()
            proxy = stack.enter_context(_start_proxy(folder))
        stack.callback(_delete_tables, world.node)
        feed.read(60)
        vip = choose_cluster_ip(services + 1)
        connectors = [stack.enter_context(start_connector(world, vip, VIP_PORT, pause=0.005)) for _ in range(2)]
        cpu = read_cpu_seconds(proxy.pid)
        time.sleep(seconds / 3)
        held = read_pss_mb(proxy.pid)
        seen = feed.read(seconds + 60)
        grown, used = read_pss_mb(proxy.pid) - held, (read_cpu_seconds(proxy.pid) - cpu) / seconds
        told = [connector.finish() for connector in connectors]
    early, late = 1000 * seen["early"], 1000 * seen["late"]
    note = f"first third {early:.1f} ms, last {late:.1f} ms; {100 * used:.0f} % of a core"
    return [
        Figure(
            STRESS, 1000 * seen["p99"], f"{note}; {seen['followed']:.0f} of {seen['sent']:.0f} changes were followed"
        ),
        Figure(GROWTH, late / early),
        Figure(GROWN, grown),
        _describe_served(STRESS_SERVED, {name: sum(t[name] for t in told) for name in ("served", "failures")}),
    ]


@contextlib.contextmanager
def _start_proxy(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`seaway proxy` of the feed, in the namespace of the caller."""
    path = folder / "kubeconfig"
    path.write_text(KUBECONFIG)
    command = [sys.executable, "-m", "seaway", "proxy", f"--kubeconfig={path}", "--node-name=bench"]
    command += ["--service-cidr=10.96.0.0/16", f"--uplink-state={folder / 'uplinks.json'}"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield process
        if process.poll() is not None:
            raise RuntimeError(f"seaway proxy ended with exit code {process.returncode}")
    finally:
        process.terminate()
        process.wait(10)


def _delete_tables(node: Namespace) -> None:
    for family in ("ip", "ip6"):
        with contextlib.suppress(RuntimeError):
            node.run("nft", "delete", "table", family, "seaway")


def _describe_served(goal: Goal, told: dict[str, float]) -> Figure:
    tried = told["served"] + told["failures"]
    return Figure(goal, 100 * told["served"] / tried, f"{told['failures']:,.0f} of {tried:,.0f} failed")
