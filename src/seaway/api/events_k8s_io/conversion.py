"""Between the two forms of an Event: that of core/v1, which is stored, and that of events.k8s.io/v1.

Laws: `to_stored(from_stored(event)) == event` for every Event that is stored, and nothing is lost on the way.
Rule: spec "api-machinery" §12 (Event), §2.5 (what an Event shows although it is empty).
"""

from __future__ import annotations

from seaway.api.event.defaults import default_event
from seaway.api.machinery.strategy import Json

STORED_NAMES = {
    "regarding": "involvedObject",
    "note": "message",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}
"""Name in events.k8s.io to name in core. All other fields are called the same."""
_SHOWN_NAMES = {stored: shown for shown, stored in STORED_NAMES.items()}
# Here an empty text is left out; core shows it.
_LEFT_OUT_EMPTY = ("reportingController", "reportingInstance")


def to_stored(obj: Json) -> Json:
    """The Event of core/v1 that the Event of events.k8s.io/v1 stands for. `obj` is not modified."""
    renamed = {STORED_NAMES.get(name, name): value for name, value in obj.items()}
    return default_event({**renamed, "apiVersion": "v1"})


def from_stored(obj: Json) -> Json:
    """The Event as events.k8s.io/v1 shows it. `obj` is not modified."""
    shown = {_SHOWN_NAMES.get(name, name): value for name, value in default_event({**obj}).items()}
    for name in _LEFT_OUT_EMPTY:
        if not shown[name]:
            del shown[name]
    return {**shown, "apiVersion": "events.k8s.io/v1"}
