"""What a proxy needs to know besides API objects."""

from __future__ import annotations

import enum
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from seaway.net.errors import OperationalError
from seaway.net.family import Family
from seaway.net.loopback import LoopbackMap


@dataclass(frozen=True, slots=True)
class ServiceRoutes:
    """Where nothing else leads to Services: a link that routes may name, and the source address of each family."""

    link: str
    sources: tuple[str, ...]


class ConfigError(OperationalError):
    """A configuration that cannot be used."""


class DetectLocal(enum.Enum):
    """How Pods are told from other sources. Rule: spec "proxy" §3.5."""

    CLUSTER_CIDR = "ClusterCIDR"
    NODE_CIDR = "NodeCIDR"
    BRIDGE_INTERFACE = "BridgeInterface"
    INTERFACE_NAME_PREFIX = "InterfaceNamePrefix"


@dataclass(frozen=True, slots=True)
class PodLinks:
    """The link that Pods come in by, or all whose names start so."""

    name: str
    is_prefix: bool = False

    def covers(self, link: str) -> bool:
        """What comes in by the link comes from a Pod."""
        return link.startswith(self.name) if self.is_prefix else link == self.name

    def __str__(self) -> str:
        return f"{self.name}*" if self.is_prefix else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyConfig:
    """Immutable settings of one proxy. Rule: spec "proxy" §3.5, §4.1."""

    node_name: str
    families: tuple[Family, ...] = (Family.IPV4, Family.IPV6)
    cluster_cidrs: tuple[str, ...] = ()
    """Pod ranges. A source inside is the cluster's own and keeps its address. Empty: no source is known to be."""
    detect_local: DetectLocal = DetectLocal.CLUSTER_CIDR
    """NODE_CIDR: `cluster_cidrs` are those of the Node object, which are followed."""
    pod_link: str = ""
    """The link, or the prefix of links, that Pods come in by, for the two modes that go by it."""
    node_ip: str = ""
    """The node's primary address of its family; "": as the Node object says."""
    masquerade_bit: int = 14
    service_cidrs: tuple[str, ...] = ()
    """Service ranges, besides those of ServiceCIDR objects, which are followed. New connections to an address in them
    that no Service has are dropped."""
    service_routes: ServiceRoutes | None = None
    """Routes to the Service ranges that the proxy keeps; None: they are the host's business."""
    node_port_addresses: tuple[str, ...] | None = None
    """CIDRs of the node's addresses that serve node ports; None: its primary address of each family."""
    masquerade_all: bool = False
    masquerade_outgoing: bool = False
    """Hide Pods behind the node towards addresses that are neither Pods nor Services."""
    counts_connections: bool = True
    """Count the new connections to each port of each Service, for `/metrics`."""
    serves_uplinks: bool = False
    """Forward for the cluster, and only for it, on links to other machines that do not forward yet."""
    uplink_state: Path | None = None
    """Where it is kept which links forward because of us; needed to serve uplinks, and to stop serving them."""
    plane: Literal["nftables", "userspace"] = "nftables"
    """Who serves Services: the kernel's rules, or this process, which then needs no rights."""
    loopback: LoopbackMap | None = None
    """Where addresses of the cluster are on a host that has no network for them; only for the userspace plane."""
    table: str = "seaway"
    host_name: str = ""
    """The host's own name, for Events; "": that of the Node."""
    healthz_address: tuple[str, int] | None = None
    """Where `/healthz` and `/livez` are; None: nowhere."""
    metrics_address: tuple[str, int] | None = None
    """Where `/metrics`, `/proxyMode` and `/configz` are; None: nowhere."""
    health_timeout_seconds: float = 60.0
    """How long a change may wait before the proxy is not well."""
    bind_address_hard_fail: bool = False
    """An address that is not free ends the proxy; else it is tried again and again."""
    oom_score: int | None = None
    """How late the kernel ends this process when memory is short; None: as it was."""
    sysctls: Mapping[str, int] | None = field(default=None, hash=False)
    """What is written under /proc/sys once at the start; None: the defaults."""
    sysctls_must_do: bool = False
    """A sysctl that cannot be set ends the proxy; else it is a warning."""
    configuration_file: Path | None = None
    """When its content changes, the proxy ends, for its supervisor to start it anew."""
    replaces: bool = False
    """Remove the tables of stock kube-proxy once our rules are in place; else they are left alone."""
    shown: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """The configuration in the form of KubeProxyConfiguration, for `/configz`."""

    def __post_init__(self) -> None:
        """Raises ConfigError for what no rule could be made of."""
        if self.serves_uplinks and self.uplink_state is None:
            raise ConfigError("serves_uplinks without uplink_state: what was changed could not be restored")
        if self.loopback is not None and self.plane != "userspace":
            raise ConfigError(f"loopback map {self.loopback} with the plane {self.plane}: rules have no use for it")
        if self.detect_local in _BY_LINK and not self.pod_link:
            raise ConfigError(f"{self.detect_local.value} without pod_link: no source would be a Pod")
        if self.detect_local in _BY_LINK and not is_link_name(self.pod_link):
            raise ConfigError(
                f"link {self.pod_link!r}: 1 to 15 letters, digits and _.@+=- allowed; rename it, or choose another"
                " --detect-local-mode"
            )
        for cidr in (*self.cluster_cidrs, *self.service_cidrs, *(self.node_port_addresses or ())):
            if not is_network(cidr):
                raise ConfigError(f"{cidr!r} is no CIDR; give one such as 10.244.0.0/16 or fd10:244::/56")
        if not 0 <= self.masquerade_bit <= 31:
            raise ConfigError(f"bit {self.masquerade_bit} of the mark: 0 to 31 allowed")

    @property
    def pod_links(self) -> PodLinks | None:
        """The links that Pods are known by; None: they are known by their addresses."""
        if self.detect_local not in _BY_LINK:
            return None
        return PodLinks(self.pod_link, self.detect_local is DetectLocal.INTERFACE_NAME_PREFIX)

    @property
    def first_view(self) -> NodeView:
        """What is known of the node before its object has been seen."""
        return NodeView(self.node_name, "", (self.node_ip,) if self.node_ip else (), fixed_address=self.node_ip)


