"""What is wrong with a CronJob. Rule: upstream's CronJob validation.

Of a time zone only the spelling is judged: which zones there are is known where the clock is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from seaway.api.cronjob.schedule import find_schedule_error, has_time_zone
from seaway.api.job.validation import validate_job_spec
from seaway.api.machinery.counts import invalid_counts
from seaway.api.machinery.field import FieldError, invalid, not_supported, required
from seaway.api.machinery.names import validate_subdomain
from seaway.api.machinery.objectmeta import validate_labels
from seaway.api.machinery.strategy import Json

MAX_NAME = 52
"""Jobs are named after it with eleven characters more, and must fit a label."""
POLICIES = ("Allow", "Forbid", "Replace")
_is_time_zone = re.compile("[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*").fullmatch
_ZONES_TEXT = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"


def validate_cron_job_name(name: str) -> Sequence[str]:
    """A subdomain, and short."""
    errors = validate_subdomain(name)
    return [*errors, f"must be no more than {MAX_NAME} characters"] if len(name) > MAX_NAME else errors


def validate_cron_job(obj: Json, old: Json | None = None) -> list[FieldError]:
    """Create and update alike."""
    spec = obj.get("spec") or {}
    errors = _validate_schedule(spec)
    errors += invalid_counts("spec", spec, "startingDeadlineSeconds")
    policy = spec.get("concurrencyPolicy") or ""
    if not policy:
        errors.append(required("spec.concurrencyPolicy"))
    elif policy not in POLICIES:
        errors.append(not_supported("spec.concurrencyPolicy", policy, POLICIES))
    errors += _validate_job_template(spec.get("jobTemplate") or {}, "spec.jobTemplate")
    return errors + invalid_counts("spec", spec, "successfulJobsHistoryLimit", "failedJobsHistoryLimit")


def _validate_schedule(spec: Json) -> list[FieldError]:
    schedule, zone = spec.get("schedule") or "", spec.get("timeZone")
    if not schedule:
        return [required("spec.schedule")]
    errors: list[FieldError] = []
    if has_time_zone(schedule):
        text = (
            "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
            if zone is None
            else "cannot use both timeZone field and TZ or CRON_TZ in schedule"
        )
        errors.append(invalid("spec.schedule", schedule, text))
    elif text := find_schedule_error(schedule):
        errors.append(invalid("spec.schedule", schedule, text))
    if zone is not None:
        errors += _validate_time_zone(zone)
    return errors


def _validate_time_zone(zone: str) -> list[FieldError]:
    if not zone:
        return [invalid("spec.timeZone", zone, "timeZone must be nil or non-empty string")]
    if zone.lower() == "local":
        return [invalid("spec.timeZone", zone, _ZONES_TEXT)]
    return [] if _is_time_zone(zone) else [invalid("spec.timeZone", zone, f"unknown time zone {zone}")]


def _validate_job_template(template: Json, path: str) -> list[FieldError]:
    spec = template.get("spec") or {}
    errors = validate_job_spec(spec, f"{path}.spec")
    if spec.get("manualSelector"):
        errors.append(not_supported(f"{path}.spec.manualSelector", True, ("nil", "false")))
    return errors + validate_labels((template.get("metadata") or {}).get("labels"), f"{path}.metadata.labels")
