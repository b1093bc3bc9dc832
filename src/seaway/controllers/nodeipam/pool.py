"""A range that is cut into parts of one size, one for each node. A value: allocating gives a new one.

Rule: spec "controllers" §7.8 (a bitmap, next fit with wrap-around).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace
from typing import TypeAlias

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


class Full(Exception):
    """Every part of the range is in use."""


class OutOfRange(Exception):
    """The network is no part of the range."""


@dataclass(frozen=True, slots=True)
class RangePool:
    """`used`: a bit per part, from the lowest. `next_index`: where the search for a free one begins."""

    network: Network
    mask_size: int
    used: int = 0
    next_index: int = 0

    @property
    def count(self) -> int:
        """The number of parts."""
        return 1 << (self.mask_size - self.network.prefixlen)

    def part(self, index: int) -> Network:
        """The part with the index."""
        size = self.network.max_prefixlen - self.mask_size
        return type(self.network)((int(self.network.network_address) + (index << size), self.mask_size))


def allocate(pool: RangePool) -> tuple[RangePool, Network]:
    """The next free part, from where the last search ended. Raises Full."""
    free = ~pool.used & ((1 << pool.count) - 1)
    if not free:
        raise Full(f"{pool.network}: all {pool.count} ranges of /{pool.mask_size} are in use")
    ahead = free >> pool.next_index
    index = _lowest(ahead) + pool.next_index if ahead else _lowest(free)
    taken = replace(pool, used=pool.used | (1 << index), next_index=(index + 1) % pool.count)
    return taken, pool.part(index)


def occupy(pool: RangePool, network: Network) -> RangePool:
    """The pool without the parts that the network touches. Raises OutOfRange if it is none of the range's business."""
    return replace(pool, used=pool.used | _cover(pool, network))


def release(pool: RangePool, network: Network) -> RangePool:
    """The pool with the parts of the network free again. Raises OutOfRange."""
    return replace(pool, used=pool.used & ~_cover(pool, network))


def contains(pool: RangePool, network: Network) -> bool:
    """The network lies within the range."""
    return network.version == pool.network.version and _is_within(network, pool.network)


def touches(pool: RangePool, network: Network) -> bool:
    """The network has an address in common with the range."""
    return network.version == pool.network.version and (
        _is_within(network, pool.network) or _is_within(pool.network, network)
    )


def _cover(pool: RangePool, network: Network) -> int:
    """The bits of the parts that the network touches."""
    if not touches(pool, network):
        raise OutOfRange(f"{network} found, a range of {pool.network} needed")
    size = pool.network.max_prefixlen - pool.mask_size
    base = int(pool.network.network_address)
    first = max(0, (int(network.network_address) - base) >> size)
    last = min(pool.count - 1, (int(network.broadcast_address) - base) >> size)
    return ((1 << (last - first + 1)) - 1) << first


def _is_within(inner: Network, outer: Network) -> bool:
    shift = outer.max_prefixlen - outer.prefixlen
    same = int(inner.network_address) >> shift == int(outer.network_address) >> shift
    return inner.prefixlen >= outer.prefixlen and same


def _lowest(bits: int) -> int:
    return (bits & -bits).bit_length() - 1
