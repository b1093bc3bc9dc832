"""Foreign tables from what the kernel lists. Rule: include/uapi/linux/netfilter/nf_tables.h."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from seaway.net.netlink.messages import iterate_attributes, parse_attributes
from seaway.node.firewalls.plan import ForeignRule, ForeignTable

FAMILIES = {1: "inet", 2: "ip", 10: "ip6"}
_FORWARD = 2
_DROP = 0
_UNCONDITIONAL = frozenset(("counter", "log", "immediate", "reject", "target"))
"""Of these alone a rule holds for every packet. `target` is what iptables-nft makes of REJECT and LOG."""
_LOADS = frozenset(
    ("payload", "meta", "ct", "fib", "exthdr", "socket", "rt", "numgen", "hash", "tunnel", "osf", "xfrm")
)
_NETWORK_HEADER = 1
_ADDRESS_OFFSETS = (12, 16, 8, 24)
"""Of IPv4's two addresses, then of IPv6's. Rule: RFC 791 §3.1, RFC 8200 §3."""

ChainKey = tuple[str, str]


def decode_tables(chains: Iterable[bytes], rules: Iterable[bytes]) -> tuple[ForeignTable, ...]:
    """The tables that have a base chain at the forward hook, sorted. Both are payloads of the kernel's messages."""
    forward: dict[ChainKey, list[tuple[str, bool]]] = {}
    for payload in chains:
        for key, chain, drops in _decode_forward_chain(payload):
            forward.setdefault(key, []).append((chain, drops))
    by_table: dict[ChainKey, list[ForeignRule]] = {}
    for payload in rules:
        family = FAMILIES.get(payload[0])
        attributes = parse_attributes(payload[4:])
        if family is not None and (key := (family, _text(attributes[1]))) in forward:
            by_table.setdefault(key, []).append(_decode_rule(_text(attributes[2]), attributes.get(4, b"")))
    return tuple(
        ForeignTable(*key, tuple(sorted(places)), tuple(by_table.get(key, ())))
        for key, places in sorted(forward.items())
    )


def _decode_forward_chain(payload: bytes) -> Iterator[tuple[ChainKey, str, bool]]:
    """((family, table), chain, whether its policy is drop); nothing for a chain of another kind."""
    attributes = parse_attributes(payload[4:])
    family = FAMILIES.get(payload[0])
    if family is None or 4 not in attributes or _text(attributes.get(7, b"")) != "filter":
        return
    if int.from_bytes(parse_attributes(attributes[4])[1], "big") == _FORWARD:
        drops = int.from_bytes(attributes.get(5, b"\1"), "big") == _DROP
        yield (family, _text(attributes[1])), _text(attributes[3]), drops


def _decode_rule(chain: str, expressions: bytes) -> ForeignRule:
    values: list[bytes] = []
    says_no, names, is_address = False, set(), False
    for _, packed in iterate_attributes(expressions):
        expression = parse_attributes(packed)
        name, fields = _text(expression.get(1, b"")), parse_attributes(expression.get(2, b""))
        names.add(name)
        if name in _LOADS:
            is_address = name == "payload" and _is_address(fields)
        elif name == "cmp" and is_address:
            values.append(parse_attributes(fields.get(3, b"")).get(1, b""))
        elif name == "range" and is_address:
            values += [parse_attributes(fields.get(kind, b"")).get(1, b"") for kind in (3, 4)]
        elif name == "reject" or (name == "target" and _text(fields.get(1, b"")) == "REJECT"):
            says_no = True
        elif name == "immediate":
            verdict = parse_attributes(fields.get(2, b"")).get(2)
            says_no |= verdict is not None and int.from_bytes(parse_attributes(verdict)[1], "big") == _DROP
    return ForeignRule(chain, tuple(values), says_no, names <= _UNCONDITIONAL)


def _is_address(payload: dict[int, bytes]) -> bool:
    """A source or destination of the network's header. Other numbers look like one: 10 is IPv6 among families."""
    base, offset = (int.from_bytes(payload.get(kind, b""), "big") for kind in (2, 3))
    return base == _NETWORK_HEADER and offset in _ADDRESS_OFFSETS


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")
