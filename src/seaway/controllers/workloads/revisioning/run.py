"""ControllerRevisions of the owners of one loop: claimed, made, renumbered, forgotten. Rule: upstream's history."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from seaway.api.machinery.errors import AlreadyExists, Forbidden, NotFound
from seaway.api.registry import CONTROLLER_REVISIONS
from seaway.client.index import Index
from seaway.client.run import Change
from seaway.controllers.shared.run import Shared
from seaway.controllers.workloads.history import History, plan_history
from seaway.controllers.workloads.podcontrol.ownership import find_controller, read_meta
from seaway.controllers.workloads.run import OwnerLoop

log = logging.getLogger(__name__)

Json = dict[str, Any]


class Revisions:
    """The history of each owner of a loop."""

    def __init__(self, shared: Shared, loop: OwnerLoop) -> None:
        self._loop, self._client = loop, shared.client
        self._cache = shared.cache(CONTROLLER_REVISIONS, dict)
        self._owned: Index[Json, str] = Index(_controller_uids)
        self._orphans: Index[Json, str] = Index(
            lambda obj: () if _controller_uids(obj) else (obj["metadata"]["namespace"],)
        )
        loop.follow(CONTROLLER_REVISIONS, self._cache)
        self._cache.subscribe(self._on_revision)

    def _on_revision(self, change: Change[Json]) -> None:
        self._owned.apply(change)
        self._orphans.apply(change)
        for revision in (change.old, change.new):
            if revision is not None:
                self._loop.queue_owner_of(read_meta(revision))

    async def settle(self, key: str, owner: Json) -> History | None:
        """The history with the current revision written; None when it could not be, and the owner is due again.

        Raises ApiError, TransportError.
        """
        meta = read_meta(owner)
        keys = {*self._owned.get(meta.uid), *self._orphans.get(meta.namespace)}
        found = {obj["metadata"]["name"]: obj for obj in map(self._cache.objects.__getitem__, keys)}
        names = await self._loop.claim(key, owner, CONTROLLER_REVISIONS, map(read_meta, found.values()))
        history = plan_history(owner, self._loop.resource, [found[name] for name in names])
        if meta.deletion_timestamp is not None:
            return history
        if history.is_renumbered:
            self._loop.expect(
                key, CONTROLLER_REVISIONS, await self._client.update(CONTROLLER_REVISIONS, history.current)
            )
        if history.is_new and not await self._create(key, owner, history.current):
            return None
        return history

    async def _create(self, key: str, owner: Json, revision: Json) -> bool:
        """False: the name is another's, and the next try takes another name."""
        namespace = owner["metadata"]["namespace"]
        try:
            made = await self._client.create(CONTROLLER_REVISIONS, revision, namespace)
        except AlreadyExists:
            name = revision["metadata"]["name"]
            live = await self._client.get(CONTROLLER_REVISIONS, name, namespace, as_type=dict)
            if live.get("data") == revision["data"] and owner["metadata"]["uid"] in _controller_uids(live):
                return True
            status = owner.get("status") or {}
            collisions = int(status.get("collisionCount") or 0) + 1
            await self._loop.write_owner(key, {**owner, "status": {**status, "collisionCount": collisions}})
            return False
        except Forbidden as error:
            if error.is_namespace_terminating:
                return False
            raise
        self._loop.expect(key, CONTROLLER_REVISIONS, made)
        return True

    async def forget(self, owner: Json, names: Iterable[str]) -> None:
        """Delete the revisions."""
        for name in names:
            try:
                await self._client.delete(CONTROLLER_REVISIONS, name, owner["metadata"]["namespace"])
            except NotFound as error:
                log.info("forget controllerrevision=%s error=%r", name, error)


def _controller_uids(obj: Json) -> tuple[str, ...]:
    reference = find_controller(read_meta(obj))
    return (reference.uid,) if reference else ()
