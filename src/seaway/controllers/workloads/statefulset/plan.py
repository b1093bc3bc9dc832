"""Which ordinals are made, which go, one after the other or all at once, and what the status says.

Rule: spec "controllers" §7.9; upstream's StatefulSet. An ordinal's Pod is made only when none of that name is there, so
there are never two; its claims are made before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from seaway.api.pod.types import Pod
from seaway.controllers.workloads.conditions import drop_zeros
from seaway.controllers.workloads.podcontrol.availability import find_next_availability, is_available
from seaway.controllers.workloads.shares import resolve_share
from seaway.controllers.workloads.statefulset.identity import (
    find_ordinal,
    is_running_and_ready,
    name_claims,
    render_stateful_pod,
    revision_of,
)

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Revision:
    """A template of the owner, and the name of the ControllerRevision that keeps it."""

    name: str
    template: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class StatefulPlan:
    """claims: to create. create: Pods, by ordinal. delete: Pods, in order. recreated: those of them that have ended."""

    claims: tuple[Json, ...] = ()
    create: tuple[Json, ...] = ()
    delete: tuple[Pod, ...] = ()
    recreated: tuple[Pod, ...] = ()


@dataclass(frozen=True, slots=True)
class Stateful:
    """A StatefulSet in its surroundings. pods: by ordinal. claims: those of its namespace, by name."""

    owner: Json
    pods: Mapping[int, Pod]
    claims: Mapping[str, Json]
    current: Revision
    update: Revision
    wall_now: datetime
    ordinals: range = field(init=False)

    def __post_init__(self) -> None:
        spec = self.owner["spec"]
        start = int((spec.get("ordinals") or {}).get("start") or 0)
        object.__setattr__(self, "ordinals", range(start, start + int(spec.get("replicas") or 0)))

    @property
    def is_ordered(self) -> bool:
        return bool(self.owner["spec"].get("podManagementPolicy") != "Parallel")

    @property
    def partition(self) -> int:
        """The first ordinal that is updated."""
        rolling = (self.owner["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
        return self.ordinals.start + int(rolling.get("partition") or 0)

    @property
    def min_ready(self) -> int:
        return int(self.owner["spec"].get("minReadySeconds") or 0)

    def choose_revision(self, ordinal: int) -> Revision:
        """The template of a Pod that is made now."""
        kind = (self.owner["spec"].get("updateStrategy") or {}).get("type")
        return self.current if kind == "RollingUpdate" and ordinal < self.partition else self.update

    def serves(self, pod: Pod) -> bool:
        """Running, ready for long enough, and here to stay."""
        is_staying = pod.metadata.deletion_timestamp is None
        return is_staying and is_running_and_ready(pod) and is_available(pod, self.min_ready, self.wall_now)


def survey(
    owner: Json,
    pods: Sequence[Pod],
    claims: Mapping[str, Json],
    current: Revision,
    update: Revision,
    wall_now: datetime,
) -> Stateful:
    """The StatefulSet with its Pods by ordinal; what has none is nobody's business."""
    numbered = {ordinal: pod for pod in pods if (ordinal := find_ordinal(owner, pod.metadata.name)) is not None}
    return Stateful(owner, numbered, claims, current, update, wall_now)


def plan_stateful(state: Stateful) -> StatefulPlan:
    """The next writes: what is missing first, then what is too much, then what is old."""
    if state.owner["metadata"].get("deletionTimestamp"):
        return StatefulPlan()
    made, recreated, is_settled = _plan_missing(state)
    claims = _plan_claims(state, made)
    create = tuple(
        render_stateful_pod(state.owner, revision.template, ordinal, revision=revision.name)
        for ordinal in made
        for revision in (state.choose_revision(ordinal),)
    )
    if not is_settled and state.is_ordered:
        return StatefulPlan(claims=claims, create=create, delete=recreated, recreated=recreated)
    surplus, has_surplus = _plan_surplus(state)
    if has_surplus and state.is_ordered:
        return StatefulPlan(claims=claims, create=create, delete=(*recreated, *surplus), recreated=recreated)
    old = _plan_update(state)
    known = {pod.metadata.name for pod in recreated}
    delete = (*recreated, *surplus, *(pod for pod in old if pod.metadata.name not in known))
    return StatefulPlan(claims=claims, create=create, delete=delete, recreated=recreated)


def _plan_missing(state: Stateful) -> tuple[list[int], tuple[Pod, ...], bool]:
    """The ordinals to make, the Pods that have ended and are to be made anew, and whether all are as they should be.

    In order, nothing follows an ordinal that does not serve yet.
    """
    made: list[int] = []
    ended: list[Pod] = []
    for ordinal in state.ordinals:
        pod = state.pods.get(ordinal)
        if pod is None:
            made.append(ordinal)
        elif pod.status.phase in ("Failed", "Succeeded"):
            if pod.metadata.deletion_timestamp is None:
                ended.append(pod)
        elif not state.is_ordered or state.serves(pod):
            continue
        if state.is_ordered:
            return made, tuple(ended), False
    return made, tuple(ended), not made and not ended


def _plan_claims(state: Stateful, made: Sequence[int]) -> tuple[Json, ...]:
    """What the Pods to make, and those that still wait, need and have not."""
    waiting = [o for o in state.ordinals if o in state.pods and state.pods[o].status.phase == "Pending"]
    wanted = {name: claim for o in sorted((*made, *waiting)) for name, claim in name_claims(state.owner, o).items()}
    return tuple(
        hand_over(state, claim, ordinal=None) for name, claim in sorted(wanted.items()) if name not in state.claims
    )


