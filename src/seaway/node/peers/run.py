"""Keeps the routes to the Pods of other nodes: with each change of a Node, and against whoever else changes routes."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable

from seaway.api.node.types import Node
from seaway.api.registry import NODES
from seaway.client.requests import Client
from seaway.client.run import Informer
from seaway.node.config import NodeConfig
from seaway.node.events import Happening
from seaway.node.network.kernel import NetworkError
from seaway.node.peers import kernel
from seaway.node.peers.plan import plan_changes, plan_peers

log = logging.getLogger(__name__)

CHECK_SECONDS = 10.0
"""The kernel's routes are compared this often. Rule: spec "node" §4.6."""


class PeerWatch:
    """The other nodes and the ways to them. Routes stay when it ends: Pods run on without an agent."""

    def __init__(self, config: NodeConfig, client: Client, pod_cidrs: str, record: Callable[[Happening], None]) -> None:
        self._name = config.node_name
        self._own = tuple(ipaddress.ip_network(text.strip()) for text in pod_cidrs.split(","))
        self._cluster = tuple(ipaddress.ip_network(text) for text in config.cluster_cidrs)
        self._nodes = Informer(client, NODES, Node)
        self._changed = asyncio.Event()
        self._record = record
        self._told: tuple[str, ...] = ()

    async def run(self) -> None:
        """Keep them until cancelled. Before the Nodes are known no route is touched."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._nodes.run())
            await self._nodes.wait_synced()
            self._nodes.subscribe(lambda _: self._changed.set())
            has_changed = True
            while True:
                self._changed.clear()
                nodes = tuple(self._nodes.objects.values())
                if has_changed or len(nodes) > 1:  # a node that is alone has no routes that others could change
                    await self._keep(nodes)
                has_changed = await self._wait()

    async def _keep(self, nodes: tuple[Node, ...]) -> None:
        try:
            self._tell(await asyncio.to_thread(self._settle, nodes))
        except NetworkError as error:
            log.warning("node=%s peers=unrouted error=%r", self._name, str(error))

    async def _wait(self) -> bool:
        """Whether a Node changed before it was time to look again."""
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def _settle(self, nodes: tuple[Node, ...]) -> tuple[str, ...]:
        """What stands in the way of packets, each with its mend."""
        plan = plan_peers(
            nodes,
            own_name=self._name,
            own_ranges=self._own,
            cluster_ranges=self._cluster,
            links=kernel.read_links(),
        )
        kernel.apply(plan_changes(plan.routes, kernel.read_routes()))
        return plan.unreachable + tuple(
            f"link {link} does not forward: other nodes do not reach Pods of this one; run the proxy with"
            f" --serve-uplinks, or set net.ipv4.conf.{link}.forwarding=1 and guard what may pass"
            for link in kernel.find_closed(plan.links)
        )

    def _tell(self, obstacles: tuple[str, ...]) -> None:
        for obstacle in obstacles:
            if obstacle not in self._told:
                log.warning("node=%s peers=obstacle message=%r", self._name, obstacle)
                self._record(Happening("Warning", "PeerUnreachable", obstacle))
        self._told = obstacles
