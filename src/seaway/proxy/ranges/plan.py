"""Which ranges count as addresses of Services, and which routes lead there.

What is new to an address of such a range that no Service has is dropped. So a range that somebody adds to the API is
taken only when it takes nothing away: not an address of this host, not a network that it has a route to, not a Pod.
What the proxy was told at its start was checked by who told it. Services in a refused range are served all the same:
theirs are elements of maps, which need no range.
Rule: spec "service-api" §5.5; "proxy" §3.5; design.md §12 (ranges are checked against the host's routes before use).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Taken:
    """A network that is somebody's, in words."""

    network: Network
    whose: str


@dataclass(frozen=True, slots=True)
class Ranges:
    """accepted: canonical, those of the configuration first. refused: each with the reason."""

    accepted: tuple[str, ...]
    refused: tuple[tuple[str, str], ...] = ()


def choose_ranges(configured: Iterable[str], told: Iterable[str], taken: Iterable[Taken]) -> Ranges:
    """told: the ranges of ServiceCIDR objects, any order, repeats allowed; what is no range is left out."""
    accepted = list(dict.fromkeys(ipaddress.ip_network(text, strict=False) for text in configured))
    refused: list[tuple[str, str]] = []
    taken = tuple(taken)
    for network in sorted(_parse_networks(told) - set(accepted), key=_order):
        owner = next((t for t in taken if _overlaps(t.network, network)), None)
        if owner is None:
            accepted.append(network)
        else:
            refused.append((str(network), f"it meets {owner.network}, {owner.whose}"))
    return Ranges(tuple(map(str, accepted)), tuple(refused))


def _parse_networks(texts: Iterable[str]) -> set[Network]:
    found = set()
    for text in texts:
        try:
            found.add(ipaddress.ip_network(text))
        except ValueError:
            continue
    return found


def _order(network: Network) -> tuple[int, int, int]:
    return network.version, int(network.network_address), network.prefixlen


def _overlaps(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


@dataclass(frozen=True, slots=True)
class RoutePlan:
    """Destinations, sorted."""

    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()


def plan_routes(have: Iterable[str], want: Iterable[str], *, is_complete: bool) -> RoutePlan:
    """is_complete: all ranges are known. Until then nothing is removed that an earlier proxy may have made."""
    have, want = frozenset(have), frozenset(want)
    return RoutePlan(tuple(sorted(want - have)), tuple(sorted(have - want)) if is_complete else ())
