"""The loop of DaemonSets. Rule: spec "controllers" §7.6."""

from __future__ import annotations

import asyncio
from typing import cast

from seaway.api.machinery.errors import ApiError
from seaway.api.machinery.labelselectors import read_label_selector
from seaway.api.node.types import Node
from seaway.api.pod.types import Pod
from seaway.api.registry import DAEMON_SETS
from seaway.client.requests import TransportError
from seaway.client.run import Change, Informer
from seaway.controllers.shared.run import Shared
from seaway.controllers.workloads.daemonset.plan import (
    DaemonPlan,
    Ended,
    plan_daemons,
    plan_status,
    render_daemon_pod,
    survey,
)
from seaway.controllers.workloads.history import HASH_LABEL, choose_forgotten, hash_of
from seaway.controllers.workloads.podcontrol.ownership import make_controller_reference, read_meta
from seaway.controllers.workloads.podcontrol.run import PodOwnerLoop
from seaway.controllers.workloads.revisioning.run import Revisions
from seaway.controllers.workloads.run import Json

FAILURE_SECONDS, MAX_FAILURE_SECONDS = 1.0, 900.0
"""Between two Pods that fail on one node, doubling (upstream's)."""


class DaemonSetController(PodOwnerLoop):
    """Keeps a Pod of each DaemonSet on the nodes that fit."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(
            shared, DAEMON_SETS, name="daemonset", component="daemonset-controller",
            read_selector=lambda owner: read_label_selector(owner["spec"].get("selector")),
        )  # fmt: skip
        self.pods = cast("Informer[Pod]", shared.placed_pods)  # who is not on a node yet is known by what it asks for
        self._nodes = shared.nodes
        self._revisions = Revisions(shared, self)
        self._failures: dict[tuple[str, str], tuple[float, float]] = {}
        """By owner's UID and node: the wait after the last failure, and until when."""
        self._nodes.subscribe(self._on_node)

    def _on_node(self, change: Change[Node]) -> None:
        """Only what placement looks at; a heartbeat is nothing."""

        def outline(node: Node | None) -> object:
            return None if node is None else (node.metadata.labels, node.spec.taints, node.spec.unschedulable)

        if outline(change.old) != outline(change.new):
            for key in self.owners.objects:
                self.queue.add(key)

    async def sync_owner(self, key: str, owner: Json) -> float | None:
        """Settle the history, place Pods and remove some, and say how it stands."""
        history = await self._revisions.settle(key, owner)
        if history is None:
            return None
        pods, digest = await self.claim_pods(key, owner), hash_of(history.current)
        daemon = survey(owner, digest, self._nodes.objects.values(), pods, self.wall_now())
        plan = plan_daemons(daemon, held=self._find_held(owner))
        error: ApiError | TransportError | None = None
        try:
            await self._apply(key, owner, plan, digest)
        except (ApiError, TransportError) as refused:
            error = refused
        live = {pod.metadata.labels.get(HASH_LABEL, "") for pod in pods}
        forgotten = choose_forgotten(history, live, owner["spec"].get("revisionHistoryLimit"))
        await self._revisions.forget(owner, forgotten)
        status, requeue = plan_status(daemon)
        await self.write_status(key, owner, status)
        if error is not None:
            raise error
        return min((wait for wait in (requeue, self._next_release(owner)) if wait is not None), default=None)

    async def _apply(self, key: str, owner: Json, plan: DaemonPlan, digest: str) -> None:
        for ended in plan.ended:
            self._tell_ended(owner, ended)
        reference = make_controller_reference(self.resource, read_meta(owner))
        await self.delete_pods(key, owner, plan.delete)
        pods = [render_daemon_pod(owner, reference, node=node, digest=digest) for node in plan.create]
        await self.create_pods(key, owner, pods)

    def _tell_ended(self, owner: Json, ended: Ended) -> None:
        where = f"{_full_name(ended.pod)} on node {ended.node}"
        if not ended.failed:
            text = f"Found succeeded daemon pod {where}, will try to delete it"
            self.say(owner, "SucceededDaemonPod", text, series=ended.node)
            return
        ident, now = (owner["metadata"]["uid"], ended.node), asyncio.get_running_loop().time()
        before = self._failures.get(ident)
        is_old = before is None or now > before[1] + 2 * MAX_FAILURE_SECONDS
        wait = FAILURE_SECONDS if before is None or is_old else min(2 * before[0], MAX_FAILURE_SECONDS)
        self._failures[ident] = (wait, now + wait)
        text = f"Found failed daemon pod {where}, will try to kill it"
        self.say(owner, "FailedDaemonPod", text, type_="Warning", series=ended.node)

    def _find_held(self, owner: Json) -> set[str]:
        now, uid = asyncio.get_running_loop().time(), owner["metadata"]["uid"]
        return {node for (of, node), (_, until) in self._failures.items() if of == uid and until > now}

    def _next_release(self, owner: Json) -> float | None:
        now, uid = asyncio.get_running_loop().time(), owner["metadata"]["uid"]
        return min(
            (until - now for (of, _), (_, until) in self._failures.items() if of == uid and until > now), default=None
        )


def _full_name(pod: Pod) -> str:
    return f"{pod.metadata.namespace}/{pod.metadata.name}"
