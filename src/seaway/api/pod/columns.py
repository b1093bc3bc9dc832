"""Columns of Pods. The status cell says the most telling thing of all containers.

Rule: spec "service-api" §11 (Pod cells).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from seaway.api.machinery.columns import AGE, NAME, NONE, Column, render_age, render_since, wide

Json = dict[str, Any]

COLUMNS = (
    NAME,
    Column(name="Ready", description="Ready containers of all."),
    Column(name="Status", description="The phase, or what is wrong."),
    Column(name="Restarts", description="How often containers were started again, and when last."),
    AGE,
    wide("IP", "The Pod's address."),
    wide("Node", "Where it runs."),
    wide("Nominated Node", "Where it will run once others made room."),
    wide("Readiness Gates", "Conditions that hold of those that the Pod waits for."),
)
_FINAL_MESSAGES = {"Succeeded": "The pod has completed successfully.", "Failed": "The pod failed."}


def cells(obj: Json, wall_now: datetime) -> list[Any]:
    """The row of a Pod."""
    spec, status = obj.get("spec", {}), obj.get("status", {})
    progress = _read_progress(obj)
    sidecars = [c for c in spec.get("initContainers", ()) if c.get("restartPolicy") == "Always"]
    total = len(spec.get("containers", ())) + len(sidecars)
    return [
        obj["metadata"].get("name", ""),
        f"{progress.ready}/{total}",
        progress.text,
        _render_restarts(progress, wall_now),
        render_age(obj, wall_now),
        next((entry["ip"] for entry in status.get("podIPs", ()) if entry.get("ip")), status.get("podIP") or NONE),
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        _render_gates(spec, status),
    ]


def conditions(obj: Json) -> list[Json]:
    """The row's condition: Completed for a Pod that has ended."""
    phase = obj.get("status", {}).get("phase", "")
    if phase not in _FINAL_MESSAGES:
        return []
    return [{"type": "Completed", "status": "True", "reason": phase, "message": _FINAL_MESSAGES[phase]}]


@dataclass(frozen=True, slots=True)
class _Progress:
    text: str
    ready: int
    restarts: int
    last_restart: str


def _read_progress(obj: Json) -> _Progress:
    status = obj.get("status", {})
    text = status.get("reason") or status.get("phase", "")
    if _condition(status, "PodScheduled").get("reason") == "SchedulingGated":
        text = "SchedulingGated"
    statuses = status.get("initContainerStatuses", [])
    sidecars = {c["name"] for c in obj.get("spec", {}).get("initContainers", ()) if c.get("restartPolicy") == "Always"}
    init_text, ready = _read_init(obj, statuses, sidecars)
    if init_text and _condition(status, "Initialized").get("status") != "True":
        counted = statuses
        text = init_text
    else:
        containers = status.get("containerStatuses", [])
        counted = [*(s for s in statuses if s.get("name") in sidecars), *containers]
        text, ready = _read_containers(init_text or text, ready, containers, status)
    if obj["metadata"].get("deletionTimestamp"):
        text = _render_deleting(status, text)
    return _Progress(text, ready, sum(s.get("restartCount", 0) for s in counted), _find_last_restart(counted))


def _condition(status: Json, kind: str) -> Json:
    return next((c for c in status.get("conditions", ()) if c.get("type") == kind), {})


def _read_init(obj: Json, statuses: Iterable[Json], sidecars: set[str]) -> tuple[str, int]:
    """(what the init phase waits for, or empty when it is over; ready sidecars)."""
    ready = 0
    total = len(obj.get("spec", {}).get("initContainers", ()))
    for index, container in enumerate(statuses):
        state = container.get("state", {})
        terminated, waiting = state.get("terminated"), state.get("waiting", {})
        if terminated is not None and not terminated.get("exitCode"):
            continue
        if container.get("name") in sidecars and container.get("started"):
            ready += bool(container.get("ready"))
            continue
        if terminated is not None:
            return f"Init:{_render_end(terminated)}", ready
        reason = waiting.get("reason", "")
        if reason and reason != "PodInitializing":
            return f"Init:{reason}", ready
        return f"Init:{index}/{total}", ready
    return "", ready


def _render_end(terminated: Json) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    return f"Signal:{terminated['signal']}" if terminated.get("signal") else f"ExitCode:{terminated.get('exitCode', 0)}"


def _read_containers(text: str, ready: int, containers: list[Json], status: Json) -> tuple[str, int]:
    is_running, error = False, ""
    for container in reversed(containers):
        state = container.get("state", {})
        if reason := state.get("waiting", {}).get("reason"):
            text = reason
        elif (terminated := state.get("terminated")) is not None:
            text = _render_end(terminated)
            if terminated.get("exitCode"):
                error = text
        elif container.get("ready") and state.get("running") is not None:
            is_running = True
            ready += 1
    if text == "Completed":
        is_pod_ready = _condition(status, "Ready").get("status") == "True"
        if is_running and is_pod_ready:
            text = "Running"
        elif error:
            text = error
        elif is_running:
            text = "NotReady"
    return text, ready


def _render_deleting(status: Json, text: str) -> str:
    if status.get("reason") == "NodeLost":
        return "Unknown"
    return text if status.get("phase") in _FINAL_MESSAGES else "Terminating"


def _find_last_restart(containers: Iterable[Json]) -> str:
    ends = [c.get("lastState", {}).get("terminated", {}).get("finishedAt", "") for c in containers]
    return max(ends, default="")


def _render_restarts(progress: _Progress, wall_now: datetime) -> str:
    if progress.restarts and progress.last_restart:
        return f"{progress.restarts} ({render_since(progress.last_restart, wall_now)} ago)"
    return str(progress.restarts)


def _render_gates(spec: Json, status: Json) -> str:
    gates = [gate.get("conditionType", "") for gate in spec.get("readinessGates", ())]
    if not gates:
        return NONE
    held = sum(_condition(status, gate).get("status") == "True" for gate in gates)
    return f"{held}/{len(gates)}"
