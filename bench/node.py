"""Pods on the node of `seaway up`: how soon they are ready, what the agent takes for fifty of them, and an exec.

A Pod of an image is measured as crun builds it, and as the shim does.

A Pod is ready when a watcher sees it so; between lie the scheduler, the agent, the shim and the program's own start.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import platform
import shutil
import ssl
import tarfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import aiohttp

from bench.figures import Figure, Goal, median
from bench.processes import read_cpu_seconds, read_pss_mb
from bench.up import list_processes, start_up
from seaway.api.registry import PODS
from seaway.client.kubeconfig import parse_kubeconfig
from seaway.client.requests import Client
from seaway.client.run import Change, Informer
from seaway.client.transport import open_client
from seaway.node.runtime.images.store import ImageStore

ROUNDS, MANY, EXECS = 7, 50, 15
IDLE_SECONDS = 10.0
SETTLE_SECONDS = 5.0
PATIENCE_SECONDS = 60.0
COMMAND = ["sleep", "3600"]

ONE = Goal("node: one Pod, create to ready", "s", at_most=0.5)
ALL = Goal(f"node: {MANY} Pods at once, create to ready", "s", at_most=10)
MEMORY = Goal(f"node: PSS of the agent with {MANY} Pods", "MB", at_most=80)
SHIM = Goal(f"node: PSS of the shim with {MANY} Pods", "MB")
IDLE = Goal(f"node: CPU of the agent with {MANY} Pods, idle", "%", at_most=1)
EXEC = Goal("node: exec round trip", "ms", at_most=100)
BOXED = {
    way: (
        Goal(f"node: one Pod of an image, {way}, create to ready", "s", at_most=0.5),
        Goal(f"node: exec in an image, {way}", "ms", at_most=100),
    )
    for way in ("crun", "shim")
}
GOALS = (ONE, ALL, MEMORY, SHIM, IDLE, EXEC, *(goal for pair in BOXED.values() for goal in pair))
BOX = "example.com/box:1"

Json = dict[str, Any]


class _Sight:
    """Who is ready, and who is gone, at the moment in which a watcher sees it."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._waiting: dict[tuple[str, bool], asyncio.Future[float]] = {}
        self.informer: Informer[Json] = Informer(client, PODS, dict)
        self.informer.subscribe(self._note)

    def _note(self, change: Change[Json]) -> None:
        pod = change.new or change.old
        assert pod is not None
        conditions = pod["status"].get("conditions", ())
        if change.new is None or any(c["type"] == "Ready" and c["status"] == "True" for c in conditions):
            waiting = self._waiting.pop((pod["metadata"]["name"], change.new is not None), None)
            if waiting is not None:
                waiting.set_result(time.monotonic())

    def expect(self, name: str, *, is_there: bool) -> asyncio.Future[float]:
        """The moment at which the Pod is first seen ready, or gone."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting[name, is_there] = waiting
        return waiting

    async def create(self, name: str, image: str = "program") -> float:
        """Seconds until it is ready."""
        ready, begun = self.expect(name, is_there=True), time.monotonic()
        container = {"name": "main", "image": image, "command": COMMAND}
        spec = {"containers": [container], "terminationGracePeriodSeconds": 1}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": spec}
        await self._client.create(PODS, pod, "default")
        return await asyncio.wait_for(ready, PATIENCE_SECONDS) - begun

    async def remove(self, name: str) -> None:
        gone = self.expect(name, is_there=False)
        await self._client.delete(PODS, name, "default")
        await asyncio.wait_for(gone, PATIENCE_SECONDS)


async def run() -> list[Figure]:
    """One node, in the sandbox, with a fresh data directory."""
    with start_up() as (process, folder, _):
        kubeconfig = (folder / "admin.kubeconfig").read_text()
        async with _open_sight(kubeconfig) as sight:
            singles = []
            for number in range(ROUNDS):
                singles.append(await sight.create(f"one-{number}"))
                await sight.remove(f"one-{number}")
            begun = time.monotonic()
            await asyncio.gather(*(sight.create(f"many-{number}") for number in range(MANY)))
            together = time.monotonic() - begun
            await asyncio.sleep(SETTLE_SECONDS)
            agent, shim = _find_agent(list_processes(process.pid, folder))
            before = read_cpu_seconds(agent)
            await asyncio.sleep(IDLE_SECONDS)
            idle = (read_cpu_seconds(agent) - before) / IDLE_SECONDS * 100
            memory, of_shim = read_pss_mb(agent), read_pss_mb(shim)
            execs = [await _measure_exec(kubeconfig, f"many-{number}") for number in range(EXECS)]
    return [
        Figure(ONE, median(singles), f"median of {ROUNDS}, the longest {max(singles):.2f} s; through the scheduler"),
        Figure(ALL, together),
        Figure(MEMORY, memory),
        Figure(SHIM, of_shim, "what holds them; the containers' own inits apart"),
        Figure(IDLE, idle, f"of one core, over {IDLE_SECONDS:g} s"),
        Figure(EXEC, median(execs) * 1000, f"`true`, a new connection each, median of {EXECS}"),
        *[figure for way in BOXED for figure in await _measure_images(way)],
    ]


async def _measure_images(way: str) -> list[Figure]:
    """Nothing where busybox, of which the image is made, or crun is not installed."""
    busybox, crun = shutil.which("busybox"), shutil.which("crun")
    if not busybox or (way == "crun" and not crun):
        return []
    start, execution = BOXED[way]
    with start_up("--oci-runtime", str(crun) if way == "crun" else "none") as (_, folder, _):
        _import_box(folder, Path(busybox))
        kubeconfig = (folder / "admin.kubeconfig").read_text()
        async with _open_sight(kubeconfig) as sight:
            singles = []
            for number in range(ROUNDS):
                singles.append(await sight.create(f"box-{number}", BOX))
                await sight.remove(f"box-{number}")
            await sight.create("box", BOX)
            execs = [await _measure_exec(kubeconfig, "box") for _ in range(EXECS)]
    return [
        Figure(start, median(singles), f"median of {ROUNDS}, the longest {max(singles):.2f} s"),
        Figure(execution, median(execs) * 1000, f"median of {EXECS}, the longest {max(execs) * 1000:.0f} ms"),
    ]


def _import_box(data_dir: Path, busybox: Path) -> None:
    """An image with `sleep` and `true`, as `docker save` writes one."""
    layer, archive = io.BytesIO(), data_dir / "box.tar"
    with tarfile.open(fileobj=layer, mode="w") as files:
        files.add(busybox.resolve(), "bin/busybox")
        for name in ("sleep", "true"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            files.addfile(link)
    diff_id = f"sha256:{hashlib.sha256(layer.getvalue()).hexdigest()}"
    rootfs = {"type": "layers", "diff_ids": [diff_id]}
    members = {
        "manifest.json": json.dumps([{"Config": "config.json", "RepoTags": [BOX], "Layers": ["layer.tar"]}]).encode(),
        "config.json": json.dumps({"config": {"Env": ["PATH=/bin"]}, "rootfs": rootfs}).encode(),
        "layer.tar": layer.getvalue(),
    }
    with tarfile.open(archive, "w") as saved:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            saved.addfile(member, io.BytesIO(content))
    ImageStore(data_dir / "images").import_archive(archive, machine=platform.machine())


@asynccontextmanager
async def _open_sight(kubeconfig: str) -> AsyncIterator[_Sight]:
    client = open_client(parse_kubeconfig(kubeconfig))
    sight = _Sight(client)
    running = asyncio.create_task(sight.informer.run())
    try:
        await sight.informer.wait_synced()
        yield sight
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await client.close()


def _find_agent(pids: list[int]) -> tuple[int, int]:
    """The agent and its shim. Raises RuntimeError."""
    agent = next((p for p in pids if Path(f"/proc/{p}/comm").read_text() == "seaway-node\n"), 0)
    shim = next((p for p in pids if b"seaway.node.shim" in Path(f"/proc/{p}/cmdline").read_bytes()), 0)
    if not agent or not shim:
        raise RuntimeError("the agent or its shim was not found")
    return agent, shim


async def _measure_exec(kubeconfig: str, pod: str) -> float:
    """Seconds from the request to the exit code, over a WebSocket, as kubectl does."""
    connection = parse_kubeconfig(kubeconfig)
    context = ssl.create_default_context(cadata=connection.ca_pem)
    with NamedTemporaryFile("w") as pem:
        pem.write(f"{connection.certificate_pem.rstrip()}\n{connection.key_pem}")
        pem.flush()
        context.load_cert_chain(pem.name)
    url = f"{connection.server}/api/v1/namespaces/default/pods/{pod}/exec?command=true&stdout=true&stderr=true"
    begun = time.monotonic()
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, protocols=["v5.channel.k8s.io"], ssl=context) as channel,
    ):
        async for message in channel:
            if message.data[:1] == b"\x03" and b'"Success"' in message.data:
                return time.monotonic() - begun
    raise RuntimeError(f"exec in {pod}: no success")
