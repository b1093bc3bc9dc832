"""Pods without a node onto nodes that can take them, spread evenly.

Rule: spec "controllers" §7.7. Left out: tolerations, affinity, host ports and resource requests; a node with any
NoSchedule or NoExecute taint takes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from seaway.api.machinery.meta import object_key
from seaway.api.node.types import Node
from seaway.api.pod.types import Pod

SCHEDULER_NAME = "default-scheduler"
_REPELLING = ("NoSchedule", "NoExecute")


@dataclass(frozen=True, slots=True, order=True)
class Binding:
    """The Pod (by key) goes to the node."""

    pod: str
    node: str


@dataclass(frozen=True, slots=True, order=True)
class Unschedulable:
    """No node takes the Pod now. `message` is the text of its condition and its event."""

    pod: str
    message: str


@dataclass(frozen=True, slots=True)
class BindingPlan:
    """Both sorted by Pod."""

    bind: tuple[Binding, ...] = ()
    unschedulable: tuple[Unschedulable, ...] = ()


def needs_node(pod: Pod) -> bool:
    """The Pod waits for the scheduler, and nothing else holds it."""
    return (
        not pod.spec.node_name
        and pod.metadata.deletion_timestamp is None
        and not pod.spec.scheduling_gates
        and pod.spec.scheduler_name == SCHEDULER_NAME
        and pod.status.phase not in ("Succeeded", "Failed")
    )


def plan_bindings(waiting: Iterable[Pod], nodes: Iterable[Node], pods_per_node: Mapping[str, int]) -> BindingPlan:
    """A node for each waiting Pod: the one with the fewest Pods, then the first by name.

    waiting: Pods that `needs_node`. pods_per_node: those already bound; not modified.
    """
    ordered = sorted(nodes, key=lambda n: n.metadata.name)
    reasons = {node.metadata.name: find_obstacle(node) for node in ordered}
    load = Counter(pods_per_node)
    bind: list[Binding] = []
    unschedulable: list[Unschedulable] = []
    for pod in sorted(waiting, key=lambda p: object_key(p.metadata)):
        key = object_key(pod.metadata)
        obstacles = {node.metadata.name: reasons[node.metadata.name] or _find_mismatch(pod, node) for node in ordered}
        fitting = [name for name, reason in obstacles.items() if not reason]
        if fitting:
            chosen = min(fitting, key=lambda name: (load[name], name))
            load[chosen] += 1
            bind.append(Binding(key, chosen))
        else:
            unschedulable.append(Unschedulable(key, _explain(obstacles)))
    return BindingPlan(tuple(bind), tuple(unschedulable))


def find_obstacle(node: Node) -> str:
    """Why the node takes no Pod at all, as users read it after a number; "" when it takes some."""
    if node.spec.unschedulable:
        return "node(s) were unschedulable"
    for taint in node.spec.taints:
        if taint.effect in _REPELLING:
            value = f"{taint.key}: {taint.value}" if taint.value else f"{taint.key}: "
            return f"node(s) had untolerated taint {{{value}}}"
    return "" if node.is_ready else "node(s) were not ready"


def _find_mismatch(pod: Pod, node: Node) -> str:
    labels = node.metadata.labels
    if any(labels.get(key) != value for key, value in pod.spec.node_selector.items()):
        return "node(s) didn't match Pod's node affinity/selector"
    return ""


def _explain(obstacles: Mapping[str, str]) -> str:
    if not obstacles:
        return "no nodes available to schedule pods"
    counted = sorted(f"{count} {reason}" for reason, count in Counter(obstacles.values()).items())
    return f"0/{len(obstacles)} nodes are available: {', '.join(counted)}."
