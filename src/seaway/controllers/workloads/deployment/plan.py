"""One step of a Deployment: what to write now, given what there is. The next step is planned from what became of it.

Rule: spec "controllers" §7.5. A plan has at most one kind of move: a ReplicaSet is made, or some are marked or scaled,
or none of that. What was scaled is waited for before the next move, so that counts never mix two states.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from seaway.controllers.workloads.conditions import find_condition
from seaway.controllers.workloads.deployment.revisions import (
    REVISION,
    Family,
    annotate_sizes,
    choose_forgotten,
    number_new,
    read_revision,
    render_replica_set,
    replicas_of,
    sort_family,
)
from seaway.controllers.workloads.deployment.scaling import (
    Sizes,
    choose_new_size,
    is_resized,
    read_bounds,
    scale_in_proportion,
    scale_old_down,
)
from seaway.controllers.workloads.deployment.status import (
    PROGRESSING,
    compute_status,
    find_next_deadline,
    is_complete,
    tell_new,
    tell_pause,
    tell_progress,
)

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentPlan:
    """What to write, in this order. Nothing: all is as it should be, until the time is over.

    create: a ReplicaSet. update: ReplicaSets as they should be, by name. delete: names of ReplicaSets. events: texts of
    ScalingReplicaSet. status: of the Deployment; `revision`: its annotation.
    """

    create: Json | None = None
    update: tuple[Json, ...] = ()
    delete: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    status: Json | None = None
    revision: str | None = None
    requeue_after_seconds: float | None = None

    @property
    def is_empty(self) -> bool:
        """There is nothing to write."""
        return not (self.create or self.update or self.delete) and self.status is None and self.revision is None


def plan_deployment(
    deployment: Json, replica_sets: Iterable[Json], *, has_old_pods: bool, wall_now: datetime
) -> DeploymentPlan:
    """The next step.

    replica_sets: the Deployment's, any order. has_old_pods: some Pod of an old one has not ended; only Recreate asks.
    Nothing is modified.
    """
    family = sort_family(deployment, replica_sets)
    if deployment["metadata"].get("deletionTimestamp"):
        return _say(deployment, compute_status(deployment, family, wall_now=wall_now))
    paused = tell_pause(deployment, wall_now=wall_now)
    if paused is not None:
        return DeploymentPlan(status=paused)
    if (marked := _plan_marks(deployment, family, wall_now)) is not None:
        return marked
    if deployment["spec"].get("paused"):
        return _plan_resize(deployment, family, wall_now)
    if is_resized(deployment, family) and scale_in_proportion(deployment, family):
        return _plan_resize(deployment, family, wall_now)
    if (deployment["spec"].get("strategy") or {}).get("type") == "Recreate":
        return _plan_recreate(deployment, family, has_old_pods=has_old_pods, wall_now=wall_now)
    return _plan_rolling(deployment, family, wall_now)


def _plan_marks(deployment: Json, family: Family, wall_now: datetime) -> DeploymentPlan | None:
    """The new ReplicaSet has its number and the Deployment's words, the Deployment its number; None: so they are."""
    if family.new is None:
        return None
    marked = number_new(deployment, family)
    if marked is not None:
        return DeploymentPlan(update=(marked,))
    revision, status = str(read_revision(family.new)), None
    before = deployment.get("status") or {}
    if find_condition(before.get("conditions") or (), PROGRESSING) is None:
        text = f'Found new replica set "{family.new["metadata"]["name"]}"'
        status = tell_new(deployment, "FoundNewReplicaSet", text, wall_now=wall_now)
    known = (deployment["metadata"].get("annotations") or {}).get(REVISION)
    if known == revision and (status is None or status == before):
        return None
    return DeploymentPlan(revision=revision, status=status)


