"""Rule: include/uapi/linux/netfilter/nf_tables.h; tests/kernel/test_node_firewalls.py reads real programs' rules."""

from __future__ import annotations

import pytest

from seaway.net.netlink.messages import pack_attribute, pack_nested, pack_string, pack_u32
from seaway.node.firewalls.decode import decode_tables
from seaway.node.firewalls.plan import ForeignRule, ForeignTable

HEADER = b"\2\0\0\0"
CHAIN = HEADER + pack_string(1, "filter") + pack_string(3, "FORWARD") + pack_string(7, "filter")
FORWARD = CHAIN + pack_nested(4, pack_u32(1, 2), pack_u32(2, 0))


def expression(name: str, *fields: bytes) -> bytes:
    return pack_nested(1, pack_string(1, name), pack_nested(2, *fields))


DROP = expression("immediate", pack_u32(1, 0), pack_nested(2, pack_nested(2, pack_u32(1, 0))))
COMPARE = expression("cmp", pack_u32(1, 1), pack_u32(2, 0), pack_nested(3, pack_attribute(1, b"\x0a\xf4\x01")))

SOURCE = expression("payload", pack_u32(1, 1), pack_u32(2, 1), pack_u32(3, 12), pack_u32(4, 3))
PORT = expression("payload", pack_u32(1, 1), pack_u32(2, 2), pack_u32(3, 2), pack_u32(4, 2))
META = expression("meta", pack_u32(2, 15), pack_u32(1, 1))


@pytest.mark.parametrize(
    ("expressions", "rule"),
    [
        pytest.param((DROP,), ForeignRule("FORWARD", (), True, True), id="drop"),
        pytest.param((expression("reject"),), ForeignRule("FORWARD", (), True, True), id="reject"),
        pytest.param((expression("counter"), expression("target", pack_string(1, "REJECT"))),
                     ForeignRule("FORWARD", (), True, True), id="REJECT as iptables-nft writes it"),
        pytest.param((expression("target", pack_string(1, "LOG")),), ForeignRule("FORWARD", (), False, True),
                     id="LOG says nothing"),
        pytest.param((expression("match", pack_string(1, "conntrack")), expression("target", pack_string(1, "REJECT"))),
                     ForeignRule("FORWARD", (), True, False), id="REJECT of some packets is not the end"),
        pytest.param((META, COMPARE), ForeignRule("FORWARD"), id="a family, which may be 10, is no address"),
        pytest.param((PORT, COMPARE), ForeignRule("FORWARD"), id="nor is a port"),
        pytest.param((SOURCE, COMPARE, META, COMPARE), ForeignRule("FORWARD", (b"\x0a\xf4\x01",)),
                     id="what is compared is what was loaded last"),
        pytest.param((SOURCE, COMPARE, DROP),
                     ForeignRule("FORWARD", (b"\x0a\xf4\x01",), True, False), id="drop of some"),
    ],
)  # fmt: skip
def test_a_rule_is_what_it_compares_and_whether_it_says_no(expressions: tuple[bytes, ...], rule: ForeignRule) -> None:
    message = HEADER + pack_string(1, "filter") + pack_string(2, "FORWARD") + pack_nested(4, *expressions)
    assert decode_tables([FORWARD], [message]) == (ForeignTable("ip", "filter", (("FORWARD", False),), (rule,)),)


@pytest.mark.parametrize(("policy", "drops"), [(0, True), (1, False)])
def test_a_policy_of_the_forward_hook_is_read(policy: int, drops: bool) -> None:
    [table] = decode_tables([FORWARD + pack_u32(5, policy)], [])
    assert table.forward == (("FORWARD", drops),)


def test_chains_of_other_hooks_are_left_out() -> None:
    assert decode_tables([CHAIN, CHAIN + pack_nested(4, pack_u32(1, 1), pack_u32(2, 0))], []) == ()
