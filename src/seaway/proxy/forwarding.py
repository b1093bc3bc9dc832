"""What becomes of traffic to each Service: the model that every data plane renders, and that `explain` and `plan` read.

In go a Service, its EndpointSlices and the view of this node; out comes, for one family, a `Forwarding` per frontend.
Nothing here knows how packets are handled. Invariants:
1. A Service without a cluster IP of the family forwards nothing in it (spec "proxy" §1.3).
2. `refusal` says what happens to those who get no endpoint; it is None exactly when everybody gets one.
3. `outside` is None unless the external traffic policy is Local; then `endpoints` is for the cluster's own sources.
4. An endpoint with a weight stands in `endpoints` as often as its weight says; one of weight 0 not at all.
"""

from __future__ import annotations

import enum
import functools
import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from seaway.api.endpointslice.types import Endpoint, EndpointSlice
from seaway.api.machinery.duration import DurationError, parse_duration
from seaway.api.machinery.meta import object_key
from seaway.api.service.types import Service, ServicePort
from seaway.net.family import Family
from seaway.proxy.balance import Balance, parse_balance, parse_weights, share_turns
from seaway.proxy.config import NodeView
from seaway.proxy.connectionpolicy import DEFAULT, ConnectionPolicy, asks_userspace, parse_policy
from seaway.proxy.portranges import parse_port_ranges
from seaway.proxy.topology import EndpointChoice, ServingEndpoint, choose_endpoints

LABEL_PROXY_NAME = "service.kubernetes.io/service-proxy-name"
ANNOTATION_RESET_AFTER = "seaway.dev/reset-after"
MAX_RESET_SECONDS = 86400.0
DEFAULT_AFFINITY_SECONDS = 10800  # the API's default; absent only in objects that no API server wrote
MAX_PORT = 65535
MAX_ENDPOINTS = 4096
"""Of one port of a Service in one family; more are not served. Each takes a chain and a map; a draw is one message."""
MAX_STICKY_ENDPOINTS = 1024
"""With session affinity each takes a set too, and a new client is looked for in all of them."""
PROTOCOLS = frozenset(("TCP", "UDP", "SCTP"))


class TrafficClass(enum.Enum):
    """By which kind of address a Service is asked."""

    CLUSTER_IP = "cluster IP"
    EXTERNAL_IP = "external IP"
    LOAD_BALANCER_IP = "load balancer IP"
    NODE_PORT = "node port"


class Masquerade(enum.Enum):
    """Whose source address is replaced. A hairpin is always masqueraded. Rule: spec "proxy" §3.2."""

    OFF_CLUSTER = "sources outside the cluster"
    ALWAYS = "every source"
    NODE = "the node itself"


class Refusal(enum.Enum):
    """REJECT: nobody could serve it. DROP: another node could. Rule: spec "proxy" §2.3."""

    REJECT = "no endpoint is usable"
    DROP = "no endpoint is usable on this node"


