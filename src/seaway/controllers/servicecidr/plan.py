"""Whether a ServiceCIDR may go, and what its finalizer and its condition shall be.

A range that is in use cannot go away: the finalizer stays while an address of a Service lies in this ServiceCIDR alone.
The ten seconds run from when the deletion was first seen: clocks of hosts differ, and a restart only makes it longer.
Rule: spec "service-api" §5.5 (life-cycle controller), "controllers" §8.1.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from seaway.api.servicecidr.types import FINALIZER, Condition, ServiceCIDR

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

DRAIN_SECONDS = 10.0
"""Upstream's: by then every API server has seen that it shall not draw from the range."""
_SHORTEST_SECONDS = 0.1  # a rounding error of the clock is not waited for again and again
READY_TEXT = "Kubernetes Service CIDR is ready"
TERMINATING = "Terminating"
TERMINATING_TEXT = (
    "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR"
)


@dataclass(frozen=True, slots=True)
class ServiceCIDRPlan:
    """What is to be written, in this order. condition: None when it is right as it is."""

    adds_finalizer: bool = False
    condition: Condition | None = None
    drops_finalizer: bool = False
    requeue_after_seconds: float | None = None


def plan_service_cidr(
    subject: ServiceCIDR, all_ranges: Iterable[ServiceCIDR], addresses: Iterable[str], *, deleting_for_seconds: float
) -> ServiceCIDRPlan:
    """What keeps the ServiceCIDR right. addresses: names of the IPAddresses that the allocator manages.

    all_ranges may hold the subject itself, which is told by its name.
    """
    has_finalizer = FINALIZER in subject.metadata.finalizers
    if not subject.is_deleting:
        ready = _change(subject, Condition("Ready", "True", "", READY_TEXT))
        return ServiceCIDRPlan(adds_finalizer=not has_finalizer, condition=ready)
    if not has_finalizer:
        return ServiceCIDRPlan()
    others = [other for other in all_ranges if other.metadata.name != subject.metadata.name]
    if not may_go(subject, others, addresses):
        return ServiceCIDRPlan(condition=_change(subject, Condition("Ready", "False", TERMINATING, TERMINATING_TEXT)))
    left = DRAIN_SECONDS - deleting_for_seconds
    if left > 0:
        return ServiceCIDRPlan(requeue_after_seconds=max(left, _SHORTEST_SECONDS))
    return ServiceCIDRPlan(drops_finalizer=True)


def may_go(subject: ServiceCIDR, others: Iterable[ServiceCIDR], addresses: Iterable[str]) -> bool:
    """Other ServiceCIDRs cover all of it, or no address lies in it alone. The state of the others is not looked at."""
    mine = networks_of(subject)
    theirs = [network for other in others for network in networks_of(other)]
    if all(any(_covers(other, network) for other in theirs) for network in mine):
        return True
    return not any(contains(mine, address) and not contains(theirs, address) for address in addresses)


def networks_of(cidr: ServiceCIDR) -> list[Network]:
    """Its ranges. A text that is none is left out: the server takes none in."""
    return [network for text in cidr.spec.cidrs if (network := _find_network(text)) is not None]


def contains(networks: Iterable[Network], address: str) -> bool:
    """One of the ranges can hand out the address: neither a network's own nor, for IPv4, its broadcast address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(_can_hand_out(network, parsed) for network in networks)


def overlaps(left: ServiceCIDR, right: ServiceCIDR) -> bool:
    """An address may lie in both."""
    pairs = ((one, other) for one in networks_of(left) for other in networks_of(right))
    return any(one.version == other.version and one.overlaps(other) for one, other in pairs)


def _can_hand_out(network: Network, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if address not in network or address == network.network_address:
        return False
    return network.version == 6 or address != network.broadcast_address


def _covers(outer: Network, inner: Network) -> bool:
    return outer.version == inner.version and inner.subnet_of(outer)  # type: ignore[arg-type]


def _find_network(text: str) -> Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _change(subject: ServiceCIDR, wanted: Condition) -> Condition | None:
    return None if subject.ready == wanted else wanted
