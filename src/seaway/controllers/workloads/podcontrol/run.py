"""Writes of Pods for their owners, and the words about them.

Rule: spec "controllers" §7.4 (batches, events). Events are said behind the loop's back, in a line of bounded length: a
hundred Pods are not held up by what is told of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from seaway.api.machinery.errors import ApiError, Conflict, Forbidden, NotFound
from seaway.api.machinery.meta import ObjectMeta, object_key
from seaway.api.machinery.selectors import LabelSelector
from seaway.api.pod.types import Pod
from seaway.api.registry import PODS, Resource
from seaway.client.requests import STRATEGIC_PATCH, Client, TransportError
from seaway.client.run import Change, Informer, QueueLoop
from seaway.client.workqueue import BackOff
from seaway.controllers.events.plan import Happening
from seaway.controllers.events.run import post_event
from seaway.controllers.shared.run import Shared
from seaway.controllers.workloads.podcontrol.availability import is_active
from seaway.controllers.workloads.podcontrol.expectations import Expectations
from seaway.controllers.workloads.podcontrol.ownership import (
    find_controller,
    key_in,
    make_controller_reference,
    plan_claims,
    read_meta,
    render_adoption,
    render_release,
)

log = logging.getLogger(__name__)

Json = dict[str, Any]
WORKERS = 10
MAX_WAITING_EVENTS = 1000
"""More are dropped, as client-go's recorder does."""
COALESCE_SECONDS = 0.01
"""What many Pods of one owner do at once is one sync."""
LAG_SECONDS = 1.0
"""Before a cache that has not caught up is looked at again; its own event is sooner."""
BACK_OFF = BackOff(first_seconds=0.05, max_seconds=60.0)


