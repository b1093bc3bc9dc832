"""What the loops of all workloads are built on: which keys are due, what is waited for, whose is what, what is said.

Rule: spec "controllers" §7.4 (adoption, expectations, events). Events are said behind the loop's back, in a line of
bounded length: a hundred Pods are not held up by what is told of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from seaway.api.machinery.errors import Conflict, NotFound
from seaway.api.machinery.meta import ObjectMeta, object_key
from seaway.api.machinery.selectors import LabelSelector
from seaway.api.registry import Resource
from seaway.client.requests import STRATEGIC_PATCH, Client
from seaway.client.run import Informer, QueueLoop
from seaway.client.workqueue import BackOff
from seaway.controllers.events.plan import Happening
from seaway.controllers.events.run import post_event
from seaway.controllers.shared.run import Shared
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
"""What many objects of one owner do at once is one sync."""
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
    """The loop of a kind that owns others. A subclass says `sync_owner`.

    That is called when the caches show all that was written for the key before.
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
        self.wall_now: Callable[[], datetime] = shared.wall_now
        self.read_selector = read_selector
        self.queue = QueueLoop(name, self._sync, workers=WORKERS, back_off=BACK_OFF, metrics=shared.metrics)
        self._recorder = Recorder(shared.client)
        self._expectations = Expectations()
        self._caches: dict[Resource, Informer[Any]] = {resource: self.owners}
        self.owners.subscribe(lambda change: self.queue.add(change.key))

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._recorder.run())
            group.create_task(self.queue.run())

    async def sync_owner(self, key: str, owner: Json) -> float | None:
        """Bring the owner and what it owns on. `owner` is the cache's, not changed. Seconds until it is due again."""
        raise NotImplementedError

    def follow(self, resource: Resource, cache: Informer[Any]) -> None:
        """Writes of this kind are waited for in this cache."""
        self._caches[resource] = cache

    def expect(self, key: str, resource: Resource, written: Json) -> None:
        """The key waits until the cache of the kind shows this answer."""
        now = asyncio.get_running_loop().time()
        self._expectations.expect(key, resource, written["metadata"].get("resourceVersion", ""), now)

    def queue_owner_of(self, meta: ObjectMeta) -> None:
        """The object's controller is due soon, if it is of this loop's kind and still the same."""
        reference = find_controller(meta)
        if reference is None or reference.kind != self.resource.kind:
            return
        if reference.api_version.rpartition("/")[0] != self.resource.group:
            return
        key = key_in(meta.namespace, reference.name)
        owner = self.owners.objects.get(key)
        if owner is not None and owner["metadata"]["uid"] == reference.uid:
            self.queue.add_after(key, COALESCE_SECONDS)

    def queue_matching(self, meta: ObjectMeta) -> None:
        """Whoever could adopt the object is due soon."""
        for key, owner in self.owners.objects.items():
            if owner["metadata"].get("namespace") == meta.namespace:
                selector = self.read_selector(owner)
                if selector is not None and selector.matches(meta.labels):
                    self.queue.add_after(key, COALESCE_SECONDS)

    async def claim(
        self, key: str, owner: Json, resource: Resource, candidates: Iterable[ObjectMeta]
    ) -> tuple[str, ...]:
        """The names of the candidates that are the owner's, sorted; adopts and lets go on the way.

        Raises ApiError, TransportError.
        """
        selector, meta = self.read_selector(owner), read_meta(owner)
        if selector is None:
            return ()
        by_name = {candidate.name: candidate for candidate in candidates}
        claims, adopted = plan_claims(meta, selector, by_name.values()), []
        if claims.adopt and await self._may_adopt(meta):
            reference = make_controller_reference(self.resource, meta)
            for name in claims.adopt:
                if await self._patch(key, resource, by_name[name], render_adoption(reference, by_name[name].uid)):
                    adopted.append(name)
        for name in claims.release:
            await self._patch(key, resource, by_name[name], render_release(meta.uid, by_name[name].uid))
        return tuple(sorted((*claims.owned, *adopted)))

    async def write_status(self, key: str, owner: Json, status: Json) -> None:
        """Write the status if it is another one. Raises Conflict when the object has changed: it is then due again."""
        if status != (owner.get("status") or {}):
            await self.write_owner(key, {**owner, "status": status})

    async def write_owner(self, key: str, owner: Json) -> None:
        """Write the status and what metadata a status may carry. One that is gone is fine."""
        try:
            self.expect(key, self.resource, await self.client.update(self.resource, owner, subresource="status"))
        except NotFound:
            return

    def say(self, owner: Json, reason: str, message: str, *, type_: str = "Normal", series: str = "") -> None:
        """An Event about the owner."""
        meta = read_meta(owner)
        happening = Happening(self.component, reason, message, type=type_, series=series)
        self._recorder.say(self.resource, meta, happening)
        log.info("%s=%s reason=%s message=%s", self.resource.singular, object_key(meta), reason, message)

    async def _sync(self, key: str) -> float | None:
        owner = self.owners.objects.get(key)
        if owner is None:
            self._expectations.forget(key)
            return None
        now = asyncio.get_running_loop().time()
        for resource, cache in self._caches.items():
            if not self._expectations.is_met(key, resource, cache.resource_version, now):
                return LAG_SECONDS
        return await self.sync_owner(key, owner)

    async def _may_adopt(self, meta: ObjectMeta) -> bool:
        """The owner as it is now at the server is still this one, and stays."""
        try:
            live = read_meta(await self.client.get(self.resource, meta.name, meta.namespace, as_type=dict))
        except NotFound:
            return False
        return live.uid == meta.uid and live.deletion_timestamp is None

    async def _patch(self, key: str, resource: Resource, meta: ObjectMeta, patch: Json) -> bool:
        """False: the object is gone, or another one by now."""
        try:
            written = await self.client.patch(
                resource, meta.name, meta.namespace, patch=patch, patch_type=STRATEGIC_PATCH
            )
        except (NotFound, Conflict) as error:
            log.info("claim %s=%s/%s error=%r", resource.singular, meta.namespace, meta.name, error)
            return False
        self.expect(key, resource, written)
        return True
