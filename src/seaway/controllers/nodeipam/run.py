"""The loop of node ranges. Rule: spec "controllers" §7.8 (a node that has ranges is only recorded)."""

from __future__ import annotations

import logging

from seaway.api.machinery.errors import ApiError, NotFound
from seaway.api.machinery.meta import ObjectMeta
from seaway.api.node.types import Node
from seaway.api.registry import NODES
from seaway.client.requests import TransportError
from seaway.client.run import Change, QueueLoop
from seaway.client.workqueue import BackOff, RetryLater
from seaway.controllers.events.plan import Happening
from seaway.controllers.events.run import post_event
from seaway.controllers.nodeipam.plan import Full, NodeRanges, OutOfRange
from seaway.controllers.shared.run import Shared
from seaway.net.errors import OperationalError

log = logging.getLogger(__name__)

COMPONENT = "cidrAllocator"
TRIES = 3
WORKERS = 30
BACK_OFF = BackOff(first_seconds=0.1, max_seconds=30.0)


class NodeIpamController:
    """Gives each node without ranges its own."""

    def __init__(self, shared: Shared) -> None:
        config = shared.config.ipam
        if config is None:
            raise OperationalError("--controllers: nodeipam found; it needs --allocate-node-cidrs and --cluster-cidr")
        self._client = shared.client
        self._nodes = shared.nodes
        self._ranges = NodeRanges(config)
        self._queue = QueueLoop("nodeipam", self._sync, workers=WORKERS, back_off=BACK_OFF, metrics=shared.metrics)
        self._is_running = False
        self._nodes.subscribe(self._on_node)

    async def run(self) -> None:
        """Work until cancelled. Raises OperationalError when a node has a range that is not ours to give."""
        for name in sorted(self._nodes.objects):
            try:
                self._ranges.record(self._nodes.objects[name])
            except OutOfRange as error:
                raise OperationalError(f"--cluster-cidr: {error}") from None
        self._is_running = True
        for name in sorted(self._nodes.objects):
            self._queue.add(name)
        await self._queue.run()

    def _on_node(self, change: Change[Node]) -> None:
        if change.new is None:
            self._ranges.drop(change.key)
            return
        old, new = change.old, change.new
        if old is not None and old.metadata.uid != new.metadata.uid:
            self._ranges.drop(change.key)
        if not self._is_running:  # those that have ranges are recorded first, all of them
            return
        if new.spec.pod_cidrs and (old is None or old.spec.pod_cidrs != new.spec.pod_cidrs):
            try:
                self._ranges.record(new)
            except OutOfRange as error:
                log.error("nodeipam node=%s error=%s", change.key, error)
        elif not new.spec.pod_cidrs:
            self._queue.add(change.key)

    async def _sync(self, name: str) -> None:
        node = self._nodes.objects.get(name)
        if node is None or node.spec.pod_cidrs:
            return
        try:
            cidrs = self._ranges.assign(name)
        except Full as error:
            await self._tell(node, "CIDRNotAvailable")
            raise RetryLater(str(error)) from None
        patch = {"metadata": {"uid": node.metadata.uid}, "spec": {"podCIDR": cidrs[0], "podCIDRs": list(cidrs)}}
        for attempt in range(1, TRIES + 1):
            try:
                await self._client.patch(NODES, name, patch=patch)
            except NotFound:
                self._ranges.drop(name)
                return
            except TransportError:  # it may have been written: the range stays the node's
                raise
            except ApiError:
                if attempt < TRIES:
                    continue
                self._ranges.drop(name)
                await self._tell(node, "CIDRAssignmentFailed")
                raise
            else:
                log.info("nodeipam node=%s ranges=%s", name, ",".join(cidrs))
                return

    async def _tell(self, node: Node, reason: str) -> None:
        about = ObjectMeta(name=node.metadata.name, uid=node.metadata.uid)
        message = f"Node {node.metadata.name} status is now: {reason}"
        await post_event(self._client, NODES, about, Happening(COMPONENT, reason, message, "Normal"))
