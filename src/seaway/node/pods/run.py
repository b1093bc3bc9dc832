"""The worker of one Pod: plan, act, wait; probes and graceful stops run beside it.

Rule: spec "node" §2.2 (one worker per UID, never two operations at once), §2.8, §2.10, §3.3 (readiness is reported
without waiting for the worker).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from seaway.api.machinery.errors import NotFound
from seaway.api.registry import CONFIG_MAPS, SECRETS
from seaway.node import lifecycle
from seaway.node.envvars import EnvError, expand
from seaway.node.events import Happening, make_field_path
from seaway.node.pods.context import AgentContext
from seaway.node.pods.sources import HostFiles, Sources, make_container_spec, make_names, make_volumes
from seaway.node.pods.write.run import StatusWriter
from seaway.node.podspec import (
    ConfigMap,
    Container,
    HTTPGetAction,
    LifecycleHandler,
    PodManifest,
    Probe,
    Secret,
    find_sources,
)
from seaway.node.probes import Outcome, ProbeKind, find_probes, resolve_port, start_probe, step
from seaway.node.probing.transport import HTTPTarget, probe_http, probe_tcp
from seaway.node.resolvconf import ResolverError, make_pod_resolver, parse_resolv_conf
from seaway.node.runtime.contract import ContainerError, RuntimeGone, SandboxSpec, Stop
from seaway.node.state import UNKNOWN_EXIT_CODE, ContainerRun, ContainerState, PodState
from seaway.node.status import make_pod_status
from seaway.node.volumes import Content, VolumeError

log = logging.getLogger(__name__)

CONFIG_RETRY_SECONDS = 2.0
MOUNT_RETRY_SECONDS = (0.5, 122.0)
REFRESH_SECONDS = 60.0
"""How often volumes of ConfigMaps and Secrets are brought up to date. Rule: spec "node" §9 (Pod resync)."""
RUNTIME_RETRY_SECONDS = 1.0


def read_host_files(context: AgentContext) -> HostFiles:
    """The node's own files, read when a container starts. A resolver that only the host can reach is not inherited."""
    hostname = context.config.hostname or context.config.node_name
    path = context.config.resolv_conf
    try:
        text = path.read_text()
        if "127.0.0.53" in text and Path("/run/systemd/resolve/resolv.conf").exists():
            text = Path("/run/systemd/resolve/resolv.conf").read_text()
    except OSError:
        text = ""
    try:
        hosts = Path("/etc/hosts").read_text()
    except OSError:
        hosts = ""
    return HostFiles(parse_resolv_conf(text), hosts, hostname)


