"""How the cluster's CPU is spread over its zones, and whether a Service's hints still fit that.

Rule: spec "controllers" §2.3. Ratios and limits are doubles, computed in upstream's order: `ceil` shows every rounding.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from seaway.api.machinery.scalars import ScalarError, measure_quantity
from seaway.api.node.types import LABEL_ZONE, Node

OVERLOAD_THRESHOLD = 0.2
"""By how much the endpoints of a zone may be busier than they would be without hints."""
MIN_ZONES = 2
CONTROL_PLANE_LABELS = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
_NANOS_PER_MILLI = 1_000_000
_MAX_NAMED = 5


@dataclass(frozen=True, slots=True)
class Topology:
    """`ratios`: each zone's share of the allocatable CPU, or empty when hints cannot be computed; `reason` says why."""

    ratios: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    reason: str = "no Node is known"


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the hints of one Service were when last computed: endpoints per zone, by address type.

    is_enabled: the Service was told that it has hints. One mark for all address types, as upstream.
    """

    is_enabled: bool = False
    by_type: Mapping[str, Mapping[str, int]] = field(default_factory=lambda: MappingProxyType({}))

    def remember(self, address_type: str, allocated: Mapping[str, int]) -> Remembered:
        """With the hints of this address type."""
        return Remembered(True, MappingProxyType({**self.by_type, address_type: MappingProxyType(dict(allocated))}))

    def forget(self, address_type: str) -> Remembered:
        """Without the hints of this address type; the next ones are news again."""
        return Remembered(False, MappingProxyType({k: v for k, v in self.by_type.items() if k != address_type}))

    def keep(self, address_types: Iterable[str]) -> Remembered:
        """With these address types alone: those that the Service still has."""
        kept = {k: v for k, v in self.by_type.items() if k in set(address_types)}
        return self if len(kept) == len(self.by_type) else Remembered(self.is_enabled, MappingProxyType(kept))


NOTHING = Remembered()
"""No hints by topology are remembered."""


def compute_topology(nodes: Iterable[Node]) -> Topology:
    """The shares of the zones: of Ready nodes that are not of the control plane."""
    cpu: dict[str, int] = {}
    lacking: list[str] = []
    for node in sorted(nodes, key=lambda n: n.metadata.name):
        if not node.is_ready or any(label in node.metadata.labels for label in CONTROL_PLANE_LABELS):
            continue
        zone, milli = node.metadata.labels.get(LABEL_ZONE, ""), _measure_milli_cpu(node)
        if not zone:
            lacking.append(f"Node {node.metadata.name} has no label {LABEL_ZONE}")
        elif not milli:
            lacking.append(f"Node {node.metadata.name} has no allocatable cpu")
        else:
            cpu[zone] = cpu.get(zone, 0) + milli
    if lacking:
        more = f" and {len(lacking) - _MAX_NAMED} more" if len(lacking) > _MAX_NAMED else ""
        return Topology(reason="; ".join(lacking[:_MAX_NAMED]) + more)
    if len(cpu) < MIN_ZONES:
        return Topology(reason=f"{len(cpu)} zones have Ready worker Nodes ({', '.join(cpu) or 'none'}), 2 are needed")
    total = sum(cpu.values())
    return Topology(MappingProxyType({zone: cpu[zone] / total for zone in sorted(cpu)}), "")


def count_fewest(share: float) -> int:
    """The fewest endpoints for what would be `share` of them by CPU, so that none is overloaded."""
    return math.ceil(share * (1 / (1 + OVERLOAD_THRESHOLD)))


def is_overloaded(remembered: Remembered, topology: Topology) -> bool:
    """The Service has hints that do not fit the nodes as they are now."""
    return any(_overloads(allocated, topology.ratios) for allocated in remembered.by_type.values())


def _overloads(allocated: Mapping[str, int], ratios: Mapping[str, float]) -> bool:
    total = sum(allocated.values())
    return not ratios or any(
        zone not in allocated or allocated[zone] < count_fewest(total * ratio) for zone, ratio in ratios.items()
    )


def _measure_milli_cpu(node: Node) -> int:
    """Rounded up, as upstream's quantities are; 0 for what is no quantity."""
    try:
        return -(-measure_quantity(node.status.allocatable.get("cpu", "0")) // _NANOS_PER_MILLI)
    except (ScalarError, KeyError, ValueError):
        return 0
