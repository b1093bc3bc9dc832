"""The node's own nftables tables as one netlink batch, made anew as a whole.

`seaway-node`, of each family, holds a rule for each port, so that `nft list ruleset` reads as the Pods' manifests do:

    chain prerouting { type nat hook prerouting priority -105; fib daddr type local meta l4proto tcp th dport 8080
                       dnat to 10.244.0.5:80 }
    chain output      the same, for clients on the node
    chain postrouting a Pod that comes back to itself, and a client from 127.0.0.0/8, are masqueraded; nobody else is
    chain guard       what arrives over a link for 127.0.0.0/8 and was not translated is dropped: Pods' links of ports
                      that serve the loopback have route_localnet

The priority is a step before that of Services: a host port is stronger than a node port of the same number.
A handful of ports per node does not deserve a diff: the tables are replaced in one atomic batch, and flows that are
known go on. Rule: spec "node" §4.1 (guard), §4.5; include/uapi/linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from seaway.net.netlink.messages import (
    NLM_F_ACK,
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_REQUEST,
    pack_attribute,
    pack_message,
    pack_nested,
    pack_string,
    pack_u32,
)
from seaway.node.hostports.plan import Address, HostPort, sort_host_ports

TABLE = "seaway-node"
NAT_PRIORITY, POSTROUTING_PRIORITY, GUARD_PRIORITY = -105, 95, 0
"""Services have -100 and 100. Rule: spec "proxy" §8.1."""

_SUBSYSTEM = 10
_NEWTABLE, _DELTABLE, _NEWCHAIN, _NEWRULE = 0, 2, 3, 6
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_FAMILIES = {4: 2, 6: 10}
_HOOKS = {"prerouting": 0, "input": 1, "output": 3, "postrouting": 4}
_PROTOCOLS = {"TCP": 6, "UDP": 17, "SCTP": 132}
_NETWORK, _TRANSPORT = 1, 2
_META_IIFNAME, _META_L4PROTO = 6, 16
_FIB_ADDRESS_TYPE, _FIB_DESTINATION, _RTN_LOCAL = 3, 2, 2
_CT_STATUS, _CT_STATUS_DNAT = 2, 0x20
_PORT_REGISTER = 2
_VERDICT_DROP = 0

Step = tuple[int, int, bytes]
"""Type, flags and payload of a message."""


def encode_tables(ports: Iterable[HostPort], *, first_sequence: int = 1) -> bytes:
    """The batch that makes both tables what they should be; without ports of a family, its table goes."""
    ports = sort_host_ports(ports)
    steps = [step for version in (4, 6) for step in _encode_table(version, ports)]
    batch = struct.pack(">BBH", 0, 0, _SUBSYSTEM)
    packed = [pack_message(_BATCH_BEGIN, NLM_F_REQUEST, first_sequence, batch)]
    for number, (kind, flags, payload) in enumerate(steps, 1):
        ack = NLM_F_ACK if number == len(steps) else 0
        message = pack_message(
            _SUBSYSTEM << 8 | kind, NLM_F_REQUEST | flags | ack, first_sequence + number, payload
        )  # fmt: skip
        packed.append(message)
    packed.append(pack_message(_BATCH_END, NLM_F_REQUEST, first_sequence + len(steps) + 1, batch))
    return b"".join(packed)


def _encode_table(version: int, ports: tuple[HostPort, ...]) -> Iterator[Step]:
    header = struct.pack(">BBH", _FAMILIES[version], 0, 0)
    own = [port for port in ports if port.target.version == version]
    table = header + pack_string(1, TABLE)
    yield (_NEWTABLE, NLM_F_CREATE, table + pack_u32(2, 0))
    yield (_DELTABLE, 0, table)
    if not own:
        return
    yield (_NEWTABLE, NLM_F_CREATE, table + pack_u32(2, 0))
    chains = [
        ("prerouting", "nat", "prerouting", NAT_PRIORITY, [_translate(port) for port in own]),
        ("output", "nat", "output", NAT_PRIORITY, [_translate(port) for port in own]),
        ("postrouting", "nat", "postrouting", POSTROUTING_PRIORITY, [r for port in own for r in _masquerade(port)]),
    ]
    if any(port.takes_loopback for port in own):
        chains.append(("guard", "filter", "input", GUARD_PRIORITY, [_guard()]))
    for name, kind, hook, priority, rules in chains:
        place = pack_nested(4, pack_u32(1, _HOOKS[hook]), pack_u32(2, priority & 0xFFFFFFFF))
        base = place + pack_u32(5, 1) + pack_string(7, kind)
        yield (_NEWCHAIN, NLM_F_CREATE, table + pack_string(3, name) + base)
        for rule in rules:
            yield (
                _NEWRULE,
                NLM_F_CREATE | NLM_F_APPEND,
                table + pack_string(2, name) + pack_nested(4, *rule),
            )


def _translate(port: HostPort) -> list[bytes]:
    version = port.target.version
    rule = [] if port.address is None else [*_match_address(port.address, source=False)]
    rule += [
        _expression("fib", pack_u32(1, 1), pack_u32(2, _FIB_ADDRESS_TYPE), pack_u32(3, _FIB_DESTINATION)),
        _compare(struct.pack("=I", _RTN_LOCAL)),
        *_match_port(port.protocol, port.port),
        _immediate(1, port.target.packed),
        _immediate(_PORT_REGISTER, port.target_port.to_bytes(2, "big")),
        _expression(
            "nat",
            pack_u32(1, 1),
            pack_u32(2, _FAMILIES[version]),
            pack_u32(3, 1),
            pack_u32(5, _PORT_REGISTER),
        ),
    ]
    return rule


def _masquerade(port: HostPort) -> Iterator[list[bytes]]:
    """Who would answer itself, or an address that no Pod can answer."""
    sources = [_match_address(port.target, source=True)]
    if port.takes_loopback:
        sources.append([_payload(_NETWORK, 12, 1), _compare(b"\x7f")])
    for source in sources:
        yield [
            *source,
            *_match_address(port.target, source=False),
            *_match_port(port.protocol, port.target_port),
            *_test_translated(),
            _compare(struct.pack("=I", 0), is_equal=False),
            _expression("masq"),
        ]


def _guard() -> list[bytes]:
    loopback = b"lo".ljust(16, b"\0")
    return [
        _expression("meta", pack_u32(2, _META_IIFNAME), pack_u32(1, 1)),
        _compare(loopback, is_equal=False),
        _payload(_NETWORK, 16, 1),
        _compare(b"\x7f"),
        *_test_translated(),
        _compare(struct.pack("=I", 0)),
        _expression("immediate", pack_u32(1, 0), pack_nested(2, pack_nested(2, pack_u32(1, _VERDICT_DROP)))),
    ]


def _test_translated() -> list[bytes]:
    mask, nothing = struct.pack("=I", _CT_STATUS_DNAT), struct.pack("=I", 0)
    return [
        _expression("ct", pack_u32(2, _CT_STATUS), pack_u32(1, 1)),
        _expression("bitwise", pack_u32(1, 1), pack_u32(2, 1), pack_u32(3, 4), _data(4, mask), _data(5, nothing)),
    ]


def _match_address(address: Address, *, source: bool) -> list[bytes]:
    length = len(address.packed)
    offset = (12 if length == 4 else 8) + (0 if source else length)
    return [_payload(_NETWORK, offset, length), _compare(address.packed)]


def _match_port(protocol: str, port: int) -> list[bytes]:
    return [
        _expression("meta", pack_u32(2, _META_L4PROTO), pack_u32(1, 1)),
        _compare(bytes((_PROTOCOLS[protocol],))),
        _payload(_TRANSPORT, 2, 2),
        _compare(port.to_bytes(2, "big")),
    ]


def _payload(base: int, offset: int, length: int) -> bytes:
    return _expression("payload", pack_u32(1, 1), pack_u32(2, base), pack_u32(3, offset), pack_u32(4, length))


def _compare(value: bytes, *, is_equal: bool = True) -> bytes:
    return _expression("cmp", pack_u32(1, 1), pack_u32(2, 0 if is_equal else 1), _data(3, value))


def _immediate(register: int, value: bytes) -> bytes:
    return _expression("immediate", pack_u32(1, register), _data(2, value))


def _data(kind: int, value: bytes) -> bytes:
    return pack_nested(kind, pack_attribute(1, value))


def _expression(name: str, *attributes: bytes) -> bytes:
    return pack_nested(1, pack_string(1, name), pack_nested(2, *attributes))
