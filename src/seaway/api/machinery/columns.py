"""Columns of printed tables, and the cells that many kinds share.

Rule: spec "api-machinery" §2.3, "service-api" §11 (columns, cells, ages).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]
NONE = "<none>"
UNKNOWN = "<unknown>"
MAX_SHOWN = 3  # entries of a list in one cell


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column. Priority 1 is shown by wide output only; its cells are always filled."""

    name: str
    type: str = "string"
    format: str = ""
    priority: int = 0
    description: str = ""


NAME = Column(name="Name", format="name", description="The name, unique among objects of the kind in its namespace.")
AGE = Column(name="Age", description="The time since the object was created.")


def wide(name: str, description: str) -> Column:
    """A column for wide output only."""
    return Column(name=name, priority=1, description=description)


def parse_moment(text: str) -> datetime:
    """The moment of a canonical Time or MicroTime."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)


def render_since(moment: str | None, wall_now: datetime) -> str:
    """The time since then for people; `<unknown>` for an absent time."""
    if not moment:
        return UNKNOWN
    try:
        return render_duration((wall_now - parse_moment(moment)).total_seconds())
    except ValueError:
        return "<invalid>"


def render_age(obj: Json, wall_now: datetime) -> str:
    """The Age cell."""
    return render_since(obj["metadata"].get("creationTimestamp"), wall_now)


def render_duration(duration_seconds: float) -> str:
    """Two units at most, the smaller one only while it says something; all truncating."""
    if duration_seconds < -1:
        return "<invalid>"
    seconds = max(0, int(duration_seconds))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return _two_units(minutes, "m", seconds % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two_units(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _two_units(days, "d", hours % 24, "h")
    if days < 730:
        return f"{days}d"
    if days < 8 * 365:
        return _two_units(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two_units(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"


def join_or_none(texts: Iterable[str]) -> str:
    """The texts joined by commas, or `<none>`."""
    return ",".join(texts) or NONE


def join_some(texts: list[str]) -> str:
    """The first three joined by commas, and how many more there are."""
    shown = ",".join(texts[:MAX_SHOWN])
    return f"{shown} + {len(texts) - MAX_SHOWN} more..." if len(texts) > MAX_SHOWN else shown


def render_labels(labels: Mapping[str, str]) -> str:
    """`a=b,c=d`, sorted by key, or `<none>`."""
    return join_or_none(f"{key}={labels[key]}" for key in sorted(labels))
