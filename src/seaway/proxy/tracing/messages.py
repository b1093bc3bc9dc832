"""The kernel's account of a packet that it traces, from netlink, and as text.

Rule: include/uapi/linux/netfilter/nf_tables.h (nft_trace_attributes).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from seaway.net.netlink.messages import parse_attributes
from seaway.proxy.nftables.elements import decode_text

GROUP = 9
"""The multicast group of trace messages."""
_KINDS = {1: "policy", 2: "end of the chain", 3: "rule"}
_VERDICTS = {0: "drop", 1: "accept", 3: "queue", -1: "continue", -2: "break", -3: "jump", -4: "goto", -5: "return"}
_FAMILIES = {0: "inet", 1: "inet", 2: "ip", 5: "netdev", 7: "bridge", 10: "ip6"}
RuleId = tuple[str, str, str, int]
"""(family, table, chain, handle)"""


@dataclass(frozen=True, slots=True)
class TraceEvent:
    """One message. `packet`: source, destination and port as they are then; "" when the kernel does not repeat them."""

    id: int
    family: str
    table: str
    chain: str
    kind: str
    handle: int
    verdict: str
    goal: str = ""
    packet: str = ""


def decode_trace(payload: bytes) -> TraceEvent:
    """The event of a TRACE message. Raises ValueError or KeyError on what no kernel sends."""
    attributes = parse_attributes(payload[4:])
    kind = int.from_bytes(attributes[4], "big")
    verdict = parse_attributes(attributes.get(5, b""))
    code = int.from_bytes(verdict.get(1, attributes.get(16, b"\0")), "big", signed=True)
    return TraceEvent(
        id=int.from_bytes(attributes[6], "big"),
        family=_FAMILIES.get(payload[0], str(payload[0])),
        table=decode_text(attributes[1]),
        chain=decode_text(attributes.get(2, b"")),
        kind=_KINDS.get(kind, str(kind)),
        handle=int.from_bytes(attributes.get(3, b"\0"), "big"),
        verdict=_VERDICTS.get(code, str(code)),
        goal=decode_text(verdict.get(2, b"")),
        packet=_describe_packet(attributes.get(8, b""), attributes.get(9, b"")),
    )


def _describe_packet(network: bytes, transport: bytes) -> str:
    is_v4, is_v6 = len(network) >= 20 and network[0] >> 4 == 4, len(network) >= 40 and network[0] >> 4 == 6
    if not (is_v4 or is_v6):
        return ""
    source, destination = (network[12:16], network[16:20]) if is_v4 else (network[8:24], network[24:40])
    to = str(ipaddress.ip_address(destination))
    if len(transport) >= 4:
        to = f"{f'[{to}]' if is_v6 else to}:{int.from_bytes(transport[2:4], 'big')}"
    return f"{ipaddress.ip_address(source)} to {to}"


def decode_rule_id(payload: bytes) -> RuleId:
    """Which rule a NEWRULE message describes."""
    attributes = parse_attributes(payload[4:])
    handle = int.from_bytes(attributes[3], "big")
    return (
        _FAMILIES.get(payload[0], str(payload[0])),
        decode_text(attributes[1]),
        decode_text(attributes[2]),
        handle,
    )


def number_rules(rules: Iterable[RuleId]) -> dict[RuleId, int]:
    """The place of each rule in its chain, from 1 on; rules are listed in order."""
    counts: dict[tuple[str, str, str], int] = {}
    numbers: dict[RuleId, int] = {}
    for rule in rules:
        counts[rule[:3]] = numbers[rule] = counts.get(rule[:3], 0) + 1
    return numbers


def render_events(events: Iterable[TraceEvent], numbers: Mapping[RuleId, int]) -> Iterator[str]:
    """A line for each event, and one for the packet whenever it differs from what it was."""
    shown = ""
    for event in events:
        if event.packet and event.packet != shown:
            shown = event.packet
            yield f"{shown}:"
        place = f"{event.family} {event.table} {event.chain}"
        if event.kind == "rule":
            number = numbers.get((event.family, event.table, event.chain, event.handle), 0)
            place += f", rule {number}" if number else f", rule of handle {event.handle}"
        else:
            place += f", {event.kind}"
        yield f"  {place}: {event.verdict}{f' {event.goal}' if event.goal else ''}"
