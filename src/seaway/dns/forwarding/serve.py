"""What becomes of a query that the cluster's records do not answer: limits first, then an upstream, always a reply.

The serving loop hands over a `Deferred` and gets bytes back: at once when they are known, later through `send`. It
knows nothing of upstreams, and nothing here knows of the sockets of clients. Rule: spec "discovery" A3.3; design.md
§12.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from functools import lru_cache

from seaway.dns.config import DnsConfig, is_allowed
from seaway.dns.forwarding.forward import Ask, Forwarder, ForwardError
from seaway.dns.message import AD, CD, RD, encode_question
from seaway.dns.records import RCode
from seaway.dns.respond import Deferred, Responder

log = logging.getLogger(__name__)

Send = Callable[[bytes], None]


class Relay:
    """Deferred queries answered with the help of upstreams, a limited number at once, in all and per source."""

    def __init__(self, config: DnsConfig, responder: Responder, forwarder: Forwarder) -> None:
        self._config = config
        self._responder = responder
        self._forwarder = forwarder
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_flight: Counter[str] = Counter()
        networks = config.allowed_networks
        self._is_allowed = lru_cache(maxsize=4096)(lambda source: is_allowed(source, networks))

    def take(self, deferred: Deferred, source: str, send: Send) -> None:
        """Answer through `send`, now or later, unless closed before."""
        refused = self._refuse(deferred, source)
        if refused is not None:
            send(refused)
            return
        task = asyncio.get_running_loop().create_task(self._answer_later(deferred, source, send))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def answer(self, deferred: Deferred, source: str) -> bytes:
        """The reply, whatever becomes of the query."""
        return self._refuse(deferred, source) or await self._ask(deferred, source)

    async def close(self) -> None:
        """Give up what is in flight. Safe to repeat."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._forwarder.close()

    async def _answer_later(self, deferred: Deferred, source: str, send: Send) -> None:
        send(await self._ask(deferred, source))

    def _refuse(self, deferred: Deferred, source: str) -> bytes | None:
        """The reply to a source that may not have it looked up, or has too many in flight. None: go on."""
        config = self._config
        if (
            not config.upstreams
            or not self._is_allowed(source)
            or self._in_flight.total() >= config.max_forwards
            or self._in_flight[source] >= config.max_forwards_per_source
        ):
            return self._responder.fail(deferred, RCode.REFUSED)
        return None

    async def _ask(self, deferred: Deferred, source: str) -> bytes:
        self._in_flight[source] += 1
        try:
            message, ttl_seconds = await self._forwarder.ask(_ask(deferred))
            return self._responder.relay(deferred, message, ttl_seconds)
        except ForwardError as error:
            log.warning("forward question=%r error=%s", deferred.query.question, error)
            return self._responder.fail(deferred, RCode.SERVFAIL)
        finally:
            self._in_flight[source] -= 1
            if not self._in_flight[source]:
                del self._in_flight[source]


def _ask(deferred: Deferred) -> Ask:
    """A relayed query is asked as the client did; the target of an alias always with recursion."""
    query = deferred.query
    dnssec_ok = query.edns is not None and query.edns.dnssec_ok
    if deferred.aliases:
        return Ask(encode_question(deferred.target, query.qtype), RD | query.flags & CD)
    return Ask(query.question, query.flags & (RD | AD | CD), dnssec_ok)
