"""A Pod's state machine: from what is wanted and what is there to the next actions.

Level-based: the whole state is read each time, actions are carried out one after the other, and a plan for a Pod that
is as it should be has none. Rule: spec "node" §2.4 (start), §2.10 (termination), §2.11 (back-off), §2.12 (init).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from seaway.node.podspec import Container, PodManifest, RestartRule, list_host_ports
from seaway.node.runtime.images.values import Image
from seaway.node.state import ContainerRun, ContainerState, PodState

FIRST_BACK_OFF_SECONDS = 10.0
MAX_BACK_OFF_SECONDS = 300.0
BACK_OFF_RESET_SECONDS = 600.0
MIN_STOP_SECONDS = 2.0
"""What a container is given between the stop signal and the kill, however little is left."""


@dataclass(frozen=True, slots=True)
class CreateSandbox:
    """Make volumes, namespaces and the network."""


@dataclass(frozen=True, slots=True)
class StartContainer:
    name: str


@dataclass(frozen=True, slots=True)
class StopContainer:
    """Stop gracefully, in the background; the end of the run is an event. after: who ends before the signal."""

    name: str
    message: str
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReplaceContainer:
    """Stop a run of an image that the Pod does not want any more; the next run follows without a back-off."""

    name: str
    message: str


@dataclass(frozen=True, slots=True)
class BackOff:
    """The container waits; said once per wait."""

    name: str


@dataclass(frozen=True, slots=True)
class RemoveSandbox:
    """Nothing runs any more: the namespaces and the network go."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The Pod is over on this node: last status, then (when it is being deleted) the object goes."""


Action = CreateSandbox | StartContainer | StopContainer | ReplaceContainer | BackOff | RemoveSandbox | Finish


@dataclass(frozen=True, slots=True)
class PodPlan:
    """Actions in the order to carry them out; `wake_at` is when to plan again if nothing happens."""

    actions: tuple[Action, ...] = ()
    wake_at: datetime | None = None


def plan_pod(pod: PodManifest, state: PodState, *, wall_now: datetime) -> PodPlan:
    """What to do next. Rule: spec "node" §2.2 (sync, terminating, terminated), §2.4."""
    if must_stop(pod, state, wall_now=wall_now):
        return _plan_stop(pod, state)
    if state.retry_at is not None and wall_now < state.retry_at:
        return PodPlan(wake_at=state.retry_at)
    if state.sandbox is None:
        return PodPlan((CreateSandbox(),))
    plan = _plan_start(pod, state, wall_now)
    return _with_deadline(plan, pod, state)


def must_stop(pod: PodManifest, state: PodState, *, wall_now: datetime) -> bool:
    """The Pod is being deleted, is gone from the API, has failed as a whole, or is over."""
    return (
        state.removed
        or pod.metadata.deletion_timestamp is not None
        or state.failed is not None
        or is_past_deadline(pod, state, wall_now=wall_now)
        or choose_phase(pod, state) in ("Succeeded", "Failed")
    )


def is_past_deadline(pod: PodManifest, state: PodState, *, wall_now: datetime) -> bool:
    """`activeDeadlineSeconds` have gone by since the Pod's start time."""
    end = _deadline(pod, state)
    return end is not None and wall_now >= end


def _deadline(pod: PodManifest, state: PodState) -> datetime | None:
    seconds = pod.spec.active_deadline_seconds
    if seconds is None or state.start_time is None:
        return None
    return state.start_time + timedelta(seconds=seconds)


def _with_deadline(plan: PodPlan, pod: PodManifest, state: PodState) -> PodPlan:
    moments = [moment for moment in (plan.wake_at, _deadline(pod, state)) if moment is not None]
    return replace(plan, wake_at=min(moments, default=None))


def _plan_stop(pod: PodManifest, state: PodState) -> PodPlan:
    """All at once, but a sidecar gets its signal after the others and after those declared later.

    Its preStop hook does not wait. Rule: spec "node" §2.10 step 3.
    """
    sidecars = [c.name for c in reversed(pod.spec.init_containers) if c.is_sidecar]
    regular = [c.name for c in pod.every_container if c.name not in sidecars]
    running = [name for name in (*regular, *sidecars) if state.find(name).is_running]
    if running:
        return PodPlan(
            tuple(
                StopContainer(name, f"Stopping container {name}", tuple(running[:at]) if name in sidecars else ())
                for at, name in enumerate(running)
                if not state.find(name).stopping
            )
        )
    if state.sandbox is not None:
        return PodPlan((RemoveSandbox(),))
    return PodPlan((Finish(),))


