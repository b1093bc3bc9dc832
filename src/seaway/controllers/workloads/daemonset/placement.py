"""What a daemon's Pod has that its template has not: one node, and patience with nodes in trouble.

Rule: spec "controllers" §7.6.
"""

from __future__ import annotations

from typing import Any

from seaway.controllers.scheduler.pod import NAME_FIELD

Json = dict[str, Any]
_PREFIX = "node.kubernetes.io/"
_TOLERATED = (
    ("not-ready", "NoExecute"),
    ("unreachable", "NoExecute"),
    ("disk-pressure", "NoSchedule"),
    ("memory-pressure", "NoSchedule"),
    ("pid-pressure", "NoSchedule"),
    ("unschedulable", "NoSchedule"),
)


def add_tolerations(spec: Json) -> Json:
    """The Pod's specification with what a daemon puts up with; not modified."""
    wanted = [*_TOLERATED, *((("network-unavailable", "NoSchedule"),) if spec.get("hostNetwork") else ())]
    added = [{"key": _PREFIX + key, "operator": "Exists", "effect": effect} for key, effect in wanted]
    had: list[Json] = spec.get("tolerations") or []
    return {**spec, "tolerations": [*had, *(one for one in added if one not in had)]}


def pin_to_node(spec: Json, node: str) -> Json:
    """The Pod's specification that only that node can take; what it preferred stays. Not modified."""
    affinity = spec.get("affinity") or {}
    requirement = {"key": NAME_FIELD, "operator": "In", "values": [node]}
    required = {"nodeSelectorTerms": [{"matchFields": [requirement]}]}
    of_nodes = {**(affinity.get("nodeAffinity") or {}), "requiredDuringSchedulingIgnoredDuringExecution": required}
    return {**spec, "affinity": {**affinity, "nodeAffinity": of_nodes}}
