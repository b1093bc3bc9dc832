"""Columns of DaemonSets. Rule: spec "api-machinery" §2.3 (form); the columns are kubectl's."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from seaway.api.machinery.columns import AGE, NAME, Column, render_age, render_labels
from seaway.api.machinery.labelselectors import render_label_selector
from seaway.api.workload.columns import CONTAINERS, IMAGES, SELECTOR, containers_and_images, count

COLUMNS = (
    NAME,
    count("Desired", "How many Nodes shall run the Pod."),
    count("Current", "How many Nodes run it."),
    count("Ready", "How many run it and it is ready."),
    count("Up-to-date", "How many run it from the newest template."),
    count("Available", "How many have had it ready for long enough."),
    Column(name="Node Selector", description="The labels of the Nodes."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
)
_COUNTS = (
    "desiredNumberScheduled",
    "currentNumberScheduled",
    "numberReady",
    "updatedNumberScheduled",
    "numberAvailable",
)


def cells(obj: dict[str, Any], wall_now: datetime) -> list[Any]:
    """The row of a DaemonSet."""
    spec, status = obj.get("spec", {}), obj.get("status", {})
    template = spec.get("template", {})
    return [
        obj["metadata"].get("name", ""),
        *(status.get(field, 0) for field in _COUNTS),
        render_labels(template.get("spec", {}).get("nodeSelector", {})),
        render_age(obj, wall_now),
        *containers_and_images(template),
        render_label_selector(spec.get("selector")),
    ]