def _plan_start(pod: PodManifest, state: PodState, wall_now: datetime) -> PodPlan:
    """Nothing starts while a postStart hook runs: what comes after a container may rely on its hook.

    Rule: spec "node" §2.4 step 7 (ephemeral containers first; start, then the hook, then the next container).
    """
    debuggers = (c for c in pod.spec.ephemeral_containers if state.find(c.name).current is None)
    plans = [_plan_container(pod, c, state.find(c.name), wall_now) for c in debuggers]
    plans.append(_plan_declared(pod, state, wall_now))
    blocked = any(own.in_post_start for own in state.containers.values())
    actions: list[Action] = []
    for action in (action for plan in plans for action in plan.actions):
        if isinstance(action, StartContainer):
            if blocked:
                continue
            container = pod.find_container(action.name)
            blocked = bool(container and container.lifecycle and container.lifecycle.post_start)
        actions.append(action)
    return PodPlan(tuple(actions), min((plan.wake_at for plan in plans if plan.wake_at is not None), default=None))


def _plan_declared(pod: PodManifest, state: PodState, wall_now: datetime) -> PodPlan:
    begun = any(state.find(c.name).current is not None for c in pod.spec.containers)
    for container in pod.spec.init_containers:
        own = state.find(container.name)
        if container.is_sidecar:
            if own.is_running and own.started and not is_outdated(container, own):
                continue
            plan = _plan_container(pod, container, own, wall_now)
            if not begun:
                return plan
            if plan.actions:
                return plan
        elif not begun and not _has_succeeded(own):
            return _plan_container(pod, container, own, wall_now)
    plans = [_plan_container(pod, c, state.find(c.name), wall_now) for c in pod.spec.containers]
    actions = tuple(action for plan in plans for action in plan.actions)
    return PodPlan(actions, min((plan.wake_at for plan in plans if plan.wake_at is not None), default=None))


def _plan_container(pod: PodManifest, container: Container, own: ContainerState, wall_now: datetime) -> PodPlan:
    if own.is_running:
        if not is_outdated(container, own) or own.stopping:
            return PodPlan()
        message = f"Container {container.name} definition changed, will be restarted"
        return PodPlan((ReplaceContainer(container.name, message),))
    if own.retry_at is not None and wall_now < own.retry_at:
        return PodPlan(wake_at=own.retry_at)
    if own.current is None:
        return PodPlan((StartContainer(container.name),))
    if not will_restart(pod, container, own):
        return PodPlan()
    due = wall_now if is_outdated(container, own) else find_restart_time(own)
    if due <= wall_now:
        return PodPlan((StartContainer(container.name),))
    said = own.waiting is not None and own.waiting[0] == "CrashLoopBackOff"
    return PodPlan(() if said else (BackOff(container.name),), due)


def is_outdated(container: Container, own: ContainerState) -> bool:
    """The last run is of another image than the Pod wants. Rule: spec "node" §2.4 (hash of name and image)."""
    return own.current is not None and own.current.image not in ("", container.image)


def choose_stop_signal(container: Container, image: Image | None) -> str:
    """The Pod's word, else the image's, else "". Rule: spec "node" §2.10 step 3d."""
    own = container.lifecycle.stop_signal if container.lifecycle is not None else ""
    return own or (image.stop_signal if image is not None else "")


def _has_succeeded(own: ContainerState) -> bool:
    return own.current is not None and own.has_ended and own.current.exit_code == 0


def will_restart(pod: PodManifest, container: Container, own: ContainerState) -> bool:
    """The container's run that has ended will be followed by another. Rule: spec "node" §2.11."""
    if pod.metadata.deletion_timestamp is not None or own.current is None:
        return False
    if pod.is_ephemeral(container.name):
        return False
    if own.replaced or any(_applies(rule, own.current.exit_code) for rule in container.restart_policy_rules):
        return True
    is_init = any(c.name == container.name for c in pod.spec.init_containers)
    policy = container.restart_policy
    if not policy:
        policy = "OnFailure" if is_init and pod.spec.restart_policy == "Always" else pod.spec.restart_policy
    return policy == "Always" or (policy == "OnFailure" and own.current.exit_code != 0)


def _applies(rule: RestartRule, exit_code: int) -> bool:
    """A rule that only restarts; one that restarts the whole Pod is refused (`find_refusal`)."""
    codes = rule.exit_codes
    if rule.action != "Restart" or codes is None:
        return False
    return exit_code in codes.values if codes.operator == "In" else exit_code not in codes.values


