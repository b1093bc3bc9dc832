"""The loop of the garbage collector: one cache of metadata per kind, and a queue of objects to judge.

The kinds are those that the server itself says it has, and new ones are found while the loop runs. An owner that the
caches lack is looked up at the server before anything is deleted; an owner of a kind that is not known counts as
present.
Rule: spec "controllers" §7.3.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from seaway.api.machinery.errors import ApiError, Conflict, NotFound
from seaway.api.machinery.meta import ObjectMeta, OwnerReference
from seaway.api.registry import Resource
from seaway.client.discovery import discover, select_with_verbs
from seaway.client.index import Index
from seaway.client.requests import TransportError
from seaway.client.run import Change, Informer, QueueLoop
from seaway.client.workqueue import BackOff, RetryLater
from seaway.controllers.events.plan import Happening
from seaway.controllers.events.run import post_event
from seaway.controllers.garbage.plan import (
    Delete,
    Owned,
    OwnedMeta,
    OwnerState,
    RemoveFinalizer,
    StripOwners,
    Verdict,
    describe_misplaced,
    is_orphaning,
    judge_dependent,
    judge_owner,
    judge_reference,
)
from seaway.controllers.shared.run import PAGE_SIZE, Shared

log = logging.getLogger(__name__)

WORKERS = 20
BACK_OFF = BackOff(first_seconds=0.05, max_seconds=60.0)
DISCOVERY_SECONDS = 30.0
"""Between two looks at which kinds there are (upstream's)."""
SYNC_SECONDS = 30.0
"""For the first list of every kind. One that cannot be listed must not hold up the others for good."""
COMPONENT = "garbage-collector-controller"


class Kind:
    """One kind of the server: its cache, which may be another loop's, and its objects by the UIDs of their owners."""

    def __init__(self, shared: Shared, resource: Resource) -> None:
        self.resource = resource
        found = shared.find_whole(resource)
        self.is_shared = found is not None
        self.informer: Informer[Owned] = found or Informer(
            shared.client, resource, Owned, page_size=PAGE_SIZE, is_packed=True
        )
        self.leave: Callable[[], None] = lambda: None
        self.dependents: Index[Owned, str] = Index(lambda obj: {ref.uid for ref in obj.metadata.owner_references})
        self.task: asyncio.Task[None] | None = None

    def find(self, key: str) -> OwnedMeta | None:
        """The object of the cache, None when there is none."""
        found = self.informer.objects.get(key)
        return found.metadata if found is not None else None


class GarbageController:
    """Deletes what lost its owners, and lets go what waited for its dependents. Keys are `PLURAL.GROUP|NS/NAME`."""

    def __init__(self, shared: Shared) -> None:
        self._client, self._shared = shared.client, shared
        self._kinds: dict[str, Kind] = {}
        self._by_kind: dict[tuple[str, str], Kind] = {}
        self._queue = QueueLoop("garbage", self._sync, workers=WORKERS, back_off=BACK_OFF, metrics=shared.metrics)

    async def run(self) -> None:
        """Work until cancelled. Nothing is judged before the caches are filled."""
        async with asyncio.TaskGroup() as group:
            while True:
                if await self._discover(group):
                    break
                await asyncio.sleep(1.0)
            try:
                async with asyncio.timeout(SYNC_SECONDS):
                    for kind in self._kinds.values():
                        await kind.informer.wait_synced()
            except TimeoutError:
                log.warning("garbage unlisted=%s", ",".join(self._find_unlisted()))
            group.create_task(self._queue.run())
            while True:
                await asyncio.sleep(DISCOVERY_SECONDS)
                await self._discover(group)

    async def _discover(self, group: asyncio.TaskGroup) -> bool:
        """Follow the kinds that there are now; True if the server told."""
        try:
            found = await discover(self._client)
        except (ApiError, TransportError) as error:
            log.warning("garbage discovery error=%r", error)
            return False
        wanted = {
            _name(r): r for r in select_with_verbs(found.resources, "list", "watch", "delete") if r.kind != "Event"
        }
        for name, kind in list(self._kinds.items()):
            if wanted.get(name) != kind.resource and found.knows(kind.resource):
                self._forget(name)
        for name, resource in wanted.items():
            if name not in self._kinds:
                self._watch(name, resource, group)
        return True

    def _watch(self, name: str, resource: Resource, group: asyncio.TaskGroup) -> None:
        kind = Kind(self._shared, resource)

        def note(change: Change[Owned]) -> None:
            kind.dependents.apply(change)
            obj = change.new or change.old
            assert obj is not None
            if change.new is not None and (obj.metadata.owner_references or obj.metadata.deletion_timestamp):
                self._queue.add(f"{name}|{change.key}")
            if change.new is None or obj.metadata.deletion_timestamp:
                self._queue_dependents(obj.metadata.uid)
            if change.new is None:
                self._queue_owners(obj.metadata)

        kind.leave = kind.informer.subscribe(note)
        if not kind.is_shared:
            kind.task = group.create_task(kind.informer.run(), name=f"garbage {name}")
        self._kinds[name] = self._by_kind[resource.api_version, resource.kind] = kind

    def _forget(self, name: str) -> None:
        """The kind is served no longer, or in another version."""
        kind = self._kinds.pop(name)
        self._by_kind.pop((kind.resource.api_version, kind.resource.kind), None)
        kind.leave()
        if kind.task is not None:
            kind.task.cancel()

    def _find_unlisted(self) -> list[str]:
        return sorted(name for name, kind in self._kinds.items() if not kind.informer.is_synced)

    def _queue_dependents(self, uid: str) -> None:
        for name, kind in self._kinds.items():
            for key in kind.dependents.get(uid):
                self._queue.add(f"{name}|{key}")

    def _queue_owners(self, meta: OwnedMeta) -> None:
        """An owner may be waiting for this dependent to go."""
        for ref in meta.owner_references:
            kind = self._by_kind.get((ref.api_version, ref.kind))
            if kind is not None and kind.find(_owner_key(kind, meta, ref)) is not None:
                self._queue.add(f"{_name(kind.resource)}|{_owner_key(kind, meta, ref)}")

    async def _sync(self, key: str) -> None:
        name, _, object_key = key.partition("|")
        kind = self._kinds.get(name)
        meta = kind.find(object_key) if kind is not None else None
        if kind is None or meta is None:
            return
        owners = {ref.uid: await self._judge_reference(kind.resource, meta, ref) for ref in meta.owner_references}
        await self._carry_out(kind.resource, meta, judge_dependent(meta, owners))
        if meta.deletion_timestamp is None:
            return
        dependents = self._find_dependents(meta.uid)
        if is_orphaning(meta):
            for resource, dependent in dependents:
                await self._carry_out(resource, dependent, StripOwners((meta.uid,)))
            dependents = []
        verdict = judge_owner(meta, [d for _, d in dependents])
        if verdict is not None and (unlisted := self._find_unlisted()):
            raise RetryLater(f"dependents may be among the {', '.join(unlisted)}, which have not been listed yet")
        await self._carry_out(kind.resource, meta, verdict)

    async def _judge_reference(self, resource: Resource, meta: OwnedMeta, ref: OwnerReference) -> OwnerState:
        owner = self._by_kind.get((ref.api_version, ref.kind))
        if owner is None:
            return OwnerState.SOLID
        if owner.resource.namespaced and not resource.namespaced:  # no such reference can be followed
            await self._warn(resource, meta, ref)
            return OwnerState.SOLID
        state = judge_reference(owner.find(_owner_key(owner, meta, ref)), ref.uid)
        if state is not OwnerState.GONE:
            return state
        namespace = meta.namespace if owner.resource.namespaced else ""
        try:
            live = await self._client.get(owner.resource, ref.name, namespace, as_type=Owned)
        except NotFound:
            state = OwnerState.GONE
        else:
            state = judge_reference(live.metadata, ref.uid)
        if state is OwnerState.GONE and owner.resource.namespaced and self._is_elsewhere(owner, ref):
            await self._warn(resource, meta, ref)
        return state

    def _is_elsewhere(self, owner: Kind, ref: OwnerReference) -> bool:
        """The owner lives in another namespace: somebody thought that this would do.

        One look for each namespace, as the name is known: an index of UIDs would have to hold every object.
        """
        spaces = self._kinds.get("namespaces")
        return spaces is not None and any(
            (found := owner.find(f"{space}/{ref.name}")) is not None and found.uid == ref.uid
            for space in spaces.informer.objects
        )

    async def _warn(self, resource: Resource, meta: OwnedMeta, ref: OwnerReference) -> None:
        about = ObjectMeta(name=meta.name, namespace=meta.namespace, uid=meta.uid)
        happening = Happening(COMPONENT, "OwnerRefInvalidNamespace", describe_misplaced(meta, ref), series=ref.uid)
        await post_event(self._client, resource, about, happening)

    def _find_dependents(self, uid: str) -> list[tuple[Resource, OwnedMeta]]:
        return [
            (kind.resource, kind.informer.objects[key].metadata)
            for kind in self._kinds.values()
            for key in kind.dependents.get(uid)
        ]

    async def _carry_out(self, resource: Resource, meta: OwnedMeta, verdict: Verdict) -> None:
        if verdict is None:
            return
        log.info("garbage %s=%s/%s verdict=%r", resource.singular, meta.namespace, meta.name, verdict)
        try:
            match verdict:
                case Delete(policy):
                    preconditions = {"uid": meta.uid, "resourceVersion": meta.resource_version}
                    options = {"propagationPolicy": policy, "preconditions": preconditions}
                    await self._client.delete(resource, meta.name, meta.namespace, options=options)
                case StripOwners(uids):
                    kept = [ref for ref in await self._live_references(resource, meta) if ref["uid"] not in uids]
                    await self._patch(resource, meta, {"ownerReferences": kept})
                case RemoveFinalizer(finalizer):
                    kept_finalizers = [name for name in meta.finalizers if name != finalizer]
                    patch = {"finalizers": kept_finalizers, "resourceVersion": meta.resource_version}
                    await self._patch(resource, meta, patch)
        except (NotFound, Conflict) as error:  # changed since: the event of that change leads here again
            log.debug("garbage %s=%s/%s error=%r", resource.singular, meta.namespace, meta.name, error)

    async def _live_references(self, resource: Resource, meta: OwnedMeta) -> list[dict[str, object]]:
        live = await self._client.get(resource, meta.name, meta.namespace, as_type=dict)
        references: list[dict[str, object]] = live["metadata"].get("ownerReferences", [])
        return references

    async def _patch(self, resource: Resource, meta: OwnedMeta, changes: Mapping[str, object]) -> None:
        patch = {"metadata": {"uid": meta.uid, **changes}}
        await self._client.patch(resource, meta.name, meta.namespace, patch=patch)


def _owner_key(owner: Kind, dependent: OwnedMeta, ref: OwnerReference) -> str:
    """Where the cache has the owner, if it has it: in the dependent's namespace, or in none."""
    return f"{dependent.namespace}/{ref.name}" if owner.resource.namespaced else ref.name


def _name(resource: Resource) -> str:
    return f"{resource.plural}.{resource.group}" if resource.group else resource.plural
