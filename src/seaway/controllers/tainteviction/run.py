"""The loop of taint eviction: a deadline per Pod on a tainted node. Rule: spec "controllers" §6.2."""

from __future__ import annotations

import asyncio
import logging

from seaway.api.machinery.errors import Conflict, NotFound
from seaway.api.node.types import Node
from seaway.api.registry import PODS
from seaway.client.requests import STRATEGIC_PATCH
from seaway.client.run import Change, QueueLoop
from seaway.client.workqueue import BackOff
from seaway.controllers.events.plan import Happening
from seaway.controllers.events.run import post_event, wall_now
from seaway.controllers.scheduler.pod import PlacedPod
from seaway.controllers.shared.run import Shared
from seaway.controllers.tainteviction.plan import (
    COMPONENT,
    REASON,
    Sentence,
    find_evicting,
    plan_condition,
    plan_sentence,
)

log = logging.getLogger(__name__)

WORKERS = 8
BACK_OFF = BackOff(first_seconds=0.01, max_seconds=10.0)


class TaintEvictionController:
    """Deletes Pods whose node drives them away, when their time there is over."""

    def __init__(self, shared: Shared) -> None:
        self._client = shared.client
        self._nodes, self._pods = shared.nodes, shared.placed_pods
        self._pods_by_node = shared.pods_by_node
        self._sentences: dict[str, tuple[str, Sentence]] = {}
        """By Pod: its uid, and when it goes."""
        self._queue = QueueLoop("tainteviction", self._sync, workers=WORKERS, back_off=BACK_OFF, metrics=shared.metrics)
        self._nodes.subscribe(self._on_node)
        self._pods.subscribe(self._on_pod)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._queue.run()

    def _on_node(self, change: Change[Node]) -> None:
        before = find_evicting(change.old) if change.old is not None else ()
        after = find_evicting(change.new) if change.new is not None else ()
        if before != after:
            for key in self._pods_by_node.get(change.key):
                self._queue.add(key)

    def _on_pod(self, change: Change[PlacedPod]) -> None:
        old, new = change.old, change.new
        if new is None:
            self._sentences.pop(change.key, None)
        elif new.node_name and (old is None or old.node_name != new.node_name or old.wants != new.wants):
            node = self._nodes.objects.get(new.node_name)
            if change.key in self._sentences or (node is not None and find_evicting(node)):
                self._queue.add(change.key)

    async def _sync(self, key: str) -> float | None:
        pod = self._pods.objects.get(key)
        node = self._nodes.objects.get(pod.node_name) if pod is not None else None
        if pod is None or node is None or pod.is_ending:
            self._sentences.pop(key, None)
            return None
        now = asyncio.get_running_loop().time()
        uid, before = self._sentences.get(key, ("", None))
        if uid != pod.metadata.uid:
            before = None
        taints = find_evicting(node)
        sentence = plan_sentence(taints, pod.wants.tolerations, before, now) if taints else None
        if sentence is None:
            await self._pardon(key, pod, before)
            return None
        self._sentences[key] = (pod.metadata.uid, sentence)
        if sentence.due > now:
            return sentence.due - now
        await self._evict(key, pod)
        return None

    async def _pardon(self, key: str, pod: PlacedPod, before: Sentence | None) -> None:
        self._sentences.pop(key, None)
        if before is not None:
            await self._tell(pod, f"Cancelling deletion of Pod {key}")

    async def _evict(self, key: str, pod: PlacedPod) -> None:
        namespace, name, uid = pod.metadata.namespace, pod.metadata.name, pod.metadata.uid
        await self._tell(pod, f"Marking for deletion Pod {key}")
        try:
            live = await self._client.get(PODS, name, namespace, as_type=dict)
            condition = plan_condition(live, wall_now())
            if condition is not None and live["metadata"]["uid"] == uid:
                patch = {"metadata": {"uid": uid}, "status": {"conditions": [condition]}}
                await self._client.patch(
                    PODS, name, namespace, patch=patch, patch_type=STRATEGIC_PATCH, subresource="status"
                )
            await self._client.delete(PODS, name, namespace, options={"preconditions": {"uid": uid}})
        except (NotFound, Conflict) as error:  # gone, or another Pod of the name
            log.info("evict pod=%s error=%r", key, error)
        else:
            log.warning("evict pod=%s node=%s", key, pod.node_name)
        self._sentences.pop(key, None)

    async def _tell(self, pod: PlacedPod, message: str) -> None:
        await post_event(self._client, PODS, pod.metadata, Happening(COMPONENT, REASON, message, "Normal"))
