"""Which ranges a node gets, and what is wrong with a configuration. Rule: spec "controllers" §7.8."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from seaway.api.node.types import Node
from seaway.controllers.nodeipam.pool import (
    Full,
    Network,
    OutOfRange,
    RangePool,
    allocate,
    contains,
    occupy,
    release,
    touches,
)
from seaway.net.errors import OperationalError

MASK_SIZE_IPV4, MASK_SIZE_IPV6 = 24, 64
MAX_IPV6_DIFFERENCE = 16
"""Between the masks of the range and of its parts: more parts than nobody has nodes for."""
MAX_IPV4_DIFFERENCE = 24


@dataclass(frozen=True, slots=True)
class IpamConfig:
    """The ranges that are cut up, one per family, with the size of the parts. kept_free: what no node may get."""

    ranges: tuple[tuple[Network, int], ...]
    kept_free: tuple[Network, ...] = ()


def parse_ipam(
    cluster_cidr: str, *, mask_size: int | None, ipv4_mask: int | None, ipv6_mask: int | None, service_ranges: str
) -> IpamConfig:
    """The configuration of the flags. Raises OperationalError, which names the flag."""
    ranges = _parse_networks("--cluster-cidr", cluster_cidr)
    if not 1 <= len(ranges) <= 2 or len({network.version for network in ranges}) != len(ranges):
        raise OperationalError(f"--cluster-cidr: {cluster_cidr!r} found, one range or one of each family needed")
    if mask_size is not None and len(ranges) == 2:
        raise OperationalError("--node-cidr-mask-size: two families found; use --node-cidr-mask-size-ipv4 and -ipv6")
    cut = []
    for network in ranges:
        is_ipv4 = network.version == 4
        own = ipv4_mask if is_ipv4 else ipv6_mask
        size = next(s for s in (own, mask_size, MASK_SIZE_IPV4 if is_ipv4 else MASK_SIZE_IPV6) if s is not None)
        difference, most = size - network.prefixlen, MAX_IPV4_DIFFERENCE if is_ipv4 else MAX_IPV6_DIFFERENCE
        if size > network.max_prefixlen or not 0 <= difference <= most:
            raise OperationalError(
                f"--node-cidr-mask-size: /{size} of {network} found, "
                f"/{network.prefixlen} to /{min(network.prefixlen + most, network.max_prefixlen)} allowed"
            )
        cut.append((network, size))
    return IpamConfig(tuple(cut), _parse_networks("--service-cluster-ip-range", service_ranges))


def _parse_networks(flag: str, text: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(part.strip(), strict=False) for part in text.split(",") if part.strip())
    except ValueError:
        raise OperationalError(
            f"{flag}: {text!r} found, ranges like 10.244.0.0/16 separated by commas needed"
        ) from None


class NodeRanges:
    """The ranges of all nodes. Law: what nodes have never overlaps, unless they were given so by others."""

    def __init__(self, config: IpamConfig) -> None:
        pools = [RangePool(network, size) for network, size in config.ranges]
        for network in config.kept_free:
            pools = [occupy(pool, network) if touches(pool, network) else pool for pool in pools]
        self._pools = tuple(pools)
        self._held: dict[str, tuple[Network, ...]] = {}

    def record(self, node: Node) -> None:
        """The node has its ranges, whatever it was assigned. Raises OutOfRange when one of them is none of ours."""
        name, networks = node.metadata.name, read_ranges(node)
        if not networks or networks == self._held.get(name):
            return
        self.drop(name)
        pools = list(self._pools)
        for network in networks:
            index = next((i for i, pool in enumerate(pools) if contains(pool, network)), None)
            if index is None:
                allowed = ", ".join(str(pool.network) for pool in pools)
                raise OutOfRange(f"node {name}: podCIDR {network} found, a part of {allowed} needed")
            pools[index] = occupy(pools[index], network)
        self._pools = tuple(pools)
        self._held[name] = networks

    def assign(self, name: str) -> tuple[str, ...]:
        """The ranges of a node that has none, one per family: held until `drop`. Raises Full, and holds none then."""
        held = self._held.get(name)
        if held is None:
            pools, networks = list(self._pools), []
            for index, pool in enumerate(pools):
                pools[index], network = allocate(pool)
                networks.append(network)
            self._pools, held = tuple(pools), tuple(networks)
            self._held[name] = held
        return tuple(map(str, held))

    def drop(self, name: str) -> None:
        """The node is gone, or could not be given what was assigned."""
        for network in self._held.pop(name, ()):
            self._pools = tuple(release(p, network) if contains(p, network) else p for p in self._pools)


def read_ranges(node: Node) -> tuple[Network, ...]:
    """What the node has; what cannot be read is left out."""
    return tuple(_read_each(node.spec.pod_cidrs or ((node.spec.pod_cidr,) if node.spec.pod_cidr else ())))


def _read_each(texts: Iterable[str]) -> Iterable[Network]:
    for text in texts:
        try:
            yield ipaddress.ip_network(text, strict=False)
        except ValueError:
            continue


__all__ = ["Full", "IpamConfig", "NodeRanges", "OutOfRange", "parse_ipam", "read_ranges"]
