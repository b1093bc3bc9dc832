"""Whether the rules that a kernel lists are the ones that were sent.

A kernel lists more than it was told (defaults, the names of anonymous maps). Rules are the same when it lists all that
was sent, in the same order, and no further expression. What an anonymous map holds cannot be changed by anybody.
"""

from __future__ import annotations

from collections.abc import Sequence

from seaway.net.family import Family
from seaway.net.netlink.messages import ATTRIBUTE, NLA_NESTED, NLA_TYPE_MASK, iterate_attributes, parse_attributes
from seaway.proxy.nftables.elements import decode_text
from seaway.proxy.nftables.expressions import NEWRULE, RuleEncoder
from seaway.proxy.nftables.objects import Structure

_EXPRESSIONS = 4
_ANONYMOUS = b"__map"
_SET_ID = 4  # of a lookup: numbers an anonymous map within its batch, and is not listed


def decode_rule(payload: bytes) -> tuple[str, str, bytes]:
    """(table, chain, expressions) of a NEWRULE message."""
    attributes = parse_attributes(payload[4:])
    return decode_text(attributes[1]), decode_text(attributes[2]), attributes.get(_EXPRESSIONS, b"")


def encode_rules(structure: Structure, *, family: Family, table: str) -> dict[str, list[bytes]]:
    """Chain -> the expressions of each rule, as they are sent."""
    encoder = RuleEncoder(family, b"\0\0\0\0", table)
    rules: dict[str, list[bytes]] = {}
    for name, chain in structure.chains.items():
        messages = [m for rule in chain.rules or () for m in encoder.encode(name, rule) if m[0] == NEWRULE]
        rules[name] = [decode_rule(payload)[2] for _, _, payload in messages]
    return rules


def are_same_rules(found: Sequence[bytes], sent: Sequence[bytes]) -> bool:
    """The rules of one chain."""
    return len(found) == len(sent) and all(_is_same_rule(f, s) for f, s in zip(found, sent, strict=True))


def _is_same_rule(found: bytes, sent: bytes) -> bool:
    theirs = [value for _, value in iterate_attributes(found)]
    ours = [value for _, value in iterate_attributes(sent)]
    return len(theirs) == len(ours) and all(_is_same_expression(t, o) for t, o in zip(theirs, ours, strict=True))


def _is_same_expression(found: bytes, sent: bytes) -> bool:
    """Name (1) and attributes (2)."""
    return parse_attributes(found).get(1) == parse_attributes(sent)[1] and _lists(found, sent)


def _lists(found: bytes, sent: bytes) -> bool:
    """Every attribute that was sent is there, with its value."""
    there = parse_attributes(found)
    for kind, is_nested, value in _iterate_sent(sent):
        if kind not in there:
            if kind == _SET_ID and _refers_to_anonymous(sent):
                continue
            return False
        is_same = _lists(there[kind], value) if is_nested else there[kind] == value
        if not is_same and not (value.startswith(_ANONYMOUS) and there[kind].startswith(_ANONYMOUS)):
            return False
    return True


def _refers_to_anonymous(sent: bytes) -> bool:
    return parse_attributes(sent).get(1, b"").startswith(_ANONYMOUS)


def _iterate_sent(packed: bytes) -> list[tuple[int, bool, bytes]]:
    """(type, whether attributes are in it, value): what we send says so, what kernels list may not."""
    found: list[tuple[int, bool, bytes]] = []
    offset = 0
    while offset + 4 <= len(packed):
        length, kind = ATTRIBUTE.unpack_from(packed, offset)
        found.append((kind & NLA_TYPE_MASK, bool(kind & NLA_NESTED), packed[offset + 4 : offset + length]))
        offset += (length + 3) & ~3
    return found
