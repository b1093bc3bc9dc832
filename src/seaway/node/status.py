"""The status of a Pod as it is written: phase, conditions, container statuses, addresses.

Everything is in one write: an endpoint must never see a ready Pod without its address. Conditions of other owners are
never written. Times are whole seconds, so that equal states give equal bodies.
Rule: spec "node" §2.5 (containers), §2.6, §2.7 (conditions), §3.1 (patch).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from seaway.node.evictions import REASON as EVICTED
from seaway.node.lifecycle import choose_phase, choose_reported_phase, will_restart
from seaway.node.podspec import Container, PodManifest, ReportedCondition
from seaway.node.state import LOST_MESSAGE, UNKNOWN_EXIT_CODE, ContainerRun, ContainerState, PodState, format_time

Json = dict[str, Any]

OWNED_CONDITIONS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
RUNTIME_SCHEME = "process"
MAX_POD_MESSAGE_BYTES = 12 * 1024
"""Of the last words of all containers together. Rule: spec "node" §2.13."""


def make_pod_status(
    pod: PodManifest,
    state: PodState,
    *,
    host_ips: Sequence[str],
    written: Mapping[str, Any] | None,
    wall_now: datetime,
) -> Json:
    """The status of the Pod now. written: the status of the last write, whose transition times are kept."""
    if state.is_rejected:
        return _make_rejected_status(pod, state, wall_now)
    phase = choose_reported_phase(pod, state)
    status: Json = {
        "phase": phase,
        "conditions": _make_conditions(pod, state, phase, written, wall_now),
        "hostIP": host_ips[0],
        "hostIPs": [{"ip": address} for address in host_ips],
        "startTime": format_time(state.start_time or wall_now),
        "containerStatuses": sorted(
            (_make_container_status(pod, c, state) for c in pod.spec.containers), key=lambda c: str(c["name"])
        ),
    }
    if pod.metadata.generation:
        status["observedGeneration"] = pod.metadata.generation
    if pod.spec.init_containers:
        status["initContainerStatuses"] = [_make_container_status(pod, c, state) for c in pod.spec.init_containers]
    if pod.spec.ephemeral_containers:
        debuggers = [_make_container_status(pod, c, state) for c in pod.spec.ephemeral_containers]
        status["ephemeralContainerStatuses"] = sorted(debuggers, key=lambda c: str(c["name"]))
    addresses = tuple(host_ips) if pod.spec.host_network and state.sandbox else state.pod_ips
    if addresses:
        status["podIP"] = addresses[0]
        status["podIPs"] = [{"ip": address} for address in addresses]
    if state.failed is not None and phase == "Failed":
        status["reason"], status["message"] = state.failed
    return status


def _make_rejected_status(pod: PodManifest, state: PodState, wall_now: datetime) -> Json:
    """Of a Pod that was not taken: no address, no container. Rule: spec "node" §2.6."""
    assert state.failed is not None
    reason, message = state.failed
    status: Json = {
        "phase": "Failed",
        "reason": reason,
        "message": f"Pod was rejected: {message}",
        "startTime": format_time(state.start_time or wall_now),
        "conditions": [],
    }
    if pod.metadata.generation:
        status["observedGeneration"] = pod.metadata.generation
    return status


def _make_container_status(pod: PodManifest, container: Container, state: PodState) -> Json:
    own = state.find(container.name)
    run = own.current
    now, last = _make_states(pod, container, own, state)
    status: Json = {
        "name": container.name,
        "image": run.image if run is not None and run.image else container.image,
        "imageID": run.image_id if run is not None else "",
        "ready": is_container_ready(pod, container, own),
        "restartCount": run.attempt if run is not None else 0,
        "started": own.is_running and own.started,
        "state": now,
        "lastState": last,
    }
    if run is not None and run.stop_signal:
        status["stopSignal"] = run.stop_signal
    if container.resources.requests:
        status["allocatedResources"] = dict(sorted(container.resources.requests.items()))
    if run is not None and run.is_running and run.resources:
        status["resources"] = {kind: dict(amounts) for kind, amounts in run.resources.items()}
    if run is not None and run.is_running and run.user:
        status["user"] = dict(run.user)
    if run is not None and run.container_id:
        status["containerID"] = f"{RUNTIME_SCHEME}://{run.container_id}"
    return status


def _was_never_begun(pod: PodManifest, state: PodState, container: Container) -> bool:
    """The Pod is over, was initialized, and never came to this container."""
    is_over = state.sandbox is None and choose_phase(pod, state) in ("Succeeded", "Failed")
    is_init = any(c.name == container.name for c in pod.spec.init_containers)
    begun = any(state.find(c.name).current is not None for c in pod.spec.containers)
    return is_over and begun and not is_init and not pod.is_ephemeral(container.name)


def _make_states(pod: PodManifest, container: Container, own: ContainerState, state: PodState) -> tuple[Json, Json]:
    run = own.current
    if run is None and _was_never_begun(pod, state, container):
        # Rule: spec "node" §2.5 (ContainerStatusUnknown), §2.6: in the end, what never started has failed
        lost = {"exitCode": UNKNOWN_EXIT_CODE, "reason": "ContainerStatusUnknown", "message": LOST_MESSAGE}
        return {"terminated": {**lost, "startedAt": None, "finishedAt": None}}, {}
    if run is None:
        reason, message = own.waiting or ("PodInitializing" if pod.spec.init_containers else "ContainerCreating", "")
        waiting = {"reason": reason} | ({"message": message} if message else {})
        return {"waiting": waiting}, {}
    limit = MAX_POD_MESSAGE_BYTES // len(pod.every_container)
    last = {"terminated": _make_terminated(own.previous, limit)} if own.previous is not None else {}
    if run.is_running:
        return {"running": {"startedAt": format_time(run.started_at)}}, last
    if own.waiting is not None and will_restart(pod, container, own):
        reason, message = own.waiting
        return {"waiting": {"reason": reason, "message": message}}, {"terminated": _make_terminated(run, limit)}
    return {"terminated": _make_terminated(run, limit)}, last


def _make_terminated(run: ContainerRun, max_message_bytes: int) -> Json:
    assert run.finished_at is not None
    terminated: Json = {
        "exitCode": run.exit_code,
        "reason": run.reason or ("Completed" if run.exit_code == 0 else "Error"),
        "startedAt": format_time(run.started_at),
        "finishedAt": format_time(run.finished_at),
    }
    if run.container_id:
        terminated["containerID"] = f"{RUNTIME_SCHEME}://{run.container_id}"
    if run.message:
        terminated["message"] = run.message.encode()[:max_message_bytes].decode(errors="ignore")
    return terminated


def is_container_ready(pod: PodManifest, container: Container, own: ContainerState) -> bool:
    """Rule: spec "node" §2.5. An init container is ready when it has ended well."""
    if pod.is_ephemeral(container.name):
        return False
    is_init = any(c.name == container.name for c in pod.spec.init_containers)
    if is_init and not container.is_sidecar:
        return own.current is not None and own.has_ended and own.current.exit_code == 0
    return own.is_running and own.started and own.ready


def _make_conditions(
    pod: PodManifest, state: PodState, phase: str, written: Mapping[str, Any] | None, wall_now: datetime
) -> list[Json]:
    initialized = _judge_initialized(pod, state, phase)
    containers_ready = _judge_containers(pod, state, phase)
    verdicts: tuple[tuple[str, Verdict], ...] = (
        ("PodReadyToStartContainers", (state.sandbox is not None, "", "")),
        ("Initialized", initialized),
        ("Ready", _judge_ready(pod, containers_ready)),
        ("ContainersReady", containers_ready),
        ("PodScheduled", (True, "", "")),
    )
    if state.failed is not None and state.failed[0] == EVICTED:
        verdicts = (*verdicts, ("DisruptionTarget", (True, "TerminationByKubelet", state.failed[1])))
    before = {c["type"]: (c["status"], c["lastTransitionTime"]) for c in (written or {}).get("conditions", ())}
    for reported in pod.status.conditions:
        if reported.last_transition_time:
            before.setdefault(reported.type, (reported.status, reported.last_transition_time))
    conditions = []
    for kind, (verdict, reason, message) in verdicts:
        status = "True" if verdict else "False"
        old_status, old_time = before.get(kind, ("", ""))
        condition: Json = {
            "type": kind,
            "status": status,
            "lastProbeTime": None,
            "lastTransitionTime": old_time if old_status == status else format_time(wall_now),
        }
        if pod.metadata.generation:
            condition["observedGeneration"] = pod.metadata.generation
        condition |= {key: text for key, text in (("reason", reason), ("message", message)) if text}
        conditions.append(condition)
    return conditions


Verdict = tuple[bool, str, str]


def _judge_initialized(pod: PodManifest, state: PodState, phase: str) -> Verdict:
    if phase == "Succeeded":
        return True, "PodCompleted", ""
    if any(state.find(c.name).current is not None for c in pod.spec.containers):
        return True, "", ""
    incomplete = [
        c.name
        for c in pod.spec.init_containers
        if not (state.find(c.name).started if c.is_sidecar else is_container_ready(pod, c, state.find(c.name)))
    ]
    if incomplete:
        return False, "ContainersNotInitialized", f"containers with incomplete status: [{' '.join(incomplete)}]"
    return True, "", ""


def _judge_containers(pod: PodManifest, state: PodState, phase: str) -> Verdict:
    if phase == "Succeeded":
        return False, "PodCompleted", ""
    if phase == "Failed":
        return False, "PodFailed", ""
    watched = [*(c for c in pod.spec.init_containers if c.is_sidecar), *pod.spec.containers]
    unready = [c.name for c in watched if not is_container_ready(pod, c, state.find(c.name))]
    if unready:
        return False, "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"
    return True, "", ""


def _judge_ready(pod: PodManifest, containers: Verdict) -> Verdict:
    if not containers[0]:
        return containers
    existing: dict[str, ReportedCondition] = {c.type: c for c in pod.status.conditions}
    messages = []
    for gate in pod.spec.readiness_gates:
        condition = existing.get(gate.condition_type)
        if condition is None:
            messages.append(f'corresponding condition of pod readiness gate "{gate.condition_type}" does not exist.')
        elif condition.status != "True":
            messages.append(
                f'the status of pod readiness gate "{gate.condition_type}" is not "True", but {condition.status}'
            )
    if messages:
        return False, "ReadinessGatesNotReady", ", ".join(messages)
    return True, "", ""


def make_status_patch(uid: str, status: Json, written: Mapping[str, Any] | None) -> Json:
    """The strategic merge patch; the UID makes the server refuse it for a Pod of the same name that came later.

    `podIPs` and `hostIPs` merge by address, so a changed list says that it replaces.
    """
    body = dict(status)
    for key in ("podIPs", "hostIPs"):
        if written is not None and key in body and written.get(key, body[key]) != body[key]:
            body[key] = [*body[key], {"$patch": "replace"}]
    for condition in body["conditions"]:
        condition.setdefault("reason", None)
        condition.setdefault("message", None)
    for key in ("reason", "message"):
        if written is not None and key in written and key not in body:
            body[key] = None
    return {"metadata": {"uid": uid}, "status": body}


def differs_from_reported(pod: PodManifest, written: Mapping[str, Any]) -> bool:
    """Somebody else changed what this agent owns: an owned condition or the phase. Rule: spec "node" §3.4."""
    reported = {c.type: c.status for c in pod.status.conditions}
    own = {c["type"]: c["status"] for c in written["conditions"]}
    return pod.status.phase != written["phase"] or any(
        reported.get(kind) != own[kind] for kind in OWNED_CONDITIONS if kind in own
    )
