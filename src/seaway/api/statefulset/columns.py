"""Columns of StatefulSets. Rule: spec "api-machinery" §2.3 (form); the columns are kubectl's."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from seaway.api.machinery.columns import AGE, NAME, Column, render_age
from seaway.api.workload.columns import CONTAINERS, IMAGES, containers_and_images

COLUMNS = (
    NAME,
    Column(name="Ready", description="How many replicas are ready, of how many wanted."),
    AGE,
    CONTAINERS,
    IMAGES,
)


def cells(obj: dict[str, Any], wall_now: datetime) -> list[Any]:
    """The row of a StatefulSet."""
    spec, status = obj.get("spec", {}), obj.get("status", {})
    return [
        obj["metadata"].get("name", ""),
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        render_age(obj, wall_now),
        *containers_and_images(spec.get("template", {})),
    ]
