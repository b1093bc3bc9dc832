"""Looks at what the Pods' programs listen on: often while they are young, now and then later, and when one ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime

from seaway.node.bindings import kernel
from seaway.node.bindings.plan import QUICK_SECONDS, Fault, Holder, Listener, find_faults, find_port_taken
from seaway.node.config import NodeConfig
from seaway.node.events import Happening, make_field_path
from seaway.node.pods.sources import find_own_addresses
from seaway.node.podspec import PodManifest
from seaway.node.runtime.contract import ContainerError
from seaway.node.runtime.plain.run import PlainRuntime
from seaway.node.state import ContainerRun, PodState

log = logging.getLogger(__name__)

YOUNG_SECONDS, LOOK_SECONDS = 60.0, 1.0
LOOKS_APART = 15
"""Of the looks that would be due, how many are left out when no program is young."""
LOG_TAIL_BYTES = 8192
MAX_WAITING_ENDS = 100

Pods = Callable[[], Iterable[tuple[PodManifest, PodState]]]


class BindingWatch:
    """Tells each fault once in the life of a run, as a Warning event of its Pod."""

    def __init__(
        self, config: NodeConfig, runtime: PlainRuntime, pods: Pods, record: Callable[[PodManifest, Happening], None]
    ) -> None:
        self._config = config
        self._runtime = runtime
        self._pods = pods
        self._record = record
        self._told: set[tuple[str, Fault]] = set()
        self._ends: asyncio.Queue[ContainerRun] = asyncio.Queue(MAX_WAITING_ENDS)

    def take_exit(self, run: ContainerRun) -> None:
        """A run has ended: if it was quick and went wrong, why is looked for."""
        assert run.finished_at is not None
        lasted = (run.finished_at - run.started_at).total_seconds()
        if run.exit_code and not run.reason and lasted < QUICK_SECONDS:
            with contextlib.suppress(asyncio.QueueFull):
                self._ends.put_nowait(run)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            ended = await self._wait()
            try:
                await self._look(ended)
            except ContainerError as error:  # the agent itself tells of a runtime that is gone
                log.info("bindings=unknown error=%r", str(error))

    async def _wait(self) -> ContainerRun | None:
        """Until it is time for a look, or a run has ended badly."""
        for _ in range(LOOKS_APART):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    return await self._ends.get()
            if self._is_anything_young():
                return None
        return None

    def _is_anything_young(self) -> bool:
        now = datetime.now(UTC)
        runs = (own.current for _, state in self._pods() for own in state.containers.values())
        return any(run is not None and (now - run.started_at).total_seconds() < YOUNG_SECONDS for run in runs)

    async def _look(self, ended: ContainerRun | None) -> None:
        pods = {pod.uid: (pod, state) for pod, state in self._pods()}
        listeners = await asyncio.to_thread(kernel.read_listeners)
        holders = await self._find_holders(pods.values(), listeners)
        self._told = {each for each in self._told if any(each[0] == holder.container_id for holder in holders)}
        for fault in find_faults(holders, listeners):
            run = next(h.container_id for h in holders if (h.uid, h.container) == (fault.uid, fault.container))
            if (run, fault) not in self._told:
                self._told.add((run, fault))
                self._tell(pods[fault.uid][0], fault)
        if ended is not None and ended.uid in pods:
            pod, state = pods[ended.uid]
            tail = await asyncio.to_thread(self._read_log, ended)
            taken = find_port_taken(self._make_holder(pod, state, ended), holders, listeners, log_tail=tail)
            if taken is not None:
                self._tell(pod, taken)

    async def _find_holders(
        self, pods: Iterable[tuple[PodManifest, PodState]], listeners: Iterable[Listener]
    ) -> tuple[Holder, ...]:
        processes = await self._runtime.read_processes()
        wanted = frozenset(listener.inode for listener in listeners)
        found = []
        for pod, state in pods:
            for own in state.containers.values():
                if own.current is not None and own.current.is_running:
                    pids = processes.get(own.current.container_id, frozenset())
                    inodes = await asyncio.to_thread(kernel.read_inodes, pids)
                    found.append(replace(self._make_holder(pod, state, own.current), inodes=inodes & wanted))
        return tuple(found)

    def _make_holder(self, pod: PodManifest, state: PodState, run: ContainerRun) -> Holder:
        container = pod.find_container(run.name)
        ports = container.ports if container is not None else ()
        return Holder(
            uid=pod.uid,
            pod=f"{pod.metadata.namespace}/{pod.metadata.name}",
            container=run.name,
            container_id=run.container_id,
            addresses=find_own_addresses(self._config, pod, state),
            ports=frozenset((port.protocol or "TCP", port.container_port) for port in ports),
        )

    def _read_log(self, run: ContainerRun) -> str:
        try:
            with self._runtime.find_log(run.uid, run.name, run.attempt).open("rb") as file:
                file.seek(max(0, file.seek(0, 2) - LOG_TAIL_BYTES))
                return file.read().decode(errors="replace")
        except OSError:
            return ""

    def _tell(self, pod: PodManifest, fault: Fault) -> None:
        log.warning("pod=%s binding=%s message=%r", pod.text, fault.reason, fault.message)
        path = make_field_path(pod, fault.container)
        self._record(pod, Happening("Warning", fault.reason, fault.message, path))
