"""Rule: spec "node" §4.4; issue of the node, 6 (a clear warning where a firewall blocks)."""

from __future__ import annotations

import ipaddress

import pytest

from seaway.node.firewalls.plan import Block, ForeignRule, ForeignTable, find_blocks

FOUR, SIX = ipaddress.ip_network("10.244.1.0/24"), ipaddress.ip_network("fd10:244:1::/64")
DROPS = (("FORWARD", True),)
FINAL = ForeignRule("filter_FORWARD", says_no=True, is_final=True)


def table(*rules: ForeignRule, family: str = "ip", name: str = "filter", forward: object = DROPS) -> ForeignTable:
    assert isinstance(forward, tuple)
    return ForeignTable(family, name, forward, rules)


def allow(network: str, *, cut: bool = False) -> ForeignRule:
    parsed = ipaddress.ip_network(network)
    packed = parsed.network_address.packed
    return ForeignRule("DOCKER-USER", (packed[: parsed.prefixlen // 8] if cut else packed,))


BLOCKED = [
    pytest.param(table(), id="a policy of drop"),
    pytest.param(table(ForeignRule("FORWARD", (b"docker0",))), id="rules that are for others"),
    pytest.param(table(allow("10.244.2.0/24")), id="a rule for the Pods of another node"),
    pytest.param(table(ForeignRule("FORWARD", (b"\x0a\xf4\x01\0",), says_no=True)), id="one that names them and drops"),
    pytest.param(table(FINAL, name="firewalld", family="inet", forward=(("filter_FORWARD", False),)),
                 id="firewalld: a policy of accept, and reject at the end"),
]  # fmt: skip


@pytest.mark.parametrize("found", BLOCKED)
def test_what_is_in_the_way(found: ForeignTable) -> None:
    [block] = find_blocks([found], [FOUR])
    assert block == Block(found.family, found.name, found.forward[0][0], FOUR)
    assert f"table {found.family} {found.name}, chain {found.forward[0][0]}" in block.message
    assert "10.244.1.0/24" in block.message and "run: " in block.message


OPEN = [
    pytest.param(table(forward=(("FORWARD", False),)), id="a policy of accept"),
    pytest.param(table(allow("10.244.1.0/24")), id="a rule that names the node's Pods"),
    pytest.param(table(allow("10.244.0.0/16")), id="a rule that names the cluster's"),
    pytest.param(table(allow("10.244.0.0/16", cut=True)), id="the same, compared by its first bytes"),
    pytest.param(table(allow("10.244.1.0/24", cut=True)), id="the node's, by its first bytes"),
    pytest.param(table(allow("10.240.0.0/12")), id="a range that does not end with a byte"),
    pytest.param(table(name="seaway"), id="our own"),
    pytest.param(table(family="ip6"), id="another family"),
    pytest.param(table(ForeignRule("other", says_no=True, is_final=True), forward=(("FORWARD", False),)),
                 id="a chain that drops all, elsewhere"),
]  # fmt: skip


@pytest.mark.parametrize("found", OPEN)
def test_what_is_not(found: ForeignTable) -> None:
    assert find_blocks([found], [FOUR]) == ()


def test_a_table_of_both_families_is_told_for_both() -> None:
    found = find_blocks([table(family="inet", name="mine")], [FOUR, SIX])
    assert [str(block.network) for block in found] == ["10.244.1.0/24", "fd10:244:1::/64"]


@pytest.mark.parametrize(
    ("block", "mend"),
    [
        (Block("inet", "firewalld", "filter_FORWARD", FOUR),
         "firewall-cmd --permanent --zone=trusted --add-source=10.244.1.0/24"),
        (Block("ip", "filter", "FORWARD", FOUR), "iptables -I FORWARD -s 10.244.1.0/24 -j ACCEPT"),
        (Block("ip", "filter", "FORWARD", FOUR, is_ufw=True),
         "run: ufw route allow from 10.244.1.0/24; ufw route allow to 10.244.1.0/24"),
        (Block("ip", "filter", "FORWARD", FOUR, is_legacy=True), "iptables-legacy -I FORWARD -s 10.244.1.0/24"),
        (Block("ip6", "filter", "FORWARD", SIX, is_legacy=True), "ip6tables-legacy -I FORWARD -s fd10:244:1::/64"),
        (Block("ip6", "filter", "FORWARD", SIX), "ip6tables -I FORWARD -s fd10:244:1::/64 -j ACCEPT"),
        (Block("inet", "mine", "fw", SIX), "nft insert rule inet mine fw ip6 saddr fd10:244:1::/64 accept"),
    ],
)  # fmt: skip
def test_the_mend_is_a_command_of_whose_firewall_it_is(block: Block, mend: str) -> None:
    assert mend in block.message


@pytest.mark.parametrize(
    ("chain", "is_ufw"), [("ufw-user-forward", True), ("ufw6-user-forward", True), ("DOCKER", False)]
)
def test_a_table_with_chains_of_ufw_is_ufws(chain: str, is_ufw: bool) -> None:
    [block] = find_blocks([table(ForeignRule(chain))], [FOUR])
    assert block.is_ufw == is_ufw


def test_a_table_of_the_old_iptables_is_told_as_such_beside_the_new_ones() -> None:
    old = ForeignTable("ip", "filter", DROPS, is_legacy=True)
    blocks = find_blocks([table(), old], [FOUR])
    assert [block.is_legacy for block in blocks] == [False, True]
    assert blocks[1].message.startswith("table ip filter of iptables-legacy, chain FORWARD: ")
