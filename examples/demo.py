"""The main job on real input: run it with `make demo`, or `make demo NETWORK=host|sandbox|none` for one of the ways.

Without a way it takes a sandbox, which needs no root, and none where no sandbox can be made. The host way wants root,
and gets a network namespace as its host, so that nothing of this one is touched. Each step prints what it saw and
checks it; the exit code is 0 only if all of it held.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

from seaway.api.endpointslice.types import EndpointSlice
from seaway.api.pod.types import Pod
from seaway.api.registry import ENDPOINT_SLICES, PODS, RESOURCES, SERVICES
from seaway.api.service.served import find_place
from seaway.api.service.types import Service
from seaway.app.options import KUBELET_PORT, SANDBOX_NODE_IPS
from seaway.app.pieces import connect
from seaway.app.preflight import HOST, NONE, SANDBOX, begin_trial
from seaway.client.requests import Client
from seaway.client.run import Change, Informer
from seaway.net import kernel
from seaway.net.loopback import DEFAULT_MAP, LoopbackMap
from seaway.testing.loopback import claim_loopback

EXAMPLES = Path(__file__).resolve().parent
READY_SECONDS = 30.0
# From the moment that the slice says so to the kernel of the node: the proxy's time, generously.
PROXY_SECONDS = 0.1
LOAD_SECONDS = 4.0


class Failed(Exception):
    """A step that did not hold: what was seen, and what was wanted."""


class Demo:
    """One run: the process of `seaway up`, and what asks it."""

    def __init__(self, data_dir: Path, way: str) -> None:
        self.data_dir = data_dir
        self.way = way
        self.up: asyncio.subprocess.Process | None = None
        self.client: Client

    async def run(self) -> None:
        await self.start()
        try:
            await self.apply()
            pods = await self.wait_ready()
            await self.show_balancing(pods)
            await self.show_discovery()
            await self.show_both_ways()
            await self.show_failover()
        finally:
            await self.client.close()
            await self.stop()

    async def start(self) -> None:
        say("up", f"seaway up --network {self.way}")
        ready = self.data_dir / "ready"
        self.up = await asyncio.create_subprocess_exec(
            *seaway("up", "--network", self.way, "--secure-port", str(find_free_port()), *self.choose_map()),
            *("--data-dir", str(self.data_dir), "--ready-file", str(ready)),
        )
        await until(lambda: ready.exists() or (self.up and self.up.returncode is not None), "seaway up is not ready")
        if not ready.exists():
            raise Failed("seaway up ended; its words are above")
        self.state = json.loads((self.data_dir / "up.json").read_text())
        text = self.state["loopback_map"]
        self.loopback = LoopbackMap.parse(text) if text else None
        self.client = connect(self.data_dir / "admin.kubeconfig", user_agent="seaway-demo")

    def choose_map(self) -> tuple[str, ...]:
        """Another part of loopback, where the usual one is somebody's already."""
        if self.way != NONE or is_free(DEFAULT_MAP.to_loopback(SANDBOX_NODE_IPS[0])):
            return ()
        self.claim = claim_loopback()
        return ("--loopback-map", str(self.claim.map), "--cluster-cidr", self.claim.pod_cidr)

    def locate(self, address: str) -> str:
        """Where an address of the cluster is reached."""
        return (self.loopback.to_loopback(address) if self.loopback else None) or address

    async def find_place(self, name: str) -> tuple[str, int]:
        """Where the first port of the Service is reached; what may not be bound is served elsewhere."""
        service = await self.client.get(SERVICES, name, "default", as_type=Service)
        port = service.spec.ports[0]
        return find_place(service, port, self.loopback) if self.loopback else (service.spec.cluster_ip, port.port)

    async def apply(self) -> None:
        kinds = {(r.api_version, r.kind): r for r in RESOURCES}
        for path in sorted(EXAMPLES.glob("*.yaml")):
            made = []
            for obj in yaml.safe_load_all(path.read_text()):
                namespace = obj["metadata"].get("namespace", "default")
                await self.client.create(kinds[obj["apiVersion"], obj["kind"]], obj, namespace)
                made.append(f"{obj['kind'].lower()}/{obj['metadata']['name']}")
            say("apply", f"{path.name}: {', '.join(made)}")

    async def wait_ready(self) -> dict[str, Pod]:
        begun = time.monotonic()
        pods = Informer(self.client, PODS, Pod, namespace="default")
        slices = Informer(self.client, ENDPOINT_SLICES, EndpointSlice, namespace="default")
        tasks = [asyncio.create_task(pods.run()), asyncio.create_task(slices.run())]
        try:
            await pods.wait_synced()
            await until(lambda: all(p.is_ready for p in pods.objects.values()), "not all Pods became ready")
            await until(lambda: len(find_endpoints(slices, "my-service")) == 3, "my-service has not three endpoints")
        finally:
            for task in tasks:
                task.cancel()
        for pod in pods.objects.values():
            say("pod", f"{pod.metadata.name:10} {pod.status.pod_ip}")
        say("pods", f"all ready after {time.monotonic() - begun:.1f} s")
        await asyncio.sleep(PROXY_SECONDS)
        return {pod.metadata.name: pod for pod in pods.objects.values()}

    async def show_balancing(self, pods: dict[str, Pod]) -> None:
        address, port = await self.find_place("my-service")
        self.vip = f"http://{address}:{port}/"
        self.asker = f"http://{self.locate(pods['client'].status.pod_ip)}:8000"
        from_pod = await self.ask_pod("fetch", url=f"http://my-service:{port}/", count=30)
        self.check_shares("from a Pod, by name", from_pod)
        self.check_shares("from the node, by IP", await self.node_side("fetch", self.vip, "30"))

    def check_shares(self, title: str, shares: dict[str, int]) -> None:
        text = ", ".join(f"{who} {count}" for who, count in sorted(shares.items()))
        say("balance", f"30 requests {title}: {text}")
        if set(shares) != {"my-app-1", "my-app-2", "my-app-3"} or sum(shares.values()) != 30:
            raise Failed(f"30 requests {title} reached {text}; three backends and no error wanted")

    async def show_discovery(self) -> None:
        for name, wanted in (("my-service", 1), ("my-headless", 3), ("nginx-service.default.svc.cluster.local", 1)):
            found = await self.ask_pod("lookup", name=name)
            say("dns", f"a Pod asks for {name}: {' '.join(found)}")
            if len(found) != wanted or any(f.startswith("error") for f in found):
                raise Failed(f"{name} has {found}; {wanted} addresses wanted")
        server = self.state["dns"]
        for name, kind in (
            ("_http._tcp.my-two-ports.default.svc.cluster.local.", "SRV"),
            ("my-external.default.svc.cluster.local.", "CNAME"),
        ):
            records = await self.node_side("dns", server, name, kind)
            for record in records:
                say("dns", record)
            if not records:
                raise Failed(f"{name} {kind}: no answer")
        names = await self.ask_pod("env", prefix="KUBERNETES_SERVICE")
        for name, value in names.items():
            say("env", f"{name}={value}")
        if set(names) != {"KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "KUBERNETES_SERVICE_PORT_HTTPS"}:
            raise Failed(f"the Pod's environment has {sorted(names)} of the Service kubernetes")

    async def show_both_ways(self) -> None:
        """What the Pod of 09-discovery.yaml prints; my-late-service is made after it has started."""
        await self.wait_printed(
            {
                "my-service": (True, True),
                "their-service.elsewhere": (False, True),
                "my-late-service": (False, False),
            }
        )
        late = {"metadata": {"name": "my-late-service"}, "spec": {"ports": [{"port": 80}]}}
        await self.client.create(SERVICES, late, "default")
        say("apply", "service/my-late-service")
        for line in await self.wait_printed({"my-late-service": (False, True)}):
            say("both", line)

    async def wait_printed(self, wanted: dict[str, tuple[bool, bool]]) -> list[str]:
        """The Pod's lines, once the last of each Service says by which of environment and DNS it is found."""
        deadline = time.monotonic() + READY_SECONDS
        while True:
            log = await self.client.send("GET", PODS.path("default", "discovery", "log"), accept="*/*")
            lines = log.decode().splitlines()
            found = {line.partition(":")[0]: ("environment none" not in line, "DNS none" not in line) for line in lines}
            if wanted.items() <= found.items():
                return lines
            if time.monotonic() > deadline:
                raise Failed(f"the Pod discovery printed {lines}; {wanted} wanted, by environment and DNS")
            await asyncio.sleep(0.1)

    async def show_failover(self) -> None:
        removed: list[float] = []

        def on_change(change: Change[EndpointSlice]) -> None:
            if removed or change.new is None or not change.key.startswith("default/my-service"):
                return
            if any(e.target_ref and e.target_ref.name == "my-app-2" and e.is_ready for e in change.new.endpoints or ()):
                return
            removed.append(time.time())

        slices = Informer(self.client, ENDPOINT_SLICES, EndpointSlice, namespace="default")
        task = asyncio.create_task(slices.run())
        await slices.wait_synced()
        load = asyncio.create_task(self.node_side("load", self.vip, str(LOAD_SECONDS)))
        await asyncio.sleep(1.5)
        slices.subscribe(on_change)
        killed = await self.node_side("kill", "my-app-2", *((str(self.data_dir),) if self.loopback else ()))
        asked = await load
        task.cancel()
        if not removed:
            raise Failed("my-app-2 was killed, and stayed in the EndpointSlice")
        self.check_failover(asked, killed["at"], removed[0])

    def check_failover(self, asked: list[tuple[float, float, str]], killed: float, removed: float) -> None:
        bad = [start for start, _, who in asked if who.startswith("error")]
        late = [start for start in bad if start > removed + PROXY_SECONDS]
        before = {who for start, _, who in asked if start < killed}
        say("kill", f"my-app-2 killed under load; out of the EndpointSlice after {(removed - killed) * 1000:.0f} ms")
        say("kill", f"{len(asked)} requests, {len(bad) - len(late)} failed until then, {len(late)} after its removal")
        if late:
            raise Failed(f"{len(late)} requests failed after the removal of the dead backend; none wanted")
        if "my-app-2" not in before:
            raise Failed("the backend served nothing before it was killed")

    async def stop(self) -> None:
        if self.up is None or self.up.returncode is not None:
            return
        begun = time.monotonic()
        self.up.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(self.up.wait(), 10)
        say("down", f"ended with code {code} after {time.monotonic() - begun:.1f} s")
        if code != 0:
            raise Failed(f"seaway up ended with code {code}, 0 wanted")
        down = await asyncio.create_subprocess_exec(
            *seaway("down", "--data-dir", str(self.data_dir)), stdout=asyncio.subprocess.PIPE
        )
        out, _ = await down.communicate()
        for line in out.decode().splitlines():
            say("down", line)
        if down.returncode:
            raise Failed(f"seaway down ended with code {down.returncode}")

    async def ask_pod(self, action: str, **query: Any) -> Any:
        """What the client Pod answers, asked from the node."""
        return await self.node_side("get", f"{self.asker}/{action}?{urlencode(query)}")

    async def node_side(self, *arguments: str) -> Any:
        process = await asyncio.create_subprocess_exec(
            *seaway("shell", "--data-dir", str(self.data_dir), "--"),
            *(sys.executable, str(EXAMPLES / "node_side.py"), *arguments),
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        if process.returncode:
            raise Failed(f"{arguments[0]} on the node ended with code {process.returncode}")
        return json.loads(out)


def find_endpoints(slices: Informer[EndpointSlice], service: str) -> list[str]:
    """Addresses of the Service's ready endpoints."""
    return [
        address
        for found in slices.objects.values()
        if found.metadata.labels.get("kubernetes.io/service-name") == service
        for endpoint in found.endpoints or ()
        if endpoint.is_ready
        for address in endpoint.addresses
    ]


async def until(held: Any, words: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not held():
        if time.monotonic() > deadline:
            raise Failed(f"{words} after {READY_SECONDS:g} s")
        await asyncio.sleep(0.02)


def find_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def seaway(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "seaway", *arguments)


def say(step: str, text: str) -> None:
    print(f"{step:8} {text}", flush=True)


@contextlib.contextmanager
def private_directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="seaway-demo-") as name:
        yield Path(name)


def is_free(address: str | None) -> bool:
    """Nobody is a node at this address of the host."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return address is not None and trial.connect_ex((address, KUBELET_PORT)) != 0


def choose_way(wanted: str) -> str:
    if wanted:
        return wanted
    refusal = begin_trial(SANDBOX)()
    if refusal is not None:
        say("way", f"no sandbox: {refusal}")
    return NONE if refusal else SANDBOX


def make_host() -> None:
    """A network namespace with an uplink stands for the host. Raises Failed."""
    from pyroute2 import IPRoute

    try:
        kernel.unshare(kernel.CLONE_NEWNET | kernel.CLONE_NEWNS)
        kernel.mount("none", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
        kernel.mount("sysfs", "/sys", "sysfs", 0)
    except OSError as error:
        raise Failed(f"the host way: {error}; run it as root") from None
    with IPRoute() as route:
        route.link("set", index=1, state="up")
        route.link("add", ifname="up0", kind="veth", peer="up1")
        for name in ("up0", "up1"):
            route.link("set", index=route.link_lookup(ifname=name)[0], state="up")
        route.addr("add", index=route.link_lookup(ifname="up0")[0], address="192.0.2.10", prefixlen=24)
        route.route("add", dst="default", gateway="192.0.2.1")
    say("host", "a network namespace stands for it, with an uplink at 192.0.2.10")


def main(wanted: str = "") -> int:
    begun = time.monotonic()
    with private_directory() as data_dir:
        try:
            way = choose_way(wanted)
            if way == HOST:
                make_host()
            asyncio.run(Demo(data_dir, way).run())
        except Failed as error:
            print(f"demo: {error}", file=sys.stderr)
            for log in sorted((data_dir / "logs").glob("*.log")):
                print(f"--- {log.name}\n{log.read_text()[-2000:]}", file=sys.stderr)
            return 1
    say("done", f"all of it held, in {time.monotonic() - begun:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
