"""How many of a budget's Pods may be disrupted now.

A budget that names a share needs to know how many Pods there ought to be: it asks the owners of the Pods for their
scale. One that names a number of Pods that must stay needs nobody.
Rule: spec "api-machinery" §9.2 (what the eviction reads of the status); upstream's disruption controller (arithmetic,
texts, and the two minutes in which a Pod that was let go must be seen to go).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from seaway.api.machinery.counts import find_percent
from seaway.api.machinery.labelselectors import render_label_selector
from seaway.api.machinery.meta import OwnerReference
from seaway.api.machinery.selectors import LabelSelector, SelectorError, selector_from_object
from seaway.api.pod.types import Pod
from seaway.api.poddisruptionbudget.types import PodDisruptionBudget
from seaway.controllers.events.plan import Happening

Json = dict[str, Any]
COMPONENT = "controllermanager"
DELETION_TIMEOUT = timedelta(minutes=2)
_UNMANAGED = (
    "Pods selected by this PodDisruptionBudget (selector: {}) were found to be unmanaged. As a result, the status of "
    "the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods please "
    'set ".spec.minAvailable" field of the PDB to an integer value.'
)


class NoScale(Exception):
    """An owner whose number of Pods nobody can tell. The text is shown in the budget's condition."""


FindScale = Callable[[str, OwnerReference], "tuple[str, int] | None"]
"""Namespace and owner to who decides how many Pods there are (a uid) and how many. None: it is gone. Raises NoScale."""


@dataclass(frozen=True, slots=True)
class BudgetPlan:
    """`status`: as it ought to be, None when it is. `about_pods`: the names of Pods, each with what is told of it."""

    status: Json | None = None
    events: tuple[Happening, ...] = ()
    about_pods: tuple[tuple[str, Happening], ...] = ()
    requeue_after_seconds: float | None = None


def selects(budget: PodDisruptionBudget, pod: Pod) -> bool:
    """The budget guards the Pod. An empty selector means all of the namespace, none and a broken one nobody."""
    if budget.metadata.namespace != pod.metadata.namespace:
        return False
    selector = read_selector(budget)
    return selector is not None and selector.matches(pod.metadata.labels)


def read_selector(budget: PodDisruptionBudget) -> LabelSelector | None:
    """Which Pods of its namespace the budget guards; None: none."""
    try:
        return selector_from_object(budget.spec.selector)
    except SelectorError:
        return None


def plan_budget(
    budget: PodDisruptionBudget, pods: Iterable[Pod], find_scale: FindScale, *, wall_now: datetime
) -> BudgetPlan:
    """The status of the budget. pods: those that it `selects`."""
    guarded = sorted(pods, key=lambda pod: pod.metadata.name)
    events: list[Happening] = []
    if not guarded:
        events.append(Happening(COMPONENT, "NoPods", "No matching pods found", "Normal"))
    try:
        expected, desired, unmanaged = count_expected(budget, guarded, find_scale)
    except NoScale as error:
        text = f"Failed to calculate the number of expected pods: {error}"
        events.append(Happening(COMPONENT, "CalculateExpectedPodCountFailed", text))
        return BudgetPlan(_fail(budget, str(error), wall_now), tuple(events))
    if unmanaged:
        text = _UNMANAGED.format(render_label_selector(budget.spec.selector))
        events.append(Happening(COMPONENT, "UnmanagedPods", text))
    disrupted, overdue, requeue = judge_disrupted(budget, guarded, wall_now)
    healthy = sum(
        pod.is_ready and pod.metadata.deletion_timestamp is None and pod.metadata.name not in disrupted
        for pod in guarded
    )
    allowed = max(0, healthy - desired) if expected > 0 else 0
    status = _render(budget, allowed, healthy=healthy, desired=desired, expected=expected, disrupted=disrupted)
    status["conditions"] = _render_conditions(budget, allowed, wall_now)
    about = f"Pod was expected by PDB {budget.metadata.namespace}/{budget.metadata.name} to be deleted but it wasn't"
    told = tuple((name, Happening(COMPONENT, "NotDeleted", about)) for name in overdue)
    return BudgetPlan(None if _is_current(budget, status) else status, tuple(events), told, requeue)


def count_expected(
    budget: PodDisruptionBudget, pods: Iterable[Pod], find_scale: FindScale
) -> tuple[int, int, tuple[str, ...]]:
    """How many Pods there ought to be, how many must be healthy, and the names of those whose owner nobody knows.

    Raises NoScale.
    """
    guarded, spec = list(pods), budget.spec
    if spec.max_unavailable is not None:
        expected, unmanaged = sum_scales(guarded, find_scale)
        return expected, max(0, expected - scale_share(spec.max_unavailable, expected)), unmanaged
    if isinstance(spec.min_available, int):
        return len(guarded), spec.min_available, ()
    if spec.min_available is not None:
        expected, unmanaged = sum_scales(guarded, find_scale)
        return expected, scale_share(spec.min_available, expected), unmanaged
    return 0, 0, ()


