"""A runtime in memory, and a worker that drives a Pod on it against a real API."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from seaway.api.registry import PODS
from seaway.api.service.types import Service
from seaway.client.index import Change
from seaway.client.requests import Client
from seaway.client.run import Informer
from seaway.node.config import NodeConfig
from seaway.node.events import Happening
from seaway.node.evictions import DiskUse
from seaway.node.pods.context import AgentContext
from seaway.node.pods.run import PodWorker
from seaway.node.podspec import PodManifest
from seaway.node.runtime.contract import ContainerError, ContainerSpec, ExecResult, Inventory, SandboxSpec, Stop
from seaway.node.runtime.images.values import Image
from seaway.node.state import ContainerRun, PodState, Sandbox
from seaway.node.volumes import PlannedVolume

SIGNALLED, KILLED = 143, 137


class FakeRuntime:
    """Implements `runtime.contract.Runtime`. Programs run until they are stopped or `end` is called.

    `failing`: how often each method still fails, by its name. `specs`: what was started, in order.
    `ignores_signals`: programs end by a kill only; `signalled`: one was sent a signal.
    """

    name_and_version = "fake://1"

    def __init__(self) -> None:
        self.failing: Counter[str] = Counter()
        self.specs: list[ContainerSpec] = []
        self.sandboxes: dict[str, Sandbox] = {}
        self.runs: dict[str, ContainerRun] = {}
        self.released: list[str] = []
        self.ignores_signals = False
        self.disk = DiskUse()
        self.images: dict[str, Image] = {}
        self.signalled = asyncio.Event()
        self._exits: asyncio.Queue[ContainerRun] = asyncio.Queue()

    @property
    def unenforced(self) -> Mapping[str, str]:
        return {}

    def _try(self, method: str) -> None:
        if self.failing[method]:
            self.failing[method] -= 1
            raise ContainerError(f"{method} fails")

    async def connect(self) -> None: ...

    async def read_inventory(self) -> Inventory:
        return Inventory(tuple(self.sandboxes.values()), tuple(self.runs.values()))

    async def watch_exits(self) -> AsyncIterator[ContainerRun]:
        while True:
            yield await self._exits.get()

    async def find_image(self, name: str) -> Image | None:
        return self.images.get(name)

    async def create_sandbox(self, spec: SandboxSpec) -> Sandbox:
        self._try("create_sandbox")
        return self.sandboxes.setdefault(spec.uid, Sandbox(spec.uid, ("10.244.0.2",)))

    async def remove_sandbox(self, uid: str) -> None:
        assert not any(run.is_running for run in self.runs.values() if run.uid == uid), "programs run in it"
        self._try("remove_sandbox")
        self.sandboxes.pop(uid, None)

    async def release(self, uid: str, *, keep_logs: bool) -> None:
        assert uid not in self.sandboxes, "its sandbox stands"
        self._try("release")
        self.released.append(uid)

    async def write_volumes(self, uid: str, volumes: tuple[PlannedVolume, ...]) -> None: ...

    async def measure_disk(self, uid: str) -> DiskUse:
        return self.disk

    async def start_container(self, spec: ContainerSpec) -> ContainerRun:
        assert spec.uid in self.sandboxes, "no sandbox to run in"
        self._try("start_container")
        self.specs.append(spec)
        run = ContainerRun(
            uid=spec.uid, name=spec.name, attempt=spec.attempt, container_id=f"{spec.name}-{spec.attempt}",
            started_at=datetime.now(UTC), image=spec.image_name, stop_signal=spec.stop_signal,
        )  # fmt: skip
        self.runs[run.container_id] = run
        return run

    def end(self, container_id: str, exit_code: int) -> None:
        """A program ends; nothing happens when it has."""
        run = self.runs[container_id]
        if run.is_running:
            self.runs[container_id] = replace(run, finished_at=datetime.now(UTC), exit_code=exit_code)
            self._exits.put_nowait(self.runs[container_id])

    async def stop(self, stop: Stop) -> None:
        self.signalled.set()
        if stop.kill or not self.ignores_signals:
            self.end(stop.container_id, KILLED if stop.kill else SIGNALLED)

    async def exec(self, container_id: str, argv: tuple[str, ...], *, timeout_seconds: float | None) -> ExecResult:
        return ExecResult(0)

    async def exec_on(self, container_id: str, argv: tuple[str, ...], streams: Mapping[str, int]) -> int:
        return 0

    async def attach(self, container_id: str, streams: Mapping[str, int]) -> bool:
        return False

    async def resize(self, container_id: str, rows: int, columns: int) -> None: ...

    async def open_sockets(self, uid: str) -> tuple[socket.socket, socket.socket]:
        raise ContainerError("nothing listens in memory")

    def find_log(self, uid: str, name: str, attempt: int) -> Path:
        return Path("/nonexistent")

    async def remove_container(self, run: ContainerRun) -> None:
        self.runs.pop(run.container_id, None)

    async def close(self) -> None: ...


@dataclass(slots=True)
class Bench:
    """One worker at work. `told`: the events, as (reason, message). services: waited for until they are known."""

    worker: PodWorker
    runtime: FakeRuntime
    told: list[tuple[str, str]]
    working: asyncio.Task[None]
    services: list[Service]
    services_known: asyncio.Event


@contextlib.asynccontextmanager
async def open_bench(
    client: Client, name: str, directory: Path, *, runtime: FakeRuntime | None = None, **config: Any
) -> AsyncIterator[Bench]:
    """Drives the Pod of the name, which the API has, until the block ends. runtime: what an agent before has left."""
    runtime = runtime or FakeRuntime()
    told: list[tuple[str, str]] = []
    node = NodeConfig(node_name="node-1", node_ip="192.0.2.1", state_dir=directory, data_dir=directory, **config)

    services: list[Service] = []
    services_known = asyncio.Event()
    services_known.set()

    async def read_services() -> tuple[Service, ...]:
        await services_known.wait()
        return tuple(services)

    def record(pod: PodManifest, happening: Happening) -> None:
        told.append((happening.reason, happening.message))

    context = AgentContext(
        config=node, client=client, runtime=runtime, read_services=read_services, record=record,
        record_node=lambda happening: None, allocatable={"cpu": "4", "memory": "8Gi", "pods": "110"},
    )  # fmt: skip
    pods = Informer(client, PODS, PodManifest, field_selector=f"metadata.name={name}")
    following = asyncio.create_task(pods.run())
    await pods.wait_synced()
    [pod] = pods.objects.values()
    worker = PodWorker(context, pod, PodState())

    def take(change: Change[PodManifest]) -> None:
        if change.new is None:
            worker.take_removal()
        elif change.new.uid == worker.pod.uid:
            worker.take_pod(change.new)

    async def watch() -> None:
        async for run in runtime.watch_exits():
            worker.take_exit(run)

    worker.take_pod(pod)
    pods.subscribe(take)
    tasks = [following, asyncio.create_task(watch()), asyncio.create_task(worker.run())]
    try:
        yield Bench(worker, runtime, told, tasks[2], services, services_known)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
