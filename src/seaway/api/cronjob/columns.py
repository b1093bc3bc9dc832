"""Columns of CronJobs. Rule: spec "api-machinery" §2.3 (form); the columns are kubectl's."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from seaway.api.machinery.columns import AGE, NAME, NONE, Column, render_age, render_since
from seaway.api.machinery.labelselectors import render_label_selector
from seaway.api.workload.columns import CONTAINERS, IMAGES, SELECTOR, containers_and_images, count

COLUMNS = (
    NAME,
    Column(name="Schedule", description="When it runs, in cron's format."),
    Column(name="Timezone", description="The time zone of the schedule."),
    Column(name="Suspend", type="boolean", description="Whether it has stopped to start Jobs."),
    count("Active", "How many Jobs run."),
    Column(name="Last Schedule", description="The time since it started a Job."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
)


def cells(obj: dict[str, Any], wall_now: datetime) -> list[Any]:
    """The row of a CronJob."""
    spec, status = obj.get("spec", {}), obj.get("status", {})
    job = spec.get("jobTemplate", {}).get("spec", {})
    last = status.get("lastScheduleTime")
    return [
        obj["metadata"].get("name", ""),
        spec.get("schedule", ""),
        spec.get("timeZone", NONE),
        "True" if spec.get("suspend") else "False",
        len(status.get("active", ())),
        render_since(last, wall_now) if last else NONE,
        render_age(obj, wall_now),
        *containers_and_images(job.get("template", {})),
        render_label_selector(job.get("selector")),
    ]
