"""Pod as whoever places it sees it: what it asks of a node and of other Pods.

Apart from `types.py`, since these fields are many and only few readers want them. Rule: data/ (types); spec
"controllers" §7.7.
"""

from __future__ import annotations

from typing import Any

from seaway.api.machinery.meta import ObjectMeta, Reader


class Toleration(Reader, frozen=True):
    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""
    toleration_seconds: int | None = None


class NodeSelectorRequirement(Reader, frozen=True):
    key: str = ""
    operator: str = ""
    values: tuple[str, ...] = ()


class NodeSelectorTerm(Reader, frozen=True):
    match_expressions: tuple[NodeSelectorRequirement, ...] = ()
    match_fields: tuple[NodeSelectorRequirement, ...] = ()


class NodeSelector(Reader, frozen=True):
    node_selector_terms: tuple[NodeSelectorTerm, ...] = ()


class PreferredSchedulingTerm(Reader, frozen=True):
    weight: int = 0
    preference: NodeSelectorTerm = NodeSelectorTerm()


class NodeAffinity(Reader, frozen=True):
    required_during_scheduling_ignored_during_execution: NodeSelector | None = None
    preferred_during_scheduling_ignored_during_execution: tuple[PreferredSchedulingTerm, ...] = ()


class PodAffinityTerm(Reader, frozen=True):
    label_selector: dict[str, Any] | None = None
    namespaces: tuple[str, ...] = ()
    topology_key: str = ""
    namespace_selector: dict[str, Any] | None = None
    match_label_keys: tuple[str, ...] = ()
    mismatch_label_keys: tuple[str, ...] = ()


class WeightedPodAffinityTerm(Reader, frozen=True):
    weight: int = 0
    pod_affinity_term: PodAffinityTerm = PodAffinityTerm()


class PodAffinity(Reader, frozen=True):
    """Of affinity and of anti-affinity."""

    required_during_scheduling_ignored_during_execution: tuple[PodAffinityTerm, ...] = ()
    preferred_during_scheduling_ignored_during_execution: tuple[WeightedPodAffinityTerm, ...] = ()


class Affinity(Reader, frozen=True):
    node_affinity: NodeAffinity = NodeAffinity()
    pod_affinity: PodAffinity = PodAffinity()
    pod_anti_affinity: PodAffinity = PodAffinity()


class TopologySpreadConstraint(Reader, frozen=True):
    max_skew: int = 1
    topology_key: str = ""
    when_unsatisfiable: str = "DoNotSchedule"
    label_selector: dict[str, Any] | None = None
    min_domains: int | None = None
    node_affinity_policy: str = "Honor"
    node_taints_policy: str = "Ignore"
    match_label_keys: tuple[str, ...] = ()


class ContainerPort(Reader, frozen=True):
    host_port: int = 0
    host_ip: str = ""
    protocol: str = "TCP"


class ResourceRequirements(Reader, frozen=True):
    requests: dict[str, str] = {}
    limits: dict[str, str] = {}


class Container(Reader, frozen=True):
    ports: tuple[ContainerPort, ...] = ()
    resources: ResourceRequirements = ResourceRequirements()
    restart_policy: str = ""


class SchedulingGate(Reader, frozen=True):
    name: str = ""


class SchedulingSpec(Reader, frozen=True):
    node_name: str = ""
    node_selector: dict[str, str] = {}
    scheduler_name: str = "default-scheduler"
    scheduling_gates: tuple[SchedulingGate, ...] = ()
    priority: int = 0
    tolerations: tuple[Toleration, ...] = ()
    affinity: Affinity = Affinity()
    topology_spread_constraints: tuple[TopologySpreadConstraint, ...] = ()
    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    overhead: dict[str, str] = {}
    resources: ResourceRequirements = ResourceRequirements()


class SchedulingCondition(Reader, frozen=True):
    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""


class SchedulingStatus(Reader, frozen=True):
    phase: str = ""
    conditions: tuple[SchedulingCondition, ...] = ()


class SchedulingPod(Reader, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: SchedulingSpec = SchedulingSpec()
    status: SchedulingStatus = SchedulingStatus()
