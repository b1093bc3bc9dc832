"""Columns of PodTemplates. Rule: spec "api-machinery" §2.3 (form); the columns are kubectl's."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from seaway.api.machinery.columns import NAME, Column, render_labels
from seaway.api.workload.columns import containers_and_images

COLUMNS = (
    NAME,
    Column(name="Containers", description="The containers of the template."),
    Column(name="Images", description="Their images."),
    Column(name="Pod Labels", description="The labels that its Pods get."),
)


def cells(obj: dict[str, Any], wall_now: datetime) -> list[Any]:
    """The row of a PodTemplate."""
    template = obj.get("template", {})
    labels = template.get("metadata", {}).get("labels", {})
    return [obj["metadata"].get("name", ""), *containers_and_images(template), render_labels(labels)]
