"""Which of the nodes that can take a Pod is best. Each score is 0 to 100, and has upstream's weight.

Rule: spec "controllers" §7.7 (any scoring will do, if it spreads); weights are upstream's. Left out: images that a node
has already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from seaway.api.pod.resources import CPU, MEMORY
from seaway.controllers.scheduler.board import Row, scored_requests
from seaway.controllers.scheduler.filters import judge
from seaway.controllers.scheduler.situation import Situation, SpreadCount

MAX_SCORE = 100
ZONE_SHARE = 2 / 3
"""Of the spreading of siblings: zones matter more than nodes."""

Scores = list[float]


def choose_best(situation: Situation, rows: Sequence[Row]) -> Row:
    """The row with the highest score; of equal ones that with the fewest Pods, then the first by name. Not empty."""
    if len(rows) == 1:
        return rows[0]
    totals = [0.0] * len(rows)
    for weight, score in SCORERS:
        scores = score(situation, rows)
        if scores is not None:
            totals = [total + weight * own for total, own in zip(totals, scores, strict=True)]
    best = min(range(len(rows)), key=lambda i: (-round(totals[i], 6), rows[i].pods, rows[i].name))
    return rows[best]


def score_taints(situation: Situation, rows: Sequence[Row]) -> Scores | None:
    """Fewer taints that would rather not have the Pod."""
    return _fewer_is_better([judge(situation.pod.wants, row).avoided for row in rows])


def score_node_affinity(situation: Situation, rows: Sequence[Row]) -> Scores | None:
    """More weight of the preferences that the node meets."""
    if not situation.pod.wants.preferred_nodes:
        return None
    return _more_is_better([judge(situation.pod.wants, row).preferred for row in rows])


def score_resources(situation: Situation, rows: Sequence[Row]) -> Scores | None:
    """More is left, and cpu and memory are used alike."""
    wanted = scored_requests(situation.pod.wants)
    cpu, memory = wanted[CPU], wanted[MEMORY]
    scores = []
    for row in rows:
        if row.capacity is None:
            scores.append(0.0)
            continue
        of_cpu, of_memory = row.capacity.get(CPU, 0), row.capacity.get(MEMORY, 0)
        used_cpu = min(1.0, (row.scored[CPU] + cpu) / of_cpu) if of_cpu else 1.0
        used_memory = min(1.0, (row.scored[MEMORY] + memory) / of_memory) if of_memory else 1.0
        left = MAX_SCORE * (1 - (used_cpu + used_memory) / 2)
        scores.append(left + MAX_SCORE * (1 - abs(used_cpu - used_memory) / 2))
    return scores


def score_siblings(situation: Situation, rows: Sequence[Row]) -> Scores | None:
    """Fewer Pods of the same Service or owner, on the node and in its zone."""
    per_node, by_zone = situation.siblings, situation.siblings_by_zone
    if not per_node:
        return None
    here = _fewer_is_better([per_node.get(row.name, 0) for row in rows]) or [0.0] * len(rows)
    if not by_zone:
        return here
    there = _fewer_is_better([by_zone.get(row.zone, 0) for row in rows]) or [0.0] * len(rows)
    return [(1 - ZONE_SHARE) * own + ZONE_SHARE * zone for own, zone in zip(here, there, strict=True)]


def score_spread(situation: Situation, rows: Sequence[Row]) -> Scores | None:
    """Fewer Pods in the domains of what the Pod wishes to be spread over; a node without the label is worst."""
    if not situation.wished_spread:
        return None
    return _fewer_is_better([sum(_crowding(count, row) for count in situation.wished_spread) for row in rows])


def _crowding(count: SpreadCount, row: Row) -> int:
    domain = row.labels.get(count.spread.topology_key)
    return max(count.counts.values(), default=0) + 1 if domain is None else count.counts.get(domain, 0)


def score_pods(situation: Situation, rows: Sequence[Row]) -> Scores | None:
    """More weight of the Pods that this one prefers near, or that prefer it; less of those that would rather not."""
    if not situation.wished_pods:
        return None
    return _more_is_better(
        [sum(weights.get(row.labels.get(key, ""), 0) for key, weights in situation.wished_pods) for row in rows]
    )


SCORERS: tuple[tuple[int, Callable[[Situation, Sequence[Row]], Scores | None]], ...] = (
    (3, score_taints),
    (2, score_node_affinity),
    (1, score_resources),
    (2, score_siblings),
    (2, score_spread),
    (2, score_pods),
)
"""Weight and function. None: the score says nothing about these nodes."""


def _more_is_better(values: Sequence[int]) -> Scores | None:
    low, high = min(values), max(values)
    return None if low == high else [MAX_SCORE * (value - low) / (high - low) for value in values]


def _fewer_is_better(values: Sequence[int]) -> Scores | None:
    low, high = min(values), max(values)
    return None if low == high else [MAX_SCORE * (high - value) / (high - low) for value in values]
