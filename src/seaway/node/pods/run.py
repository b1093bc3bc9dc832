"""The worker of one Pod: plan, act, wait; probes and graceful stops run beside it.

Rule: spec "node" §2.2 (one worker per UID, never two operations at once), §2.8, §2.10, §3.3 (readiness is reported
without waiting for the worker).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
from collections.abc import Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from seaway.node import lifecycle
from seaway.node.admission import Rejection
from seaway.node.events import Happening, make_field_path
from seaway.node.evictions import REASON as EVICTED
from seaway.node.evictions import find_excess, has_disk_limits
from seaway.node.pods.context import AgentContext
from seaway.node.pods.start.run import Starter, StartFailed
from seaway.node.pods.stop.run import Stopper
from seaway.node.pods.write.run import StatusWriter
from seaway.node.podspec import Container, LifecycleHandler, PodManifest
from seaway.node.probes import ProbeKind
from seaway.node.probing.run import Prober, ProbeRunner, Verdict
from seaway.node.runtime.contract import ContainerError, RuntimeGone
from seaway.node.state import LOST_MESSAGE, UNKNOWN_EXIT_CODE, ContainerRun, ContainerState, PodState
from seaway.node.status import make_pod_status
from seaway.node.unisolated import find_unisolated_refusal

log = logging.getLogger(__name__)

CONFIG_RETRY_SECONDS = 2.0
MOUNT_RETRY_SECONDS = (0.5, 122.0)
REFRESH_SECONDS = 60.0
"""How often volumes of ConfigMaps and Secrets are brought up to date. Rule: spec "node" §9 (Pod resync)."""
RUNTIME_RETRY_SECONDS = 1.0
EVICTION_GRACE_SECONDS = 1.0
"""Upstream's, of Pods that go beyond their own limits."""


