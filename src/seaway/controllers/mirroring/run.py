"""The loop that mirrors Endpoints into EndpointSlices: which are due, and the writes of their plans.

Rule: spec "controllers" §4.2 (triggers), §4.5 (writing), §1.12 (stale caches).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from seaway.api.endpoints.types import Endpoints
from seaway.api.endpointslice.types import LABEL_SERVICE_NAME, EndpointSlice
from seaway.api.machinery.errors import ApiError, Conflict, Forbidden, NotFound
from seaway.api.machinery.meta import object_key
from seaway.api.registry import ENDPOINT_SLICES, ENDPOINTS
from seaway.api.service.types import Service
from seaway.client.index import Index
from seaway.client.requests import TransportError
from seaway.client.run import Change, QueueLoop
from seaway.client.workqueue import BackOff, RetryLater
from seaway.controllers.endpointslice.tracker import SliceTracker
from seaway.controllers.events.run import post_event
from seaway.controllers.healthcheck.held import ANNOTATION_CHECK
from seaway.controllers.mirroring.metrics import MirrorMetrics
from seaway.controllers.mirroring.plan import (
    MirrorPlan,
    MirrorWrite,
    is_managed,
    is_mirrorable,
    plan_mirror,
    render_slice,
)
from seaway.controllers.shared.run import Shared

log = logging.getLogger(__name__)

WORKERS = 5
BACK_OFF = BackOff(first_seconds=0.1, max_seconds=100.0)
"""Upstream begins with 1 s, because its caches may be stale; here the own writes are laid over them."""

UNSEEN_SECONDS = 30.0
"""After a write, before a look at whether the cache has seen it: one that is undone unseen tells nobody."""


@dataclass(slots=True)
class _State:
    """`told`: what was last said about the Endpoints, so that it is said once."""

    tracker: SliceTracker = field(default_factory=SliceTracker)
    told: tuple[str, ...] = ()


class MirroringController:
    """Keeps the slices of hand-made Endpoints; the given informers are the caller's to run."""

    def __init__(self, shared: Shared) -> None:
        self._client = shared.client
        self._services, self._slices = shared.services, shared.slices
        self._endpoints = shared.cache(ENDPOINTS, Endpoints)
        self._states: dict[str, _State] = {}
        self._metrics = MirrorMetrics(shared.metrics)
        self._slices_by_service: Index[EndpointSlice, str] = Index(_service_keys)
        self._queue = QueueLoop(
            "endpoint_slice_mirroring", self._sync, workers=WORKERS, back_off=BACK_OFF, metrics=shared.metrics
        )
        self._is_started = False
        self._services.subscribe(self._on_service)
        self._endpoints.subscribe(self._on_endpoints)
        self._slices.subscribe(self._on_slice)

    async def run(self) -> None:
        """Mirror until cancelled, from the moment when all caches are filled."""
        self._is_started = True
        mirrored = (key for slice_ in self._slices.objects.values() for key in _service_keys(slice_))
        by_hand = (key for key, s in self._services.objects.items() if not s.spec.selector)
        for key in sorted({*mirrored, *(key for key in by_hand if key in self._endpoints.objects)}):
            self._queue.add(key)
        await self._queue.run()

    def _on_service(self, change: Change[Service]) -> None:
        if _project(change.old) != _project(change.new):
            self._add(change.key)

    def _on_endpoints(self, change: Change[Endpoints]) -> None:
        if any(found is not None and is_mirrorable(found.metadata) for found in (change.old, change.new)):
            self._add(change.key)

    def _on_slice(self, change: Change[EndpointSlice]) -> None:
        """What others did to a mirrored slice is put right; the echo of the own write is no reason to look again."""
        self._slices_by_service.apply(change)
        old, new = change.old, change.new
        old_keys, new_keys = (_service_keys(slice_) if slice_ is not None else () for slice_ in (old, new))
        for key in old_keys:
            if old is not None and key not in new_keys and self._state(key).tracker.observe_deletion(old):
                self._add(key)
        for key in new_keys:
            if new is not None and self._state(key).tracker.observe(new):
                self._add(key)

    def _add(self, key: str) -> None:
        if self._is_started:
            self._queue.add(key)

    def _state(self, key: str) -> _State:
        """The state of a key; one that nothing is mirrored for gets one that nobody keeps."""
        if key not in self._endpoints.objects or _project(self._services.objects.get(key)) is None:
            self._states.pop(key, None)
            return _State()
        return self._states.setdefault(key, _State())

    async def _sync(self, key: str) -> float | None:
        begun = asyncio.get_running_loop().time()
        state = self._state(key)
        cached = (self._slices.objects[name] for name in self._slices_by_service.get(key))
        existing = [
            s
            for s in state.tracker.overlay(cached, reached=self._slices.resource_version)
            if s.metadata.deletion_timestamp is None
        ]
        service = self._services.objects.get(key)
        endpoints = self._endpoints.objects.get(key) if _project(service) is not None else None
        plan = plan_mirror(endpoints, service, existing)
        if endpoints is not None:
            await self._tell(state, plan, endpoints)
        if not plan.is_empty:
            await self._apply(key, state, plan, endpoints)
        if endpoints is not None or existing:
            self._metrics.observe_sync(key, existing, plan, asyncio.get_running_loop().time() - begun)
        return UNSEEN_SECONDS if len(state.tracker) else None

    async def _tell(self, state: _State, plan: MirrorPlan, endpoints: Endpoints) -> None:
        said = tuple(event.message for event in plan.events)
        if said == state.told:
            return
        for event in plan.events:
            await post_event(self._client, ENDPOINTS, endpoints.metadata, event)
        state.told = said

    async def _apply(self, key: str, state: _State, plan: MirrorPlan, endpoints: Endpoints | None) -> None:
        """Create, update, delete, in this order, going on after a failure; raises RetryLater with all of them."""
        failures: list[str] = []
        for write in plan.create + plan.update:
            assert endpoints is not None
            try:
                await self._write(state, write, endpoints)
            except (ApiError, TransportError) as error:
                if isinstance(error, Forbidden) and error.is_namespace_terminating:
                    continue
                name = f" {write.replaces.metadata.name}" if write.replaces else ""
                verb = "update" if write.replaces else "create"
                failures.append(f"failed to {verb}{name} EndpointSlice for Endpoints {key}: {error}")
        for slice_ in plan.delete:
            try:
                await self._delete(state, slice_)
            except (ApiError, TransportError) as error:
                failures.append(f"failed to delete {slice_.metadata.name} EndpointSlice for Endpoints {key}: {error}")
        log.info(
            "mirroring endpoints=%s created=%d updated=%d deleted=%d failed=%d",
            key, len(plan.create), len(plan.update), len(plan.delete), len(failures),
        )  # fmt: skip
        if failures:
            raise RetryLater("; ".join(failures))

    async def _write(self, state: _State, write: MirrorWrite, endpoints: Endpoints) -> None:
        body = render_slice(endpoints.metadata, write)
        try:
            if write.replaces is None:
                answer = await self._client.create(ENDPOINT_SLICES, body, endpoints.metadata.namespace)
            else:
                answer = await self._client.update(ENDPOINT_SLICES, body)
        except (Conflict, NotFound):
            if write.replaces is not None:
                state.tracker.forget(write.replaces)
            raise
        self._metrics.observe_write("update" if write.replaces is not None else "create")
        written = msgspec.convert(answer, EndpointSlice)
        state.tracker.record_write(written, self._slices.objects.get(object_key(written.metadata)))

    async def _delete(self, state: _State, slice_: EndpointSlice) -> None:
        meta = slice_.metadata
        try:
            await self._client.delete(
                ENDPOINT_SLICES, meta.name, meta.namespace, options={"preconditions": {"uid": meta.uid}}
            )
        except (NotFound, Conflict):  # gone, or another by now
            state.tracker.forget(slice_)
            return
        self._metrics.observe_write("delete")
        state.tracker.record_deletion(slice_, self._slices.objects.get(object_key(meta)))


def _project(service: Service | None) -> tuple[bool, bool] | None:
    """What of a Service its mirror depends on; None when nothing is mirrored for it."""
    if service is None or service.spec.selector:
        return None
    return True, ANNOTATION_CHECK in service.metadata.annotations


def _service_keys(slice_: EndpointSlice) -> Iterable[str]:
    """Of a mirrored slice, and none of others."""
    name = slice_.metadata.labels.get(LABEL_SERVICE_NAME, "")
    return (f"{slice_.metadata.namespace}/{name}",) if name and is_managed(slice_) else ()
