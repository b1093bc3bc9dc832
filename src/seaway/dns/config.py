"""What `seaway dns` is told. Wrong values are refused when the configuration is made, not when a query comes."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from seaway.dns.edns import MAX_NSID_BYTES
from seaway.dns.forwarding.config import Block, CacheConfig, Policy, RouteConfig, is_within
from seaway.dns.forwarding.upstreams import Upstream, parse_upstreams, refuse_own_address
from seaway.dns.index import canonical_address
from seaway.dns.lookup import ANYBODY, ZoneConfig
from seaway.dns.packing import pack_address
from seaway.dns.query import REVERSE_ZONES
from seaway.dns.records import Name, lower_name, parse_name, render_name
from seaway.net.loopback import LoopbackMap

POD_MODES = ("disabled", "insecure", "verified")
MAX_TTL_SECONDS = 3600
MAX_WORKERS = 64
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class KubernetesOptions:
    """Options of the `kubernetes` block that leave objects out or add names. Rule: spec "discovery" A1.13.

    namespaces: only these; none: all. labels, namespace_labels: selectors. fallthrough: zones whose unknown names go
    on; the root stands for all. kubeconfig: of the API server.
    """

    namespaces: tuple[str, ...] = ()
    namespace_labels: str = ""
    labels: str = ""
    no_endpoints: bool = False
    endpoint_pod_names: bool = False
    ignore_empty_service: bool = False
    fallthrough: tuple[Name, ...] = REVERSE_ZONES
    reverse_zones: tuple[Name, ...] = REVERSE_ZONES
    kubeconfig: str = ""

    def __post_init__(self) -> None:
        if self.namespaces and self.namespace_labels:
            raise ValueError("namespaces and namespace_labels cannot both be set")


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """What is told to those who look after the server, and when. An address None: not served.

    lameduck_seconds: after SIGTERM queries are answered this long, while readiness is gone already.
    reload_seconds: how often the files of the configuration are looked at; 0: only on a signal.
    startup_seconds: how long sockets stay closed while the first lists have not come.
    """

    health: tuple[str, int] | None = None
    ready: tuple[str, int] | None = None
    metrics: tuple[str, int] | None = None
    lameduck_seconds: float = 0.0
    reload_seconds: float = 0.0
    reload_jitter_seconds: float = 0.0
    startup_seconds: float = 0.0
    detects_loops: bool = False


@dataclass(frozen=True, slots=True)
class DnsConfig:
    """The server's options.

    listen: addresses and ports, for UDP and TCP both; never a wildcard, so that a reply leaves from where the query
    went.
    upstreams: `ip`, `ip:port` or `unix:///path`, tried in order; none: foreign names are REFUSED, unknown reverse ones
        do not exist.
    allowed_sources: ranges that foreign names are looked up for, besides loopback. Cluster names are answered to
    everybody.
    pods: `insecure` (as stock clusters), `verified` (only addresses that a Pod has; watches Pods), `disabled`.
    transfer_to: addresses that may have the cluster's zone whole, or `*` for everybody; none: nobody.
    blocks: what is done with other names, by zone; none: `upstreams` alone.
    tls_listen: addresses and ports for DNS over TLS, with the certificate and key of these files (PEM).
    nsid: the name that the server tells to those who ask for one (RFC 5001); empty: it tells none.
    workers: processes that share the addresses.
    loopback: on which loopback addresses those of the cluster are; answers tell these. None: where they say.
    """

    cluster_domain: str = "cluster.local"
    listen: tuple[tuple[str, int], ...] = (("127.0.0.1", 53),)
    upstreams: tuple[str, ...] = ()
    allowed_sources: tuple[str, ...] = ()
    ttl_seconds: int = 5
    max_udp_bytes: int = 1232
    pods: str = "insecure"
    max_forwards: int = 1000
    max_forwards_per_source: int = 100
    max_connections: int = 512
    max_connections_per_source: int = 64
    transfer_to: tuple[str, ...] = ()
    blocks: tuple[Block, ...] = ()
    lifecycle: Lifecycle = Lifecycle()
    kubernetes: KubernetesOptions = KubernetesOptions()
    tls_listen: tuple[tuple[str, int], ...] = ()
    tls_certificate: str = ""
    tls_key: str = ""
    nsid: str = ""
    workers: int = 1
    loopback: LoopbackMap | None = None

    def __post_init__(self) -> None:
        if not parse_name(self.cluster_domain):
            raise ValueError("cluster domain: empty found, a name such as cluster.local needed")
        if self.pods not in POD_MODES:
            raise ValueError(f"wrong value for pods: {self.pods},  must be one of: {', '.join(POD_MODES)}")
        if not 0 <= self.ttl_seconds <= MAX_TTL_SECONDS:
            raise ValueError(f"ttl must be in range [0, {MAX_TTL_SECONDS}]: {self.ttl_seconds}")
        if not 512 <= self.max_udp_bytes <= 4096:
            raise ValueError(f"max UDP bytes: {self.max_udp_bytes} found, 512 to 4096 allowed")
        if not self.listen:
            raise ValueError("listen: no address found, at least one needed")
        for host, _ in (*self.listen, *self.tls_listen):
            if ipaddress.ip_address(host).is_unspecified:
                raise ValueError(f"listen {host}: a wildcard found, an address of this host needed; name each address")
        if self.tls_listen and not (self.tls_certificate and self.tls_key):
            raise ValueError("DNS over TLS: no certificate or no key found, both needed")
        if len(self.nsid.encode()) > MAX_NSID_BYTES:
            raise ValueError(f"nsid: {len(self.nsid.encode())} bytes found, at most {MAX_NSID_BYTES} allowed")
        if not 1 <= self.workers <= MAX_WORKERS:
            raise ValueError(f"workers: {self.workers} found, 1 to {MAX_WORKERS} allowed")
        if self.workers > 1 and any(not port for _, port in (*self.listen, *self.tls_listen)):
            raise ValueError("listen: port 0 found, a port that the workers can share needed")
        for peer in self.transfer_to:
            if peer != ANYBODY and not pack_address(peer):
                raise ValueError(f"transfer to {peer}: an address or {ANYBODY} needed")
        _ = self.upstream_servers, self.allowed_networks
        self._validate_blocks()

    @property
    def upstream_servers(self) -> tuple[Upstream, ...]:
        """The upstreams, parsed."""
        return parse_upstreams(self.upstreams, listen=self.listen)

    @property
    def server_blocks(self) -> tuple[Block, ...]:
        """The blocks; made of `upstreams` where none are given: asked in order, and what they say kept for 30 s."""
        if self.blocks or not self.upstreams:
            return self.blocks
        route = RouteConfig(self.upstream_servers, policy=Policy.SEQUENTIAL)
        return (Block(routes=(route,), cache=CacheConfig()),)

    @property
    def allowed_networks(self) -> tuple[Network, ...]:
        """The ranges, parsed."""
        return tuple(ipaddress.ip_network(text) for text in self.allowed_sources)

    @property
    def zone(self) -> ZoneConfig:
        """What answers depend on."""
        hosts = tuple(self._find_origin(canonical_address(host)) for host, _ in self.listen)
        outside = tuple(host for host in hosts if not ipaddress.ip_address(host).is_loopback)
        return ZoneConfig(
            cluster_domain=lower_name(parse_name(self.cluster_domain)),
            ttl_seconds=self.ttl_seconds,
            pods=self.pods,
            local_addresses=outside or hosts,
            loopback=self.loopback,
            forwards=any(block.routes for block in self.server_blocks),
            reverse_zones=self.kubernetes.reverse_zones,
            fallthrough=self.kubernetes.fallthrough,
            endpoint_pod_names=self.kubernetes.endpoint_pod_names,
            transfer_to=tuple(each if each == ANYBODY else canonical_address(each) for each in self.transfer_to),
            ignore_empty_service=self.kubernetes.ignore_empty_service and not self.kubernetes.no_endpoints,
        )

    def _find_origin(self, address: str) -> str:
        return (self.loopback.from_loopback(address) if self.loopback is not None else None) or address

    def _validate_blocks(self) -> None:
        zones = [block.zone for block in self.blocks]
        domain = lower_name(parse_name(self.cluster_domain))
        for zone in zones:
            if zones.count(zone) > 1:
                raise ValueError(f"zone {render_name(zone)}: two server blocks have it, one allowed")
            if len(zone) > len(domain) and is_within(zone, domain):
                raise ValueError(f"zone {render_name(zone)}: it lies in the cluster's own zone {self.cluster_domain}")
        for block in self.blocks:
            for route in block.routes:
                for upstream in route.upstreams:
                    refuse_own_address(upstream, self.listen)


def is_allowed(source: str, networks: tuple[Network, ...]) -> bool:
    """The source may have foreign names looked up. Loopback may: packets from it never cross a wire."""
    try:
        address = ipaddress.ip_address(source.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    return address.is_loopback or any(address in network for network in networks)
