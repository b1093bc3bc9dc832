"""The loop of Deployments. Rule: spec "controllers" §7.5."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from seaway.api.machinery.errors import AlreadyExists, ApiError, Conflict, Forbidden, NotFound
from seaway.api.machinery.labelselectors import read_label_selector
from seaway.api.pod.types import Pod
from seaway.api.registry import DEPLOYMENTS, REPLICA_SETS
from seaway.client.index import Index
from seaway.client.requests import TransportError
from seaway.client.run import Change
from seaway.controllers.shared.run import Shared
from seaway.controllers.workloads.deployment.plan import DeploymentPlan, plan_deployment
from seaway.controllers.workloads.deployment.revisions import HASH_LABEL, REVISION, count_in, sort_family
from seaway.controllers.workloads.deployment.status import tell_new
from seaway.controllers.workloads.podcontrol.ownership import find_controller, key_in, read_meta
from seaway.controllers.workloads.run import Json, OwnerLoop
from seaway.controllers.workloads.template import without_label

log = logging.getLogger(__name__)

CREATE_ERROR = "ReplicaSetCreateError"


class DeploymentController(OwnerLoop):
    """Brings each Deployment on by one step; what the step changes makes it due for the next."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(
            shared, DEPLOYMENTS, name="deployment", component="deployment-controller",
            read_selector=lambda owner: read_label_selector(owner["spec"].get("selector")),
        )  # fmt: skip
        self._replica_sets = shared.cache(REPLICA_SETS, dict)
        self._pods, self._pods_by_owner = shared.pods, shared.pods_by_owner
        self._owned: Index[Json, str] = Index(_controller_uids)
        self._orphans: Index[Json, str] = Index(
            lambda rs: () if find_controller(read_meta(rs)) else (rs["metadata"]["namespace"],)
        )
        self.follow(REPLICA_SETS, self._replica_sets)
        self._replica_sets.subscribe(self._on_replica_set)
        self._pods.subscribe(self._on_pod)

    def _on_replica_set(self, change: Change[Json]) -> None:
        self._owned.apply(change)
        self._orphans.apply(change)
        for rs in (change.old, change.new):
            if rs is not None:
                self.queue_owner_of(read_meta(rs))
        if change.new is not None and find_controller(meta := read_meta(change.new)) is None:
            self.queue_matching(meta)

    def _on_pod(self, change: Change[Pod]) -> None:
        """Recreate waits for the last old Pod."""
        pod = change.new or change.old
        assert pod is not None
        if change.new is not None and change.new.status.phase not in ("Succeeded", "Failed"):
            return
        reference = find_controller(pod.metadata)
        if reference is None or reference.kind != REPLICA_SETS.kind:
            return
        rs = self._replica_sets.objects.get(key_in(pod.metadata.namespace, reference.name))
        above = find_controller(read_meta(rs)) if rs is not None else None
        if above is not None:
            owner = self.owners.objects.get(key_in(pod.metadata.namespace, above.name))
            if owner is not None and _recreates(owner):
                self.queue.add(key_in(pod.metadata.namespace, above.name))

    async def sync_owner(self, key: str, owner: Json) -> float | None:
        """Claim the ReplicaSets, and take the next step."""
        family = await self._claim_replica_sets(key, owner)
        has_old_pods = _recreates(owner) and self._has_old_pods(owner, family)
        plan = plan_deployment(owner, family, has_old_pods=has_old_pods, wall_now=self.wall_now())
        if plan.create is not None and not await self._create(key, owner, plan.create):
            return None
        await self._scale(key, owner, plan)
        for name in plan.delete:
            await self._forget(key, owner, name)
        await self._write(key, owner, plan)
        for message in plan.events:
            self.say(owner, "ScalingReplicaSet", message, series=message)
        return plan.requeue_after_seconds

    async def _claim_replica_sets(self, key: str, owner: Json) -> list[Json]:
        meta = read_meta(owner)
        keys = {*self._owned.get(meta.uid), *self._orphans.get(meta.namespace)}
        candidates = {rs["metadata"]["name"]: rs for rs in map(self._replica_sets.objects.__getitem__, keys)}
        names = await self.claim(key, owner, REPLICA_SETS, map(read_meta, candidates.values()))
        return [candidates[name] for name in names]

    def _has_old_pods(self, owner: Json, family: Iterable[Json]) -> bool:
        return any(
            self._pods.objects[key].status.phase not in ("Succeeded", "Failed")
            for rs in sort_family(owner, family).old
            for key in self._pods_by_owner.owned(rs["metadata"]["uid"])
        )

    async def _create(self, key: str, owner: Json, wanted: Json) -> bool:
        """False: the name is another's, and the next try takes another name. Raises what the server refused."""
        namespace = owner["metadata"]["namespace"]
        try:
            self.expect(key, REPLICA_SETS, await self.client.create(REPLICA_SETS, wanted, namespace))
            return True
        except AlreadyExists:
            if await self._is_ours(owner, wanted):
                return True
            status = {**(owner.get("status") or {}), "collisionCount": count_in(owner, "collisionCount") + 1}
            await self.write_owner(key, {**owner, "status": status})
            return False
        except (ApiError, TransportError) as error:
            if isinstance(error, Forbidden) and error.is_namespace_terminating:
                return False
            text = f'Failed to create new replica set "{wanted["metadata"]["name"]}": {error}'
            failed = tell_new(owner, CREATE_ERROR, text, status="False", wall_now=self.wall_now())
            self.say(owner, CREATE_ERROR, text, type_="Warning")
            await self.write_status(key, owner, failed)
            raise

    async def _is_ours(self, owner: Json, wanted: Json) -> bool:
        """The ReplicaSet of that name is this Deployment's, of this template: an earlier try made it."""
        try:
            live = await self.client.get(
                REPLICA_SETS, wanted["metadata"]["name"], owner["metadata"]["namespace"], as_type=dict
            )
        except NotFound:
            return False
        reference, template = find_controller(read_meta(live)), owner["spec"]["template"]
        is_same = without_label(live["spec"]["template"], HASH_LABEL) == without_label(template, HASH_LABEL)
        return reference is not None and reference.uid == owner["metadata"]["uid"] and is_same

    async def _scale(self, key: str, owner: Json, plan: DeploymentPlan) -> None:
        """Growth before shrinking is the plan's business; here each write is by itself."""
        for rs in plan.update:
            try:
                self.expect(key, REPLICA_SETS, await self.client.update(REPLICA_SETS, rs))
            except NotFound as error:
                log.info("scale replicaset=%s error=%r", rs["metadata"]["name"], error)

    async def _forget(self, key: str, owner: Json, name: str) -> None:
        namespace = owner["metadata"]["namespace"]
        rs = self._replica_sets.objects[key_in(namespace, name)]["metadata"]
        options = {"preconditions": {"uid": rs["uid"], "resourceVersion": rs["resourceVersion"]}}
        try:
            await self.client.delete(REPLICA_SETS, name, namespace, options=options)
        except (NotFound, Conflict) as error:
            log.info("forget replicaset=%s/%s error=%r", namespace, name, error)

    async def _write(self, key: str, owner: Json, plan: DeploymentPlan) -> None:
        """The status and the number of the template in one write."""
        wanted = owner if plan.status is None else {**owner, "status": plan.status}
        if plan.revision is not None:
            meta = owner["metadata"]
            annotations = {**(meta.get("annotations") or {}), REVISION: plan.revision}
            wanted = {**wanted, "metadata": {**meta, "annotations": annotations}}
        if wanted != owner:
            await self.write_owner(key, wanted)


def _recreates(owner: Json) -> bool:
    return (owner["spec"].get("strategy") or {}).get("type") == "Recreate"


def _controller_uids(rs: Json) -> tuple[str, ...]:
    reference = find_controller(read_meta(rs))
    return (reference.uid,) if reference else ()
