"""How fast unready nodes are emptied: zone by zone, slower where many are lost, not at all where all are.

When every zone has lost all its nodes, it is this controller that is cut off rather than they.
Rule: spec "controllers" §6.1 (rates, threshold, large zone), §6.2 (all zones dead).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from seaway.api.node.types import LABEL_ZONE, Node
from seaway.controllers.nodes.taints import read_readiness

LABEL_REGION = "topology.kubernetes.io/region"
EXCLUDED_LABEL = "node.kubernetes.io/exclude-disruption"
RATE_PER_SECOND = 0.1
SECONDARY_RATE_PER_SECOND = 0.01
UNHEALTHY_SHARE = 0.55
LARGE_ZONE = 50
_FEW = 2


class ZoneState(Enum):
    """NORMAL: some are lost at most. PARTIAL: too many. FULL: all."""

    NORMAL = "normal"
    PARTIAL = "partial"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the zones look like. rates: nodes per second that may be emptied, by zone; is_cut_off: all are FULL."""

    states: Mapping[str, ZoneState]
    rates: Mapping[str, float]

    @property
    def is_cut_off(self) -> bool:
        return bool(self.states) and all(state is ZoneState.FULL for state in self.states.values())


def zone_of(node: Node) -> str:
    """Region and zone of the node; nodes without labels are one zone."""
    labels = node.metadata.labels
    return f"{labels.get(LABEL_REGION, '')}/{labels.get(LABEL_ZONE, '')}"


def judge_zone(ready: int, unready: int) -> ZoneState:
    """The state of a zone with so many nodes. A node that never reported is unready."""
    if not ready and unready:
        return ZoneState.FULL
    if unready > _FEW and unready / (ready + unready) >= UNHEALTHY_SHARE:
        return ZoneState.PARTIAL
    return ZoneState.NORMAL


def choose_rate(state: ZoneState, size: int) -> float:
    """Nodes per second that may be emptied in the zone. A small zone that is half lost is left alone."""
    if state is ZoneState.PARTIAL:
        return SECONDARY_RATE_PER_SECOND if size > LARGE_ZONE else 0.0
    return RATE_PER_SECOND


def survey(nodes: Iterable[Node]) -> Outlook:
    """All zones, judged by the nodes as they are."""
    counts: dict[str, list[int]] = {}
    for node in nodes:
        if EXCLUDED_LABEL not in node.metadata.labels:
            count = counts.setdefault(zone_of(node), [0, 0])
            count[read_readiness(node) != "True"] += 1
    states = {zone: judge_zone(ready, unready) for zone, (ready, unready) in sorted(counts.items())}
    rates = {zone: choose_rate(state, sum(counts[zone])) for zone, state in states.items()}
    return Outlook(states, rates)


class Pace:
    """Which unready nodes may be emptied by now: one at once per zone, the next ones at the zone's rate.

    `now` is monotonic seconds. A node that was let through stays so until `forget`.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, dict[str, None]] = {}
        self._zone_of: dict[str, str] = {}
        self._let: set[str] = set()
        self._next_at: dict[str, float] = {}

    def is_let(self, name: str) -> bool:
        """The node may be emptied."""
        return name in self._let

    def add(self, name: str, zone: str) -> None:
        """The node is unready, and waits for its turn."""
        if name in self._let or self._zone_of.get(name) == zone:
            return
        self.forget(name)
        self._zone_of[name] = zone
        self._waiting.setdefault(zone, {})[name] = None

    def let(self, name: str) -> None:
        """The node is being emptied already."""
        self.forget(name)
        self._let.add(name)

    def forget(self, name: str) -> None:
        """The node is ready again, or gone."""
        self._let.discard(name)
        zone = self._zone_of.pop(name, None)
        if zone is not None:
            del self._waiting[zone][name]
            if not self._waiting[zone]:
                del self._waiting[zone]

    def clear(self) -> None:
        """Nobody is to be emptied."""
        self._waiting.clear()
        self._zone_of.clear()
        self._let.clear()

    def advance(self, outlook: Outlook, now: float) -> tuple[str, ...]:
        """The nodes that are let through now, in the order of their zones and of their waiting."""
        if outlook.is_cut_off:
            return ()
        found = []
        for zone in sorted(self._waiting):
            rate = outlook.rates.get(zone, RATE_PER_SECOND)
            if rate and now >= self._next_at.get(zone, now):
                name = next(iter(self._waiting[zone]))
                self._next_at[zone] = now + 1 / rate
                found.append(name)
        for name in found:
            self.let(name)
        return tuple(found)

    def next_deadline(self, outlook: Outlook, now: float) -> float | None:
        """When `advance` may let another through; None while nobody waits, or may not go."""
        if outlook.is_cut_off:
            return None
        return min(
            (self._next_at.get(zone, now) for zone in self._waiting if outlook.rates.get(zone, RATE_PER_SECOND)),
            default=None,
        )
