"""At most so many addresses in one object: the ready ones first, each subset its share.

Rule: spec "controllers" §3.4.
"""

from __future__ import annotations

from collections.abc import Sequence

from seaway.api.endpoints.subsets import count_addresses
from seaway.api.endpoints.types import EndpointSubset

MAX_ADDRESSES = 1000
"""Upstream's limit, which is no flag."""


def truncate_subsets(
    subsets: Sequence[EndpointSubset], max_addresses: int = MAX_ADDRESSES
) -> tuple[tuple[EndpointSubset, ...], bool]:
    """The subsets with no more addresses than that, and whether some are missing.

    A subset that loses all is left out: the server would refuse it.
    """
    if count_addresses(subsets) <= max_addresses:
        return tuple(subsets), False
    ready = share_out([len(subset.addresses) for subset in subsets], max_addresses)
    not_ready = share_out([len(subset.not_ready_addresses) for subset in subsets], max_addresses - sum(ready))
    kept = (
        EndpointSubset(subset.addresses[:n], subset.not_ready_addresses[:m], subset.ports)
        for subset, n, m in zip(subsets, ready, not_ready, strict=True)
        if n or m
    )
    return tuple(kept), True


def share_out(sizes: Sequence[int], budget: int) -> list[int]:
    """How many of each to keep: its share rounded up, until the budget is used; the last ones get what is left."""
    total = sum(sizes)
    if total <= budget:
        return list(sizes)
    shares: list[int] = []
    left = budget
    for size in sizes:
        shares.append(min(left, -(-size * budget // total)))
        left -= shares[-1]
    return shares
