"""Columns of a Scale. Rule: spec "api-machinery" §2.3; upstream's printer."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from seaway.api.machinery.columns import AGE, NAME, Column, render_age

COLUMNS = (
    NAME,
    Column(name="Desired", type="integer", description="How many copies are wanted."),
    Column(name="Available", type="integer", description="How many copies there are."),
    AGE,
)


def cells(obj: dict[str, Any], wall_now: datetime) -> list[Any]:
    """The row of a Scale."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    return [
        obj["metadata"].get("name", ""),
        spec.get("replicas", 0),
        status.get("replicas", 0),
        render_age(obj, wall_now),
    ]
