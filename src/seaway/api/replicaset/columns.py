"""Columns of ReplicaSets. Rule: spec "api-machinery" §2.3."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from seaway.api.machinery.columns import AGE, NAME, render_age
from seaway.api.machinery.labelselectors import render_label_selector
from seaway.api.workload.columns import CONTAINERS, IMAGES, SELECTOR, containers_and_images, count

Json = dict[str, Any]
COLUMNS = (
    NAME,
    count("Desired", "How many Pods there shall be."),
    count("Current", "How many there are."),
    count("Ready", "How many are ready."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
)


def cells(obj: Json, wall_now: datetime) -> list[Any]:
    """The row of a ReplicaSet."""
    return replica_cells(obj, render_label_selector(obj.get("spec", {}).get("selector")), wall_now)


def replica_cells(obj: Json, selector: str, wall_now: datetime) -> list[Any]:
    """The row with the selector as it is printed."""
    spec, status = obj.get("spec", {}), obj.get("status", {})
    return [
        obj["metadata"].get("name", ""),
        spec.get("replicas", 0),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        render_age(obj, wall_now),
        *containers_and_images(spec.get("template", {})),
        selector,
    ]
