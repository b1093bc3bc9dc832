"""The loop of the EndpointSlice controller: which Services are due, and the writes of their plans.

Rule: spec "controllers" §1.1 (triggers), §1.11 (writing), §1.12 (stale caches).
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
from seaway.controllers.endpointslice.plan import (
    MAX_ENDPOINTS,
    Memo,
    SlicePlan,
    SliceWrite,
    is_managed,
    plan_slices,
    render_slice,
)
from seaway.controllers.endpointslice.tracker import SliceTracker
from seaway.controllers.endpointslice.trigger import TriggerState, advance_trigger
from seaway.controllers.events.plan import Happening
from seaway.controllers.events.run import post_event
from seaway.controllers.shared.run import Shared

log = logging.getLogger(__name__)

COALESCE_SECONDS = 0.005
"""The least time between two syncs of a Service for Pod changes; a first change after quiet is not held up."""
FOREIGN_CHANGE_SECONDS = 1.0
"""Before a slice that somebody else changed is put right (upstream's minimum)."""
WORKERS = 16
"""More than upstream's 5: workers only wait for answers, and the store commits many writes at once."""
COMPONENT = "endpoint-slice-controller"
"""The source of its Events."""
BACK_OFF = BackOff(first_seconds=0.1, max_seconds=30.0)

_MEMO_SLACK = 64


@dataclass(slots=True)
class _ServiceState:
    tracker: SliceTracker = field(default_factory=SliceTracker)
    memo: Memo = field(default_factory=dict)
    trigger: TriggerState | None = None
    synced_at: float = float("-inf")


class EndpointSliceController:
    """Keeps the slices of every Service with a selector; informers are the caller's to run."""

    def __init__(self, shared: Shared) -> None:
        self._client = shared.client
        self._selection = shared.selection
        self._services, self._pods, self._nodes, self._slices = (
            shared.services, shared.pods, shared.nodes, shared.slices
        )  # fmt: skip
        self._max_endpoints = MAX_ENDPOINTS
        self._states: dict[str, _ServiceState] = {}
        self._pods_by_node: Index[Pod, str] = Index(lambda pod: (pod.spec.node_name,) if pod.spec.node_name else ())
        self._slices_by_service: Index[EndpointSlice, str] = Index(_service_keys)
        self._queue = QueueLoop(
            "endpoint_slice", self._sync, workers=WORKERS, back_off=BACK_OFF, metrics=shared.metrics
        )
        self._services.subscribe(self._on_service)
        self._pods.subscribe(self._on_pod)
        self._nodes.subscribe(self._on_node)
        self._slices.subscribe(self._on_slice)

    async def run(self) -> None:
        """Keep slices until cancelled, from the moment when all caches are filled."""
        for key in sorted(self._services.objects):
            self._queue.add(key)
        await self._queue.run()

    def _on_service(self, change: Change[Service]) -> None:
        if self._is_started:
            self._queue.add(change.key)

    def _on_pod(self, change: Change[Pod]) -> None:
        self._pods_by_node.apply(change)
        for key in sorted(self._selection.find_affected(change)):
            self._add_soon(key)

    def _on_node(self, change: Change[Node]) -> None:
        """Endpoints carry their node's zone, and Pods of a node that is not there are none."""
        if _zone_of(change.old) == _zone_of(change.new):
            return
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
            quiet_since = self._state(key).synced_at
            self._queue.add_after(key, quiet_since + COALESCE_SECONDS - asyncio.get_running_loop().time())

    def _add_foreign(self, key: str) -> None:
        if self._is_started and key in self._services.objects:
            self._queue.add_after(key, FOREIGN_CHANGE_SECONDS)

    async def _sync(self, key: str) -> None:
        service = self._services.objects.get(key)
        if service is None:  # its slices go with their owner
            self._states.pop(key, None)
            return
        if service.spec.type == "ExternalName" or not service.spec.selector:
            return
        state = self._state(key)
        state.synced_at = asyncio.get_running_loop().time()
        pods = self._selection.select_pods(service)
        cached = (self._slices.objects[name] for name in self._slices_by_service.get(key))
        mine = state.tracker.overlay(s for s in cached if is_managed(s))
        existing = [s for s in mine if s.metadata.deletion_timestamp is None]
        state.trigger, trigger_time = advance_trigger(state.trigger, service, pods)
        plan = plan_slices(
            service, pods, self._nodes.objects, existing, max_endpoints=self._max_endpoints, memo=state.memo
        )
        if len(state.memo) > 2 * len(pods) + _MEMO_SLACK:
            state.memo.clear()
        if not plan.is_empty:
            await self._apply(service, state, plan, trigger_time)
        if plan.skipped:
            raise RetryLater("; ".join(plan.skipped))

    async def _apply(self, service: Service, state: _ServiceState, plan: SlicePlan, trigger_time: str | None) -> None:
        """Create, update, delete, in this order, going on after a failure; raises RetryLater with all of them."""
        key = object_key(service.metadata)
        failures: list[str] = []
        for write in plan.create + plan.update:
            try:
                await self._write(service, state, write, trigger_time)
            except (ApiError, TransportError) as error:
                if isinstance(error, Forbidden) and error.is_namespace_terminating:
                    continue
                name = f" {write.replaces.metadata.name}" if write.replaces else ""
                verb = "update" if write.replaces else "create"
                failures.append(f"failed to {verb}{name} EndpointSlice for Service {key}: {error}")
        for slice_ in plan.delete:
            try:
                await self._delete(state, slice_)
            except (ApiError, TransportError) as error:
                failures.append(f"failed to delete {slice_.metadata.name} EndpointSlice for Service {key}: {error}")
        log.info(
            "slices service=%s created=%d updated=%d deleted=%d failed=%d",
            key, len(plan.create), len(plan.update), len(plan.delete), len(failures),
        )  # fmt: skip
        if failures:
            text = "; ".join(failures)
            message = f"Error updating Endpoint Slices for Service {key}: {text}"
            happening = Happening(COMPONENT, "FailedToUpdateEndpointSlices", message)
            await post_event(self._client, SERVICES, service.metadata, happening)
            raise RetryLater(text)

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
        except (NotFound, Conflict):  # gone, or another by now
            state.tracker.forget(slice_)
            return
        state.tracker.record_deletion(slice_, self._slices.objects.get(object_key(meta)))


def _find_service_key(slice_: EndpointSlice | None) -> str:
    name = slice_.metadata.labels.get(LABEL_SERVICE_NAME, "") if slice_ is not None else ""
    return f"{slice_.metadata.namespace}/{name}" if slice_ is not None and name else ""


def _service_keys(slice_: EndpointSlice) -> Iterable[str]:
    key = _find_service_key(slice_)
    return (key,) if key else ()


def _zone_of(node: Node | None) -> str | None:
    return None if node is None else node.metadata.labels.get(LABEL_ZONE, "")
