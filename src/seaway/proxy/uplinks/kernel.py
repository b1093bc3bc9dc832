"""Reads the host's links, keeps the record, and turns forwarding on and off.

IPv4 has a switch per link that decides for the packets that come in by it. IPv6 has one since Linux 6.17
(`force_forwarding`); before, only the switch for all links forwards, and that is left alone.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import struct
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from seaway.net.family import Family
from seaway.net.netlink.kernel import NETLINK_ROUTE, NetlinkSocket
from seaway.net.netlink.messages import parse_attributes
from seaway.proxy.kernel import RTM_GETADDR
from seaway.proxy.proxier import PlaneError
from seaway.proxy.uplinks.plan import (
    Enabled,
    HostLinks,
    Link,
    Record,
    decode_record,
    encode_record,
    plan_restore,
    plan_uplinks,
)

log = logging.getLogger(__name__)

RTM_GETLINK, RTM_GETROUTE = 18, 26
_IFF_LOOPBACK = 0x8
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_IFLA_IFNAME = 3
_RTA_OIF, _RTA_MULTIPATH = 4, 9
_RTN_UNICAST = 1
_ADDRESS_FAMILY = {Family.IPV4: socket.AF_INET, Family.IPV6: socket.AF_INET6}
_SWITCHES = {Family.IPV4: ("ipv4", "forwarding"), Family.IPV6: ("ipv6", "force_forwarding")}
_SYSCTLS = Path("/proc/sys/net")


class UplinkError(PlaneError):
    """What forwards because of us is not known, or could not be restored."""


class Uplinks:
    """The uplinks of a host. Call `prepare`, bring the guards of `guarded` into the kernel, then `turn_on`."""

    def __init__(self, families: Iterable[Family], state: Path) -> None:
        """Raises UplinkError when the record cannot be read."""
        self._families = tuple(f for f in families if has_switch(f))
        self._state = state
        self._record = read_record(state)
        self._pending: list[tuple[Family, str]] = []
        self._refused: frozenset[str] = frozenset()

    def guarded(self, family: Family) -> tuple[str, ...]:
        """The names of the links whose traffic must be guarded, sorted."""
        return tuple(sorted({e.name for e in self._record.enabled if e.family == family.value}))

    def prepare(self, node_addresses: tuple[str, ...]) -> None:
        """Decide by how the host is now, and record it. Raises OSError; nothing was changed then."""
        enabled: list[Enabled] = []
        pending: list[tuple[Family, str]] = []
        refused: set[str] = set()
        for family in self._families:
            plan = plan_uplinks(read_host_links(family), self._record.enabled, node_addresses)
            enabled += plan.enabled
            pending += ((family, name) for name in plan.turn_on)
            refused.update(plan.refused)
        record = Record(self._record.boot_id, tuple(sorted(enabled)))
        if record != self._record:
            write_durably(self._state, encode_record(record))
        self._record, self._pending = record, pending
        for name in sorted(refused - self._refused):
            log.warning("uplink=%s served=no reason=%r", name, "a name that no rule can hold")
        self._refused = frozenset(refused)

    def turn_on(self) -> None:
        """Forwarding on, where `prepare` found it off. The guards are in the kernel."""
        pending, self._pending = self._pending, []
        for family, name in pending:
            try:
                _switch(family, name).write_text("1")
            except OSError as error:
                log.warning("uplink=%s family=%s served=no error=%r", name, family.value, error.strerror)
                continue
            log.info("uplink=%s family=%s forwarding=1 guarded=yes", name, family.value)


def find_guarded(family: Family, state: Path, node_addresses: tuple[str, ...]) -> tuple[str, ...]:
    """The links that a proxy would guard as the host is now, sorted. Raises UplinkError, OSError."""
    if not has_switch(family):
        return ()
    plan = plan_uplinks(read_host_links(family), read_record(state).enabled, node_addresses)
    return tuple(sorted({e.name for e in plan.enabled if e.family == family.value}))


def restore(state: Path) -> None:
    """Turn off what forwards because of us, and forget it. The guards are in the kernel still. Raises UplinkError."""
    record = read_record(state)
    try:
        for family in {Family(e.family) for e in record.enabled}:
            if has_switch(family):
                for name in plan_restore(read_host_links(family), record.enabled):
                    _turn_off(family, name)
        state.unlink(missing_ok=True)
    except OSError as error:
        raise UplinkError(f"uplinks of {state}: {error}; run it as root, where /proc/sys can be written") from error


def _turn_off(family: Family, name: str) -> None:
    try:
        _switch(family, name).write_text("0")
    except FileNotFoundError:
        return  # the link is gone, and its switch with it


def read_record(state: Path) -> Record:
    """What is on record for this boot; an empty one when there is none. Raises UplinkError."""
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    try:
        record = decode_record(state.read_bytes())
    except FileNotFoundError:
        return Record(boot_id)
    except (OSError, ValueError) as error:
        raise UplinkError(
            f"uplinks of {state}: {error}; see which links forward (sysctl -ar 'forwarding$'), turn off what should"
            " not, then remove the file"
        ) from error
    return record if record.boot_id == boot_id else Record(boot_id)


def write_durably(path: Path, content: bytes) -> None:
    """Replace the file; it is on disk when this returns. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError:
        beside.unlink()
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def has_switch(family: Family) -> bool:
    """Whether forwarding can be turned on link by link."""
    return _switch(family, "default").exists()


