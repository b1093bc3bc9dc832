"""The loops of ReplicaSets and ReplicationControllers: one, with two adapters. Rule: spec "controllers" §7.4."""

from __future__ import annotations

from seaway.api.machinery.errors import ApiError
from seaway.api.machinery.labelselectors import read_label_selector
from seaway.api.machinery.selectors import LabelSelector
from seaway.api.pod.types import Pod
from seaway.api.registry import REPLICA_SETS, REPLICATION_CONTROLLERS
from seaway.client.requests import TransportError
from seaway.controllers.shared.run import Shared
from seaway.controllers.workloads.podcontrol.ownership import find_controller, make_controller_reference, read_meta
from seaway.controllers.workloads.podcontrol.run import PodOwnerLoop
from seaway.controllers.workloads.replicaset.plan import ReplicaPlan, plan_replicas, plan_status
from seaway.controllers.workloads.run import Json
from seaway.controllers.workloads.template import render_pod


class ReplicaLoop(PodOwnerLoop):
    """Keeps the count of Pods of each owner, and its status."""

    counts_terminating = True

    async def sync_owner(self, key: str, owner: Json) -> float | None:
        """Claim, count, make or remove, and say how it stands."""
        pods = await self.claim_pods(key, owner)
        plan = plan_replicas(owner, pods, self._find_related(owner, pods), wall_now=self.wall_now())
        error: ApiError | TransportError | None = None
        try:
            await self._apply(key, owner, plan)
        except (ApiError, TransportError) as refused:
            error = refused
        failure = None if error is None else ("FailedCreate" if plan.create else "FailedDelete", str(error))
        said = plan_status(
            owner, pods, failure=failure, counts_terminating=self.counts_terminating, wall_now=self.wall_now()
        )
        await self.write_status(key, owner, said.status)
        if error is not None:
            raise error
        return said.requeue_after_seconds

    async def _apply(self, key: str, owner: Json, plan: ReplicaPlan) -> None:
        if plan.create:
            meta = read_meta(owner)
            reference = make_controller_reference(self.resource, meta)
            pod = render_pod(
                owner["spec"]["template"], reference, namespace=meta.namespace, generate_name=f"{meta.name}-"
            )
            await self.create_pods(key, owner, [pod] * plan.create)
        if plan.delete:
            await self.delete_pods(key, owner, plan.delete)

    def _find_related(self, owner: Json, pods: list[Pod]) -> list[Pod]:
        """The Pods of this owner and of others that the same controller manages: those of one Deployment."""
        above = find_controller(read_meta(owner))
        is_enough = len(pods) <= int(owner["spec"].get("replicas") or 0)
        if above is None or is_enough:
            return pods
        siblings = (
            other["metadata"]["uid"]
            for other in self.owners.objects.values()
            if (found := find_controller(read_meta(other))) is not None and found.uid == above.uid
        )
        return [self.pods.objects[key] for uid in siblings for key in self.by_owner.owned(uid)]


class ReplicaSetController(ReplicaLoop):
    """ReplicaSets of apps/v1."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(
            shared, REPLICA_SETS, name="replicaset", component="replicaset-controller",
            read_selector=lambda owner: read_label_selector(owner["spec"].get("selector")),
        )  # fmt: skip


class ReplicationController(ReplicaLoop):
    """ReplicationControllers: a selector of plain labels, and no count of Pods that end."""

    counts_terminating = False

    def __init__(self, shared: Shared) -> None:
        super().__init__(
            shared, REPLICATION_CONTROLLERS, name="replicationcontroller", component="replication-controller",
            read_selector=_read_plain_selector,
        )  # fmt: skip


def _read_plain_selector(owner: Json) -> LabelSelector | None:
    """None for an empty one: it would take every Pod."""
    selector = owner["spec"].get("selector")
    return read_label_selector({"matchLabels": selector}) if selector else None
