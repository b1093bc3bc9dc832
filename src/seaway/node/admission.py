"""Whether this node takes a Pod that is new to it: the scheduler's questions, asked again of what is there now.

A Pod that is rejected has failed, and whoever made it makes another: what waiting can cure does not reject.
Rule: spec "node" §2.9 (reasons and their order).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from seaway.api.machinery.selectors import Operator, Requirement
from seaway.api.node.types import Node, Taint
from seaway.api.pod.resources import PODS, measure_all, sum_requests
from seaway.api.pod.scheduling import NodeSelectorRequirement, NodeSelectorTerm, Toleration
from seaway.node.podspec import HostPort, PodManifest, list_host_ports

NAME_FIELD = "metadata.name"
ANY_ADDRESS = ("", "0.0.0.0", "::")
_OPERATORS = {
    "In": Operator.IN,
    "NotIn": Operator.NOT_IN,
    "Exists": Operator.EXISTS,
    "DoesNotExist": Operator.DOES_NOT_EXIST,
    "Gt": Operator.GREATER,
    "Lt": Operator.LESS,
}


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why the Pod fails here: the reason of its status and of the event."""

    reason: str
    message: str


def find_rejection(
    pod: PodManifest,
    others: Sequence[PodManifest],
    node: Node | None,
    *,
    allocatable: Mapping[str, str],
    sets_groups: bool = True,
) -> Rejection | None:
    """None: the node takes it. others: the Pods that hold something of the node. node None: not known yet.

    allocatable: what the node has for Pods, by resource. sets_groups: programs can be given groups, and none but
    those. The first reason decides.
    """
    early = _find_forbidden_sysctl(pod) or _find_lacking(pod, others, measure_all(allocatable)) or _find_other_os(pod)
    if early is not None:
        return early
    if node is not None and not matches_node(pod, node):
        return _fail("NodeAffinity", "node(s) didn't match Pod's node affinity/selector")
    if pod.spec.node_name and node is not None and pod.spec.node_name != node.metadata.name:
        return _fail("NodeName", "node(s) didn't match the requested node name")
    taken = {port for other in others for port in list_host_ports(other)}
    if any(conflicts(port, other) for port in list_host_ports(pod) for other in taken):
        return _fail("NodePorts", "node(s) didn't have free ports for the requested pod ports")
    if node is not None and not all(is_tolerated(taint, pod.spec.tolerations) for taint in node.spec.taints):
        return _fail("TaintToleration", "node(s) had taints that the pod didn't tolerate")
    security = pod.spec.security_context
    if not sets_groups and security is not None and security.supplemental_groups_policy == "Strict":
        text = "SupplementalGroupsPolicy=Strict is not supported in this node"
        return Rejection("SupplementalGroupsPolicyNotSupported", text)
    return None


IPC_SYSCTLS = ("kernel.shm_rmid_forced",)
"""Of a Pod's own IPC namespace: the one that upstream calls safe."""


def _find_forbidden_sysctl(pod: PodManifest) -> Rejection | None:
    """One that is not the Pod's own would be everybody's. Rule: spec "node" §2.9 (sysctls)."""
    for sysctl in pod.spec.security_context.sysctls if pod.spec.security_context is not None else ():
        if sysctl.name.startswith("net.") and pod.spec.host_network:
            return Rejection("SysctlForbidden", f'forbidden sysctl: "{sysctl.name}" not allowed with host net enabled')
        if not sysctl.name.startswith("net.") and sysctl.name not in IPC_SYSCTLS:
            return Rejection("SysctlForbidden", f'forbidden sysctl: "{sysctl.name}" not allowlisted')
    return None


def _find_other_os(pod: PodManifest) -> Rejection | None:
    """Rule: spec "node" §2.9."""
    if pod.spec.node_selector.get("kubernetes.io/os", "linux") != "linux":
        text = "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label"
        return Rejection("PodOSSelectorNodeLabelDoesNotMatch", text)
    if pod.spec.os is not None and pod.spec.os.name not in ("", "linux"):
        return Rejection("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS")
    return None


COUNTED_RESOURCES = ("cpu", "memory", "ephemeral-storage")
"""Those that every node has, in upstream's order. One that the node does not know is the scheduler's business."""


def _find_lacking(pod: PodManifest, others: Sequence[PodManifest], capacity: Mapping[str, int]) -> Rejection | None:
    """What the Pod asks for beyond what the others leave: cpu in thousandths, the rest in units."""
    if len(others) + 1 > capacity[PODS]:
        return _lack(PODS, 1, len(others), capacity[PODS])
    wanted = sum_requests(pod.spec)
    held = [sum_requests(other.spec) for other in others] if wanted else []
    for resource in COUNTED_RESOURCES:
        requested, room = wanted.get(resource, 0), capacity.get(resource, 0)
        used = sum(each.get(resource, 0) for each in held)
        if requested and requested > room - used:
            return _lack(resource, requested, used, room)
    return None


def _lack(resource: str, requested: int, used: int, capacity: int) -> Rejection:
    text = f"Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}"
    return Rejection(f"OutOf{resource}", text)


def _fail(predicate: str, text: str) -> Rejection:
    return Rejection(predicate, f"Predicate {predicate} failed: {text}")


def conflicts(one: HostPort, other: HostPort) -> bool:
    """Both cannot be held at once: the same port and protocol, at the same address, or one of them at all."""
    if (one[0], one[2]) != (other[0], other[2]):
        return False
    return one[1] == other[1] or one[1] in ANY_ADDRESS or other[1] in ANY_ADDRESS


def is_tolerated(taint: Taint, tolerations: Iterable[Toleration]) -> bool:
    """The taint ends no Pod that has these tolerations; one that only keeps the scheduler away ends none."""
    return taint.effect != "NoExecute" or any(_tolerates(toleration, taint) for toleration in tolerations)


def _tolerates(toleration: Toleration, taint: Taint) -> bool:
    if toleration.effect not in ("", taint.effect) or toleration.key not in ("", taint.key):
        return False
    if toleration.operator == "Exists":
        return True
    return bool(toleration.key) and toleration.value == taint.value


def matches_node(pod: PodManifest, node: Node) -> bool:
    """The node has the labels of `nodeSelector`, and one of the required terms of the affinity holds."""
    labels = node.metadata.labels
    if any(labels.get(key) != value for key, value in pod.spec.node_selector.items()):
        return False
    required = pod.spec.affinity.node_affinity.required_during_scheduling_ignored_during_execution
    return required is None or any(_holds(term, node) for term in required.node_selector_terms)


def _holds(term: NodeSelectorTerm, node: Node) -> bool:
    """All of its conditions; a term without any holds nowhere."""
    fields = {NAME_FIELD: node.metadata.name}
    met = [_is_met(each, node.metadata.labels) for each in term.match_expressions]
    met += [each.key == NAME_FIELD and _is_met(each, fields) for each in term.match_fields]
    return bool(met) and all(met)


def _is_met(condition: NodeSelectorRequirement, labels: dict[str, str]) -> bool:
    """A condition that cannot be read is not met."""
    operator = _OPERATORS.get(condition.operator)
    if operator is None:
        return False
    if operator in (Operator.GREATER, Operator.LESS):
        [bound] = condition.values if len(condition.values) == 1 else ("",)
        if not bound.removeprefix("-").isdecimal():
            return False
    return Requirement(condition.key, operator, frozenset(condition.values)).is_met(labels)
