"""The foreign names of one zone: what was said is kept, what is not known is asked for once at a time.

Equal questions in flight are one question upstream, which also denies a guesser his birthdays. Refreshing (prefetch,
stale replies) happens behind the client's back. Rule: spec "discovery" A3.3 (routes, next), A3.4 (cache).
"""

from __future__ import annotations

import asyncio
import contextlib

from seaway.dns.forwarding.cache import CacheKey, Found
from seaway.dns.forwarding.config import Block, CacheConfig
from seaway.dns.forwarding.counts import ForwardingCounts
from seaway.dns.forwarding.route.ask import Ask
from seaway.dns.forwarding.route.forward import ForwardError, Route
from seaway.dns.message import AD, RCODE_MASK, RD, Message, decode_name
from seaway.dns.records import Name, RCode, lower_name, render_name

__all__ = ["Ask", "ForwardError", "Forwarder"]


MAX_REFRESHES = 256
"""No more are begun behind clients' backs while as many questions are in flight: a dead upstream has long ones."""


class Forwarder:
    """Asks the routes of a block in turn, and keeps what they said as its cache wants it."""

    def __init__(self, block: Block, *, udp_bytes: int = 1232, counts: ForwardingCounts | None = None) -> None:
        self.block = block
        self._counts = counts or ForwardingCounts()
        self._routes = [Route(route, udp_bytes=udp_bytes, counts=self._counts) for route in block.sorted_routes]
        self._cache = self._counts.make_cache(block.cache, render_name(block.zone)) if block.cache else None
        self._keeping = block.cache or CacheConfig()
        self._zone = render_name(block.zone)
        self._asks_names = _asks_names(block)
        self._in_flight: dict[tuple[CacheKey, int], asyncio.Task[tuple[Message, int | None]]] = {}

    @property
    def routes(self) -> tuple[Route, ...]:
        """Narrow zones first."""
        return tuple(self._routes)

    def find(self, ask: Ask) -> tuple[Message, int | None] | None:
        """The reply that is kept and the TTL that its records are to show (None: their own); what is due is fetched."""
        if self._cache is None:
            return None
        found = self._cache.find(ask.key, asyncio.get_running_loop().time())
        is_told = found is not None and not (found.is_stale and self._keeping.verifies)
        self._counts.note_lookup(self._zone, found.kind if found is not None and is_told else "")
        if found is None or not is_told:
            return None
        if found.is_stale:
            self._counts.note_stale(self._zone)
        elif found.is_due:
            self._counts.note_prefetch(self._zone)
        if (found.is_stale or found.is_due) and len(self._in_flight) < MAX_REFRESHES:
            self._fly(ask)
        return found.message, found.ttl_seconds

    async def ask(self, ask: Ask) -> tuple[Message, int | None]:
        """The reply and the TTL that its records are to show. Raises ForwardError."""
        return self.find(ask) or await self.fetch(ask)

    async def fetch(self, ask: Ask) -> tuple[Message, int | None]:
        """The same from upstreams; a stale reply stands in for one that cannot be had. Raises ForwardError."""
        stale = self._find_stale(ask)
        if stale is None:
            return await asyncio.shield(self._fly(ask))
        with contextlib.suppress(ForwardError, TimeoutError):
            async with asyncio.timeout(self._keeping.verify_seconds or None):
                found = await asyncio.shield(self._fly(ask))
            if found[0].flags & RCODE_MASK != RCode.SERVFAIL:
                return found
        self._counts.note_stale(self._zone)
        return stale.message, 0

    async def close(self) -> None:
        """Give up what is in flight."""
        tasks = tuple(self._in_flight.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for route in self._routes:
            await route.close()

    def _find_stale(self, ask: Ask) -> Found | None:
        if self._cache is None or not self._keeping.stale_seconds:
            return None
        found = self._cache.find(ask.key, asyncio.get_running_loop().time())
        return found if found is not None and found.is_stale else None

    def _fly(self, ask: Ask) -> asyncio.Task[tuple[Message, int | None]]:
        """The task that asks this question; the one in flight if there is one."""
        flight = (ask.key, ask.flags & (RD | AD))
        task = self._in_flight.get(flight)
        if task is None:
            task = self._in_flight[flight] = asyncio.get_running_loop().create_task(self._ask_and_store(ask))
            task.add_done_callback(lambda done: self._land(flight, done))
        return task

    def _land(self, flight: tuple[CacheKey, int], task: asyncio.Task[tuple[Message, int | None]]) -> None:
        del self._in_flight[flight]
        if not task.cancelled():
            task.exception()  # seen by those who wait; when they all have left, by nobody

    async def _ask_and_store(self, ask: Ask) -> tuple[Message, int | None]:
        name = lower_name(decode_name(ask.question, 0)[0]) if self._asks_names else ()
        message = await self._ask_routes(ask, name)
        cache = self._cache
        if cache is None:
            return message, None
        return message, cache.store(ask.key, name, message, asyncio.get_running_loop().time())

    async def _ask_routes(self, ask: Ask, name: Name) -> Message:
        routes = [route for route in self._routes if route.config.takes(name)] if self._asks_names else self._routes
        if not routes:
            raise ForwardError(f"no upstream is configured for {render_name(name)}", RCode.REFUSED)
        *others, last = routes
        for route in others:
            message = await route.ask(ask)
            if not _leads_on(message, route):
                return message
        return await last.ask(ask)


def _asks_names(block: Block) -> bool:
    """It depends on the name who is asked, or what is kept; most blocks have one route for all."""
    cache = block.cache or CacheConfig()
    zones = (*cache.zones, *cache.unkept_successes, *cache.unkept_denials)
    return bool(zones) or any(route.zone or route.excluded for route in block.routes)


def _leads_on(message: Message, route: Route) -> bool:
    """The reply makes the next route's turn. Rule: spec "discovery" A3.3 (next, next_on_nodata)."""
    rcode = message.flags & RCODE_MASK
    if rcode in route.config.next_rcodes:
        return True
    has_answer = any(place.section == 0 for place in message.places)
    return route.config.next_on_nodata and rcode == RCode.NOERROR and not has_answer
