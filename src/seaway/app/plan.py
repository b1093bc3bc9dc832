"""What one `up` (or one API server alone) is, decided before any fork: directory, addresses, certificates, way."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from seaway.app import files, preflight
from seaway.app.options import SANDBOX_NODE_IP, UpOptions, apiserver_ip
from seaway.app.preflight import NONE, SANDBOX
from seaway.net.errors import OperationalError


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that the pieces need to know, decided before the first fork."""

    options: UpOptions
    data: files.DataDir
    choice: preflight.Choice
    node_name: str
    node_ip: str
    """Empty without a network of ours."""
    serving: files.ServingFiles
    kubelet: files.KubeletFiles
    upstreams: tuple[str, ...]

    @property
    def way(self) -> str:
        return self.choice.way

    @property
    def dns_address(self) -> str:
        """Where the DNS piece listens."""
        return self.node_ip or "127.0.0.1"

    @property
    def url(self) -> str:
        """The API's address as a user of this host reaches it."""
        bind = self.options.bind_address
        host = "127.0.0.1" if bind in ("0.0.0.0", "::") else bind
        return f"https://{f'[{host}]' if ':' in host else host}:{self.options.secure_port}"


def make_plan(options: UpOptions, data: files.DataDir, choice: preflight.Choice) -> Plan:
    """Addresses, certificates and kubeconfigs. Raises OperationalError."""
    node_ip = _find_node_ip(options, choice.way)
    node_name = options.node_name or files.host_name()
    authority = files.ensure_authority(data, wall_now=datetime.now(UTC))
    domain = options.cluster_domain
    names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{domain}"]
    addresses = {"127.0.0.1", "::1", apiserver_ip(options), node_ip, options.bind_address} - {"", "0.0.0.0", "::"}
    serving = files.ensure_serving(data, authority, names=[*names, "localhost", node_name], addresses=sorted(addresses))
    kubelet = files.ensure_kubelet(data, authority, node_name=node_name, addresses=[node_ip] if node_ip else [])
    upstreams = find_upstreams(Path("/etc/resolv.conf"))
    plan = Plan(options, data, choice, node_name, node_ip, serving, kubelet, upstreams)
    files.ensure_kubeconfigs(
        data, authority, server=plan.url, inside=f"https://{apiserver_ip(options)}:443", node_name=node_name
    )
    return plan


def _find_node_ip(options: UpOptions, way: str) -> str:
    if way == SANDBOX:
        return SANDBOX_NODE_IP
    if way == NONE:
        return ""
    preflight.check_ranges((options.service_cidr, options.cluster_cidr))
    found = preflight.find_primary_address()
    if not found:
        raise OperationalError("host: no IPv4 address found, one needed for the node; add one or use --network sandbox")
    return found


def find_upstreams(resolv_conf: Path) -> tuple[str, ...]:
    """The host's resolvers; none when the file is not there."""
    from seaway.dns.upstreams import parse_resolv_conf

    try:
        return parse_resolv_conf(resolv_conf.read_text())
    except OSError:
        return ()