def find_restart_time(own: ContainerState) -> datetime:
    """When the back-off of an ended run is over."""
    assert own.current is not None and own.current.finished_at is not None
    return own.current.finished_at + timedelta(seconds=own.back_off_seconds)


def take_back_off(own: ContainerState, *, wall_now: datetime, is_new: bool = False) -> ContainerState:
    """The state after the decision to start: the first start costs nothing, each restart doubles the next wait.

    is_new: with another image, for which the row of waits begins again.
    """
    if own.current is None:
        return own
    ended, decided = own.current.finished_at, own.backed_off_at
    rested = ended is not None and decided is not None and ended - decided > timedelta(seconds=BACK_OFF_RESET_SECONDS)
    if rested or is_new or not own.back_off_seconds:
        seconds = FIRST_BACK_OFF_SECONDS
    else:
        seconds = min(2 * own.back_off_seconds, MAX_BACK_OFF_SECONDS)
    return replace(own, back_off_seconds=seconds, backed_off_at=wall_now)


def take_start(container: Container, own: ContainerState, run: ContainerRun, *, wall_now: datetime) -> ContainerState:
    """The state after the run was begun. What no probe decides is decided."""
    own = take_back_off(own, wall_now=wall_now, is_new=is_outdated(container, own))
    started = container.startup_probe is None and run.is_running
    return replace(
        own,
        current=run,
        previous=own.current,
        waiting=None,
        retry_at=None,
        stopping=False,
        replaced=False,
        in_post_start=run.is_running and container.lifecycle is not None and container.lifecycle.post_start is not None,
        started=started,
        ready=started and container.readiness_probe is None,
    )


def make_back_off_message(pod: PodManifest, own: ContainerState) -> str:
    """The text of the waiting state. Rule: spec "node" §2.11."""
    return f"back-off {format_duration(own.back_off_seconds)} restarting failed container={own.name} pod={pod.text}"


