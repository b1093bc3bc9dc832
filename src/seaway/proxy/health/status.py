"""Whether the proxy keeps up: a change that waits too long makes it unhealthy. Rule: spec "proxy" §7.2.

Time is told, never read. What is judged is monotonic; what is shown is the wall clock's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from seaway.api.node.types import Node
from seaway.net.family import Family
from seaway.proxy.health.ports import JSON
from seaway.telemetry.page import Answer

AUTOSCALER_TAINT = "ToBeDeletedByClusterAutoscaler"
ZERO_TIME = "0001-01-01T00:00:00Z"


class Moment(NamedTuple):
    """One instant by both clocks, in seconds."""

    monotonic: float
    wall: float


@dataclass(slots=True)
class _FamilyState:
    updated: Moment | None = None
    oldest_queued: float | None = None


class ProxyHealth:
    """The state of each family, and of the node."""

    def __init__(self, families: Iterable[Family], *, timeout_seconds: float = 60.0) -> None:
        self._states = {family: _FamilyState() for family in families}
        self._timeout = timeout_seconds
        self._is_eligible = False

    def queue(self, now: Moment) -> None:
        """A change waits, in every family; only the first after a success starts the clock."""
        for state in self._states.values():
            if state.oldest_queued is None:
                state.oldest_queued = now.monotonic

    def update(self, family: Family, now: Moment, *, is_pending: bool = False) -> None:
        """The family is in step with all that was queued; is_pending: more has come since."""
        self._states[family] = _FamilyState(now, now.monotonic if is_pending else None)

    def see_node(self, node: Node | None) -> None:
        """The Node is now this. None: it is gone, and the last one seen stays. Rule: spec "proxy" §11.3."""
        if node is not None:
            self._is_eligible = is_eligible(node)

    def is_healthy(self, now: Moment) -> bool:
        """No family has let a change wait for too long."""
        return all(self._keeps_up(state, now) for state in self._states.values())

    def answer(self, path: str, now: Moment) -> Answer:
        """`/healthz` and `/livez` as JSON in one line; 404 else."""
        if path not in ("/healthz", "/livez"):
            return Answer(404, b"404 page not found\n")
        is_healthy = self.is_healthy(now)
        is_node_asked = path == "/healthz"
        is_well = is_healthy and (self._is_eligible or not is_node_asked)
        told: dict[str, Any] = {
            "lastUpdated": format_time(now if is_well else self._last_updated()),
            "currentTime": format_time(now),
        }
        if is_node_asked:
            told["nodeEligible"] = self._is_eligible
        told["healthy"] = is_healthy
        told["status"] = {
            family.value: {"lastUpdated": format_time(state.updated), "healthy": self._keeps_up(state, now)}
            for family, state in self._states.items()
        }
        return Answer(200 if is_well else 503, json.dumps(told, separators=(",", ":")).encode(), JSON)

    def _keeps_up(self, state: _FamilyState, now: Moment) -> bool:
        return state.oldest_queued is None or now.monotonic - state.oldest_queued < self._timeout

    def _last_updated(self) -> Moment | None:
        return max((s.updated for s in self._states.values() if s.updated is not None), default=None)


def is_eligible(node: Node) -> bool:
    """Load balancers may send new connections to the node: nobody is about to remove it."""
    return not node.metadata.deletion_timestamp and all(t.key != AUTOSCALER_TAINT for t in node.spec.taints)


def format_time(moment: Moment | None) -> str:
    """RFC 3339, in UTC, with as many digits of the second as there are; the zero time for never."""
    if moment is None:
        return ZERO_TIME
    text = datetime.fromtimestamp(moment.wall, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
    return text.rstrip("0").rstrip(".") + "Z"
