"""Runs the probes of one Pod: a task per probe of a run, which waits, tries, and tells each change of the verdict.

`probes.py` says when a try is due and what a row of results means. Rule: spec "node" §2.8.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from seaway.node.envvars import expand
from seaway.node.podspec import Container, HTTPGetAction, LifecycleHandler, Probe
from seaway.node.probes import Outcome, ProbeKind, find_probes, resolve_port, start_probe, step
from seaway.node.probing.transport import HTTPTarget, probe_grpc, probe_http, probe_tcp
from seaway.node.runtime.contract import ContainerError, Runtime
from seaway.node.state import ContainerRun, ContainerState

ERROR_TRIES = 3
"""How often a probe is tried that cannot be made. Rule: spec "node" §2.8."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a probe of a run says from now on."""

    container: Container
    run: ContainerRun
    kind: ProbeKind
    probe: Probe
    passed: bool


class Prober:
    """One attempt at a time at what a probe or hook asks for. find_address: where the Pod is reached now."""

    def __init__(self, runtime: Runtime, *, version: str, find_address: Callable[[], str]) -> None:
        self._runtime = runtime
        self._short_version = ".".join(version.removeprefix("v").split(".")[:2])
        self._find_address = find_address

    async def attempt(self, container: Container, run: ContainerRun, probe: Probe) -> Outcome:
        """One try, and more at once as long as the probe itself cannot be made. Never raises."""
        outcome = await self._try(container, run, probe)
        for _ in range(ERROR_TRIES - 1):
            if not outcome.error:
                break
            outcome = await self._try(container, run, probe)
        return outcome

    async def _try(self, container: Container, run: ContainerRun, probe: Probe) -> Outcome:
        seconds = float(probe.timeout_seconds)
        if probe.exec is not None:
            literal = {entry.name: entry.value for entry in container.env if entry.value_from is None}
            argv = tuple(expand(word, literal.get) for word in probe.exec.command)
            return await self._exec(run, argv, seconds)
        if probe.http_get is not None:
            return await self._ask(container, probe.http_get, "kube-probe", timeout_seconds=seconds)
        if probe.tcp_socket is not None:
            port = resolve_port(probe.tcp_socket.port, container)
            if port is None:
                return Outcome(False, f"invalid port: {probe.tcp_socket.port}", error=True)
            return await probe_tcp(probe.tcp_socket.host or self._find_address(), port, timeout_seconds=seconds)
        if probe.grpc is not None:
            agent = f"kube-probe/{self._short_version}"
            return await probe_grpc(
                self._find_address(), probe.grpc.port, probe.grpc.service, timeout_seconds=seconds, agent=agent
            )
        return Outcome(False, "missing probe handler", error=True)

    async def call(self, container: Container, run: ContainerRun, hook: LifecycleHandler) -> Outcome:
        """One call of a hook, without a limit of its own: whoever waits cancels it. What an HTTP server answers does
        not matter. Never raises. Rule: spec "node" §2.10.
        """
        if hook.sleep is not None:
            await asyncio.sleep(hook.sleep.seconds)
            return Outcome(True)
        if hook.exec is not None:
            return await self._exec(run, hook.exec.command, None)
        if hook.http_get is not None:
            outcome = await self._ask(container, hook.http_get, "kube-lifecycle", timeout_seconds=None, is_hook=True)
            return replace(outcome, passed=True) if outcome.message.startswith("HTTP probe failed") else outcome
        return Outcome(False, "this kind of hook is not supported on this node", error=True)

    async def _ask(
        self,
        container: Container,
        action: HTTPGetAction,
        agent: str,
        *,
        timeout_seconds: float | None,
        is_hook: bool = False,
    ) -> Outcome:
        target = _make_target(action, container, self._find_address())
        if target is None:
            return Outcome(False, f"invalid port: {action.port}", error=True)
        agent = f"{agent}/{self._short_version}"
        return await probe_http(target, timeout_seconds=timeout_seconds, agent=agent, may_fall_back=is_hook)

    async def _exec(self, run: ContainerRun, argv: tuple[str, ...], timeout_seconds: float | None) -> Outcome:
        try:
            result = await self._runtime.exec(run.container_id, argv, timeout_seconds=timeout_seconds)
        except ContainerError as error:
            return Outcome(False, str(error), error=True)
        if result.exit_code is None:
            return Outcome(False, f"command timed out: {' '.join(argv)!r} timed out after {timeout_seconds or 0:g}s")
        return Outcome(result.exit_code == 0, result.output)


class ProbeRunner:
    """The probes of one Pod's runs. warn: records a Warning as (reason, message, container's name)."""

    def __init__(
        self, prober: Prober, *, take_verdict: Callable[[Verdict], None], warn: Callable[[str, str, str], None]
    ) -> None:
        self._prober = prober
        self._take_verdict = take_verdict
        self._warn = warn
        self._tasks: dict[tuple[str, ProbeKind], asyncio.Task[None]] = {}

    def start(self, container: Container, run: ContainerRun, own: ContainerState) -> None:
        """Startup first; the others begin when it has passed. Those that run already go on."""
        for kind, probe in find_probes(container):
            if (kind is ProbeKind.STARTUP) == own.started or (run.container_id, kind) in self._tasks:
                continue
            ready = kind is ProbeKind.READINESS and own.ready
            task = asyncio.create_task(self._run(container, run, kind, probe, ready))
            self._tasks[run.container_id, kind] = task

    def stop(self, *kinds: ProbeKind) -> None:
        """No more probes of these kinds."""
        self._cancel([key for key in self._tasks if key[1] in kinds])

    def end_run(self, container_id: str) -> None:
        """No more probes of this run."""
        self._cancel([key for key in self._tasks if key[0] == container_id])

    async def close(self) -> None:
        """Returns when no probe is under way."""
        tasks = tuple(self._tasks.values())
        self._cancel(list(self._tasks))
        await asyncio.gather(*tasks, return_exceptions=True)

    def _cancel(self, keys: list[tuple[str, ProbeKind]]) -> None:
        for key in keys:
            self._tasks.pop(key).cancel()

    async def _run(self, container: Container, run: ContainerRun, kind: ProbeKind, probe: Probe, ready: bool) -> None:
        loop = asyncio.get_running_loop()
        running = (datetime.now(UTC) - run.started_at).total_seconds()
        state = start_probe(kind, probe, running_seconds=running, now=loop.time(), ready=ready)
        while not state.is_done:
            await asyncio.sleep(state.due_at - loop.time())
            at_tick, before = loop.time() >= state.tick_at, state.verdict
            outcome = await self._prober.attempt(container, run, probe)
            state = step(state, probe, outcome, max(loop.time(), state.due_at) if at_tick else loop.time())
            if outcome.warning:
                self._warn("ProbeWarning", f"{kind.value} probe warning: {outcome.warning}", container.name)
            elif not outcome.passed and at_tick:
                verb = "errored and resulted in unknown state" if outcome.error else "failed"
                self._warn("Unhealthy", f"{kind.value} probe {verb}: {outcome.message}", container.name)
            if state.verdict != before:
                self._take_verdict(Verdict(container, run, kind, probe, bool(state.verdict)))


def _make_target(action: HTTPGetAction, container: Container, address: str) -> HTTPTarget | None:
    port = resolve_port(action.port, container)
    if port is None:
        return None
    headers = tuple((header.name, header.value) for header in action.http_headers)
    return HTTPTarget(action.scheme.lower() or "http", action.host or address, port, action.path or "/", headers)
