"""Where a Service is served on a host without a network for it: an annotation says which ports are elsewhere.

`10.96.0.10:80/TCP=127.96.0.10:31514`, one entry per frontend that differs, with commas between. What is not named is
served at its own port, on the loopback address of its own (`net/loopback.py`).
"""

from __future__ import annotations

import ipaddress
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from seaway.api.service.types import Service, ServicePort
from seaway.net.loopback import LOOPBACK, LoopbackMap

SERVED_AT = "seaway.dev/served-at"
MAX_PORT = 65535
SPARE_PORTS = (40000, 20000)
"""The first of the ports that are derived, and how many: above node ports, with the kernel's own beside them."""

Place = tuple[str, int]
"""Address and port."""


@dataclass(frozen=True, slots=True, order=True)
class Frontend:
    """What clients know a Service by."""

    address: str
    port: int
    protocol: str = "TCP"


def encode_served_at(places: Mapping[Frontend, Place]) -> str:
    """The annotation's value, sorted; "" for nothing."""
    return ",".join(
        f"{frontend.address}:{frontend.port}/{frontend.protocol}={address}:{port}"
        for frontend, (address, port) in sorted(places.items())
    )


def parse_served_at(text: str) -> dict[Frontend, Place]:
    """What the annotation says. Anybody who may write a Service may write it: what makes no sense is left out, and so
    is a place that is not on loopback.
    """
    found = {}
    for entry in text.split(","):
        name, _, where = entry.strip().partition("=")
        name, _, protocol = name.partition("/")
        frontend, place = _parse_place(name), _parse_place(where)
        if frontend is not None and place is not None and ipaddress.IPv4Address(place[0]) in LOOPBACK:
            found[Frontend(*frontend, protocol or "TCP")] = place
    return found


def _parse_place(text: str) -> Place | None:
    address, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) <= MAX_PORT):
        return None
    try:
        return str(ipaddress.IPv4Address(address)), int(port)
    except ValueError:
        return None


def derive_port(frontend: Frontend) -> int:
    """A port that is the frontend's own, most likely, and always the same: where it is served if its own may not be."""
    first, count = SPARE_PORTS
    return first + zlib.crc32(f"{frontend.address} {frontend.protocol} {frontend.port}".encode()) % count


def find_place(service: Service, port: ServicePort, loopback: LoopbackMap, *, first_free_port: int = 0) -> Place:
    """Where a client on this host reaches the port by the cluster IP; as it is where loopback has no place for it.

    first_free_port: what everybody may bind begins there. A Service is annotated when it has endpoints; before that, a
    port below is expected where it will be served.
    """
    frontend = Frontend(service.spec.cluster_ip, port.port, port.protocol or "TCP")
    elsewhere = parse_served_at((service.metadata.annotations or {}).get(SERVED_AT, ""))
    address = loopback.to_loopback(frontend.address)
    if address is None:
        return elsewhere.get(frontend, (frontend.address, port.port))
    expected = port.port if port.port >= first_free_port else derive_port(frontend)
    return elsewhere.get(frontend, (address, expected))
