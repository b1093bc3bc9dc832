"""What the agent knows of one Pod: its containers' runs, its sandbox, and why something does not run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from seaway.node.podspec import Container, PodManifest, ReportedContainer

UNKNOWN_EXIT_CODE = 137
"""Of a run that ended while nobody watched. Rule: spec "node" §2.5."""
LOST_MESSAGE = "The container could not be located when the pod was terminated"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerRun:
    """A run that was begun. `finished_at` None: it runs. A run that could not begin has reason `StartError`."""

    uid: str
    name: str
    attempt: int
    container_id: str
    started_at: datetime
    finished_at: datetime | None = None
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    image_id: str = ""
    image: str = ""
    """As the Pod named it for this run; "" of a run that only a status tells of."""
    stop_signal: str = ""
    resources: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: MappingProxyType({}))
    """Limits and requests that hold for this run, as its status tells them."""
    user: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """Who it runs as, likewise."""

    @property
    def is_running(self) -> bool:
        return self.finished_at is None


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A Pod's namespaces as they are. `addresses` is empty on the host's network."""

    uid: str
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerState:
    """One container of the Pod over its runs.

    `started`: its startup probe passed, or it has none. `ready`: the readiness probe's verdict, or it has none; both
    speak of `current`. `waiting`: why there is no run, as (reason, message). `back_off_seconds`: how long after its
    end a run may be followed by the next; 0 before the first restart. `in_post_start`: the hook of `current` runs.
    `replaced`: `current` is stopped because the Pod wants another image, whatever its restart policy.
    """

    name: str
    current: ContainerRun | None = None
    previous: ContainerRun | None = None
    started: bool = False
    ready: bool = False
    stopping: bool = False
    in_post_start: bool = False
    replaced: bool = False
    waiting: tuple[str, str] | None = None
    retry_at: datetime | None = None
    back_off_seconds: float = 0.0
    backed_off_at: datetime | None = None

    @property
    def is_running(self) -> bool:
        return self.current is not None and self.current.is_running

    @property
    def has_ended(self) -> bool:
        """It ran, and does not run now."""
        return self.current is not None and not self.current.is_running

    @property
    def next_attempt(self) -> int:
        return 0 if self.current is None else self.current.attempt + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PodState:
    """The Pod on this node. `pod_ips` outlives the sandbox. `failed`: a verdict over the whole Pod, (reason, message).

    `stop_by`: when what still runs is killed. `removed`: the object is gone from the API, or was refused there.
    `is_rejected`: `failed` is why the node did not take it.
    """

    containers: Mapping[str, ContainerState] = field(default_factory=lambda: MappingProxyType({}))
    sandbox: Sandbox | None = None
    pod_ips: tuple[str, ...] = ()
    start_time: datetime | None = None
    stop_by: datetime | None = None
    failed: tuple[str, str] | None = None
    removed: bool = False
    is_rejected: bool = False
    retry_at: datetime | None = None
    is_adopted: bool = False

    def find(self, name: str) -> ContainerState:
        """The container's state; an empty one before its first run."""
        return self.containers.get(name) or ContainerState(name=name)

    def with_container(self, container: ContainerState) -> PodState:
        """The state with one container replaced."""
        return replace(self, containers=MappingProxyType({**self.containers, container.name: container}))

    def with_sandbox(self, pod: PodManifest, sandbox: Sandbox) -> PodState:
        """The state in a new sandbox. Before the first container has begun, the init containers run once more."""
        init = {container.name for container in pod.spec.init_containers}
        begun = any(self.find(container.name).current is not None for container in pod.spec.containers)
        kept = {name: own for name, own in self.containers.items() if begun or name not in init}
        return replace(
            self, sandbox=sandbox, pod_ips=sandbox.addresses, retry_at=None, containers=MappingProxyType(kept)
        )

    @property
    def is_anything_running(self) -> bool:
        return any(container.is_running for container in self.containers.values())


def recover_state(pod: PodManifest, sandbox: Sandbox | None, runs: Iterable[ContainerRun]) -> PodState:
    """The state that a new agent starts from: what the runtime holds, completed by what was last reported.

    A container that was reported as running and that the runtime does not know has ended with an unknown result.
    Rule: spec "node" §3.5.
    """
    by_name: dict[str, list[ContainerRun]] = {}
    for run in sorted(runs, key=lambda run: run.attempt):
        by_name.setdefault(run.name, []).append(run)
    status = pod.status
    told = (*status.container_statuses, *status.init_container_statuses, *status.ephemeral_container_statuses)
    reported = {r.name: r for r in told}
    containers = {}
    for container in pod.every_container:
        state = _recover_container(pod.uid, container, by_name.get(container.name, []), reported.get(container.name))
        if state is not None:
            containers[container.name] = state
    start_time = parse_time(pod.status.start_time)
    addresses = sandbox.addresses if sandbox is not None else ()
    return PodState(
        containers=MappingProxyType(containers),
        sandbox=sandbox,
        pod_ips=addresses or tuple(ip.ip for ip in pod.status.pod_ips),
        start_time=start_time,
        is_adopted=bool(containers),
    )


def _recover_container(
    uid: str, container: Container, runs: list[ContainerRun], reported: ReportedContainer | None
) -> ContainerState | None:
    if runs:
        current = runs[-1]
        previous = runs[-2] if len(runs) > 1 else _reported_run(uid, reported, is_last=True)
        same = reported is not None and reported.container_id.endswith(current.container_id)
        started = container.startup_probe is None or (same and bool(reported and reported.started))
        ready = container.readiness_probe is None or (same and bool(reported and reported.ready))
        return ContainerState(
            name=container.name, current=current, previous=previous, started=started, ready=started and ready
        )
    current_run = _reported_run(uid, reported, is_last=False)
    if current_run is None:
        return None
    return ContainerState(name=container.name, current=current_run, previous=_reported_run(uid, reported, is_last=True))


def _reported_run(uid: str, reported: ReportedContainer | None, *, is_last: bool) -> ContainerRun | None:
    """The run that a status tells of, ended; None when it tells of none."""
    if reported is None:
        return None
    state = reported.last_state if is_last else reported.state
    attempt = reported.restart_count - 1 if is_last else reported.restart_count
    if state.terminated is not None:
        ended = state.terminated
        finished = parse_time(ended.finished_at) or datetime.fromtimestamp(0, UTC)
        return ContainerRun(
            uid=uid, name=reported.name, attempt=attempt, container_id=ended.container_id.rpartition("/")[2],
            started_at=parse_time(ended.started_at) or finished, finished_at=finished,
            exit_code=ended.exit_code, reason=ended.reason, message=ended.message,
        )  # fmt: skip
    if is_last or (state.running is None and not reported.container_id):
        return None
    started = parse_time(state.running.started_at if state.running else None) or datetime.fromtimestamp(0, UTC)
    return ContainerRun(
        uid=uid, name=reported.name, attempt=attempt, container_id=reported.container_id.rpartition("/")[2],
        started_at=started, finished_at=started, exit_code=UNKNOWN_EXIT_CODE, reason="ContainerStatusUnknown",
        message=LOST_MESSAGE,
    )  # fmt: skip


def parse_time(text: str | None) -> datetime | None:
    """A timestamp of the API in UTC, or None."""
    return datetime.fromisoformat(text).astimezone(UTC) if text else None


def format_time(moment: datetime) -> str:
    """As the API stores it: whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
