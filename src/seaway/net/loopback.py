"""Addresses of the cluster on a host that has no network of its own for them: 10.a.b.c is 127.a.b.c.

Objects keep the addresses that they would have anywhere (a cluster IP 10.96.0.10, a Pod 10.244.0.5). Only what is
bound, dialled or told to a program is translated, with `LoopbackMap`, one-to-one and in both directions.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

LOOPBACK = ipaddress.IPv4Network("127.0.0.0/8")
CLUSTER = ipaddress.IPv4Network("10.0.0.0/8")
HOST = ipaddress.IPv4Network("127.0.0.0/24")
"""Never given: 127.0.0.1, and 127.0.0.53 of systemd-resolved."""


@dataclass(frozen=True, slots=True)
class LoopbackMap:
    """One-to-one between the addresses of `origin` and those of `onto`, which lies in 127.0.0.0/8 and is as large.

    The host's own addresses are not the cluster's: 127.0.0.0/24 (127.0.0.1, and 127.0.0.53 of systemd-resolved) is
    never given.
    IPv6 has a single loopback address, so that none of its addresses has another.
    """

    origin: ipaddress.IPv4Network = CLUSTER
    onto: ipaddress.IPv4Network = LOOPBACK

    def __post_init__(self) -> None:
        """Raises ValueError for ranges that do not fit each other."""
        if self.origin.prefixlen != self.onto.prefixlen:
            raise ValueError(
                f"loopback map {self.origin}={self.onto}: a /{self.onto.prefixlen} found, "
                f"a /{self.origin.prefixlen} wanted; both ranges must have one size"
            )
        if not self.onto.subnet_of(LOOPBACK):
            raise ValueError(f"loopback map: {self.onto} found, a range within {LOOPBACK} wanted")
        if self.origin.overlaps(LOOPBACK):
            raise ValueError(
                f"loopback map: {self.origin} is loopback itself; give the range of the cluster's addresses"
            )

    @classmethod
    def parse(cls, text: str) -> LoopbackMap:
        """`10.0.0.0/8=127.0.0.0/8`. Raises ValueError."""
        origin, separator, onto = text.partition("=")
        if not separator:
            raise ValueError(f"loopback map {text!r}: two ranges with = between them wanted, as 10.0.0.0/8=127.0.0.0/8")
        return cls(ipaddress.IPv4Network(origin.strip()), ipaddress.IPv4Network(onto.strip()))

    def __str__(self) -> str:
        return f"{self.origin}={self.onto}"

    def to_loopback(self, address: str) -> str | None:
        """Where this address of the cluster is on this host; None: nowhere (IPv6, not in `origin`, the host's own)."""
        return _move(address, self.origin, self.onto)

    def range_to_loopback(self, network: ipaddress.IPv4Network) -> ipaddress.IPv4Network:
        """Where a whole range is. Raises ValueError when loopback has no room for all of it."""
        if not network.subnet_of(self.origin):
            raise ValueError(f"{network} found, a range within {self.origin} of the loopback map {self} wanted")
        first = int(self.onto.network_address) + int(network.network_address) - int(self.origin.network_address)
        moved = ipaddress.IPv4Network((first, network.prefixlen))
        if moved.overlaps(HOST):
            raise ValueError(f"{network} found, which would be {moved} on loopback; {HOST} is the host's own")
        return moved

    def from_loopback(self, address: str) -> str | None:
        """Which address of the cluster is served there; None: none."""
        if not _is_given(address):
            return None
        return _move(address, self.onto, self.origin)


DEFAULT_MAP = LoopbackMap()


def _move(address: str, source: ipaddress.IPv4Network, onto: ipaddress.IPv4Network) -> str | None:
    try:
        found = ipaddress.IPv4Address(address)
    except ValueError:
        return None
    if found not in source:
        return None
    moved = ipaddress.IPv4Address(int(onto.network_address) + int(found) - int(source.network_address))
    return str(moved) if moved not in LOOPBACK or _is_given(str(moved)) else None


def _is_given(loopback: str) -> bool:
    return not loopback.startswith("127.0.0.") and loopback != "127.255.255.255"
