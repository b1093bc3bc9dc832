"""The loop of StatefulSets. Rule: spec "controllers" §7.9."""

from __future__ import annotations

from typing import Any

from seaway.api.machinery.errors import AlreadyExists, ApiError, Forbidden, NotFound
from seaway.api.machinery.labelselectors import read_label_selector
from seaway.api.pod.types import Pod
from seaway.api.registry import PERSISTENT_VOLUME_CLAIMS, STATEFUL_SETS
from seaway.client.index import Index
from seaway.client.requests import TransportError
from seaway.client.run import Change
from seaway.controllers.shared.run import Shared
from seaway.controllers.workloads.history import History, choose_forgotten
from seaway.controllers.workloads.podcontrol.run import PodOwnerLoop
from seaway.controllers.workloads.revisioning.run import Revisions
from seaway.controllers.workloads.run import Json
from seaway.controllers.workloads.statefulset.identity import find_ordinal, revision_of
from seaway.controllers.workloads.statefulset.plan import (
    Revision,
    StatefulPlan,
    plan_handovers,
    plan_stateful,
    plan_status,
    survey,
)


class StatefulSetController(PodOwnerLoop):
    """Keeps each ordinal of each StatefulSet, and its claims."""

    created_text = "create Pod {pod} in StatefulSet {owner} successful"
    create_failed_text = "create Pod {pod} in StatefulSet {owner} failed error: {error}"
    deleted_text = "delete Pod {pod} in StatefulSet {owner} successful"
    delete_failed_text = "delete Pod {pod} in StatefulSet {owner} failed error: {error}"

    def __init__(self, shared: Shared) -> None:
        super().__init__(
            shared, STATEFUL_SETS, name="statefulset", component="statefulset-controller",
            read_selector=lambda owner: read_label_selector(owner["spec"].get("selector")),
        )  # fmt: skip
        self._revisions = Revisions(shared, self)
        self._claims = shared.cache(PERSISTENT_VOLUME_CLAIMS, dict)
        self._claims_of: Index[Json, str] = Index(lambda claim: (claim["metadata"]["namespace"],))
        self.follow(PERSISTENT_VOLUME_CLAIMS, self._claims)
        self._claims.subscribe(self._on_claim)

    def _on_claim(self, change: Change[Any]) -> None:
        self._claims_of.apply(change)

    def is_member(self, owner: Json, pod: Pod) -> bool:
        """Only what has a name of its own."""
        return find_ordinal(owner, pod.metadata.name) is not None

    async def sync_owner(self, key: str, owner: Json) -> float | None:
        """Settle the history, take the next step of Pods and claims, and say how it stands."""
        history = await self._revisions.settle(key, owner)
        if history is None:
            return None
        pods = await self.claim_pods(key, owner)
        namespace = owner["metadata"]["namespace"]
        claims = {
            claim["metadata"]["name"]: claim
            for claim in map(self._claims.objects.__getitem__, self._claims_of.get(namespace))
        }
        update = _read_revision(history.current)
        state = survey(owner, pods, claims, _find_current(owner, history, update), update, self.wall_now())
        error: ApiError | TransportError | None = None
        try:
            if not owner["metadata"].get("deletionTimestamp"):
                for claim in plan_handovers(state):
                    await self._write_claim(key, claim)
            await self._apply(key, owner, plan_stateful(state))
        except (ApiError, TransportError) as refused:
            error = refused
        status, requeue = plan_status(state)
        await self.write_status(key, owner, status)
        live = {*(revision_of(pod) for pod in pods), status["currentRevision"], status["updateRevision"]}
        await self._revisions.forget(owner, choose_forgotten(history, live, owner["spec"].get("revisionHistoryLimit")))
        if error is not None:
            raise error
        return requeue

    async def _apply(self, key: str, owner: Json, plan: StatefulPlan) -> None:
        for claim in plan.claims:
            await self._create_claim(key, owner, claim)
        for made in plan.create:
            await self.create_pod(key, owner, made)
        for ended in plan.recreated:
            self._tell_recreated(owner, ended)
        await self.delete_pods(key, owner, plan.delete)

    def _tell_recreated(self, owner: Json, pod: Pod) -> None:
        subject = f"StatefulSet {owner['metadata']['namespace']}/{owner['metadata']['name']} is recreating"
        if pod.status.phase == "Failed":
            text = f"{subject} failed Pod {pod.metadata.name}"
            self.say(owner, "RecreatingFailedPod", text, type_="Warning")
        else:
            self.say(owner, "RecreatingTerminatedPod", f"{subject} terminated Pod {pod.metadata.name}")

    async def _create_claim(self, key: str, owner: Json, claim: Json) -> None:
        meta = owner["metadata"]
        name = claim["metadata"]["name"]
        subject = f"create Claim {name} in StatefulSet {meta['name']}"
        try:
            made = await self.client.create(PERSISTENT_VOLUME_CLAIMS, claim, meta["namespace"])
        except AlreadyExists:
            return
        except (ApiError, TransportError) as error:
            if isinstance(error, Forbidden) and error.is_namespace_terminating:
                return
            self.say(owner, "FailedCreate", f"{subject} failed error: {error}", type_="Warning", series=name)
            raise
        self.expect(key, PERSISTENT_VOLUME_CLAIMS, made)
        self.say(owner, "SuccessfulCreate", f"{subject} success", series=name)

    async def _write_claim(self, key: str, claim: Json) -> None:
        try:
            self.expect(key, PERSISTENT_VOLUME_CLAIMS, await self.client.update(PERSISTENT_VOLUME_CLAIMS, claim))
        except NotFound:
            return


def _read_revision(revision: Json) -> Revision:
    template = {key: value for key, value in revision["data"]["spec"]["template"].items() if key != "$patch"}
    return Revision(revision["metadata"]["name"], template)


def _find_current(owner: Json, history: History, update: Revision) -> Revision:
    """The revision that the last rollout ended with; the new one where there was none."""
    name = (owner.get("status") or {}).get("currentRevision")
    return next((_read_revision(r) for r in history.all if r["metadata"]["name"] == name), update)
