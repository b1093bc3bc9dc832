"""Columns of PersistentVolumeClaims. Rule: spec "api-machinery" §2.3 (form); the columns are kubectl's."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from seaway.api.machinery.columns import AGE, NAME, Column, render_age, wide
from seaway.api.persistentvolume.columns import UNSET, render_access_modes

COLUMNS = (
    NAME,
    Column(name="Status", description="Pending, Bound or Lost."),
    Column(name="Volume", description="The volume that it has."),
    Column(name="Capacity", description="How much the volume holds."),
    Column(name="Access Modes", description="How the volume may be mounted."),
    Column(name="StorageClass", description="The class of storage that it asks for."),
    Column(name="VolumeAttributesClass", description="The class of attributes that it asks for."),
    AGE,
    wide("VolumeMode", "Filesystem or Block."),
)


def cells(obj: dict[str, Any], wall_now: datetime) -> list[Any]:
    """The row of a PersistentVolumeClaim. What it has is shown once it is bound."""
    spec, status = obj.get("spec", {}), obj.get("status", {})
    is_bound = bool(spec.get("volumeName"))
    is_deleting = bool(obj["metadata"].get("deletionTimestamp"))
    return [
        obj["metadata"].get("name", ""),
        "Terminating" if is_deleting else status.get("phase", ""),
        spec.get("volumeName", ""),
        status.get("capacity", {}).get("storage", "") if is_bound else "",
        render_access_modes(status.get("accessModes", ())) if is_bound else "",
        spec.get("storageClassName", ""),
        spec.get("volumeAttributesClassName") or UNSET,
        render_age(obj, wall_now),
        spec.get("volumeMode", UNSET),
    ]
