"""Columns of PriorityClasses. Rule: spec "api-machinery" §2.3 (form); the columns are kubectl's."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from seaway.api.machinery.columns import AGE, NAME, Column, render_age
from seaway.api.workload.columns import count

COLUMNS = (
    NAME,
    count("Value", "How much its Pods matter: more is more."),
    Column(name="Global-Default", type="boolean", description="Whether Pods have it that name no class."),
    AGE,
    Column(name="PreemptionPolicy", description="Whether its Pods displace others."),
)


def cells(obj: dict[str, Any], wall_now: datetime) -> list[Any]:
    """The row of a PriorityClass."""
    return [
        obj["metadata"].get("name", ""),
        obj.get("value", 0),
        bool(obj.get("globalDefault")),
        render_age(obj, wall_now),
        obj.get("preemptionPolicy", ""),
    ]
