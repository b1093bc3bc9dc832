"""The loop of Pod garbage: a look at all Pods every 20 seconds. Rule: spec "controllers" §6.2."""

from __future__ import annotations

import asyncio
import logging

from seaway.api.machinery.errors import ApiError, Conflict, NotFound
from seaway.api.node.types import Node
from seaway.api.pod.types import Pod
from seaway.api.registry import NODES, PODS
from seaway.client.index import Index
from seaway.client.requests import STRATEGIC_PATCH, TransportError
from seaway.controllers.events.run import wall_now
from seaway.controllers.podgc.plan import QUARANTINE_SECONDS, Removal, find_missing, is_leaving, plan_end, plan_removals
from seaway.controllers.shared.run import Shared

log = logging.getLogger(__name__)

PERIOD_SECONDS = 20.0


class PodGCController:
    """Ends and deletes Pods that nobody else will."""

    def __init__(self, shared: Shared) -> None:
        self._client = shared.client
        self._nodes, self._pods = shared.nodes, shared.pods
        self._threshold = shared.config.terminated_pod_threshold
        self._pods_by_node = shared.pods_by_node
        self._leaving: Index[Pod, bool] = Index(lambda pod: (True,) if is_leaving(pod) else ())
        self._missing_since: dict[str, float] = {}
        self._pods.subscribe(self._leaving.apply)

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await asyncio.sleep(PERIOD_SECONDS)
            try:
                await self._collect()
            except (ApiError, TransportError) as error:  # the next round looks again
                log.info("pod gc error=%r", error)

    async def _collect(self) -> None:
        gone = await self._find_gone()
        keys = {*self._leaving.get(True), *(key for name in gone for key in self._pods_by_node.get(name))}
        pods = (self._pods.objects[key] for key in keys)
        plan = plan_removals(pods, self._nodes.objects, gone=gone, threshold=self._threshold)
        for removal in plan:
            await self._remove(removal)

    async def _find_gone(self) -> frozenset[str]:
        """The nodes that have been missing through the quarantine, and that the server does not have either."""
        now = asyncio.get_running_loop().time()
        missing = find_missing(self._pods_by_node.values(), self._nodes.objects)
        self._missing_since = {name: self._missing_since.get(name, now) for name in sorted(missing)}
        overdue = [name for name, since in self._missing_since.items() if now - since >= QUARANTINE_SECONDS]
        return frozenset([name for name in overdue if await self._is_gone(name)])

    async def _is_gone(self, name: str) -> bool:
        try:
            await self._client.get(NODES, name, as_type=Node)
        except NotFound:
            return True
        return False

    async def _remove(self, removal: Removal) -> None:
        namespace, _, name = removal.pod.partition("/")
        try:
            live = await self._client.get(PODS, name, namespace, as_type=dict)
            patch = plan_end(live, removal.why, wall_now()) if live["metadata"]["uid"] == removal.uid else None
            if patch is not None:
                await self._client.patch(
                    PODS, name, namespace, patch=patch, patch_type=STRATEGIC_PATCH, subresource="status"
                )
            options = {"gracePeriodSeconds": 0, "preconditions": {"uid": removal.uid}}
            await self._client.delete(PODS, name, namespace, options=options)
        except (NotFound, Conflict) as error:
            log.info("pod gc pod=%s error=%r", removal.pod, error)
        else:
            log.warning("pod gc pod=%s reason=%s", removal.pod, removal.why)
