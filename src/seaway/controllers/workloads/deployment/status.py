"""What a Deployment's status says. Rule: spec "controllers" §7.5 (fields, conditions, texts, their order)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from seaway.controllers.workloads.conditions import drop_condition, drop_zeros, find_condition, set_condition
from seaway.controllers.workloads.deployment.revisions import Family, count_in, replicas_of
from seaway.controllers.workloads.deployment.scaling import read_bounds
from seaway.controllers.workloads.podcontrol.availability import format_time, read_time

Json = dict[str, Any]
AVAILABLE, PROGRESSING, REPLICA_FAILURE = "Available", "Progressing", "ReplicaFailure"
COMPLETE, TIMED_OUT = "NewReplicaSetAvailable", "ProgressDeadlineExceeded"
PAUSED, RESUMED = "DeploymentPaused", "DeploymentResumed"
NO_DEADLINE = 2**31 - 1


def make_condition(kind: str, status: str, reason: str, message: str, wall_now: datetime) -> Json:
    """A condition that is new now."""
    time = format_time(wall_now)
    return {
        "type": kind, "status": status, "lastUpdateTime": time, "lastTransitionTime": time,
        "reason": reason, "message": message,
    }  # fmt: skip


def compute_status(deployment: Json, family: Family, *, wall_now: datetime) -> Json:
    """The counts, and whether there are enough; the rest of the conditions as they are."""
    available = sum(count_in(rs, "availableReplicas") for rs in family.all)
    status = deployment.get("status") or {}
    counts: Json = {
        "observedGeneration": int(deployment["metadata"].get("generation") or 0),
        "replicas": sum(count_in(rs, "replicas") for rs in family.all),
        "updatedReplicas": count_in(family.new, "replicas") if family.new is not None else 0,
        "readyReplicas": sum(count_in(rs, "readyReplicas") for rs in family.all),
        "availableReplicas": available,
        "unavailableReplicas": max(0, sum(map(replicas_of, family.all)) - available),
        "terminatingReplicas": sum(count_in(rs, "terminatingReplicas") for rs in family.all),
    }
    if status.get("collisionCount") is not None:
        counts["collisionCount"] = status["collisionCount"]
    if available >= read_bounds(deployment).min_available:
        answer = ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    else:
        answer = ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    wanted = make_condition(AVAILABLE, *answer, wall_now)
    counts["conditions"] = set_condition(status.get("conditions") or (), wanted)
    return drop_zeros(counts, ("terminatingReplicas",))


def is_complete(deployment: Json, status: Json) -> bool:
    """All of the new, none of the old, and all of them serve."""
    wanted = replicas_of(deployment)
    counts = ("updatedReplicas", "replicas", "availableReplicas")
    is_seen = status.get("observedGeneration", 0) >= int(deployment["metadata"].get("generation") or 0)
    return is_seen and all((status.get(field) or 0) == wanted for field in counts)


def tell_progress(deployment: Json, family: Family, status: Json, *, wall_now: datetime) -> Json:
    """The status with what is known of the rollout in it: complete, going on, or stuck for longer than the deadline."""
    conditions: list[Json] = status["conditions"]
    deadline = _read_deadline(deployment)
    current = find_condition(conditions, PROGRESSING)
    was_complete = current is not None and current.get("reason") == COMPLETE
    is_unchanged = (status.get("replicas") or 0) == (status.get("updatedReplicas") or 0)
    if deadline is None:
        conditions = drop_condition(conditions, PROGRESSING)
    elif not (was_complete and is_unchanged):
        conditions = _progress(deployment, family, status, current, deadline, wall_now)
    failed = next(
        (
            found
            for rs in ((family.new,) if family.new is not None else ()) + family.old
            if (found := find_condition((rs.get("status") or {}).get("conditions") or (), REPLICA_FAILURE))
        ),
        None,
    )
    if failed is None:
        conditions = drop_condition(conditions, REPLICA_FAILURE)
    else:
        wanted = make_condition(
            REPLICA_FAILURE, failed["status"], failed.get("reason") or "", failed.get("message") or "", wall_now
        )
        conditions = set_condition(conditions, wanted)
    return (
        {**status, "conditions": conditions}
        if conditions
        else drop_zeros({**status, "conditions": []}, ("terminatingReplicas",))
    )


def _progress(
    deployment: Json, family: Family, status: Json, current: Json | None, deadline: float, wall_now: datetime
) -> list[Json]:
    conditions: list[Json] = status["conditions"]
    subject = (
        f'ReplicaSet "{family.new["metadata"]["name"]}"'
        if family.new is not None
        else f'Deployment "{deployment["metadata"]["name"]}"'
    )
    if is_complete(deployment, status):
        text = f"{subject} has successfully progressed."
        return set_condition(conditions, make_condition(PROGRESSING, "True", COMPLETE, text, wall_now))
    if _has_advanced(deployment.get("status") or {}, status):
        going_on = make_condition(PROGRESSING, "True", "ReplicaSetUpdated", f"{subject} is progressing.", wall_now)
        if current is not None and current["status"] == "True":
            going_on["lastTransitionTime"] = current.get("lastTransitionTime") or going_on["lastTransitionTime"]
        return [*drop_condition(conditions, PROGRESSING), going_on]
    if is_stuck(current, deadline, wall_now):
        text = f"{subject} has timed out progressing."
        return set_condition(conditions, make_condition(PROGRESSING, "False", TIMED_OUT, text, wall_now))
    return conditions


def _has_advanced(before: Json, after: Json) -> bool:
    def count(status: Json, field: str) -> int:
        return int(status.get(field) or 0)

    def old(status: Json) -> int:
        return count(status, "replicas") - count(status, "updatedReplicas")

    return old(after) < old(before) or any(
        count(after, field) > count(before, field)
        for field in ("updatedReplicas", "readyReplicas", "availableReplicas")
    )


def is_stuck(current: Json | None, deadline: float, wall_now: datetime) -> bool:
    """No word of progress for longer than the deadline. What is complete, or was never begun, is not."""
    if current is None or current.get("reason") == COMPLETE:
        return False
    if current.get("reason") == TIMED_OUT:
        return True
    since = read_time(current.get("lastUpdateTime"))
    return since is not None and wall_now > since + timedelta(seconds=deadline)


def find_next_deadline(deployment: Json, status: Json, wall_now: datetime) -> float | None:
    """The seconds until a rollout that does not move is to be called stuck; None when none can be."""
    deadline = _read_deadline(deployment)
    current = find_condition(status.get("conditions") or (), PROGRESSING)
    if deadline is None or current is None or current.get("reason") == TIMED_OUT or is_complete(deployment, status):
        return None
    since = read_time(current.get("lastUpdateTime")) or wall_now
    return max(0.0, (since - wall_now).total_seconds() + deadline) + 1.0


def tell_pause(deployment: Json, *, wall_now: datetime) -> Json | None:
    """The status that says that the Deployment was paused or resumed; None when it does. Either renews the deadline."""
    status, is_paused = deployment.get("status") or {}, bool(deployment["spec"].get("paused"))
    current = find_condition(status.get("conditions") or (), PROGRESSING)
    reason = current.get("reason") if current is not None else None
    if _read_deadline(deployment) is None or reason == TIMED_OUT or is_paused == (reason == PAUSED):
        return None
    words = (PAUSED, "Deployment is paused") if is_paused else (RESUMED, "Deployment is resumed")
    wanted = make_condition(PROGRESSING, "Unknown", *words, wall_now)
    return {**status, "conditions": set_condition(status.get("conditions") or (), wanted)}


def tell_new(deployment: Json, reason: str, message: str, *, status: str = "True", wall_now: datetime) -> Json:
    """The status that says where the new ReplicaSet came from, or that it did not come; nothing else changes."""
    before = deployment.get("status") or {}
    if _read_deadline(deployment) is None:
        return before
    wanted = make_condition(PROGRESSING, status, reason, message, wall_now)
    return {**before, "conditions": set_condition(before.get("conditions") or (), wanted)}


def _read_deadline(deployment: Json) -> float | None:
    seconds = deployment["spec"].get("progressDeadlineSeconds")
    return None if seconds is None or seconds == NO_DEADLINE else float(seconds)
