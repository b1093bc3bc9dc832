"""When the changes that wait to be programmed began: what network programming latency is measured from.

Rule: spec "proxy" §1.6 (trigger time).
"""

from __future__ import annotations

from datetime import datetime

from seaway.api.endpointslice.types import LABEL_SERVICE_NAME, EndpointSlice
from seaway.net.family import Family

ANNOTATION_TRIGGER_TIME = "endpoints.kubernetes.io/last-change-trigger-time"
MAX_WAITING = 1000
"""Of one Service; a proxy that cannot sync needs no more to be seen late."""


class Triggers:
    """Times of the changes since the last sync of each family, by Service."""

    def __init__(self, *, started_at: float) -> None:
        """started_at: what changed before is not this proxy's doing. Seconds since 1970, as all times here."""
        self._started_at = started_at
        self._waiting: dict[Family, dict[str, list[float]]] = {family: {} for family in Family}

    def note(self, before: EndpointSlice | None, after: EndpointSlice | None) -> None:
        """A slice is now `after`. When it has gone, what waited for its Service is measured no more."""
        piece = after if after is not None else before
        family = next((f for f in Family if piece is not None and f.value == piece.address_type), None)
        if piece is None or family is None:
            return
        service = f"{piece.metadata.namespace}/{piece.metadata.labels.get(LABEL_SERVICE_NAME, '')}"
        if after is None:
            self._waiting[family].pop(service, None)
            return
        time = parse_trigger(after.metadata.annotations.get(ANNOTATION_TRIGGER_TIME, ""))
        if time is not None and time >= self._started_at:
            times = self._waiting[family].setdefault(service, [])
            if len(times) < MAX_WAITING:
                times.append(time)

    def take(self, family: Family) -> list[float]:
        """The times of all that waited; nothing waits afterwards."""
        taken, self._waiting[family] = self._waiting[family], {}
        return [time for times in taken.values() for time in times]


def parse_trigger(text: str) -> float | None:
    """The time in seconds since 1970; None when it is none."""
    try:
        parsed = datetime.fromisoformat(text)
        return parsed.timestamp() if parsed.tzinfo else None
    except (ValueError, OverflowError):
        return None
