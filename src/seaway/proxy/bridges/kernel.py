"""The bridges of the host, and whether they hand their frames to the rules. Rule: include/uapi/linux/if_link.h."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections import defaultdict
from pathlib import Path

from seaway.net.family import Family
from seaway.net.netlink.kernel import NETLINK_ROUTE, NetlinkSocket
from seaway.net.netlink.messages import parse_attributes
from seaway.proxy.bridges.plan import SYSCTLS, Bridge
from seaway.proxy.kernel import RTM_GETADDR

RTM_GETLINK = 18
_NAME, _LINK_INFO, _KIND, _DATA = 3, 18, 1, 2
_NF_CALL = {Family.IPV4: 36, Family.IPV6: 37}
"""IFLA_BR_NF_CALL_IPTABLES and IFLA_BR_NF_CALL_IP6TABLES."""


def list_bridges() -> tuple[Bridge, ...]:
    """All of this network namespace. Raises OSError."""
    link = NetlinkSocket(NETLINK_ROUTE)
    try:
        addresses: defaultdict[int, list[str]] = defaultdict(list)
        for message in link.dump(RTM_GETADDR, struct.pack("=BBBBI", socket.AF_UNSPEC, 0, 0, 0, 0)):
            if packed := parse_attributes(message.payload[8:]).get(1):  # IFA_ADDRESS
                (index,) = struct.unpack_from("=I", message.payload, 4)
                addresses[index].append(str(ipaddress.ip_address(packed)))
        everywhere = frozenset(family for family in Family if _is_on(family))
        found: list[Bridge] = []
        for message in link.dump(RTM_GETLINK, struct.pack("=BxHiII", socket.AF_UNSPEC, 0, 0, 0, 0)):
            attributes = parse_attributes(message.payload[16:])
            about = parse_attributes(attributes.get(_LINK_INFO, b""))
            if about.get(_KIND, b"").rstrip(b"\0") != b"bridge":
                continue
            (index,) = struct.unpack_from("=i", message.payload, 4)
            switches = parse_attributes(about.get(_DATA, b""))
            own = frozenset(family for family in Family if any(switches.get(_NF_CALL[family], b"")))
            name = attributes[_NAME].rstrip(b"\0").decode(errors="replace")
            found.append(Bridge(name, tuple(sorted(addresses[index])), everywhere | own))
        return tuple(found)
    finally:
        link.close()


def _is_on(family: Family) -> bool:
    """The switch for all bridges; there is none while br_netfilter is not loaded."""
    try:
        return Path("/proc/sys", SYSCTLS[family].replace(".", "/")).read_text().strip() not in ("", "0")
    except OSError:
        return False
