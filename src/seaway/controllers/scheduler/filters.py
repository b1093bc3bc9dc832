"""Why a node cannot take a Pod. A filter is a function from Pod and node to the reasons; the tables have their order.

Rule: spec "controllers" §7.7; order and texts are upstream's, since users search for them. The first filter that
objects speaks for the node. Left out: volumes, since nothing here provides any.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from seaway.api.machinery.selectors import Requirement
from seaway.api.node.types import Node, Taint
from seaway.api.pod.resources import PODS
from seaway.controllers.scheduler.board import MAX_JUDGED, Judgement, Row
from seaway.controllers.scheduler.pod import ANY_IP, NAME_FIELD, HostPort, NodeTerm, Spread, Wants
from seaway.controllers.scheduler.situation import Situation
from seaway.controllers.taints import (
    NO_EXECUTE,
    NO_SCHEDULE,
    PREFER_NO_SCHEDULE,
    UNSCHEDULABLE,
    find_untolerated,
    tolerates,
)

Reasons = tuple[str, ...]
MISMATCH_PINNED = "node(s) didn't satisfy plugin(s) [NodeAffinity]"
"""Of all nodes but those that the Pod names."""


def filter_unschedulable(wants: Wants, node: Node) -> Reasons:
    """A cordoned node takes only who tolerates the taint of it, be it there yet or not."""
    if not node.spec.unschedulable:
        return ()
    cordon = Taint(key=UNSCHEDULABLE, effect=NO_SCHEDULE)
    return () if any(tolerates(t, cordon) for t in wants.tolerations) else ("node(s) were unschedulable",)


def filter_taints(wants: Wants, node: Node) -> Reasons:
    """A taint that is more than a wish must be tolerated."""
    found = find_untolerated(node.spec.taints, wants.tolerations, (NO_SCHEDULE, NO_EXECUTE))
    return ("node(s) had untolerated taint(s)",) if found else ()


def filter_node_affinity(wants: Wants, node: Node) -> Reasons:
    """The node has the labels, and is one of those that the Pod requires."""
    return () if matches_node(wants, node) else ("node(s) didn't match Pod's node affinity/selector",)


def matches_node(wants: Wants, node: Node) -> bool:
    """Selector and required affinity hold: all labels, and one of the terms."""
    labels = node.metadata.labels
    if any(labels.get(key) != value for key, value in wants.node_selector):
        return False
    return wants.node_terms is None or any(matches_term(term, node) for term in wants.node_terms)


def matches_term(term: NodeTerm, node: Node) -> bool:
    """All conditions of the term hold."""
    fields = {NAME_FIELD: node.metadata.name}
    return _all_met(term.labels, node.metadata.labels) and _all_met(term.names, fields)


def _all_met(requirements: tuple[Requirement, ...], labels: dict[str, str]) -> bool:
    return all(requirement.is_met(labels) for requirement in requirements)


def find_pinned(wants: Wants) -> frozenset[str] | None:
    """The only nodes by name that the Pod can be on, or None when names do not decide. Terms are alternatives."""
    if not wants.node_terms:
        return None
    names: set[str] = set()
    for term in wants.node_terms:
        listed = [r.values for r in term.names if r.operator.value == "in"]
        if not listed:
            return None
        names |= frozenset.intersection(*listed)
    return frozenset(names)


def filter_ports(situation: Situation, row: Row) -> Reasons:
    """Nobody on the node has the port: of the same protocol, at the same address or at all."""
    taken = row.ports
    for port in situation.pod.wants.ports:
        if port in taken or any(conflict(port, other) for other in taken):
            return ("node(s) didn't have free ports for the requested pod ports",)
    return ()


def conflict(one: HostPort, other: HostPort) -> bool:
    """Both cannot be on one node."""
    if (one.protocol, one.port) != (other.protocol, other.port):
        return False
    return one.ip == other.ip or ANY_IP in (one.ip, other.ip)


def filter_resources(situation: Situation, row: Row) -> Reasons:
    """What is left of the node is enough, of everything; each thing that is not has its reason."""
    if row.capacity is None:
        return ()
    capacity, used = row.capacity, row.used
    reasons = ["Too many pods"] if row.pods + 1 > capacity.get(PODS, 0) else []
    for name, amount in situation.pod.wants.requests:
        if amount > capacity.get(name, 0) - used[name]:
            reasons.append(f"Insufficient {name}")
    return tuple(reasons)


def filter_spread(situation: Situation, row: Row) -> Reasons:
    """With the Pod there, no domain has more than `max_skew` above the emptiest."""
    for count in situation.required_spread:
        domain = row.labels.get(count.spread.topology_key)
        if domain is None:
            return ("node(s) didn't match pod topology spread constraints (missing required label)",)
        if count.counts.get(domain, 0) + count.counts_itself - count.fewest > count.spread.max_skew:
            return ("node(s) didn't match pod topology spread constraints",)
    return ()


def filter_pods(situation: Situation, row: Row) -> Reasons:
    """Near whom the Pod wants to be, away from whom it does not, and nobody there minds."""
    labels = row.labels
    if not all(_is_near(situation, key, domains, row) for key, domains in situation.near):
        return ("node(s) didn't match pod affinity rules",)
    if any(labels.get(key) in domains for key, domains in situation.far):
        return ("node(s) didn't match pod anti-affinity rules",)
    if any(labels.get(key) in domains for key, domains in situation.repelled):
        return ("node(s) didn't satisfy existing pods anti-affinity rules",)
    return ()


def _is_near(situation: Situation, key: str, domains: frozenset[str], row: Row) -> bool:
    domain = row.labels.get(key)
    return domain is not None and (situation.starts_group or domain in domains)


STATIC_FILTERS: tuple[tuple[str, Callable[[Wants, Node], Reasons]], ...] = (
    ("NodeUnschedulable", filter_unschedulable),
    ("TaintToleration", filter_taints),
    ("NodeAffinity", filter_node_affinity),
)
"""What only the node itself decides: remembered for all Pods that ask for the same."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A row of the table below. `concerns`: whether it can object to the Pod at all."""

    name: str
    concerns: Callable[[Situation], bool]
    find: Callable[[Situation, Row], Reasons]