class PodWorker:
    """Drives one Pod, by UID, until it is over and the API has forgotten it."""

    def __init__(self, context: AgentContext, pod: PodManifest, state: PodState) -> None:
        self.pod = pod
        self.state = state
        self._context = context
        self._writer = StatusWriter(context.client, pod)
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()
        self._stop_at: float | None = None
        self._exits: dict[str, asyncio.Event] = {}
        self._early: dict[str, ContainerRun] = {}
        self._probers: dict[tuple[str, ProbeKind], asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._mount_retry = MOUNT_RETRY_SECONDS[0]
        self._is_finished = False
        self._has_content = any(v.config_map or v.secret or v.downward_api or v.projected for v in pod.spec.volumes)

    # What the agent tells

    def take_pod(self, pod: PodManifest) -> None:
        """A newer version of the object."""
        self.pod = pod
        if pod.metadata.deletion_timestamp is not None:
            grace = pod.metadata.deletion_grace_period_seconds
            self._set_deadline(pod.spec.termination_grace_period_seconds if grace is None else grace)
        self._writer.take_reported(pod)
        self._wake.set()

    def take_removal(self) -> None:
        """The object is gone: stop, and write nothing any more."""
        self.state = replace(self.state, removed=True)
        self._writer.forget()
        if self._stop_at is None:
            self._set_deadline(self.pod.spec.termination_grace_period_seconds)
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
                    message="The container could not be located when the pod was terminated",
                )  # fmt: skip
                self._end_run(own, ended)
        self.state = replace(self.state, sandbox=None)
        self._wake.set()

    def _end_run(self, own: ContainerState, run: ContainerRun) -> None:
        for key in [key for key in self._probers if key[0] == run.container_id]:
            self._probers.pop(key).cancel()
        own = replace(own, current=run, started=False, ready=False, stopping=False)
        self.state = self.state.with_container(own)
        self._exit_event(run.container_id).set()
        self.publish()
        self._wake.set()

    def _set_deadline(self, grace_seconds: float) -> None:
        """The grace can only shrink."""
        end = asyncio.get_running_loop().time() + max(1.0, grace_seconds)
        if self._stop_at is None or end < self._stop_at:
            self._stop_at = end
            self._hurry.set()
            self._hurry = asyncio.Event()

    # The loop

    async def run(self) -> None:
        """Until the Pod is over here and gone from the API."""
        writing = asyncio.create_task(self._writer.run())
        try:
            self._resume_probes()
            while not await self._take_step():
                pass
        finally:
            for task in (writing, *self._probers.values(), *self._tasks):
                task.cancel()
            await asyncio.gather(writing, *self._probers.values(), *self._tasks, return_exceptions=True)

    async def _take_step(self) -> bool:
        """Whether all is over."""
        self._wake.clear()
        wall_now = datetime.now(UTC)
        if self.state.start_time is None:
            self.state = replace(self.state, start_time=wall_now.replace(microsecond=0))
        self._check_deadline(wall_now)
        stopping = lifecycle.must_stop(self.pod, self.state, wall_now=wall_now)
        if stopping:
            self._stop_probes(ProbeKind.LIVENESS, ProbeKind.STARTUP)
        elif self._refuse():
            self.publish()
            await self._wait(None)
            return False
        if self._is_finished:
            return await self._conclude()
        plan = lifecycle.plan_pod(self.pod, self.state, wall_now=wall_now)
        self.publish()
        try:
            for action in plan.actions:
                await self._apply(action)
        except RuntimeGone as error:
            log.warning("pod=%s runtime=gone error=%s", self.pod.text, error)
            self.state = replace(self.state, retry_at=datetime.now(UTC) + timedelta(seconds=RUNTIME_RETRY_SECONDS))
            await asyncio.sleep(RUNTIME_RETRY_SECONDS)
        if not plan.actions:
            await self._wait(plan.wake_at)
        return False

    async def _wait(self, until: datetime | None) -> None:
        seconds = None if until is None else max(0.0, (until - datetime.now(UTC)).total_seconds()) + 0.001
        refresh = self._has_content and self.state.volumes_ready and not self._is_finished
        limit = REFRESH_SECONDS if refresh else None
        timeout = min((s for s in (seconds, limit) if s is not None), default=None)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._wake.wait()
            return
        if refresh and timeout == limit:
            with contextlib.suppress(ContainerError, VolumeError):
                await self._write_volumes(await self._read_sources())

    def _check_deadline(self, wall_now: datetime) -> None:
        past = lifecycle.is_past_deadline(self.pod, self.state, wall_now=wall_now)
        phase = lifecycle.choose_phase(self.pod, self.state)
        if past and self.state.failed is None and phase in ("Pending", "Running"):
            failed = ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
            self.state = replace(self.state, failed=failed)
            self._set_deadline(self.pod.spec.termination_grace_period_seconds)
            self._record("Normal", *failed)

    def _refuse(self) -> bool:
        """This node cannot run the Pod: it waits and says why."""
        refusal = lifecycle.find_refusal(self.pod)
        if not refusal:
            return False
        waiting = ("CreateContainerConfigError", refusal)
        names = [c.name for c in (*self.pod.spec.init_containers, *self.pod.spec.containers)]
        if self.state.find(names[0]).waiting != waiting:
            self._record("Warning", "Failed", f"Error: {refusal}")
        for name in names:
            self.state = self.state.with_container(replace(self.state.find(name), waiting=waiting))
        return True

    async def _apply(self, action: lifecycle.Action) -> None:
        match action:
            case lifecycle.CreateSandbox():
                await self._create_sandbox()
            case lifecycle.StartContainer(name):
                await self._start_container(name)
            case lifecycle.StopContainer(name, message):
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
        self._stop_probes(*ProbeKind)
        self._is_finished = True
        await self._context.runtime.release(self.pod.uid, keep_logs=True)

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
        pod, config = self.pod, self._context.config
        try:
            host = read_host_files(self._context)
            names = make_names(config, pod, host)
            await self._write_volumes(await self._read_sources())
            security = pod.spec.security_context
            sysctls = tuple((s.name.replace(".", "/"), s.value) for s in (security.sysctls if security else ()))
            sandbox = await self._context.runtime.create_sandbox(
                SandboxSpec(
                    uid=pod.uid,
                    namespace=pod.metadata.namespace,
                    name=pod.metadata.name,
                    hostname=names.kernel,
                    host_network=pod.spec.host_network,
                    sysctls=sysctls,
                )
            )
            for reason, message in make_pod_resolver(
                pod, host.resolver, cluster_dns=(config.dns_ip,) if config.dns_ip else (),
                cluster_domain=config.cluster_domain,
            ).warnings:  # fmt: skip
                self._record("Warning", reason, message)
        except RuntimeGone:
            raise
        except VolumeError as error:
            self._retry_sandbox("FailedMount", str(error))
        except (ContainerError, ResolverError) as error:
            self._retry_sandbox("FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}")
        else:
            init = {c.name for c in pod.spec.init_containers}
            kept = {name: own for name, own in self.state.containers.items() if name not in init}
            begun = any(self.state.find(c.name).current is not None for c in pod.spec.containers)
            self.state = replace(
                self.state,
                sandbox=sandbox,
                pod_ips=sandbox.addresses,
                retry_at=None,
                containers=self.state.containers if begun else kept,
            )
            self._mount_retry = MOUNT_RETRY_SECONDS[0]

    def _retry_sandbox(self, reason: str, message: str) -> None:
        self._record("Warning", reason, message)
        self.state = replace(self.state, retry_at=datetime.now(UTC) + timedelta(seconds=self._mount_retry))
        self._mount_retry = min(2 * self._mount_retry, MOUNT_RETRY_SECONDS[1])

    async def _read_sources(self) -> Sources:
        """The ConfigMaps and Secrets that the Pod names and that exist."""
        client, namespace = self._context.client, self.pod.metadata.namespace
        map_names, secret_names = find_sources(self.pod)
        maps: dict[str, dict[str, bytes]] = {}
        secrets: dict[str, dict[str, bytes]] = {}
        for name in sorted(map_names):
            with contextlib.suppress(NotFound):
                found = await client.get(CONFIG_MAPS, name, namespace, as_type=ConfigMap)
                maps[name] = {k: v.encode() for k, v in found.data.items()} | found.binary_data
        for name in sorted(secret_names):
            with contextlib.suppress(NotFound):
                secrets[name] = (await client.get(SECRETS, name, namespace, as_type=Secret)).data
        return Sources(maps, secrets)

    async def _write_volumes(self, sources: Sources) -> None:
        volumes = make_volumes(self._context.config, self.pod, self.state, sources)
        await self._context.runtime.write_volumes(self.pod.uid, volumes)
        self.state = replace(self.state, volumes_ready=True)
        self._has_content = any(isinstance(volume, Content) for volume in volumes)

    async def _start_container(self, name: str) -> None:
        container = self.pod.find_container(name)
        assert container is not None
        own = self.state.find(name)
        try:
            sources = await self._read_sources()
            if not self.state.volumes_ready:
                await self._write_volumes(sources)
            services = await self._context.read_services()
            spec = make_container_spec(
                self._context.config, self.pod, container, self.state,
                services=services, sources=sources, host=read_host_files(self._context),
            )  # fmt: skip
            run = await self._context.runtime.start_container(spec)
        except RuntimeGone:
            raise
        except (EnvError, ContainerError, VolumeError, ResolverError) as error:
            reason = "CreateContainerError" if isinstance(error, ContainerError) else "CreateContainerConfigError"
            self._hold_back(own, reason, str(error))
            return
        await self._take_start(container, own, run)

    def _hold_back(self, own: ContainerState, reason: str, message: str) -> None:
        if own.waiting != (reason, message):
            self._record("Warning", "Failed", f"Error: {message}", own.name)
        retry_at = datetime.now(UTC) + timedelta(seconds=CONFIG_RETRY_SECONDS)
        self.state = self.state.with_container(replace(own, waiting=(reason, message), retry_at=retry_at))

    async def _take_start(self, container: Container, own: ContainerState, run: ContainerRun) -> None:
        run = self._early.pop(run.container_id, run)
        self._record("Normal", "Created", "Container created", own.name)
        if run.reason == "StartError":
            self._record("Warning", "Failed", f"Error: {run.message}", own.name)
        else:
            self._record("Normal", "Started", "Container started", own.name)
        forgotten = own.previous
        own = lifecycle.take_back_off(own, wall_now=datetime.now(UTC))
        started = container.startup_probe is None
        own = replace(
            own, current=run, previous=own.current, waiting=None, retry_at=None, stopping=False,
            started=started and run.is_running,
            ready=started and run.is_running and container.readiness_probe is None,
        )  # fmt: skip
        self.state = self.state.with_container(own)
        self.publish()
        if run.is_running:
            self._start_probes(container, run)
            hook = container.lifecycle.post_start if container.lifecycle else None
            if hook is not None:
                self._spawn(self._run_post_start(container, run, hook))
        if forgotten is not None and forgotten.container_id:
            await self._context.runtime.remove_container(forgotten.container_id)

    async def _run_post_start(self, container: Container, run: ContainerRun, hook: LifecycleHandler) -> None:
        if not await self._run_hook(container, run, hook, timeout_seconds=120.0):
            self._record("Warning", "FailedPostStartHook", "PostStartHook failed", container.name)
            self._begin_stop(container.name, f"FailedPostStartHook: container {container.name} will be restarted")

    def _back_off(self, name: str) -> None:
        own = self.state.find(name)
        message = lifecycle.make_back_off_message(self.pod, own)
        self.state = self.state.with_container(replace(own, waiting=("CrashLoopBackOff", message)))
        text = f"Back-off restarting failed container {name} in pod {self.pod.text}"
        self._record("Warning", "BackOff", text, name)

    # Stopping

    def _begin_stop(self, name: str, message: str, *, grace_seconds: float | None = None) -> None:
        own, container = self.state.find(name), self.pod.find_container(name)
        if own.current is None or not own.is_running or own.stopping or container is None:
            return
        self.state = self.state.with_container(replace(own, stopping=True))
        self._record("Normal", "Killing", message, name)
        self._spawn(self._stop_container(container, own.current, grace_seconds))

    async def _stop_container(self, container: Container, run: ContainerRun, grace_seconds: float | None) -> None:
        """preStop, SIGTERM, the grace, SIGKILL. Rule: spec "node" §2.10 step 3."""
        loop = asyncio.get_running_loop()
        if grace_seconds is None:
            grace_seconds = float(self.pod.spec.termination_grace_period_seconds)
        own_end = loop.time() + grace_seconds
        hook = container.lifecycle.pre_stop if container.lifecycle else None
        if hook is not None and grace_seconds > 0:
            left = max(0.1, self._find_end(own_end) - loop.time())
            if not await self._run_hook(container, run, hook, timeout_seconds=left):
                self._record("Warning", "FailedPreStopHook", "PreStopHook failed", container.name)
        least = loop.time() + lifecycle.MIN_STOP_SECONDS
        await self._context.runtime.stop(Stop(run.container_id))
        ended = self._exit_event(run.container_id)
        while not ended.is_set():
            left = max(self._find_end(own_end), least) - loop.time()
            if left <= 0:
                await self._context.runtime.stop(Stop(run.container_id, kill=True))
                await ended.wait()
                return
            await _wait_any(ended, self._hurry, timeout_seconds=left)

    def _find_end(self, own_end: float) -> float:
        """When the kill is due: the Pod's own end, while it stops, else the container's."""
        return own_end if self._stop_at is None else self._stop_at

    def _exit_event(self, container_id: str) -> asyncio.Event:
        return self._exits.setdefault(container_id, asyncio.Event())

    async def _run_hook(
        self, container: Container, run: ContainerRun, hook: LifecycleHandler, *, timeout_seconds: float
    ) -> bool:
        """Whether the hook went well; what an HTTP server answers does not matter."""
        if hook.sleep is not None:
            await _wait_any(
                self._exit_event(run.container_id), timeout_seconds=min(hook.sleep.seconds, timeout_seconds)
            )
            return True
        probe = Probe(exec=hook.exec, http_get=hook.http_get, tcp_socket=hook.tcp_socket)
        agent = f"kube-lifecycle/{self._short_version}"
        outcome = await self._try_probe(container, run, probe, timeout_seconds=timeout_seconds, agent=agent)
        return outcome.passed or (hook.http_get is not None and outcome.message.startswith("HTTP probe failed"))

    # Probes

    def _resume_probes(self) -> None:
        for container in (*self.pod.spec.init_containers, *self.pod.spec.containers):
            own = self.state.find(container.name)
            if own.current is not None and own.is_running:
                self._start_probes(container, own.current)

    def _start_probes(self, container: Container, run: ContainerRun) -> None:
        """Startup first; the others begin when it has passed."""
        own = self.state.find(container.name)
        for kind, probe in find_probes(container):
            if (kind is ProbeKind.STARTUP) == own.started or (run.container_id, kind) in self._probers:
                continue
            ready = kind is ProbeKind.READINESS and own.ready
            task = asyncio.create_task(self._run_probe(container, run, kind, probe, ready))
            self._probers[run.container_id, kind] = task

    def _stop_probes(self, *kinds: ProbeKind) -> None:
        for key in [key for key in self._probers if key[1] in kinds]:
            self._probers.pop(key).cancel()

    async def _run_probe(
        self, container: Container, run: ContainerRun, kind: ProbeKind, probe: Probe, ready: bool
    ) -> None:
        loop = asyncio.get_running_loop()
        running = (datetime.now(UTC) - run.started_at).total_seconds()
        state = start_probe(kind, probe, running_seconds=running, now=loop.time(), ready=ready)
        while not state.is_done:
            await asyncio.sleep(state.due_at - loop.time())
            at_tick, before = loop.time() >= state.tick_at, state.verdict
            outcome = await self._try_probe(
                container, run, probe, timeout_seconds=probe.timeout_seconds, agent=f"kube-probe/{self._short_version}"
            )
            state = step(state, probe, outcome, max(loop.time(), state.due_at) if at_tick else loop.time())
            if outcome.warning:
                self._record(
                    "Warning", "ProbeWarning", f"{kind.value} probe warning: {outcome.warning}", container.name
                )
            elif not outcome.passed and at_tick:
                verb = "errored" if outcome.error else "failed"
                self._record("Warning", "Unhealthy", f"{kind.value} probe {verb}: {outcome.message}", container.name)
            if state.verdict != before:
                self._take_verdict(container, run, kind, probe, bool(state.verdict))

    def _take_verdict(
        self, container: Container, run: ContainerRun, kind: ProbeKind, probe: Probe, passed: bool
    ) -> None:
        own = self.state.find(container.name)
        if own.current is None or own.current.container_id != run.container_id or not own.is_running:
            return
        if kind is ProbeKind.READINESS:
            self.state = self.state.with_container(replace(own, ready=passed))
            self.publish()
            self._wake.set()
        elif passed and kind is ProbeKind.STARTUP:
            own = replace(own, started=True, ready=container.readiness_probe is None)
            self.state = self.state.with_container(own)
            self._start_probes(container, run)
            self.publish()
            self._wake.set()
        elif not passed:
            message = f"Container {container.name} failed {kind.value.lower()} probe, will be restarted"
            self._begin_stop(container.name, message, grace_seconds=probe.termination_grace_period_seconds)

    async def _try_probe(
        self, container: Container, run: ContainerRun, probe: Probe, *, timeout_seconds: float, agent: str
    ) -> Outcome:
        if probe.exec is not None:
            literal = {entry.name: entry.value for entry in container.env if entry.value_from is None}
            argv = tuple(expand(word, literal.get) for word in probe.exec.command)
            return await self._try_exec(run, argv, timeout_seconds)
        address = (self.state.pod_ips or self._context.config.node_ips)[0]
        if probe.http_get is not None:
            target = _make_target(probe.http_get, container, address)
            if target is None:
                return Outcome(False, f"invalid port: {probe.http_get.port}", error=True)
            return await probe_http(target, timeout_seconds=timeout_seconds, agent=agent)
        if probe.tcp_socket is not None:
            port = resolve_port(probe.tcp_socket.port, container)
            if port is None:
                return Outcome(False, f"invalid port: {probe.tcp_socket.port}", error=True)
            return await probe_tcp(probe.tcp_socket.host or address, port, timeout_seconds=timeout_seconds)
        return Outcome(False, "this kind of probe is not supported on this node", error=True)

    async def _try_exec(self, run: ContainerRun, argv: tuple[str, ...], timeout_seconds: float) -> Outcome:
        try:
            result = await self._context.runtime.exec(run.container_id, argv, timeout_seconds=timeout_seconds)
        except ContainerError as error:
            return Outcome(False, str(error), error=True)
        if result.exit_code is None:
            return Outcome(False, f"command timed out: {' '.join(argv)!r} timed out after {timeout_seconds:g}s")
        return Outcome(result.exit_code == 0, result.output)

    @property
    def _short_version(self) -> str:
        return ".".join(self._context.config.version.removeprefix("v").split(".")[:2])

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

    def _record(self, kind: str, reason: str, message: str, container: str = "") -> None:
        path = make_field_path(self.pod, container) if container else ""
        self._context.record(self.pod, Happening(kind, reason, message, path))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._guard(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guard(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except ContainerError as error:
            log.warning("pod=%s error=%s", self.pod.text, error)


def _make_target(action: HTTPGetAction, container: Container, address: str) -> HTTPTarget | None:
    port = resolve_port(action.port, container)
    if port is None:
        return None
    headers = tuple((header.name, header.value) for header in action.http_headers)
    return HTTPTarget(action.scheme.lower() or "http", action.host or address, port, action.path or "/", headers)


async def _wait_any(*events: asyncio.Event, timeout_seconds: float) -> None:
    """Until one is set or the time is over."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
