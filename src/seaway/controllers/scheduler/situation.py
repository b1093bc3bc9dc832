"""What the nodes together mean to one Pod, worked out once before they are looked at one by one.

Rule: upstream's inter-Pod affinity and topology spread. Pods that match all affinity terms count, as there; the first
Pod of a group that wants to be near itself may lie anywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from seaway.controllers.scheduler.board import Board, Group, Row
from seaway.controllers.scheduler.pod import PlacedPod, PodTerm, Spread

IsCounted = Callable[[Row, Spread], bool]


@dataclass(frozen=True, slots=True)
class SpreadCount:
    """One constraint: how many Pods lie in each domain, the fewest of all, and whether the Pod itself would count."""

    spread: Spread
    counts: Mapping[str, int]
    fewest: int
    counts_itself: bool


@dataclass(frozen=True, slots=True)
class Situation:
    """near: domains with Pods that the Pod wants near, per term. far: domains that it keeps away from, per label.

    starts_group: nobody is there yet to be near to, and the Pod is one of those that it looks for. repelled: domains
    whose Pods keep it away. siblings: Pods of the same owner or Service, per node; siblings_by_zone: per zone.
    """

    pod: PlacedPod
    near: tuple[tuple[str, frozenset[str]], ...] = ()
    starts_group: bool = False
    far: tuple[tuple[str, frozenset[str]], ...] = ()
    repelled: tuple[tuple[str, frozenset[str]], ...] = ()
    required_spread: tuple[SpreadCount, ...] = ()
    wished_spread: tuple[SpreadCount, ...] = ()
    wished_pods: tuple[tuple[str, Mapping[str, int]], ...] = ()
    siblings: Mapping[str, int] | None = None
    siblings_by_zone: Mapping[str, int] | None = None


def assess(pod: PlacedPod, board: Board, is_counted: IsCounted) -> Situation:
    """The situation of the Pod. is_counted: the node is one of those that a constraint looks at."""
    wants = pod.wants
    near, starts_group = _assess_near(pod, board)
    required = tuple(s for s in wants.spread if s.is_required)
    wished = tuple(s for s in wants.spread if not s.is_required)
    siblings, by_zone = (None, None) if wants.spread else _count_siblings(pod, board)
    return Situation(
        pod,
        near=near,
        starts_group=starts_group,
        far=tuple((term.topology_key, _occupied(term, board)) for term in wants.far),
        repelled=_assess_repelled(pod, board),
        required_spread=_assess_spread(pod, board, required, is_counted),
        wished_spread=_assess_spread(pod, board, wished, is_counted),
        wished_pods=tuple(_weigh(pod, board)),
        siblings=siblings,
        siblings_by_zone=by_zone,
    )


def count_by_domain(board: Board, topology_key: str, per_node: Mapping[str, int]) -> Counter[str]:
    """Counts of nodes as counts of the values of a label; nodes that are unknown or lack it are left out."""
    counts: Counter[str] = Counter()
    for name, count in per_node.items():
        row = board.nodes.get(name)
        if row is not None and topology_key in row.labels:
            counts[row.labels[topology_key]] += count
    return counts


def _assess_near(pod: PlacedPod, board: Board) -> tuple[tuple[tuple[str, frozenset[str]], ...], bool]:
    terms = pod.wants.near
    if not terms:
        return (), False
    per_node = board.tally(Group(terms))
    near = tuple((t.topology_key, frozenset(count_by_domain(board, t.topology_key, per_node))) for t in terms)
    is_alone = not any(domains for _, domains in near)
    return near, is_alone and all(board.matches(term, pod) for term in terms)


def _occupied(term: PodTerm, board: Board) -> frozenset[str]:
    return frozenset(count_by_domain(board, term.topology_key, board.tally(Group((term,)))))


def _assess_repelled(pod: PlacedPod, board: Board) -> tuple[tuple[str, frozenset[str]], ...]:
    found: dict[str, set[str]] = {}
    for term, per_node in board.far.items():
        if board.matches(term, pod):
            found.setdefault(term.topology_key, set()).update(count_by_domain(board, term.topology_key, per_node))
    return tuple((key, frozenset(domains)) for key, domains in sorted(found.items()))


def _assess_spread(
    pod: PlacedPod, board: Board, constraints: tuple[Spread, ...], is_counted: IsCounted
) -> tuple[SpreadCount, ...]:
    """Only nodes that have all the labels count, for each constraint those that its policies let count."""
    if not constraints:
        return ()
    keys = [constraint.topology_key for constraint in constraints]
    rows = [row for row in board.nodes.values() if all(key in row.labels for key in keys)]
    counted = []
    for constraint in constraints:
        term = PodTerm("", constraint.selector, frozenset((pod.metadata.namespace,)))
        per_node = board.tally(Group((term,), counts_ending=False))
        counts: Counter[str] = Counter()
        for row in rows:
            if is_counted(row, constraint):
                counts[row.labels[constraint.topology_key]] += per_node.get(row.name, 0)
        fewest = min(counts.values(), default=0) if len(counts) >= constraint.min_domains else 0
        counted.append(SpreadCount(constraint, counts, fewest, board.matches(term, pod)))
    return tuple(counted)


def _weigh(pod: PlacedPod, board: Board) -> list[tuple[str, Mapping[str, int]]]:
    """The label and the weight of each of its values, of each preference: the Pod's own, and of Pods that lie there."""
    terms = [(term, board.tally(Group((term,)))) for term in pod.wants.preferred_pods]
    terms += [(term, per_node) for term, per_node in board.preferring.items() if board.matches(term, pod)]
    weighed: list[tuple[str, Mapping[str, int]]] = []
    for term, per_node in terms:
        counts = count_by_domain(board, term.topology_key, per_node)
        weighed.append((term.topology_key, {value: term.weight * n for value, n in counts.items()}))
    return weighed


def _count_siblings(pod: PlacedPod, board: Board) -> tuple[Mapping[str, int], Mapping[str, int]]:
    per_node = board.count_siblings(pod)
    by_zone: Counter[str] = Counter()
    for name, count in per_node.items():
        row = board.nodes.get(name)
        if row is not None and row.zone:
            by_zone[row.zone] += count
    return per_node, by_zone
