"""What an API server is told at its start."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """`advertise_address` is where `default/kubernetes` points; None: that Service is not kept."""

    service_cidrs: tuple[str, ...] = ("10.96.0.0/16",)
    node_port_range: tuple[int, int] = (30000, 32767)
    """Both ends included, as written in upstream's flag."""
    external_ip_cidrs: tuple[str, ...] = ()
    """Where Services may have external IPs. Empty: nowhere."""
    cluster_domain: str = "cluster.local"
    advertise_address: str | None = None
    secure_port: int = 6443
    max_reads_in_flight: int = 400
    max_writes_in_flight: int = 200
    """Upstream's limits without priority and fairness (spec "api-machinery" §11)."""
