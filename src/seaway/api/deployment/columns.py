"""Columns of Deployments. Rule: spec "api-machinery" §2.3."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from seaway.api.machinery.columns import AGE, NAME, Column, render_age
from seaway.api.machinery.labelselectors import render_label_selector
from seaway.api.workload.columns import CONTAINERS, IMAGES, SELECTOR, containers_and_images

COLUMNS = (
    NAME,
    Column(name="Ready", description="How many replicas are ready, of how many wanted."),
    Column(name="Up-to-date", description="Replicas that have the newest template."),
    Column(name="Available", description="Replicas that have been ready for long enough."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
)


def cells(obj: dict[str, Any], wall_now: datetime) -> list[Any]:
    """The row of a Deployment."""
    spec, status = obj.get("spec", {}), obj.get("status", {})
    return [
        obj["metadata"].get("name", ""),
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        render_age(obj, wall_now),
        *containers_and_images(spec.get("template", {})),
        render_label_selector(spec.get("selector")),
    ]
