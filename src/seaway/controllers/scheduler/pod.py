"""A Pod as the scheduler keeps it: where it is, and what it asks for, in forms that are compared without reading again.

Of a hundred thousand Pods few differ in what they ask for, so that part is a value of its own, and the cache keeps
equal ones once. What only a Pod without a node needs is kept only while it has none. The rest is the Pod that all loops
share.
Rule: spec "controllers" §7.7; what the fields mean is upstream's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from seaway.api.machinery.selectors import LabelSelector, Operator, Requirement, SelectorError, selector_from_object
from seaway.api.pod import scheduling as wire
from seaway.api.pod.resources import sum_requests
from seaway.api.pod.scheduling import Toleration
from seaway.api.pod.types import Pod

_INTEGER = re.compile(r"[+-]?\d{1,18}").fullmatch
_NODE_OPERATORS = {
    "In": Operator.IN,
    "NotIn": Operator.NOT_IN,
    "Exists": Operator.EXISTS,
    "DoesNotExist": Operator.DOES_NOT_EXIST,
    "Gt": Operator.GREATER,
    "Lt": Operator.LESS,
}
ANY_IP = "0.0.0.0"
NAME_FIELD = "metadata.name"


class HostPort(msgspec.Struct, frozen=True, order=True, gc=False):
    """A port of the node itself. `ip` "0.0.0.0" is all addresses."""

    ip: str
    protocol: str
    port: int


class NodeTerm(msgspec.Struct, frozen=True, gc=False):
    """Labels and name that a node must have, all of them. `weight`: of a preference."""

    labels: tuple[Requirement, ...] = ()
    names: tuple[Requirement, ...] = ()
    weight: int = 0


class PodTerm(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """Pods that a Pod wants near, or far, in the nodes that share a label's value.

    `weight`: of a preference, below zero for one to be far.
    """

    topology_key: str
    selector: LabelSelector | None
    namespaces: frozenset[str] = frozenset()
    namespace_selector: LabelSelector | None = None
    weight: int = 0


class Spread(msgspec.Struct, frozen=True, gc=False):
    """How evenly the selected Pods of the namespace lie over the values of a node label."""

    topology_key: str
    selector: LabelSelector | None
    max_skew: int
    is_required: bool
    min_domains: int = 1
    honours_affinity: bool = True
    honours_taints: bool = False


class Wants(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """What a Pod asks for. node_terms: one of them must hold; None: nothing is asked."""

    requests: tuple[tuple[str, int], ...] = ()
    ports: tuple[HostPort, ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    node_selector: tuple[tuple[str, str], ...] = ()
    node_terms: tuple[NodeTerm, ...] | None = None
    preferred_nodes: tuple[NodeTerm, ...] = ()
    near: tuple[PodTerm, ...] = ()
    far: tuple[PodTerm, ...] = ()
    preferred_pods: tuple[PodTerm, ...] = ()
    spread: tuple[Spread, ...] = ()


class Waiting(msgspec.Struct, frozen=True, gc=False):
    """What matters while there is no node. `told`: the message of the condition that says why."""

    priority: int = 0
    created: str = ""
    scheduler_name: str = ""
    is_gated: bool = False
    told: str = ""


class PlacedPod(Pod, frozen=True):
    """A Pod with what it asks for: a Pod for everybody else."""

    wants: Wants = Wants()
    waiting: Waiting | None = None

    @property
    def node_name(self) -> str:
        """Where the Pod lies, "" while it waits."""
        return self.spec.node_name

    @property
    def is_ending(self) -> bool:
        return self.metadata.deletion_timestamp is not None

    @property
    def has_ended(self) -> bool:
        return self.status.phase in ("Succeeded", "Failed")

    @property
    def owner(self) -> str:
        """The uid of the controller that made the Pod, or ""."""
        return next((owner.uid for owner in self.metadata.owner_references if owner.controller), "")


class Likeness(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """What of a Pod that lies somewhere bears on others: the same for all replicas of a workload."""

    namespace: str
    labels: tuple[tuple[str, str], ...]
    wants: Wants
    owner: str
    is_ending: bool


def read_likeness(pod: PlacedPod) -> Likeness:
    """Equal for equal Pods; labels are sorted."""
    meta = pod.metadata
    return Likeness(meta.namespace, tuple(sorted(meta.labels.items())), pod.wants, pod.owner, pod.is_ending)


_decode_pod = msgspec.json.Decoder(Pod).decode
_decode_wishes = msgspec.json.Decoder(wire.SchedulingPod).decode


def decode_placed_pod(body: bytes | msgspec.Raw) -> PlacedPod:
    """The Pod of the wire form. Raises msgspec.DecodeError."""
    pod, wishes = _decode_pod(body), _decode_wishes(body)
    wants = read_wants(wishes.spec, pod.metadata.namespace, pod.metadata.labels)
    waiting = None if pod.spec.node_name else _read_waiting(wishes)
    return PlacedPod(pod.metadata, pod.spec, pod.status, wants, waiting)


def _read_waiting(pod: wire.SchedulingPod) -> Waiting:
    told = next((c.message for c in pod.status.conditions if c.type == "PodScheduled" and c.status == "False"), "")
    spec = pod.spec
    created = pod.metadata.creation_timestamp
    return Waiting(spec.priority, created, spec.scheduler_name, bool(spec.scheduling_gates), told)


def read_wants(spec: wire.SchedulingSpec, namespace: str, labels: Mapping[str, str]) -> Wants:
    """What the Pod asks for; equal for equal Pods of a namespace."""
    affinity = spec.affinity
    required = affinity.node_affinity.required_during_scheduling_ignored_during_execution
    terms = None if required is None else tuple(t for t in map(_read_node_term, required.node_selector_terms) if t)
    near, far = affinity.pod_affinity, affinity.pod_anti_affinity
    preferred = affinity.node_affinity.preferred_during_scheduling_ignored_during_execution
    return Wants(
        requests=tuple(sum_requests(spec).items()),
        ports=tuple(sorted(_read_ports(spec))),
        tolerations=spec.tolerations,
        node_selector=tuple(sorted(spec.node_selector.items())),
        node_terms=terms,
        preferred_nodes=tuple(t for p in preferred if (t := _read_node_term(p.preference, p.weight)) is not None),
        near=_read_required(near, namespace, labels),
        far=_read_required(far, namespace, labels),
        preferred_pods=(*_read_preferred(near, namespace, labels, 1), *_read_preferred(far, namespace, labels, -1)),
        spread=tuple(_read_spread(constraint, labels) for constraint in spec.topology_spread_constraints),
    )


def _read_ports(spec: wire.SchedulingSpec) -> Iterable[HostPort]:
    """Of sidecars too; other init containers have ended when the node is judged by what it serves."""
    containers = [*(c for c in spec.init_containers if c.restart_policy == "Always"), *spec.containers]
    return {
        HostPort(port.host_ip or ANY_IP, port.protocol or "TCP", port.host_port)
        for container in containers
        for port in container.ports
        if port.host_port
    }


def _read_node_term(term: wire.NodeSelectorTerm, weight: int = 0) -> NodeTerm | None:
    """None for a term without conditions, or with one that cannot be read: it matches no node."""
    labels = [_read_requirement(r) for r in term.match_expressions]
    names = [_read_requirement(r) for r in term.match_fields]
    read = [r for r in labels if r is not None], [r for r in names if r is not None and r.key == NAME_FIELD]
    if not (labels or names) or len(read[0]) + len(read[1]) != len(labels) + len(names):
        return None
    return NodeTerm(tuple(read[0]), tuple(read[1]), weight)


def _read_requirement(requirement: wire.NodeSelectorRequirement) -> Requirement | None:
    operator = _NODE_OPERATORS.get(requirement.operator)
    if operator is None:
        return None
    compares = operator in (Operator.GREATER, Operator.LESS)
    if compares and (len(requirement.values) != 1 or not _INTEGER(requirement.values[0])):
        return None
    return Requirement(requirement.key, operator, frozenset(requirement.values))


def _read_required(affinity: wire.PodAffinity, namespace: str, labels: Mapping[str, str]) -> tuple[PodTerm, ...]:
    terms = affinity.required_during_scheduling_ignored_during_execution
    return tuple(_read_pod_term(term, namespace, labels) for term in terms)


def _read_preferred(
    affinity: wire.PodAffinity, namespace: str, labels: Mapping[str, str], sign: int
) -> tuple[PodTerm, ...]:
    terms = affinity.preferred_during_scheduling_ignored_during_execution
    return tuple(_read_pod_term(term.pod_affinity_term, namespace, labels, sign * term.weight) for term in terms)


def _read_pod_term(term: wire.PodAffinityTerm, namespace: str, labels: Mapping[str, str], weight: int = 0) -> PodTerm:
    """Without namespaces and a selector of them, the Pod's own is meant."""
    extra = [_take_label(key, labels, Operator.IN) for key in term.match_label_keys]
    extra += [_take_label(key, labels, Operator.NOT_IN) for key in term.mismatch_label_keys]
    own = () if term.namespaces or term.namespace_selector is not None else (namespace,)
    return PodTerm(
        term.topology_key,
        _read_selector(term.label_selector, extra),
        frozenset((*term.namespaces, *own)),
        _read_selector(term.namespace_selector),
        weight,
    )


def _read_spread(constraint: wire.TopologySpreadConstraint, labels: Mapping[str, str]) -> Spread:
    extra = [_take_label(key, labels, Operator.IN) for key in constraint.match_label_keys]
    return Spread(
        constraint.topology_key,
        _read_selector(constraint.label_selector, extra),
        constraint.max_skew,
        constraint.when_unsatisfiable != "ScheduleAnyway",
        constraint.min_domains or 1,
        constraint.node_affinity_policy != "Ignore",
        constraint.node_taints_policy == "Honor",
    )


def _take_label(key: str, labels: Mapping[str, str], operator: Operator) -> Requirement | None:
    """The Pod's own value of the label, as a condition. Servers that merge these keys themselves say it twice."""
    return Requirement(key, operator, frozenset((labels[key],))) if key in labels else None


def _read_selector(
    selector: Mapping[str, Any] | None, extra: Iterable[Requirement | None] = ()
) -> LabelSelector | None:
    """None selects nothing, and so does what cannot be read."""
    try:
        read = selector_from_object(selector)
    except SelectorError:
        return None
    added = tuple(requirement for requirement in extra if requirement is not None)
    return read if read is None or not added else LabelSelector((*read.requirements, *added))
