"""The loop of node liveness: a deadline per node, moved on by its heartbeats; and the taints that follow from it.

Rule: spec "controllers" §6.
"""

from __future__ import annotations

import asyncio
import logging

from seaway.api.lease.types import Lease
from seaway.api.machinery.errors import Conflict, NotFound
from seaway.api.machinery.meta import ObjectMeta
from seaway.api.node.types import Node
from seaway.api.pod.types import Pod
from seaway.api.registry import LEASES, NODES, PODS, Resource
from seaway.client.run import Change, QueueLoop
from seaway.client.workqueue import BackOff
from seaway.controllers.events.plan import Happening
from seaway.controllers.events.run import post_event, wall_now
from seaway.controllers.nodes.plan import (
    LEASE_NAMESPACE,
    Heartbeat,
    choose_deadline,
    choose_lost_pods,
    observe,
    plan_lost_node,
    plan_lost_pod,
    was_ready,
)
from seaway.controllers.nodes.taints import find_execute_key, is_driven_out, plan_taints, read_readiness, render_taints
from seaway.controllers.nodes.zones import Outlook, Pace, survey, zone_of
from seaway.controllers.shared.run import Shared

log = logging.getLogger(__name__)

BACK_OFF = BackOff(first_seconds=0.1, max_seconds=5.0)
COMPONENT = "node-controller"
_PACE_KEY = ""
"""No node has this name: the turn of those that wait to be emptied."""


