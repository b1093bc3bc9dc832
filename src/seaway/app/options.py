"""What `seaway up` was asked for, and the addresses that follow from it."""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from seaway.api.machinery.ports import parse_port_range
from seaway.apiserver.admission.plugins import DEFAULT_PLUGINS
from seaway.net.errors import OperationalError
from seaway.net.loopback import DEFAULT_MAP, LoopbackMap

# Private, and in no default range; only ever on a dummy link inside a sandbox, or served on loopback.
SANDBOX_NODE_IPS = ("10.95.0.1", "fd10:95::1")
KUBELET_PORT = 10250
DNS_PORT = 10053
"""Where the DNS piece listens on the node's address: port 53 may be taken there; the Service maps 53 to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiOptions:
    """The flags that only the API server has. Log files: empty for none, `-` for standard output.

    grace_seconds: for requests at work when it stops; `up` promises to end within 5 s with all its pieces.
    """

    access_log: str = ""
    audit_log_path: str = ""
    audit_policy_file: Path | None = None
    audit_level: str = "Metadata"
    shutdown_delay_seconds: float = 0.0
    admission_plugins: frozenset[str] = DEFAULT_PLUGINS
    node_port_range: tuple[int, int] = (30000, 32767)
    kubernetes_node_port: int = 0
    grace_seconds: float = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class UpOptions:
    """The flags of `seaway up`, checked by `check_options`.

    Ranges: one of IPv4, and with two families one of IPv6 after it. loopback_map: where addresses are served without a
    network of ours.
    """

    data_dir: Path
    network: str | None = None
    node_name: str = ""
    loopback_map: LoopbackMap = DEFAULT_MAP
    service_cidrs: tuple[str, ...] = ("10.96.0.0/16",)
    cluster_cidrs: tuple[str, ...] = ("10.244.0.0/16",)
    external_ip_cidrs: tuple[str, ...] = ()
    cluster_domain: str = "cluster.local"
    dns_ip: str = ""
    secure_port: int = 6443
    bind_address: str = ""
    ready_file: Path | None = None
    api: ApiOptions = ApiOptions()
    token_auth_file: Path | None = None
    anonymous_auth: bool = True
    requestheader_client_ca_file: Path | None = None
    requestheader_allowed_names: tuple[str, ...] = ()


def check_node_ports(text: str, kubernetes: int) -> tuple[int, int]:
    """The range of node ports, which the one of `default/kubernetes` is in, if it has one. Raises OperationalError.

    Rule: spec "service-api" §5.1 (texts).
    """
    try:
        first, last = parse_port_range(text)
    except ValueError as error:
        raise OperationalError(f"--service-node-port-range: {error}; give one like 30000-32767") from None
    if kubernetes and not first <= kubernetes <= last:
        raise OperationalError(f"kubernetes service node port range {first}-{last} doesn't contain {kubernetes}")
    return first, last


def check_options(options: UpOptions) -> None:
    """Raises OperationalError with the flag, what was found and what is allowed."""
    services = _parse_ranges("--service-cidr", options.service_cidrs, v4=(0, 28), v6=(64, 125))
    pods = _parse_ranges("--cluster-cidr", options.cluster_cidrs, v4=(0, 24), v6=(0, 120))
    for service in services:
        for cluster in pods:
            if service.version == cluster.version and service.overlaps(cluster):
                raise OperationalError(
                    f"--service-cidr {service} and --cluster-cidr {cluster} overlap; choose ranges that do not"
                )
    for text in options.external_ip_cidrs:
        _check_external_range(text)
    try:
        inside = ipaddress.ip_address(dns_ip(options)) in services[0]
    except ValueError:
        inside = False
    if not inside:
        raise OperationalError(f"--dns-ip {options.dns_ip}: not in the service range {services[0]}; choose one inside")


def check_families(options: UpOptions) -> None:
    """Services and Pods have the same families where there are both. Raises OperationalError."""
    if len(options.service_cidrs) != len(options.cluster_cidrs):
        raise OperationalError(
            f"--service-cidr {','.join(options.service_cidrs)} and --cluster-cidr {','.join(options.cluster_cidrs)}: "
            "one family and two found; give both of them an IPv6 range, or neither"
        )


def check_loopback(options: UpOptions) -> None:
    """Without a network of ours every address of a Service or Pod has a place on loopback. Raises OperationalError."""
    for flag, cidrs in (("--service-cidr", options.service_cidrs), ("--cluster-cidr", options.cluster_cidrs)):
        for cidr in cidrs:
            if ":" in cidr:
                raise OperationalError(
                    f"{flag} {cidr}: IPv6 found; with --network none there is IPv4 alone, since loopback has a single "
                    "IPv6 address; give IPv4 ranges, or another --network"
                )
            try:
                options.loopback_map.range_to_loopback(ipaddress.IPv4Network(cidr))
            except ValueError as error:
                raise OperationalError(f"{flag}: {error}; choose another, or another --loopback-map") from None
    loopback_node_ip(options)


def loopback_node_ip(options: UpOptions) -> str:
    """The node's address without a network of ours: a sandbox's, or the first that the map has beside the ranges.

    Objects cannot hold a loopback address, so it is one of the map. Raises OperationalError.
    """
    usual, loopback = ipaddress.IPv4Address(SANDBOX_NODE_IPS[0]), options.loopback_map
    taken = [ipaddress.IPv4Network(cidr) for cidr in (*options.service_cidrs, *options.cluster_cidrs)]
    origin = loopback.origin
    subnets = origin.subnets(new_prefix=max(24, origin.prefixlen))
    candidates = itertools.chain((usual,), (subnet[1] for subnet in itertools.islice(subnets, 1 << 16)))
    for address in candidates:
        if loopback.to_loopback(str(address)) and not any(address in network for network in taken):
            return str(address)
    raise OperationalError(
        f"--loopback-map {loopback}: Services and Pods have all of it, and the node needs an address; give a larger one"
    )


Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_MAKERS: tuple[Callable[[str], Network], ...] = (ipaddress.IPv4Network, ipaddress.IPv6Network)


def _parse_ranges(flag: str, texts: tuple[str, ...], *, v4: tuple[int, int], v6: tuple[int, int]) -> list[Network]:
    """v4, v6: the shortest and the longest prefix. Raises OperationalError."""
    name = flag.removeprefix("--").partition("-")[0]
    example = {"service": "10.96.0.0/16,fd10:96::/112", "cluster": "10.244.0.0/16,fd10:244::/56"}[name]
    allowed = f"give an IPv4 range, or one IPv4 and then one IPv6 range, like {example}"
    found: list[Network] = []
    if not 1 <= len(texts) <= 2:
        raise OperationalError(f"{flag} {','.join(texts)}: {len(texts)} ranges found; {allowed}")
    for text, make, (shortest, longest) in zip(texts, _MAKERS, (v4, v6), strict=False):
        try:
            network = make(text)
        except ValueError as error:
            raise OperationalError(f"{flag} {text}: {error}; {allowed}") from error
        if not shortest <= network.prefixlen <= longest:
            raise OperationalError(f"{flag} {text}: /{network.prefixlen} found, /{shortest} to /{longest} needed")
        found.append(network)
    return found


def _check_external_range(text: str) -> None:
    """A range of either family and of any size. Raises OperationalError."""
    try:
        ipaddress.ip_network(text)
    except ValueError as error:
        raise OperationalError(f"--external-ip-cidrs {text}: {error}; give ranges like 192.0.2.0/24") from error


def dns_ip(options: UpOptions) -> str:
    """The asked one, else the tenth address of the first service range (as kubeadm does)."""
    return options.dns_ip or str(ipaddress.IPv4Network(options.service_cidrs[0])[10])


def pod_cidrs(options: UpOptions) -> tuple[str, ...]:
    """This host's Pods: the first /24 of the cluster's range, and the first /64, or all that there is of it."""
    networks = [ipaddress.ip_network(cidr) for cidr in options.cluster_cidrs]
    lengths = [max(network.prefixlen, 24 if network.version == 4 else 64) for network in networks]
    return tuple(str(next(n.subnets(new_prefix=length))) for n, length in zip(networks, lengths, strict=True))


def apiserver_ip(options: UpOptions) -> str:
    """The first address of the first service range: the Service `kubernetes`."""
    return str(ipaddress.IPv4Network(options.service_cidrs[0])[1])
