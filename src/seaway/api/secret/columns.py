"""Columns of Secrets. Rule: spec "api-machinery" §2.3."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from seaway.api.machinery.columns import AGE, NAME, Column, render_age

COLUMNS = (
    NAME,
    Column(name="Type", description="What the keys mean, as programs agree."),
    Column(name="Data", description="The number of keys."),
    AGE,
)


def cells(obj: dict[str, Any], wall_now: datetime) -> list[Any]:
    """The row of a Secret."""
    return [obj["metadata"].get("name", ""), obj.get("type", ""), len(obj.get("data", {})), render_age(obj, wall_now)]
