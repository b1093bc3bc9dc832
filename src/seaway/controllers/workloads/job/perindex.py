"""Failures per index, where a Job limits them so. Rule: upstream's backoffLimitPerIndex and the action FailIndex.

A Pod carries how many of its index failed before it, so the last one of an index knows. What this leaves out: a Pod
that somebody deletes after it was counted, and before another follows it, is forgotten, and its index tries once more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from seaway.api.pod.types import Pod
from seaway.controllers.workloads.job.ending import ended_at, find_delay, find_index, find_number
from seaway.controllers.workloads.job.failure import judge_failure

Json = dict[str, Any]
FAILURES = "batch.kubernetes.io/job-index-failure-count"


def has_limit_per_index(spec: Json) -> bool:
    """Each index has failures of its own, and waits for itself alone."""
    return spec.get("backoffLimitPerIndex") is not None


def count_failures(job: Json, pods: Sequence[Pod]) -> dict[int, int]:
    """By index, those of its Pods that failed and count; none for an index without."""
    found: dict[int, int] = {}
    for index, pod, action in _find_failed(job, pods):
        count = (find_number(pod, FAILURES) or 0) + (action != "Ignore")
        found[index] = max(found.get(index, 0), count)
    return found


def find_failed_indexes(job: Json, pods: Sequence[Pod], completions: int) -> frozenset[int]:
    """The indexes that are not tried again: they failed too often, or a rule says so."""
    limit = int(job["spec"]["backoffLimitPerIndex"])
    too_often = {index for index, count in count_failures(job, pods).items() if count > limit}
    told = {index for index, _, action in _find_failed(job, pods) if action == "FailIndex"}
    return frozenset(index for index in too_often | told if index < completions)


def find_waits(job: Json, pods: Sequence[Pod], wall_now: datetime) -> dict[int, float]:
    """By index, the seconds before it may have another Pod; an index that need not wait is left out."""
    last: dict[int, datetime] = {}
    for index, pod, _ in _find_failed(job, pods):
        at = ended_at(pod, wall_now)
        last[index] = max(last.get(index, at), at)
    counts = count_failures(job, pods)
    left = {
        index: (at + timedelta(seconds=find_delay(max(counts[index], 1))) - wall_now).total_seconds()
        for index, at in last.items()
    }
    return {index: seconds for index, seconds in left.items() if seconds > 0}


def _find_failed(job: Json, pods: Sequence[Pod]) -> Iterator[tuple[int, Pod, str]]:
    """Index, Pod and what the Job's policy makes of it."""
    for pod in pods:
        index = find_index(pod)
        if index is None or pod.status.phase == "Succeeded":
            continue
        if pod.status.phase == "Failed":
            yield index, pod, judge_failure(job, pod).action
        elif pod.metadata.deletion_timestamp is not None and job["spec"].get("podReplacementPolicy") != "Failed":
            yield index, pod, "Count"
