"""Ends the containers of one Pod, each within its grace: preStop, its turn, the stop signal, SIGKILL. Runs hooks.

Rule: spec "node" §2.10 step 3.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any

from seaway.node.lifecycle import MIN_STOP_SECONDS
from seaway.node.podspec import Container, LifecycleHandler, PodManifest
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
        self,
        pod: PodManifest,
        container: Container,
        run: ContainerRun,
        *,
        grace_seconds: float | None,
        after: Collection[str] = (),
        report: Report,
    ) -> None:
        """Returns when the run has ended, or was told to after its grace. grace_seconds None: the Pod's.

        after: ids of the runs that end before this one gets its signal; its grace goes by meanwhile, and its preStop
        hook does not wait.
        """
        loop = asyncio.get_running_loop()
        if grace_seconds is None:
            grace_seconds = float(pod.spec.termination_grace_period_seconds)
        own_end = loop.time() + grace_seconds
        ended = self._end_of(run.container_id)
        hook = container.lifecycle.pre_stop if container.lifecycle else None
        if hook is not None and grace_seconds > 0:
            calling = asyncio.create_task(self._prober.call(container, run, hook))
            await self._wait_until(own_end, calling, ended)
            if not (ended.is_set() or (calling.done() and calling.result().passed)):
                report("FailedPreStopHook", "PreStopHook failed")
            await _cancel(calling)
        for other in after:
            await self._wait_until(own_end, self._end_of(other), ended)
        least = loop.time() + MIN_STOP_SECONDS
        await self._runtime.stop(Stop(run.container_id, signal=run.stop_signal))
        await self._wait_until(own_end, ended, least=least)
        if not ended.is_set():
            await self._runtime.stop(Stop(run.container_id, kill=True))
            await ended.wait()

    async def run_post_start(self, container: Container, run: ContainerRun, hook: LifecycleHandler) -> bool:
        """Whether the hook went well. It may take its time, but not beyond the end of its run."""
        calling = asyncio.create_task(self._prober.call(container, run, hook))
        try:
            await _wait_any(calling, self._end_of(run.container_id), timeout_seconds=None)
            return calling.done() and calling.result().passed
        finally:
            await _cancel(calling)

    async def _wait_until(self, own_end: float, *what: asyncio.Event | asyncio.Task[Any], least: float = 0.0) -> None:
        """Until one has come to be, or the grace is over, which may shrink meanwhile."""
        loop = asyncio.get_running_loop()
        while not any(each.done() if isinstance(each, asyncio.Task) else each.is_set() for each in what):
            left = max(self._find_end(own_end), least) - loop.time()
            if left <= 0:
                return
            await _wait_any(*what, self._hurry, timeout_seconds=left)

    def _find_end(self, own_end: float) -> float:
        """When the kill is due: the Pod's own end, while it stops, else the container's."""
        return own_end if self._stop_at is None else self._stop_at

    def _end_of(self, container_id: str) -> asyncio.Event:
        return self._ended.setdefault(container_id, asyncio.Event())


async def _wait_any(*what: asyncio.Event | asyncio.Task[Any], timeout_seconds: float | None) -> None:
    """Until one is set or done, or the time is over. Tasks that were given go on."""
    waits = [asyncio.create_task(each.wait()) for each in what if isinstance(each, asyncio.Event)]
    tasks = [each for each in what if isinstance(each, asyncio.Task)]
    try:
        await asyncio.wait([*waits, *tasks], timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


async def _cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait([task])
