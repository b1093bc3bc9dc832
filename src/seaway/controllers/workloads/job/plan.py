"""Which Pods of a Job are made, which go, which are counted, and what the status says.

Rule: spec "controllers" §7.9; upstream's Job with tracking by finalizers. Each Pod has a finalizer until it is counted,
so that none is lost or counted twice, whenever the loop dies:

1. An ended Pod's UID is written among `uncountedTerminatedPods` (an Indexed success: its index among those completed).
2. Once that is stored, its finalizer goes.
3. Once that has gone, the UID becomes a number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from seaway.api.pod.types import Pod
from seaway.controllers.workloads.conditions import drop_zeros, find_condition
from seaway.controllers.workloads.job.ending import ended_at, find_delay, find_index
from seaway.controllers.workloads.job.failure import judge_failure
from seaway.controllers.workloads.job.indexes import parse_indexes, render_indexes
from seaway.controllers.workloads.job.perindex import (
    count_failures,
    find_failed_indexes,
    find_waits,
    has_limit_per_index,
)
from seaway.controllers.workloads.job.success import find_met_rule
from seaway.controllers.workloads.podcontrol.availability import format_time, read_time

Json = dict[str, Any]
FINALIZER = "batch.kubernetes.io/job-tracking"
BURST_REPLICAS = 500
COMPLETE, FAILED, SUSPENDED = "Complete", "Failed", "Suspended"
SUCCESS_MET, FAILURE_TARGET = "SuccessCriteriaMet", "FailureTarget"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPlan:
    """create: the index of each Pod to make, None in a Job without. remove: Pods to let go and delete, uncounted.

    failures: of each index so far, in a Job that limits them per index. end: Pods to delete, which count.
    release: Pods that are counted. events: (reason, message, type).
    """

    status: Json
    create: tuple[int | None, ...] = ()
    failures: Mapping[int, int] | None = None
    remove: tuple[Pod, ...] = ()
    end: tuple[Pod, ...] = ()
    release: tuple[Pod, ...] = ()
    events: tuple[tuple[str, str, str], ...] = ()
    requeue_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class _Count:
    """Where the Job stands, uncounted ones included."""

    succeeded: int
    failed: int
    completed: frozenset[int]
    failed_indexes: frozenset[int]
    active: tuple[Pod, ...]
    terminating: tuple[Pod, ...]
    release: tuple[Pod, ...]
    uncounted: Json
    has_waiting: bool
    verdict: str


def is_finished(job: Json) -> bool:
    """Nothing of it will change any more."""
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(c["type"] in (COMPLETE, FAILED) and c["status"] == "True" for c in conditions)


def find_expiry(job: Json, wall_now: datetime) -> float | None:
    """The seconds until a finished Job is to be deleted, 0 or less when it is time; None: never."""
    ttl = job["spec"].get("ttlSecondsAfterFinished")
    conditions = (job.get("status") or {}).get("conditions") or ()
    ended = next((c for c in conditions if c["type"] in (COMPLETE, FAILED) and c["status"] == "True"), None)
    since = read_time(ended.get("lastTransitionTime")) if ended is not None else None
    return None if ttl is None or since is None else (since - wall_now).total_seconds() + float(ttl)


def plan_job(job: Json, pods: Sequence[Pod], *, wall_now: datetime) -> JobPlan:
    """The next writes for a Job that is not finished. Nothing is modified."""
    spec, status = job["spec"], dict(job.get("status") or {})
    conditions: list[Json] = list(status.get("conditions") or ())
    ending = _find_target(conditions)
    count = _count(job, pods, is_failing=ending == FAILURE_TARGET)
    events: list[tuple[str, str, str]] = []
    if ending is None:
        target = _choose_target(job, count, wall_now)
        if target is not None:
            conditions.append(_condition(*target, wall_now))
            ending = target[0]
    is_suspended = bool(spec.get("suspend")) and ending is None
    if ending is None:
        conditions = _tell_suspension(conditions, is_suspended, events, wall_now)
        if is_suspended:
            status.pop("startTime", None)
        else:
            status.setdefault("startTime", format_time(wall_now))
    create, remove, wait = _plan_pods(
        job, pods, count, is_stopped=is_suspended or ending is not None, wall_now=wall_now
    )
    end = count.active if ending == FAILURE_TARGET else ()
    if ending == FAILURE_TARGET:
        remove = ()
    is_over = ending is not None and not (count.active or count.terminating or count.has_waiting)
    if is_over:
        conditions = _finish(conditions, ending, status, events, wall_now)
    elif ending is None and not is_suspended:
        wait = _soonest(wait, _time_left(job, status, wall_now))
    gone = {pod.metadata.uid for pod in remove}
    active = [pod for pod in count.active if pod.metadata.uid not in gone]
    status |= {
        "active": len(active),
        "ready": sum(pod.is_ready for pod in active),
        "terminating": len(count.terminating),
        "succeeded": count.succeeded - len(count.uncounted.get("succeeded", ())),
        "failed": count.failed - len(count.uncounted.get("failed", ())),
        "uncountedTerminatedPods": count.uncounted,
        "conditions": conditions,
    }
    if spec.get("completionMode") == "Indexed":
        status["completedIndexes"] = render_indexes(count.completed)
    if has_limit_per_index(spec):
        status["failedIndexes"] = render_indexes(count.failed_indexes)
    return JobPlan(
        status=drop_zeros(status, ("ready", "terminating", "uncountedTerminatedPods", "failedIndexes")),
        create=create, failures=count_failures(job, pods) if has_limit_per_index(spec) else None,
        remove=remove, end=end, release=count.release, events=tuple(events),
        requeue_after_seconds=wait,
    )  # fmt: skip


def _count(job: Json, pods: Sequence[Pod], *, is_failing: bool) -> _Count:
    spec, status = job["spec"], job.get("status") or {}
    stored: Json = status.get("uncountedTerminatedPods") or {}
    is_indexed = spec.get("completionMode") == "Indexed"
    limit = int(spec.get("completions") or 0)
    completed = parse_indexes(status.get("completedIndexes") or "", limit) if is_indexed else frozenset()
    was_completed, verdict = completed, ""
    held = {pod.metadata.uid: pod for pod in pods if FINALIZER in pod.metadata.finalizers}
    kept = {kind: [uid for uid in stored.get(kind) or () if uid in held] for kind in ("succeeded", "failed")}
    base = {
        kind: int(status.get(kind) or 0) + len(stored.get(kind) or ()) - len(kept[kind])
        for kind in ("succeeded", "failed")
    }
    release = [held[uid] for kind in kept.values() for uid in kind]
    known = {uid for kind in kept.values() for uid in kind}
    for uid, pod in sorted(held.items(), key=lambda item: item[1].metadata.name):
        index = find_index(pod)
        if uid in known:
            continue
        if pod.status.phase == "Succeeded":
            if not is_indexed:
                kept["succeeded"].append(uid)
            elif index is None or index >= limit or index in was_completed:
                release.append(pod)
            else:
                completed |= {index}
        elif _has_failed(spec, pod, is_failing=is_failing):
            judged = judge_failure(job, pod) if pod.status.phase == "Failed" else None
            if judged is not None and judged.action == "Ignore":
                release.append(pod)
                continue
            kept["failed"].append(uid)
            if judged is not None and judged.action == "FailJob":
                verdict = verdict or judged.message
    ended = ("Succeeded", "Failed")
    failed_indexes = parse_indexes(status.get("failedIndexes") or "", limit)
    if has_limit_per_index(spec):
        failed_indexes |= find_failed_indexes(job, pods, limit)
    return _Count(
        succeeded=len(completed) if is_indexed else base["succeeded"] + len(kept["succeeded"]),
        failed=base["failed"] + len(kept["failed"]),
        completed=completed,
        failed_indexes=failed_indexes - completed,
        active=tuple(p for p in pods if p.status.phase not in ended and p.metadata.deletion_timestamp is None),
        terminating=tuple(p for p in pods if p.status.phase not in ended and p.metadata.deletion_timestamp is not None),
        release=tuple(release),
        uncounted={kind: uids for kind, uids in kept.items() if uids},
        has_waiting=bool(kept["succeeded"] or kept["failed"]) or completed != was_completed,
        verdict=verdict,
    )


def _has_failed(spec: Json, pod: Pod, *, is_failing: bool) -> bool:
    """It failed; or it is ending, unless the Job wants to see how that ends."""
    if pod.status.phase == "Failed":
        return True
    return pod.metadata.deletion_timestamp is not None and (is_failing or spec.get("podReplacementPolicy") != "Failed")


def _find_target(conditions: Sequence[Json]) -> str | None:
    """How the Job is going to end, once that is decided."""
    for kind in (FAILURE_TARGET, SUCCESS_MET):
        found = find_condition(conditions, kind)
        if found is not None and found["status"] == "True":
            return kind
    return None


def _choose_target(job: Json, count: _Count, wall_now: datetime) -> tuple[str, str, str] | None:
    """The condition with which the end begins; None: it goes on."""
    spec = job["spec"]
    if count.verdict:
        return FAILURE_TARGET, "PodFailurePolicy", count.verdict
    if _exceeds_back_off(spec, count):
        return FAILURE_TARGET, "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    left = _time_left(job, job.get("status") or {}, wall_now)
    if not spec.get("suspend") and left is not None and left <= 0:
        return FAILURE_TARGET, "DeadlineExceeded", "Job was active longer than specified deadline"
    completions, failed = spec.get("completions"), count.failed_indexes
    if failed and spec.get("maxFailedIndexes") is not None and len(failed) > spec["maxFailedIndexes"]:
        text = "Job has exceeded the specified maximal number of failed indexes"
        return FAILURE_TARGET, "MaxFailedIndexesExceeded", text
    if failed and len(failed) + len(count.completed) >= int(completions or 0):
        return FAILURE_TARGET, "FailedIndexes", "Job has failed indexes"
    if (rule := find_met_rule(spec, count.completed)) is not None:
        return SUCCESS_MET, "SuccessPolicy", f"Matched rules at index {rule}"
    is_done = count.succeeded >= completions if completions is not None else count.succeeded > 0 and not count.active
    if is_done or spec.get("parallelism") == 0 == (completions if completions is not None else 1):
        return SUCCESS_MET, "CompletionsReached", "Reached expected number of succeeded pods"
    return None


def _exceeds_back_off(spec: Json, count: _Count) -> bool:
    limit = int(spec["backoffLimit"]) if spec.get("backoffLimit") is not None else 6
    if count.failed > limit:
        return True
    if ((spec.get("template") or {}).get("spec") or {}).get("restartPolicy") != "OnFailure":
        return False
    restarts = sum(
        status.restart_count
        for pod in count.active
        for status in (*pod.status.container_statuses, *pod.status.init_container_statuses)
    )
    return restarts >= limit if limit else restarts > 0


def _time_left(job: Json, status: Json, wall_now: datetime) -> float | None:
    deadline, started = job["spec"].get("activeDeadlineSeconds"), read_time(status.get("startTime"))
    if deadline is None or started is None:
        return None
    return (started + timedelta(seconds=deadline) - wall_now).total_seconds()


def _plan_pods(
    job: Json, pods: Sequence[Pod], count: _Count, *, is_stopped: bool, wall_now: datetime
) -> tuple[tuple[int | None, ...], tuple[Pod, ...], float | None]:
    """The Pods to make and to let go, and the seconds before more may be made."""
    spec = job["spec"]
    completions, parallelism = spec.get("completions"), int(spec.get("parallelism") or 0)
    if is_stopped:
        wanted = 0
    elif completions is None:
        wanted = parallelism if not count.succeeded else min(parallelism, len(count.active))
    else:
        wanted = min(parallelism, max(0, completions - count.succeeded - len(count.failed_indexes)))
    surplus = len(count.active) - wanted
    if surplus > 0:
        ordered = sorted(count.active, key=lambda p: (p.is_ready, p.status.phase == "Running", p.metadata.uid))
        return (), tuple(ordered[:surplus]), None
    waits_for_end = spec.get("podReplacementPolicy") == "Failed"
    missing = -surplus - (len(count.terminating) if waits_for_end else 0)
    if missing <= 0:
        return (), (), None
    waits = find_waits(job, pods, wall_now) if has_limit_per_index(spec) else {}
    wait = 0.0 if has_limit_per_index(spec) else _find_back_off(pods, wall_now)
    if wait > 0:
        return (), (), wait
    missing = min(missing, BURST_REPLICAS)
    if spec.get("completionMode") != "Indexed":
        return (None,) * missing, (), None
    taken = {find_index(pod) for pod in (*count.active, *(count.terminating if waits_for_end else ()))}
    settled = count.completed | count.failed_indexes | taken
    free = (index for index in range(int(completions or 0)) if index not in settled and index not in waits)
    soonest = min((left for index, left in waits.items() if index not in settled), default=None)
    return tuple(index for index, _ in zip(free, range(missing), strict=False)), (), soonest


def _find_back_off(pods: Sequence[Pod], wall_now: datetime) -> float:
    """The seconds to wait after the failures since the last success, as far as their Pods are still there."""
    succeeded = max((ended_at(p, wall_now) for p in pods if p.status.phase == "Succeeded"), default=None)
    failures = [ended_at(p, wall_now) for p in pods if p.status.phase == "Failed"]
    since = [at for at in failures if succeeded is None or at > succeeded]
    if not since:
        return 0.0
    return (max(since) + timedelta(seconds=find_delay(len(since))) - wall_now).total_seconds()


def _tell_suspension(
    conditions: list[Json], is_suspended: bool, events: list[tuple[str, str, str]], wall_now: datetime
) -> list[Json]:
    before = find_condition(conditions, SUSPENDED)
    if is_suspended == (before is not None and before["status"] == "True"):
        return conditions
    if not is_suspended and before is None:
        return conditions
    reason, message = ("JobSuspended", "Job suspended") if is_suspended else ("JobResumed", "Job resumed")
    events.append(("Suspended" if is_suspended else "Resumed", message, "Normal"))
    told = {**_condition(SUSPENDED, reason, message, wall_now), "status": "True" if is_suspended else "False"}
    return [*(c for c in conditions if c["type"] != SUSPENDED), told]


def _finish(
    conditions: list[Json], ending: str | None, status: Json, events: list[tuple[str, str, str]], wall_now: datetime
) -> list[Json]:
    target = find_condition(conditions, ending or "")
    assert target is not None
    reason, message = target.get("reason") or "", target.get("message") or ""
    if ending == SUCCESS_MET:
        status["completionTime"] = format_time(wall_now)
        events.append(("Completed", "Job completed", "Normal"))
        return [*conditions, _condition(COMPLETE, reason, message, wall_now)]
    events.append((reason, message, "Warning"))
    return [*conditions, _condition(FAILED, reason, message, wall_now)]


def _condition(kind: str, reason: str, message: str, wall_now: datetime) -> Json:
    time = format_time(wall_now)
    return {
        "type": kind, "status": "True", "lastProbeTime": time, "lastTransitionTime": time,
        "reason": reason, "message": message,
    }  # fmt: skip


def _soonest(*waits: float | None) -> float | None:
    return min((max(wait, 0.0) for wait in waits if wait is not None), default=None)
