"""Where frontends of Services are listened for: which sockets are wanted, and where each may be bound, in order.

A frontend of a cluster address is bound where that address is on this host: at its place on loopback, at the same port.
Ports below 1024 that a user may not bind, and hosts whose loopback has a single address, lead to other ports; these are
derived from what is served, so that they are the same after a restart if they are free.
Rule: issue of the userspace plane, part 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from seaway.api.service import served
from seaway.net.loopback import LoopbackMap
from seaway.proxy.forwarding import Forwarding, Frontend, ServiceForwarding, TrafficClass

HOST = "127.0.0.1"
PROTOCOLS = ("TCP", "UDP")


class Place(NamedTuple):
    """Where a socket is bound. Port 0: any that is free."""

    address: str
    port: int


class Listening(NamedTuple):
    """What one socket is for. at: the address that clients know, which of a node port is one of the host's."""

    service: str
    frontend: Frontend
    at: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """A socket, and where it may be, the best place first.

    Only a place that this host does not give (rights, addresses) is passed over for the next; one that somebody else
    has is waited for if it is the first, which is what clients know.
    """

    places: tuple[Place, ...]
    forwarding: Forwarding


def plan_listeners(
    service: ServiceForwarding, *, loopback: LoopbackMap | None, node_addresses: Iterable[str]
) -> tuple[dict[Listening, Wanted], tuple[str, ...]]:
    """The sockets of a Service, and a sentence for each frontend that has no place here.

    loopback: where addresses of the cluster are; None: addresses are bound as they are. node_addresses: the host's own
    that serve node ports, as they are bound. A frontend that refuses everybody has no socket: to connect is refused.
    """
    wanted: dict[Listening, Wanted] = {}
    unserved: list[str] = []
    for forwarding in service.forwardings:
        frontend = forwarding.frontend
        if frontend.protocol not in PROTOCOLS or frontend.last_port:
            unserved.append(_explain(frontend))
            continue
        if refuses_everybody(forwarding):
            continue
        if frontend.traffic_class is TrafficClass.NODE_PORT:
            for address in sorted(set(node_addresses)):
                wanted[Listening(service.service, frontend, address)] = Wanted(
                    (Place(address, frontend.port),), forwarding
                )
            continue
        bound = frontend.address if loopback is None else loopback.to_loopback(frontend.address)
        if bound is None:
            unserved.append(
                f"{frontend.traffic_class.value} {frontend.address} has no place on loopback: "
                f"addresses of {loopback.origin if loopback else ''} have one (--loopback-map)"
            )
            continue
        spare = served.derive_port(served.Frontend(frontend.address, frontend.port, frontend.protocol))
        places = [Place(bound, frontend.port)]
        if loopback is not None:
            places += [Place(bound, spare), Place(bound, 0), Place(HOST, spare), Place(HOST, 0)]
        wanted[Listening(service.service, frontend, frontend.address)] = Wanted(tuple(places), forwarding)
    return wanted, tuple(dict.fromkeys(unserved))


def refuses_everybody(forwarding: Forwarding) -> bool:
    """Nobody gets an endpoint by this frontend, wherever it comes from."""
    return not forwarding.endpoints and not forwarding.outside


def find_moved(bound: Mapping[Listening, Place], *, loopback: LoopbackMap | None) -> dict[Frontend, Place]:
    """The frontends that are served elsewhere than clients would look for them."""
    moved: dict[Frontend, Place] = {}
    for (_, frontend, at), place in bound.items():
        if frontend.traffic_class is TrafficClass.NODE_PORT:
            continue
        expected = Place((loopback.to_loopback(at) or at) if loopback else at, frontend.port)
        if place != expected:
            moved[frontend] = place
    return moved


def _explain(frontend: Frontend) -> str:
    if frontend.last_port:
        return (
            f"ports {frontend.port}-{frontend.last_port} of {frontend.address}: ranges of ports are the kernel's alone"
        )
    return (
        f"{frontend.address or 'node port'} {frontend.port}/{frontend.protocol}: TCP and UDP are served from user space"
    )