FILTERS: tuple[Filter, ...] = (
    Filter("NodePorts", lambda s: bool(s.pod.wants.ports), filter_ports),
    Filter("NodeResourcesFit", lambda s: True, filter_resources),
    Filter("PodTopologySpread", lambda s: bool(s.required_spread), filter_spread),
    Filter("InterPodAffinity", lambda s: bool(s.near or s.far or s.repelled), filter_pods),
)
"""What depends on the Pods that are there already. In upstream's order, after the static ones."""


def judge(wants: Wants, row: Row) -> Judgement:
    """What the node itself is to such Pods; remembered until the node changes."""
    found = row.judged.get(wants)
    if found is None:
        assert row.node is not None
        if len(row.judged) >= MAX_JUDGED:
            row.judged.clear()
        found = row.judged[wants] = _judge_anew(wants, row.node)
    return found


def _judge_anew(wants: Wants, node: Node) -> Judgement:
    avoided = len(find_untolerated(node.spec.taints, wants.tolerations, (PREFER_NO_SCHEDULE,)))
    preferred = sum(term.weight for term in wants.preferred_nodes if matches_term(term, node))
    for name, find in STATIC_FILTERS:
        if reasons := find(wants, node):
            return Judgement(reasons, name, avoided, preferred)
    return Judgement((), "", avoided, preferred)


def is_counted(wants: Wants, row: Row, spread: Spread) -> bool:
    """A spread constraint looks at the node: its policies say whether unfit nodes count."""
    assert row.node is not None
    if spread.honours_affinity and not matches_node(wants, row.node):
        return False
    return not (spread.honours_taints and filter_taints(wants, row.node))
