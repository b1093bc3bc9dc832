"""Columns of ConfigMaps. Rule: spec "api-machinery" §2.3."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from seaway.api.machinery.columns import AGE, NAME, Column, render_age

COLUMNS = (NAME, Column(name="Data", description="The number of keys."), AGE)


def cells(obj: dict[str, Any], wall_now: datetime) -> list[Any]:
    """The row of a ConfigMap."""
    keys = len(obj.get("data", {})) + len(obj.get("binaryData", {}))
    return [obj["metadata"].get("name", ""), keys, render_age(obj, wall_now)]
