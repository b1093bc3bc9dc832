"""The loop of the EndpointSlice controller: which Services are due, and the writes of their plans.

Rule: spec "controllers" §1.1 (triggers), §1.11 (writing), §1.12 (stale caches), §2.3 (when nodes change).
Unlike upstream, on purpose: a zone or a node that comes late reaches the endpoints at once; a failed write is tried
again from 0.1 s on, not from 1 s; one failed write keeps no other waiting, but nothing is deleted after one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from seaway.api.endpointslice.types import LABEL_SERVICE_NAME, EndpointSlice
from seaway.api.machinery.errors import ApiError, Conflict, Forbidden, NotFound
from seaway.api.machinery.meta import object_key
from seaway.api.node.types import LABEL_ZONE, Node
from seaway.api.pod.types import Pod
from seaway.api.registry import ENDPOINT_SLICES, SERVICES
from seaway.api.service.types import Service
from seaway.client.index import Index
from seaway.client.requests import TransportError
from seaway.client.run import Change, QueueLoop
from seaway.client.workqueue import BackOff, RetryLater
from seaway.controllers.endpointslice.metrics import SliceMetrics
from seaway.controllers.endpointslice.plan import COMPONENT, MAX_ENDPOINTS, Memo, SlicePlan, is_managed, plan_slices
from seaway.controllers.endpointslice.render import SliceWrite, render_slice
from seaway.controllers.endpointslice.topology import NOTHING, Remembered, Topology, compute_topology, is_overloaded
from seaway.controllers.endpointslice.tracker import SliceTracker
from seaway.controllers.endpointslice.trigger import TriggerState, advance_trigger
from seaway.controllers.events.plan import Happening
from seaway.controllers.events.run import post_event
from seaway.controllers.shared.run import Shared

log = logging.getLogger(__name__)

COALESCE_SECONDS = 0.005
"""The least time between two syncs of a Service for Pod changes; a first change after quiet is not held up.

