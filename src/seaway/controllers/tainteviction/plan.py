"""How long a Pod may stay on a node, given the NoExecute taints there.

Rule: spec "controllers" §6.2 (taint eviction): the least time of the tolerations that cover its taints; for ever if
none has one; not at all if a taint is not covered. The time runs from when the taints were first seen, and goes on
when one taint takes the place of another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from seaway.api.node.types import Node, Taint
from seaway.api.pod.scheduling import Toleration
from seaway.controllers.taints import NO_EXECUTE, tolerates

Json = dict[str, Any]
COMPONENT = "taint-eviction-controller"
REASON = "TaintManagerEviction"
CONDITION = {
    "type": "DisruptionTarget",
    "status": "True",
    "reason": "DeletionByTaintManager",
    "message": "Taint manager: deleting due to NoExecute taint",
}


@dataclass(frozen=True, slots=True)
class Sentence:
    """A Pod that is to go. `since`: when its taints were first seen; `due`: when it goes. Both monotonic seconds."""

    since: float
    due: float


def find_evicting(node: Node) -> tuple[Taint, ...]:
    """The taints that drive Pods away."""
    return tuple(taint for taint in node.spec.taints if taint.effect == NO_EXECUTE)


def measure_patience(taints: Iterable[Taint], tolerations: Iterable[Toleration]) -> float | None:
    """The seconds that a Pod may stay: 0 for not at all, None for ever."""
    covers, seconds = tuple(tolerations), []
    for taint in taints:
        covering = [toleration for toleration in covers if tolerates(toleration, taint)]
        if not covering:
            return 0.0
        seconds += [t.toleration_seconds for t in covering if t.toleration_seconds is not None]
    return max(0.0, float(min(seconds))) if seconds else None


def plan_sentence(
    taints: Iterable[Taint], tolerations: Iterable[Toleration], before: Sentence | None, now: float
) -> Sentence | None:
    """When the Pod goes, or None. before: what was decided last; the time that has passed counts."""
    patience = measure_patience(taints, tolerations)
    if patience is None:
        return None
    since = before.since if before is not None else now
    return Sentence(since, since + patience)


def plan_condition(pod: Mapping[str, Any], wall_now: str) -> Json | None:
    """The condition that says why the Pod is deleted; None when it does already. pod is not modified."""
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition.get("type") == CONDITION["type"] and condition.get("status") == "True":
            return None
    return {**CONDITION, "lastTransitionTime": wall_now}
