"""The loop of a kind that owns Pods, and its writes of them. Rule: spec "controllers" §7.4 (batches, events)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from seaway.api.machinery.errors import ApiError, Conflict, Forbidden, NotFound
from seaway.api.machinery.selectors import LabelSelector
from seaway.api.pod.types import Pod
from seaway.api.registry import PODS, Resource
from seaway.client.requests import TransportError
from seaway.client.run import Change, Informer
from seaway.controllers.shared.run import Shared
from seaway.controllers.workloads.podcontrol.availability import is_active
from seaway.controllers.workloads.podcontrol.ownership import find_controller, read_meta
from seaway.controllers.workloads.run import Json, OwnerLoop


class PodOwnerLoop(OwnerLoop):
    """A loop that is due for what its Pods do, too."""

    created_text = "Created pod: {pod}"
    create_failed_text = "Error creating: {error}"
    deleted_text = "Deleted pod: {pod}"
    delete_failed_text = "Error deleting: {error}"

    def __init__(
        self,
        shared: Shared,
        resource: Resource,
        *,
        name: str,
        component: str,
        read_selector: Callable[[Json], LabelSelector | None],
    ) -> None:
        super().__init__(shared, resource, name=name, component=component, read_selector=read_selector)
        self.pods: Informer[Pod] = shared.pods
        self.by_owner = shared.pods_by_owner
        self.follow(PODS, self.pods)
        self.pods.subscribe(self._on_pod)

    def _on_pod(self, change: Change[Pod]) -> None:
        for pod in (change.old, change.new):
            if pod is not None:
                self.queue_owner_of(pod.metadata)
        new = change.new
        if new is None or find_controller(new.metadata) is not None or not is_active(new):
            return
        if change.old is None or change.old.metadata != new.metadata:
            self.queue_matching(new.metadata)

    def is_member(self, owner: Json, pod: Pod) -> bool:
        """The Pod may be the owner's at all."""
        return True

    async def claim_pods(self, key: str, owner: Json) -> list[Pod]:
        """The owner's Pods, sorted by name, those adopted just now included. Raises ApiError, TransportError."""
        meta = read_meta(owner)
        keys = {*self.by_owner.owned(meta.uid), *self.by_owner.orphans(meta.namespace)}
        pods = [pod for pod in map(self.pods.objects.__getitem__, keys) if self.is_member(owner, pod)]
        candidates = {p.metadata.name: p for p in pods if find_controller(p.metadata) is not None or is_active(p)}
        names = await self.claim(key, owner, PODS, [pod.metadata for pod in candidates.values()])
        return [candidates[name] for name in names]

    async def create_pod(self, key: str, owner: Json, pod: Json) -> None:
        """Create it and say so. Raises what the server refused, but not for a namespace that ends."""
        meta = read_meta(owner)
        try:
            made = await self.client.create(PODS, pod, meta.namespace)
        except (ApiError, TransportError) as error:
            if isinstance(error, Forbidden) and error.is_namespace_terminating:
                return
            text = self.create_failed_text.format(pod=pod["metadata"].get("name", ""), owner=meta.name, error=error)
            self.say(owner, "FailedCreate", text, type_="Warning")
            raise
        self.expect(key, PODS, made)
        name = made["metadata"]["name"]
        self.say(owner, "SuccessfulCreate", self.created_text.format(pod=name, owner=meta.name), series=name)

    async def create_pods(self, key: str, owner: Json, pods: Sequence[Json]) -> None:
        """Create them in batches of 1, 2, 4 …, none after a batch with an error, which is raised."""
        await in_batches([partial(self.create_pod, key, owner, pod) for pod in pods])

    async def delete_pod(self, key: str, owner: Json, pod: Pod) -> None:
        """Delete it and say so; one that is gone is fine. Raises what the server refused."""
        meta, of = pod.metadata, owner["metadata"]["name"]
        options = {"preconditions": {"uid": meta.uid}}
        try:
            gone = await self.client.delete(PODS, meta.name, meta.namespace, options=options)
        except (NotFound, Conflict):
            return
        except (ApiError, TransportError) as error:
            text = self.delete_failed_text.format(pod=meta.name, owner=of, error=error)
            self.say(owner, "FailedDelete", text, type_="Warning")
            raise
        self.expect(key, PODS, gone)
        text = self.deleted_text.format(pod=meta.name, owner=of)
        self.say(owner, "SuccessfulDelete", text, series=meta.name)

    async def delete_pods(self, key: str, owner: Json, pods: Sequence[Pod]) -> None:
        """Delete all of them at once; the first error is raised when all were tried."""
        await raise_first([self.delete_pod(key, owner, pod) for pod in pods])


async def in_batches(jobs: Sequence[Callable[[], Awaitable[None]]]) -> None:
    """Start 1, 2, 4 … of the jobs at once, none after an error: a full quota costs one refusal, not hundreds."""
    start, size = 0, 1
    while start < len(jobs):
        await raise_first([job() for job in jobs[start : start + size]])
        start, size = start + size, size * 2


async def raise_first(running: Sequence[Awaitable[None]]) -> None:
    """Wait for all; raises the first error."""
    for outcome in await asyncio.gather(*running, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
