"""Columns of Events: the same in both groups. Rule: spec "api-machinery" §2.3."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from seaway.api.event import columns
from seaway.api.events_k8s_io.conversion import to_stored

COLUMNS = columns.COLUMNS


def cells(obj: dict[str, Any], wall_now: datetime) -> list[Any]:
    """The row of an Event in the group's form."""
    return columns.cells(to_stored(obj), wall_now)
