"""An answer with its reasons: the Service that it comes from, and of every endpoint whether it counted.

Nothing is decided here a second time: an endpoint is used if and only if what `answer` said contains it, and reasons
are looked for only where it does not. Law: each endpoint of the Service is used or has a reason.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from seaway.dns.answer import Answer, Chase, Elsewhere, answer
from seaway.dns.explaining.reasons import explain_outcome
from seaway.dns.forwarding.config import QTYPES
from seaway.dns.index import Index, ServiceKey, Shard, canonical_address
from seaway.dns.lookup import ZoneConfig, endpoint_label, find_alias, is_port_asked
from seaway.dns.objects import DetailedConditions, Endpoint, EndpointSlice, Service
from seaway.dns.packing import pack_address
from seaway.dns.query import Question, Shape, parse_question
from seaway.dns.records import Address, Name, Record, RRType, Srv, Target, is_encodable, render_name, render_record

_ADDRESS_BYTES = {RRType.A: 4, RRType.AAAA: 16}


@dataclass(frozen=True, slots=True)
class Verdict:
    """An address of an endpoint, and why the answer leaves it out; `reason` "": it is in it."""

    slice: str
    address: str
    name: str
    pod: str
    reason: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """A question, its answer in zone-file lines, and how it came about.

    status: NOERROR, NODATA, NXDOMAIN, SERVFAIL, REFUSED; FORWARDED: an upstream knows. services: what it rests on, one
    line each. reason: a sentence. target: of an alias inside the zone, the same for what it leads to.
    """

    name: str
    qtype: str
    status: str
    answer: tuple[str, ...] = ()
    authority: tuple[str, ...] = ()
    additional: tuple[str, ...] = ()
    zone: str = ""
    shape: str = ""
    services: tuple[str, ...] = ()
    reason: str = ""
    endpoints: tuple[Verdict, ...] = ()
    target: Explanation | None = None

    @property
    def is_answered(self) -> bool:
        """There are records, or there may be: an upstream is asked."""
        return bool(self.answer)


def explain(name: Name, qtype: int, index: Index, config: ZoneConfig) -> Explanation:
    """The answer to a question, and its reasons."""
    return _explain(name, qtype, index, config, frozenset())


def parse_type(name: str, qtype: str) -> tuple[str, int]:
    """What is asked for by a name, or an address, and a type, or none. Raises ValueError.

    An address stands for its reverse name, and PTR. A type is a mnemonic or, as in `TYPE65`, a number.
    """
    try:
        asked, default = ipaddress.ip_address(name).reverse_pointer, RRType.PTR
    except ValueError:
        asked, default = name, RRType.A
    text = qtype.upper()
    if not text:
        return asked, default
    if text in QTYPES:
        return asked, QTYPES[text]
    number = text.removeprefix("TYPE")
    if number.isascii() and number.isdigit() and int(number) < 1 << 16:
        return asked, int(number)
    raise ValueError(f"type {qtype}: one of {', '.join(QTYPES)} needed, or a number such as TYPE65")


def render_type(qtype: int) -> str:
    """The mnemonic of a type, or TYPE and its number. Rule: RFC 3597 5."""
    return next((name for name, number in QTYPES.items() if number == qtype), f"TYPE{qtype}")


def _explain(name: Name, qtype: int, index: Index, config: ZoneConfig, seen: frozenset[Name]) -> Explanation:
    question = parse_question(name, qtype, cluster_domain=config.cluster_domain, reverse_zones=config.reverse_zones)
    found = answer(question, index, config)
    keys = _find_services(question, index, config)
    shards = [(key, shard) for key in keys if (shard := index.find(key)) is not None]
    alias = _find_alias(shards)
    target = None
    if alias and alias not in seen and qtype in _ADDRESS_BYTES:
        target = _explain(alias, qtype, index, config, seen | {alias})
    return Explanation(
        name=render_name(name),
        qtype=render_type(qtype),
        status=_status(found),
        answer=_lines(found.answer if isinstance(found, Answer) else found.aliases if isinstance(found, Chase) else ()),
        authority=_lines(found.authority if isinstance(found, Answer) else ()),
        additional=_lines(found.additional if isinstance(found, Answer) else ()),
        zone=render_name(question.zone) if question.zone else "",
        shape=question.shape.value,
        services=tuple(_describe(key, shard) for key, shard in shards),
        reason=explain_outcome(question, found, index, config),
        endpoints=tuple(
            verdict for key, shard in shards for verdict in judge_endpoints(question, key, shard, found, config)
        ),
        target=target,
    )


def judge_endpoints(
    question: Question, key: ServiceKey, shard: Shard, found: Answer | Chase | Elsewhere, config: ZoneConfig
) -> Iterator[Verdict]:
    """A verdict on every address of the Service's slices; of a reverse name, on those that are the address asked."""
    packed, names = _used(found)
    asked = config.find_origin(question.address)
    is_plain = not (_is_virtual(shard.service) and question.shape in (Shape.SERVICE, Shape.PORT))
    service_name = (key[1].encode(), key[0].encode(), b"svc", *config.cluster_domain)
    for each in shard.slices:
        published = {id(endpoint) for endpoint in each.published}
        for endpoint in each.endpoints or ():
            for address in endpoint.addresses:
                if question.shape is Shape.REVERSE and canonical_address(address) != asked:
                    continue
                label = endpoint_label(endpoint, address, config)
                name = (label, *service_name)
                is_named = name in names if names else is_plain and config.pack(address) in packed
                is_used = is_named and id(endpoint) in published
                if is_used and question.shape is Shape.ENDPOINT:
                    is_used = label == question.endpoint.encode()
                reason = "" if is_used else _find_fault(question, shard.service, each, endpoint, address, name)
                yield Verdict(each.metadata.name, address, label.decode(errors="replace"), endpoint.pod_name, reason)


