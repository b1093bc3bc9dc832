"""Reads the counters of the kernel, when somebody asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from seaway.net.family import Family
from seaway.proxy.counting.plan import Reading
from seaway.proxy.nftables.kernel import NftKernel
from seaway.proxy.nftables.structure import ENTRANCES


def read_connections(families: Iterable[Family], table: str) -> list[Reading]:
    """All counters of the table in these families. Takes some 10 µs for each; needs no event loop. Raises NftError."""
    kernel = NftKernel()  # one of its own: what it is told is nobody else's reply
    try:
        return [reading for family in families for reading in _read_family(kernel, family, table)]
    finally:
        kernel.close()


def _read_family(kernel: NftKernel, family: Family, table: str) -> Iterator[Reading]:
    for entrance in ENTRANCES:
        name = entrance.connections
        for key, label, packets in kernel.read_counts(family, table, name):
            yield Reading((family.value, name, key), label, packets)