class Recorder:
    """Says what happened, one after the other, when there is time."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._waiting: asyncio.Queue[tuple[Resource, ObjectMeta, Happening]] = asyncio.Queue(MAX_WAITING_EVENTS)

    def say(self, resource: Resource, about: ObjectMeta, happening: Happening) -> None:
        """Never waits, never fails."""
        if not self._waiting.full():
            self._waiting.put_nowait((resource, about, happening))

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            resource, about, happening = await self._waiting.get()
            await post_event(self._client, resource, about, happening)


class OwnerLoop:
    """What the loop of a kind that owns Pods needs: which keys are due, its Pods, its writes.

    A subclass says `sync_owner`, which is called when the caches show all that was written for the key before.
    """

    def __init__(
        self,
        shared: Shared,
        resource: Resource,
        *,
        name: str,
        component: str,
        read_selector: Callable[[Json], LabelSelector | None],
    ) -> None:
        self.client, self.resource, self.component = shared.client, resource, component
        self.owners: Informer[Json] = shared.cache(resource, dict)
        self.pods: Informer[Pod] = shared.pods
        self.wall_now: Callable[[], datetime] = shared.wall_now
        self.recorder = Recorder(shared.client)
        self.expectations = Expectations()
        self.queue = QueueLoop(name, self._sync, workers=WORKERS, back_off=BACK_OFF, metrics=shared.metrics)
        self._read_selector = read_selector
        self._by_owner = shared.pods_by_owner
        self._caches: dict[str, Informer[Any]] = {"owners": self.owners, "pods": self.pods}
        self.owners.subscribe(lambda change: self.queue.add(change.key))
        self.pods.subscribe(self._on_pod)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.recorder.run())
            group.create_task(self.queue.run())

    async def sync_owner(self, key: str, owner: Json) -> float | None:
        """Bring the owner's Pods and status on. `owner` is the cache's and not changed."""
        raise NotImplementedError

    def follow(self, cache: str, informer: Informer[Any]) -> None:
        """Writes to this cache, too, are waited for."""
        self._caches[cache] = informer

    # Which keys are due.

    def _on_pod(self, change: Change[Pod]) -> None:
        for pod in (change.old, change.new):
            if pod is not None:
                self._queue_owner_of(pod)
        new = change.new
        if new is None or find_controller(new.metadata) is not None or not is_active(new):
            return
        if change.old is None or change.old.metadata != new.metadata:
            self._queue_matching(new)

    def _queue_owner_of(self, pod: Pod) -> None:
        reference = find_controller(pod.metadata)
        if reference is None or (reference.kind, reference.api_version) != (
            self.resource.kind,
            self.resource.api_version,
        ):
            return
        key = key_in(pod.metadata.namespace, reference.name)
        if key in self.owners.objects and self.owners.objects[key]["metadata"]["uid"] == reference.uid:
            self.queue.add_after(key, COALESCE_SECONDS)

    def _queue_matching(self, pod: Pod) -> None:
        for key, owner in self.owners.objects.items():
            if owner["metadata"].get("namespace") == pod.metadata.namespace:
                selector = self._read_selector(owner)
                if selector is not None and selector.matches(pod.metadata.labels):
                    self.queue.add_after(key, COALESCE_SECONDS)

    async def _sync(self, key: str) -> float | None:
        owner = self.owners.objects.get(key)
        if owner is None:
            self.expectations.forget(key)
            return None
        now = asyncio.get_running_loop().time()
        for name, cache in self._caches.items():
            if not self.expectations.is_met(key, name, cache.resource_version, now):
                return LAG_SECONDS
        return await self.sync_owner(key, owner)

    def expect(self, key: str, written: Json, cache: str = "pods") -> None:
        """The key waits until the cache shows this answer."""
        now = asyncio.get_running_loop().time()
        self.expectations.expect(key, cache, written["metadata"].get("resourceVersion", ""), now)

    # Whose Pods.

    async def claim_pods(self, key: str, owner: Json) -> list[Pod]:
        """The owner's Pods, sorted by name, those adopted just now included. Raises ApiError, TransportError."""
        selector, meta = self._read_selector(owner), read_meta(owner)
        if selector is None:
            return []
        names = {*self._by_owner.owned(meta.uid), *self._by_owner.orphans(meta.namespace)}
        candidates = {pod.metadata.name: pod for pod in map(self.pods.objects.__getitem__, names)}
        orphans_left_alone = {
            name for name, pod in candidates.items() if find_controller(pod.metadata) is None and not is_active(pod)
        }
        claims = plan_claims(
            meta, selector, (pod.metadata for name, pod in candidates.items() if name not in orphans_left_alone)
        )
        mine = [*claims.owned]
        if claims.adopt and await self._may_adopt(meta):
            reference = make_controller_reference(self.resource, meta)
            for name in claims.adopt:
                if await self._patch_pod(
                    key, candidates[name], render_adoption(reference, candidates[name].metadata.uid)
                ):
                    mine.append(name)
        for name in claims.release:
            await self._patch_pod(key, candidates[name], render_release(meta.uid, candidates[name].metadata.uid))
        return [candidates[name] for name in sorted(mine)]

    async def _may_adopt(self, meta: ObjectMeta) -> bool:
        """The owner as it is now at the server is still this one, and stays."""
        try:
            live = read_meta(await self.client.get(self.resource, meta.name, meta.namespace, as_type=dict))
        except NotFound:
            return False
        return live.uid == meta.uid and live.deletion_timestamp is None

    async def _patch_pod(self, key: str, pod: Pod, patch: Json) -> bool:
        """False: the Pod is gone, or another one by now."""
        meta = pod.metadata
        try:
            self.expect(
                key,
                await self.client.patch(PODS, meta.name, meta.namespace, patch=patch, patch_type=STRATEGIC_PATCH),
            )
        except (NotFound, Conflict) as error:
            log.info("claim pod=%s/%s error=%r", meta.namespace, meta.name, error)
            return False
        return True

    # Writes.

    async def create_pod(self, key: str, owner: Json, pod: Json) -> None:
        """Create it and say so. Raises what the server refused, but not for a namespace that ends."""
        meta = read_meta(owner)
        try:
            made = await self.client.create(PODS, pod, meta.namespace)
        except (ApiError, TransportError) as error:
            if isinstance(error, Forbidden) and error.is_namespace_terminating:
                return
            self.say(owner, "FailedCreate", f"Error creating: {error}", type_="Warning")
            raise
        self.expect(key, made)
        name = made["metadata"]["name"]
        self.say(owner, "SuccessfulCreate", f"Created pod: {name}", series=name)

    async def create_pods(self, key: str, owner: Json, pods: Sequence[Json]) -> None:
        """Create them in batches of 1, 2, 4 …, none after a batch with an error, which is raised."""
        await in_batches([partial(self.create_pod, key, owner, pod) for pod in pods])

    async def delete_pod(self, key: str, owner: Json, pod: Pod) -> None:
        """Delete it and say so; one that is gone is fine. Raises what the server refused."""
        meta = pod.metadata
        try:
            gone = await self.client.delete(
                PODS, meta.name, meta.namespace, options={"preconditions": {"uid": meta.uid}}
            )
        except (NotFound, Conflict):
            return
        except (ApiError, TransportError) as error:
            self.say(owner, "FailedDelete", f"Error deleting: {error}", type_="Warning")
            raise
        self.expect(key, gone)
        self.say(owner, "SuccessfulDelete", f"Deleted pod: {meta.name}", series=meta.name)

    async def delete_pods(self, key: str, owner: Json, pods: Sequence[Pod]) -> None:
        """Delete all of them at once; the first error is raised when all were tried."""
        await raise_first([self.delete_pod(key, owner, pod) for pod in pods])

    async def write_status(self, key: str, owner: Json, status: Json) -> None:
        """Write the status if it is another one. Raises Conflict when the object has changed: it is then due again."""
        if status == (owner.get("status") or {}):
            return
        try:
            said = await self.client.update(self.resource, {**owner, "status": status}, subresource="status")
        except NotFound:
            return
        self.expect(key, said, "owners")

    def say(self, owner: Json, reason: str, message: str, *, type_: str = "Normal", series: str = "") -> None:
        """An Event about the owner."""
        happening = Happening(self.component, reason, message, type=type_, series=series)
        self.recorder.say(self.resource, read_meta(owner), happening)
        log.info("%s=%s reason=%s message=%s", self.resource.singular, object_key(read_meta(owner)), reason, message)


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
