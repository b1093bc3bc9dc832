"""How the API server treats PersistentVolumes. Rule: spec "api-machinery" trap 4, §9.1."""

from __future__ import annotations

from seaway.api.machinery.strategy import Context, Json, StatusRule, Strategy
from seaway.api.persistentvolume.validation import validate_volume, validate_volume_update

_STATUS = StatusRule({"phase": "Pending"})


def default_volume(obj: Json) -> Json:
    """It is kept when its claim goes. Changes `obj`."""
    spec = obj.setdefault("spec", {})
    spec.setdefault("persistentVolumeReclaimPolicy", "Retain")
    spec.setdefault("volumeMode", "Filesystem")
    if isinstance(spec.get("hostPath"), dict):
        spec["hostPath"].setdefault("type", "")
    return obj


def prepare_create(obj: Json, context: Context) -> Json:
    obj = _STATUS.on_create(obj, context)
    obj["status"]["lastPhaseTransitionTime"] = context.wall_now
    return obj


def prepare_status_update(obj: Json, old: Json, context: Context) -> Json:
    """The time of a change of phase is the server's when the controller names none."""
    obj = _STATUS.on_status_update(obj, old, context)
    before, status = old.get("status") or {}, obj["status"]
    had = before.get("lastPhaseTransitionTime")
    if status["phase"] != before.get("phase"):
        if status.get("lastPhaseTransitionTime") in (None, had):
            status["lastPhaseTransitionTime"] = context.wall_now
    elif had and not status.get("lastPhaseTransitionTime"):
        status["lastPhaseTransitionTime"] = had
    return obj


STRATEGY = Strategy(
    default=default_volume,
    prepare_create=prepare_create,
    prepare_update=_STATUS.on_update,
    prepare_status_update=prepare_status_update,
    validate_create=validate_volume,
    validate_update=validate_volume_update,
    answers_delete_with_object=True,
)
