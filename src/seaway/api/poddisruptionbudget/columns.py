"""Columns of PodDisruptionBudgets. Rule: spec "api-machinery" §2.3 (form); the columns are kubectl's."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from seaway.api.machinery.columns import AGE, NAME, Column, render_age
from seaway.api.workload.columns import count

COLUMNS = (
    NAME,
    Column(name="Min Available", description="How many Pods must stay."),
    Column(name="Max Unavailable", description="How many Pods may be missing."),
    count("Allowed Disruptions", "How many Pods may be evicted now."),
    AGE,
)
_NOT_SET = "N/A"


def cells(obj: dict[str, Any], wall_now: datetime) -> list[Any]:
    """The row of a PodDisruptionBudget."""
    spec = obj.get("spec", {})
    return [
        obj["metadata"].get("name", ""),
        str(spec.get("minAvailable", _NOT_SET)),
        str(spec.get("maxUnavailable", _NOT_SET)),
        obj.get("status", {}).get("disruptionsAllowed", 0),
        render_age(obj, wall_now),
    ]
