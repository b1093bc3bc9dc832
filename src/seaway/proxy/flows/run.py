"""Has the kernel forget flows, after the rules that new ones meet are in place."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from seaway.net.family import Family
from seaway.proxy.flows.plan import Flow, FlowDuties, choose_stale, merge_duties, plan_resets
from seaway.proxy.kernel import delete_flows, list_flows, list_interface_addresses
from seaway.proxy.proxier import Proxier, SyncReport

log = logging.getLogger(__name__)


class FlowKeeper:
    """What is to be looked at, until it has been: neither a failed sync nor an unreadable kernel loses any of it."""

    def __init__(self, proxier: Proxier, on_looked: Callable[[Family, float, int], None] | None = None) -> None:
        """on_looked: told of each look: the family, its seconds, and how many flows were forgotten."""
        self._proxier = proxier
        self._on_looked = on_looked
        self._duties: dict[Family, FlowDuties] = {}
        self._waiting: dict[Family, dict[Flow, float]] = {}
        self.wakes_at: float | None = None
        """When flows that wait for their end are due, in the loop's time; None: none waits."""

    async def follow(self, report: SyncReport) -> None:
        """Look at what the sync, and those before it, have left to be looked at."""
        for family, duties in report.flows.items():
            self._duties[family] = merge_duties(self._duties.get(family), duties)
        if report.failures:
            return
        now = asyncio.get_running_loop().time()
        families = {family for family in Family if self._is_due(family, now, report)}
        for family in sorted(families, key=lambda f: f.value):
            await self._look(family, now)
        self.wakes_at = min((at for waiting in self._waiting.values() for at in waiting.values()), default=None)

    def _is_due(self, family: Family, now: float, report: SyncReport) -> bool:
        if family in self._duties:
            return True
        resets = bool(self._proxier.resettable(family))
        return resets and (report.services > 0 or (self.wakes_at is not None and now >= self.wakes_at))

    async def _look(self, family: Family, now: float) -> None:
        duties = self._duties.get(family, FlowDuties())
        try:
            flows = await asyncio.to_thread(list_flows, family)
            local = list_interface_addresses()
            stale = choose_stale(flows, duties, local)
            ended, waiting = plan_resets(
                flows, self._proxier.resettable(family), self._waiting.get(family, {}), now=now, local_addresses=local
            )
            count = await asyncio.to_thread(delete_flows, (*stale, *ended))
        except OSError as error:
            log.warning("conntrack=unreadable family=%s error=%r", family.value, str(error))
            return
        self._duties.pop(family, None)
        self._waiting[family] = waiting
        if self._on_looked is not None:
            self._on_looked(family, asyncio.get_running_loop().time() - now, count)
        if count:
            log.info(
                "conntrack family=%s forgotten_udp_flows=%d reset_tcp_flows=%d", family.value, len(stale), len(ended)
            )
