"""May a Pod be evicted? What its disruption budget says, and what the budget remembers of it. Pure.

Rule: spec "api-machinery" §9.2, §1.4 (429); upstream's eviction subresource.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from seaway.api.machinery.errors import ApiError, TooManyRequests
from seaway.api.machinery.selectors import SelectorError, selector_from_object
from seaway.apiserver.access.rbac import make_forbidden

Json = dict[str, Any]
MAX_DISRUPTED_PODS = 2000
"""Upstream's: so many evictions that the budget's controller has not confirmed are too many."""
EVICTION_CONDITION = {
    "type": "DisruptionTarget",
    "status": "True",
    "reason": "EvictionByEvictionAPI",
    "message": "Eviction API: evicting",
}
_VIOLATED = "Cannot evict pod as it would violate the pod's disruption budget."
_SEVERAL = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
_IGNORED_PHASES = ("Succeeded", "Failed", "Pending")
_PROCESSING_RETRY_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Permission:
    """The Pod may go. `budget` is the budget as it must be stored first, None when none is asked.

    `is_bound`: the Pod may go only as it was looked at, since what it was is why no budget counts it.
    """

    budget: Json | None = None
    is_bound: bool = False


def decide_eviction(pod: Json, budgets: Iterable[Json], wall_now: str) -> Permission:
    """budgets: all of the Pod's namespace; not modified. Raises TooManyRequests, Forbidden, and 500 for several."""
    phase = (pod.get("status") or {}).get("phase") or ""
    if phase in _IGNORED_PHASES or pod["metadata"].get("deletionTimestamp"):
        return Permission(is_bound=phase == "Pending")
    guarding = [budget for budget in budgets if _selects(budget, pod)]
    if not guarding:
        return Permission()
    if len(guarding) > 1:
        raise ApiError(_SEVERAL, code=500)
    (budget,) = guarding
    if not is_ready(pod) and _lets_unhealthy_go(budget):
        return Permission(is_bound=True)
    return Permission(_spend(budget, pod["metadata"]["name"], wall_now))


def is_ready(pod: Json) -> bool:
    """Its condition Ready is true."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def mark_evicted(pod: Json, wall_now: str) -> Json:
    """A copy of the Pod whose status says why it ends."""
    status = pod.get("status") or {}
    return {**pod, "status": {**status, "conditions": _set_condition(status, EVICTION_CONDITION, wall_now)}}


def _selects(budget: Json, pod: Json) -> bool:
    """An empty selector selects all Pods, no selector none, and one that cannot be read none either."""
    try:
        selector = selector_from_object((budget.get("spec") or {}).get("selector"))
    except SelectorError:
        return False
    return selector is not None and selector.matches(pod["metadata"].get("labels") or {})


def _lets_unhealthy_go(budget: Json) -> bool:
    """A Pod that is not ready does not count as healthy, so losing it costs nothing, unless the rest is short."""
    if (budget.get("spec") or {}).get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status") or {}
    desired = status.get("desiredHealthy", 0)
    return bool(desired > 0 and status.get("currentHealthy", 0) >= desired)


def _spend(budget: Json, pod_name: str, wall_now: str) -> Json:
    """The budget with one disruption less, which it remembers by the Pod's name."""
    name, status = budget["metadata"]["name"], budget.get("status") or {}
    if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 0):
        why = f"The disruption budget {name} is still being processed by the server."
        raise _make_violation(why, _PROCESSING_RETRY_SECONDS)
    allowed = status.get("disruptionsAllowed", 0)
    if allowed < 0:
        raise make_forbidden("policy", "poddisruptionbudget", name, "pdb disruptions allowed is negative")
    disrupted = status.get("disruptedPods") or {}
    if len(disrupted) > MAX_DISRUPTED_PODS:
        why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        raise make_forbidden("policy", "poddisruptionbudget", name, why)
    if allowed == 0:
        raise _make_violation(_describe_exhausted(name, status))
    changed = {**status, "disruptionsAllowed": allowed - 1, "disruptedPods": {**disrupted, pod_name: wall_now}}
    if allowed == 1:
        exhausted = {"type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods", "message": ""}
        if status.get("observedGeneration"):
            exhausted["observedGeneration"] = status["observedGeneration"]
        changed["conditions"] = _set_condition(status, exhausted, wall_now)
    return {**budget, "status": changed}


def _describe_exhausted(name: str, status: Json) -> str:
    for condition in status.get("conditions") or ():
        if (condition.get("type"), condition.get("status"), condition.get("reason")) == (
            "DisruptionAllowed", "False", "SyncFailed",
        ):  # fmt: skip
            found = condition.get("message", "")
            return (
                f"The disruption budget {name} does not allow evicting pods currently because it failed sync: {found}"
            )
    wanted, healthy = status.get("desiredHealthy", 0), status.get("currentHealthy", 0)
    return f"The disruption budget {name} needs {wanted} healthy pods and has {healthy} currently"


def _make_violation(why: str, retry_after_seconds: int = 0) -> TooManyRequests:
    """Without a wish to be asked again: clients would repeat it by themselves (spec "api-machinery" trap 11)."""
    details: Json = {"causes": [{"reason": "DisruptionBudget", "message": why}]}
    if retry_after_seconds:
        details["retryAfterSeconds"] = retry_after_seconds
    return TooManyRequests(_VIOLATED, details)


def _set_condition(status: Json, condition: Json, wall_now: str) -> list[Json]:
    """The conditions with this one in its place; its transition is now only if its status changes."""
    had = list(status.get("conditions") or ())
    for at, existing in enumerate(had):
        if existing.get("type") == condition["type"]:
            is_same = existing.get("status") == condition["status"]
            since = existing.get("lastTransitionTime", wall_now) if is_same else wall_now
            had[at] = {**existing, **condition, "lastTransitionTime": since}
            return had
    return [*had, {**condition, "lastTransitionTime": wall_now}]
