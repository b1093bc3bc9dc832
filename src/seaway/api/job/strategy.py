"""How the API server treats Jobs: it makes the selector, from the UID that it gives.

Rule: upstream's Job strategy; spec "api-machinery" §6.2 (fields). A delete that names no policy orphans the Pods, as
batch/v1 always has.
"""

from __future__ import annotations

from seaway.api.job.defaults import default_job
from seaway.api.job.validation import (
    CONTROLLER_UID,
    JOB_NAME,
    OLD_CONTROLLER_UID,
    OLD_JOB_NAME,
    validate_job,
    validate_job_status,
    validate_job_update,
)
from seaway.api.machinery.strategy import Context, Json, StatusRule, Strategy

_STATUS = StatusRule({})


def prepare_create(obj: Json, context: Context) -> Json:
    """Unless the client insists on a selector of its own, Pods are found by the UID of their Job."""
    obj = _STATUS.on_create(obj, context)
    spec, meta = obj["spec"], obj["metadata"]
    if spec.get("manualSelector"):
        return obj
    uid, name = meta.get("uid") or "", meta.get("name") or ""
    template = spec.get("template") or {}
    pod_meta = template.get("metadata") or {}
    marks = {CONTROLLER_UID: uid, JOB_NAME: name, OLD_CONTROLLER_UID: uid, OLD_JOB_NAME: name}
    pod_meta = {**pod_meta, "labels": {**(pod_meta.get("labels") or {}), **marks}}
    selector = spec.get("selector") or {}
    selector = {**selector, "matchLabels": {**(selector.get("matchLabels") or {}), CONTROLLER_UID: uid}}
    obj["spec"] = {**spec, "selector": selector, "template": {**template, "metadata": pod_meta}}
    if not meta.get("labels"):  # as defaults say of a Job without any; else the next update would add them
        obj["metadata"] = {**meta, "labels": {**pod_meta["labels"]}}
    return obj


def prepare_status_update(obj: Json, old: Json, context: Context) -> Json:
    """Labels that the status leaves out are the template's again."""
    return default_job(_STATUS.on_status_update(obj, old, context))


def fields(obj: Json) -> dict[str, str]:
    return {"status.successful": str((obj.get("status") or {}).get("succeeded") or 0)}


STRATEGY = Strategy(
    default=default_job,
    prepare_create=prepare_create,
    prepare_update=_STATUS.on_update,
    prepare_status_update=prepare_status_update,
    validate_create=validate_job,
    validate_update=validate_job_update,
    validate_status_update=validate_job_status,
    fields=fields,
    has_generation=True,
    orphans_dependents=True,
)
