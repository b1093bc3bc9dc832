"""Subsets in one form of all that say the same: for whoever writes or compares Endpoints.

Rule: spec "service-api" §9.2. The server itself keeps what it is sent. Upstream orders ports and subsets by a hash of
its own; order means nothing to clients, so here it is the order of the values.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from seaway.api.endpoints.types import EndpointAddress, EndpointPort, EndpointSubset

AddressKey: TypeAlias = tuple[str, str]


def canonicalize_subsets(subsets: Iterable[EndpointSubset]) -> tuple[EndpointSubset, ...]:
    """The same endpoints, each port in one subset: ports that have the same addresses share it. Sorted.

    An address that is ready and not ready for one port is not ready. Addresses are the same by IP and Pod; the first
    one's other fields stand. A subset of its own form stays as it is.
    """
    values: dict[AddressKey, EndpointAddress] = {}
    ready_by_port: dict[EndpointPort | None, dict[AddressKey, bool]] = {}
    for subset in subsets:
        found = [(_identify(address), True) for address in subset.addresses]
        found += [(_identify(address), False) for address in subset.not_ready_addresses]
        for (key, _), address in zip(found, (*subset.addresses, *subset.not_ready_addresses), strict=True):
            values.setdefault(key, address)
        for port in subset.ports or (None,) if found else ():
            ready = ready_by_port.setdefault(port, {})
            for key, is_ready in found:
                ready[key] = is_ready and ready.get(key, True)
    groups: dict[frozenset[tuple[AddressKey, bool]], list[EndpointPort | None]] = {}
    for port, ready in ready_by_port.items():
        groups.setdefault(frozenset(ready.items()), []).append(port)
    made: list[EndpointSubset] = []
    for members, ports in groups.items():
        if None in ports:
            made.append(_make_subset(members, values, ()))
        named = sorted((port for port in ports if port is not None), key=sort_port)
        if named:
            made.append(_make_subset(members, values, named))
    return tuple(sorted(made, key=_sort_subset))


def count_addresses(subsets: Iterable[EndpointSubset]) -> int:
    """Ready and not; one that is in two subsets counts twice."""
    return sum(len(subset.addresses) + len(subset.not_ready_addresses) for subset in subsets)


def sort_port(port: EndpointPort) -> tuple[str, int, str, str]:
    return port.name, port.port, port.protocol, port.app_protocol or ""


def _identify(address: EndpointAddress) -> AddressKey:
    return address.ip, address.target_ref.uid if address.target_ref is not None else ""


def _make_subset(
    members: Iterable[tuple[AddressKey, bool]],
    values: dict[AddressKey, EndpointAddress],
    ports: Iterable[EndpointPort],
) -> EndpointSubset:
    chosen = sorted((_sort_address(values[key]), key, is_ready) for key, is_ready in members)
    return EndpointSubset(
        addresses=tuple(values[key] for _, key, is_ready in chosen if is_ready),
        not_ready_addresses=tuple(values[key] for _, key, is_ready in chosen if not is_ready),
        ports=tuple(ports),
    )


def _sort_address(address: EndpointAddress) -> tuple[str, bool, str]:
    """By the text of the IP, so that 10.0.0.10 comes before 10.0.0.9; those that point at nothing first."""
    ref = address.target_ref
    return address.ip, ref is not None, ref.uid if ref is not None else ""


def _sort_subset(subset: EndpointSubset) -> tuple[list[tuple[str, int, str, str]], list[AddressKey]]:
    first = (*subset.addresses, *subset.not_ready_addresses)[:1]
    return [sort_port(port) for port in subset.ports], [_identify(address) for address in first]