class PodWorker:
    """Drives one Pod, by UID, until it is over and the API has forgotten it."""

    def __init__(self, context: AgentContext, pod: PodManifest, state: PodState) -> None:
        self.pod = pod
        self.state = state
        self._context = context
        self._writer = StatusWriter(context.client, pod)
        prober = Prober(context.runtime, version=context.config.version, find_address=self._find_address)
        self._probes = ProbeRunner(prober, take_verdict=self._take_verdict, warn=self._warn)
        self._starter = Starter(context, pod, is_there=state.sandbox is not None)
        self._stopper = Stopper(context.runtime, prober)
        self._wake = asyncio.Event()
        self._early: dict[str, ContainerRun] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._mount_retry = MOUNT_RETRY_SECONDS[0]
        self._is_finished = False

    @property
    def is_active(self) -> bool:
        """The Pod holds something of the node: it is not over, and the API knows it."""
        over = lifecycle.choose_reported_phase(self.pod, self.state) in ("Succeeded", "Failed")
        return not (over or self._is_finished or self.state.removed)

    # What the agent tells

    def take_pod(self, pod: PodManifest) -> None:
        """A newer version of the object."""
        self.pod = pod
        if pod.metadata.deletion_timestamp is not None:
            grace = pod.metadata.deletion_grace_period_seconds
            self._stopper.set_deadline(pod.spec.termination_grace_period_seconds if grace is None else grace)
        self._writer.take_reported(pod)
        self._wake.set()

    def reject(self, rejection: Rejection) -> None:
        """The node does not take the Pod: it fails before anything of it is begun."""
        failed = (rejection.reason, rejection.message)
        self.state = replace(self.state, failed=failed, is_rejected=True)
        self._warn(*failed)
        self._wake.set()

    def take_removal(self) -> None:
        """The object is gone: stop, and write nothing any more."""
        self.state = replace(self.state, removed=True)
        self._writer.forget()
        if not self._stopper.has_deadline:
            self._stopper.set_deadline(self.pod.spec.termination_grace_period_seconds)
        self._wake.set()

    def take_exit(self, run: ContainerRun) -> None:
        """A run has ended: it is unready from this moment."""
        own = self.state.find(run.name)
        if own.current is None or own.current.container_id != run.container_id:
            self._early[run.container_id] = run
            return
        self._end_run(own, run)

    def take_runtime_loss(self) -> None:
        """The shim is gone, and with it everything that ran: namespaces and exit codes."""
        now = datetime.now(UTC)
        for own in tuple(self.state.containers.values()):
            if own.current is not None and own.is_running:
                ended = replace(
                    own.current, finished_at=now, exit_code=UNKNOWN_EXIT_CODE, reason="ContainerStatusUnknown",
                    message=LOST_MESSAGE,
                )  # fmt: skip
                self._end_run(own, ended)
        self.state = replace(self.state, sandbox=None)
        self._wake.set()

    def _end_run(self, own: ContainerState, run: ContainerRun) -> None:
        self._probes.end_run(run.container_id)
        own = replace(own, current=run, started=False, ready=False, stopping=False, in_post_start=False)
        self.state = self.state.with_container(own)
        self._stopper.note_end(run.container_id)
        self.publish()
        self._wake.set()

    # The loop

    async def run(self) -> None:
        """Until the Pod is over here and gone from the API."""
        writing = asyncio.create_task(self._writer.run())
        try:
            self._resume_probes()
            if has_disk_limits(self.pod):
                self._spawn(self._watch_disk())
            while not await self._take_step():
                pass
        finally:
            for task in (writing, *self._tasks):
                task.cancel()
            await asyncio.gather(writing, self._probes.close(), *self._tasks, return_exceptions=True)

    async def _take_step(self) -> bool:
        """Whether all is over."""
        self._wake.clear()
        wall_now = datetime.now(UTC)
        if self.state.start_time is None:
            self.state = replace(self.state, start_time=wall_now.replace(microsecond=0))
        self._check_deadline(wall_now)
        stopping = lifecycle.must_stop(self.pod, self.state, wall_now=wall_now)
        if stopping:
            self._probes.stop(ProbeKind.LIVENESS, ProbeKind.STARTUP)
        elif self._refuse():
            self.publish()
            await self._wait(None)
            return False
        if self._is_finished:
            try:
                return await self._conclude()
            except RuntimeGone as error:
                await self._wait_for_runtime(error)
                return False
        plan = lifecycle.plan_pod(self.pod, self.state, wall_now=wall_now)
        self.publish()
        try:
            for action in plan.actions:
                if not stopping and lifecycle.must_stop(self.pod, self.state, wall_now=datetime.now(UTC)):
                    break  # deleted in the middle of a start: nothing more is begun
                await self._apply(action)
        except RuntimeGone as error:
            self.state = replace(self.state, retry_at=datetime.now(UTC) + timedelta(seconds=RUNTIME_RETRY_SECONDS))
            await self._wait_for_runtime(error)
        except ContainerError as error:  # what starts tells of itself: this is of an end
            self._warn("FailedKillPod", f"error killing pod: {error}")
            await asyncio.sleep(RUNTIME_RETRY_SECONDS)
        if not plan.actions:
            await self._wait(plan.wake_at)
        return False

    async def _wait_for_runtime(self, error: RuntimeGone) -> None:
        log.warning("pod=%s runtime=gone error=%s", self.pod.text, error)
        await asyncio.sleep(RUNTIME_RETRY_SECONDS)

    async def _wait(self, until: datetime | None) -> None:
        seconds = None if until is None else max(0.0, (until - datetime.now(UTC)).total_seconds()) + 0.001
        refresh = self._starter.wants_refresh and not self._is_finished
        limit = REFRESH_SECONDS if refresh else None
        timeout = min((s for s in (seconds, limit) if s is not None), default=None)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._wake.wait()
            return
        if refresh and timeout == limit:
            await self._starter.refresh_volumes(self.pod, self.state)

    async def _watch_disk(self) -> None:
        """Until the Pod takes more than it said. Rule: spec "node" §2.6 (eviction)."""
        while True:
            await asyncio.sleep(self._context.config.disk_seconds)
            if self.state.sandbox is None or self._stopper.has_deadline:
                continue
            try:
                use = await self._context.runtime.measure_disk(self.pod.uid)
            except ContainerError:
                continue  # gone: whoever needs it says so
            excess = find_excess(self.pod, use)
            if excess and self.state.failed is None:
                self.state = replace(self.state, failed=(EVICTED, excess))
                self._stopper.set_deadline(EVICTION_GRACE_SECONDS)
                self._warn(EVICTED, excess)
                self._wake.set()

    def _check_deadline(self, wall_now: datetime) -> None:
        past = lifecycle.is_past_deadline(self.pod, self.state, wall_now=wall_now)
        phase = lifecycle.choose_phase(self.pod, self.state)
        if past and self.state.failed is None and phase in ("Pending", "Running"):
            failed = ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
            self.state = replace(self.state, failed=failed)
            self._stopper.set_deadline(self.pod.spec.termination_grace_period_seconds)
            self._record("Normal", *failed)

    def _refuse(self) -> bool:
        """This node cannot run the Pod: it waits and says why."""
        refusal = lifecycle.find_refusal(self.pod)
        if not self._context.config.is_isolated:
            refusal = refusal or find_unisolated_refusal(self.pod, user=os.getuid(), group=os.getgid())
        if not refusal:
            return False
        waiting = ("CreateContainerConfigError", refusal)
        names = [c.name for c in (*self.pod.spec.init_containers, *self.pod.spec.containers)]
        if self.state.find(names[0]).waiting != waiting:
            self._warn("Failed", f"Error: {refusal}")
        for name in names:
            self.state = self.state.with_container(replace(self.state.find(name), waiting=waiting))
        return True

    async def _apply(self, action: lifecycle.Action) -> None:
        match action:
            case lifecycle.CreateSandbox():
                await self._create_sandbox()
            case lifecycle.StartContainer(name):
                await self._start_container(name)
            case lifecycle.StopContainer(name, message, after):
                self._begin_stop(name, message, after=after)
            case lifecycle.ReplaceContainer(name, message):
                self.state = self.state.with_container(replace(self.state.find(name), replaced=True))
                self._begin_stop(name, message)
            case lifecycle.BackOff(name):
                self._back_off(name)
            case lifecycle.RemoveSandbox():
                await self._context.runtime.remove_sandbox(self.pod.uid)
                self.state = replace(self.state, sandbox=None)
            case lifecycle.Finish():
                await self._finish()

    async def _finish(self) -> None:
        """Everything has ended: the last status goes out, and what the Pod held is free."""
        self._probes.stop(*ProbeKind)
        await self._context.runtime.release(self.pod.uid, keep_logs=True)
        self._is_finished = True

    async def _conclude(self) -> bool:
        """After the end: wait until the object is deleted, and finish its deletion. Rule: spec "node" §2.10 step 7."""
        self.publish()
        if not self.state.removed and self.pod.metadata.deletion_timestamp is not None:
            await self._writer.flush()
            if not self.state.removed:
                await self._writer.delete()
                self.state = replace(self.state, removed=True)
        if self.state.removed:
            await self._context.runtime.release(self.pod.uid, keep_logs=False)
            return True
        await self._wake.wait()
        return False

    # Starting

    async def _create_sandbox(self) -> None:
        try:
            sandbox, warnings = await self._starter.create_sandbox(self.pod, self.state)
        except StartFailed as failure:
            self._warn(failure.reason, failure.message)
            self.state = replace(self.state, retry_at=datetime.now(UTC) + timedelta(seconds=self._mount_retry))
            self._mount_retry = min(2 * self._mount_retry, MOUNT_RETRY_SECONDS[1])
            return
        if any(own.current is not None for own in self.state.containers.values()):
            self._record("Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
        for reason, message in warnings:
            self._warn(reason, message)
        self.state = self.state.with_sandbox(self.pod, sandbox)
        self._mount_retry = MOUNT_RETRY_SECONDS[0]

    async def _start_container(self, name: str) -> None:
        container = self.pod.find_container(name)
        assert container is not None
        own = self.state.find(name)
        try:
            run = await self._starter.start_container(self.pod, container, self.state)
        except StartFailed as failure:
            self._hold_back(own, failure.reason, failure.message, container.image)
            return
        await self._take_start(container, own, run)

    def _hold_back(self, own: ContainerState, reason: str, message: str, image: str) -> None:
        held = lifecycle.hold_back(own, reason, message, image)
        for kind, event, text in held.events:
            self._record(kind, event, text, own.name)
        retry_at = datetime.now(UTC) + timedelta(seconds=CONFIG_RETRY_SECONDS)
        self.state = self.state.with_container(replace(own, waiting=held.waiting, retry_at=retry_at))

    async def _take_start(self, container: Container, own: ContainerState, run: ContainerRun) -> None:
        run = self._early.pop(run.container_id, run)
        if run.image_id:
            text = f'Container image "{container.image}" already present on machine and can be accessed by the pod'
            self._record("Normal", "Pulled", text, own.name)
        self._record("Normal", "Created", "Container created", own.name)
        if run.reason == "StartError":
            self._warn("Failed", f"Error: {run.message}", own.name)
        else:
            self._record("Normal", "Started", "Container started", own.name)
        forgotten = own.previous
        own = lifecycle.take_start(container, own, run, wall_now=datetime.now(UTC))
        self.state = self.state.with_container(own)
        self.publish()
        if run.is_running:
            self._probes.start(container, run, own)
            hook = container.lifecycle.post_start if container.lifecycle else None
            if hook is not None:
                self._spawn(self._run_post_start(container, run, hook))
        if forgotten is not None and forgotten.container_id:
            await self._context.runtime.remove_container(forgotten)

    async def _run_post_start(self, container: Container, run: ContainerRun, hook: LifecycleHandler) -> None:
        is_good = await self._stopper.run_post_start(container, run, hook)
        own = self.state.find(container.name)
        if own.current is None or own.current.container_id != run.container_id or not own.is_running:
            return
        self.state = self.state.with_container(replace(own, in_post_start=False))
        self._wake.set()
        if not is_good:
            failed = replace(self.state.find(container.name), waiting=("PostStartHookError", "PostStartHook failed"))
            self.state = self.state.with_container(failed)
            self._warn("FailedPostStartHook", "PostStartHook failed", container.name)
            self._begin_stop(container.name, "FailedPostStartHook")

    def _back_off(self, name: str) -> None:
        own = self.state.find(name)
        message = lifecycle.make_back_off_message(self.pod, own)
        self.state = self.state.with_container(replace(own, waiting=("CrashLoopBackOff", message)))
        text = f"Back-off restarting failed container {name} in pod {self.pod.text}"
        self._warn("BackOff", text, name)

    # Stopping

    def _begin_stop(
        self, name: str, message: str, *, grace_seconds: float | None = None, after: tuple[str, ...] = ()
    ) -> None:
        own, container = self.state.find(name), self.pod.find_container(name)
        if own.current is None or not own.is_running or own.stopping or container is None:
            return
        self.state = self.state.with_container(replace(own, stopping=True))
        self._record("Normal", "Killing", message, name)
        report = functools.partial(self._warn, container=name)
        runs = (self.state.find(other).current for other in after)
        stop = self._stopper.stop(
            self.pod, container, own.current, grace_seconds=grace_seconds,
            after=[run.container_id for run in runs if run is not None], report=report,
        )  # fmt: skip
        self._spawn(stop)

    # Probes

    def _resume_probes(self) -> None:
        for container in (*self.pod.spec.init_containers, *self.pod.spec.containers):
            own = self.state.find(container.name)
            if own.current is not None and own.is_running:
                self._probes.start(container, own.current, own)

    def _take_verdict(self, verdict: Verdict) -> None:
        container, kind, passed = verdict.container, verdict.kind, verdict.passed
        own = self.state.find(container.name)
        if own.current is None or own.current.container_id != verdict.run.container_id or not own.is_running:
            return
        if kind is ProbeKind.READINESS:
            self.state = self.state.with_container(replace(own, ready=passed))
            self.publish()
            self._wake.set()
        elif passed and kind is ProbeKind.STARTUP:
            own = replace(own, started=True, ready=container.readiness_probe is None)
            self.state = self.state.with_container(own)
            self._probes.start(container, verdict.run, own)
            self.publish()
            self._wake.set()
        elif not passed:
            message = f"Container {container.name} failed {kind.value.lower()} probe, will be restarted"
            self._begin_stop(container.name, message, grace_seconds=verdict.probe.termination_grace_period_seconds)

    def _find_address(self) -> str:
        """Where the Pod is reached: on the host's network, the node's address."""
        config = self._context.config
        return config.locate((self.state.pod_ips or config.node_ips)[0])

    # Reporting

    def publish(self) -> None:
        """Hand the status of this moment to the writer."""
        if self.state.removed:
            return
        status = make_pod_status(
            self.pod, self.state, host_ips=self._context.config.node_ips,
            written=self._writer.wanted, wall_now=datetime.now(UTC),
        )  # fmt: skip
        self._writer.want(status)

    async def flush(self) -> None:
        """Returns when the API has the status of this moment."""
        await self._writer.flush()

    def _record(self, kind: str, reason: str, message: str, container: str = "") -> None:
        path = make_field_path(self.pod, container) if container else ""
        self._context.record(self.pod, Happening(kind, reason, message, path))

    def _warn(self, reason: str, message: str, container: str = "") -> None:
        self._record("Warning", reason, message, container)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._guard(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guard(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except ContainerError as error:
            log.warning("pod=%s error=%s", self.pod.text, error)
