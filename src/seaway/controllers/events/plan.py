"""The Event about an object: one per object and reason, which counts. Rule: spec "controllers" §0.3."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, TypeAlias

from seaway.api.machinery.meta import ObjectMeta

Json: TypeAlias = dict[str, Any]

MAX_MESSAGE = 1024
"""What an Event can carry."""
_MAX_NAME = 200


@dataclass(frozen=True, slots=True)
class Happening:
    """What a loop noticed. `component` is the loop, as tools know it."""

    component: str
    reason: str
    message: str
    type: str = "Warning"


def render_event(kind: str, about: ObjectMeta, happening: Happening, wall_now: str) -> Json:
    """The Event as it is first created. The same reason has the same name: what repeats is found and counted.

    kind: of core/v1, with a namespace.
    """
    identity = f"{kind} {about.uid} {happening.component} {happening.reason}"
    digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
    involved = {"apiVersion": "v1", "kind": kind, "namespace": about.namespace, "name": about.name, "uid": about.uid}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{about.name[:_MAX_NAME]}.{digest}", "namespace": about.namespace},
        "involvedObject": {key: value for key, value in involved.items() if value},
        "type": happening.type,
        "reason": happening.reason,
        "message": happening.message[:MAX_MESSAGE],
        "source": {"component": happening.component},
        "reportingComponent": happening.component,
        "firstTimestamp": wall_now,
        "lastTimestamp": wall_now,
        "count": 1,
    }


def plan_repetition(existing: Json, event: Json) -> Json:
    """The merge patch of an Event that is there already: once more, with the words of now."""
    count = int(existing.get("count") or 1) + 1
    return {"count": count, "lastTimestamp": event["lastTimestamp"], "message": event["message"]}
