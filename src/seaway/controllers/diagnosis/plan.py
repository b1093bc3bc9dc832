"""What is said about a Service: conditions of its status, and events; each when it is news.

A condition is written when a finding has stood for a while, so that a Service may be made before its Pods; when its
text changes; and once more when the Service is mended. The status itself remembers what was said: a restart repeats
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from seaway.api.service.types import Service
from seaway.controllers.diagnosis.findings import (
    CLASS_SERVED,
    ENDPOINTS_FOUND,
    Finding,
    needs_class,
    needs_endpoints,
)

COMPONENT = "seaway-diagnosis"
WAIT_SECONDS: Mapping[str, float] = {ENDPOINTS_FOUND: 10.0, CLASS_SERVED: 30.0}
"""How long a finding stands before it is said. A load balancer needs longer than a Pod object."""

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ReportPlan:
    """`conditions`: items of a strategic patch, sorted by type. `events`: findings that are news."""

    conditions: tuple[Json, ...] = ()
    events: tuple[Finding, ...] = ()
    requeue_after_seconds: float | None = None

    @property
    def is_empty(self) -> bool:
        """Nothing is to be written."""
        return not self.conditions


def plan_report(
    service: Service, findings: Iterable[Finding], since: Mapping[str, float], *, now: float, wall_now: str
) -> ReportPlan:
    """What to write about the findings, and when to look again at those that have not stood for long.

    since: when each condition's present finding began, monotonic. A plan for its own result is empty.
    """
    found = {finding.condition: finding for finding in findings}
    conditions: list[Json] = []
    events: list[Finding] = []
    waits: list[float] = []
    for type_, applies in ((ENDPOINTS_FOUND, needs_endpoints(service)), (CLASS_SERVED, needs_class(service))):
        old = next((c for c in service.status.conditions if c.type == type_), None)
        finding = found.get(type_)
        if finding is None:
            if old is not None and not applies:
                conditions.append({"type": type_, "$patch": "delete"})
            elif old is not None and old.status != "True":
                conditions.append(_make_condition(type_, "True", "Found", "", wall_now))
            continue
        is_said = old is not None and old.status == "False"
        wait = since.get(type_, now) + WAIT_SECONDS[type_] - now
        if not is_said and wait > 0:
            waits.append(wait)
        elif old is None or not is_said or (old.reason, old.message) != (finding.reason, finding.message):
            changed_at = old.last_transition_time if old is not None and is_said else wall_now
            conditions.append(_make_condition(type_, "False", finding.reason, finding.message, changed_at))
            events.append(finding)
    return ReportPlan(tuple(sorted(conditions, key=lambda c: str(c["type"]))), tuple(events), min(waits, default=None))


def render_patch(service: Service, plan: ReportPlan) -> Json:
    """The strategic patch of the status: only the conditions that are this loop's, only of this very Service."""
    return {"metadata": {"uid": service.metadata.uid}, "status": {"conditions": list(plan.conditions)}}


def _make_condition(type_: str, status: str, reason: str, message: str, changed_at: str | None) -> Json:
    return {"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": changed_at}
