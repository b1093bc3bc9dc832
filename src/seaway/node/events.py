"""Events of the agent: what happened to a Pod or to the Node, for people. Rule: spec "node" §2.4 (table of events)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from seaway.node.podspec import PodManifest
from seaway.node.state import format_time

Json = dict[str, Any]

COMPONENT = "kubelet"
"""The name under which tools look for the agent's events."""


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happened. `container`: its field path, `spec.containers{main}`, or "" for the Pod."""

    kind: str
    reason: str
    message: str
    field_path: str = ""


def make_field_path(pod: PodManifest, container: str) -> str:
    """How an event names a container."""
    is_init = any(c.name == container for c in pod.spec.init_containers)
    kind = "initContainers" if is_init else "ephemeralContainers" if pod.is_ephemeral(container) else "containers"
    return f"spec.{kind}{{{container}}}"


@dataclass(frozen=True, slots=True)
class Involved:
    """What an event is about. `namespace` "": of the cluster, whose events are in `default`."""

    kind: str
    name: str
    uid: str
    namespace: str = ""
    resource_version: str = ""

    @property
    def event_namespace(self) -> str:
        return self.namespace or "default"


def involve_pod(pod: PodManifest) -> Involved:
    """The Pod, as the agent has it now."""
    return Involved("Pod", pod.metadata.name, pod.uid, pod.metadata.namespace, pod.metadata.resource_version)


def involve_node(name: str) -> Involved:
    """The Node. Its name is the uid, by which tools find its events: kubectl describe, for one."""
    return Involved("Node", name, name)


def make_event(involved: Involved, happening: Happening, *, suffix: str, node: str, wall_now: datetime) -> Json:
    """The Event as it is created. suffix: makes the name unique."""
    now = format_time(wall_now)
    about = {"kind": involved.kind, "name": involved.name, "uid": involved.uid}
    if involved.namespace:
        about |= {"apiVersion": "v1", "namespace": involved.namespace, "resourceVersion": involved.resource_version}
    if happening.field_path:
        about["fieldPath"] = happening.field_path
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{involved.name}.{suffix}", "namespace": involved.event_namespace},
        "involvedObject": about,
        "type": happening.kind,
        "reason": happening.reason,
        "message": happening.message[:1024],
        "source": {"component": COMPONENT, "host": node},
        "reportingComponent": COMPONENT,
        "reportingInstance": node,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }


def make_repeat_patch(count: int, wall_now: datetime) -> Json:
    """The merge patch for something that happened again."""
    return {"count": count, "lastTimestamp": format_time(wall_now)}
