"""Which zones and nodes an endpoint is meant for. Nothing here knows of Pods or writes.

Enters: the endpoints of one address type, slice by slice: `written` those of slices that are written anyway,
`unchanged` those of the others. Leaves: the same with hints, and which unchanged slices must be written for them.

1. Only ready endpoints are given hints; what others have is neither looked at nor changed, except that it is removed
   with all the rest.
2. An unchanged slice is taken up only if its endpoints differ afterwards.
3. Nothing but hints changes, and no endpoint moves from slice to slice.

Rule: spec "controllers" §2. Ties between zones go to the first by name; upstream leaves them to chance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

import msgspec

from seaway.api.endpointslice.types import Endpoint, EndpointHints, ForNode, ForZone
from seaway.api.service.types import Service
from seaway.controllers.endpointslice.topology import MIN_ZONES, Topology, count_fewest

Endpoints: TypeAlias = tuple[Endpoint, ...]

ANNOTATION_HINTS = "service.kubernetes.io/topology-aware-hints"
"""Deprecated, but it decides alone where it is present."""
ANNOTATION_MODE = "service.kubernetes.io/topology-mode"


class Hinting(Enum):
    """How the hints of a Service are found. Rule: §2.1."""

    NONE = ""
    ZONE = "zone"
    NODE = "node"
    TOPOLOGY = "topology"


_BY_DISTRIBUTION = {
    "PreferClose": Hinting.ZONE,
    "PreferSameZone": Hinting.ZONE,
    "PreferSameNode": Hinting.NODE,
}


@dataclass(frozen=True, slots=True)
class Hinted:
    """`written` in the order given. `taken_up`: by position, the unchanged slices that must be written, too.

    unhinted: how many of how many ready endpoints got no hint. allocated: endpoints per zone, where that was decided.
    """

    written: tuple[Endpoints, ...]
    taken_up: Mapping[int, Endpoints] = field(default_factory=dict)
    unhinted: tuple[int, int] = (0, 0)
    allocated: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refused:
    """No hints. `reason` in upstream's words; `arithmetic`: the numbers that led to it."""

    reason: str
    arithmetic: str


def choose_hinting(service: Service) -> Hinting:
    """The annotation beats the field, and an unknown value of the field is none. Rule: §2.1."""
    annotations = service.metadata.annotations
    mode = annotations.get(ANNOTATION_HINTS, annotations.get(ANNOTATION_MODE))
    if mode in ("Auto", "auto"):
        return Hinting.TOPOLOGY
    return _BY_DISTRIBUTION.get(service.spec.traffic_distribution or "", Hinting.NONE)


def remove_hints(written: Sequence[Endpoints], unchanged: Sequence[Endpoints]) -> Hinted:
    """No endpoint has any."""

    def strip(endpoints: Endpoints) -> Endpoints:
        return tuple(e if e.hints is None else _with_hints(e, None) for e in endpoints)

    return _carry_over(written, unchanged, strip)


def hint_by_preference(hinting: Hinting, written: Sequence[Endpoints], unchanged: Sequence[Endpoints]) -> Hinted:
    """Every ready endpoint is meant for its own zone and, by NODE, for its own node. Rule: §2.2."""
    ready = unhinted = 0

    def hint(endpoints: Endpoints) -> Endpoints:
        nonlocal ready, unhinted
        result = []
        for endpoint in endpoints:
            if endpoint.conditions.ready is True:
                wanted = _prefer(endpoint, hinting)
                ready, unhinted = ready + 1, unhinted + (wanted is None)
                endpoint = endpoint if endpoint.hints == wanted else _with_hints(endpoint, wanted)
            result.append(endpoint)
        return tuple(result)

    hinted = _carry_over(written, unchanged, hint)
    return Hinted(hinted.written, hinted.taken_up, (unhinted, ready))


def hint_by_topology(
    topology: Topology, written: Sequence[Endpoints], unchanged: Sequence[Endpoints]
) -> Hinted | Refused:
    """Zones get endpoints by their share of CPU, each as far as possible its own. Rule: §2.3.

    Law: repeated for its own result until it changes nothing, it ends after at most a pass per slice; one pass where
    all slices are written. (Whatever sits in unchanged slices is not given away, as upstream.)
    """
    limits = _allocate(topology, sum(map(_count_ready, (*written, *unchanged))))
    if isinstance(limits, Refused):
        return limits
    allocated: dict[str, int] = {}
    rehinted: list[int] = []
    for position, endpoints in enumerate(unchanged):
        counted = _count_hints(endpoints, limits, allocated)
        if counted is None:
            rehinted.append(position)
        else:
            allocated = counted
    drafts = [list(endpoints) for endpoints in (*written, *(unchanged[position] for position in rehinted))]
    refused = _hint_own_zones(drafts, allocated)
    if refused is not None:
        return refused
    _redistribute(drafts, limits, allocated)
    if not sum(allocated.values()):
        return Refused("No hints allocated for zones", f"of {sum(map(len, drafts))} endpoints none is ready")
    results = [tuple(draft) for draft in drafts]
    taken_up = dict(zip(rehinted, results[len(written) :], strict=True))
    taken_up = {position: found for position, found in taken_up.items() if found != unchanged[position]}
    return Hinted(tuple(results[: len(written)]), taken_up, allocated=allocated)


@dataclass(frozen=True, slots=True)
class _Limit:
    """Of one zone: the endpoints that it should have, and the most that it may."""

    desired: float
    minimum: int
    maximum: int = 0


