"""Columns of ServiceAccounts. Rule: spec "api-machinery" §2.3."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from seaway.api.machinery.columns import AGE, NAME, render_age

COLUMNS = (NAME, AGE)


def cells(obj: dict[str, Any], wall_now: datetime) -> list[Any]:
    """The row of a ServiceAccount."""
    return [obj["metadata"].get("name", ""), render_age(obj, wall_now)]