def _switch(family: Family, link: str) -> Path:
    version, name = _SWITCHES[family]
    return _SYSCTLS / version / "conf" / link / name


def read_host_links(family: Family) -> HostLinks:
    """The links with what the family has on them, by name. Raises OSError."""
    netlink = NetlinkSocket(NETLINK_ROUTE)
    try:
        names = _list_links(netlink)
        addresses = _list_addresses(netlink, family)
        defaults = _list_default_links(netlink, family)
    finally:
        netlink.close()
    all_forward = _is_on(_SYSCTLS / _SWITCHES[family][0] / "conf" / "all" / "forwarding")
    links = (
        Link(
            name,
            index,
            tuple(sorted(addresses[index])),
            index in defaults,
            # the switch for all decides for IPv6, whatever the link's says; for IPv4 it only sets the links'
            _is_on(_switch(family, name)) or (all_forward and family is Family.IPV6),
        )
        for name, index in sorted(names.items())
    )
    return HostLinks(family, tuple(links), all_forward)


def _is_on(path: Path) -> bool:
    """Whether the switch is on; one that is gone (with its link) is not, nor is one that cannot be read."""
    try:
        return path.read_text().strip() != "0"
    except OSError:
        return False


def _list_links(netlink: NetlinkSocket) -> dict[str, int]:
    names: dict[str, int] = {}
    for message in netlink.dump(RTM_GETLINK, struct.pack("=BxHiII", socket.AF_UNSPEC, 0, 0, 0, 0)):
        _, _, index, flags, _ = struct.unpack_from("=BxHiII", message.payload)
        if not flags & _IFF_LOOPBACK:
            name = parse_attributes(message.payload[16:])[_IFLA_IFNAME]
            names[name.rstrip(b"\0").decode(errors="surrogateescape")] = index
    return names


def _list_addresses(netlink: NetlinkSocket, family: Family) -> defaultdict[int, set[str]]:
    addresses: defaultdict[int, set[str]] = defaultdict(set)
    for message in netlink.dump(RTM_GETADDR, struct.pack("=BBBBI", _ADDRESS_FAMILY[family], 0, 0, 0, 0)):
        attributes = parse_attributes(message.payload[8:])
        packed = attributes.get(_IFA_LOCAL) or attributes.get(_IFA_ADDRESS)
        if packed:
            addresses[struct.unpack_from("=I", message.payload, 4)[0]].add(str(ipaddress.ip_address(packed)))
    return addresses


def _list_default_links(netlink: NetlinkSocket, family: Family) -> set[int]:
    """The indexes of the links that a route to everywhere leads to, in any table."""
    links: set[int] = set()
    for message in netlink.dump(RTM_GETROUTE, struct.pack("=8BI", _ADDRESS_FAMILY[family], 0, 0, 0, 0, 0, 0, 0, 0)):
        destination_length, kind = message.payload[1], message.payload[7]
        if destination_length or kind != _RTN_UNICAST:
            continue
        attributes = parse_attributes(message.payload[12:])
        if _RTA_OIF in attributes:
            links.add(struct.unpack("=I", attributes[_RTA_OIF])[0])
        links.update(_next_hops(attributes.get(_RTA_MULTIPATH, b"")))
    return links


def _next_hops(packed: bytes) -> list[int]:
    """The link indexes of the hops of a route with several."""
    found, offset = [], 0
    while offset + 8 <= len(packed):
        length, _, _, index = struct.unpack_from("=HBBi", packed, offset)
        if length < 8:
            break
        found.append(index)
        offset += (length + 3) & ~3
    return found
