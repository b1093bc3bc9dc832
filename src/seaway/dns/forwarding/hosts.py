"""Names and addresses as a hosts file has them. Rule: hosts(5); spec "discovery" A3.1 (asked before the cluster)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from seaway.dns.forwarding.config import HostsConfig, is_within
from seaway.dns.records import Address, Name, Record, RRType, Target, lower_name, parse_name

MAX_ENTRIES = 100_000
"""Names of one file; what comes after them is not read."""
_SIZES = {RRType.A: 4, RRType.AAAA: 16}


@dataclass(frozen=True, slots=True)
class Hosts:
    """The table: packed addresses by name, names by address; each in the order of the lines, once."""

    addresses: Mapping[Name, tuple[bytes, ...]]
    names: Mapping[bytes, tuple[Name, ...]]


def parse_hosts(lines: Iterable[str]) -> Hosts:
    """The table of these lines; lines that have no address, and names that cannot be, are ignored."""
    addresses: dict[Name, list[bytes]] = {}
    names: dict[bytes, list[Name]] = {}
    for line in lines:
        words = line.split("#", 1)[0].split()
        if len(words) < 2 or len(addresses) >= MAX_ENTRIES:
            continue
        try:
            packed = ipaddress.ip_address(words[0].partition("%")[0]).packed
        except ValueError:
            continue
        for word in words[1:]:
            try:
                name = lower_name(parse_name(word))
            except ValueError:
                continue
            _append(addresses.setdefault(name, []), packed)
            _append(names.setdefault(packed, []), name)
    return Hosts(
        {name: tuple(found) for name, found in addresses.items()},
        {packed: tuple(found) for packed, found in names.items()},
    )


def find_hosts(hosts: Hosts, config: HostsConfig, name: Name, qtype: int, address: str) -> tuple[Record, ...] | None:
    """The records of a name; empty: the name is there with other types; None: it is not there.

    name: in the client's case. address: what a reverse name spells, "" for other names.
    """
    lower = lower_name(name)
    if config.zones and not any(is_within(lower, zone) for zone in config.zones):
        return None
    if address and config.has_reverse:
        targets = hosts.names.get(ipaddress.ip_address(address).packed)
        if targets is None:
            return None
        wanted = targets if qtype == RRType.PTR else ()
        return tuple(Record(name, RRType.PTR, config.ttl_seconds, Target(target)) for target in wanted)
    found = hosts.addresses.get(lower)
    if found is None:
        return None
    size = _SIZES.get(RRType(qtype), 0) if qtype in _SIZES else 0
    return tuple(Record(name, qtype, config.ttl_seconds, Address(packed)) for packed in found if len(packed) == size)


def falls_through(config: HostsConfig, name: Name) -> bool:
    """A name, in lower case, that the table lacks is somebody else's. Without it the answer is SERVFAIL, for want of
    an SOA record."""
    if config.zones and not any(is_within(name, zone) for zone in config.zones):
        return True
    return config.fallthrough is not None and (
        not config.fallthrough or any(is_within(name, zone) for zone in config.fallthrough)
    )


def _append(found: list[bytes] | list[Name], value: bytes | Name) -> None:
    if value not in found:
        found.append(value)  # type: ignore[arg-type]