def _used(found: Answer | Chase | Elsewhere) -> tuple[frozenset[bytes], frozenset[Name]]:
    """The addresses in an answer; and, where it has names, the names."""
    records = found.answer if isinstance(found, Answer) else ()
    return (
        frozenset(each.rdata.packed for each in records if isinstance(each.rdata, Address)),
        frozenset(
            each.rdata.target if isinstance(each.rdata, Srv) else each.rdata.name
            for each in records
            if isinstance(each.rdata, Srv | Target)
        ),
    )


def _find_fault(
    question: Question, service: Service | None, each: EndpointSlice, endpoint: Endpoint, address: str, name: Name
) -> str:
    """Why the answer has no use for an endpoint. "" would be a bug, and a law says that there is none."""
    conditions = endpoint.conditions
    if each.address_type == "FQDN":
        return "its slice holds names, not addresses"
    if conditions.ready is False:
        terminating = isinstance(conditions, DetailedConditions) and conditions.terminating
        return "terminating" if terminating else "not ready"
    if not pack_address(address):
        return "not an address"
    if not is_encodable(name):
        return "its name is too long"
    if service is not None and service.is_external:
        return "an external name has no endpoints"
    if question.shape is Shape.REVERSE:
        return "the name of the cluster IP comes first" if question.qtype == RRType.PTR else "the type is not PTR"
    if _is_virtual(service) and question.shape in (Shape.SERVICE, Shape.PORT):
        return "behind the cluster IP"
    if question.shape is Shape.ENDPOINT and name[0] != question.endpoint.encode():
        return "has another name"
    if question.shape is Shape.PORT and not any(
        is_port_asked(question, port.name, port.protocol) for port in each.ports or ()
    ):
        return "its slice has no such port"
    if question.qtype in _ADDRESS_BYTES:
        return "of the other family"
    if question.qtype == RRType.SRV:
        return "its slice has no ports"
    return "the type has no use for addresses"


def _is_virtual(service: Service | None) -> bool:
    return service is not None and not service.is_headless and not service.is_external


def _find_services(question: Question, index: Index, config: ZoneConfig) -> tuple[ServiceKey, ...]:
    if question.service:
        return ((question.namespace, question.service),)
    return index.owners_of(config.find_origin(question.address)) if question.shape is Shape.REVERSE else ()


def _find_alias(shards: list[tuple[ServiceKey, Shard]]) -> Name:
    """The target of an external name, to be explained in its turn."""
    service = shards[0][1].service if len(shards) == 1 else None
    found = find_alias(service) if service is not None and service.is_external else None
    return found.alias if found is not None else ()


def _describe(key: ServiceKey, shard: Shard) -> str:
    """The Service in one line, in the words of its spec."""
    service = shard.service
    assert service is not None
    if service.is_external:
        kind = f"ExternalName {service.spec.external_name}"
    elif service.is_headless:
        kind = "headless"
    else:
        kind = f"{service.spec.type} {' '.join(service.addresses) or '(no cluster IP)'}"
    ports = ", ".join(
        f"{port.name + ' ' if port.name else ''}{port.port}/{port.protocol}" for port in service.spec.ports
    )
    return f"{key[0]}/{key[1]}  {kind}  {ports}".rstrip()


def _lines(records: Sequence[Record]) -> tuple[str, ...]:
    return tuple(render_record(record) for record in records)


def _status(found: Answer | Chase | Elsewhere) -> str:
    if isinstance(found, Answer):
        return found.outcome.rcode.name if found.answer or found.outcome.rcode else "NODATA"
    return "NOERROR" if isinstance(found, Chase) else "FORWARDED"
