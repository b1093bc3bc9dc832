"""Which UDP flows are to be forgotten, because their endpoint is gone or they were never translated.

Rule: spec "proxy" §6.1, with the advice of §14: a node port counts only where the flow was sent to this node, and
changes of Services count like changes of endpoints.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from seaway.proxy.forwarding import ServiceForwarding, Target, TrafficClass


@dataclass(frozen=True, slots=True)
class Flow:
    """A UDP flow as conntrack holds it: what the client sent to, and who answers. `raw` deletes it."""

    destination: Target
    answering: Target
    raw: bytes = field(default=b"", compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ServedUdp:
    """Destinations → endpoints that may answer. A node port stands under each address of the node."""

    by_destination: dict[Target, frozenset[Target]]


def collect_udp(forwardings: Iterable[ServiceForwarding], node_addresses: Iterable[str]) -> ServedUdp:
    """The UDP destinations of these Services. One without a serving endpoint is left out: its flows stay."""
    addresses = tuple(node_addresses)
    served: dict[Target, frozenset[Target]] = {}
    for service in forwardings:
        for f in service.forwardings:
            if f.frontend.protocol != "UDP" or not f.serving:
                continue
            is_node_port = f.frontend.traffic_class is TrafficClass.NODE_PORT
            for address in addresses if is_node_port else (f.frontend.address,):
                served[Target(address, f.frontend.port)] = frozenset(f.serving)
    return ServedUdp(served)


def has_udp_change(before: ServiceForwarding | None, after: ServiceForwarding | None) -> bool:
    """A flow may have lost its endpoint, or have started before there was one."""
    return _udp(before) != _udp(after) and bool(_udp(after))


def choose_stale(flows: Iterable[Flow], served: ServedUdp) -> tuple[Flow, ...]:
    """The flows to a served destination that somebody else answers."""
    return tuple(
        flow
        for flow in flows
        if (allowed := served.by_destination.get(flow.destination)) is not None and flow.answering not in allowed
    )


def _udp(forwarding: ServiceForwarding | None) -> tuple[tuple[object, tuple[Target, ...]], ...]:
    if forwarding is None:
        return ()
    return tuple((f.frontend, f.serving) for f in forwarding.forwardings if f.frontend.protocol == "UDP")
