"""Where Services are reached from this host when addresses of the cluster are on loopback, for `seaway status`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from seaway.api.registry import SERVICES
from seaway.api.service.served import SERVED_AT, Frontend, Place, parse_served_at
from seaway.api.service.types import Service
from seaway.app.files import DataDir
from seaway.app.pieces import connect
from seaway.net.loopback import LoopbackMap

NODE_PORT_ADDRESS = "127.0.0.1"


class Reached(msgspec.Struct, frozen=True):
    """A frontend of a Service, and where a client of this host dials it. `at` empty: nowhere on this host."""

    service: str
    frontend: str
    at: str


def list_reached(services: Iterable[Service], loopback: LoopbackMap, *, node_ip: str) -> list[Reached]:
    """Each cluster IP, external address and node port, sorted by Service. Rule: issue 9, 1."""
    found = []
    for service in sorted(services, key=lambda each: (each.metadata.namespace, each.metadata.name)):
        name = f"{service.metadata.namespace}/{service.metadata.name}"
        elsewhere = parse_served_at((service.metadata.annotations or {}).get(SERVED_AT, ""))
        for frontend in _list_frontends(service, node_ip):
            if frontend.address == node_ip:
                own: Place | None = (NODE_PORT_ADDRESS, frontend.port)
            else:
                moved = loopback.to_loopback(frontend.address)
                own = (moved, frontend.port) if moved is not None else None
            place = elsewhere.get(frontend, own)
            at = "" if place is None else f"{place[0]}:{place[1]}"
            found.append(Reached(name, f"{frontend.address}:{frontend.port}/{frontend.protocol}", at))
    return found


def _list_frontends(service: Service, node_ip: str) -> Iterator[Frontend]:
    spec = service.spec
    if spec.type == "ExternalName" or spec.cluster_ip in ("", "None"):
        return
    ingress = (each.ip for each in service.status.load_balancer.ingress if each.ip)
    for port in spec.ports:
        protocol = port.protocol or "TCP"
        for address in (spec.cluster_ip, *spec.external_ips, *ingress):
            yield Frontend(address, port.port, protocol)
        if port.node_port:
            yield Frontend(node_ip, port.node_port, protocol)


async def read_reached(data: DataDir, loopback: LoopbackMap, *, node_ip: str) -> list[Reached]:
    """The same of all Services that the API has now. Raises TransportError, ApiError."""
    client = connect(data.admin_kubeconfig, user_agent="seaway-status")
    try:
        page = await client.list(SERVICES)
        services = [msgspec.json.decode(raw, type=Service) for raw in page.items]
    finally:
        await client.close()
    return list_reached(services, loopback, node_ip=node_ip)
