"""What one `up` (or one API server alone) is, decided before any fork: directory, addresses, certificates, way."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from seaway.app import files, identities, preflight
from seaway.app.options import (
    DNS_PORT,
    KUBELET_PORT,
    SANDBOX_NODE_IPS,
    UpOptions,
    apiserver_ip,
    check_loopback,
    dns_ip,
    loopback_node_ip,
)
from seaway.app.preflight import ALONE, HOST, NONE, SANDBOX
from seaway.net.errors import OperationalError
from seaway.net.family import Family
from seaway.net.loopback import LoopbackMap

FAMILIES = (Family.IPV4, Family.IPV6)
"""In the order of the flags' ranges."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that the pieces need to know, decided before the first fork."""

    options: UpOptions
    data: files.DataDir
    choice: preflight.Choice
    node_name: str
    node_ips: tuple[str, ...]
    """One per family, IPv4 first; none for an API server alone."""
    serving: identities.ServingFiles
    kubelet: identities.KubeletFiles
    upstreams: tuple[str, ...]

    @property
    def way(self) -> str:
        return self.choice.way

    @property
    def node_ip(self) -> str:
        """The primary one; empty for an API server alone."""
        return self.node_ips[0] if self.node_ips else ""

    @property
    def loopback(self) -> LoopbackMap | None:
        """Where addresses of the cluster are on this host; None: where they say."""
        return self.options.loopback_map if self.way == NONE else None

    def locate(self, address: str) -> str:
        """Where an address of the cluster is bound and dialled on this host."""
        return (self.loopback.to_loopback(address) if self.loopback is not None else None) or address

    @property
    def dns_address(self) -> str:
        """Where the DNS piece listens."""
        return self.locate(self.node_ip)

    @property
    def dns_place(self) -> str:
        """Where clients ask for names: the Service's address, or the piece itself where port 53 may not be bound."""
        service = self.locate(dns_ip(self.options))
        if self.loopback is None or preflight.may_bind(service, 53):
            return service
        return f"{self.dns_address}:{DNS_PORT}"

    @property
    def api_addresses(self) -> tuple[str, ...]:
        """Where the API server listens on this host: where it was told to, and where the node's address leads."""
        bind = self.options.bind_address
        if self.way not in (HOST, NONE) or ipaddress.ip_address(bind).is_unspecified:
            return (bind,)
        return tuple(dict.fromkeys((bind, self.locate(self.node_ip))))

    @property
    def url(self) -> str:
        """The API's address as a user of this host reaches it."""
        bind = self.options.bind_address
        host = "127.0.0.1" if bind in ("0.0.0.0", "::") else bind
        return f"https://{f'[{host}]' if ':' in host else host}:{self.options.secure_port}"


def make_plan(options: UpOptions, data: files.DataDir, choice: preflight.Choice) -> Plan:
    """Addresses, certificates and kubeconfigs. Raises OperationalError."""
    node_ips = _find_node_ips(options, choice.way)
    node_name = options.node_name or files.host_name()
    authority = identities.ensure_authority(data, wall_now=datetime.now(UTC))
    domain = options.cluster_domain
    names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{domain}"]
    addresses = {"127.0.0.1", "::1", apiserver_ip(options), *node_ips, options.bind_address} - {"", "0.0.0.0", "::"}
    if choice.way == NONE:
        addresses |= {moved for each in addresses if (moved := options.loopback_map.to_loopback(each))}
    serving = identities.ensure_serving(
        data, authority, names=[*names, "localhost", node_name], addresses=sorted(addresses)
    )
    kubelet = identities.ensure_kubelet(data, authority, node_name=node_name, addresses=node_ips)
    upstreams = find_upstreams(Path("/etc/resolv.conf"))
    plan = Plan(options, data, choice, node_name, node_ips, serving, kubelet, upstreams)
    identities.ensure_kubeconfigs(
        data, authority, server=plan.url, inside=f"https://{apiserver_ip(options)}:443", node_name=node_name
    )
    return plan


def _find_node_ips(options: UpOptions, way: str) -> tuple[str, ...]:
    families = FAMILIES[: len(options.service_cidrs)]
    if way == ALONE:
        return ()
    if way == NONE:
        check_loopback(options)
        node_ip = loopback_node_ip(options)
        preflight.check_node_place(options.loopback_map.to_loopback(node_ip) or node_ip, (KUBELET_PORT, DNS_PORT))
        return (node_ip,)
    if Family.IPV6 in families and not preflight.has_ipv6():
        raise OperationalError(
            f"{way}: no IPv6 found, needed for --service-cidr {options.service_cidrs[1]}; turn it on "
            "(sysctl net.ipv6.conf.all.disable_ipv6=0) or give IPv4 ranges alone"
        )
    if way == SANDBOX:
        return SANDBOX_NODE_IPS[: len(families)]
    preflight.check_ranges((*options.service_cidrs, *options.cluster_cidrs))
    return tuple(_find_host_address(family) for family in families)


def _find_host_address(family: Family) -> str:
    found = preflight.find_primary_address(family)
    if not found:
        raise OperationalError(
            f"host: no {family.value} address found, one needed for the node; add one or use --network sandbox"
        )
    return found


def find_upstreams(resolv_conf: Path) -> tuple[str, ...]:
    """The host's resolvers; none when the file is not there."""
    from seaway.dns.forwarding.upstreams import parse_resolv_conf

    try:
        return parse_resolv_conf(resolv_conf.read_text())
    except OSError:
        return ()
