"""Columns of Namespaces. Rule: spec "service-api" §11."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from seaway.api.machinery.columns import AGE, NAME, Column, render_age

COLUMNS = (NAME, Column(name="Status", description="Active, or Terminating while its content is removed."), AGE)


def cells(obj: dict[str, Any], wall_now: datetime) -> list[Any]:
    """The row of a Namespace."""
    return [obj["metadata"].get("name", ""), obj.get("status", {}).get("phase", ""), render_age(obj, wall_now)]
