"""Which addresses and ports of a Service's slices are tried, and which never are.

Whoever may write Services and slices can make this process open connections. So it dials literal addresses only, never
names; never itself, a link, the API server or a cloud's metadata; and of each Service only so many. The API server is
an address with its port: on a host of its own it shares the address with what is to be checked.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from seaway.api.endpointslice.types import LABEL_MANAGED_BY, EndpointSlice
from seaway.api.machinery.addresses import Address, find_address
from seaway.api.service.types import Service
from seaway.controllers.healthcheck.check import Check
from seaway.controllers.healthcheck.held import find_own_conditions, parse_held

WATCHED_BY_KUBELETS = "endpointslice-controller.k8s.io"
"""Who manages the slices whose endpoints are Pods."""
MAX_TARGETS = 1000
"""Of one Service: as many as a slice can hold."""
MAX_ALL_TARGETS = 5000
"""Of all Services together."""
MAX_RATE, MAX_ALL_RATE = 500.0, 1000.0
"""Tries a second, of one Service and of all: a try costs 0.15 to 0.3 ms of a processor that other loops share."""

METADATA_ADDRESSES = frozenset(
    ipaddress.ip_address(text) for text in ("fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")
)
"""Where clouds tell machines their secrets, as far as that is not link-local: AWS, Alibaba, Azure, Oracle."""


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""RFC 6052: a gateway makes the IPv4 address at the end of it."""


class Target(NamedTuple):
    """What one probe dials."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class TargetChoice:
    """What is tried of a Service, sorted. `refused`: address and reason. `left_out`: how many are too many."""

    targets: tuple[Target, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    left_out: int = 0


def is_checkable(service: Service) -> bool:
    """No kubelet watches its endpoints: there is no selector, and it is no alias."""
    return not service.spec.selector and service.spec.type != "ExternalName"


def is_checked(slice_: EndpointSlice) -> bool:
    """The slice holds addresses that no kubelet watches."""
    managed_by = slice_.metadata.labels.get(LABEL_MANAGED_BY)
    return slice_.address_type in ("IPv4", "IPv6") and managed_by != WATCHED_BY_KUBELETS


def choose_ports(check: Check, slice_: EndpointSlice) -> tuple[int, ...]:
    """The ports at which the slice's endpoints are tried; none: they are left alone."""
    if isinstance(check.port, int):
        return (check.port,)
    tcp = [port for port in slice_.ports or () if port.protocol == "TCP" and port.port]
    named = [port for port in tcp if check.port is None or port.name == check.port]
    return tuple(sorted({port.port for port in named if port.port}))


def choose_targets(
    check: Check, slices: Iterable[EndpointSlice], *, forbidden: Collection[Target] = (), max_targets: int = MAX_TARGETS
) -> TargetChoice:
    """The targets of the endpoints that should get traffic: each endpoint's first address, at each of its ports.

    slices: those that are `is_checked`. forbidden: where the API server is, in canonical form.
    """
    found: set[Target] = set()
    refused: dict[str, str] = {}
    for slice_ in slices:
        held = parse_held(slice_.metadata.annotations)
        ports = choose_ports(check, slice_)
        for endpoint in slice_.endpoints or ():
            if not endpoint.addresses or find_own_conditions(endpoint, held).ready is False:
                continue
            for target in (Target(endpoint.addresses[0], port) for port in ports):
                reason = find_refusal(target, forbidden)
                if reason:
                    refused[target.address] = reason
                else:
                    found.add(target)
    targets = sorted(found)
    return TargetChoice(tuple(targets[:max_targets]), tuple(sorted(refused.items())), len(targets[max_targets:]))


def count_allowed(check: Check, others: Iterable[tuple[Check, int]]) -> int:
    """How many targets a Service may have that asks for this check. others: check and number of all other Services."""
    count, rate = 0, 0.0
    for other, number in others:
        count += number
        rate += number / other.interval_seconds
    by_rate = min(MAX_RATE, MAX_ALL_RATE - rate) * check.interval_seconds
    return max(0, min(MAX_TARGETS, MAX_ALL_TARGETS - count, int(by_rate)))


def list_api_targets(service: Service | None, slices: Iterable[EndpointSlice]) -> frozenset[Target]:
    """Where the API server is: the Service `default/kubernetes` and its slices."""
    found = set()
    if service is not None:
        ports = [port.port for port in service.spec.ports]
        found |= {Target(ip, port) for ip in {service.spec.cluster_ip, *service.spec.cluster_ips} for port in ports}
    for slice_ in slices:
        for endpoint in slice_.endpoints or ():
            found |= {Target(a, port.port) for a in endpoint.addresses for port in slice_.ports or () if port.port}
    return frozenset(found)


def find_down(check: Check, slice_: EndpointSlice, is_down: Callable[[Target], bool]) -> frozenset[str]:
    """The addresses of the slice at which one of the ports is down."""
    ports = choose_ports(check, slice_)
    addresses = {endpoint.addresses[0] for endpoint in slice_.endpoints or () if endpoint.addresses}
    return frozenset(a for a in addresses if any(is_down(Target(a, port)) for port in ports))


def find_refusal(target: Target, forbidden: Collection[Target] = ()) -> str:
    """Why the target is never dialled; empty when it may be."""
    parsed = find_address(target.address)
    if parsed is None:
        return "no IP address"
    reasons = (_find_refusal(ip, target.port, forbidden) for ip in (parsed.address, *_list_inner(parsed.address)))
    return next((reason for reason in reasons if reason), "")


def _find_refusal(ip: Address, port: int, forbidden: Collection[Target]) -> str:
    if Target(str(ip), port) in forbidden:
        return "the API server"
    if ip in METADATA_ADDRESSES:
        return "an address of a cloud's metadata"
    kinds = {
        "an unspecified address": ip.is_unspecified,
        "a loopback address": ip.is_loopback,
        "a link-local address": ip.is_link_local,
        "a multicast address": ip.is_multicast,
        "a broadcast address": str(ip) == "255.255.255.255",
    }
    return next((kind for kind, is_so in kinds.items() if is_so), "")


def _list_inner(ip: Address) -> list[Address]:
    """The IPv4 addresses that a packet to this IPv6 address may end at: by NAT64, 6to4 or Teredo."""
    if isinstance(ip, ipaddress.IPv4Address):
        return []
    found: list[Address] = [ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)] if ip in _NAT64 else []
    found += [ip.sixtofour] if ip.sixtofour is not None else []
    return found + ([ip.teredo[1]] if ip.teredo is not None else [])
