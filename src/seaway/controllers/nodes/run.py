"""The loop of node liveness: a deadline per node, moved on by its heartbeats. Rule: spec "controllers" §6."""

from __future__ import annotations

import asyncio
import datetime
import logging

from seaway.api.lease.types import Lease
from seaway.api.machinery.errors import Conflict, NotFound
from seaway.api.node.types import Node
from seaway.api.pod.types import Pod
from seaway.api.registry import LEASES, NODES, PODS
from seaway.client.index import Index
from seaway.client.run import Change, QueueLoop
from seaway.client.workqueue import BackOff
from seaway.controllers.nodes.plan import (
    LEASE_NAMESPACE,
    Heartbeat,
    choose_deadline,
    choose_lost_pods,
    observe,
    plan_lost_node,
    plan_lost_pod,
)
from seaway.controllers.shared.run import Shared

log = logging.getLogger(__name__)

BACK_OFF = BackOff(first_seconds=0.1, max_seconds=5.0)


class NodeController:
    """Marks nodes without heartbeats as Unknown, and their Pods as not ready."""

    def __init__(self, shared: Shared) -> None:
        self._client = shared.client
        self._grace_seconds = shared.config.node_grace_seconds
        self._nodes, self._pods = shared.nodes, shared.pods
        self._leases = shared.cache(LEASES, Lease, namespace=LEASE_NAMESPACE)
        self._heartbeats: dict[str, Heartbeat] = {}
        self._lost: set[str] = set()
        self._pods_by_node: Index[Pod, str] = Index(lambda pod: (pod.spec.node_name,) if pod.spec.node_name else ())
        self._queue = QueueLoop("nodes", self._sync, workers=8, back_off=BACK_OFF, metrics=shared.metrics)
        self._nodes.subscribe(self._on_node)
        self._pods.subscribe(self._on_pod)
        self._leases.subscribe(lambda change: self._observe(change.key.partition("/")[2]))

    async def run(self) -> None:
        """Work until cancelled. Every node has a full grace period from now on."""
        self._heartbeats.clear()
        for name in sorted(self._nodes.objects):
            self._observe(name)
            self._queue.add(name)
        await self._queue.run()

    def _on_node(self, change: Change[Node]) -> None:
        if change.new is None:
            self._heartbeats.pop(change.key, None)
            self._lost.discard(change.key)
            return
        self._observe(change.key)
        if change.old is None:
            self._queue.add(change.key)

    def _on_pod(self, change: Change[Pod]) -> None:
        self._pods_by_node.apply(change)
        if change.new is not None and change.new.is_ready and change.new.spec.node_name in self._lost:
            self._queue.add(change.new.spec.node_name)

    def _observe(self, name: str) -> None:
        """Only notes the time: the deadline is looked at when it comes, not at every heartbeat."""
        node = self._nodes.objects.get(name)
        if node is None:
            return
        last = self._heartbeats.get(name)
        lease = self._leases.objects.get(f"{LEASE_NAMESPACE}/{name}")
        seen = observe(last, node, lease, asyncio.get_running_loop().time())
        if seen is not last:
            self._heartbeats[name] = seen
            if name in self._lost:
                self._lost.discard(name)
                self._queue.add(name)

    async def _sync(self, name: str) -> float | None:
        node, heartbeat = self._nodes.objects.get(name), self._heartbeats.get(name)
        if node is None or heartbeat is None:
            return None
        watching_since = self._leases.reachable_since
        if watching_since is None:
            return self._grace_seconds
        deadline = choose_deadline(heartbeat, node, grace_seconds=self._grace_seconds, watching_since=watching_since)
        left = deadline - asyncio.get_running_loop().time()
        if left > 0:
            return left
        if name not in self._lost and await self._is_alive(name, heartbeat):
            return self._grace_seconds
        self._lost.add(name)
        await self._mark_node(name)
        pods = (self._pods.objects[key] for key in self._pods_by_node.get(name))
        for key in choose_lost_pods(pods):
            await self._mark_pod(key)
        return None

    async def _is_alive(self, name: str, heartbeat: Heartbeat) -> bool:
        """Asks the server itself: a watch may lag."""
        try:
            lease = await self._client.get(LEASES, name, LEASE_NAMESPACE, as_type=Lease)
        except NotFound:
            return False
        if lease.spec.renew_time == heartbeat.renew_time:
            return False
        self._heartbeats[name] = Heartbeat(
            lease.spec.renew_time, heartbeat.condition_time, asyncio.get_running_loop().time()
        )
        return True

    async def _mark_node(self, name: str) -> None:
        try:
            live = await self._client.get(NODES, name, as_type=dict)
            status = plan_lost_node(live, _wall_now())
            if status is not None:
                await self._client.update(NODES, {**live, "status": status}, subresource="status")
                log.warning("node lost node=%s grace_seconds=%s", name, self._grace_seconds)
        except NotFound:
            return

    async def _mark_pod(self, key: str) -> None:
        namespace, _, name = key.partition("/")
        try:
            live = await self._client.get(PODS, name, namespace, as_type=dict)
            status = plan_lost_pod(live, _wall_now())
            if status is not None:
                await self._client.update(PODS, {**live, "status": status}, subresource="status")
                log.warning("pod not ready pod=%s reason=node_lost", key)
        except NotFound:
            return
        except Conflict:  # somebody else writes its status: the event leads here again if it is still needed
            self._queue.add_after(live["spec"]["nodeName"], 0.1)


def _wall_now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