class Target(NamedTuple):
    """An endpoint as a destination."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Frontend:
    """Where clients connect to. A node port has no address of its own: `address` is empty."""

    traffic_class: TrafficClass
    address: str
    protocol: str
    port: int
    last_port: int = 0
    """Of a range that starts at `port`; 0: a single port."""

    @property
    def claim(self) -> tuple[str, str, int]:
        """What can be forwarded only once. An address has one range for each protocol: it is claimed as the port 0."""
        return (self.address, self.protocol, 0 if self.last_port else self.port)

    def covers(self, address: str, protocol: str, port: int) -> bool:
        """It is a range with this port."""
        return (self.address, self.protocol) == (address, protocol) and self.port <= port <= self.last_port


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarding:
    """What becomes of new connections to one frontend."""

    frontend: Frontend
    port_name: str
    endpoints: tuple[Target, ...]
    outside: tuple[Target, ...] | None = None
    masquerade: Masquerade
    refusal: Refusal | None = None
    affinity_seconds: int | None = None
    balance: Balance = Balance.RANDOM
    source_ranges: tuple[str, ...] = ()
    """Only these sources may connect; empty: all."""
    serving: tuple[Target, ...] = ()
    """Endpoints that may keep the flows they have; of UDP, and of TCP if the Service resets flows."""
    except_ports: tuple[int, ...] = ()
    """Ports inside a range that are forwarded by themselves, in order."""

    @property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """(first, last) of what is left of the range, in order; a single port is a span of one."""
        first, last = self.frontend.port, self.frontend.last_port or self.frontend.port
        found: list[tuple[int, int]] = []
        for port in (*self.except_ports, last + 1):
            if first < port:
                found.append((first, port - 1))
            first = port + 1
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceForwarding:
    """All of one Service in one family. `age` orders Services, the oldest first."""

    service: str
    family: Family
    age: tuple[str, str]
    cluster_ip: str
    forwardings: tuple[Forwarding, ...]
    hairpins: tuple[tuple[str, Target], ...] = ()
    """(protocol, endpoint) on this node that may be asked by itself."""
    reset_after_seconds: float | None = None
    """TCP flows end this long after their endpoint has gone; None: they are left alone."""
    range_refusals: tuple[str, ...] = ()
    """Why ranges of ports that the Service may have are served by nobody, though it has endpoints."""
    range_hairpins: tuple[tuple[str, str], ...] = ()
    """(protocol, address) of endpoints on this node that serve a range, and may be asked by themselves."""
    health_port: int = 0
    """Where load balancers ask whether this node has endpoints; 0: nowhere."""
    local_ready: int = 0
    """Distinct addresses of ready endpoints on this node, if there is a health port."""
    asks_userspace: bool = False
    """Its TCP ports are to be served by the userspace plane, whichever plane serves the others."""
    policy: ConnectionPolicy = DEFAULT
    """How that plane makes and ends its connections."""

    @property
    def is_sticky(self) -> bool:
        """Some frontend remembers its clients."""
        return any(f.affinity_seconds is not None for f in self.forwardings)


def forward_service(
    service: Service,
    slices: Iterable[EndpointSlice],
    *,
    family: Family,
    node: NodeView,
    keeps_connections: bool = False,
) -> ServiceForwarding | None:
    """The Service's forwardings in `family`, or None when it has none there.

    keeps_connections: the plane holds TCP connections itself, and is to know which endpoints may keep theirs.
    Rule: spec "proxy" §1.2 (which Services), §1.3 (family), §1.4 (fields), §2.3 (outcome).
    """
    cluster_ip = _find_cluster_ip(service, family)
    if cluster_ip is None or LABEL_PROXY_NAME in service.metadata.labels:
        return None
    endpoints = group_endpoints(slices, family, limit=limit_endpoints(service))
    forwardings: list[Forwarding] = []
    hairpins: set[tuple[str, Target]] = set()
    ranges, _ = parse_port_ranges(service.metadata.annotations, service.spec.ports)
    refusals: tuple[str, ...] = ()
    range_hairpins: set[tuple[str, str]] = set()
    is_userspace = asks_userspace(service.metadata.annotations)
    keeps_tcp = keeps_connections or is_userspace or parse_reset_after(service) is not None
    keeps = frozenset(("UDP", "TCP") if keeps_tcp else ("UDP",))
    for port in service.spec.ports:
        if port.protocol not in PROTOCOLS or not 0 < port.port <= MAX_PORT:
            continue
        of_port = endpoints.get((port.name, port.protocol), {})
        served, choice = _forward_port(
            service, port, of_port.values(), cluster_ip=cluster_ip, family=family, node=node, keeps=keeps
        )
        forwardings.extend(served)
        hairpins.update(
            (port.protocol, Target(e.address, e.port)) for e in choice.reachable if e.node_name == node.name
        )
        if (last := ranges.get(port.name)) is not None:
            # An endpoint that listens elsewhere cannot serve a range, whose ports are kept.
            fitting = tuple(e for e in of_port.values() if e.port == port.port)
            if of_port and not fitting:
                refusals += (f"{port.port}-{last}: no endpoint listens on port {port.port} itself",)
            served, choice = _forward_port(
                service, port, fitting, cluster_ip=cluster_ip, family=family, node=node, keeps=keeps, last_port=last
            )
            forwardings.extend(served)
            range_hairpins.update((port.protocol, e.address) for e in choice.reachable if e.node_name == node.name)
    key = object_key(service.metadata)
    health_port = find_health_port(service)
    return ServiceForwarding(
        service=key,
        family=family,
        age=(service.metadata.creation_timestamp, key),
        cluster_ip=cluster_ip,
        forwardings=tuple(forwardings),
        hairpins=tuple(sorted(hairpins)),
        range_refusals=refusals,
        range_hairpins=tuple(sorted(range_hairpins)),
        reset_after_seconds=parse_reset_after(service),
        health_port=health_port,
        local_ready=_count_local_ready(endpoints, node) if health_port else 0,
        asks_userspace=is_userspace,
        policy=parse_policy(service.metadata.annotations)[0],
    )


def limit_endpoints(service: Service) -> int:
    """How many endpoints of one of its ports are served."""
    return MAX_ENDPOINTS if _affinity(service) is None else MAX_STICKY_ENDPOINTS


def find_health_port(service: Service) -> int:
    """The health-check port; 0: none. Rule: spec "proxy" §1.4 (only load balancers under the Local policy)."""
    spec = service.spec
    is_asked = spec.type == "LoadBalancer" and spec.external_traffic_policy == "Local"
    return spec.health_check_node_port if is_asked and 0 < spec.health_check_node_port <= MAX_PORT else 0


def _count_local_ready(endpoints: Mapping[tuple[str, str], Mapping[Target, ServingEndpoint]], node: NodeView) -> int:
    """Distinct addresses over all ports. Rule: spec "proxy" §7.1 (what terminates does not count)."""
    found = (endpoint for of_port in endpoints.values() for endpoint in of_port.values())
    return len({e.address for e in found if e.node_name == node.name and e.ready})


def group_endpoints(
    slices: Iterable[EndpointSlice], family: Family, *, limit: int = MAX_ENDPOINTS
) -> dict[tuple[str, str], dict[Target, ServingEndpoint]]:
    """(port name, protocol) → the endpoints of the family in those slices.

    The same address and port twice: the later one wins unless it is terminating; slices are taken by name.
    Ports and addresses that cannot be served are left out. Rule: spec "proxy" §1.5, but every address of an endpoint is
    served, where stock proxies take the first: what the Service concept page writes by hand works as it reads.
    """
    grouped: dict[tuple[str, str], dict[Target, ServingEndpoint]] = {}
    is_ipv4, is_canonical = family is Family.IPV4, _CANONICAL.fullmatch
    for piece in sorted(slices, key=lambda s: s.metadata.name):
        if piece.address_type != family.value:
            continue
        weight, weights, _ = parse_weights(piece.metadata.annotations)
        for port in piece.ports or ():
            if not port.port or not 0 < port.port <= MAX_PORT:
                continue
            found = grouped.setdefault((port.name, port.protocol or "TCP"), {})
            number = port.port
            for endpoint in piece.endpoints or ():
                for text in endpoint.addresses:
                    address = text if is_ipv4 and is_canonical(text) else parse_address(text, family)
                    if address is None:
                        continue
                    target = Target(address, number)
                    is_new = target not in found
                    if is_new and len(found) >= limit:
                        continue
                    if is_new or not endpoint.is_terminating:
                        found[target] = _resolve(endpoint, target, weights.get(text, weight) if weights else weight)
    return grouped


def _resolve(endpoint: Endpoint, target: Target, weight: int) -> ServingEndpoint:
    conditions, hints = endpoint.conditions, endpoint.hints
    address, port = target
    return ServingEndpoint(
        address,
        port,
        # The proxy reads an unset `serving` as true, whatever `ready` says (spec "proxy" §1.5).
        conditions.ready is not False,
        conditions.serving is not False,
        conditions.terminating is True,
        endpoint.node_name or "",
        frozenset(z.name for z in hints.for_zones) if hints else _NOWHERE,
        frozenset(n.name for n in hints.for_nodes) if hints else _NOWHERE,
        weight,
    )


_NOWHERE: frozenset[str] = frozenset()


def _forward_port(
    service: Service,
    port: ServicePort,
    endpoints: Iterable[ServingEndpoint],
    *,
    cluster_ip: str,
    family: Family,
    node: NodeView,
    keeps: frozenset[str],
    last_port: int = 0,
) -> tuple[list[Forwarding], EndpointChoice]:
    """The port, or the range that starts at it, which no node port has.

    keeps: the protocols of which endpoints may keep the flows that they have.
    """
    spec = service.spec
    known = tuple(endpoints)
    external = list_external_frontends(service, port, cluster_ip, family)
    if last_port:
        ranged = (f for f in external if f.traffic_class is not TrafficClass.NODE_PORT)
        external = [replace(f, last_port=last_port) for f in ranged]
    policies = read_policies(service, has_external=bool(external))
    internal_local, external_local = policies.internal_local, policies.external_local
    choice = choose_for_port(known, policies, node)
    served = tuple(Target(e.address, e.port) for e in known if e.serving) if port.protocol in keeps else ()
    forwarding = functools.partial(
        Forwarding,
        port_name=port.name,
        affinity_seconds=_affinity(service),
        balance=parse_balance(service.metadata.annotations) or Balance.RANDOM,
        serving=tuple(sorted(served)),
    )
    cluster, local = _targets(choice.cluster), _targets(choice.local)
    forwardings = [
        forwarding(
            frontend=Frontend(TrafficClass.CLUSTER_IP, cluster_ip, port.protocol, port.port, last_port),
            endpoints=local if internal_local else cluster,
            masquerade=Masquerade.OFF_CLUSTER,
            refusal=_refuse(choice, local if internal_local else cluster),
        )
    ]
    ranges = _source_ranges(spec.load_balancer_source_ranges, family, node)
    vips = tuple(f.address for f in external if f.traffic_class is TrafficClass.LOAD_BALANCER_IP)
    forwardings.extend(
        forwarding(
            frontend=frontend,
            endpoints=cluster,
            outside=local if external_local else None,
            masquerade=Masquerade.NODE if external_local else Masquerade.ALWAYS,
            refusal=_refuse(choice, local if external_local else cluster),
            source_ranges=ranges.including(vips) if frontend.traffic_class is TrafficClass.LOAD_BALANCER_IP else (),
        )
        for frontend in external
    )
    return forwardings, choice


@dataclass(frozen=True, slots=True)
class Policies:
    """Which lists of endpoints a port of a Service uses. Rule: spec "proxy" §1.4 (derived booleans)."""

    internal_local: bool
    external_local: bool
    uses_cluster: bool
    uses_local: bool


def read_policies(service: Service, *, has_external: bool) -> Policies:
    """The traffic policies as they count; has_external: the port can be asked by something else than its cluster IP."""
    spec = service.spec
    is_external = spec.type in ("NodePort", "LoadBalancer") or bool(spec.external_ips)
    internal = spec.internal_traffic_policy == "Local"
    external = spec.external_traffic_policy == "Local" and is_external
    return Policies(internal, external, not internal or has_external, internal or (external and has_external))


def choose_for_port(endpoints: Iterable[ServingEndpoint], policies: Policies, node: NodeView) -> EndpointChoice:
    """The endpoints that this node may use for the port; those of weight 0 are left out."""
    return choose_endpoints(
        [endpoint for endpoint in endpoints if endpoint.weight],
        node=node.name,
        zone=node.zone,
        uses_cluster=policies.uses_cluster,
        uses_local=policies.uses_local,
    )


def list_external_frontends(service: Service, port: ServicePort, cluster_ip: str, family: Family) -> list[Frontend]:
    """Node port, external IPs and load balancer IPs; none of them is gated on `spec.type`."""
    addresses: dict[str, TrafficClass] = {}
    for text in service.spec.external_ips:
        if (address := parse_address(text, family)) is not None:
            addresses[address] = TrafficClass.EXTERNAL_IP
    for ingress in service.status.load_balancer.ingress:
        address = parse_address(ingress.ip, family)
        if address is not None and ingress.ip_mode in (None, "", "VIP"):
            addresses[address] = TrafficClass.LOAD_BALANCER_IP
    addresses.pop(cluster_ip, None)  # an address is asked in one way only
    frontends = [Frontend(kind, address, port.protocol, port.port) for address, kind in sorted(addresses.items())]
    if 0 < port.node_port <= MAX_PORT:
        frontends.append(Frontend(TrafficClass.NODE_PORT, "", port.protocol, port.node_port))
    return frontends


@dataclass(frozen=True, slots=True)
class _SourceRanges:
    networks: tuple[str, ...]
    contains_node: bool

    def including(self, vips: tuple[str, ...]) -> tuple[str, ...]:
        """With the Service's own addresses when the node may connect: it may do so from one of them."""
        if not self.networks:
            return ()
        own = vips if self.contains_node else ()
        parsed = [ipaddress.ip_network(n) for n in (*self.networks, *own)]
        collapsed = ipaddress.collapse_addresses(parsed)  # type: ignore[type-var]  # all of one family
        return tuple(str(n) for n in collapsed)


