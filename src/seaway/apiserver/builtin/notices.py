"""Events that the server itself writes about objects: one per subject, reason and text, which counts its repetitions.

Rule: spec "api-machinery" §12 (Event): of the newer style where no rule asks for the classic one, with a source and a
count ("service-api" §5.5); all Warnings where the spec names no other type.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from seaway.api.registry import Resource

Json = dict[str, Any]
CLUSTER_NAMESPACE = "default"
"""Where Events about objects of cluster scope are kept."""
_INSTANCE = "kube-apiserver"
_MAX_NOTE = 1024
_MAX_NAME = 200


@dataclass(frozen=True, slots=True)
class Notice:
    """What is said about an object. namespace: empty for cluster scope."""

    resource: Resource
    namespace: str
    name: str
    uid: str
    reporter: str
    reason: str
    action: str
    note: str
    type: str = "Warning"
    is_classic: bool = False
    """With a source and a count; such an Event has no action."""

    @property
    def event_namespace(self) -> str:
        return self.namespace or CLUSTER_NAMESPACE

    @property
    def event_name(self) -> str:
        """The same for the same notice. The colons of an IPv6 address cannot stand in it."""
        seed = "\n".join((self.resource.kind, self.name, self.uid, self.reporter, self.reason, self.note))
        subject = self.name.replace(":", "-").strip("-")[:_MAX_NAME].rstrip("-.")
        return f"{subject or 'event'}.{hashlib.sha256(seed.encode()).hexdigest()[:16]}"


def make_event(notice: Notice, *, now: str) -> Json:
    """The Event when the notice is given first. now: whole seconds, RFC 3339."""
    about = {"kind": notice.resource.kind, "apiVersion": notice.resource.api_version, "name": notice.name}
    about |= {"namespace": notice.namespace} if notice.namespace else {}
    about |= {"uid": notice.uid} if notice.uid else {}
    event: Json = {
        "kind": "Event",
        "apiVersion": "v1",
        "metadata": {"name": notice.event_name, "namespace": notice.event_namespace},
        "involvedObject": about,
        "reportingComponent": notice.reporter,
        "reason": notice.reason,
        "type": notice.type,
        "message": notice.note[:_MAX_NOTE],
    }
    if notice.is_classic:
        source = {"component": notice.reporter}
        return {**event, "source": source, "count": 1, "firstTimestamp": now, "lastTimestamp": now}
    return {**event, "eventTime": _micro(now), "reportingInstance": _INSTANCE, "action": notice.action}


def repeat_event(event: Json, *, now: str) -> Json:
    """The Event after it has happened once more."""
    if event.get("source", {}).get("component"):
        return {**event, "count": (event.get("count") or 1) + 1, "lastTimestamp": now}
    count = (event.get("series") or {}).get("count") or 1
    return {**event, "series": {"count": count + 1, "lastObservedTime": _micro(now)}}


def _micro(now: str) -> str:
    return now.replace("Z", ".000000Z")
