"""The loop of the scheduler: one Pod after the other gets its place, and many bindings are written at a time.

What has been decided lies on the board before it is written, and until the cache shows it or the server refuses it.
Rule: spec "controllers" §7.7 (binding, conditions, events); the texts are upstream's.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from seaway.api.machinery.errors import ApiError, Conflict, NotFound, TooManyRequests
from seaway.api.namespace.types import Namespace
from seaway.api.node.types import Node
from seaway.api.registry import PODS
from seaway.api.service.types import Service
from seaway.client.requests import STRATEGIC_PATCH, TransportError
from seaway.client.run import Change
from seaway.controllers.events.plan import Happening as Event
from seaway.controllers.events.run import post_event, wall_now
from seaway.controllers.scheduler.board import Board
from seaway.controllers.scheduler.metrics import SchedulerMetrics
from seaway.controllers.scheduler.plan import Placement, Unschedulable, find_place, needs_node, put_on, queue_order
from seaway.controllers.scheduler.pod import PlacedPod
from seaway.controllers.scheduler.queue import Happening, SchedulingQueue
from seaway.controllers.shared.run import Shared

log = logging.getLogger(__name__)

WRITERS = 16
MAX_BUSY_SECONDS = 0.005
MAX_AT_ONCE = 50
"""Pods are placed for so long, and so many, before others have their turn."""
FIRST_RETRY_SECONDS = 0.1
MAX_RETRY_SECONDS = 5.0
MAX_REPORT_TRIES = 5

Write = Callable[[], Awaitable[None]]


class SchedulerController:
    """Puts Pods without a node on one, in the name of one scheduler."""

    def __init__(self, shared: Shared) -> None:
        self._client = shared.client
        self._name = shared.config.scheduler_name
        self._pods, self._nodes = shared.placed_pods, shared.nodes
        self._board = Board()
        self._queue = SchedulingQueue()
        self._metrics = SchedulerMetrics(shared.metrics, self._name, self._queue.count)
        self._assumed: dict[str, str] = {}
        """By key: the uid of the Pod that lies on the board though the cache does not show it there yet."""
        self._findings: dict[str, Unschedulable] = {}
        """What is to be told of Pods: the latest, if there is more than one."""
        self._happenings: set[Happening] = set()
        self._writes: asyncio.Queue[Write] = asyncio.Queue()
        self._woken = asyncio.Event()
        self._pods.subscribe(self._on_pod)
        self._nodes.subscribe(self._on_node)
        shared.namespaces.subscribe(self._on_namespace)
        shared.services.subscribe(self._on_service)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(WRITERS):
                group.create_task(self._write())
            while True:
                if not self._place_some():
                    await self._sleep()
                await asyncio.sleep(0)

    def _on_pod(self, change: Change[PlacedPod]) -> None:
        key, new = change.key, change.new
        before = self._board.find_pod(key)
        if new is None or new.node_name:
            self._assumed.pop(key, None)
            self._queue.drop(key)
        if new is None:
            self._board.drop_pod(key)
        elif new.node_name:
            self._board.put_pod(key, new)
        elif self._assumed.get(key) != new.metadata.uid:
            self._assumed.pop(key, None)
            self._board.drop_pod(key)
            self._take_waiting(key, change.old, new)
        after = self._board.find_pod(key)
        if before is not None and after is None:
            self._happened(Happening.POD_LEFT)
        elif after is not None and (before is None or before.like.labels != after.like.labels):
            self._happened(Happening.POD_PLACED)

    def _take_waiting(self, key: str, old: PlacedPod | None, new: PlacedPod) -> None:
        if not needs_node(new, self._name):
            self._queue.drop(key)
        elif old is None or _asks_for(old) != _asks_for(new):
            self._queue.add(key, queue_order(new))
            self._woken.set()

    def _on_node(self, change: Change[Node]) -> None:
        """Status alone changes often, and mostly not in what matters here."""
        if change.new is None:
            self._board.drop_node(change.key)
        elif change.old is not None and _offers(change.old) == _offers(change.new):
            return
        else:
            self._board.put_node(change.new)
        self._happened(Happening.NODE_CHANGED)

    def _on_namespace(self, change: Change[Namespace]) -> None:
        if change.new is None:
            self._board.drop_namespace(change.key)
        elif change.old is None or change.old.metadata.labels != change.new.metadata.labels:
            self._board.put_namespace(change.key, change.new.metadata.labels)
            self._happened(Happening.POD_PLACED)

    def _on_service(self, change: Change[Service]) -> None:
        self._board.put_service(change.key, change.new)

    def _happened(self, happening: Happening) -> None:
        self._happenings.add(happening)
        self._woken.set()

    async def _sleep(self) -> None:
        """Until something happens, or a back-off is over."""
        deadline = self._queue.next_deadline()
        try:
            async with asyncio.timeout_at(deadline):
                await self._woken.wait()
        except TimeoutError:
            return

    def _place_some(self) -> bool:
        """Places the next Pods; says whether there may be more."""
        self._woken.clear()
        now = asyncio.get_running_loop().time()
        for happening in self._happenings:
            self._queue.wake(happening, now)
        self._happenings.clear()
        begun = time.perf_counter()
        for _ in range(MAX_AT_ONCE):
            key = self._queue.pop(now)
            if key is None:
                return False
            before = time.perf_counter()
            result = self._place(key, now)
            after = time.perf_counter()
            self._metrics.count(result, after - before)
            if after - begun > MAX_BUSY_SECONDS:
                break
        return True

    def _place(self, key: str, now: float) -> str:
        """What came of it, as it is counted."""
        pod = self._pods.objects.get(key)
        if pod is None or not needs_node(pod, self._name):
            self._queue.drop(key)
            return "error"
        try:
            found = find_place(pod, self._board)
        except Exception:  # a bug in one Pod must not stop the others
            log.exception("schedule pod=%s", key)
            self._queue.retry(key, queue_order(pod), now)
            return "error"
        if isinstance(found, Unschedulable):
            self._queue.park(key, queue_order(pod), found.filters, now)
            if pod.waiting is not None and pod.waiting.told != found.message:
                self._findings[key] = found
                self._writes.put_nowait(lambda: self._report(pod, key))
            return "unschedulable"
        self._queue.drop(key)
        self._board.put_pod(key, put_on(pod, found.node))
        self._assumed[key] = pod.metadata.uid
        self._happened(Happening.POD_PLACED)
        self._writes.put_nowait(lambda: self._bind(pod, found))
        return "scheduled"

    async def _write(self) -> None:
        while True:
            write = await self._writes.get()
            try:
                await write()
            except Exception:  # a bug in one write must not stop the others
                log.exception("schedule write")

    async def _bind(self, pod: PlacedPod, placement: Placement) -> None:
        """Tries until the server has an opinion: a binding without an answer may have been made."""
        namespace, name = pod.metadata.namespace, pod.metadata.name
        body = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name, "namespace": namespace, "uid": pod.metadata.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": placement.node},
        }
        delay = FIRST_RETRY_SECONDS
        while self._assumed.get(placement.pod) == pod.metadata.uid:
            try:
                await self._client.create(PODS, body, namespace, name=name, subresource="binding")
            except (TransportError, ApiError) as error:
                if not _is_passing(error):
                    log.info("bind pod=%s node=%s error=%r", placement.pod, placement.node, error)
                    self._give_up(placement.pod, pod.metadata.uid)
                    return
                log.info("bind pod=%s node=%s retry_seconds=%s error=%r", placement.pod, placement.node, delay, error)
                await asyncio.sleep(delay)
                delay = min(2 * delay, MAX_RETRY_SECONDS)
            else:
                log.info("bind pod=%s node=%s", placement.pod, placement.node)
                message = f"Successfully assigned {placement.pod} to {placement.node}"
                await self._post(pod, Event(self._name, "Scheduled", message, "Normal"))
                return

    def _give_up(self, key: str, uid: str) -> None:
        """The server refused: the place is free again, and the Pod waits, unless its event says otherwise."""
        if self._assumed.get(key) != uid:
            return
        del self._assumed[key]
        self._board.drop_pod(key)
        self._happened(Happening.POD_LEFT)
        pod = self._pods.objects.get(key)
        if pod is not None and needs_node(pod, self._name):
            self._queue.retry(key, queue_order(pod), asyncio.get_running_loop().time())

    async def _report(self, pod: PlacedPod, key: str) -> None:
        """The condition and the event that tell the user; only when the words are new."""
        finding = self._findings.pop(key, None)
        if finding is None:
            return
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": finding.message,
        }
        if pod.waiting is None or not pod.waiting.told:
            condition["lastTransitionTime"] = wall_now()
        patch = {"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [condition]}}
        delay = FIRST_RETRY_SECONDS
        for _ in range(MAX_REPORT_TRIES):
            current = self._pods.objects.get(finding.pod)
            if current is None or current.node_name or finding.pod in self._assumed:
                return
            try:
                await self._client.patch(
                    PODS, pod.metadata.name, pod.metadata.namespace,
                    patch=patch, patch_type=STRATEGIC_PATCH, subresource="status",
                )  # fmt: skip
            except (TransportError, ApiError) as error:
                if not _is_passing(error):
                    log.info("report pod=%s error=%r", finding.pod, error)
                    return
                await asyncio.sleep(delay)
                delay = min(2 * delay, MAX_RETRY_SECONDS)
            else:
                await self._post(pod, Event(self._name, "FailedScheduling", finding.message))
                return

    async def _post(self, pod: PlacedPod, event: Event) -> None:
        await post_event(self._client, PODS, pod.metadata, event)


def _asks_for(pod: PlacedPod) -> tuple[object, ...]:
    """What decides whether and where the Pod is placed; its status is not among it."""
    waiting = pod.waiting
    held = None if waiting is None else (waiting.is_gated, waiting.scheduler_name, waiting.priority)
    return (pod.metadata.uid, pod.wants, pod.metadata.labels, held, pod.is_ending, pod.has_ended)


def _offers(node: Node) -> tuple[object, ...]:
    return (node.metadata.labels, node.spec.unschedulable, node.spec.taints, node.status.allocatable)


def _is_passing(error: TransportError | ApiError) -> bool:
    """The same request may succeed later."""
    if isinstance(error, TransportError | TooManyRequests):
        return True
    return not isinstance(error, Conflict | NotFound) and error.status_code >= 500