def _source_ranges(texts: Iterable[str], family: Family, node: NodeView) -> _SourceRanges:
    """The ranges of the family; empty (unrestricted) when one of them is everything. Rule: spec "proxy" §1.4, §3.4."""
    networks = [n for n in (_parse_network(text, family) for text in texts) if n is not None]
    if any(n.prefixlen == 0 for n in networks):
        return _SourceRanges((), False)
    inside = any(ipaddress.ip_address(a) in n for a in node.addresses for n in networks)
    return _SourceRanges(tuple(str(n) for n in networks), inside)


def _refuse(choice: EndpointChoice, endpoints: tuple[Target, ...]) -> Refusal | None:
    if not choice.has_any:
        return Refusal.REJECT
    return None if endpoints else Refusal.DROP


def _targets(endpoints: tuple[ServingEndpoint, ...] | None) -> tuple[Target, ...]:
    if not endpoints:
        return ()
    if all(e.weight == 1 for e in endpoints):
        return tuple([Target(e.address, e.port) for e in endpoints])
    turns = share_turns([e.weight for e in endpoints])
    return tuple(Target(e.address, e.port) for e, count in zip(endpoints, turns, strict=True) for _ in range(count))


def parse_reset_after(service: Service) -> float | None:
    """The annotation's duration, at most a day; None without one, or when it cannot be read."""
    text = service.metadata.annotations.get(ANNOTATION_RESET_AFTER, "")
    if not text:
        return None
    try:
        seconds = parse_duration(text)
    except DurationError:
        return None
    return min(seconds, MAX_RESET_SECONDS) if seconds >= 0 else None