_BY_LINK = (DetectLocal.BRIDGE_INTERFACE, DetectLocal.INTERFACE_NAME_PREFIX)


@dataclass(frozen=True, slots=True)
class NodeView:
    """What the data plane knows of its own node. `addresses`: at most one per family, the primary ones."""

    name: str
    zone: str = ""
    addresses: tuple[str, ...] = ()
    pod_cidrs: tuple[str, ...] = ()
    fixed_address: str = ""
    """One that stays, whatever the Node object says."""


@dataclass(frozen=True, slots=True)
class NodePortAddresses:
    """Which destinations serve node ports: all local but loopback, or exactly `addresses` (none when empty)."""

    is_all: bool = False
    addresses: tuple[str, ...] = ()


def choose_node_port_addresses(
    config: ProxyConfig, node: NodeView, family: Family, interface_addresses: tuple[str, ...] = ()
) -> NodePortAddresses:
    """The destinations of `family` that serve node ports, sorted; loopback is never among them.

    CIDRs none of which is of the family select every local address. `interface_addresses`: all of the host.
    Rule: spec "proxy" §4.1.
    """
    if config.node_port_addresses is None:
        return NodePortAddresses(addresses=tuple(sorted(a for a in node.addresses if _is_of(a, family))))
    parsed = (ipaddress.ip_network(cidr, strict=False) for cidr in config.node_port_addresses)
    networks = [n for n in parsed if _version(family) == n.version]
    if not networks or any(n.prefixlen == 0 for n in networks):
        return NodePortAddresses(is_all=True)
    inside = [
        a for a in interface_addresses if _is_of(a, family) and any(ipaddress.ip_address(a) in n for n in networks)
    ]
    return NodePortAddresses(addresses=tuple(sorted(set(inside))))


def networks_of(cidrs: tuple[str, ...], family: Family) -> tuple[str, ...]:
    """The networks of `family` in canonical form, in the given order."""
    networks = (ipaddress.ip_network(cidr, strict=False) for cidr in cidrs)
    return tuple(str(n) for n in networks if n.version == _version(family))


def config_at(config: ProxyConfig, node: NodeView) -> ProxyConfig:
    """With what the Node object says of the Pods' ranges, in the mode that asks it. Rule: spec "proxy" §3.5."""
    return replace(config, cluster_cidrs=node.pod_cidrs) if config.detect_local is DetectLocal.NODE_CIDR else config


# What nft reads back between quotes as it stands; a trailing asterisk would be a wildcard.
_LINK_NAME = re.compile(r"[A-Za-z0-9_.@+=-]{1,15}")


def is_link_name(text: str) -> bool:
    """Whether a rule can name such a link."""
    return _LINK_NAME.fullmatch(text) is not None


def is_network(text: str) -> bool:
    """Whether it is a CIDR of either family."""
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return "/" in text


def _version(family: Family) -> int:
    return 4 if family is Family.IPV4 else 6


def _is_of(address: str, family: Family) -> bool:
    parsed = ipaddress.ip_address(address)
    return parsed.version == _version(family) and not parsed.is_loopback
