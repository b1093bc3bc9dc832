"""A new Node takes no Pods until somebody has looked at it. Rule: spec "controllers" §6.2 (TaintNodesByCondition)."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
NOT_READY_TAINT = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}


def taint_new_node(node: Json) -> Json:
    """The Node with the taint that the loop of nodes takes off once it is not known to be unready. Not modified."""
    spec = node.get("spec") or {}
    taints = spec.get("taints") or []
    if any((t.get("key"), t.get("effect")) == tuple(NOT_READY_TAINT.values()) for t in taints):
        return node
    return {**node, "spec": {**spec, "taints": [*taints, dict(NOT_READY_TAINT)]}}
