"""Columns of Events: when and what first, the name last. Rule: spec "api-machinery" §2.3."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from seaway.api.machinery.columns import Column, render_since, wide

Json = dict[str, Any]

COLUMNS = (
    Column(name="Last Seen", description="The time since it happened last."),
    Column(name="Type", description="Normal or Warning."),
    Column(name="Reason", description="Why, in one word."),
    Column(name="Object", description="What it is about."),
    wide("Subobject", "The part of the object that it is about."),
    wide("Source", "Who says so."),
    Column(name="Message", description="What happened."),
    wide("First Seen", "The time since it happened first."),
    wide("Count", "How often it happened."),
    wide("Name", "The name of the Event."),
)


def cells(obj: Json, wall_now: datetime) -> list[Any]:
    """The row of an Event."""
    series = obj.get("series")
    first = obj.get("firstTimestamp") or obj.get("eventTime")
    last = series.get("lastObservedTime") if series else obj.get("lastTimestamp") or first
    target = obj.get("involvedObject", {})
    kind = target.get("kind", "").lower()
    return [
        render_since(last, wall_now),
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{kind}/{target['name']}" if target.get("name") else kind,
        target.get("fieldPath", ""),
        _render_source(obj),
        obj.get("message", "").strip(),
        render_since(first, wall_now),
        (series.get("count", 0) if series else obj.get("count")) or 1,
        obj["metadata"].get("name", ""),
    ]


def _render_source(obj: Json) -> str:
    source = obj.get("source", {})
    component = source.get("component") or obj.get("reportingComponent", "")
    instance = source.get("host") or obj.get("reportingInstance", "")
    return f"{component}, {instance}" if instance else component
