"""What `seaway up` was asked for, and the addresses that follow from it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from seaway.net.errors import OperationalError

# Private, and in neither default range; only ever on a dummy link inside a sandbox.
SANDBOX_NODE_IP = "10.95.0.1"
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
    grace_seconds: float = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class UpOptions:
    """The flags of `seaway up`, checked by `check_options`."""

    data_dir: Path
    network: str | None = None
    node_name: str = ""
    service_cidr: str = "10.96.0.0/16"
    second_service_cidr: str = ""
    """Of the other family, for an API server alone: the rest of a host knows IPv4."""
    cluster_cidr: str = "10.244.0.0/16"
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


def check_options(options: UpOptions) -> None:
    """Raises OperationalError with the flag, what was found and what is allowed."""
    service = parse_range("--service-cidr", options.service_cidr, longest=28)
    if options.second_service_cidr:
        _check_second_range(options.second_service_cidr)
    cluster = parse_range("--cluster-cidr", options.cluster_cidr, longest=24)
    if service.overlaps(cluster):
        raise OperationalError(
            f"--service-cidr {service} and --cluster-cidr {cluster} overlap; choose ranges that do not"
        )
    for text in options.external_ip_cidrs:
        _check_external_range(text)
    try:
        inside = ipaddress.ip_address(dns_ip(options)) in service
    except ValueError:
        inside = False
    if not inside:
        raise OperationalError(f"--dns-ip {options.dns_ip}: not in the service range {service}; choose one inside")


def parse_range(flag: str, text: str, *, longest: int) -> ipaddress.IPv4Network:
    """An IPv4 range of at least the size of a /longest. Raises OperationalError."""
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError as error:
        raise OperationalError(f"{flag} {text}: {error}; give an IPv4 range like 10.96.0.0/16") from error
    if network.prefixlen > longest:
        raise OperationalError(f"{flag} {text}: /{network.prefixlen} found, /{longest} or wider needed")
    return network


def _check_second_range(text: str) -> None:
    """An IPv6 range of 8 addresses to a /64: a wider one yields no addresses. Raises OperationalError."""
    allowed = "give one IPv4 and then one IPv6 range, like 10.96.0.0/16,fd10:96::/112"
    try:
        network = ipaddress.IPv6Network(text)
    except ValueError as error:
        raise OperationalError(f"--service-cidr {text}: {error}; {allowed}") from error
    if not 64 <= network.prefixlen <= 125:
        raise OperationalError(f"--service-cidr {text}: /{network.prefixlen} found, /64 to /125 needed")


def _check_external_range(text: str) -> None:
    """A range of either family and of any size. Raises OperationalError."""
    try:
        ipaddress.ip_network(text)
    except ValueError as error:
        raise OperationalError(f"--external-ip-cidrs {text}: {error}; give ranges like 192.0.2.0/24") from error


def dns_ip(options: UpOptions) -> str:
    """The asked one, else the tenth address of the service range (as kubeadm does)."""
    return options.dns_ip or str(ipaddress.IPv4Network(options.service_cidr)[10])


def pod_cidr(options: UpOptions) -> str:
    """The first /24 of the cluster range: this host's Pods."""
    network = ipaddress.IPv4Network(options.cluster_cidr)
    return str(next(network.subnets(new_prefix=24)))


def apiserver_ip(options: UpOptions) -> str:
    """The first address of the service range: the Service `kubernetes`."""
    return str(ipaddress.IPv4Network(options.service_cidr)[1])
