"""How many replicas each ReplicaSet of a Deployment should have next. Every function returns sizes by name, of those
that change; nothing is modified.

Rule: spec "controllers" §7.5; upstream's rolling update and proportional scaling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from seaway.controllers.workloads.deployment.revisions import (
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    Family,
    age_key,
    count_in,
    read_count,
    replicas_of,
)
from seaway.controllers.workloads.shares import resolve_share

Json = dict[str, Any]
Sizes = dict[str, int]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a rollout may do: `surge` Pods more than wanted, `unavailable` fewer."""

    replicas: int
    surge: int
    unavailable: int

    @property
    def maximum(self) -> int:
        return self.replicas + self.surge

    @property
    def min_available(self) -> int:
        return self.replicas - self.unavailable


def read_bounds(deployment: Json) -> Bounds:
    """The Deployment's bounds as numbers. Both zero, which percentages of few can make: one may be missing."""
    replicas, strategy = replicas_of(deployment), deployment["spec"].get("strategy") or {}
    if strategy.get("type") != "RollingUpdate":
        return Bounds(replicas, 0, 0)
    rolling = strategy.get("rollingUpdate") or {}
    surge = resolve_share(rolling.get("maxSurge"), replicas, rounds_up=True)
    unavailable = resolve_share(rolling.get("maxUnavailable"), replicas, rounds_up=False)
    if not surge and not unavailable:
        unavailable = 1
    return Bounds(replicas, surge, min(unavailable, replicas))


def choose_new_size(deployment: Json, family: Family) -> int:
    """How many the new ReplicaSet may have now, given what the others have."""
    bounds, current = read_bounds(deployment), replicas_of(family.new) if family.new is not None else 0
    if (deployment["spec"].get("strategy") or {}).get("type") != "RollingUpdate" or current >= bounds.replicas:
        return bounds.replicas
    room = bounds.maximum - sum(map(replicas_of, family.all))
    return current + max(0, min(room, bounds.replicas - current))


def scale_old_down(deployment: Json, family: Family) -> Sizes:
    """The old ones shrink: first by what does not serve, then by what the new ones stand in for.

    Unlike upstream, what was scaled down already does not count as available, even while its status still says so.
    """
    assert family.new is not None
    bounds, old = read_bounds(deployment), [rs for rs in family.old if replicas_of(rs)]
    new_unavailable = replicas_of(family.new) - _count_serving(family.new)
    room = sum(map(replicas_of, family.all)) - bounds.min_available - new_unavailable
    if not old or room <= 0:
        return {}
    sizes = {rs["metadata"]["name"]: replicas_of(rs) for rs in old}
    for rs in old:
        name = rs["metadata"]["name"]
        broken = max(0, min(room, sizes[name] - _count_serving(rs)))
        sizes[name], room = sizes[name] - broken, room - broken
    spare = sum(map(_count_serving, family.all)) - bounds.min_available
    for rs in old:
        name = rs["metadata"]["name"]
        gone = max(0, min(spare, sizes[name]))
        sizes[name], spare = sizes[name] - gone, spare - gone
    return _changed(old, sizes)


def is_resized(deployment: Json, family: Family) -> bool:
    """The Deployment was scaled since its active ReplicaSets were."""
    return any(
        (desired := read_count(rs, DESIRED_REPLICAS)) is not None and desired != replicas_of(deployment)
        for rs in family.all
        if replicas_of(rs)
    )


def scale_in_proportion(deployment: Json, family: Family) -> Sizes:
    """Each active ReplicaSet in proportion to what it has: for a Deployment that is paused, or was resized meanwhile.

    The result holds every ReplicaSet that is to be marked with the new size, changed or not.
    """
    active = [rs for rs in family.all if replicas_of(rs)]
    if len(active) <= 1:
        only = active[0] if active else (family.new or max(family.old, key=age_key, default=None))
        return {} if only is None else {only["metadata"]["name"]: replicas_of(deployment)}
    if family.new is not None and _is_saturated(deployment, family.new):
        return {rs["metadata"]["name"]: 0 for rs in family.old if replicas_of(rs)}
    if (deployment["spec"].get("strategy") or {}).get("type") != "RollingUpdate":
        return {}
    return _share_out(deployment, active)


def _share_out(deployment: Json, active: Sequence[Json]) -> Sizes:
    bounds = read_bounds(deployment)
    total = sum(map(replicas_of, active))
    missing = (bounds.maximum if bounds.replicas else 0) - total
    newest_first = sorted(active, key=age_key, reverse=missing > 0)
    ordered = sorted(newest_first, key=replicas_of, reverse=True)
    sizes: Sizes = {}
    added = 0
    for rs in ordered:
        share = _choose_share(rs, deployment, bounds, missing - added) if missing else 0
        sizes[rs["metadata"]["name"]] = replicas_of(rs) + share
        added += share
    if missing:  # what rounding left over goes to the largest
        largest = ordered[0]["metadata"]["name"]
        sizes[largest] = max(0, sizes[largest] + missing - added)
    return sizes


def _choose_share(rs: Json, deployment: Json, bounds: Bounds, left: int) -> int:
    """What the ReplicaSet gets of what is to be given (or taken, below 0); never more than what is left."""
    size = replicas_of(rs)
    if not bounds.replicas:
        fraction = -size
    else:
        before = read_count(rs, MAX_REPLICAS) or count_in(deployment, "replicas")
        if not before:
            return 0
        fraction = (2 * size * bounds.maximum + before) // (2 * before) - size  # rounded, halves up
    return max(0, min(fraction, left)) if left > 0 else min(0, max(fraction, left))


def _is_saturated(deployment: Json, rs: Json) -> bool:
    wanted = replicas_of(deployment)
    return (
        replicas_of(rs) == wanted
        and read_count(rs, DESIRED_REPLICAS) == wanted
        and count_in(rs, "availableReplicas") == wanted
    )


def _count_serving(rs: Json) -> int:
    """Those that are available and stay."""
    return min(replicas_of(rs), count_in(rs, "availableReplicas"))


def _changed(replica_sets: Sequence[Json], sizes: Sizes) -> Sizes:
    return {
        rs["metadata"]["name"]: sizes[rs["metadata"]["name"]]
        for rs in replica_sets
        if sizes[rs["metadata"]["name"]] != replicas_of(rs)
    }
