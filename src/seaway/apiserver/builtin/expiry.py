"""Which Events have been kept long enough. Rule: spec "api-machinery" §11 (Event TTL), §12 (Event)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from seaway.apiserver.record import Json, Record, decode_object

EVENT_TTL = timedelta(hours=1)
"""Upstream's default."""


def find_expired(events: Iterable[Record], wall_now: datetime) -> list[Record]:
    """The Events whose last sign of life is older than the TTL, in the order given."""
    return [record for record in events if wall_now - _last_seen(decode_object(record.body)) > EVENT_TTL]


def _last_seen(event: Json) -> datetime:
    """The latest of its times. One without any readable time counts as fresh never: it was created at some time."""
    times = (
        event["metadata"].get("creationTimestamp"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        (event.get("series") or {}).get("lastObservedTime"),
    )
    found = [datetime.fromisoformat(text.replace("Z", "+00:00")) for text in times if text]
    return max(found, default=datetime.min.replace(tzinfo=UTC))
