"""Bytes in, bytes out: the whole of a server but its sockets.

Replies are kept by the raw query behind its id, in lower case, and each belongs to what it rests on (a Service, an
address): a change drops exactly those. A kept reply is found with one dictionary lookup; making one takes some forty
times as long (0.8 and 33 microseconds).

Law: a kept reply equals a fresh one. What cannot be answered from the cluster leaves as `Deferred`.

The key lower-cases all of the query, which is right only where no letter stands outside the name: other queries are
answered, but not kept. The number of kept replies is limited, since anybody can ask for names that do not exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from seaway.dns.answer import Answer, Chase, Elsewhere, answer
from seaway.dns.counts import QueryCounts, Tally
from seaway.dns.edns import OptionCode, encode_options
from seaway.dns.index import EVERYTHING, Index, Source
from seaway.dns.lookup import ZoneConfig
from seaway.dns.message import CLASS_IN, OPCODE_MASK, TC, Message, WireError, decode_alias_records
from seaway.dns.query import parse_question
from seaway.dns.records import Name, RCode, Record, lower_name
from seaway.dns.transfer import answer_transfer
from seaway.dns.wire import (
    MAX_TCP_BYTES,
    Query,
    Reply,
    assemble,
    decode_query,
    encode_relayed,
    encode_reply,
    udp_limit,
)

IDLE_SECONDS = 10.0
"""After which a stream is closed. Rule: spec "discovery" A2.7."""
MAX_KEPT = 32_768
"""Replies; about 640 bytes each. At the limit all are forgotten: simple, and a flood cannot choose which."""
MAX_KEPT_BYTES = 32 << 20
"""Of what they hold: a Service of thousands of endpoints has replies of 64 kB, and anybody may vary a query."""


@dataclass(frozen=True, slots=True)
class Deferred:
    """A query that needs an upstream. No `aliases`: to be relayed as it is; else they precede what `target` has."""

    query_id: bytes
    query: Query
    max_bytes: int
    aliases: tuple[Record, ...] = ()
    target: Name = ()


class Responder:
    """Answers queries from the index. `kept_udp` and `kept_tcp` are read by the serving loop, written here alone."""

    def __init__(
        self,
        index: Index,
        config: ZoneConfig,
        *,
        max_udp_bytes: int = 1232,
        counts: QueryCounts | None = None,
        nsid: bytes = b"",
    ) -> None:
        self.counts = counts or QueryCounts()
        self._index = index
        self._config = config
        self._max_udp_bytes = max_udp_bytes
        self._nsid = nsid
        self._keys: dict[Source, list[bytes]] = {}
        self._kept_bytes = 0
        self.claims: Callable[[Query], bool] | None = None
        """Queries of the cluster's zones that the relay has to see first; None: there are none."""
        self.kept_udp: dict[bytes, Reply] = {}
        self.kept_tcp: dict[bytes, Reply] = {}

    def respond(self, data: bytes, *, over_tcp: bool = False, over_tls: bool = False) -> bytes | Deferred | None:
        """The reply; or what an upstream is needed for; or None: to be ignored. Never raises."""
        kept = (self.kept_tcp if over_tcp else self.kept_udp).get(data[2:].lower())
        if kept is not None:
            return self.fill(data, kept)
        query = decode_query(data)
        if not isinstance(query, Query):
            return query
        max_bytes = MAX_TCP_BYTES if over_tcp else udp_limit(query, max_udp_bytes=self._max_udp_bytes)
        if query.edns is not None and query.edns.version:
            return self._error(data, query, RCode.BADVERS, max_bytes)
        if query.edns is not None and query.edns.options:
            idle_seconds = IDLE_SECONDS if over_tcp else None
            options = encode_options(query.edns.options, nsid=self._nsid, idle_seconds=idle_seconds)
            is_padded = over_tls and OptionCode.PADDING in query.edns.options
            query = replace(query, reply_options=options, is_padded=is_padded)
        if query.qclass != CLASS_IN:
            return self._error(data, query, RCode.REFUSED, max_bytes)
        if self.claims is not None and self.claims(query):
            return Deferred(data[:2], query, max_bytes)
        found = self._find(query)
        if isinstance(found, Elsewhere):
            if query.flags & OPCODE_MASK:
                return self._error(data, query, RCode.REFUSED, max_bytes)
            return Deferred(data[:2], query, max_bytes)
        if isinstance(found, Chase):
            return Deferred(data[:2], query, max_bytes, found.aliases, found.target)
        reply = _encode_answer(query, found, max_bytes)
        out = self.fill(data, reply)
        if found.source is not None and query.is_plain:
            tally = self._find_tally(data, out, over_tcp=over_tcp)
            self._keep(data, query, replace(reply, tally=tally), found.source, over_tcp=over_tcp)
        return out

    def _find(self, query: Query) -> Answer | Chase | Elsewhere:
        """What the cluster's records have for it."""
        config = self._config
        question = parse_question(
            query.name, query.qtype, cluster_domain=config.cluster_domain, reverse_zones=config.reverse_zones
        )
        return answer(question, self._index, config)

    def look_up(self, deferred: Deferred) -> bytes | Deferred:
        """The reply that the cluster's records have for a query that was claimed; nothing is kept of it."""
        query = deferred.query
        found = self._find(query)
        if isinstance(found, Elsewhere):
            return deferred
        if isinstance(found, Chase):
            return replace(deferred, aliases=found.aliases, target=found.target)
        reply = _encode_answer(query, found, deferred.max_bytes)
        turn = int.from_bytes(deferred.query_id, "big")
        return assemble(deferred.query_id, query.question, reply, serial=self._index.serial, turn=turn)

    def transfer(self, data: bytes, source: str) -> Iterator[bytes] | None:
        """The messages of a zone transfer that the source may have; None: `respond` knows what to say."""
        return answer_transfer(data, source, self._index, self._config) if self._config.transfer_to else None

    def fill(self, data: bytes, reply: Reply) -> bytes:
        """A kept reply for this query: its id, its spelling of the question, the serial of now.

        Rotation follows the id, which clients draw at random: nothing has to be remembered.
        """
        turn = data[0] << 8 | data[1]
        return assemble(data[:2], data[12 : reply.question_end], reply, serial=self._index.serial, turn=turn)

    def drop(self, sources: Iterable[Source]) -> None:
        """Forget what rests on these."""
        for source in sources:
            if source == EVERYTHING:
                self._forget_all()
                return
            for key in self._keys.pop(source, ()):
                for kept in (self.kept_udp, self.kept_tcp):
                    reply = kept.pop(key, None)
                    if reply is not None:
                        self._kept_bytes -= _size(key, reply)

    def relay(self, deferred: Deferred, message: Message, ttl_seconds: int | None) -> bytes:
        """The reply to a deferred query, from what the upstream said."""
        query = deferred.query
        if not deferred.aliases:
            reply = encode_relayed(query, message, ttl_seconds=ttl_seconds, max_bytes=deferred.max_bytes)
            return assemble(deferred.query_id, query.question, reply)
        return self.alias(deferred, message, ttl_seconds)

    def alias(self, deferred: Deferred, message: Message | None, ttl_seconds: int | None = None) -> bytes:
        """The aliases of a deferred query, and what is known of their target: of a failure, nothing.

        Rule: spec "discovery" A1.7, 4: whatever the rcode was, it becomes NOERROR; TC is passed on.
        """
        try:
            found = decode_alias_records(message) if message is not None else ()
        except WireError:
            found = ()
        chased = tuple(
            Record(
                lower_name(each.owner),
                each.rrtype,
                each.ttl_seconds if ttl_seconds is None else ttl_seconds,
                each.rdata,
            )
            for each in found
        )
        reply = encode_reply(
            deferred.query,
            RCode.NOERROR,
            (*deferred.aliases, *chased),
            max_bytes=deferred.max_bytes,
            truncated=message is not None and bool(message.flags & TC),
        )
        return assemble(deferred.query_id, deferred.query.question, reply)

    def fail(self, deferred: Deferred, rcode: RCode) -> bytes:
        """The reply when no upstream helped: SERVFAIL, or REFUSED to who may not ask; aliases stand by themselves."""
        if deferred.aliases:
            return self.alias(deferred, None)
        reply = encode_reply(deferred.query, rcode, max_bytes=deferred.max_bytes, authoritative=False)
        return assemble(deferred.query_id, deferred.query.question, reply)

    def _error(self, data: bytes, query: Query, rcode: RCode, max_bytes: int) -> bytes:
        reply = encode_reply(query, rcode, max_bytes=max_bytes, authoritative=False)
        return assemble(data[:2], query.question, reply)

    def _keep(self, data: bytes, query: Query, reply: Reply, source: Source, *, over_tcp: bool) -> None:
        around_name = data[2:12] + data[12 + len(query.question) - 4 :]
        if around_name.lower() != around_name or around_name.upper() != around_name:
            return
        key = data[2:].lower()
        self._kept_bytes += _size(key, reply)
        if len(self.kept_udp) + len(self.kept_tcp) >= MAX_KEPT or self._kept_bytes > MAX_KEPT_BYTES:
            self._forget_all()
            self._kept_bytes = _size(key, reply)
        (self.kept_tcp if over_tcp else self.kept_udp)[key] = reply
        self._keys.setdefault(source, []).append(key)

    def _find_tally(self, data: bytes, out: bytes, *, over_tcp: bool) -> Tally:
        if self.counts.is_full:
            self._forget_all()
            self.counts.begin_anew()
        return self.counts.find_tally(data, out, over_tcp=over_tcp)

    def _forget_all(self) -> None:
        self.kept_udp.clear()
        self.kept_tcp.clear()
        self._keys.clear()
        self._kept_bytes = 0


def _size(key: bytes, reply: Reply) -> int:
    """A block counts for each reply that shares it."""
    return len(key) + len(reply.tail) + len(reply.block)


def _encode_answer(query: Query, found: Answer, max_bytes: int) -> Reply:
    return encode_reply(
        query,
        found.outcome.rcode,
        found.answer,
        found.authority,
        found.additional,
        max_bytes=max_bytes,
        authoritative=found.outcome.rcode is not RCode.REFUSED,
    )
