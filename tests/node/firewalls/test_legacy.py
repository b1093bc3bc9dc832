"""Rule: include/uapi/linux/netfilter/x_tables.h; tests/kernel/test_node_firewalls.py reads real programs' tables."""

from __future__ import annotations

import contextlib
import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.node.firewalls.legacy import INFO, LegacyInfo, decode_info, decode_table
from seaway.node.firewalls.plan import ForeignRule

ACCEPT, DROP = -2, -1
CHECKED = 0x08


def pack_target(name: str = "", verdict: int = ACCEPT, *, chain: str = "") -> bytes:
    body = chain.encode().ljust(32, b"\0") if chain else struct.pack("=iI", verdict, 0)
    return struct.pack("=H29sB", 32 + len(body), name.encode(), 0) + body


def pack_entry(
    version: int = 4, target: bytes = b"", *, source: str = "", link: str = "", inverted: int = 0, matches: bytes = b""
) -> bytes:
    target = target or pack_target()
    size, tail = (4, 4) if version == 4 else (16, 8)
    network = ipaddress.ip_network(source or ("0.0.0.0/0" if version == 4 else "::/0"))
    head = network.network_address.packed + bytes(size) + network.netmask.packed + bytes(size)
    head += link.encode().ljust(16, b"\0") + bytes(48)
    head += struct.pack("=HBB", 0, 0, inverted) if version == 4 else struct.pack("=HBBBxxx", 0, 0, 0, inverted)
    target_at = len(head) + 4 + 8 + (tail - 4) + 16 + len(matches)
    total = target_at + len(target)
    return head + struct.pack("=IHHI", 0, target_at, total, 0) + bytes(tail - 4) + bytes(16) + matches + target


def pack_table(
    version: int, *forward: bytes, policy: int = ACCEPT, others: tuple[bytes, ...] = ()
) -> tuple[LegacyInfo, bytes]:
    """INPUT with a policy of drop, FORWARD with its rules and its policy, OUTPUT, other chains, the end."""
    first = pack_entry(version, pack_target(verdict=DROP))
    rules = b"".join(forward)
    last = pack_entry(version, pack_target(verdict=policy))
    begins = {1: 0, 2: len(first), 3: len(first) + len(rules) + len(last)}
    policies = {1: 0, 2: len(first) + len(rules), 3: begins[3]}
    end = pack_entry(version, pack_target("ERROR", chain="ERROR"))
    packed = first + rules + last + pack_entry(version) + b"".join(others) + end
    return LegacyInfo(len(packed), begins, policies), packed


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(("policy", "drops"), [(DROP, True), (ACCEPT, False)])
def test_the_policy_of_the_forward_hook_is_its_own(version: int, policy: int, drops: bool) -> None:
    table = decode_table(version, *pack_table(version, policy=policy))
    assert (table.family, table.name, table.is_legacy) == ("ip" if version == 4 else "ip6", "filter", True)
    assert table.forward == (("FORWARD", drops),) and table.rules == ()


POD = "10.244.1.0/24"
PACKED = b"\x0a\xf4\x01\0"


@pytest.mark.parametrize(
    ("entry", "rule"),
    [
        pytest.param(pack_entry(4, pack_target(verdict=DROP)), ForeignRule("FORWARD", (), True, True), id="DROP"),
        pytest.param(pack_entry(4, pack_target("REJECT")), ForeignRule("FORWARD", (), True, True), id="REJECT"),
        pytest.param(pack_entry(4, pack_target("LOG")), ForeignRule("FORWARD", (), False, True), id="LOG"),
        pytest.param(pack_entry(4, pack_target("REJECT"), matches=bytes(40)), ForeignRule("FORWARD", (), True, False),
                     id="one with a match is not for every packet"),
        pytest.param(pack_entry(4, pack_target("REJECT"), link="docker0"), ForeignRule("FORWARD", (), True, False),
                     id="nor one of a link"),
        pytest.param(pack_entry(4, source=POD), ForeignRule("FORWARD", (PACKED,), False, False), id="ACCEPT of some"),
        pytest.param(pack_entry(4, source=POD, inverted=CHECKED), ForeignRule("FORWARD", (), False, False),
                     id="ACCEPT of all but some"),
    ],
)  # fmt: skip
def test_a_rule_is_what_it_compares_and_whether_it_says_no(entry: bytes, rule: ForeignRule) -> None:
    assert decode_table(4, *pack_table(4, entry)).rules == (rule,)


def test_a_rule_of_ipv6_holds_its_range() -> None:
    [rule] = decode_table(6, *pack_table(6, pack_entry(6, source="fd10:244:1::/64"))).rules
    assert rule.values == (ipaddress.ip_address("fd10:244:1::").packed,) and not rule.is_final


def test_other_chains_have_their_names() -> None:
    others = (pack_entry(4, pack_target("ERROR", chain="DOCKER-USER")), pack_entry(4, source=POD))
    table = decode_table(4, *pack_table(4, policy=DROP, others=others))
    assert table.rules == (ForeignRule("DOCKER-USER", (PACKED,), False, False),)


def test_offsets_of_hooks_that_the_table_lacks_are_left_out() -> None:
    packed = INFO.pack(b"filter", 0b01110, 7, 0, 152, 304, 7, 7, 0, 152, 304, 7, 4, 632)
    assert decode_info(packed) == LegacyInfo(632, {1: 0, 2: 152, 3: 304}, {1: 0, 2: 152, 3: 304})


@given(st.data())
def test_bytes_that_are_no_table_end_in_an_error_that_says_so(data: st.DataObject) -> None:
    info, packed = pack_table(4, pack_entry(4, source=POD))
    spoiled = bytearray(packed[: data.draw(st.integers(0, len(packed)))])
    for at in data.draw(st.lists(st.integers(0, max(0, len(spoiled) - 1)), max_size=5)) if spoiled else ():
        spoiled[at] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ValueError, struct.error):
        decode_table(4, info, bytes(spoiled))


def test_a_table_that_is_cut_is_an_error() -> None:
    info, packed = pack_table(4)
    with pytest.raises(ValueError, match="entry at"):
        decode_table(4, info, packed[:-1])
