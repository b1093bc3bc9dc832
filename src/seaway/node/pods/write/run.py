"""Writes one Pod's status: the newest wins, one write at a time, and what somebody else changed is put right.

Rule: spec "node" §3.1 (accepting and sending), §3.4 (reconciliation), §2.10 step 7 (the final DELETE).
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from seaway.api.machinery.errors import ApiError, Conflict, NotFound
from seaway.api.registry import PODS
from seaway.client.requests import STRATEGIC_PATCH, Client, TransportError
from seaway.node.podspec import PodManifest
from seaway.node.status import Json, differs_from_reported, make_status_patch

log = logging.getLogger(__name__)

RETRY_SECONDS = (0.1, 5.0)


class StatusWriter:
    """`wanted` is the last status that was handed in; it is written until the server has it."""

    def __init__(self, client: Client, pod: PodManifest) -> None:
        self.wanted: Json | None = None
        self._client = client
        self._name, self._namespace, self._uid = pod.metadata.name, pod.metadata.namespace, pod.uid
        self._written: Json | None = None
        self._version = 0
        self._due = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_gone = False

    def want(self, status: Json) -> None:
        """Write the status, unless it is what was written last."""
        if self._is_gone or status == self.wanted:
            return
        self.wanted = status
        self._idle.clear()
        self._due.set()

    def take_reported(self, pod: PodManifest) -> None:
        """What the API has. Somebody else's change of what is ours is undone; an echo from the past is none."""
        if self._written is None or self._written is not self.wanted or self._due.is_set():
            return
        if int(pod.metadata.resource_version or 0) > self._version and differs_from_reported(pod, self._written):
            log.info("pod=%s/%s status=restored", self._namespace, self._name)
            self._idle.clear()
            self._due.set()

    def forget(self) -> None:
        """The object is gone: nothing is written any more."""
        self._is_gone = True
        self._due.clear()
        self._idle.set()

    async def flush(self) -> None:
        """Returns when the server has what is wanted, or the object is gone."""
        await self._idle.wait()

    async def run(self) -> None:
        """Write until cancelled."""
        delay = RETRY_SECONDS[0]
        while True:
            await self._due.wait()
            self._due.clear()
            status = self.wanted
            assert status is not None
            try:
                await self._write(status)
            except (NotFound, Conflict):  # another Pod has the name now, or none
                self.forget()
            except (ApiError, TransportError) as error:
                if isinstance(error, ApiError) and await self._is_replaced():
                    self.forget()
                    continue
                log.warning("pod=%s/%s status=unwritten error=%r", self._namespace, self._name, error)
                await asyncio.sleep(delay)
                delay = min(2 * delay, RETRY_SECONDS[1])
                self._due.set()
            else:
                delay = RETRY_SECONDS[0]
                self._written = status
                if not self._due.is_set():
                    self._idle.set()

    async def _is_replaced(self) -> bool:
        """Another Pod has the name, or none: a foreign UID in a patch is an invalid field to the API server (422).

        Rule: spec "api-machinery" §1 (409, Conflict).
        """
        try:
            pod = await self._client.get(PODS, self._name, self._namespace, as_type=PodManifest)
        except NotFound:
            return True
        except (ApiError, TransportError):
            return False
        return pod.uid != self._uid

    async def _write(self, status: Json) -> None:
        patch = make_status_patch(self._uid, status, self._written)
        answer = await self._client.patch(
            PODS, self._name, self._namespace, patch=patch, patch_type=STRATEGIC_PATCH, subresource="status"
        )
        self._version = _read_version(answer)

    async def delete(self) -> None:
        """Finish the deletion of the object; the UID keeps a later Pod of the same name safe."""
        options: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "gracePeriodSeconds": 0,
            "preconditions": {"uid": self._uid},
        }
        delay = RETRY_SECONDS[0]
        while not self._is_gone:
            try:
                await self._client.delete(PODS, self._name, self._namespace, options=options)
            except (NotFound, Conflict):
                pass
            except (ApiError, TransportError) as error:
                log.warning("pod=%s/%s deletion=unfinished error=%r", self._namespace, self._name, error)
                await asyncio.sleep(delay)
                delay = min(2 * delay, RETRY_SECONDS[1])
                continue
            self.forget()


def _read_version(answer: Json) -> int:
    version = str(answer.get("metadata", {}).get("resourceVersion", ""))
    return int(version) if version.isdecimal() else 0
