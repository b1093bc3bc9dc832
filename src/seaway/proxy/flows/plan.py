"""Which flows that conntrack holds are to be forgotten.

A flow keeps the endpoint that its first packet got. UDP has no end, so a busy client would go on sending to an endpoint
that is gone; its flow is stale, and so is one that began before there was a rule and was never translated. A TCP client
finds out by itself, sooner or later; with `seaway.dev/reset-after` its flow is forgotten that long after the endpoint
has gone: its next packet meets another endpoint, which resets the connection.

What is judged is the state, not the change: the flows as they are, against who may answer now. Only flows to addresses
that Services have, or had a moment ago, are looked at, so that a healthy flow is never touched.
Rule: spec "proxy" §6.1, with the advice of §14: a node port counts only where the flow was sent to this host, and
changes of Services count like changes of endpoints, their deletion and the loss of the last endpoint included.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from seaway.proxy.forwarding import Forwarding, ServiceForwarding, Target, TrafficClass

T = TypeVar("T")


class Span(NamedTuple):
    """Destinations of a range: the ports from first to last, which are kept when they are translated."""

    address: str
    first: int
    last: int
    except_ports: tuple[int, ...] = ()

    def contains(self, destination: Target) -> bool:
        return (
            destination.address == self.address
            and self.first <= destination.port <= self.last
            and destination.port not in self.except_ports
        )


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow as conntrack holds it: what the client sent to, and who answers. `raw` deletes it."""

    destination: Target
    answering: Target
    protocol: str = "UDP"
    source: Target | None = None
    raw: bytes = field(default=b"", compare=False, repr=False)

    @property
    def is_translated(self) -> bool:
        """Somebody else answers than was asked."""
        return self.answering != self.destination


Destination = Target | Span
Served = Mapping[Destination, frozenset[Target]]
"""Destination → who may answer; nobody, when the set is empty. A node port stands under no address.
Who answers for a span stands there with the span's first port."""


@dataclass(frozen=True, slots=True)
class FlowDuties:
    """UDP destinations whose flows are to be looked at. unclaimed: networks in which all others have no Service."""

    udp: Served = field(default_factory=dict)
    unclaimed: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not self.udp and not self.unclaimed


@dataclass(frozen=True, slots=True)
class Resettable:
    """A TCP destination whose flows end `after_seconds` after their endpoint has gone."""

    answers: frozenset[Target]
    after_seconds: float


def collect_duties(
    changed: Iterable[tuple[ServiceForwarding | None, ServiceForwarding | None]], *, unclaimed: tuple[str, ...] = ()
) -> FlowDuties:
    """What these changes (before, after) mean for UDP flows; destinations whose endpoints are the same are left out."""
    duties: dict[Destination, frozenset[Target]] = {}
    for before, after in changed:
        had, has = _served(before, "UDP"), _served(after, "UDP")
        for destination in (*(had.keys() - has.keys()), *has):
            if had.get(destination) != has.get(destination):
                duties[destination] = has.get(destination, frozenset())
    return FlowDuties(duties, unclaimed)


def merge_duties(before: FlowDuties | None, after: FlowDuties) -> FlowDuties:
    """Both; where both speak of a destination, the later one is right."""
    if before is None:
        return after
    return FlowDuties(
        {**{k: v for k, v in before.udp.items() if k not in after.udp}, **after.udp},
        before.unclaimed or after.unclaimed,
    )


def collect_resettable(service: ServiceForwarding) -> dict[Destination, Resettable]:
    """The TCP destinations of a Service that wants its flows reset; none for others.

    A connection that the userspace plane holds is that plane's to end: its flow leads to a listener, to no endpoint.
    """
    after = service.reset_after_seconds
    if after is None or service.asks_userspace:
        return {}
    return {destination: Resettable(answers, after) for destination, answers in _served(service, "TCP").items()}


def choose_stale(flows: Iterable[Flow], duties: FlowDuties, local_addresses: Collection[str] = ()) -> tuple[Flow, ...]:
    """The UDP flows that somebody answers who may not.

    local_addresses: of the host; a node port is asked at one of them.
    """
    networks = tuple(map(ipaddress.ip_network, duties.unclaimed))
    local = frozenset(local_addresses)
    spans = _list_spans(duties.udp)
    return tuple(f for f in flows if f.protocol == "UDP" and _is_stale(f, duties.udp, spans, networks, local))


def plan_resets(
    flows: Iterable[Flow],
    resettable: Mapping[Destination, Resettable],
    waiting: Mapping[Flow, float],
    *,
    now: float,
    local_addresses: Collection[str] = (),
) -> tuple[tuple[Flow, ...], dict[Flow, float]]:
    """The TCP flows to be forgotten now, and those that wait, each with its time.

    waiting: what the call before returned; a flow whose endpoint came back waits no longer. now: monotonic seconds.
    """
    local = frozenset(local_addresses)
    spans = _list_spans(resettable)
    due: list[Flow] = []
    later: dict[Flow, float] = {}
    for flow in flows:
        if flow.protocol != "TCP" or not flow.is_translated:
            continue
        key = _find(resettable, spans, flow.destination, local)
        if key is None or _answers(flow, key) in resettable[key].answers:
            continue
        found = resettable[key]
        ends_at = min(waiting.get(flow, now + found.after_seconds), now + found.after_seconds)
        if ends_at <= now:
            due.append(flow)
        else:
            later[flow] = ends_at
    return tuple(due), later


def _is_stale(
    flow: Flow,
    served: Served,
    spans: tuple[Span, ...],
    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...],
    local: frozenset[str],
) -> bool:
    key = _find(served, spans, flow.destination, local)
    if key is not None:
        answers = served[key]
        return _answers(flow, key) not in answers and (flow.is_translated or bool(answers))
    if not flow.is_translated or not networks:
        return False
    address = ipaddress.ip_address(flow.destination.address)
    return any(address in network for network in networks)


def _list_spans(table: Mapping[Destination, T]) -> tuple[Span, ...]:
    return tuple(key for key in table if isinstance(key, Span))


def _find(
    table: Mapping[Destination, T], spans: tuple[Span, ...], destination: Target, local: frozenset[str]
) -> Destination | None:
    """What the destination stands under. Of two spans, the one that was and the one that is, the latter counts."""
    if destination in table:
        return destination
    if destination.address in local and (node_port := Target("", destination.port)) in table:
        return node_port
    return next((span for span in reversed(spans) if span.contains(destination)), None)


def _answers(flow: Flow, key: Destination) -> Target:
    """Who answers, as it stands in a table: what a span translates keeps its port."""
    if not isinstance(key, Span):
        return flow.answering
    keeps_port = flow.answering.port == flow.destination.port
    return Target(flow.answering.address, key.first) if keeps_port else Target(flow.answering.address, 0)


def _served(service: ServiceForwarding | None, protocol: str) -> dict[Destination, frozenset[Target]]:
    return {
        _name_destination(f): frozenset(f.serving)
        for f in (service.forwardings if service is not None else ())
        if f.frontend.protocol == protocol
    }


def _name_destination(f: Forwarding) -> Destination:
    frontend = f.frontend
    if frontend.last_port:
        return Span(frontend.address, frontend.port, frontend.last_port, f.except_ports)
    return Target("" if frontend.traffic_class is TrafficClass.NODE_PORT else frontend.address, frontend.port)
