"""What all listeners of the plane share, and what is known of one port of a Service while connections to it live."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from seaway.net.loopback import LoopbackMap
from seaway.proxy.connectionpolicy import DEFAULT, ConnectionPolicy
from seaway.proxy.counting.plan import Port
from seaway.proxy.forwarding import Forwarding, Target
from seaway.proxy.userspace.choose import PortChoice

if TYPE_CHECKING:
    from seaway.proxy.userspace.connections.forward import Connection

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(slots=True, eq=False)
class ServedPort:
    """One port of a Service: how its endpoints are chosen, and the connections that are there."""

    name: Port
    choice: PortChoice
    policy: ConnectionPolicy = DEFAULT
    linger_seconds: float = 0.0
    """How long connections may go on whose endpoint has gone."""
    usable: frozenset[Target] = frozenset()
    """Endpoints that connections may stay with: those that are chosen from, and those that terminate but serve."""
    connections: dict[Target, set[Connection]] = field(default_factory=dict)
    leaving: dict[Target, float] = field(default_factory=dict)
    """Endpoints that have gone, and when their connections end, in monotonic seconds."""

    @property
    def service(self) -> str:
        """Its key."""
        return f"{self.name[0]}/{self.name[1]}"

    def follow(self, forwardings: Iterable[Forwarding], now: float) -> None:
        """The forwardings of its frontends are these now."""
        listed = tuple(forwardings)
        self.choice.follow(listed, self.policy, now)
        self.usable = frozenset(
            target for f in listed for targets in (f.endpoints, f.outside or (), f.serving) for target in targets
        )
        for target in self.connections:
            if target in self.usable:
                self.leaving.pop(target, None)
            else:
                self.leaving.setdefault(target, now + self.linger_seconds)

    def take_ended(self, now: float) -> list[Connection]:
        """The connections whose time is over because their endpoint has gone."""
        over = [target for target, until in self.leaving.items() if until <= now]
        ended: list[Connection] = []
        for target in over:
            del self.leaving[target]
            ended.extend(self.connections.get(target, ()))
        return ended

    def next_end(self) -> float | None:
        """When connections end next; None: none do."""
        return min(self.leaving.values(), default=None)


@dataclass(slots=True)
class Neighbours:
    """Who is who among clients, as the forwarding model asks it."""

    loopback: LoopbackMap | None = None
    cluster: tuple[Network, ...] = ()
    host: frozenset[str] = frozenset()
    """The host's own addresses."""

    def is_inside(self, client: str) -> bool:
        """A Pod, or the node itself: those that a Local policy does not keep out."""
        if is_loopback(client) or client in self.host:
            return True
        return bool(self.cluster) and _is_within(client, self.cluster)

    def find_pod(self, client: str) -> str:
        """The client's address if it is a Pod's on loopback; "" if not. A program that asks may be told by it."""
        if self.loopback is None or self.loopback.from_loopback(client) is None:
            return ""
        return client

    def dial(self, address: str) -> str:
        """Where an endpoint is on this host."""
        return (self.loopback.to_loopback(address) if self.loopback is not None else None) or address

    def may_ask(self, client: str, source_ranges: tuple[str, ...]) -> bool:
        """Whether source ranges let the client through. The host's own programs have no address to be kept out by."""
        if not source_ranges:
            return True
        known = (self.loopback.from_loopback(client) if self.loopback is not None else None) or client
        return is_loopback(known) or _is_within(known, _parse_networks(source_ranges))


@functools.lru_cache(maxsize=1024)
def _parse_networks(cidrs: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(cidr, strict=False) for cidr in cidrs)


def _is_within(client: str, networks: Iterable[Network]) -> bool:
    address = ipaddress.ip_address(client.partition("%")[0])
    return any(address in network for network in networks)


def is_loopback(address: str) -> bool:
    """It does not leave this host."""
    return address.startswith("127.") or address == "::1"


PickNumber = Callable[[int], int]
