"""What becomes of a query that the cluster's records do not answer: limits first, then an upstream, always a reply.

The serving loop hands over a `Deferred` and gets bytes back: at once when they are known, later through `send`. It
knows nothing of upstreams, and nothing here knows of the sockets of clients. A query passes, in this order: rewrites,
hosts, the cluster's records (of what was rewritten), the search list, the cache, the routes. Rule: spec "discovery"
A3.1, A3.3; design.md §12.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Collection, Coroutine
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeVar

from seaway.dns.config import DnsConfig, is_allowed
from seaway.dns.forwarding.complaints import Complaints
from seaway.dns.forwarding.config import LogConfig
from seaway.dns.forwarding.forward import Ask, Forwarder, ForwardError
from seaway.dns.forwarding.hosts import falls_through, find_hosts, parse_hosts
from seaway.dns.forwarding.paths import list_guesses, split_first_guess
from seaway.dns.forwarding.querylog import render_type
from seaway.dns.forwarding.rewrite import Rewritten, restore_reply, rewrite_question
from seaway.dns.message import AD, CD, RCODE_MASK, RD, WireError, decode_message, encode_question
from seaway.dns.query import Shape, parse_question
from seaway.dns.records import Name, RCode, Record, RRType, Target, lower_name, render_name
from seaway.dns.respond import Deferred, Responder
from seaway.dns.wire import MAX_TCP_BYTES, Query, assemble, encode_reply

log = logging.getLogger(__name__)

T = TypeVar("T")
Send = Callable[[bytes], None]
FindNamespace = Callable[[str], str]
"""The namespace of the Pod that has an address, or ""."""
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class Zone:
    """A block at work."""

    def __init__(self, forwarder: Forwarder) -> None:
        self.block = forwarder.block
        self.forwarder = forwarder
        self.hosts = parse_hosts(self.block.hosts.inline if self.block.hosts else ())
        """Of a file too, when somebody reads it."""
        self.complaints = None if self.block.consolidations is None else Complaints(self.block.consolidations)
        self.has_own_answers = bool(self.block.hosts or self.block.rewrites or self.block.finds_paths)

    def complain(self, text: str, now: float) -> None:
        """Tell of an error, or count it, as the block wants."""
        if self.complaints is not None:
            _tell(self.complaints.note(text, now))

    def tell_errors(self, now: float) -> None:
        """Tell the summaries that are due."""
        if self.complaints is not None:
            _tell(self.complaints.summarise(now))


class Relay:
    """Deferred queries answered with the help of upstreams, a limited number at once, in all and per source."""

    def __init__(
        self,
        config: DnsConfig,
        responder: Responder,
        forwarders: tuple[Forwarder, ...],
        *,
        find_namespace: FindNamespace = lambda source: "",
        host_suffixes: tuple[Name, ...] = (),
    ) -> None:
        self._config = config
        self._responder = responder
        self._cluster_domain = config.zone.cluster_domain
        self._reverse_zones = config.zone.reverse_zones
        self._zones = sorted((Zone(each) for each in forwarders), key=lambda zone: -len(zone.block.zone))
        self._tasks: set[asyncio.Task[Any]] = set()
        self._in_flight: Counter[str] = Counter()
        self._forwards = 0
        """The sum of those in flight."""
        self._find_namespace = find_namespace
        self._host_suffixes = host_suffixes
        self._probe = b""
        self._probes_seen: list[str] = []
        networks = config.allowed_networks
        self._is_allowed = lru_cache(maxsize=4096)(lambda source: is_allowed(source, networks))
        if any(zone.has_own_answers for zone in self._zones):
            responder.claims = self.claims

    @property
    def zones(self) -> tuple[Zone, ...]:
        """Those with long names first."""
        return tuple(self._zones)

    @property
    def forwarders(self) -> tuple[Forwarder, ...]:
        """Of all zones."""
        return tuple(zone.forwarder for zone in self._zones)

    @property
    def logs(self) -> tuple[LogConfig, ...]:
        """The query logs that are wanted."""
        return tuple(zone.block.log for zone in self._zones if zone.block.log is not None)

    def take(self, deferred: Deferred, source: str, send: Send) -> None:
        """Answer through `send`, now or later, unless closed before."""
        found = self._begin(deferred, source)
        if isinstance(found, bytes):
            send(found)
        else:
            self._start(_send_later(found, send))

    async def answer(self, deferred: Deferred, source: str) -> bytes:
        """The reply, whatever becomes of the query."""
        found = self._begin(deferred, source)
        return found if isinstance(found, bytes) else await self._start(found)

    async def close(self, *, spare: Collection[Forwarder] = ()) -> None:
        """Give up what is in flight. Safe to repeat. spare: those that somebody goes on with."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for zone in self._zones:
            if zone.forwarder not in spare:
                await zone.forwarder.close()

    async def drain(self) -> None:
        """Returns when all in flight is answered, each within its own deadline."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))

    def expect_probe(self, question: bytes) -> list[str]:
        """Where queries for this question, in lower case, came from: the list grows. Rule: spec "discovery" A3.5."""
        self._probe, self._probes_seen = question, []
        return self._probes_seen

    def claims(self, query: Query) -> bool:
        """A query of the cluster's zones is not the records' alone: a block has something to say first."""
        zone = self._find_zone(lower_name(query.name))
        if zone is None or not zone.has_own_answers:
            return False
        if zone.block.hosts is not None and self._find_hosts(zone, query) is not None:
            return True
        if zone.block.rewrites and rewrite_question(zone.block.rewrites, query.name, query.qtype) is not None:
            return True
        return zone.block.finds_paths and self._may_be_guess(lower_name(query.name))

    def _start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task that closing waits for, or ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # -- at once -------------------------------------------------------------------------------------------------------

    def _begin(self, deferred: Deferred, source: str) -> bytes | Coroutine[Any, Any, bytes]:
        """The reply when nothing has to be waited for, or the work that leads to it."""
        if self._probe:
            self._note_probe(deferred, source)
        zone = self._zone_of(deferred)
        if zone is None:
            return self._responder.fail(deferred, RCode.REFUSED)
        if zone.block.rewrites or zone.block.finds_paths:
            return self._resolve(deferred, source)
        if zone.block.hosts is not None:
            known = self._answer_from_hosts(zone, deferred)
            if known is not None:
                return known
        return self._find_kept(zone, deferred, source)

    def _find_kept(self, zone: Zone, deferred: Deferred, source: str) -> bytes | Coroutine[Any, Any, bytes]:
        """The reply that an upstream has given before, or that nobody will be asked; or the work of asking one."""
        ask = _ask(deferred)
        if self._is_allowed(source):
            found = zone.forwarder.find(ask)
            if found is not None:
                return self._responder.relay(deferred, *found)
        return self._refuse(deferred, source, zone) or self._forward(zone, deferred, ask, source)

    def _refuse(self, deferred: Deferred, source: str, zone: Zone) -> bytes | None:
        """The reply to a source that may not have it looked up, or has too many in flight. None: go on."""
        config = self._config
        if (
            not zone.block.routes
            or not self._is_allowed(source)
            or self._forwards >= config.max_forwards
            or self._in_flight[source] >= config.max_forwards_per_source
        ):
            return self._responder.fail(deferred, RCode.REFUSED)
        return None

    def _zone_of(self, deferred: Deferred) -> Zone | None:
        """The zone of what is to be looked up."""
        zones = self._zones
        if len(zones) == 1 and not zones[0].block.zone:
            return zones[0]  # as most clusters have it
        return self._find_zone(lower_name(deferred.target or deferred.query.name))

    def _find_zone(self, name: Name) -> Zone | None:
        for zone in self._zones:
            length = len(zone.block.zone)
            if not length or name[-length:] == zone.block.zone:
                return zone
        return None

    def _note_probe(self, deferred: Deferred, source: str) -> None:
        if deferred.query.question.lower() == self._probe:
            self._probes_seen.append(source)

    # -- step by step --------------------------------------------------------------------------------------------------

    async def _resolve(self, deferred: Deferred, source: str, *, is_as_asked: bool = True) -> bytes:
        """The reply. A name that a rewrite or a search list has made is looked up, and not made into another."""
        zone = self._zone_of(deferred)
        if zone is not None and is_as_asked and not deferred.aliases:
            found = await self._turn_and_resolve(zone, deferred, source)
            if found is not None:
                return found
        if zone is not None and zone.block.hosts is not None:
            known = self._answer_from_hosts(zone, deferred)
            if known is not None:
                return known
        if not deferred.aliases and self._is_ours(deferred.query.name):
            answered = self._responder.look_up(deferred)
            if isinstance(answered, bytes):
                return answered
            deferred = answered
            zone = self._zone_of(deferred)
        if zone is None:
            return self._responder.fail(deferred, RCode.REFUSED)
        last = self._find_kept(zone, deferred, source)
        return last if isinstance(last, bytes) else await last

    async def _turn_and_resolve(self, zone: Zone, deferred: Deferred, source: str) -> bytes | None:
        """The reply about another name, as a rewrite or the client's search list wants it; None: neither does."""
        query = deferred.query
        rewritten = rewrite_question(zone.block.rewrites, query.name, query.qtype)
        if rewritten is not None:
            return await self._resolve_rewritten(zone, deferred, rewritten, source)
        if zone.block.finds_paths and query.qtype in (RRType.A, RRType.AAAA):
            return await self._walk_path(deferred, source)
        return None

    async def _resolve_rewritten(self, zone: Zone, deferred: Deferred, rewritten: Rewritten, source: str) -> bytes:
        inner = _turn(deferred, rewritten.name, rewritten.qtype)
        wire = await self._resolve(inner, source, is_as_asked=False)
        try:
            return self._responder.relay(deferred, restore_reply(wire, deferred.query.question, rewritten), None)
        except WireError as error:
            self._complain(zone, deferred, str(error))
            return self._responder.fail(deferred, RCode.SERVFAIL)

    async def _walk_path(self, deferred: Deferred, source: str) -> bytes | None:
        """The first name of the client's search list that exists, under an alias; None: this is no walk.

        Rule: spec "discovery" A3.6: when all fail the first reply is the answer, so that nothing is hidden.
        """
        query = deferred.query
        base = split_first_guess(lower_name(query.name), self._find_namespace(source), self._cluster_domain)
        first = self._responder.look_up(deferred) if base else deferred
        if not isinstance(first, bytes):
            return None
        if first[3] & RCODE_MASK != RCode.NXDOMAIN:
            return first
        for guess in list_guesses(base, self._cluster_domain, self._host_suffixes):
            wire = await self._resolve(_turn(deferred, guess, query.qtype), source, is_as_asked=False)
            if wire[3] & RCODE_MASK != RCode.NXDOMAIN:
                return self._alias(deferred, guess, wire) or first
        return first

    def _alias(self, deferred: Deferred, guess: Name, wire: bytes) -> bytes | None:
        """The reply about the guess as one about the name asked; None for one that is no answer."""
        if wire[3] & RCODE_MASK != RCode.NOERROR:
            return None
        ttl = self._config.ttl_seconds
        alias = Record(deferred.query.name, RRType.CNAME, ttl, Target(guess))
        with contextlib.suppress(WireError):
            return self._responder.alias(replace(deferred, aliases=(alias,), target=guess), decode_message(wire))
        return None

    async def _forward(self, zone: Zone, deferred: Deferred, ask: Ask, source: str) -> bytes:
        self._in_flight[source] += 1
        self._forwards += 1
        try:
            return self._responder.relay(deferred, *await zone.forwarder.fetch(ask))
        except ForwardError as error:
            self._complain(zone, deferred, str(error), error.rcode)
            return self._responder.fail(deferred, error.rcode)
        finally:
            self._forwards -= 1
            self._in_flight[source] -= 1
            if not self._in_flight[source]:
                del self._in_flight[source]

    def _answer_from_hosts(self, zone: Zone, deferred: Deferred) -> bytes | None:
        """The reply that a zone's hosts make, also to the target of an alias; None: others know more."""
        config, query = zone.block.hosts, deferred.query
        assert config is not None
        if deferred.aliases:
            query = replace(query, name=deferred.target)
        records = self._find_hosts(zone, query)
        if records is not None:
            return _encode(deferred, RCode.NOERROR, (*deferred.aliases, *records))
        if deferred.aliases or falls_through(config, lower_name(query.name)) or self._is_ours(query.name):
            return None
        return self._responder.fail(deferred, RCode.SERVFAIL)

    # -- small things --------------------------------------------------------------------------------------------------

    def _find_hosts(self, zone: Zone, query: Query) -> tuple[Record, ...] | None:
        assert zone.block.hosts is not None
        asked = parse_question(
            query.name, query.qtype, cluster_domain=self._cluster_domain, reverse_zones=self._reverse_zones
        )
        address = asked.address if asked.shape is Shape.REVERSE else ""
        return find_hosts(zone.hosts, zone.block.hosts, query.name, query.qtype, address)

    def _is_ours(self, name: Name) -> bool:
        return (
            parse_question(name, RRType.A, cluster_domain=self._cluster_domain, reverse_zones=self._reverse_zones).shape
            is not Shape.ELSEWHERE
        )

    def _may_be_guess(self, name: Name) -> bool:
        """Deep enough below `svc.Z` to be a first guess of somebody."""
        domain = self._cluster_domain
        rest = len(name) - len(domain)
        return rest > 2 and name[rest:] == domain and name[rest - 1] == b"svc"

    def _complain(self, zone: Zone | None, deferred: Deferred, text: str, rcode: RCode = RCode.SERVFAIL) -> None:
        query = deferred.query
        if zone is not None and (not self._probe or query.question.lower() != self._probe):
            line = f"{int(rcode)} {render_name(query.name)} {render_type(query.qtype)}: {text}"
            zone.complain(line, asyncio.get_running_loop().time())


async def _send_later(work: Coroutine[Any, Any, bytes], send: Send) -> None:
    send(await work)


def _tell(lines: tuple[tuple[str, str], ...]) -> None:
    for level, text in lines:
        log.log(_LEVELS[level], "plugin/errors: %s", text)


def _ask(deferred: Deferred) -> Ask:
    """A relayed query is asked as the client did; the target of an alias always with recursion."""
    query = deferred.query
    dnssec_ok = query.edns is not None and query.edns.dnssec_ok
    if deferred.aliases:
        return Ask(encode_question(deferred.target, query.qtype), RD | query.flags & CD)
    return Ask(query.question, query.flags & (RD | AD | CD), dnssec_ok)


def _turn(deferred: Deferred, name: Name, qtype: int) -> Deferred:
    """The same query about another name, with all the room that there is."""
    query = replace(deferred.query, name=name, qtype=qtype, question=encode_question(name, qtype))
    return Deferred(deferred.query_id, query, MAX_TCP_BYTES)


def _encode(deferred: Deferred, rcode: RCode, records: tuple[Record, ...]) -> bytes:
    reply = encode_reply(deferred.query, rcode, records, max_bytes=deferred.max_bytes)
    return assemble(deferred.query_id, deferred.query.question, reply)
