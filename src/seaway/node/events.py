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
    return f"spec.{'initContainers' if is_init else 'containers'}{{{container}}}"


def make_pod_event(pod: PodManifest, happening: Happening, *, suffix: str, node: str, wall_now: datetime) -> Json:
    """The Event as it is created. suffix: makes the name unique."""
    involved = {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": pod.metadata.name,
        "namespace": pod.metadata.namespace,
        "uid": pod.uid,
        "resourceVersion": pod.metadata.resource_version,
    }
    if happening.field_path:
        involved["fieldPath"] = happening.field_path
    return _make_event(involved, pod.metadata.namespace, happening, suffix=suffix, node=node, wall_now=wall_now)


NODE_NAMESPACE = "default"
"""Where events of objects without a namespace are."""


def make_node_event(happening: Happening, *, suffix: str, node: str, wall_now: datetime) -> Json:
    """An Event of the Node; its name is its UID there, as tools look for it. Rule: spec "node" §1.6."""
    involved = {"apiVersion": "v1", "kind": "Node", "name": node, "uid": node}
    return _make_event(involved, NODE_NAMESPACE, happening, suffix=suffix, node=node, wall_now=wall_now)


def _make_event(
    involved: Json, namespace: str, happening: Happening, *, suffix: str, node: str, wall_now: datetime
) -> Json:
    now = format_time(wall_now)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{involved['name']}.{suffix}", "namespace": namespace},
        "involvedObject": involved,
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