def _plan_creation(deployment: Json, family: Family, wall_now: datetime) -> DeploymentPlan:
    size = choose_new_size(deployment, family)
    made = render_replica_set(deployment, family, replicas=size, maximum=read_bounds(deployment).maximum)
    name = made["metadata"]["name"]
    return DeploymentPlan(
        create=made,
        events=(f"Scaled up replica set {name} from 0 to {size}",) if size else (),
        revision=made["metadata"]["annotations"][REVISION],
        status=tell_new(deployment, "NewReplicaSetCreated", f'Created new replica set "{name}"', wall_now=wall_now),
    )


def _plan_rolling(deployment: Json, family: Family, wall_now: datetime) -> DeploymentPlan:
    if family.new is None:
        return _plan_creation(deployment, family, wall_now)
    size = choose_new_size(deployment, family)
    sizes = {family.new["metadata"]["name"]: size} if size != replicas_of(family.new) else {}
    return _plan_sizes(deployment, family, sizes or scale_old_down(deployment, family), wall_now)


def _plan_recreate(deployment: Json, family: Family, *, has_old_pods: bool, wall_now: datetime) -> DeploymentPlan:
    """Nothing of the new while anything of the old runs."""
    sizes = {rs["metadata"]["name"]: 0 for rs in family.old if replicas_of(rs)}
    if not sizes and not has_old_pods:
        if family.new is None:
            return _plan_creation(deployment, family, wall_now)
        if replicas_of(family.new) != replicas_of(deployment):
            sizes = {family.new["metadata"]["name"]: replicas_of(deployment)}
    return _plan_sizes(deployment, family, sizes, wall_now)


def _plan_resize(deployment: Json, family: Family, wall_now: datetime) -> DeploymentPlan:
    """Sizes follow the Deployment's, and nothing else moves. Progress is not told of."""
    update, events = _scale(deployment, family, scale_in_proportion(deployment, family))
    status = compute_status(deployment, family, wall_now=wall_now)
    forgotten = choose_forgotten(deployment, family.old) if deployment["spec"].get("paused") else ()
    return _say(deployment, status, update=update, events=events, delete=_names(forgotten))


def _plan_sizes(deployment: Json, family: Family, sizes: Sizes, wall_now: datetime) -> DeploymentPlan:
    update, events = _scale(deployment, family, sizes)
    counted = compute_status(deployment, family, wall_now=wall_now)
    status = tell_progress(deployment, family, counted, wall_now=wall_now)
    forgotten = choose_forgotten(deployment, family.old) if is_complete(deployment, status) and not update else ()
    return _say(
        deployment, status, update=update, events=events, delete=_names(forgotten),
        requeue_after_seconds=find_next_deadline(deployment, status, wall_now),
    )  # fmt: skip


def _scale(deployment: Json, family: Family, sizes: Sizes) -> tuple[tuple[Json, ...], tuple[str, ...]]:
    """The ReplicaSets with these sizes, of those that change, and what to say of each."""
    bounds = read_bounds(deployment)
    update, events = [], []
    for rs in sorted(family.all, key=lambda rs: str(rs["metadata"]["name"])):
        name, before = rs["metadata"]["name"], replicas_of(rs)
        if name not in sizes:
            continue
        wanted = annotate_sizes(rs, desired=bounds.replicas, maximum=bounds.maximum)
        if sizes[name] != before:
            wanted = {**wanted, "spec": {**wanted["spec"], "replicas": sizes[name]}}
            way = "up" if sizes[name] > before else "down"
            events.append(f"Scaled {way} replica set {name} from {before} to {sizes[name]}")
        if wanted != rs:
            update.append(wanted)
    return tuple(update), tuple(events)


def _say(
    deployment: Json,
    status: Json,
    *,
    update: tuple[Json, ...] = (),
    events: tuple[str, ...] = (),
    delete: tuple[str, ...] = (),
    requeue_after_seconds: float | None = None,
) -> DeploymentPlan:
    return DeploymentPlan(
        update=update,
        events=events,
        delete=delete,
        status=status if status != (deployment.get("status") or {}) else None,
        requeue_after_seconds=requeue_after_seconds,
    )


def _names(replica_sets: Iterable[Json]) -> tuple[str, ...]:
    return tuple(sorted(rs["metadata"]["name"] for rs in replica_sets))
