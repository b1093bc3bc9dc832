"""Which routes lead to the Pods of other nodes, and what of the host's has to change for them.

A range of Pods is reached over its node's internal address where that is on a link of this host (flannel's `host-gw`).
Rule: spec "node" §4.6.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from seaway.api.node.types import Node
from seaway.node.network.plan import Address, Network

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface


@dataclass(frozen=True, slots=True, order=True)
class PeerRoute:
    """`network` is reached over the host `via`. Text in the forms that the address library prints."""

    network: str
    via: str


@dataclass(frozen=True, slots=True)
class LinkAddress:
    """An address of this host with the network that is reached over its link directly."""

    link: str
    interface: Interface


@dataclass(frozen=True, slots=True)
class PeerPlan:
    """routes: one per range, sorted. links: those that the routes go over, sorted. unreachable: why some have none."""

    routes: tuple[PeerRoute, ...] = ()
    links: tuple[str, ...] = ()
    unreachable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RouteChanges:
    """What has to be removed first, and what is set then, in place of another route to the same range."""

    removed: tuple[PeerRoute, ...] = ()
    set: tuple[PeerRoute, ...] = ()


def plan_peers(
    nodes: Iterable[Node],
    *,
    own_name: str,
    own_ranges: Iterable[Network],
    cluster_ranges: Iterable[Network],
    links: Iterable[LinkAddress],
) -> PeerPlan:
    """The routes to the ranges of all nodes but this one.

    1. A Node says its range and its address itself, so what it says is believed only inside the cluster's ranges,
       outside this node's, and outside those of Nodes that were there before it: nobody draws a foreign range.
    2. Over an address that is on no link of this host there is no route: the plan says which.
    """
    links, cluster = tuple(links), tuple(cluster_ranges)
    taken = list(own_ranges)
    routes, used, unreachable = [], set(), []
    for node in sorted(nodes, key=lambda node: (node.metadata.creation_timestamp or "", node.metadata.name)):
        if node.metadata.name == own_name:
            continue
        for network in _read_ranges(node):
            name = f"node {node.metadata.name}: range {network}"
            if not any(_is_inside(network, each) for each in cluster):
                unreachable.append(f"{name}: outside of the cluster's ranges; see --cluster-cidr")
                continue
            if any(network.overlaps(other) for other in taken):
                unreachable.append(f"{name}: a part of it is another node's")
                continue
            taken.append(network)
            found = _find_way(node, network, links)
            if found is None:
                unreachable.append(f"{name}: no internal address of the node is on a link of this host; route it")
                continue
            via, link = found
            routes.append(PeerRoute(str(network), str(via)))
            used.add(link)
    return PeerPlan(tuple(sorted(routes)), tuple(sorted(used)), tuple(unreachable))


def _is_inside(inner: Network, outer: Network) -> bool:
    if isinstance(inner, ipaddress.IPv4Network):
        return isinstance(outer, ipaddress.IPv4Network) and inner.subnet_of(outer)
    return isinstance(outer, ipaddress.IPv6Network) and inner.subnet_of(outer)


def _read_ranges(node: Node) -> Iterator[Network]:
    for text in node.spec.pod_cidrs or ((node.spec.pod_cidr,) if node.spec.pod_cidr else ()):
        with contextlib.suppress(ValueError):
            yield ipaddress.ip_network(text)


def _find_way(node: Node, network: Network, links: tuple[LinkAddress, ...]) -> tuple[Address, str] | None:
    """The node's first internal address of the family that is on a link, and the link."""
    own = {each.interface.ip for each in links}
    for entry in node.status.addresses:
        if entry.type != "InternalIP":
            continue
        with contextlib.suppress(ValueError):
            address = ipaddress.ip_address(entry.address)
            if address.version != network.version or address in own:
                continue
            for each in links:
                if address in each.interface.network:
                    return address, each.link
    return None


def plan_changes(wanted: Iterable[PeerRoute], found: Iterable[PeerRoute]) -> RouteChanges:
    """From the routes that are there to those that are wanted; nothing where they are the same.

    A range keeps a route while it gets another way, so that no packet is without one.
    """
    wanted, found = set(wanted), set(found)
    kept = {route.network for route in wanted}
    gone = {route for route in found - wanted if route.network not in kept}
    return RouteChanges(tuple(sorted(gone)), tuple(sorted(wanted - found)))