def format_duration(seconds: float) -> str:
    """As Go prints it: `10s`, `1m20s`, `5m0s`."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


PULL_MEND = (
    'nothing is pulled on this node: import it with "seaway image import FILE", name a program of the host with '
    '"seaway image alias NAME=/PATH", or set command'
)


@dataclass(frozen=True, slots=True)
class Held:
    """Why a container does not start: as its waiting state says it, and the events, as (type, reason, message)."""

    waiting: tuple[str, str]
    events: tuple[tuple[str, str, str], ...]


def hold_back(own: ContainerState, reason: str, message: str, image: str) -> Held:
    """What is told of a start that could not be. What was told last time is not told again.

    Rule: spec "node" §2.4 (events, image waiting reasons).
    """
    if reason != "ErrImagePull":
        waiting = (reason, message)
        if own.waiting == waiting:
            return Held(waiting, ())
        named = (("Warning", reason, message),) if reason == "ErrImageNeverPull" else ()
        return Held(waiting, (*named, ("Warning", "Failed", f"Error: {message if not named else reason}")))
    if own.waiting is None or own.waiting[0] not in ("ErrImagePull", "ImagePullBackOff"):
        failed = ("Warning", "Failed", f'Failed to pull image "{image}": {message}')
        return Held((reason, message), (failed, ("Warning", "Failed", "Error: ErrImagePull")))
    waiting = ("ImagePullBackOff", f'Back-off pulling image "{image}": ErrImagePull: {message}')
    if own.waiting == waiting:
        return Held(waiting, ())
    events = (
        ("Normal", "BackOff", f'Back-off pulling image "{image}"'),
        ("Warning", "Failed", "Error: ImagePullBackOff"),
    )
    return Held(waiting, events)


def choose_phase(pod: PodManifest, state: PodState) -> str:
    """The phase. It never leaves Succeeded or Failed. Rule: spec "node" §2.6."""
    if state.failed is not None:
        return "Failed"
    if pod.status.phase in ("Succeeded", "Failed"):
        return pod.status.phase
    is_over = (pod.metadata.deletion_timestamp is not None or state.removed) and not state.is_anything_running
    owns = [(c, state.find(c.name)) for c in pod.spec.containers]
    begun = any(own.current is not None for _, own in owns)
    for container in pod.spec.init_containers:
        own = state.find(container.name)
        if container.is_sidecar:
            if not begun and not own.started and not is_over:
                return "Pending"
        elif own.has_ended and not _has_succeeded(own) and not will_restart(pod, container, own):
            return "Failed"
        elif not begun and not _has_succeeded(own) and not is_over:
            return "Pending"
    if any(own.current is None for _, own in owns):
        return "Failed" if is_over and state.sandbox is None else "Pending"
    sidecars = [state.find(c.name) for c in pod.spec.init_containers if c.is_sidecar]
    if any(own.is_running for own in (*(own for _, own in owns), *sidecars)) and not _all_over(pod, state):
        return "Running"
    if any(will_restart(pod, c, own) for c, own in owns):
        return "Running"
    return "Succeeded" if all(_has_succeeded(own) for _, own in owns) else "Failed"


def choose_reported_phase(pod: PodManifest, state: PodState) -> str:
    """The phase for the status: not terminal as long as something runs, or a Job would start another beside it.

    Rule: spec "node" §3.1 (ours is terminal, but containers may still run).
    """
    phase = choose_phase(pod, state)
    if phase in ("Succeeded", "Failed") and state.is_anything_running:
        return pod.status.phase or "Pending"
    return phase


def _all_over(pod: PodManifest, state: PodState) -> bool:
    """Every regular container has ended for good: sidecars do not keep a Pod alive."""
    return all(
        state.find(c.name).has_ended and not will_restart(pod, c, state.find(c.name)) for c in pod.spec.containers
    )


def find_refusal(pod: PodManifest) -> str:
    """Why this node cannot run the Pod at all, or "". Such a Pod stays pending. Rule: spec "node" §2.9."""
    spec = pod.spec
    if spec.runtime_class_name:
        return f"runtimeClassName {spec.runtime_class_name}: this node has no runtime classes"
    if spec.host_pid or spec.host_ipc:
        return "hostPID and hostIPC are not supported on this node"
    if any(container.volume_devices for container in (*spec.containers, *spec.init_containers)):
        return "block devices are not supported on this node"
    loopback = next((port for port in list_host_ports(pod) if port[1] == "::1"), None)
    if loopback is not None and not spec.host_network:
        return f"hostPort {loopback[2]} of hostIP ::1: the kernel cannot translate it; use 127.0.0.1, or no hostIP"
    rules = (rule for container in pod.every_container for rule in container.restart_policy_rules)
    if any(rule.action != "Restart" for rule in rules):
        return "restartPolicyRules: this node has no action but Restart"
    return ""


def choose_groups(pod: PodManifest) -> tuple[int, ...]:
    """Groups of every program of the Pod besides its first: the owner of the volumes is one. Sorted."""
    security = pod.spec.security_context
    if security is None:
        return ()
    return tuple(sorted({*security.supplemental_groups, *(() if security.fs_group is None else (security.fs_group,))}))


def merges_groups(pod: PodManifest) -> bool:
    """What an image's own files say of the user's groups counts too. Rule: upstream's supplementalGroupsPolicy."""
    security = pod.spec.security_context
    return security is None or security.supplemental_groups_policy != "Strict"


@dataclass(frozen=True, slots=True)
class ProcessUser:
    """Whom a container runs as. None: the runtime's default."""

    user: int | None
    group: int | None


def choose_user(
    pod: PodManifest, container: Container, *, sandboxed: bool, own_ids: ProcessUser | None = None
) -> ProcessUser | str:
    """The user, or why the container is refused. own_ids: those of the image, when it has files of its own.

    Rule: spec "node" §2.9; with one mapped user only 0 exists.
    """
    contexts = [c for c in (container.security_context, pod.spec.security_context) if c is not None]
    user = next((c.run_as_user for c in contexts if c.run_as_user is not None), None)
    group = next((c.run_as_group for c in contexts if c.run_as_group is not None), None)
    non_root = next((c.run_as_non_root for c in contexts if c.run_as_non_root is not None), False)
    if any(c.privileged for c in contexts):
        return "privileged containers are not supported on this node"
    if sandboxed and (user or group):
        return f"user {user if user else group} does not exist here: the sandbox maps one user, as 0; leave it out"
    if own_ids is not None:
        if sandboxed and user is None and own_ids.user:
            return f"user {own_ids.user} of the image does not exist here: the sandbox maps one user; set runAsUser: 0"
        if user is None:
            user = own_ids.user
            group = own_ids.group if group is None and not sandboxed else group
    if non_root and (user == 0 or (user is None and sandboxed)):
        is_said = any(c.run_as_user == 0 for c in contexts)
        breach = (
            "container's runAsUser breaks non-root policy"
            if is_said
            else "container has runAsNonRoot and image will run as root"
        )
        return f'{breach} (pod: "{pod.text}", container: {container.name})'
    return ProcessUser(user, group)
