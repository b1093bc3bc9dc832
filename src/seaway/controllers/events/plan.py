"""The Event about an object: one per object and reason, which counts. Rule: spec "controllers" §0.3."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, TypeAlias

from seaway.api.machinery.meta import ObjectMeta
from seaway.api.registry import Resource

Json: TypeAlias = dict[str, Any]

MAX_MESSAGE = 1024
"""What an Event can carry."""
_MAX_NAME = 200


@dataclass(frozen=True, slots=True)
class Happening:
    """What a loop noticed. `component` is the loop, as tools know it.

    series: what tells two events of one reason apart; with "", the latest message replaces the one before.
    """

    component: str
    reason: str
    message: str
    type: str = "Warning"
    series: str = ""


def render_event(resource: Resource, about: ObjectMeta, happening: Happening, wall_now: str) -> Json:
    """The Event as it is first created. The same reason has the same name: what repeats is found and counted.

    An object of cluster scope has its Events in `default`.
    """
    identity = f"{resource.kind} {about.uid} {happening.component} {happening.reason} {happening.series}"
    digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
    involved = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "namespace": about.namespace,
        "name": about.name,
        "uid": about.uid,
    }
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{about.name[:_MAX_NAME]}.{digest}", "namespace": about.namespace or "default"},
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