def _allocate(topology: Topology, ready: int) -> dict[str, _Limit] | Refused:
    """What each zone should get of so many ready endpoints. Every refusal has its place in the order."""
    ratios = topology.ratios
    if not ratios:
        reason = "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes"
        return Refused(reason, topology.reason)
    if len(ratios) < MIN_ZONES:
        return Refused("Nodes only ready in one zone", f"{len(ratios)} zone has Ready Nodes, {MIN_ZONES} are needed")
    counted = f"({ready} endpoints, {len(ratios)} zones)"
    if len(ratios) > ready:
        arithmetic = f"{ready} ready endpoints for {len(ratios)} zones, each needs at least 1"
        return Refused(f"Insufficient number of endpoints {counted}", arithmetic)
    minima = {zone: count_fewest(ratio * ready) for zone, ratio in ratios.items()}
    needed = sum(minima.values())
    if needed > ready:
        reason = (
            f"Unable to allocate minimum required endpoints to each zone without exceeding overload threshold {counted}"
        )
        zones = ", ".join(f"{zone} has {ratios[zone]:.1%} of the CPU and needs {minima[zone]}" for zone in ratios)
        return Refused(reason, f"{zones}; {needed} needed, {ready} ready")
    return {
        zone: _Limit(max(ratio * ready, minima[zone]), minima[zone], minima[zone] + ready - needed)
        for zone, ratio in ratios.items()
    }


def _count_hints(
    endpoints: Endpoints, limits: Mapping[str, _Limit], allocated: Mapping[str, int]
) -> dict[str, int] | None:
    """`allocated` and the slice's own hints; None when those do not do."""
    counted = dict(allocated)
    for endpoint in endpoints:
        if endpoint.conditions.ready is not True:
            continue
        zones = endpoint.hints.for_zones if endpoint.hints else ()
        if not zones or any(zone.name not in limits for zone in zones):
            return None
        for zone in zones:
            counted[zone.name] = counted.get(zone.name, 0) + 1
    added = (zone for zone, number in counted.items() if number != allocated.get(zone, 0))
    return None if any(counted[zone] > limits[zone].maximum for zone in added) else counted


def _hint_own_zones(drafts: Sequence[list[Endpoint]], allocated: dict[str, int]) -> Refused | None:
    """Every ready endpoint of the drafts is meant for its own zone, and is counted."""
    ready = [endpoint for draft in drafts for endpoint in draft if endpoint.conditions.ready is True]
    lacking = sum(not endpoint.zone for endpoint in ready)
    if lacking:
        arithmetic = f"{lacking} of {len(ready)} ready endpoints of the slices to be written have no zone"
        return Refused("One or more endpoints do not have a zone specified", arithmetic)
    for draft in drafts:
        for position, endpoint in enumerate(draft):
            if endpoint.conditions.ready is True and endpoint.zone:
                draft[position] = _for_zone(endpoint, endpoint.zone)
                allocated[endpoint.zone] = allocated.get(endpoint.zone, 0) + 1
    return None


def _redistribute(drafts: Sequence[list[Endpoint]], limits: Mapping[str, _Limit], allocated: dict[str, int]) -> None:
    """Zones with more than they should have give endpoints of their own to those with less."""
    giving, receiving = _plan_moves(limits, allocated)
    for draft in drafts:
        for position, endpoint in enumerate(draft):
            zone = endpoint.zone or ""
            if endpoint.conditions.ready is not True or not giving.get(zone):
                continue
            receiver = next(name for name in sorted(receiving) if receiving[name])
            giving[zone] -= 1
            receiving[receiver] -= 1
            allocated[zone] -= 1
            allocated[receiver] = allocated.get(receiver, 0) + 1
            draft[position] = _for_zone(endpoint, receiver)


def _plan_moves(limits: Mapping[str, _Limit], allocated: Mapping[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """How many endpoints each zone gives, and how many each receives; the sums are equal."""
    surplus = {zone: allocated.get(zone, 0) - limit.desired for zone, limit in sorted(limits.items())}
    excess = {zone: number for zone, number in surplus.items() if number > 0}
    shortage = {zone: -number for zone, number in surplus.items() if number < 0}
    giving, receiving = dict.fromkeys(excess, 0), dict.fromkeys(shortage, 0)
    while True:
        giver, most = max(excess.items(), key=lambda item: item[1], default=("", 0.0))
        receiver, least = max(shortage.items(), key=lambda item: item[1], default=("", 0.0))
        if (most < 1.0 and least < 1.0) or most < 0.5 or least < 0.5:
            return giving, receiving
        giving[giver] += 1
        receiving[receiver] += 1
        excess[giver] -= 1
        shortage[receiver] -= 1


def _carry_over(
    written: Sequence[Endpoints], unchanged: Sequence[Endpoints], change: Callable[[Endpoints], Endpoints]
) -> Hinted:
    """The same change for every slice; unchanged ones that it leaves as they are stay that."""
    taken_up = {
        position: changed for position, endpoints in enumerate(unchanged) if (changed := change(endpoints)) != endpoints
    }
    return Hinted(tuple(map(change, written)), taken_up)


def _prefer(endpoint: Endpoint, hinting: Hinting) -> EndpointHints | None:
    zones = (ForZone(name=endpoint.zone),) if endpoint.zone else ()
    nodes = (ForNode(name=endpoint.node_name),) if hinting is Hinting.NODE and endpoint.node_name else ()
    return EndpointHints(for_zones=zones, for_nodes=nodes) if zones or nodes else None


def _for_zone(endpoint: Endpoint, zone: str) -> Endpoint:
    return _with_hints(endpoint, EndpointHints(for_zones=(ForZone(name=zone),)))


def _with_hints(endpoint: Endpoint, hints: EndpointHints | None) -> Endpoint:
    return msgspec.structs.replace(endpoint, hints=hints)


def _count_ready(endpoints: Endpoints) -> int:
    return sum(endpoint.conditions.ready is True for endpoint in endpoints)
