"""What the proxy asks of Linux besides its rules: conntrack, addresses of interfaces, sysctls."""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

from seaway.net.family import Family
from seaway.net.netlink.kernel import NETLINK_NETFILTER, NETLINK_ROUTE, NetlinkSocket
from seaway.net.netlink.messages import NLM_F_ACK, pack_nested, parse_attributes
from seaway.proxy.flows.plan import Flow
from seaway.proxy.forwarding import Target

CONNTRACK, CONNTRACK_GET, CONNTRACK_DELETE = 1, 1, 2
RTM_GETADDR = 22
_PROTOCOLS = {bytes((6,)): "TCP", bytes((17,)): "UDP"}
_FAMILY_NUMBER = {Family.IPV4: socket.AF_INET, Family.IPV6: socket.AF_INET6}


def list_flows(family: Family) -> list[Flow]:
    """The UDP and TCP flows that conntrack knows. Raises OSError."""
    flows: list[Flow] = []
    link = NetlinkSocket(NETLINK_NETFILTER)
    try:
        header = struct.pack(">BBH", _FAMILY_NUMBER[family], 0, 0)
        for message in link.dump(CONNTRACK << 8 | CONNTRACK_GET, header):
            flow = decode_flow(message.payload)
            if flow is not None:
                flows.append(flow)
    finally:
        link.close()
    return flows


def delete_flows(flows: Iterable[Flow]) -> int:
    """Forget these flows; how many there were. A flow that is gone already counts as forgotten."""
    count = 0
    link = NetlinkSocket(NETLINK_NETFILTER)
    try:
        for flow in flows:
            try:
                link.request(CONNTRACK << 8 | CONNTRACK_DELETE, flow.raw, flags=NLM_F_ACK)
                count += 1
            except FileNotFoundError:
                continue
    finally:
        link.close()
    return count


_TUPLE_ORIG, _TUPLE_REPLY, _ZONE, _ID = 1, 2, 18, 12


def decode_flow(payload: bytes) -> Flow | None:
    """The flow of a conntrack message, or None when it is neither UDP nor TCP."""
    attributes = parse_attributes(payload[4:])
    original, reply = attributes.get(_TUPLE_ORIG), attributes.get(_TUPLE_REPLY)
    if original is None or reply is None:
        return None
    sent, answered = _decode_tuple(original), _decode_tuple(reply)
    if sent is None or answered is None:
        return None
    raw = payload[:4] + pack_nested(_TUPLE_ORIG, original) + pack_nested(_TUPLE_REPLY, reply)
    for kind in (_ZONE, _ID):
        if kind in attributes:
            raw += struct.pack("=HH", len(attributes[kind]) + 4, kind) + attributes[kind].ljust(4, b"\0")
    protocol, source, destination = sent
    return Flow(destination=destination, answering=answered[1], protocol=protocol, source=source, raw=raw)


def _decode_tuple(packed: bytes) -> tuple[str, Target, Target] | None:
    """(protocol, source, destination) of a UDP or TCP tuple."""
    parts = parse_attributes(packed)
    addresses, ports = parse_attributes(parts[1]), parse_attributes(parts[2])
    protocol = _PROTOCOLS.get(ports.get(1, b""))
    if protocol is None:
        return None
    source = addresses.get(1) or addresses[3]
    destination = addresses.get(2) or addresses[4]
    return (
        protocol,
        Target(str(ipaddress.ip_address(source)), int.from_bytes(ports[2], "big")),
        Target(str(ipaddress.ip_address(destination)), int.from_bytes(ports[3], "big")),
    )


def list_interface_addresses() -> tuple[str, ...]:
    """The addresses of all interfaces, sorted. Raises OSError."""
    link = NetlinkSocket(NETLINK_ROUTE)
    try:
        found = set()
        for message in link.dump(RTM_GETADDR, struct.pack("=BBBBI", socket.AF_UNSPEC, 0, 0, 0, 0)):
            attributes = parse_attributes(message.payload[8:])
            packed = attributes.get(2) or attributes.get(1)  # IFA_LOCAL, IFA_ADDRESS
            if packed and len(packed) in (4, 16):
                found.add(str(ipaddress.ip_address(packed)))
        return tuple(sorted(found))
    finally:
        link.close()


# Rule: spec "proxy" §6.2. A lazily closed connection keeps being translated for an hour; a flow may be idle for a day.
SYSCTLS = {
    "net/netfilter/nf_conntrack_tcp_timeout_established": 86400,
    "net/netfilter/nf_conntrack_tcp_timeout_close_wait": 3600,
}
CONNTRACK_PER_CPU, CONNTRACK_MIN, CONNTRACK_MAX = 32768, 131072, 1048576


FLOW_LIMIT = "net/netfilter/nf_conntrack_max"
FLOW_BUCKETS = "sys/module/nf_conntrack/parameters/hashsize"
FLOWS_PER_BUCKET = 4


def apply_sysctls(asked: Mapping[str, int] | None = None, *, root: Path = Path("/")) -> list[str]:
    """Set what the proxy needs; what could not be set, each with its reason. A larger table of flows is left alone.

    asked: what is wanted, by names under /proc/sys; None: the defaults. With the limit of flows comes the number of
    buckets that they are found by, which is never lowered. What is as it should be is not written, so that who cannot
    write need not. Rule: spec "proxy" §6.2.
    """
    scaled = CONNTRACK_PER_CPU * (os.cpu_count() or 1)
    wanted = SYSCTLS | {FLOW_LIMIT: min(max(scaled, CONNTRACK_MIN), CONNTRACK_MAX)} if asked is None else asked
    numbers = [
        (name.replace("/", "."), f"proc/sys/{name}", value, name == FLOW_LIMIT) for name, value in wanted.items()
    ]
    if FLOW_LIMIT in wanted:
        numbers.append(("nf_conntrack hashsize", FLOW_BUCKETS, wanted[FLOW_LIMIT] // FLOWS_PER_BUCKET, True))
    refused: list[str] = []
    for name, path, value, is_least in numbers:
        try:
            found = int((root / path).read_text())
            if found < value if is_least else found != value:
                (root / path).write_text(str(value))
        except (OSError, ValueError) as error:
            refused.append(f"{name}={value}: {getattr(error, 'strerror', None) or error}")
    return refused


def apply_oom_score(score: int, *, root: Path = Path("/")) -> str:
    """Tell the kernel how late to end this process; why it could not be told, or ""."""
    try:
        (root / "proc/self/oom_score_adj").write_text(str(score))
    except OSError as error:
        return error.strerror or str(error)
    return ""


def find_supported_families(families: Iterable[Family]) -> tuple[Family, ...]:
    """Those that this kernel has: IPv6 may be compiled out or switched off."""
    switch = Path("/proc/sys/net/ipv6/conf/all/disable_ipv6")
    try:
        has_ipv6 = switch.read_text().strip() == "0"
    except OSError:
        has_ipv6 = False
    return tuple(f for f in families if f is not Family.IPV6 or has_ipv6)
