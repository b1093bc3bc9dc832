"""The loop of leader election: stands for a Lease, does the work while it leads, and gives the Lease back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from random import SystemRandom
from typing import Any

import msgspec

from seaway.api.lease.types import Lease
from seaway.api.machinery.errors import ApiError, NotFound
from seaway.api.registry import LEASES
from seaway.client.election.lease import (
    Action,
    Create,
    Election,
    ElectionConfig,
    Event,
    Found,
    Get,
    Missing,
    Refused,
    Update,
    Woken,
    Written,
    next_deadline,
    render_release,
    step,
)
from seaway.client.requests import Client, TransportError

log = logging.getLogger(__name__)

RELEASE_SECONDS = 2.0
"""For giving the lease back at the end: whoever waits would otherwise wait for its end."""


class Candidate:
    """Stands for the lease until cancelled. `election` is the present state, for metrics and health."""

    def __init__(self, client: Client, config: ElectionConfig) -> None:
        self._client = client
        self.election = Election(config)

    async def run(self, lead: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Await `lead()` while this process leads; it is cancelled, and has ended, before another may begin.

        After a lost leadership the process stands again, and `lead` is called anew. What `lead` raises is raised.
        """
        work: asyncio.Task[None] | None = None
        try:
            while True:
                await self._try()
                if self.election.is_leader and work is None:
                    log.info("leader lease=%s identity=%s", self.election.config.name, self.election.config.identity)
                    work = asyncio.ensure_future(lead())
                elif work is not None and not self.election.is_leader:
                    log.warning("leader lost lease=%s holder=%s", self.election.config.name, self.election.holder)
                    await _end(work)
                    work = None
                await self._wait(work)
        finally:
            if work is not None:
                await _end(work)
            await self._release()

    async def _wait(self, work: asyncio.Task[None] | None) -> None:
        """Until the next try, or until `work` fails, which is raised."""
        left = next_deadline(self.election) - asyncio.get_running_loop().time()
        if work is None:
            await asyncio.sleep(left)
            return
        await asyncio.wait((work,), timeout=left)
        if work.done():
            await work
            raise RuntimeError("the leader's work came to an end, and nobody asked for it")

    async def _try(self) -> None:
        action = self._step(Woken(SystemRandom().random()))
        while action is not None:
            action = self._step(await self._perform(action))

    def _step(self, event: Event) -> Action:
        now = asyncio.get_running_loop().time()
        self.election, action = step(self.election, event, now, wall_now=datetime.now(UTC))
        return action

    async def _perform(self, action: Get | Create | Update) -> Event:
        config = self.election.config
        now = asyncio.get_running_loop().time()
        until = self.election.leads_until
        limit = config.renew_seconds if until is None else max(0.0, until - now)
        try:
            async with asyncio.timeout(limit):
                match action:
                    case Get():
                        whole = await self._client.get(LEASES, config.name, config.namespace, as_type=dict)
                        return Found(msgspec.convert(whole, Lease), whole)
                    case Create(spec):
                        answer = await self._client.create(LEASES, _render_lease(config, spec), config.namespace)
                    case Update(whole):
                        answer = await self._client.update(LEASES, whole)
                return Written(msgspec.convert(answer, Lease))
        except NotFound as error:
            if isinstance(action, Get):
                return Missing()
            log.warning("election lease=%s error=%r", config.name, error)
        except (ApiError, TransportError, TimeoutError) as error:
            log.warning("election lease=%s action=%s error=%r", config.name, type(action).__name__.lower(), error)
        return Refused()

    async def _release(self) -> None:
        if not self.election.is_leader:
            return
        config = self.election.config
        with contextlib.suppress(ApiError, TransportError, TimeoutError):
            async with asyncio.timeout(RELEASE_SECONDS):
                whole = await self._client.get(LEASES, config.name, config.namespace, as_type=dict)
                given = render_release(config, whole, datetime.now(UTC))
                if given is not None:
                    await self._client.update(LEASES, given)


def _render_lease(config: ElectionConfig, spec: dict[str, Any]) -> dict[str, Any]:
    meta = {"name": config.name, "namespace": config.namespace}
    return {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": meta, "spec": spec}


async def _end(work: asyncio.Task[None]) -> None:
    work.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await work