def _affinity(service: Service) -> int | None:
    if service.spec.session_affinity != "ClientIP":
        return None
    config = service.spec.session_affinity_config
    return config.client_ip.timeout_seconds if config and config.client_ip else DEFAULT_AFFINITY_SECONDS


def _find_cluster_ip(service: Service, family: Family) -> str | None:
    spec = service.spec
    if spec.type == "ExternalName" or spec.cluster_ip in ("", "None"):
        return None
    if not spec.ip_families:
        return parse_address(spec.cluster_ip, family)
    by_family: Mapping[str, str] = dict(zip(spec.ip_families, spec.cluster_ips, strict=False))
    return parse_address(by_family.get(family.value, ""), family)


_CANONICAL = re.compile(r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])(?:\.(?!$)|$)){4}")
_LEADING_ZEROS = re.compile(r"(?<![0-9])0+(?=[0-9])")


def parse_address(text: str, family: Family) -> str | None:
    """The address in canonical form, or None when it is not one of the family.

    Leading zeros in octets are decimal. Rule: spec "proxy" §1.4.
    """
    if family is Family.IPV4 and _CANONICAL.fullmatch(text):
        return text
    try:
        if family is Family.IPV4:
            return str(ipaddress.IPv4Address(_LEADING_ZEROS.sub("", text)))
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        return None


def _parse_network(text: str, family: Family) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    address, _, length = text.strip().partition("/")
    canonical = parse_address(address, family)
    try:
        return None if canonical is None else ipaddress.ip_network(f"{canonical}/{int(length)}", strict=False)
    except ValueError:
        return None
