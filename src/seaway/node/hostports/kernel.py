"""Puts the ports in place, and makes flows forget where they went before."""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Collection, Iterable
from pathlib import Path

from seaway.net.errors import OperationalError
from seaway.net.netlink.kernel import NETLINK_NETFILTER, NetlinkSocket
from seaway.net.netlink.messages import NLM_F_ACK, NLMSG_ERROR, pack_nested, parse_attributes
from seaway.node.hostports.encode import TABLE, encode_tables
from seaway.node.hostports.plan import HostPort

log = logging.getLogger(__name__)

_CONNTRACK, _GET, _DELETE = 1, 1, 2
_TUPLE_ORIG, _TUPLE_REPLY = 1, 2
_FAMILIES = {4: 2, 6: 10}
_UDP = 17
_PLENTY = 10_000
"""More sequence numbers than a batch has messages."""


class HostPortError(OperationalError):
    """The kernel refused the rules."""


def apply_host_ports(ports: Iterable[HostPort]) -> None:
    """Make the tables these ports; without any, remove them. All or nothing. Raises HostPortError."""
    link = NetlinkSocket(NETLINK_NETFILTER)
    try:
        first = link.next_sequence(_PLENTY)
        link.send(encode_tables(ports, first_sequence=first))
        codes = [-struct.unpack_from("=i", m.payload)[0] for m in link.drain() if m.type == NLMSG_ERROR]
    except OSError as error:
        raise HostPortError(f"table {TABLE}: {error.strerror}") from error
    finally:
        link.close()
    refused = next((code for code in codes if code), 0)
    if refused or not codes:
        reason = os.strerror(refused) if refused else "the kernel did not acknowledge the batch"
        raise HostPortError(f"table {TABLE}: {reason}; host ports need nf_tables with nft_nat, nft_masq and nft_fib")


def serve_loopback(link: str) -> None:
    """Let clients of 127.0.0.1 on the node reach the Pod behind this link. The guard is in the table."""
    path = Path("/proc/sys/net/ipv4/conf", link, "route_localnet")
    try:
        path.write_text("1")
    except OSError as error:
        log.warning("sysctl path=%s error=%s; host ports do not answer on 127.0.0.1", path, error)


def forget_flows(ports: Collection[HostPort]) -> int:
    """Forget UDP flows to these ports, which would go on to where they went before; how many there were.

    Rule: spec "node" §4.5. Without the rights to ask, none are forgotten.
    """
    wanted = {(port.target.version, port.port) for port in ports if port.protocol == "UDP"}
    count = 0
    for version in sorted({version for version, _ in wanted}):
        numbers = {port for of_version, port in wanted if of_version == version}
        try:
            count += _forget(version, numbers)
        except OSError as error:
            log.warning("flows=kept ports=%s error=%s", sorted(numbers), error.strerror)
    return count


def _forget(version: int, ports: set[int]) -> int:
    link, count = NetlinkSocket(NETLINK_NETFILTER), 0
    try:
        header = struct.pack(">BBH", _FAMILIES[version], 0, 0)
        for message in link.dump(_CONNTRACK << 8 | _GET, header):
            attributes = parse_attributes(message.payload[4:])
            original, reply = attributes.get(_TUPLE_ORIG, b""), attributes.get(_TUPLE_REPLY, b"")
            if not _is_udp_to(original, ports):
                continue
            found = message.payload[:4] + pack_nested(_TUPLE_ORIG, original) + pack_nested(_TUPLE_REPLY, reply)
            try:
                link.request(_CONNTRACK << 8 | _DELETE, found, flags=NLM_F_ACK)
                count += 1
            except FileNotFoundError:
                continue
    finally:
        link.close()
    return count


def _is_udp_to(packed: bytes, ports: set[int]) -> bool:
    ends = parse_attributes(parse_attributes(packed).get(2, b""))
    return ends.get(1) == bytes((_UDP,)) and int.from_bytes(ends.get(3, b""), "big") in ports
