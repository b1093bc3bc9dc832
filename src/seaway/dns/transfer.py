"""The cluster's zone, whole: to peers that are allowed to have it, over TCP, in as many messages as it takes.

Enters: a query for AXFR or IXFR. Leaves: messages, one at a time, so that a large zone neither fills memory nor holds
up other queries. The zone is that of the moment at which it was asked for: shards are immutable, and the iterator
keeps those of then, whatever changes meanwhile.

Only the zone itself can be had, neither a part of it nor a reverse zone (spec "discovery" A6 #25), and not before
everything is known. There are no NOTIFY messages: serials of several servers do not follow each other. Rule: spec
"discovery" A1.12, RFC 5936, RFC 1995 4 (a server may always answer IXFR with the whole zone).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from seaway.dns.answer import build_soa
from seaway.dns.index import Index, ServiceKey, Shard
from seaway.dns.lookup import ANYBODY, ZoneConfig, endpoint_label, find_alias, find_name_servers, find_places
from seaway.dns.message import CLASS_IN, OPCODE_MASK, WireError, decode_message, skip_name
from seaway.dns.objects import EndpointPort, ServicePort
from seaway.dns.query import Shape, parse_question
from seaway.dns.records import Address, Name, RCode, Record, RRType, Srv, Target, is_encodable
from seaway.dns.wire import MAX_TCP_BYTES, Query, assemble, decode_query, encode_reply

MESSAGE_BYTES = 16_000
"""Of records in one message, before compression: a name can be pointed at in the first 16 kB, and a message is made in
a few milliseconds. RFC 5936 2.2 allows any size."""


def answer_transfer(data: bytes, source: str, index: Index, config: ZoneConfig) -> Iterator[bytes] | None:
    """The messages of a transfer; None: the query is for something else, or from somebody who may not have it.

    data: as it came, over TCP. source: the canonical address that it came from.
    """
    if not config.transfer_to or not (ANYBODY in config.transfer_to or source in config.transfer_to):
        return None
    query = decode_query(data)
    if not isinstance(query, Query) or query.qtype not in (RRType.AXFR, RRType.IXFR):
        return None
    if query.qclass != CLASS_IN or query.flags & OPCODE_MASK or (query.edns is not None and query.edns.version):
        return None
    if parse_question(query.name, query.qtype, cluster_domain=config.cluster_domain).shape is not Shape.APEX:
        return None
    return _make_messages(data, query, index, config)


def list_zone(index: Index, config: ZoneConfig) -> Iterator[Record]:
    """The records of the zone as they are now, between two copies of its SOA record, Services by their names."""
    zone, ttl = config.cluster_domain, config.ttl_seconds
    soa = build_soa(zone, index.serial, config)
    shards = sorted(index.list_shards(), key=lambda pair: (pair[0][1], pair[0][0]))
    hosts = find_name_servers(index, config)
    names = sorted({host.name for host in hosts})
    glue = sorted({(host.name, len(host.packed), host.packed) for host in hosts})

    def write() -> Iterator[Record]:
        yield soa
        yield from (Record(zone, RRType.NS, ttl, Target(name)) for name in names)
        yield from (_address(name, packed, ttl) for name, _, packed in glue)
        for key, shard in shards:
            yield from dict.fromkeys(_list_service(key, shard, config))
        yield soa

    return write()


def batch_records(records: Iterable[Record], max_bytes: int = MESSAGE_BYTES) -> Iterator[list[Record]]:
    """The records in order, in lists that take at most so many bytes each; a larger one stands alone."""
    batch: list[Record] = []
    size = 0
    for record in records:
        added = _size(record)
        if batch and size + added > max_bytes:
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += added
    if batch:
        yield batch


# -- messages ----------------------------------------------------------------------------------------------------------


def _make_messages(data: bytes, query: Query, index: Index, config: ZoneConfig) -> Iterator[bytes]:
    if not index.is_synced:
        return iter((_encode(data, query, RCode.SERVFAIL, (), authoritative=False),))
    if query.qtype == RRType.IXFR:
        serial = _find_serial(data)
        if serial is None:
            return iter((_encode(data, query, RCode.SERVFAIL, (), authoritative=False),))
        if serial == index.serial & 0xFFFFFFFF:
            soa = build_soa(config.cluster_domain, index.serial, config)
            return iter((_encode(data, query, RCode.NOERROR, (soa,), authoritative=False),))
    return (_encode(data, query, RCode.NOERROR, batch) for batch in batch_records(list_zone(index, config)))


def _encode(data: bytes, query: Query, rcode: RCode, records: Iterable[Record], *, authoritative: bool = True) -> bytes:
    reply = encode_reply(query, rcode, tuple(records), max_bytes=MAX_TCP_BYTES, authoritative=authoritative)
    return assemble(data[:2], query.question, reply)


def _find_serial(data: bytes) -> int | None:
    """The serial that the peer has: of the one SOA record in the authority section. Rule: RFC 1995 3."""
    try:
        message = decode_message(data)
        found = [place for place in message.places if place.section == 1]
        if len(found) != 1 or found[0].rrtype != RRType.SOA:
            return None
        at = skip_name(data, skip_name(data, found[0].rdata_at))
    except WireError:
        return None
    return int.from_bytes(data[at : at + 4], "big") if at + 20 == found[0].end else None


# -- records -----------------------------------------------------------------------------------------------------------


def _list_service(key: ServiceKey, shard: Shard, config: ZoneConfig) -> Iterator[Record]:
    """Rule: spec "discovery" A1.12: neither names of Pods nor, of a Service with a cluster IP, of endpoints."""
    service = shard.service
    assert service is not None
    name = (key[1].encode(), key[0].encode(), b"svc", *config.cluster_domain)
    if service.is_external:
        found = find_alias(service)
        if found is not None:
            yield Record(name, RRType.CNAME, config.ttl_seconds, Target(found.alias))
    elif service.is_headless:
        yield from _list_endpoints(name, shard, config)
    elif not (config.ignore_empty_service and not any(each.published for each in shard.slices)):
        for address in filter(None, map(config.pack, service.addresses)):
            yield _address(name, address, config.ttl_seconds)
        for port in service.spec.ports if service.addresses else ():
            ((number,),) = find_places(service, service.addresses[0], (port,), config).values()
            yield Record(name, RRType.SRV, config.ttl_seconds, Srv(0, 100, number, name))
            yield from _list_srv(name, port, Srv(0, 100, number, name), config)


def _list_endpoints(name: Name, shard: Shard, config: ZoneConfig) -> Iterator[Record]:
    """The weight goes by the addresses of a slice, each slice by itself."""
    for each in shard.slices:
        count = sum(len(endpoint.addresses) for endpoint in each.published)
        for endpoint in each.published:
            for address in endpoint.addresses:
                packed, target = config.pack(address), (endpoint_label(endpoint, address, config), *name)
                if not packed or not is_encodable(target):
                    continue
                yield _address(name, packed, config.ttl_seconds)
                yield _address(target, packed, config.ttl_seconds)
                for port in each.ports or ():
                    if port.port is not None:
                        srv = Srv(0, max(1, 100 // count), port.port, target)
                        yield from _list_srv(name, port, srv, config)


def _list_srv(name: Name, port: ServicePort | EndpointPort, srv: Srv, config: ZoneConfig) -> Iterator[Record]:
    """At the port's own name, which only a named port has."""
    owner = (b"_" + port.name.lower().encode(), b"_" + port.protocol.lower().encode(), *name)
    if port.name and is_encodable(owner):
        yield Record(owner, RRType.SRV, config.ttl_seconds, srv)


def _address(name: Name, packed: bytes, ttl: int) -> Record:
    return Record(name, RRType.A if len(packed) == 4 else RRType.AAAA, ttl, Address(packed))


def _size(record: Record) -> int:
    """Of the record without compression."""
    match record.rdata:
        case Address(packed):
            rdata = len(packed)
        case Target(name):
            rdata = _name_size(name)
        case Srv(target=name):
            rdata = 6 + _name_size(name)
        case _:
            rdata = 512  # SOA: two names and five numbers
    return _name_size(record.owner) + 10 + rdata


def _name_size(name: Name) -> int:
    return sum(map(len, name)) + len(name) + 1