class NodeController:
    """Marks nodes without heartbeats as Unknown and their Pods as not ready, and taints nodes by their conditions."""

    def __init__(self, shared: Shared) -> None:
        self._client = shared.client
        self._grace_seconds = shared.config.node_grace_seconds
        self._nodes, self._pods = shared.nodes, shared.pods
        self._leases = shared.cache(LEASES, Lease, namespace=LEASE_NAMESPACE)
        self._heartbeats: dict[str, Heartbeat] = {}
        self._lost: set[str] = set()
        self._news: dict[str, tuple[ObjectMeta, Happening]] = {}
        self._suspects: dict[str, set[str]] = {}
        """Pods that came to a node while it was not ready."""
        self._pace = Pace()
        self._outlook = Outlook({}, {})
        self._pods_by_node = shared.pods_by_node
        self._queue = QueueLoop("nodes", self._sync, workers=8, back_off=BACK_OFF, metrics=shared.metrics)
        self._nodes.subscribe(self._on_node)
        self._pods.subscribe(self._on_pod)
        self._leases.subscribe(lambda change: self._observe(change.key.partition("/")[2]))

    async def run(self) -> None:
        """Work until cancelled. Every node has a full grace period from now on."""
        self._heartbeats.clear()
        self._news = {key: news for key, news in self._news.items() if key in self._nodes.objects}
        self._outlook = survey(self._nodes.objects.values())
        for name in sorted(self._nodes.objects):
            self._observe(name)
            self._suspects.setdefault(name, set()).update(self._pods_by_node.get(name))
            self._queue.add(name)
        await self._queue.run()

    def _on_node(self, change: Change[Node]) -> None:
        old, new, name = change.old, change.new, change.key
        if new is None:
            self._heartbeats.pop(name, None)
            self._lost.discard(name)
            self._suspects.pop(name, None)
            self._pace.forget(name)
        else:
            self._observe(name)
        if old is None or new is None:
            self._announce(change)
        elif _show(old) == _show(new):
            return
        self._queue.add(name)
        if (old and (read_readiness(old), zone_of(old))) != (new and (read_readiness(new), zone_of(new))):
            self._survey()

    def _announce(self, change: Change[Node]) -> None:
        name = change.key
        if change.new is not None:
            text = f"Node {name} event: Registered Node {name} in Controller"
            self._news[name] = (change.new.metadata, Happening(COMPONENT, "RegisteredNode", text, "Normal"))
        elif change.old is not None:
            text = f"Node {name} event: Removing Node {name} from Controller"
            self._news[name] = (change.old.metadata, Happening(COMPONENT, "RemovingNode", text, "Normal"))

    def _survey(self) -> None:
        """Looks at all zones; whoever was cut off, or is now, begins anew."""
        was_cut_off = self._outlook.is_cut_off
        self._outlook = survey(self._nodes.objects.values())
        self._queue.add(_PACE_KEY)
        if self._outlook.is_cut_off == was_cut_off:
            return
        self._pace.clear()
        now = asyncio.get_running_loop().time()
        for name in sorted(self._nodes.objects):
            last = self._heartbeats.get(name)
            if last is not None and was_cut_off:
                self._heartbeats[name] = Heartbeat(last.renew_time, last.condition_time, now)
            self._queue.add(name)

    def _on_pod(self, change: Change[Pod]) -> None:
        old, new = change.old, change.new
        if new is None or not new.spec.node_name:
            return
        node = new.spec.node_name
        if new.is_ready and node in self._lost:
            self._queue.add(node)
        elif (old is None or old.spec.node_name != node) and self._is_unready(node):
            self._suspects.setdefault(node, set()).add(change.key)
            self._queue.add(node)

    def _is_unready(self, name: str) -> bool:
        node = self._nodes.objects.get(name)
        return node is not None and bool(find_execute_key(node))

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
        if name == _PACE_KEY:
            return self._take_turn()
        if (news := self._news.pop(name, None)) is not None:
            await post_event(self._client, NODES, *news)
        if name not in self._nodes.objects:
            return None
        due_seconds = await self._check(name)
        await self._mark_suspects(name)
        await self._taint(name)
        return due_seconds

    def _take_turn(self) -> float | None:
        now = asyncio.get_running_loop().time()
        for name in self._pace.advance(self._outlook, now):
            self._queue.add(name)
        deadline = self._pace.next_deadline(self._outlook, now)
        return None if deadline is None else max(0.0, deadline - now)

    async def _check(self, name: str) -> float | None:
        """Marks what is lost; the seconds until the node is to be looked at again."""
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
            status = plan_lost_node(live, wall_now())
            if status is None:
                return
            await self._client.update(NODES, {**live, "status": status}, subresource="status")
        except NotFound:
            return
        log.warning("node lost node=%s grace_seconds=%s", name, self._grace_seconds)
        if was_ready(live):
            text = f"Node {name} status is now: NodeNotReady"
            await self._tell(NODES, live, Happening(COMPONENT, "NodeNotReady", text, "Normal"))

    async def _mark_suspects(self, name: str) -> None:
        """Pods that came to a node that was not ready are not ready either. Those of a lost node are marked already."""
        keys = self._suspects.pop(name, set())
        if not self._is_unready(name):
            return
        pods = (self._pods.objects[key] for key in keys if key in self._pods.objects)
        for key in choose_lost_pods(pod for pod in pods if pod.spec.node_name == name):
            await self._mark_pod(key)

    async def _mark_pod(self, key: str) -> None:
        namespace, _, name = key.partition("/")
        try:
            live = await self._client.get(PODS, name, namespace, as_type=dict)
            status = plan_lost_pod(live, wall_now())
            if status is not None:
                await self._client.update(PODS, {**live, "status": status}, subresource="status")
                log.warning("pod not ready pod=%s reason=node_lost", key)
                await self._tell(PODS, live, Happening(COMPONENT, "NodeNotReady", "Node is not ready"))
        except NotFound:
            return
        except Conflict:  # somebody else writes its status: the event leads here again if it is still needed
            self._suspects.setdefault(live["spec"]["nodeName"], set()).add(key)
            self._queue.add_after(live["spec"]["nodeName"], 0.1)

    async def _tell(self, resource: Resource, live: dict[str, object], happening: Happening) -> None:
        meta = live["metadata"]
        assert isinstance(meta, dict)
        about = ObjectMeta(name=meta["name"], namespace=meta.get("namespace", ""), uid=meta["uid"])
        await post_event(self._client, resource, about, happening)

    async def _taint(self, name: str) -> None:
        node = self._nodes.objects.get(name)
        if node is None:
            return
        self._queue_up(node)
        drives_out = self._pace.is_let(name) and not self._outlook.is_cut_off
        taints = plan_taints(node, drives_out=drives_out, wall_now=wall_now())
        if taints is None:
            return
        version = node.metadata.resource_version
        patch = {"metadata": {"resourceVersion": version}, "spec": {"taints": render_taints(taints)}}
        try:
            await self._client.patch(NODES, name, patch=patch)
        except NotFound:
            return
        except Conflict:  # the cache is behind, and its event may change nothing that matters
            self._queue.add_after(name, 0.05)
            return
        log.info("taint node=%s taints=%s", name, ",".join(f"{t.key}:{t.effect}" for t in taints))

    def _queue_up(self, node: Node) -> None:
        """An unready node waits for its turn to be emptied; one that is being emptied goes on."""
        name = node.metadata.name
        if not find_execute_key(node):
            self._pace.forget(name)
        elif self._outlook.is_cut_off or self._pace.is_let(name):
            return
        elif is_driven_out(node):
            self._pace.let(name)
        else:
            self._pace.add(name, zone_of(node))
            self._queue.add(_PACE_KEY)


def _show(node: Node) -> tuple[object, ...]:
    """What taints depend on; a heartbeat changes nothing of it."""
    statuses = tuple((c.type, c.status) for c in node.status.conditions)
    return statuses, node.spec.unschedulable, node.spec.taints, zone_of(node)
