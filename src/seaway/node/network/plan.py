"""Addresses and routes of Pods: which address a Pod gets, and which links, addresses and routes must exist.

A Pod hangs on a routed veth pair: the host end carries the gateway address as /32 (/128) and a host route to the
Pod; the Pod has its address, a link route to the gateway and a default route over it. Nothing is bridged, so traffic
between Pods of one node passes netfilter like any other. Rule: spec "node" §4.1-4.3.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


DEFAULT_MTU = 1500
"""Of a host without an uplink; Ethernet's."""


class AddressesExhausted(Exception):
    """The range has no free address; the text names it."""


@dataclass(frozen=True, slots=True)
class AddressPool:
    """The addresses of one range and who holds them.

    1. An address has at most one holder, and a holder at most one address.
    2. The network address, the gateway (the first host) and the broadcast address are never given out.
    3. An address is used again as late as possible: the search goes on from the last one given.
    """

    network: Network
    held: Mapping[str, Address] = field(default_factory=lambda: MappingProxyType({}))
    last: Address | None = None

    @property
    def gateway(self) -> Address:
        """The address of the host end of every Pod's link."""
        return self.network[1]

    @property
    def first(self) -> Address:
        return self.network[2]

    @property
    def end(self) -> Address:
        """The last address that may be given out."""
        return self.network[-2] if self.network.version == 4 else self.network[-1]


def parse_pools(pod_cidrs: str) -> tuple[AddressPool, ...]:
    """The pools of `10.244.0.0/24` or `10.244.0.0/24,fd10:244::/64`. Raises ValueError."""
    pools = []
    for text in pod_cidrs.split(","):
        network = ipaddress.ip_network(text.strip())
        if network.num_addresses < 4:
            raise ValueError(f"Pod range {network}: too small, 4 addresses or more needed")
        pools.append(AddressPool(network))
    return tuple(pools)


def sort_ranges(pod_cidrs: str, primary: str) -> str:
    """The ranges, those of the family of the address `primary` first. Rule: spec "node" §2.15."""
    version = ipaddress.ip_address(primary).version
    ranges = [text.strip() for text in pod_cidrs.split(",")]
    return ",".join(sorted(ranges, key=lambda text: ipaddress.ip_network(text).version != version))


def allocate_address(pool: AddressPool, holder: str) -> tuple[AddressPool, Address]:
    """The holder's address, which stays the same until released. Raises AddressesExhausted."""
    if holder in pool.held:
        return pool, pool.held[holder]
    taken = set(pool.held.values())
    first, end = int(pool.first), int(pool.end)
    size = end - first + 1
    start = int(pool.last) + 1 if pool.last is not None else first
    for step in range(min(size, len(taken) + 1)):
        number = first + (start - first + step) % size
        address = _address(pool.network, number)
        if address not in taken:
            return replace(pool, held=MappingProxyType({**pool.held, holder: address}), last=address), address
    raise AddressesExhausted(f"no IP addresses available in range set: {pool.first}-{pool.end}")


def _address(network: Network, number: int) -> Address:
    return ipaddress.IPv4Address(number) if network.version == 4 else ipaddress.IPv6Address(number)


def release_address(pool: AddressPool, holder: str) -> AddressPool:
    """The pool without the holder; unchanged if it holds nothing."""
    if holder not in pool.held:
        return pool
    return replace(pool, held=MappingProxyType({k: v for k, v in pool.held.items() if k != holder}))


def encode_pools(pools: Iterable[AddressPool]) -> dict[str, object]:
    """What is kept on disk."""
    return {
        str(pool.network): {
            "last": str(pool.last) if pool.last is not None else "",
            "held": {holder: str(address) for holder, address in sorted(pool.held.items())},
        }
        for pool in pools
    }


def restore_pools(pools: Iterable[AddressPool], saved: Mapping[str, object]) -> tuple[AddressPool, ...]:
    """The pools with what was kept; entries outside a range (it has changed since) are dropped."""
    return tuple(_restore(pool, saved.get(str(pool.network))) for pool in pools)


