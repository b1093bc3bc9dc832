"""Which ports of the node lead to which Pod. Rule: spec "node" §4.5 (what CNI's portmap does)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
from typing import Any

from seaway.node.podspec import PodManifest, spell_host_ip

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

PROTOCOLS = ("TCP", "UDP", "SCTP")
MAX_PORT = 65535


@dataclass(frozen=True, slots=True, order=True)
class PortMapping:
    """What a Pod asks for. An empty `host_ip`: every address of the node."""

    protocol: str
    host_port: int
    host_ip: str
    container_port: int


@dataclass(frozen=True, slots=True)
class HostPort:
    """One port of one family. `address` None: every local address; `target` is the Pod's."""

    protocol: str
    port: int
    address: Address | None
    target: Address
    target_port: int

    @property
    def takes_loopback(self) -> bool:
        """A client on the node may come by 127.0.0.1. For IPv6 there is no such way: `::1` cannot be translated."""
        return self.target.version == 4 and (self.address is None or self.address.is_loopback)


def find_mappings(pod: PodManifest) -> tuple[PortMapping, ...]:
    """What the Pod asks for, sorted, each once; nothing on the host's network, where its ports are the node's."""
    if pod.spec.host_network:
        return ()
    containers = (*(c for c in pod.spec.init_containers if c.is_sidecar), *pod.spec.containers)
    found = {
        PortMapping(port.protocol or "TCP", port.host_port, spell_host_ip(port.host_ip), port.container_port)
        for container in containers
        for port in container.ports
        if port.host_port
    }
    return tuple(sorted(found))


def plan_host_ports(mappings: Iterable[PortMapping], targets: Iterable[Address]) -> tuple[HostPort, ...]:
    """The ports of one Pod. A host IP counts for its own family only; 0.0.0.0 and :: are every address of theirs."""
    return tuple(found for mapping in mappings for target in targets for found in _plan_one(mapping, target))


def _plan_one(mapping: PortMapping, target: Address) -> Iterator[HostPort]:
    address = ipaddress.ip_address(mapping.host_ip) if mapping.host_ip else None
    if address is not None and address.version != target.version:
        return
    if address is not None and address.is_unspecified:
        address = None
    yield HostPort(mapping.protocol, mapping.host_port, address, target, mapping.container_port)


def sort_host_ports(ports: Iterable[HostPort]) -> tuple[HostPort, ...]:
    """In the order of the rules: a port of one address comes before the same port of all."""
    return tuple(sorted(ports, key=_order))


def _order(port: HostPort) -> tuple[Any, ...]:
    address = str(port.address)
    return (
        port.address is None, port.target.version, port.protocol, port.port, address, port.target, port.target_port,
    )  # fmt: skip


def encode_mappings(held: Mapping[str, tuple[PortMapping, ...]]) -> dict[str, list[list[Any]]]:
    """By Pod UID, as it is kept on disk."""
    return {uid: [list(astuple(mapping)) for mapping in mappings] for uid, mappings in sorted(held.items())}


def decode_mappings(saved: object) -> dict[str, tuple[PortMapping, ...]]:
    """What was kept; what cannot be read is left out."""
    if not isinstance(saved, dict):
        return {}
    found: dict[str, tuple[PortMapping, ...]] = {}
    for uid, entries in saved.items():
        mappings = [PortMapping(*entry) for entry in entries if isinstance(entry, list) and len(entry) == 4]
        found[uid] = tuple(mapping for mapping in mappings if _is_sound(mapping))
    return {uid: mappings for uid, mappings in found.items() if mappings}


def _is_sound(mapping: PortMapping) -> bool:
    return mapping.protocol in PROTOCOLS and all(
        isinstance(port, int) and 0 < port <= MAX_PORT for port in (mapping.host_port, mapping.container_port)
    )
