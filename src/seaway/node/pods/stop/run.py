"""Ends the containers of one Pod, each within its grace: preStop, SIGTERM, the grace, SIGKILL. Runs hooks.

Rule: spec "node" §2.10 step 3.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from seaway.node.lifecycle import MIN_STOP_SECONDS
from seaway.node.podspec import Container, LifecycleHandler, PodManifest, Probe
from seaway.node.probing.run import Prober
from seaway.node.runtime.contract import Runtime, Stop
from seaway.node.state import ContainerRun

Report = Callable[[str, str], None]
"""Records a warning as (reason, message)."""


class Stopper:
    """The ends of one Pod's runs. The Pod's own end, once it is set, is the limit of every grace."""

    def __init__(self, runtime: Runtime, prober: Prober) -> None:
        self._runtime = runtime
        self._prober = prober
        self._stop_at: float | None = None
        self._hurry = asyncio.Event()
        self._ended: dict[str, asyncio.Event] = {}

    @property
    def has_deadline(self) -> bool:
        return self._stop_at is not None

    def set_deadline(self, grace_seconds: float) -> None:
        """The whole Pod ends by then. The grace can only shrink."""
        end = asyncio.get_running_loop().time() + max(1.0, grace_seconds)
        if self._stop_at is None or end < self._stop_at:
            self._stop_at = end
            self._hurry.set()
            self._hurry = asyncio.Event()

    def note_end(self, container_id: str) -> None:
        """The run is over: nobody waits for it any longer."""
        self._end_of(container_id).set()

    async def stop(
        self, pod: PodManifest, container: Container, run: ContainerRun, *, grace_seconds: float | None, report: Report
    ) -> None:
        """Returns when the run has ended, or was told to after its grace. grace_seconds None: the Pod's."""
        loop = asyncio.get_running_loop()
        if grace_seconds is None:
            grace_seconds = float(pod.spec.termination_grace_period_seconds)
        own_end = loop.time() + grace_seconds
        hook = container.lifecycle.pre_stop if container.lifecycle else None
        if hook is not None and grace_seconds > 0:
            left = max(0.1, self._find_end(own_end) - loop.time())
            if not await self.run_hook(container, run, hook, timeout_seconds=left):
                report("FailedPreStopHook", "PreStopHook failed")
        least = loop.time() + MIN_STOP_SECONDS
        await self._runtime.stop(Stop(run.container_id))
        ended = self._end_of(run.container_id)
        while not ended.is_set():
            left = max(self._find_end(own_end), least) - loop.time()
            if left <= 0:
                await self._runtime.stop(Stop(run.container_id, kill=True))
                await ended.wait()
                return
            await _wait_any(ended, self._hurry, timeout_seconds=left)

    async def run_hook(
        self, container: Container, run: ContainerRun, hook: LifecycleHandler, *, timeout_seconds: float
    ) -> bool:
        """Whether the hook went well; what an HTTP server answers does not matter."""
        if hook.sleep is not None:
            seconds = min(hook.sleep.seconds, timeout_seconds)
            await _wait_any(self._end_of(run.container_id), timeout_seconds=seconds)
            return True
        action = Probe(exec=hook.exec, http_get=hook.http_get, tcp_socket=hook.tcp_socket)
        outcome = await self._prober.attempt(
            container, run, action, timeout_seconds=timeout_seconds, agent="kube-lifecycle"
        )
        return outcome.passed or (hook.http_get is not None and outcome.message.startswith("HTTP probe failed"))

    def _find_end(self, own_end: float) -> float:
        """When the kill is due: the Pod's own end, while it stops, else the container's."""
        return own_end if self._stop_at is None else self._stop_at

    def _end_of(self, container_id: str) -> asyncio.Event:
        return self._ended.setdefault(container_id, asyncio.Event())


async def _wait_any(*events: asyncio.Event, timeout_seconds: float) -> None:
    """Until one is set or the time is over."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
