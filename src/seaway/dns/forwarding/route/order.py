"""Which upstreams a query is tried at, and in which order. Rule: spec "discovery" A3.3 (policy, max_fails).

Health is what active checks found: they begin with the first error that a query met, go on until an upstream answers
anything at all, and alone decide whether it is down. Ordinary timeouts do not: a slow name says little about the
server that looked it up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from seaway.dns.forwarding.config import Policy

Draw = Callable[[int], int]
"""A number below the one given: the randomness, passed in."""


def order_upstreams(count: int, policy: Policy, *, turn: int, draw: Draw) -> tuple[int, ...]:
    """The positions of all upstreams, the one to try first leading. turn: of round robin; how many came before."""
    match policy:
        case Policy.SEQUENTIAL:
            return tuple(range(count))
        case Policy.ROUND_ROBIN:
            return tuple((turn + i) % count for i in range(count))
        case Policy.RANDOM:
            return _shuffle(count, draw)


def choose_upstreams(
    order: Sequence[int], failures: Sequence[int], *, max_fails: int, fails_fast: bool, draw: Draw
) -> tuple[int, ...]:
    """Those of the order that are up; when all are down a random one, or none where that is wished.

    failures: checks failed in a row, per position.
    """
    up = tuple(i for i in order if not is_down(failures[i], max_fails=max_fails))
    if up or fails_fast:
        return up
    return (order[draw(len(order))],)


def is_down(failures: int, *, max_fails: int) -> bool:
    """So many failed checks in a row are too many; 0 as limit: none are."""
    return 0 < max_fails < failures


def _shuffle(count: int, draw: Draw) -> tuple[int, ...]:
    """Every permutation equally often (Fisher and Yates)."""
    order = list(range(count))
    for i in range(count - 1, 0, -1):
        j = draw(i + 1)
        order[i], order[j] = order[j], order[i]
    return tuple(order)
