"""How the API server treats CronJobs. Rule: upstream's batch/v1 defaults; spec "api-machinery" §9.1."""

from __future__ import annotations

from seaway.api.cronjob.validation import validate_cron_job, validate_cron_job_name
from seaway.api.job.defaults import default_job_template
from seaway.api.machinery.strategy import Json, StatusRule, Strategy

_STATUS = StatusRule({})
_DEFAULTS = {
    "concurrencyPolicy": "Allow",
    "suspend": False,
    "successfulJobsHistoryLimit": 3,
    "failedJobsHistoryLimit": 1,
}


def default_cron_job(obj: Json) -> Json:
    """Jobs get the rest of their defaults when they are made. Changes `obj`."""
    spec = obj.setdefault("spec", {})
    for field, value in _DEFAULTS.items():
        spec.setdefault(field, value)
    default_job_template(spec.setdefault("jobTemplate", {}).setdefault("spec", {}))
    return obj


STRATEGY = Strategy(
    default=default_cron_job,
    prepare_create=_STATUS.on_create,
    prepare_update=_STATUS.on_update,
    prepare_status_update=_STATUS.on_status_update,
    validate_name=validate_cron_job_name,
    validate_create=validate_cron_job,
    validate_update=validate_cron_job,
    has_generation=True,
)
