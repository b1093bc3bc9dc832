"""The filter table of the old iptables (legacy, x_tables), from the bytes that `getsockopt` gives.

nftables lists nothing of it, though its chains drop all the same. The table is one run of entries, each with a fixed
head, matches, and a target: the built-in chains first, found by their offsets and ended by the entry of their policy;
then others, each behind an entry with the target ERROR that holds its name.

Rule: include/uapi/linux/netfilter/x_tables.h, netfilter_ipv4/ip_tables.h, netfilter_ipv6/ip6_tables.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from seaway.node.firewalls.plan import ForeignRule, ForeignTable

TABLE = "filter"
INFO = struct.Struct("=32sI5I5III")
"""Name, hooks that are valid, where each begins, where its policy is, number and size of entries."""
ENTRIES_HEAD_BYTES = 40
"""The name and the size that a reader asks with, before the entries; padded to 8."""

_BUILT_IN = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
_FORWARD = 2
_TARGET_HEAD = struct.Struct("=H29sB")
_VERDICT_DROP = -1
_INVERTED_ADDRESS = 0x08 | 0x10


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where things are in an entry of a family."""

    family: str
    address_bytes: int
    match_bytes: int
    inversions_at: int
    offsets_at: int
    head_bytes: int


_LAYOUTS = {4: _Layout("ip", 4, 82, 83, 88, 112), 6: _Layout("ip6", 16, 131, 132, 140, 168)}


@dataclass(frozen=True, slots=True)
class LegacyInfo:
    """Of a table's entries: their size, and offsets by the hooks that it has."""

    size: int
    begins: dict[int, int]
    policies: dict[int, int]


def decode_info(packed: bytes) -> LegacyInfo:
    """Raises struct.error for another length."""
    _, valid, *rest = INFO.unpack(packed)
    hooks = [hook for hook in range(5) if valid >> hook & 1]
    begins, policies = {hook: rest[hook] for hook in hooks}, {hook: rest[5 + hook] for hook in hooks}
    return LegacyInfo(rest[11], begins, policies)


def decode_table(version: int, info: LegacyInfo, entries: bytes) -> ForeignTable:
    """The table with its chain of the forward hook. Raises ValueError or struct.error for what is not whole."""
    layout = _LAYOUTS[version]
    begins = {offset: _BUILT_IN[hook] for hook, offset in info.begins.items()}
    policies = {offset: hook for hook, offset in info.policies.items()}
    chain, drops, rules = "", False, []
    for offset, entry, target_at in _split(layout, entries):
        chain = begins.get(offset, chain)
        name, verdict = _decode_target(entry[target_at:])
        if name == "ERROR":
            chain = entry[target_at + _TARGET_HEAD.size :].split(b"\0")[0].decode(errors="replace")
        elif offset in policies:
            drops |= policies[offset] == _FORWARD and verdict == _VERDICT_DROP
        else:
            says_no = name == "REJECT" or verdict == _VERDICT_DROP
            is_final = target_at == layout.head_bytes and not any(entry[: layout.match_bytes])
            rules.append(ForeignRule(chain, _list_addresses(layout, entry), says_no, is_final))
    return ForeignTable(layout.family, TABLE, ((_BUILT_IN[_FORWARD], drops),), tuple(rules), is_legacy=True)


def _split(layout: _Layout, entries: bytes) -> Iterator[tuple[int, bytes, int]]:
    """(offset, entry, where its target begins)."""
    offset = 0
    while offset < len(entries):
        target_at, length = struct.unpack_from("=HH", entries, offset + layout.offsets_at)
        if not layout.head_bytes <= target_at <= length - _TARGET_HEAD.size or offset + length > len(entries):
            raise ValueError(f"entry at {offset}: target at {target_at} of {length} bytes")
        yield offset, entries[offset : offset + length], target_at
        offset += length


def _decode_target(target: bytes) -> tuple[str, int | None]:
    """(name, verdict): the standard target has no name, and a verdict or, not negative, where to go on."""
    name = _TARGET_HEAD.unpack_from(target)[1].split(b"\0")[0].decode(errors="replace")
    return name, struct.unpack_from("=i", target, _TARGET_HEAD.size)[0] if not name else None


def _list_addresses(layout: _Layout, entry: bytes) -> tuple[bytes, ...]:
    """Those of source and destination that are compared; none where one is inverted."""
    if entry[layout.inversions_at] & _INVERTED_ADDRESS:
        return ()
    size = layout.address_bytes
    source, destination, source_mask, destination_mask = (entry[at * size : (at + 1) * size] for at in range(4))
    compared = ((source, source_mask), (destination, destination_mask))
    return tuple(address for address, mask in compared if any(mask))
