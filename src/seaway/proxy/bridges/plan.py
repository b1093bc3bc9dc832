"""Which bridges with Pods keep their frames from the rules.

A frame from one port of a bridge to another never meets a rule unless the bridge hands it over. What a Pod sends to a
cluster IP goes through the host and is translated to a Pod beside it; the answer goes straight over the bridge, is not
translated back, and the asking Pod knows nobody of that address. From other nodes the same Service works.
Rule: spec "proxy" §8.7 (bridged pods), spec "node" §4.2.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from seaway.net.family import Family
from seaway.proxy.config import PodLinks, networks_of

SYSCTLS = {Family.IPV4: "net.bridge.bridge-nf-call-iptables", Family.IPV6: "net.bridge.bridge-nf-call-ip6tables"}


@dataclass(frozen=True, slots=True)
class Bridge:
    """A bridge of the host. filtered: families whose frames it hands to the rules, by its own switch or for all."""

    name: str
    addresses: tuple[str, ...] = ()
    filtered: frozenset[Family] = frozenset()


def find_bypassing(
    bridges: Iterable[Bridge], families: Iterable[Family], *, cluster_cidrs: tuple[str, ...], pod_links: PodLinks | None
) -> tuple[tuple[str, Family], ...]:
    """(bridge, family) of those that Pods hang on and that keep frames from the rules, sorted.

    Pods hang on a bridge that is told as their link, or that has an address of the Pods' ranges: their gateway.
    """
    found = {
        (bridge.name, family)
        for bridge in bridges
        for family in families
        if family not in bridge.filtered and _has_pods(bridge, networks_of(cluster_cidrs, family), pod_links)
    }
    return tuple(sorted(found, key=lambda pair: (pair[0], pair[1].value)))


def _has_pods(bridge: Bridge, networks: tuple[str, ...], pod_links: PodLinks | None) -> bool:
    if pod_links is not None:
        return bridge.name.startswith(pod_links.name) if pod_links.is_prefix else bridge.name == pod_links.name
    ranges = [ipaddress.ip_network(text) for text in networks]
    return any(ipaddress.ip_address(address) in network for address in bridge.addresses for network in ranges)


def describe(name: str, family: Family) -> str:
    """What is wrong, what follows, and the mend."""
    return (
        f"bridge {name}: {SYSCTLS[family]} is off or br_netfilter is not loaded; {family.value} Pods on it that ask"
        f" a Service get no answer from Pods beside them; load br_netfilter and set {SYSCTLS[family]}=1"
    )
