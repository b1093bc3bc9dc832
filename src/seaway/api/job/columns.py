"""Columns of Jobs. Rule: spec "api-machinery" §2.3 (form); the columns are kubectl's."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from seaway.api.machinery.columns import AGE, NAME, Column, parse_moment, render_age, render_duration, render_since
from seaway.api.machinery.labelselectors import render_label_selector
from seaway.api.workload.columns import CONTAINERS, IMAGES, SELECTOR, containers_and_images

Json = dict[str, Any]
COLUMNS = (
    NAME,
    Column(name="Status", description="How it stands: Running, Complete, Failed, Suspended …"),
    Column(name="Completions", description="How many Pods have succeeded, of how many wanted."),
    Column(name="Duration", description="How long it took, or has taken so far."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
)
_STATES = ("Complete", "Failed")


def cells(obj: Json, wall_now: datetime) -> list[Any]:
    """The row of a Job."""
    spec, status = obj.get("spec", {}), obj.get("status", {})
    return [
        obj["metadata"].get("name", ""),
        _render_status(obj),
        _render_completions(spec, status.get("succeeded", 0)),
        _render_duration(status, wall_now),
        render_age(obj, wall_now),
        *containers_and_images(spec.get("template", {})),
        render_label_selector(spec.get("selector")),
    ]


def _render_status(obj: Json) -> str:
    holding = {c.get("type") for c in obj.get("status", {}).get("conditions", ()) if c.get("status") == "True"}
    for state in _STATES:
        if state in holding:
            return state
    if obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    if "Suspended" in holding:
        return "Suspended"
    if "FailureTarget" in holding:
        return "FailureTarget"
    return "SuccessCriteriaMet" if "SuccessCriteriaMet" in holding else "Running"


def _render_completions(spec: Json, succeeded: int) -> str:
    if "completions" in spec:
        return f"{succeeded}/{spec['completions']}"
    parallelism = spec.get("parallelism", 0)
    return f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"


def _render_duration(status: Json, wall_now: datetime) -> str:
    start, end = status.get("startTime"), status.get("completionTime")
    if not start:
        return ""
    if not end:
        return render_since(start, wall_now)
    return render_duration((parse_moment(end) - parse_moment(start)).total_seconds())
