"""The loop of the binder: one key, since every Pod's place depends on all others. Rule: spec "controllers" §7.7."""

from __future__ import annotations

import asyncio
import datetime
import logging
from collections import Counter

from seaway.api.machinery.errors import Conflict, NotFound
from seaway.api.node.types import Node
from seaway.api.pod.types import Pod
from seaway.api.registry import PODS
from seaway.client.index import Index
from seaway.client.run import Change, QueueLoop
from seaway.client.workqueue import BackOff
from seaway.controllers.binder.plan import Binding, Unschedulable, find_obstacle, needs_node, plan_bindings
from seaway.controllers.shared.run import Shared

log = logging.getLogger(__name__)

_KEY = "all"
BACK_OFF = BackOff(first_seconds=0.1, max_seconds=10.0)


class BinderController:
    """Binds Pods to nodes. What it bound itself counts before the cache shows it."""

    def __init__(self, shared: Shared) -> None:
        self._client = shared.client
        self._nodes, self._pods = shared.nodes, shared.pods
        self._waiting: Index[Pod, bool] = Index(lambda pod: (True,) if needs_node(pod) else ())
        self._per_node: Counter[str] = Counter()
        self._assumed: dict[str, tuple[str, str]] = {}
        self._queue = QueueLoop("binder", self._sync, workers=1, back_off=BACK_OFF, metrics=shared.metrics)
        self._pods.subscribe(self._on_pod)
        self._nodes.subscribe(self._on_node)

    async def run(self) -> None:
        """Work until cancelled."""
        self._queue.add(_KEY)
        await self._queue.run()

    def _on_pod(self, change: Change[Pod]) -> None:
        self._waiting.apply(change)
        for pod, count in ((change.old, -1), (change.new, 1)):
            if pod is not None and pod.spec.node_name:
                self._per_node[pod.spec.node_name] += count
        if change.new is None or change.new.spec.node_name:
            self._assumed.pop(change.key, None)
        elif needs_node(change.new):
            self._queue.add(_KEY)

    def _on_node(self, change: Change[Node]) -> None:
        """A node that can take Pods now may help those that wait; status alone changes too often to look each time."""
        before = change.old is not None and (find_obstacle(change.old), change.old.metadata.labels)
        after = change.new is not None and (find_obstacle(change.new), change.new.metadata.labels)
        if before != after and self._waiting.get(True):
            self._queue.add(_KEY)

    async def _sync(self, key: str) -> None:
        waiting = [self._pods.objects[name] for name in self._waiting.get(True)]
        waiting = [
            pod
            for pod in waiting
            if self._assumed.get(f"{pod.metadata.namespace}/{pod.metadata.name}", ("",))[0] != pod.metadata.uid
        ]
        load = self._per_node + Counter(node for _, node in self._assumed.values())
        plan = plan_bindings(waiting, self._nodes.objects.values(), load)
        by_key = {f"{pod.metadata.namespace}/{pod.metadata.name}": pod for pod in waiting}
        errors = await asyncio.gather(
            *(self._bind(binding, by_key[binding.pod]) for binding in plan.bind),
            *(self._report(finding, by_key[finding.pod]) for finding in plan.unschedulable),
            return_exceptions=True,
        )
        for error in errors:
            if error is not None:
                raise error

    async def _bind(self, binding: Binding, pod: Pod) -> None:
        namespace, name = pod.metadata.namespace, pod.metadata.name
        body = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name, "namespace": namespace, "uid": pod.metadata.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": binding.node},
        }
        try:
            await self._client.create(PODS, body, namespace, name=name, subresource="binding")
        except (Conflict, NotFound) as error:  # bound or deleted meanwhile: its event says so
            log.info("bind pod=%s node=%s error=%r", binding.pod, binding.node, error)
            return
        cached = self._pods.objects.get(binding.pod)
        if cached is not None and not cached.spec.node_name:
            self._assumed[binding.pod] = (pod.metadata.uid, binding.node)
        log.info("bind pod=%s node=%s", binding.pod, binding.node)

    async def _report(self, finding: Unschedulable, pod: Pod) -> None:
        """The condition that tells the user; written only when it is new, or its message is."""
        try:
            live = await self._client.get(PODS, pod.metadata.name, pod.metadata.namespace, as_type=dict)
            wall_now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            conditions = [c for c in live["status"].get("conditions", ()) if c["type"] != "PodScheduled"]
            old = [c for c in live["status"].get("conditions", ()) if c["type"] == "PodScheduled"]
            if live["spec"].get("nodeName") or (old and old[0].get("message") == finding.message):
                return
            conditions.append(
                {
                    "type": "PodScheduled",
                    "status": "False",
                    "reason": "Unschedulable",
                    "message": finding.message,
                    "lastTransitionTime": (old[0].get("lastTransitionTime") if old else None) or wall_now,
                }
            )
            status = {**live["status"], "conditions": conditions}
            await self._client.update(PODS, {**live, "status": status}, subresource="status")
        except (Conflict, NotFound) as error:
            log.info("report pod=%s error=%r", finding.pod, error)
