"""What an API server is told at its start."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from seaway.apiserver.admission.plugins import DEFAULT_PLUGINS


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """`advertise_address` is where `default/kubernetes` points; None: that Service is not kept."""

    service_cidrs: tuple[str, ...] = ("10.96.0.0/16",)
    node_port_range: tuple[int, int] = (30000, 32767)
    """Both ends included, as written in upstream's flag."""
    kubernetes_node_port: int = 0
    """The node port of `default/kubernetes`; 0: it has none."""
    external_ip_cidrs: tuple[str, ...] = ()
    """Where Services may have external IPs. Empty: nowhere."""
    admission_plugins: frozenset[str] = DEFAULT_PLUGINS
    """What works of `admission/plugins.py`, by name."""
    cluster_domain: str = "cluster.local"
    advertise_address: str | None = None
    secure_port: int = 6443
    max_reads_in_flight: int = 400
    max_writes_in_flight: int = 200
    """Upstream's limits without priority and fairness (spec "api-machinery" §11)."""

    @property
    def families(self) -> tuple[str, ...]:
        """The IP families of the cluster, the primary first. Raises ValueError for two ranges of one family."""
        families = tuple(f"IPv{ipaddress.ip_network(cidr).version}" for cidr in self.service_cidrs)
        if len(set(families)) != len(families):
            raise ValueError(f"service ranges {', '.join(self.service_cidrs)}: at most one per IP family")
        return families
