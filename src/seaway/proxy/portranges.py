"""Ranges of ports: what a Service asks for with an annotation, beside the ports that the API knows.

`rtp=30000-30100` (or `30000-30100`, of the port without a name) serves all these ports on the cluster IP, external IPs
and load balancer IPs of the Service, each at the same port of an endpoint. nftables keeps a port or sets one, but
cannot shift it; so a range starts at the Service's port, and only endpoints that listen on that very number serve it.
A Service has one range for each protocol: its clients are remembered by address and protocol.
Rule: issue of the proxy, part 3 (upstream has no ranges).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from seaway.api.service.types import ServicePort

ANNOTATION_PORT_RANGE = "seaway.dev/port-range"
MAX_PORT = 65535
_PIECE = re.compile(r"(?:([a-z0-9-]{1,63})=)?([0-9]{1,5})-([0-9]{1,5})", re.ASCII)


def parse_port_ranges(
    annotations: Mapping[str, str], ports: Sequence[ServicePort]
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Port name → the last port of its range; and why other ranges are refused, a reason each."""
    text = annotations.get(ANNOTATION_PORT_RANGE)
    if text is None:
        return {}, ()
    by_name = {port.name: port for port in ports}
    ranges: dict[str, int] = {}
    refusals: list[str] = []
    for piece in text[:2000].split(","):
        problem = _judge(piece.strip(), by_name, ranges)
        if problem:
            refusals.append(f"{ANNOTATION_PORT_RANGE}: {piece.strip()[:80]!r}: {problem}")
    return ranges, tuple(refusals)


def _judge(piece: str, by_name: Mapping[str, ServicePort], ranges: dict[str, int]) -> str:
    """Puts a good range into `ranges`; why the piece is refused, or ""."""
    found = _PIECE.fullmatch(piece)
    if found is None:
        return "NAME=FIRST-LAST or FIRST-LAST allowed"
    name, first, last = found[1] or "", int(found[2]), int(found[3])
    port = by_name.get(name)
    if port is None:
        return f"the Service has no port {name!r}" if name else "the Service has no port without a name"
    if first != port.port:
        return f"the range must start at the Service's port {port.port}"
    if not first <= last <= MAX_PORT:
        return f"the last port must be from {first} to {MAX_PORT}"
    if any(by_name[other].protocol == port.protocol for other in ranges):
        return f"the Service has a range of {port.protocol} already"
    ranges[name] = last
    return ""