def _plan_surplus(state: Stateful) -> tuple[tuple[Pod, ...], bool]:
    """Those beyond the count that go now, highest first; and whether there are any at all.

    In order: one at a time, and none while another one, but for the first that is broken, does not serve.
    """
    condemned = [state.pods[o] for o in sorted(state.pods, reverse=True) if o not in state.ordinals]
    if not state.is_ordered:
        return tuple(pod for pod in condemned if pod.metadata.deletion_timestamp is None), bool(condemned)
    if not condemned:
        return (), False
    last = condemned[0]
    if last.metadata.deletion_timestamp is not None:
        return (), True
    broken = [o for o in sorted(state.pods) if not state.serves(state.pods[o])]
    first_broken = next((o for o in broken if o in state.ordinals), broken[-1] if broken else None)
    if not is_running_and_ready(last) and first_broken is not None and state.pods[first_broken] is not last:
        return (), True
    return (last,), True


def _plan_update(state: Stateful) -> tuple[Pod, ...]:
    """Old Pods that go now, highest ordinal first, no lower than the partition."""
    strategy = state.owner["spec"].get("updateStrategy") or {}
    if strategy.get("type") != "RollingUpdate":
        return ()
    share = (strategy.get("rollingUpdate") or {}).get("maxUnavailable")
    allowed = max(1, resolve_share(1 if share is None else share, len(state.ordinals), rounds_up=True))
    going: list[Pod] = []
    missing = 0
    for ordinal in reversed(state.ordinals):
        if ordinal < state.partition or missing >= allowed:
            break
        pod = state.pods.get(ordinal)
        if pod is not None and pod.metadata.deletion_timestamp is None and revision_of(pod) != state.update.name:
            going.append(pod)
            missing += 1
        elif pod is None or not state.serves(pod):
            missing += 1
    return tuple(going)


def plan_handovers(state: Stateful) -> tuple[Json, ...]:
    """The claims whose owners are not those that the retention policy says, as they should be; sorted by name."""
    changed = []
    for ordinal in sorted(state.pods):
        for name in name_claims(state.owner, ordinal):
            claim = state.claims.get(name)
            if claim is not None and (wanted := hand_over(state, claim, ordinal=ordinal)) != claim:
                changed.append(wanted)
    return tuple(sorted(changed, key=lambda claim: str(claim["metadata"]["name"])))


def hand_over(state: Stateful, claim: Json, *, ordinal: int | None) -> Json:
    """The claim with the owners that it should have: the set's end takes it along, or its Pod's end does; or none.

    ordinal: of its Pod; None: of one that is still to be made. Not modified.
    """
    policy, meta = state.owner["spec"].get("persistentVolumeClaimRetentionPolicy") or {}, state.owner["metadata"]
    is_condemned = ordinal is not None and ordinal not in state.ordinals
    wanted: list[Json] = []
    if is_condemned and policy.get("whenScaled") == "Delete" and ordinal is not None:
        pod = state.pods[ordinal].metadata
        wanted = [{"apiVersion": "v1", "kind": "Pod", "name": pod.name, "uid": pod.uid}]
    elif policy.get("whenDeleted") == "Delete":
        wanted = [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": meta["name"], "uid": meta["uid"]}]
    pod_name = None if ordinal is None else f"{meta['name']}-{ordinal}"
    had: list[Json] = claim["metadata"].get("ownerReferences") or []
    ours = [r for r in had if (r["kind"], r["name"]) in (("Pod", pod_name), ("StatefulSet", meta["name"]))]
    if {r["uid"] for r in ours} == {r["uid"] for r in wanted}:
        return claim
    kept = [*(r for r in had if r not in ours), *wanted]
    rest = {key: value for key, value in claim["metadata"].items() if key != "ownerReferences"}
    return {**claim, "metadata": {**rest, "ownerReferences": kept} if kept else rest}


def plan_status(state: Stateful) -> tuple[Json, float | None]:
    """What the status says, and the seconds after which it says more though nothing happens."""
    pods = list(state.pods.values())
    staying = [pod for pod in pods if pod.metadata.deletion_timestamp is None]
    current, counts = state.current.name, {"replicas": len(pods)}
    ready = [pod for pod in pods if is_running_and_ready(pod)]
    counts["readyReplicas"] = len(ready)
    counts["availableReplicas"] = sum(is_available(pod, state.min_ready, state.wall_now) for pod in ready)
    counts["currentReplicas"] = sum(revision_of(pod) == current for pod in staying)
    counts["updatedReplicas"] = sum(revision_of(pod) == state.update.name for pod in staying)
    kind = (state.owner["spec"].get("updateStrategy") or {}).get("type")
    is_done = counts["updatedReplicas"] == counts["replicas"] == counts["readyReplicas"]
    if kind == "RollingUpdate" and current != state.update.name and is_done:
        current, counts["currentReplicas"] = state.update.name, counts["updatedReplicas"]
    status: Json = {
        **counts,
        "currentRevision": current,
        "updateRevision": state.update.name,
        "observedGeneration": int(state.owner["metadata"].get("generation") or 0),
        "collisionCount": int((state.owner.get("status") or {}).get("collisionCount") or 0),
    }
    if conditions := (state.owner.get("status") or {}).get("conditions"):
        status["conditions"] = conditions
    requeue = find_next_availability(pods, state.min_ready, state.wall_now)
    return drop_zeros(status, ("replicas", "availableReplicas", "collisionCount")), requeue
