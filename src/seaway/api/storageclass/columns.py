"""Columns of StorageClasses. Rule: spec "api-machinery" §2.3 (form); the columns are kubectl's."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from seaway.api.machinery.columns import AGE, NAME, Column, render_age

IS_DEFAULT = "storageclass.kubernetes.io/is-default-class"
COLUMNS = (
    NAME,
    Column(name="Provisioner", description="What makes volumes of the class."),
    Column(name="ReclaimPolicy", description="What becomes of a volume when its claim goes."),
    Column(name="VolumeBindingMode", description="Whether volumes are made at once or for the first Pod."),
    Column(name="AllowVolumeExpansion", description="Whether volumes may grow."),
    AGE,
)


def cells(obj: dict[str, Any], wall_now: datetime) -> list[Any]:
    """The row of a StorageClass."""
    meta = obj["metadata"]
    name = meta.get("name", "")
    if meta.get("annotations", {}).get(IS_DEFAULT) == "true":
        name += " (default)"
    return [
        name,
        obj.get("provisioner", ""),
        obj.get("reclaimPolicy", "Delete"),
        obj.get("volumeBindingMode", "Immediate"),
        "true" if obj.get("allowVolumeExpansion") else "false",
        render_age(obj, wall_now),
    ]
