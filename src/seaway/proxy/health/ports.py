"""The health-check ports of Services: which are wanted, and what they answer. Rule: spec "proxy" §7.1."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from seaway.net.family import Family
from seaway.proxy.config import NodePortAddresses
from seaway.proxy.forwarding import ServiceForwarding
from seaway.telemetry.page import Answer

JSON = "application/json"
Key = tuple[Family, str]


@dataclass(frozen=True, slots=True)
class HealthPort:
    """One Service's port in one family: the addresses to listen on, and the endpoints that are here."""

    service: str
    family: Family
    port: int
    addresses: tuple[str, ...]
    local_ready: int

    @property
    def place(self) -> tuple[int, tuple[str, ...]]:
        """What makes it open anew when it differs."""
        return self.port, self.addresses


def plan_health_ports(
    forwardings: Iterable[ServiceForwarding], node_ports: NodePortAddresses, family: Family
) -> dict[Key, HealthPort]:
    """The ports to listen on in one family: where node ports are served."""
    everywhere = "0.0.0.0" if family is Family.IPV4 else "::"
    addresses = (everywhere,) if node_ports.is_all else node_ports.addresses
    return {
        (family, f.service): HealthPort(f.service, family, f.health_port, addresses, f.local_ready)
        for f in forwardings
        if f.health_port
    }


def answer_health_port(service: str, local_ready: int, *, is_proxy_healthy: bool) -> Answer:
    """What the port says, whatever is asked."""
    namespace, _, name = service.partition("/")
    told = {
        "service": {"namespace": namespace, "name": name},
        "localEndpoints": local_ready,
        "serviceProxyHealthy": is_proxy_healthy,
    }
    return Answer(
        200 if local_ready and is_proxy_healthy else 503,
        json.dumps(told, indent="\t").encode(),
        JSON,
        headers=(("X-Load-Balancing-Endpoint-Weight", str(local_ready)),),
    )


def explain_failure(node_name: str, wanted: HealthPort, reason: str) -> str:
    """The note of the event FailedToStartServiceHealthcheck."""
    return f'node {node_name} failed to start healthcheck "{wanted.service}" on port {wanted.port}: {reason}'
