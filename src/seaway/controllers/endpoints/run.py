"""The loop of the Endpoints controller: which Services are due, and the one write of each plan.

It keeps out of the way of the slices, which are what proxies and DNS read: it waits a moment after a change, so that
many changes are one write, and has few workers.
Rule: spec "controllers" §3.1 (triggers), §3.5 (writing), §3.6 (stale caches).
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

import msgspec

from seaway.api.endpoints.types import Endpoints
from seaway.api.machinery.errors import AlreadyExists, ApiError, Conflict, Forbidden, NotFound
from seaway.api.machinery.meta import ObjectMeta, object_key
from seaway.api.pod.types import Pod
from seaway.api.registry import ENDPOINTS
from seaway.api.service.types import Service
from seaway.client.run import Change, QueueLoop
from seaway.client.workqueue import BackOff
from seaway.controllers.endpoints.plan import (
    ANNOTATION_LEADER,
    EndpointsPlan,
    EndpointsWrite,
    plan_endpoints,
    render_endpoints,
)
from seaway.controllers.endpointslice.trigger import TriggerState, advance_trigger
from seaway.controllers.events.plan import Happening
from seaway.controllers.events.run import post_event
from seaway.controllers.shared.run import Shared

log = logging.getLogger(__name__)

SETTLE_SECONDS = 0.02
"""After a change, before its sync: slices go first."""
COALESCE_SECONDS = 0.1
"""The least time between two syncs of a Service for Pod changes."""
WORKERS = 4
COMPONENT = "endpoint-controller"
"""The source of its Events."""
BACK_OFF = BackOff(first_seconds=0.1, max_seconds=30.0)


@dataclass(slots=True)
class _ServiceState:
    """`written`: the object as this loop left it, while the cache has not caught up."""

    written: Endpoints | None = None
    trigger: TriggerState | None = None
    synced_at: float = float("-inf")


class EndpointsController:
    """Keeps the Endpoints of every Service with a selector; the given informers are the caller's to run."""

    def __init__(self, shared: Shared) -> None:
        self._client = shared.client
        self._selection = shared.selection
        self._services, self._pods = shared.services, shared.pods
        self._endpoints = shared.cache(ENDPOINTS, Endpoints)
        self._states: dict[str, _ServiceState] = {}
        self._queue = QueueLoop("endpoint", self._sync, workers=WORKERS, back_off=BACK_OFF, metrics=shared.metrics)
        self._is_started = False
        self._services.subscribe(self._on_service)
        self._pods.subscribe(self._on_pod)
        self._endpoints.subscribe(self._on_endpoints)

    async def run(self) -> None:
        """Keep Endpoints until cancelled, from the moment when all caches are filled."""
        self._is_started = True
        for key in sorted({*self._services.objects, *self._find_leftovers()}):
            self._queue.add(key)
        await self._queue.run()

    def _find_leftovers(self) -> list[str]:
        """Endpoints without Service, when nobody heard of its end. Locks of leader elections have none."""
        return [
            key
            for key, endpoints in self._endpoints.objects.items()
            if key not in self._services.objects and ANNOTATION_LEADER not in endpoints.metadata.annotations
        ]

    def _on_service(self, change: Change[Service]) -> None:
        if change.new is None or change.old is None or _project(change.old) != _project(change.new):
            self._add_soon(change.key)

    def _on_pod(self, change: Change[Pod]) -> None:
        if not self._is_started:  # all Services are looked at when it begins
            return
        for key in sorted(self._selection.find_affected(change)):
            self._add_soon(key)

    def _on_endpoints(self, change: Change[Endpoints]) -> None:
        """Edits by others stay until the Service or a Pod changes; what was deleted is made again."""
        state = self._states.get(change.key)
        if state is not None and state.written is not None:
            lost = change.old if change.new is None else None
            is_deleted = lost is not None and lost.metadata.uid == state.written.metadata.uid
            if is_deleted or _has_reached(change.new, state.written):
                state.written = None
        if change.new is None and change.key in self._services.objects:
            self._add_soon(change.key)

    def _add_soon(self, key: str) -> None:
        if self._is_started:
            state = self._states.get(key)
            now = asyncio.get_running_loop().time()
            rest = state.synced_at + COALESCE_SECONDS - now if state is not None else 0.0
            self._queue.add_after(key, max(SETTLE_SECONDS, rest))

    async def _sync(self, key: str) -> None:
        service = self._services.objects.get(key)
        if service is None:
            state = self._states.pop(key, None) or _ServiceState()
        else:
            state = self._states.setdefault(key, _ServiceState())
        state.synced_at = asyncio.get_running_loop().time()
        existing = state.written or self._endpoints.objects.get(key)
        pods = self._selection.select_pods(service) if service is not None else []
        trigger_time = None
        if service is not None and service.spec.selector:
            state.trigger, trigger_time = advance_trigger(state.trigger, service, pods)
        plan = plan_endpoints(service, pods, existing)
        if plan.is_empty:
            return
        try:
            await self._apply(key, service, state, plan, trigger_time)
        except ApiError as error:
            if isinstance(
                error, (AlreadyExists, Conflict, NotFound)
            ):  # the cache does not have it yet, but it alone is right now
                state.written = None
            await self._report(service, plan, error)
            raise

    async def _apply(
        self, key: str, service: Service | None, state: _ServiceState, plan: EndpointsPlan, trigger_time: str | None
    ) -> None:
        if plan.delete is not None:
            await self._delete(key, plan.delete)
        elif service is not None and plan.write is not None:
            await self._write(key, service, state, plan.write, trigger_time)

    async def _report(self, service: Service | None, plan: EndpointsPlan, error: ApiError) -> None:
        """Rule: spec "controllers" §3.6. What another writer got ahead of is tried again without a word."""
        if service is None or plan.write is None or isinstance(error, (AlreadyExists, Conflict)):
            return
        old, key = plan.write.replaces, object_key(service.metadata)
        about = ObjectMeta(service.metadata.name, service.metadata.namespace) if old is None else old.metadata
        reason = "FailedToCreateEndpoint" if old is None else "FailedToUpdateEndpoint"
        text = f"Failed to create endpoint for service {key}" if old is None else f"Failed to update endpoint {key}"
        await post_event(self._client, ENDPOINTS, about, Happening(COMPONENT, reason, f"{text}: {error}"))

    async def _write(
        self, key: str, service: Service, state: _ServiceState, write: EndpointsWrite, trigger_time: str | None
    ) -> None:
        body = render_endpoints(service, write, trigger_time)
        try:
            if write.replaces is None:
                answer = await self._client.create(ENDPOINTS, body, service.metadata.namespace)
            else:
                answer = await self._client.update(ENDPOINTS, body)
        except Forbidden as error:
            if error.is_namespace_terminating:
                return
            raise
        written = msgspec.convert(answer, Endpoints)
        if not _has_reached(self._endpoints.objects.get(key), written):
            state.written = written
        log.info("endpoints service=%s subsets=%d truncated=%s", key, len(write.subsets), write.is_truncated)

    async def _delete(self, key: str, endpoints: Endpoints) -> None:
        meta = endpoints.metadata
        try:
            await self._client.delete(
                ENDPOINTS, meta.name, meta.namespace, options={"preconditions": {"uid": meta.uid}}
            )
        except (NotFound, Conflict):  # gone with its Service, or another by now
            return
        log.info("endpoints service=%s deleted", key)


def _project(service: Service) -> tuple[object, ...]:
    """What of a Service its Endpoints depend on; its status changes without them."""
    return service.spec, service.metadata.labels, service.metadata.uid, service.metadata.deletion_timestamp


def _has_reached(cached: Endpoints | None, written: Endpoints) -> bool:
    """The cache holds what was written, or something later: the versions of one kind grow."""
    return cached is not None and int(cached.metadata.resource_version) >= int(written.metadata.resource_version)
