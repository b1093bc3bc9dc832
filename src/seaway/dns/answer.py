"""What a question is answered with: rcode and records, and what the answer rests on.

Enters: a `Question` and the `Index`. Leaves: an `Answer`, or `Elsewhere` (the forwarder's business), or `Chase` (an
alias whose target is the forwarder's business). Two steps: the shape of the name leads to targets (addresses with
ports, one per address), and the type asked for chooses what becomes of them. Three results hold no records, and
differ: NODATA (the name exists), NXDOMAIN (it does not) and NOT_SYNCED (nobody knows yet).

Rule: spec "discovery" A0.5 (candidates, projection), A1 (records), A6 (where CoreDNS is not followed: 11-15, 20-22,
24).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from seaway.dns.index import EVERYTHING, Index, Shard, Source
from seaway.dns.lookup import NO_PORT, Host, ZoneConfig, find_hosts, find_name_servers, find_pointers
from seaway.dns.packing import V4, V6, pack_addresses
from seaway.dns.query import Question, Shape, parse_question
from seaway.dns.records import (
    Address,
    AddressSet,
    Name,
    RCode,
    Record,
    RRType,
    Soa,
    Srv,
    Target,
    Text,
    is_within,
    lower_name,
)

SCHEMA_VERSION = b"1.1.0"
SCHEMA_TTL_SECONDS = 28_800
SOA_REFRESH_SECONDS, SOA_RETRY_SECONDS, SOA_EXPIRE_SECONDS = 7200, 1800, 86_400
MAX_SOA_TTL_SECONDS = 300
MAX_ALIASES = 11  # links that one answer follows; CoreDNS stops there too
_ADDRESS_TYPES = {RRType.A: V4, RRType.AAAA: V6}


class Outcome(enum.Enum):
    """What was found; the value is the response code."""

    RECORDS = (RCode.NOERROR, "records")
    NODATA = (RCode.NOERROR, "no data")
    NXDOMAIN = (RCode.NXDOMAIN, "no such name")
    NOT_SYNCED = (RCode.SERVFAIL, "not synced yet")
    REFUSED = (RCode.REFUSED, "refused")

    @property
    def rcode(self) -> RCode:
        return self.value[0]


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, sorted. `source` None: not to be kept, because what it rests on is not named."""

    outcome: Outcome
    answer: Sequence[Record] = ()
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Not ours to answer."""


@dataclass(frozen=True, slots=True)
class Chase:
    """An alias that leaves the zone: these CNAME records, and then what `target` has, whatever that is."""

    aliases: tuple[Record, ...]
    target: Name


def answer(question: Question, index: Index, config: ZoneConfig) -> Answer | Elsewhere | Chase:
    """The answer from what is known now. Never raises, never waits."""
    if question.shape is Shape.ELSEWHERE:
        return Elsewhere()
    if question.qtype in (RRType.AXFR, RRType.IXFR):
        return Answer(Outcome.REFUSED)
    if question.shape in (Shape.REVERSE, Shape.REVERSE_PARTIAL):
        return _answer_reverse(question, index, config)
    if question.shape in (Shape.APEX, Shape.NAME_SERVER, Shape.VERSION):
        return _answer_fixed(question, index, config)
    source = _source(question, config)
    if question.shape is Shape.SERVICE and question.qtype in _ADDRESS_TYPES:
        shard = index.find((question.namespace, question.service))
        if shard is not None and shard.service is not None and shard.service.is_headless:
            return _answer_headless(question, shard, index, config)
    found = find_hosts(question, index, config)
    if found is None:
        return _nxdomain(question, index, config, source)
    if found.alias:
        return _answer_alias(question, found.alias, index, config)
    return _project(question, found.hosts, index, config, source)


def build_soa(zone: Name, serial: int, config: ZoneConfig) -> Record:
    """The SOA record of a zone. Rule: spec "discovery" A1.10."""
    soa = Soa((b"ns", b"dns", *zone), (b"hostmaster", *zone), serial & 0xFFFFFFFF, SOA_REFRESH_SECONDS,
              SOA_RETRY_SECONDS, SOA_EXPIRE_SECONDS, config.ttl_seconds)  # fmt: skip
    return Record(zone, RRType.SOA, min(config.ttl_seconds, MAX_SOA_TTL_SECONDS), soa)


# -- hosts to records --------------------------------------------------------------------------------------------------


def _project(
    question: Question, hosts: tuple[Host, ...], index: Index, config: ZoneConfig, source: Source | None
) -> Answer:
    additional: tuple[Record, ...] = ()
    records: Sequence[Record] = ()
    if question.qtype in _ADDRESS_TYPES:
        records = _addresses(question.name, question.qtype, (host.packed for host in hosts), config.ttl_seconds)
    elif question.qtype == RRType.SRV:
        records = _services(question.name, hosts, config.ttl_seconds)
        additional = _glue((host for host in hosts if set(host.ports) != {NO_PORT}), config.ttl_seconds)
    if records:
        return Answer(Outcome.RECORDS, records, (), additional, source)
    return _nodata(question, index, config, source)


def _answer_headless(question: Question, shard: Shard, index: Index, config: ZoneConfig) -> Answer | Elsewhere:
    """The addresses of the ready endpoints, straight from their bytes: there may be thousands.

    None of either family: the name does not exist. Rule: spec "discovery" A1.4, A6 #1.
    """
    key = (question.namespace, question.service)
    size = _ADDRESS_TYPES[RRType(question.qtype)]
    packed, other = (index.packs.find(key, shard, each) for each in (size, V4 + V6 - size))
    if packed:
        return Answer(Outcome.RECORDS, AddressSet(question.name, config.ttl_seconds, packed), source=key)
    return (_nodata if other else _nxdomain)(question, index, config, key)


def _addresses(owner: Name, qtype: int, packed: Iterable[bytes], ttl_seconds: int) -> AddressSet:
    return AddressSet(owner, ttl_seconds, pack_addresses(packed, _ADDRESS_TYPES[RRType(qtype)]))


def _services(owner: Name, hosts: tuple[Host, ...], ttl_seconds: int) -> tuple[Record, ...]:
    """The weight comes from the number before duplicates are dropped. Rule: spec "discovery" A1.3."""
    weight = max(1, 100 // sum(len(host.ports) for host in hosts)) if hosts else 0
    targets = sorted({(port, host.name) for host in hosts for port in host.ports if port != NO_PORT})
    return tuple(Record(owner, RRType.SRV, ttl_seconds, Srv(0, weight, port, name)) for port, name in targets)


def _glue(hosts: Iterable[Host], ttl_seconds: int) -> tuple[Record, ...]:
    """Addresses of both families, those of IPv4 first under each name."""
    pairs = sorted({(host.name, len(host.packed), host.packed) for host in hosts})
    return tuple(
        Record(name, RRType.A if size == 4 else RRType.AAAA, ttl_seconds, Address(packed))
        for name, size, packed in pairs
    )


def _answer_alias(question: Question, alias: Name, index: Index, config: ZoneConfig) -> Answer | Chase:
    """A CNAME, and for an address the addresses behind it.

    Rule: spec "discovery" A1.7 (loops and dangling names: NODATA).
    """
    source = _source(question, config)
    if question.qtype == RRType.CNAME:
        record = Record(question.name, RRType.CNAME, config.ttl_seconds, Target(alias))
        return Answer(Outcome.RECORDS, (record,), source=source)
    if question.qtype not in _ADDRESS_TYPES:
        return _nodata(question, index, config, source)
    chain: list[Record] = []
    asked, target = question, alias
    while len(chain) < MAX_ALIASES and not _is_below(target, asked.name) and not _is_in(target, chain):
        chain.append(Record(asked.name, RRType.CNAME, config.ttl_seconds, Target(target)))
        asked = parse_question(
            target, question.qtype, cluster_domain=config.cluster_domain, reverse_zones=config.reverse_zones
        )
        if asked.shape in (Shape.ELSEWHERE, Shape.REVERSE, Shape.REVERSE_PARTIAL):
            return Chase(tuple(chain), target)
        found = find_hosts(asked, index, config)
        if found is None:
            break
        if not found.alias:
            hosts = (host.packed for host in found.hosts)
            records = _addresses(target, question.qtype, hosts, config.ttl_seconds)
            if not records:
                break
            return Answer(Outcome.RECORDS, (*chain, *records))
        target = found.alias
    return _nodata(question, index, config, None)


def _is_below(name: Name, other: Name) -> bool:
    """`name` is `other` or below it; both from API objects or lower-cased by them, except the name asked."""
    lower = tuple(label.lower() for label in other)
    return len(name) >= len(lower) and name[len(name) - len(lower) :] == lower


def _is_in(target: Name, chain: list[Record]) -> bool:
    return any(isinstance(link.rdata, Target) and link.rdata.name == target for link in chain)


# -- apex, version, reverse --------------------------------------------------------------------------------------------


def _answer_fixed(question: Question, index: Index, config: ZoneConfig) -> Answer:
    """The names that need no Service. Rule: spec "discovery" A1.1, A1.10."""
    zone, ttl = question.zone, config.ttl_seconds
    records: Sequence[Record] = ()
    additional: tuple[Record, ...] = ()
    match question.shape, question.qtype:
        case Shape.VERSION, RRType.TXT:
            records = (Record(question.name, RRType.TXT, SCHEMA_TTL_SECONDS, Text((SCHEMA_VERSION,))),)
        case Shape.APEX, RRType.SOA:
            records = (build_soa(zone, index.serial, config),)
        case Shape.APEX, RRType.NS:
            hosts = find_name_servers(index, config)
            names = sorted({host.name for host in hosts})
            records = tuple(Record(question.name, RRType.NS, ttl, Target(name)) for name in names)
            additional = _glue(hosts, ttl)
        case Shape.NAME_SERVER, RRType.A | RRType.AAAA:
            hosts = find_name_servers(index, config)
            records = _addresses(question.name, question.qtype, (host.packed for host in hosts), ttl)
    if records:
        return Answer(Outcome.RECORDS, records, (), additional)
    return _nodata(question, index, config, None)


def _answer_reverse(question: Question, index: Index, config: ZoneConfig) -> Answer | Elsewhere:
    """PTR records of cluster IPs, else of endpoints. Rule: spec "discovery" A1.9, A6 #14, #20, #22."""
    source = config.find_origin(question.address) or None
    names = find_pointers(source, index, config) if source else ()
    if not names:
        return _nxdomain(question, index, config, source)
    if question.qtype != RRType.PTR:
        return _nodata(question, index, config, source)
    records = tuple(Record(question.name, RRType.PTR, config.ttl_seconds, Target(name)) for name in names)
    return Answer(Outcome.RECORDS, records, source=source)


# -- nothing -----------------------------------------------------------------------------------------------------------


def _source(question: Question, config: ZoneConfig) -> Source | None:
    """What the answers to this shape of name rest on."""
    if question.service:
        return question.namespace, question.service
    return None if question.shape is Shape.POD and config.pods == "verified" else EVERYTHING


def _nodata(question: Question, index: Index, config: ZoneConfig, source: Source | None) -> Answer:
    soa = build_soa(question.zone, index.serial, config)
    return Answer(Outcome.NODATA, (), (soa,), (), source)


def _nxdomain(question: Question, index: Index, config: ZoneConfig, source: Source | None) -> Answer | Elsewhere:
    """While the cache is incomplete, nobody may say that a name does not exist. Rule: spec "discovery" A4.1, A6 #22.

    A name of a zone that falls through is somebody else's then. Rule: spec "discovery" A1.11.
    """
    soa = build_soa(question.zone, index.serial, config)
    if not index.is_synced:
        return Answer(Outcome.NOT_SYNCED, (), (soa,))
    if config.forwards and any(is_within(lower_name(question.name), zone) for zone in config.fallthrough):
        return Elsewhere()
    return Answer(Outcome.NXDOMAIN, (), (soa,), (), source)
