"""Ranges of a family that the node does not have: what was meant for its Pods concerns none of them.

Rule: spec "proxy" §11.1, step 10. The node is judged by the families of its addresses. Of a node with both it is not
known which one comes first, so what is wrong there has neither.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from seaway.net.family import Family, family_of
from seaway.proxy.config import DetectLocal, NodeView, ProxyConfig, networks_of


@dataclass(frozen=True, slots=True)
class FamilyFault:
    """A setting of only the wrong family. `is_fatal`: nothing can be right with it."""

    text: str
    is_fatal: bool


def find_family_faults(config: ProxyConfig, node: NodeView, families: tuple[Family, ...]) -> tuple[FamilyFault, ...]:
    """What is set for the wrong family, in the order of the settings. families: those of the host, the first one first.

    Where Pods are to be known by ranges, none can be if the host has one family, or if the Node says the ranges.
    """
    addresses = (node.fixed_address,) if node.fixed_address else node.addresses
    homes = tuple(f for f in families if f in {family_of(a) for a in addresses}) or families[:1]
    is_single = len(families) == 1
    kind = f"{homes[0].value}-{'only' if is_single else 'primary'}"

    def judge(name: str, cidrs: tuple[str, ...], *, is_fatal: bool) -> Iterator[FamilyFault]:
        if cidrs and not any(networks_of(cidrs, family) for family in homes):
            found = next(family for family in Family if networks_of(cidrs, family))
            yield FamilyFault(f"cluster is {kind} but {name} contains only {found.value} addresses", is_fatal)

    by_range = config.detect_local is DetectLocal.CLUSTER_CIDR
    faults = list(judge("clusterCIDRs", config.cluster_cidrs, is_fatal=is_single)) if by_range else []
    faults += judge("nodePortAddresses", config.node_port_addresses or (), is_fatal=False)
    if config.detect_local is DetectLocal.NODE_CIDR:
        faults += judge("node.spec.podCIDRs", node.pod_cidrs, is_fatal=True)
    return tuple(faults)