A sync that took longer is followed by as long a rest: the slower the server, the more changes share a write.
"""
MAX_REST_SECONDS = 0.1
FOREIGN_CHANGE_SECONDS = 1.0
"""Before a slice that somebody else changed is put right (upstream's minimum)."""
WORKERS = 16
"""More than upstream's 5: workers only wait for answers, and the store commits many writes at once."""
ECHO_SECONDS = 60.0
"""After which a write whose echo has not come is looked for: a list may have replaced it."""
REMINDER_SECONDS = 600.0
"""Before the same words about hints are posted again. (Upstream posts them at each sync, and merges.)"""
BACK_OFF = BackOff(first_seconds=0.1, max_seconds=30.0)

MEMO_FROM = 200
"""Pods of a Service from which on their endpoints are kept between syncs: a few are cheaper made anew than kept."""
_MEMO_SLACK = 64
_ALL_NODES = "nodes"


@dataclass(slots=True)
class _ServiceState:
    tracker: SliceTracker = field(default_factory=SliceTracker)
    memo: Memo | None = None
    trigger: TriggerState | None = None
    remembered: Remembered = NOTHING
    told: dict[tuple[str, str], tuple[str, float]] | None = None
    due_again: float = float("-inf")


class EndpointSliceController:
    """Keeps the slices of every Service with a selector; informers are the caller's to run."""

    def __init__(self, shared: Shared) -> None:
        self._client = shared.client
        self._selection = shared.selection
        self._pods_by_node = shared.pods_by_node
        self._services, self._pods, self._nodes, self._slices = (
            shared.services, shared.pods, shared.nodes, shared.slices
        )  # fmt: skip
        self._max_endpoints = MAX_ENDPOINTS
        self._states: dict[str, _ServiceState] = {}
        self._slices_by_service: Index[EndpointSlice, str] = Index(_service_keys)
        self._topology = Topology()
        self._is_running = False
        self._metrics = SliceMetrics(shared.metrics)
        self._queue = QueueLoop(
            "endpoint_slice", self._sync, workers=WORKERS, back_off=BACK_OFF, metrics=shared.metrics
        )
        self._topology_queue = QueueLoop(
            "endpoint_slice_topology", self._sync_topology, workers=1, metrics=shared.metrics
        )
        self._services.subscribe(self._on_service)
        self._pods.subscribe(self._on_pod)
        self._nodes.subscribe(self._on_node)
        self._slices.subscribe(self._on_slice)

    async def run(self) -> None:
        """Keep slices until cancelled, from the moment when all caches are filled."""
        self._is_running = True
        self._topology = compute_topology(self._nodes.objects.values())
        for key in sorted(self._services.objects):
            self._queue.add(key)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._queue.run())
            group.create_task(self._topology_queue.run())

    def _on_service(self, change: Change[Service]) -> None:
        if self._is_started:
            self._queue.add(change.key)

    def _on_pod(self, change: Change[Pod]) -> None:
        if not self._is_running:  # all Services are looked at when it begins
            return
        for key in sorted(self._selection.find_affected(change)):
            self._add_soon(key)

    def _on_node(self, change: Change[Node]) -> None:
        """Endpoints carry their node's zone, and Pods of a node that is not there are none."""
        if change.old is None or change.new is None or change.old.is_ready != change.new.is_ready:
            self._topology_queue.add(_ALL_NODES)
        if _zone_of(change.old) == _zone_of(change.new):
            return
        self._topology_queue.add(_ALL_NODES)
        for pod_key in self._pods_by_node.get(change.key):
            for key in sorted(self._selection.find_services(self._pods.objects.get(pod_key))):
                self._add_soon(key)

    def _on_slice(self, change: Change[EndpointSlice]) -> None:
        self._slices_by_service.apply(change)
        old, new = change.old, change.new
        old_key, new_key = _find_service_key(old), _find_service_key(new)
        if old is not None and (new is None or old_key != new_key or not is_managed(new)):
            is_foreign = is_managed(old) and self._state(old_key).tracker.observe_deletion(old)
            if is_foreign or (new is not None and old_key != new_key):
                self._add_foreign(old_key)
        if new is not None and (
            (is_managed(new) and self._state(new_key).tracker.observe(new)) or (old is not None and old_key != new_key)
        ):
            self._add_foreign(new_key)

    @property
    def _is_started(self) -> bool:
        return self._slices.is_synced and self._services.is_synced

    def _state(self, key: str) -> _ServiceState:
        """The state of a Service; one that is not there gets one that nobody keeps."""
        if key not in self._services.objects:
            return _ServiceState()
        return self._states.setdefault(key, _ServiceState())

    def _add_soon(self, key: str) -> None:
        if self._is_started:
            self._queue.add_after(key, self._state(key).due_again - asyncio.get_running_loop().time())

    def _add_foreign(self, key: str) -> None:
        if self._is_started and key in self._services.objects:
            self._queue.add_after(key, FOREIGN_CHANGE_SECONDS)

    async def _sync_topology(self, key: str) -> None:
        """Look at the nodes again, and at each Service whose hints do not fit them any more."""
        self._topology = compute_topology(self._nodes.objects.values())
        for name, state in sorted(self._states.items()):
            if state.remembered.by_type and is_overloaded(state.remembered, self._topology):
                self._queue.add(name)

    async def _sync(self, key: str) -> float | None:
        service = self._services.objects.get(key)
        if service is None:  # its slices go with their owner
            self._states.pop(key, None)
            self._metrics.forget(key)
            return None
        if service.spec.type == "ExternalName" or not service.spec.selector:
            return None
        state = self._state(key)
        now = asyncio.get_running_loop().time
        begun = now()
        state.due_again = begun + COALESCE_SECONDS
        try:
            await self._reconcile(key, service, state)
        except Exception as error:
            is_stale = isinstance(error, _WriteFailures) and error.is_stale
            self._metrics.observe_result("stale" if is_stale else "error")
            raise
        finally:
            state.due_again = max(state.due_again, now() + min(now() - begun, MAX_REST_SECONDS))
        self._metrics.observe_result("success")
        return ECHO_SECONDS if len(state.tracker) else None

    async def _reconcile(self, key: str, service: Service, state: _ServiceState) -> None:
        pods = self._selection.select_pods(service)
        cached = (self._slices.objects[name] for name in self._slices_by_service.get(key))
        mine = state.tracker.overlay((s for s in cached if is_managed(s)), reached=self._slices.resource_version)
        existing = [s for s in mine if s.metadata.deletion_timestamp is None]
        state.trigger, trigger_time = advance_trigger(state.trigger, service, pods)
        if len(pods) < MEMO_FROM:
            state.memo = None
        elif state.memo is None or len(state.memo) > 2 * len(pods) + _MEMO_SLACK:
            state.memo = {}
        plan = plan_slices(
            service, pods, self._nodes.objects, existing,
            topology=self._topology, remembered=state.remembered, max_endpoints=self._max_endpoints, memo=state.memo,
        )  # fmt: skip
        state.remembered = plan.remembered
        self._metrics.observe_sync(key, service, plan)
        failures = _WriteFailures()
        if not plan.is_empty:
            await self._apply(service, state, plan, trigger_time, failures)
        for happening in plan.events:
            await self._tell(service, state, happening)
        failures.texts += plan.skipped
        if failures.texts:
            message = f"Error updating Endpoint Slices for Service {key}: {failures}"
            happening = Happening(COMPONENT, "FailedToUpdateEndpointSlices", message)
            await post_event(self._client, SERVICES, service.metadata, happening)
            raise failures

    async def _apply(
        self,
        service: Service,
        state: _ServiceState,
        plan: SlicePlan,
        trigger_time: str | None,
        failures: _WriteFailures,
    ) -> None:
        """Create, update, delete, in this order. After a failure nothing is deleted: what moves, comes first."""
        key = object_key(service.metadata)
        for write in plan.create + plan.update:
            verb, name = ("update", f" {write.replaces.metadata.name}") if write.replaces else ("create", "")
            try:
                await self._write(service, state, write, trigger_time)
                self._metrics.observe_write(verb)
            except (ApiError, TransportError) as error:
                if not (isinstance(error, Forbidden) and error.is_namespace_terminating):
                    failures.add(f"failed to {verb}{name} EndpointSlice for Service {key}", error)
        for slice_ in () if failures.texts else plan.delete:
            try:
                await self._delete(state, slice_)
                self._metrics.observe_write("delete")
            except (ApiError, TransportError) as error:
                failures.add(f"failed to delete {slice_.metadata.name} EndpointSlice for Service {key}", error)
        log.info(
            "slices service=%s created=%d updated=%d deleted=%d failed=%d",
            key, len(plan.create), len(plan.update), len(plan.delete), len(failures.texts),
        )  # fmt: skip

    async def _tell(self, service: Service, state: _ServiceState, happening: Happening) -> None:
        """Post the Event, unless the last about this was the same and is not long ago."""
        subject = (happening.series, "" if happening.reason.startswith("TopologyAware") else happening.reason)
        now = asyncio.get_running_loop().time()
        if state.told is None:
            state.told = {}
        said, said_at = state.told.get(subject, ("", 0.0))
        if said != happening.message or now - said_at >= REMINDER_SECONDS:
            state.told[subject] = (happening.message, now)
            await post_event(self._client, SERVICES, service.metadata, happening)

    async def _write(self, service: Service, state: _ServiceState, write: SliceWrite, trigger_time: str | None) -> None:
        body = render_slice(service, write, trigger_time)
        try:
            if write.replaces is None:
                answer = await self._client.create(ENDPOINT_SLICES, body, service.metadata.namespace)
            else:
                answer = await self._client.update(ENDPOINT_SLICES, body)
        except (Conflict, NotFound):
            if write.replaces is not None:
                state.tracker.forget(write.replaces)
            raise
        written = msgspec.convert(answer, EndpointSlice)
        state.tracker.record_write(written, self._slices.objects.get(object_key(written.metadata)))

    async def _delete(self, state: _ServiceState, slice_: EndpointSlice) -> None:
        meta = slice_.metadata
        try:
            await self._client.delete(
                ENDPOINT_SLICES, meta.name, meta.namespace, options={"preconditions": {"uid": meta.uid}}
            )
        except NotFound:
            state.tracker.forget(slice_)
            return
        state.tracker.record_deletion(slice_, self._slices.objects.get(object_key(meta)))


class _WriteFailures(RetryLater):
    """What went wrong in one pass, if anything. `is_stale`: only because the cache was behind the server."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.is_stale = False

    def add(self, text: str, error: Exception) -> None:
        """One write failed."""
        is_stale = isinstance(error, Conflict | NotFound)
        self.is_stale = is_stale and (self.is_stale or not self.texts)
        self.texts.append(f"{text}: {error}")

    def __str__(self) -> str:
        return "; ".join(self.texts)

    def __repr__(self) -> str:
        return f"RetryLater({str(self)!r})"


def _find_service_key(slice_: EndpointSlice | None) -> str:
    name = slice_.metadata.labels.get(LABEL_SERVICE_NAME, "") if slice_ is not None else ""
    return f"{slice_.metadata.namespace}/{name}" if slice_ is not None and name else ""


def _service_keys(slice_: EndpointSlice) -> Iterable[str]:
    key = _find_service_key(slice_)
    return (key,) if key else ()


def _zone_of(node: Node | None) -> str | None:
    return None if node is None else node.metadata.labels.get(LABEL_ZONE, "")