def _restore(pool: AddressPool, saved: object) -> AddressPool:
    if not isinstance(saved, dict):
        return pool
    held: dict[str, Address] = {}
    for holder, text in saved.get("held", {}).items():
        address = ipaddress.ip_address(text)
        inside = address in pool.network and int(pool.first) <= int(address) <= int(pool.end)
        if inside and address not in held.values():
            held[holder] = address
    last = ipaddress.ip_address(saved["last"]) if saved.get("last") else None
    return replace(pool, held=MappingProxyType(held), last=last if last and last in pool.network else None)


def choose_link_name(uid: str) -> str:
    """The host end's name: `veth` and 8 hex digits of the Pod's UID; 15 characters is the kernel's limit."""
    return f"veth{hashlib.sha256(uid.encode()).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True)
class Attachment:
    """How one Pod is connected. `addresses` and `gateways` go in pairs, one per family."""

    uid: str
    link: str
    addresses: tuple[Address, ...]
    gateways: tuple[Address, ...]
    mtu: int = DEFAULT_MTU

    @property
    def host_sysctls(self) -> tuple[tuple[str, str], ...]:
        """Paths under /proc/sys and values, for the host end. Forwarding is enabled on this link alone.

        For IPv6 that is `force_forwarding`, since Linux 6.17; before, only the switch for all links forwards.
        """
        conf = f"net/ipv4/conf/{self.link}"
        sysctls = [
            (f"{conf}/forwarding", "1"),
            (f"{conf}/send_redirects", "0"),
            (f"{conf}/rp_filter", "0"),
        ]
        if any(address.version == 6 for address in self.addresses):
            six = f"net/ipv6/conf/{self.link}"
            sysctls += [
                (f"{six}/force_forwarding", "1"),
                (f"{six}/forwarding", "1"),
                (f"{six}/accept_ra", "0"),
                (f"{six}/accept_dad", "0"),
            ]
        return tuple(sysctls)


@dataclass(frozen=True, slots=True)
class HostNetwork:
    """What of the Pod network the host has: addresses by link, of links that are up, and routes as (address, link)."""

    addresses: Mapping[str, frozenset[Address]]
    routes: frozenset[tuple[Address, str]]


def find_incomplete(wanted: Iterable[Attachment], found: HostNetwork) -> tuple[Attachment, ...]:
    """Those that lack something on the host, in their order. The host's route is made last: with it all is there."""
    return tuple(
        want
        for want in wanted
        if not found.addresses.get(want.link, frozenset()).issuperset(want.gateways)
        or not found.routes.issuperset((address, want.link) for address in want.addresses)
    )


MIN_MTU, MIN_MTU_IPV6 = 576, 1280
"""What every host must take in one piece. Rule: RFC 1122 §3.3.3, RFC 8200 §5."""


class UnfitMtu(Exception):
    """Packets of the Pods would have to be smaller than IP allows; the text says which size it was."""


def choose_mtu(asked: int, uplink: int | None, *, has_ipv6: bool) -> int:
    """The largest packet of Pods: what was asked for, or what the uplink takes. Raises UnfitMtu.

    asked: 0 for the uplink's. uplink: None when there is none. Larger than the uplink's is refused: small requests
    would work and large ones hang. Rule: spec "node" §4.6.
    """
    mtu = asked or (DEFAULT_MTU if uplink is None else uplink)
    least = MIN_MTU_IPV6 if has_ipv6 else MIN_MTU
    if mtu < least:
        raise UnfitMtu(f"MTU {mtu} of Pods: {least} or more needed{' for IPv6' if has_ipv6 else ''}; set --mtu")
    if uplink is not None and mtu > uplink:
        raise UnfitMtu(f"MTU {mtu} of Pods: the uplink takes {uplink}; set --mtu to at most that, or leave it out")
    return mtu


def plan_attachment(uid: str, pools: Iterable[AddressPool], *, mtu: int = DEFAULT_MTU) -> Attachment:
    """The connection of a Pod that holds an address in every pool."""
    pools = tuple(pools)
    return Attachment(
        uid,
        choose_link_name(uid),
        tuple(pool.held[uid] for pool in pools),
        tuple(pool.gateway for pool in pools),
        mtu,
    )
