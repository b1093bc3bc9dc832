"""What the kernel makes of one packet: its own account, from a rule that marks the packet for tracing.

The rule is in a table of its own, which the kernel removes when the socket that made it closes, however that comes.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import struct
import sys
import time
from collections.abc import Iterator

from seaway.net.errors import OperationalError
from seaway.net.family import Family
from seaway.net.netlink.kernel import NETLINK_NETFILTER, NETLINK_ROUTE, NetlinkSocket
from seaway.net.netlink.messages import pack_attribute, parse_attributes
from seaway.proxy.nftables.diff import AddChain, AddElements, AddSet, AddTable, SetRules, Transaction
from seaway.proxy.nftables.kernel import NftKernel
from seaway.proxy.nftables.netlink import GETRULE, SUBSYSTEM, TRACE, generic_header
from seaway.proxy.nftables.objects import Chain, Field, Hook, InSet, IsNew, SetSpec, TurnOnTrace, Type
from seaway.proxy.nftables.render import PROTOCOL_NUMBERS, pack_address
from seaway.proxy.tracing.messages import (
    GROUP,
    RuleId,
    TraceEvent,
    decode_rule_id,
    decode_trace,
    number_rules,
    render_events,
)
from seaway.proxy.tracing.walk import Question

PRIORITY = -199
"""Right after conntrack (-200), which knows the first packet of a connection, and before addresses are translated."""
QUIET_SECONDS = 0.3
"""A packet that nothing was told of for so long has ended."""
_FIELDS = (Field.SADDR, Field.DADDR, Field.L4PROTO, Field.DPORT)
_SPEC = SetSpec((Type.ADDRESS, Type.ADDRESS, Type.PROTOCOL, Type.SERVICE))
_RTM_GETROUTE, _RTA_DST, _RTA_OIF = 26, 1, 4
_SCTP_INIT = struct.pack("!BBHIIHHI", 1, 0, 20, 1, 65536, 1, 1, 1)


class TraceError(OperationalError):
    """No packet could be traced."""


def trace_packet(question: Question, *, timeout_seconds: float) -> tuple[bool, list[str]]:
    """Whether the packet was sent from here, and the kernel's account of it, as lines.

    A packet from an address of this host is sent; any other is waited for. Nothing that was changed stays.
    Raises TraceError when none came in time, NftError when the kernel refuses.
    """
    with _tracing(question) as link:
        is_sent = _send(question)
        events = _listen(link, timeout_seconds)
        if not events:
            what = "was sent, but met no rule" if is_sent else f"came in {timeout_seconds:g} seconds"
            raise TraceError(f"no packet from {question.source} to {question.destination}:{question.port} {what}")
        return is_sent, list(render_events(events, number_rules(_list_rules(question.family))))


def find_link(source: str) -> str:
    """The link by which this host reaches the address, and by which what it sends comes in; "" without a route."""
    packed = ipaddress.ip_address(source).packed
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    asked = struct.pack("=8BI", family, len(packed) * 8, 0, 0, 0, 0, 0, 0, 0) + pack_attribute(_RTA_DST, packed)
    link = NetlinkSocket(NETLINK_ROUTE)
    try:
        (reply,) = link.request(_RTM_GETROUTE, asked)
        return socket.if_indextoname(int.from_bytes(parse_attributes(reply.payload[12:])[_RTA_OIF], sys.byteorder))
    except (OSError, KeyError):
        return ""
    finally:
        link.close()


@contextlib.contextmanager
def _tracing(question: Question) -> Iterator[NetlinkSocket]:
    kernel, link = NftKernel(), NetlinkSocket(NETLINK_NETFILTER)
    try:
        link.join(GROUP)
        kernel.apply(question.family, f"seaway-trace-{os.getpid()}", _plan(question))
        yield link
    finally:
        link.close()
        kernel.close()


def _plan(question: Question) -> Transaction:
    """The table that marks the packet for tracing, where it comes in and where it is sent."""
    chain = Chain(((IsNew(), InSet(_FIELDS, "packet"), TurnOnTrace()),))
    places = {hook: Hook("filter", hook, PRIORITY) for hook in ("prerouting", "output")}
    return Transaction(
        prepare=(
            AddTable(owned=True),
            AddSet("packet", _SPEC),
            AddElements("packet", _SPEC, ((_key(question), None),)),
        ),
        switch=(
            *(AddChain(name, hook) for name, hook in places.items()),
            *(SetRules(name, chain, False) for name in places),
        ),
    )


def _key(question: Question) -> bytes:
    protocol = bytes((PROTOCOL_NUMBERS[question.protocol], 0, 0, 0))
    addresses = pack_address(question.source) + pack_address(question.destination)
    return addresses + protocol + question.port.to_bytes(2, "big") + b"\0\0"


def _send(question: Question) -> bool:
    """Send the first packet of the connection, if its source is an address of this host; whether it is."""
    family = socket.AF_INET if question.family is Family.IPV4 else socket.AF_INET6
    kind = {"TCP": socket.SOCK_STREAM, "UDP": socket.SOCK_DGRAM}.get(question.protocol, socket.SOCK_RAW)
    number = PROTOCOL_NUMBERS["SCTP"] if kind == socket.SOCK_RAW else 0
    with socket.socket(family, kind, number) as sock:
        sock.setblocking(False)
        try:
            sock.bind((question.source, 0))
        except OSError:
            return False
        with contextlib.suppress(OSError):  # refused, not permitted: what the trace is to tell
            if kind == socket.SOCK_STREAM:
                sock.connect((question.destination, question.port))
            elif kind == socket.SOCK_DGRAM:
                sock.sendto(b"", (question.destination, question.port))
            else:
                header = struct.pack("!HHII", 49152 + os.getpid() % 16384, question.port, 0, 0)
                sock.sendto(header + _SCTP_INIT, (question.destination, 0))
        return True


def _listen(link: NetlinkSocket, timeout_seconds: float) -> list[TraceEvent]:
    """Everything about the first packet that is told of. News of others may overrun us: no matter."""
    events: list[TraceEvent] = []
    deadline = time.monotonic() + timeout_seconds
    while (left := deadline - time.monotonic()) > 0:
        try:
            messages = link.wait(left)
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            continue
        found = [decode_trace(m.payload) for m in messages if m.type == SUBSYSTEM << 8 | TRACE]
        if new := [event for event in found if event.id == (events or found)[0].id]:
            events += new
            deadline = time.monotonic() + QUIET_SECONDS
    return events


def _list_rules(family: Family) -> list[RuleId]:
    link = NetlinkSocket(NETLINK_NETFILTER)
    try:
        return [decode_rule_id(m.payload) for m in link.dump(SUBSYSTEM << 8 | GETRULE, generic_header(family))]
    finally:
        link.close()
