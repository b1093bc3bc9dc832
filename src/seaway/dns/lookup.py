"""Which addresses a name leads to, before the type asked for matters: one host per address, with its ports.

Rule: spec "discovery" A0.5 (candidates), A1.2-A1.9.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import msgspec

from seaway.api.service.served import Frontend, parse_served_at
from seaway.dns.index import Index, canonical_address
from seaway.dns.objects import Endpoint, EndpointSlice, Service, ServicePort
from seaway.dns.packing import make_pack, pack_address
from seaway.dns.query import REVERSE_ZONES, Question, Shape
from seaway.dns.records import (
    MAX_LABEL_BYTES,
    MAX_NAME_BYTES,
    Name,
    RRType,
    encoded_size,
    is_encodable,
    lower_name,
    parse_name,
)
from seaway.net.loopback import LoopbackMap

ANYBODY = "*"
"""In the place of peers: all of them."""
NO_PORT = -1
"""Of an address without ports: it has no SRV record."""


@dataclass(frozen=True, slots=True)
class ZoneConfig:
    """What the zone's answers depend on besides the cluster. `pods` is disabled, insecure or verified."""

    cluster_domain: Name
    ttl_seconds: int = 5
    pods: str = "insecure"
    local_addresses: tuple[str, ...] = ()
    """Where this server is reached, canonical: what NS records lead to."""
    forwards: bool = True
    """There is somebody else to ask; if False unknown names do not exist, wherever they are."""
    reverse_zones: tuple[Name, ...] = REVERSE_ZONES
    fallthrough: tuple[Name, ...] = REVERSE_ZONES
    """Zones whose unknown names are somebody else's; the root stands for all."""
    endpoint_pod_names: bool = False
    ignore_empty_service: bool = False
    transfer_to: tuple[str, ...] = ()
    """Who may have the zone whole: canonical addresses, or `*` for everybody."""
    loopback: LoopbackMap | None = None
    """Where addresses of the cluster are on this host; None: where they say."""
    pack: Callable[[str], bytes] = field(default=pack_address, init=False, compare=False)
    """The bytes of an address of the cluster, as they are told."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "pack", make_pack(self.loopback))

    def find_origin(self, address: str) -> str:
        """The address that objects have for what is asked about: both forms are understood."""
        return (self.loopback.from_loopback(address) if self.loopback is not None else None) or address


class Host(msgspec.Struct, frozen=True, gc=False):
    """An address under a name, with the ports that it is reached at."""

    name: Name
    packed: bytes
    ports: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """What a name leads to. None instead of it: the name does not exist."""

    hosts: tuple[Host, ...] = ()
    alias: Name = ()


def find_hosts(question: Question, index: Index, config: ZoneConfig) -> Found | None:
    """What a name of the cluster domain leads to; None when it does not exist.

    A name that exists without an address of its own has no hosts.
    """
    return _LOOKUPS[question.shape](question, index, config)


def find_name_servers(index: Index, config: ZoneConfig) -> tuple[Host, ...]:
    """The Services that lead to this server, else its own addresses under `ns.dns`. Rule: spec "discovery" A1.10."""
    hosts: list[Host] = []
    for key in sorted({key for address in config.local_addresses for key in index.owners_of(address)}):
        shard = index.find(key)
        if shard is None or shard.service is None:
            continue
        name = (key[1].encode(), key[0].encode(), b"svc", *config.cluster_domain)
        question = Question(name, RRType.A, Shape.SERVICE, config.cluster_domain, *key)
        found = _find_service(question, index, config)
        hosts.extend(found.hosts if found else ())
    if hosts:
        return tuple(hosts)
    own = (b"ns", b"dns", *config.cluster_domain)
    return tuple(Host(own, config.pack(address), (NO_PORT,)) for address in config.local_addresses)


def find_pointers(address: str, index: Index, config: ZoneConfig) -> tuple[Name, ...]:
    """The names of an address, sorted: that of the Service with this cluster IP, else those of endpoints.

    address: as objects have it. Rule: spec "discovery" A1.9.
    """
    names: set[Name] = set()
    for key in index.owners_of(address):
        shard = index.find(key)
        if shard is None or shard.service is None or shard.service.is_external:
            continue
        service = (key[1].encode(), key[0].encode(), b"svc", *config.cluster_domain)
        if address in map(canonical_address, shard.service.addresses):
            return (service,)
        for each in shard.slices:
            for endpoint in each.published:
                for spelled in endpoint.addresses:
                    name = (endpoint_label(endpoint, spelled, config), *service)
                    if canonical_address(spelled) == address and is_encodable(name):
                        names.add(name)
    return tuple(sorted(names))


def _find_service(question: Question, index: Index, config: ZoneConfig) -> Found | None:
    shard = index.find((question.namespace, question.service))
    if shard is None or shard.service is None:
        return None
    if shard.service.is_external:
        return find_alias(shard.service)
    if shard.service.is_headless:
        return _found(_endpoint_hosts(shard.slices, question, config))
    if config.ignore_empty_service and not any(each.published for each in shard.slices):
        return None  # so that a search list goes on. Rule: spec "discovery" A1.13
    return _found(_vip_hosts(shard.service, question, config))


def _find_endpoint(question: Question, index: Index, config: ZoneConfig) -> Found | None:
    shard = index.find((question.namespace, question.service))
    if shard is None or shard.service is None or shard.service.is_external:
        return None
    wanted = question.endpoint.encode()
    return _found(host for host in _endpoint_hosts(shard.slices, question, config) if host.name[0] == wanted)


def _find_port(question: Question, index: Index, config: ZoneConfig) -> Found | None:
    found = _find_service(question, index, config)
    return None if found is not None and found.alias else found


def _find_namespace(question: Question, index: Index, config: ZoneConfig) -> Found | None:
    return Found() if question.namespace in index.namespaces else None


def _find_pod_namespace(question: Question, index: Index, config: ZoneConfig) -> Found | None:
    return None if config.pods == "disabled" else _find_namespace(question, index, config)


def _find_pod(question: Question, index: Index, config: ZoneConfig) -> Found | None:
    if config.pods == "disabled" or question.namespace not in index.namespaces or not question.address:
        return None
    if config.pods == "verified" and not index.has_pod(question.namespace, config.find_origin(question.address)):
        return None
    packed = config.pack(config.find_origin(question.address))
    return Found((Host(question.name, packed, (NO_PORT,)),)) if packed else None


_LOOKUPS: dict[Shape, Callable[[Question, Index, ZoneConfig], Found | None]] = {
    Shape.SERVICE: _find_service,
    Shape.ENDPOINT: _find_endpoint,
    Shape.PORT: _find_port,
    Shape.SERVICE_NAMESPACE: _find_namespace,
    Shape.POD_NAMESPACE: _find_pod_namespace,
    Shape.POD: _find_pod,
    Shape.NAME_SERVER: lambda question, index, config: _found(find_name_servers(index, config)),
    Shape.APEX: lambda question, index, config: Found(),
    Shape.VERSION: lambda question, index, config: Found(),
    Shape.NON_TERMINAL: lambda question, index, config: Found(),
    Shape.ABSENT: lambda question, index, config: None,
}


def _found(hosts: Iterable[Host]) -> Found | None:
    """No candidate at all means that the name does not exist, also for a headless Service (A6 #1)."""
    kept = tuple(hosts)
    return Found(kept) if kept else None


def find_alias(service: Service) -> Found | None:
    """An external name that is an address yields nothing. Rule: spec "discovery" A1.7."""
    try:
        if pack_address(service.spec.external_name):
            return None
        return Found(alias=lower_name(parse_name(service.spec.external_name)))
    except ValueError:
        return None


def _vip_hosts(service: Service, question: Question, config: ZoneConfig) -> Iterable[Host]:
    name = _service_name(question, config)
    asked = [port for port in service.spec.ports if is_port_asked(question, port.name, port.protocol)]
    default = _default_ports(question, bool(service.spec.ports))
    for address in service.addresses if asked or default else ():
        for place, ports in find_places(service, address, asked, config).items():
            packed = pack_address(place)
            if packed:
                yield Host(name, packed, ports or default)


def find_places(
    service: Service, address: str, ports: Iterable[ServicePort], config: ZoneConfig
) -> dict[str, tuple[int, ...]]:
    """Where ports of a cluster IP are reached: addresses with the numbers there; on loopback these may differ."""
    own = address if config.loopback is None else config.loopback.to_loopback(address) or address
    elsewhere = parse_served_at(service.metadata.annotations.served_at) if config.loopback is not None else {}
    found: dict[str, list[int]] = {}
    for port in ports:
        place, number = elsewhere.get(Frontend(address, port.port, port.protocol), (own, port.port))
        found.setdefault(place, []).append(number)
    return {place: tuple(numbers) for place, numbers in found.items()} or {own: ()}


def _endpoint_hosts(slices: tuple[EndpointSlice, ...], question: Question, config: ZoneConfig) -> Iterable[Host]:
    """A host per published address; its name is that of the endpoint. Rule: spec "discovery" A1.4-A1.6."""
    service = _service_name(question, config)
    room = MAX_NAME_BYTES - encoded_size(service)
    for each in slices:
        ports = tuple(
            NO_PORT if port.port is None else port.port
            for port in each.ports or ()
            if is_port_asked(question, port.name, port.protocol)
        ) or _default_ports(question, bool(each.ports))
        for endpoint in each.published if ports else ():
            for address in endpoint.addresses:
                label = endpoint_label(endpoint, address, config)
                packed = config.pack(address)
                if packed and len(label) < room and len(label) <= MAX_LABEL_BYTES:
                    yield Host((label, *service), packed, ports)


def is_port_asked(question: Question, name: str, protocol: str) -> bool:
    """The port is meant: by its name, or because no port is named."""
    if question.shape is not Shape.PORT:
        return True
    return (question.port in ("", name.lower())) and (question.protocol in ("", protocol.lower()))


def _default_ports(question: Question, has_ports: bool) -> tuple[int, ...]:
    """Without any port there still is an address, except under a port's name."""
    return () if has_ports or question.shape is Shape.PORT else (NO_PORT,)


def endpoint_label(endpoint: Endpoint, address: str, config: ZoneConfig) -> bytes:
    """The one name of an endpoint: its hostname, or where wanted its Pod's name, or the address with dashes.

    A Pod's name that is no single label of the wire is passed over. Rule: spec "discovery" A1.6.
    """
    if endpoint.hostname:
        return endpoint.hostname.lower().encode()
    pod_name = endpoint.pod_name if config.endpoint_pod_names else ""
    if pod_name and len(pod_name) <= MAX_LABEL_BYTES and "." not in pod_name:
        return pod_name.lower().encode()
    dashed = address.replace(".", "-").replace(":", "-").lower()
    return (dashed + "0" if dashed.endswith("-") else dashed).encode()


def _service_name(question: Question, config: ZoneConfig) -> Name:
    return (question.service.encode(), question.namespace.encode(), b"svc", *config.cluster_domain)
