"""Which nodes get a daemon's Pod, which Pods go, how an update proceeds, what the status says.

Rule: spec "controllers" §7.6.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from seaway.api.node.types import Node
from seaway.api.pod.scheduling import SchedulingSpec
from seaway.api.pod.types import Pod
from seaway.controllers.scheduler.filters import find_pinned, matches_node
from seaway.controllers.scheduler.pod import PlacedPod, Wants, read_wants
from seaway.controllers.taints import NO_EXECUTE, NO_SCHEDULE, find_untolerated
from seaway.controllers.workloads.conditions import drop_zeros
from seaway.controllers.workloads.daemonset.placement import add_tolerations, pin_to_node
from seaway.controllers.workloads.history import HASH_LABEL
from seaway.controllers.workloads.podcontrol.availability import find_next_availability, is_available
from seaway.controllers.workloads.shares import resolve_share
from seaway.controllers.workloads.template import add_labels, render_pod

Json = dict[str, Any]
GENERATION_LABEL = "pod-template-generation"
TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"
BURST_REPLICAS = 250
"""At most this many Pods are made in one sync, and as many removed (upstream's)."""
_KEPT_ZEROS = ("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady")


@dataclass(frozen=True, slots=True)
class Ended:
    """A Pod that a daemon's node has, and that has ended: it is removed so that another can run."""

    pod: Pod
    node: str

    @property
    def failed(self) -> bool:
        return self.pod.status.phase == "Failed"


@dataclass(frozen=True, slots=True)
class DaemonPlan:
    """`create`: nodes, sorted. `delete`: Pods, sorted by name. `ended`: those among them that are to be told of."""

    create: tuple[str, ...] = ()
    delete: tuple[Pod, ...] = ()
    ended: tuple[Ended, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """A node, and what it means for the daemon. `pods`: the daemon's that are here or on the way, the oldest first."""

    name: str
    wanted: bool
    may_stay: bool
    pods: tuple[Pod, ...]


@dataclass(frozen=True, slots=True)
class Daemon:
    """A DaemonSet in its surroundings: what every part of the plan looks at.

    digest: of the template as it is. places: by name. lost: Pods whose node there is not.
    """

    owner: Json
    digest: str
    places: tuple[Place, ...]
    lost: tuple[Pod, ...]
    wall_now: datetime

    @property
    def min_ready(self) -> int:
        return int(self.owner["spec"].get("minReadySeconds") or 0)

    @property
    def wanted(self) -> list[Place]:
        """Those that shall have a Pod."""
        return [place for place in self.places if place.wanted]

    def is_updated(self, pod: Pod) -> bool:
        return pod.metadata.labels.get(HASH_LABEL) == self.digest

    def serves(self, pod: Pod) -> bool:
        return pod.metadata.deletion_timestamp is None and is_available(pod, self.min_ready, self.wall_now)


def survey(owner: Json, digest: str, nodes: Iterable[Node], pods: Iterable[Pod], wall_now: datetime) -> Daemon:
    """The DaemonSet among these nodes and its Pods, in any order."""
    on_node: dict[str, list[Pod]] = {}
    for pod in sorted(pods, key=lambda pod: (pod.metadata.creation_timestamp, pod.metadata.name)):
        on_node.setdefault(find_target_node(pod), []).append(pod)
    named, wants = read_daemon(owner)
    places = tuple(
        Place(node.metadata.name, *judge_node(named, wants, node), tuple(on_node.pop(node.metadata.name, ())))
        for node in sorted(nodes, key=lambda node: node.metadata.name)
    )
    lost = tuple(pod for name in sorted(on_node) for pod in on_node[name])
    return Daemon(owner, digest, places, lost, wall_now)


def find_target_node(pod: Pod) -> str:
    """The node that the Pod is on, or is pinned to; "" for neither."""
    if pod.spec.node_name or not isinstance(pod, PlacedPod):
        return pod.spec.node_name
    pinned = find_pinned(pod.wants)
    return next(iter(pinned)) if pinned is not None and len(pinned) == 1 else ""


def read_daemon(owner: Json) -> tuple[str, Wants]:
    """The node that the template names, if any, and what its Pods ask of one, with what daemons put up with."""
    spec = msgspec.convert(add_tolerations(owner["spec"]["template"].get("spec") or {}), SchedulingSpec)
    return spec.node_name, read_wants(spec, "", {})


def judge_node(named: str, wants: Wants, node: Node) -> tuple[bool, bool]:
    """Whether the node shall have a Pod, and whether one that is there may stay. Resources do not matter."""
    if named not in ("", node.metadata.name) or not matches_node(wants, node):
        return False, False
    if not find_untolerated(node.spec.taints, wants.tolerations, (NO_SCHEDULE, NO_EXECUTE)):
        return True, True
    return False, not find_untolerated(node.spec.taints, wants.tolerations, (NO_EXECUTE,))


def plan_daemons(daemon: Daemon, *, held: Collection[str] = ()) -> DaemonPlan:
    """What each node lacks or has too much of; if that is nothing, the next move of the update.

    held: nodes whose failed Pod is to stay for a while.
    """
    if daemon.owner["metadata"].get("deletionTimestamp"):
        return DaemonPlan()
    plan = _plan_nodes(daemon, held)
    rolling = daemon.owner["spec"].get("updateStrategy") or {}
    if rolling.get("type") == "RollingUpdate":
        surge, unavailable = read_bounds(daemon)
        update = _plan_surge(daemon, surge) if surge else _plan_replacements(daemon, unavailable, plan)
        plan = DaemonPlan((*plan.create, *update.create), (*plan.delete, *update.delete), plan.ended)
    unique = {pod.metadata.name: pod for pod in plan.delete}
    return DaemonPlan(
        tuple(sorted(set(plan.create)))[:BURST_REPLICAS],
        tuple(unique[name] for name in sorted(unique))[:BURST_REPLICAS],
        tuple(sorted(plan.ended, key=lambda ended: ended.pod.metadata.name)),
    )


def read_bounds(daemon: Daemon) -> tuple[int, int]:
    """How many more, and how many fewer, an update may have. Both zero: one fewer."""
    rolling = (daemon.owner["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
    desired = len(daemon.wanted)
    surge = resolve_share(rolling.get("maxSurge"), desired, rounds_up=True)
    unavailable = resolve_share(rolling.get("maxUnavailable"), desired, rounds_up=True)
    return (surge, unavailable) if surge or unavailable else (0, 1)


def _plan_nodes(daemon: Daemon, held: Collection[str]) -> DaemonPlan:
    create, delete, ended = [], [], []
    has_surge = read_bounds(daemon)[0] > 0
    for place in daemon.places:
        pods = [pod for pod in place.pods if pod.metadata.deletion_timestamp is None]
        if place.wanted and not place.pods:
            create.append(place.name)
        if not place.may_stay:
            delete += pods
            continue
        over = [Ended(pod, place.name) for pod in pods if pod.status.phase in ("Failed", "Succeeded")]
        ended += [one for one in over if not (one.failed and place.name in held)]
        running = [pod for pod in pods if pod.status.phase not in ("Failed", "Succeeded")]
        delete += _choose_surplus(daemon, running) if has_surge else running[1:]
    # What was bound to a node that has gone is the Pod collector's.
    delete += [p for p in daemon.lost if not p.spec.node_name and p.metadata.deletion_timestamp is None]
    return DaemonPlan(tuple(create), (*delete, *(one.pod for one in ended)), tuple(ended))


def _choose_surplus(daemon: Daemon, running: Sequence[Pod]) -> list[Pod]:
    """While an update may have two Pods on a node: one of each, until the new serves or the old does not."""
    new = [pod for pod in running if daemon.is_updated(pod)]
    old = [pod for pod in running if not daemon.is_updated(pod)]
    surplus = [*new[1:], *old[1:]]
    if new and old and (not old[0].is_ready or daemon.serves(new[0])):
        surplus.append(old[0])
    return surplus


def _plan_replacements(daemon: Daemon, max_unavailable: int, plan: DaemonPlan) -> DaemonPlan:
    """Old Pods that do not serve go at once, of those that do as many as may be missing."""
    going = {pod.metadata.name for pod in plan.delete}
    missing, replaceable, candidates = 0, [], []
    for place in daemon.wanted:
        pods = place.pods
        staying = [p for p in pods if p.metadata.deletion_timestamp is None and p.metadata.name not in going]
        if len(pods) != 1 or not staying:
            missing += 1
        elif daemon.is_updated(staying[0]):
            missing += not daemon.serves(staying[0])
        elif daemon.serves(staying[0]):
            candidates.append(staying[0])
        else:
            missing += 1
            replaceable.append(staying[0])
    return DaemonPlan(delete=(*replaceable, *candidates[: max(0, max_unavailable - missing)]))


def _plan_surge(daemon: Daemon, max_surge: int) -> DaemonPlan:
    """New Pods beside old ones: where the old one does not serve at once, elsewhere as many as there may be more."""
    surging, at_once, candidates = 0, [], []
    for place in daemon.wanted:
        new = [pod for pod in place.pods if daemon.is_updated(pod)]
        old = [pod for pod in place.pods if not daemon.is_updated(pod)]
        if new:
            surging += bool(old)
        elif old and not daemon.serves(old[0]):
            at_once.append(place.name)
        elif old:
            candidates.append(place.name)
    return DaemonPlan(create=(*at_once, *candidates[: max(0, max_surge - surging)]))


def render_daemon_pod(owner: Json, reference: Json, *, node: str, digest: str) -> Json:
    """The Pod of the template that only this node can take."""
    template = owner["spec"]["template"]
    spec = pin_to_node(add_tolerations(template.get("spec") or {}), node)
    labels = {HASH_LABEL: digest}
    if generation := (owner["metadata"].get("annotations") or {}).get(TEMPLATE_GENERATION):
        labels[GENERATION_LABEL] = generation
    name, namespace = owner["metadata"]["name"], owner["metadata"]["namespace"]
    marked = add_labels({**template, "spec": spec}, labels)
    return render_pod(marked, reference, namespace=namespace, generate_name=f"{name}-")


def plan_status(daemon: Daemon) -> tuple[Json, float | None]:
    """What the status says, and the seconds after which it says more though nothing happens."""
    owner = daemon.owner
    counts = dict.fromkeys((*_KEPT_ZEROS, "numberAvailable", "updatedNumberScheduled"), 0)
    waiting: list[Pod] = []
    for place in daemon.places:
        pods = place.pods
        if not place.wanted:
            counts["numberMisscheduled"] += bool(pods)
            continue
        counts["desiredNumberScheduled"] += 1
        counts["currentNumberScheduled"] += bool(pods)
        counts["numberReady"] += any(pod.is_ready for pod in pods)
        counts["numberAvailable"] += any(is_available(pod, daemon.min_ready, daemon.wall_now) for pod in pods)
        counts["updatedNumberScheduled"] += any(daemon.is_updated(pod) for pod in pods)
        waiting += pods
    status: Json = {**counts, "numberUnavailable": counts["desiredNumberScheduled"] - counts["numberAvailable"]}
    status["observedGeneration"] = int(owner["metadata"].get("generation") or 0)
    before = owner.get("status") or {}
    for kept in ("collisionCount", "conditions"):
        if before.get(kept) is not None:
            status[kept] = before[kept]
    requeue = find_next_availability(waiting, daemon.min_ready, daemon.wall_now)
    return drop_zeros(status, (*_KEPT_ZEROS, "collisionCount")), requeue