def sum_scales(pods: Iterable[Pod], find_scale: FindScale) -> tuple[int, tuple[str, ...]]:
    """The Pods that all owners together want, each owner once, and the Pods without one. Raises NoScale."""
    scales: dict[str, int] = {}
    unmanaged: list[str] = []
    for pod in pods:
        owner = next((o for o in pod.metadata.owner_references if o.controller), None)
        if owner is None:
            unmanaged.append(pod.metadata.name)
            continue
        if owner.uid in scales:
            continue
        found = find_scale(pod.metadata.namespace, owner)
        if found is None:
            raise NoScale(f'found no controllers for pod "{pod.metadata.name}"')
        scales[found[0]] = found[1]
    return sum(scales.values()), tuple(unmanaged)


def scale_share(share: int | str, total: int) -> int:
    """A number as it is, a percentage of the total rounded up: both ends of a budget round so."""
    percent = find_percent(share)
    if percent is None:
        return share if isinstance(share, int) else 0
    return -(-percent * total // 100)


def judge_disrupted(
    budget: PodDisruptionBudget, pods: Iterable[Pod], wall_now: datetime
) -> tuple[dict[str, str], tuple[str, ...], float | None]:
    """The Pods that were let go and are not seen to go yet; those that ought to have gone; and when to look again."""
    waiting: dict[str, str] = {}
    overdue: list[str] = []
    soonest: float | None = None
    for pod in pods:
        text = budget.status.disrupted_pods.get(pod.metadata.name)
        if text is None or pod.metadata.deletion_timestamp is not None:
            continue
        left = (_parse_time(text) + DELETION_TIMEOUT - wall_now).total_seconds()
        if left <= 0:
            overdue.append(pod.metadata.name)
            continue
        waiting[pod.metadata.name] = text
        soonest = left if soonest is None else min(soonest, left)
    return waiting, tuple(overdue), soonest


def _render(
    budget: PodDisruptionBudget,
    allowed: int,
    *,
    healthy: int,
    desired: int,
    expected: int,
    disrupted: Mapping[str, str],
) -> Json:
    status: Json = {
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "disruptionsAllowed": allowed,
        "expectedPods": expected,
        "observedGeneration": budget.metadata.generation,
    }
    return {**status, "disruptedPods": dict(sorted(disrupted.items()))} if disrupted else status


def _fail(budget: PodDisruptionBudget, why: str, wall_now: datetime) -> Json | None:
    """Nobody may go while it is not known who must stay."""
    before = budget.status
    status = _render(
        budget, 0,
        healthy=before.current_healthy, desired=before.desired_healthy, expected=before.expected_pods,
        disrupted=before.disrupted_pods,
    )  # fmt: skip
    status["observedGeneration"] = before.observed_generation
    status["conditions"] = _set_condition(budget, "False", "SyncFailed", why, wall_now)
    return None if _is_current(budget, status) else status


def _render_conditions(budget: PodDisruptionBudget, allowed: int, wall_now: datetime) -> list[Json]:
    if allowed > 0:
        return _set_condition(budget, "True", "SufficientPods", "", wall_now)
    return _set_condition(budget, "False", "InsufficientPods", "", wall_now)


def _set_condition(
    budget: PodDisruptionBudget, status: str, reason: str, message: str, wall_now: datetime
) -> list[Json]:
    """The budget's conditions with DisruptionAllowed as it is now; its time stays while its status does."""
    before = next((c for c in budget.status.conditions if c.get("type") == "DisruptionAllowed"), {})
    since = before.get("lastTransitionTime") if before.get("status") == status else None
    condition = {
        "type": "DisruptionAllowed",
        "status": status,
        "observedGeneration": budget.metadata.generation,
        "lastTransitionTime": since or wall_now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "reason": reason,
        "message": message,
    }
    return [*(dict(c) for c in budget.status.conditions if c.get("type") != "DisruptionAllowed"), condition]


def _is_current(budget: PodDisruptionBudget, status: Json) -> bool:
    have = budget.status
    return (
        have.observed_generation == status["observedGeneration"]
        and (have.current_healthy, have.desired_healthy) == (status["currentHealthy"], status["desiredHealthy"])
        and (have.disruptions_allowed, have.expected_pods) == (status["disruptionsAllowed"], status["expectedPods"])
        and have.disrupted_pods == status.get("disruptedPods", {})
        and [{"message": "", **c} for c in have.conditions] == status["conditions"]
    )


def render_patch(budget: PodDisruptionBudget, status: Json) -> Json:
    """The merge patch of the status: Pods that are waited for no more are taken out by name."""
    waiting = status.get("disruptedPods", {})
    gone = dict.fromkeys(sorted(budget.status.disrupted_pods.keys() - waiting.keys()))
    return {**status, "disruptedPods": {**waiting, **gone}} if waiting or gone else status


def _parse_time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
