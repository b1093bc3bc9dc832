"""What an Event of core/v1 shows although nobody set it. Rule: spec "api-machinery" §2.5."""

from __future__ import annotations

from seaway.api.machinery.strategy import Json

_TIMES = ("eventTime", "firstTimestamp", "lastTimestamp")


def default_event(obj: Json) -> Json:
    """Absent times are null, and the subject and the reporter are there. Changes `obj` (its members are kept)."""
    for name in _TIMES:
        obj.setdefault(name, None)
    for name in ("involvedObject", "source"):
        if obj.get(name) is None:
            obj[name] = {}
    for name in ("reportingComponent", "reportingInstance"):
        obj.setdefault(name, "")
    if obj.get("series"):
        obj["series"] = {"lastObservedTime": None, **obj["series"]}
    return obj
