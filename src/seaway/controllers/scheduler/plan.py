"""A node for each Pod that waits, or why there is none.

Rule: spec "controllers" §7.7. Pods are placed one after the other, by priority and then by age, each with those before
it on the board, so that two never take the same port or the last of a resource. Left out: preemption. A Pod of high
priority goes first, and waits like all others when nothing is free.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from seaway.api.machinery.meta import object_key
from seaway.controllers.scheduler.board import Board, Row
from seaway.controllers.scheduler.filters import FILTERS, MISMATCH_PINNED, Filter, find_pinned, is_counted, judge
from seaway.controllers.scheduler.pod import PlacedPod
from seaway.controllers.scheduler.scores import choose_best
from seaway.controllers.scheduler.situation import Situation, assess

SCHEDULER_NAME = "default-scheduler"


@dataclass(frozen=True, slots=True, order=True)
class Placement:
    """The Pod (by key) goes to the node."""

    pod: str
    node: str


@dataclass(frozen=True, slots=True, order=True)
class Unschedulable:
    """No node takes the Pod now. `message`: of its condition and its event. `filters`: who objected, sorted."""

    pod: str
    message: str
    filters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlacementPlan:
    """Both sorted by Pod."""

    place: tuple[Placement, ...] = ()
    unschedulable: tuple[Unschedulable, ...] = ()


def key_of(pod: PlacedPod) -> str:
    """`namespace/name`."""
    return object_key(pod.metadata)


def needs_node(pod: PlacedPod, scheduler_name: str = SCHEDULER_NAME) -> bool:
    """The Pod waits for this scheduler, and nothing else holds it."""
    waiting = pod.waiting
    return (
        waiting is not None
        and waiting.scheduler_name == scheduler_name
        and not (waiting.is_gated or pod.is_ending or pod.has_ended)
    )


def queue_order(pod: PlacedPod) -> tuple[int, str, str]:
    """Higher priority first, then who has waited longer, then by key."""
    waiting = pod.waiting
    return (-waiting.priority, waiting.created, key_of(pod)) if waiting is not None else (0, "", key_of(pod))


def put_on(pod: PlacedPod, node: str) -> PlacedPod:
    """The Pod as it is when it lies on the node."""
    spec = msgspec.structs.replace(pod.spec, node_name=node)
    return msgspec.structs.replace(pod, spec=spec, waiting=None)


def plan_placements(waiting: Iterable[PlacedPod], board: Board) -> PlacementPlan:
    """A place for each Pod that `needs_node`. The board has what was placed on it, afterwards."""
    place: list[Placement] = []
    unschedulable: list[Unschedulable] = []
    for pod in sorted(waiting, key=queue_order):
        found = find_place(pod, board)
        if isinstance(found, Placement):
            place.append(found)
            board.put_pod(found.pod, put_on(pod, found.node))
        else:
            unschedulable.append(found)
    return PlacementPlan(tuple(sorted(place)), tuple(sorted(unschedulable)))


@dataclass(frozen=True, slots=True)
class Examination:
    """The rows that can take the Pod, how often each reason was given by the others, and the filters that gave them."""

    situation: Situation
    fitting: tuple[Row, ...]
    reasons: Mapping[str, int]
    filters: tuple[str, ...]


def find_place(pod: PlacedPod, board: Board) -> Placement | Unschedulable:
    """The best of the nodes that can take the Pod. The board is read only."""
    found = examine(pod, board)
    if found.fitting:
        return Placement(key_of(pod), choose_best(found.situation, found.fitting).name)
    return Unschedulable(key_of(pod), explain(len(board.nodes), found.reasons), found.filters)


def examine(pod: PlacedPod, board: Board) -> Examination:
    """Which nodes can take the Pod, and why the others cannot."""
    wants = pod.wants
    situation = assess(pod, board, lambda row, spread: is_counted(wants, row, spread))
    active = tuple(rule for rule in FILTERS if rule.concerns(situation))
    rows, pinned = list(board.nodes.values()), find_pinned(wants)
    examined = rows if pinned is None else [row for row in rows if row.name in pinned]
    fitting: list[Row] = []
    reasons: Counter[str] = Counter()
    filters: set[str] = set()
    for row in examined:
        name, found = _find_obstacles(situation, row, active)
        if found:
            filters.add(name)
            reasons.update(found)
        else:
            fitting.append(row)
    if len(examined) < len(rows):
        filters.add("NodeAffinity")
        reasons[MISMATCH_PINNED] += len(rows) - len(examined)
    return Examination(situation, tuple(fitting), reasons, tuple(sorted(filters)))


def _find_obstacles(situation: Situation, row: Row, active: tuple[Filter, ...]) -> tuple[str, tuple[str, ...]]:
    judgement = judge(situation.pod.wants, row)
    if judgement.obstacles:
        return judgement.filter, judgement.obstacles
    for rule in active:
        if found := rule.find(situation, row):
            return rule.name, found
    return "", ()


def explain(nodes: int, reasons: Mapping[str, int]) -> str:
    """The message that users know: how many nodes there are, and how many object for which reason, sorted as text."""
    if not nodes:
        return "no nodes available to schedule pods"
    counted = sorted(f"{count} {reason}" for reason, count in reasons.items())
    return f"0/{nodes} nodes are available: {', '.join(counted)}."
