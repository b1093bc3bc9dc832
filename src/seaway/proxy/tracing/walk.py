"""One new connection through the model: who is asked, which endpoints may serve and why others may not, how it ends.

In go Services, EndpointSlices and the view of a node; out comes a `Walk`, a value that others can show. Nothing here
asks a kernel: `kernel.py` does, and can be compared.
Rule: spec "proxy" §3.1 (the order of decisions), §3.2 (sources), §2 (endpoints).
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import msgspec

from seaway.api.endpointslice.types import LABEL_HEADLESS, LABEL_SERVICE_NAME, EndpointSlice
from seaway.api.machinery.meta import object_key
from seaway.api.service.types import Service, ServicePort
from seaway.net.family import Family, family_of
from seaway.proxy.balance import Balance
from seaway.proxy.claims import Claims
from seaway.proxy.config import NodeView, ProxyConfig, choose_node_port_addresses, networks_of
from seaway.proxy.connectionpolicy import asks_userspace, parse_policy
from seaway.proxy.forwarding import (
    LABEL_PROXY_NAME,
    Forwarding,
    Masquerade,
    Policies,
    Refusal,
    ServiceForwarding,
    Target,
    TrafficClass,
    choose_for_port,
    forward_service,
    group_endpoints,
    limit_endpoints,
    list_external_frontends,
    read_policies,
)
from seaway.proxy.splitting.plan import is_split
from seaway.proxy.topology import EndpointChoice, ServingEndpoint


@dataclass(frozen=True, slots=True)
class Question:
    """The first packet of a connection. Addresses are in canonical form and of one family."""

    source: str
    destination: str
    port: int
    protocol: str = "TCP"
    link: str = ""
    """The one that it comes in by; "": by none, or it is not known."""

    @property
    def family(self) -> Family:
        return family_of(self.destination)


class Source(enum.Enum):
    """Where a packet comes from, as far as its source address or its link tells."""

    POD = "a Pod"
    NODE = "this node"
    OUTSIDE = "outside of the cluster"


class Outcome(enum.Enum):
    """What a packet ends in."""

    FORWARDED = "forwarded"
    REJECTED = "rejected"
    DROPPED = "dropped"
    UNTOUCHED = "left alone"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is made of one endpoint. `reason`: why it is left out; "" when it is used."""

    target: Target
    node: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """The answer. `steps` are sentences in the order of the decisions; the last one is the outcome."""

    question: Question
    source: Source
    outcome: Outcome
    service: str = ""
    traffic_class: TrafficClass | None = None
    endpoints: tuple[Verdict, ...] = ()
    masqueraded: bool = False
    hairpins: tuple[Target, ...] = ()
    """Endpoints that are the source itself, for which alone it is masqueraded."""
    steps: tuple[str, ...] = ()

    @property
    def used(self) -> tuple[Target, ...]:
        """The endpoints that the connection may go to."""
        return tuple(verdict.target for verdict in self.endpoints if not verdict.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """All that the walk depends on. `host_addresses`: of the links of the node."""

    services: tuple[Service, ...]
    slices: tuple[EndpointSlice, ...]
    node: NodeView
    config: ProxyConfig
    host_addresses: tuple[str, ...] = ()


def explain(question: Question, cluster: Cluster) -> Walk:
    """What the node makes of the packet, and why. Never raises."""
    source = _find_source(question, cluster)
    known = _by_service(cluster)
    settled, claimed = _settle(cluster, known, question.family)
    begun = Walk(
        question=question, source=source, outcome=Outcome.UNTOUCHED, steps=(_say_source(question, source, cluster),)
    )
    found = _find(question, settled, cluster)
    if found is None:
        return _explain_unclaimed(begun, settled, known, cluster)
    forwarding, owner = found
    service, slices = known[owner.service]
    return _explain_frontend(begun, forwarding, owner, service, slices, claimed=claimed, cluster=cluster)


def _by_service(cluster: Cluster) -> dict[str, tuple[Service, tuple[EndpointSlice, ...]]]:
    pieces: dict[str, list[EndpointSlice]] = {}
    for piece in cluster.slices:
        name = piece.metadata.labels.get(LABEL_SERVICE_NAME)
        if name and LABEL_HEADLESS not in piece.metadata.labels:
            pieces.setdefault(f"{piece.metadata.namespace}/{name}", []).append(piece)
    keyed = ((object_key(service.metadata), service) for service in cluster.services)
    return {key: (service, tuple(pieces.get(key, ()))) for key, service in keyed}


def _settle(
    cluster: Cluster, known: Mapping[str, tuple[Service, tuple[EndpointSlice, ...]]], family: Family
) -> tuple[list[ServiceForwarding], list[ServiceForwarding]]:
    """Every Service with what it owns, and with what it claims."""
    claims, claimed = Claims(), list[ServiceForwarding]()
    for key, (service, slices) in known.items():
        forwarding = forward_service(service, slices, family=family, node=cluster.node)
        claims.update(key, forwarding)
        if forwarding is not None:
            claimed.append(forwarding)
    return [claims.settle(forwarding) for forwarding in claimed], claimed


def _find_source(question: Question, cluster: Cluster) -> Source:
    """Rule: spec "proxy" §3.5. What the node sends itself comes in by no link."""
    address, links = ipaddress.ip_address(question.source), cluster.config.pod_links
    is_own = question.source in {*cluster.host_addresses, *cluster.node.addresses} or address.is_loopback
    if links is not None:
        is_pod = question.link != "" and links.covers(question.link) and not is_own
    else:
        cidrs = networks_of(cluster.config.cluster_cidrs, question.family)
        is_pod = any(address in ipaddress.ip_network(cidr) for cidr in cidrs)
    if is_pod:
        return Source.POD
    return Source.NODE if is_own else Source.OUTSIDE


def _say_source(question: Question, source: Source, cluster: Cluster) -> str:
    cidrs, links = networks_of(cluster.config.cluster_cidrs, question.family), cluster.config.pod_links
    match source:
        case Source.POD if links is not None:
            return f"The source {question.source} is a Pod: it comes in by {question.link}."
        case Source.OUTSIDE if links is not None and not question.link:
            return (
                f"By which link {question.source} comes in is not known (--in-interface): it is taken for no Pod, whose"
                f" links are {links}."
            )
        case Source.OUTSIDE if links is not None:
            return f"The source {question.source} is no Pod: it comes in by {question.link}, not by {links}."
        case Source.POD:
            return f"The source {question.source} is a Pod: it is in {', '.join(cidrs)}."
        case Source.NODE:
            return f"The source {question.source} is the node {cluster.node.name} itself."
        case Source.OUTSIDE if not cidrs:
            return f"The source {question.source} is not known to be a Pod: no range of Pods is configured."
        case Source.OUTSIDE:
            return f"The source {question.source} comes from outside: it is not in {', '.join(cidrs)}."


def _find(
    question: Question, settled: Iterable[ServiceForwarding], cluster: Cluster
) -> tuple[Forwarding, ServiceForwarding] | None:
    """Service addresses before node ports. Rule: spec "proxy" §3.1."""
    ports = choose_node_port_addresses(cluster.config, cluster.node, question.family, cluster.host_addresses)
    own = {*cluster.host_addresses, *cluster.node.addresses}
    is_loopback = ipaddress.ip_address(question.destination).is_loopback
    serves_node_ports = question.destination in (own if ports.is_all else ports.addresses) and not is_loopback
    by_claim = {f.frontend.claim: (f, owner) for owner in settled for f in owner.forwardings}
    asked = (question.destination, question.protocol, question.port)
    found = by_claim.get(asked) or next((pair for pair in by_claim.values() if pair[0].frontend.covers(*asked)), None)
    if found is None and serves_node_ports:
        found = by_claim.get(("", question.protocol, question.port))
    return found


def _explain_unclaimed(
    walk: Walk,
    settled: Iterable[ServiceForwarding],
    known: Mapping[str, tuple[Service, tuple[EndpointSlice, ...]]],
    cluster: Cluster,
) -> Walk:
    """No Service answers there. Rule: spec "proxy" §8.5."""
    question = walk.question
    asked = f"{question.destination}:{question.port}/{question.protocol.lower()}"
    for owner in settled:
        if owner.cluster_ip == question.destination:
            ports = sorted(
                f"{f.frontend.port}/{f.frontend.protocol.lower()}"
                for f in owner.forwardings
                if f.frontend.traffic_class is TrafficClass.CLUSTER_IP
            )
            step = f"{question.destination} is the cluster IP of {owner.service}, which has only {', '.join(ports)}."
            return _end(replace(walk, service=owner.service), Outcome.REJECTED, step, _say_reject(walk))
    steps = [_say_passed_over(service) for service, _ in known.values() if _names(service, question.destination)]
    for cidr in networks_of(cluster.config.service_cidrs, question.family):
        if ipaddress.ip_address(question.destination) in ipaddress.ip_network(cidr):
            steps.append(f"No Service has {question.destination}, which is in the range of Services {cidr}.")
            return _end(walk, Outcome.DROPPED, *steps, "It is dropped: a connect times out.")
    return _end(walk, Outcome.UNTOUCHED, *steps, f"{asked} is no Service's on this node: it is left alone.")


def _names(service: Service, address: str) -> bool:
    spec = service.spec
    ingress = (entry.ip for entry in service.status.load_balancer.ingress)
    return address in {spec.cluster_ip, *spec.cluster_ips, *spec.external_ips, *ingress}


def _say_passed_over(service: Service) -> str:
    key = object_key(service.metadata)
    if LABEL_PROXY_NAME in service.metadata.labels:
        return f"Service {key} names that address, but its label {LABEL_PROXY_NAME} leaves it to another proxy."
    if service.spec.type == "ExternalName":
        return f"Service {key} names that address, but its type is ExternalName."
    return f"Service {key} names that address, but not this port, protocol, or mode of it."


def _explain_frontend(
    walk: Walk,
    f: Forwarding,
    owner: ServiceForwarding,
    service: Service,
    slices: tuple[EndpointSlice, ...],
    *,
    claimed: Iterable[ServiceForwarding],
    cluster: Cluster,
) -> Walk:
    key, question = object_key(service.metadata), walk.question
    walk = replace(walk, service=key, traffic_class=f.frontend.traffic_class)
    port = f'the port "{f.port_name}" of ' if f.port_name else ""
    asked = f"{question.destination}:{question.port}/{question.protocol.lower()}"
    steps = [f"{asked} is the {f.frontend.traffic_class.value} of {port}Service {key}."]
    rivals = sorted(o.service for o in claimed if o.service != key and any(_same(f, g) for g in o.forwardings))
    if rivals:
        steps.append(f"{', '.join(rivals)} would have it too: a cluster IP comes first, then the oldest Service.")
    if f.source_ranges and not _is_inside(question.source, f.source_ranges):
        steps.append(f"The source is in none of the source ranges: {', '.join(f.source_ranges)}.")
        return _end(walk, Outcome.DROPPED, *steps, "It is dropped: a connect times out.")
    if f.source_ranges:
        steps.append(f"The source is in the source ranges: {', '.join(f.source_ranges)}.")
    external = list_external_frontends(service, _find_port(service, f), owner.cluster_ip, owner.family)
    policies = read_policies(service, has_external=bool(external))
    endpoints, is_local, policy = _choose_list(walk.source, f, policies)
    steps.append(policy)
    grouped = group_endpoints(slices, question.family, limit=limit_endpoints(service))
    known = tuple(grouped.get((f.port_name, f.frontend.protocol), {}).values())
    if f.frontend.last_port:
        known = tuple(msgspec.structs.replace(e, port=question.port) for e in known if e.port == f.frontend.port)
        endpoints = tuple(target._replace(port=question.port) for target in endpoints)
    choice = choose_for_port(known, policies, cluster.node)
    walk = replace(walk, endpoints=_judge(known, endpoints, choice, is_local=is_local, node=cluster.node))
    if choice.reason and not is_local:
        steps.append(f"Topology hints do not count: {choice.reason}.")
    if not known:
        steps.append(_say_no_endpoints(f, slices, question.family))
    if not endpoints:
        outcome = Outcome.REJECTED if f.refusal is Refusal.REJECT else Outcome.DROPPED
        end = _say_reject(walk) if outcome is Outcome.REJECTED else "It is dropped, so that another node may be tried."
        return _end(walk, outcome, *steps, end)
    return _explain_forwarded(walk, f, endpoints, service, steps, cluster)


def _same(f: Forwarding, other: Forwarding) -> bool:
    return f.frontend.claim == other.frontend.claim


def _is_inside(address: str, networks: Iterable[str]) -> bool:
    return any(ipaddress.ip_address(address) in ipaddress.ip_network(network) for network in networks)


def _find_port(service: Service, f: Forwarding) -> ServicePort:
    return next(p for p in service.spec.ports if (p.name, p.protocol) == (f.port_name, f.frontend.protocol))


def _choose_list(source: Source, f: Forwarding, policies: Policies) -> tuple[tuple[Target, ...], bool, str]:
    """The endpoints for this source, whether they are those of this node only, and the policy in words."""
    if f.frontend.traffic_class is TrafficClass.CLUSTER_IP:
        if policies.internal_local:
            return f.endpoints, True, "Internal traffic policy Local: only endpoints on this node."
        return f.endpoints, False, "Internal traffic policy Cluster: endpoints on any node."
    if f.outside is None:
        return f.endpoints, False, "External traffic policy Cluster: endpoints on any node."
    if source is Source.OUTSIDE:
        return f.outside, True, "External traffic policy Local: only endpoints on this node for who comes from outside."
    return f.endpoints, False, "External traffic policy Local, but Pods and the node reach endpoints on any node."


def _judge(
    known: tuple[ServingEndpoint, ...],
    used: tuple[Target, ...],
    choice: EndpointChoice,
    *,
    is_local: bool,
    node: NodeView,
) -> tuple[Verdict, ...]:
    chosen = set(used)
    verdicts = []
    for e in sorted(known, key=lambda e: (e.address, e.port)):
        target = Target(e.address, e.port)
        reason = "" if target in chosen else _say_left_out(e, is_local=is_local, node=node)
        verdicts.append(Verdict(target, e.node_name, reason))
    return tuple(verdicts)


def _say_left_out(e: ServingEndpoint, *, is_local: bool, node: NodeView) -> str:
    if not e.weight:
        return "drained: its weight is 0"
    if not e.ready and not e.is_fallback:
        return "neither ready nor serving" if not e.serving else "not ready"
    if is_local and e.node_name != node.name:
        return "on another node" if e.node_name else "on no node that is known"
    if not e.ready:
        return "terminating, while others are ready"
    if e.nodes or e.zones:
        hinted = ", ".join((*sorted(e.nodes), *(f"zone {zone}" for zone in sorted(e.zones))))
        return f"hinted to {hinted}"
    return "not chosen"


def _say_no_endpoints(f: Forwarding, slices: tuple[EndpointSlice, ...], family: Family) -> str:
    pieces = [piece for piece in slices if piece.address_type == family.value]
    if not pieces:
        return f"The Service has no EndpointSlice of {family.value}."
    ports = sorted({f'"{p.name}"/{(p.protocol or "TCP").lower()}' for piece in pieces for p in piece.ports or ()})
    wanted = f'"{f.port_name}"/{f.frontend.protocol.lower()}'
    if wanted in ports:
        return f"The EndpointSlices have no address with a port number for {wanted}."
    return f"No EndpointSlice has a port {wanted}; there are {', '.join(ports) or 'none'}."


def _explain_forwarded(
    walk: Walk, f: Forwarding, endpoints: tuple[Target, ...], service: Service, steps: list[str], cluster: Cluster
) -> Walk:
    if cluster.config.plane == "userspace" or (asks_userspace(service.metadata.annotations) and is_split(f)):
        return _explain_held(walk, f, endpoints, service, steps, cluster)
    masqueraded, why = _find_masquerade(walk, f, cluster)
    local = {v.target for v in walk.endpoints if v.node == cluster.node.name}
    hairpins = tuple(t for t in dict.fromkeys(endpoints) if t.address == walk.question.source and t in local)
    steps.append(_say_draw(f, endpoints))
    steps.append(why)
    if hairpins and not masqueraded:
        steps.append("The source is one of the endpoints: if it gets itself, the node's address replaces its own.")
    own = {*cluster.host_addresses, *cluster.node.addresses}
    if masqueraded and walk.source is not Source.NODE and any(t.address in own for t in endpoints):
        steps.append("An endpoint on the node's own network is delivered here, and sees the source as it is.")
    end = f"It is forwarded to {_say_targets(endpoints)}."
    return _end(replace(walk, masqueraded=masqueraded, hairpins=hairpins), Outcome.FORWARDED, *steps, end)


def _explain_held(
    walk: Walk, f: Forwarding, endpoints: tuple[Target, ...], service: Service, steps: list[str], cluster: Cluster
) -> Walk:
    """What becomes of a connection that the proxy takes itself. Rule: issue of the userspace plane, parts 2 and 3."""
    policy, _ = parse_policy(service.metadata.annotations)
    keeps_source = cluster.config.loopback is not None and walk.source is Source.POD
    whose = "the Pod's own" if keeps_source else "the node's"
    steps.append(_say_draw(f, endpoints, is_held=True))
    steps.append(f"The proxy takes the connection itself, and connects from {whose} address (userspace plane).")
    if policy.proxy_protocol is not None and f.frontend.protocol == "TCP":
        steps.append(f"It tells the endpoint the source's own address (PROXY protocol {policy.proxy_protocol}).")
    end = f"It is forwarded to {_say_targets(endpoints)}."
    return _end(replace(walk, masqueraded=not keeps_source), Outcome.FORWARDED, *steps, end)


def _say_targets(endpoints: tuple[Target, ...]) -> str:
    targets = " or ".join(_say_target(t) for t in dict.fromkeys(endpoints))
    return targets if len(set(endpoints)) <= 3 else f"one of {len(set(endpoints))} endpoints"


def _say_target(target: Target) -> str:
    return f"[{target.address}]:{target.port}" if ":" in target.address else f"{target.address}:{target.port}"


def _find_masquerade(walk: Walk, f: Forwarding, cluster: Cluster) -> tuple[bool, str]:
    """Whether the source is replaced, and why. Rule: spec "proxy" §3.2."""
    kept, replaced = "The source keeps its address", "The node's address replaces the source's"
    match f.masquerade:
        case Masquerade.ALWAYS:
            return True, f"{replaced}: the answer must come back here (external traffic policy Cluster)."
        case Masquerade.NODE if walk.source is Source.NODE:
            return True, f"{replaced}: it is the node itself."
        case Masquerade.NODE:
            return False, f"{kept}: external traffic policy Local."
        case Masquerade.OFF_CLUSTER if cluster.config.masquerade_all:
            return True, f"{replaced}: everything to a cluster IP is masqueraded."
        case Masquerade.OFF_CLUSTER if not _knows_pods(cluster.config, walk.question.family):
            return False, f"{kept}: no range of Pods is known that it would be outside of."
        case Masquerade.OFF_CLUSTER if walk.source is Source.POD:
            return False, f"{kept}: Pods reach each other."
        case Masquerade.OFF_CLUSTER:
            return True, f"{replaced}: it is no Pod."


def _knows_pods(config: ProxyConfig, family: Family) -> bool:
    return config.pod_links is not None or bool(networks_of(config.cluster_cidrs, family))


def _say_draw(f: Forwarding, endpoints: tuple[Target, ...], *, is_held: bool = False) -> str:
    """is_held: the proxy holds both ends of each connection, and knows which endpoint has how many."""
    count = len(set(endpoints))
    if count == 1:
        return "There is one endpoint to choose."
    weighted = "" if len(endpoints) == count else ", by weight"
    if f.balance is Balance.HASH:
        return f"The client's address chooses among {count} endpoints{weighted} (balance hash)."
    if f.affinity_seconds is not None:
        return (
            f"Session affinity: who connected within {f.affinity_seconds} seconds gets the same endpoint, others one of"
            f" {count} by their address{weighted}."
        )
    if is_held and f.balance is Balance.LEAST_CONNECTIONS:
        return f"Each connection goes to the one of {count} endpoints that has the fewest{weighted}."
    how = "in turns" if f.balance is Balance.ROUND_ROBIN else "at random"
    return f"Each connection goes to one of {count} endpoints, {how}{weighted}."


def _say_reject(walk: Walk) -> str:
    if walk.question.protocol == "UDP" and walk.source is Source.NODE:
        return "It is refused: sending fails with EPERM."
    return "It is refused with an ICMP port unreachable: a connect fails at once."


def _end(walk: Walk, outcome: Outcome, *steps: str) -> Walk:
    return replace(walk, outcome=outcome, steps=(*walk.steps, *steps))
