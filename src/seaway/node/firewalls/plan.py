"""Which base chains of others drop what Pods send or get, and what helps against it.

A packet passes only when every base chain of the forward hook lets it: an accept of ours cannot overrule a drop of
theirs. So what is in the way is told, with the command that lets Pods through; nothing of others is changed.

Left out: sets that name the Pods' range (only rules that hold it themselves are seen).
Rule: spec "node" §4.4 (FORWARD policy), issue of the node, 6.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

OWN_PREFIX = "seaway"
FIREWALLD_POLICY = "seaway-pods"
SMALLEST_COVER = 8
"""A rule that names a range this wide or narrower, with the Pods in it, is meant for them."""


@dataclass(frozen=True, slots=True)
class ForeignRule:
    """One rule: the values that it compares, and whether it says no. `is_final`: it holds for every packet."""

    chain: str
    values: tuple[bytes, ...] = ()
    says_no: bool = False
    is_final: bool = False


@dataclass(frozen=True, slots=True)
class ForeignTable:
    """A table of one family (`ip`, `ip6`, `inet`). forward: its base chains of that hook, and whether they drop.

    is_legacy: of the old iptables, beside nftables.
    """

    family: str
    name: str
    forward: tuple[tuple[str, bool], ...] = ()
    rules: tuple[ForeignRule, ...] = ()
    is_legacy: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """A chain that drops what it does not know, and nothing in its table knows these Pods.

    is_ufw: the table is ufw's, which forgets rules that it was not told of.
    """

    family: str
    table: str
    chain: str
    network: Network
    is_ufw: bool = False
    is_legacy: bool = False

    @property
    def message(self) -> str:
        """Subject, what was found, and what to do."""
        whose = " of iptables-legacy" if self.is_legacy else ""
        return (
            f"table {self.family} {self.table}{whose}, chain {self.chain}: drops forwarded packets, "
            f"and no rule of it names {self.network}, the Pods of this node: they cannot be reached; {find_mend(self)}"
        )


def find_blocks(tables: Iterable[ForeignTable], ranges: Iterable[Network]) -> tuple[Block, ...]:
    """What is in the way, sorted by table and chain."""
    ranges = tuple(ranges)
    found = [
        Block(table.family, table.name, chain, network, _is_of_ufw(table), table.is_legacy)
        for table in tables
        if not table.name.startswith(OWN_PREFIX)
        for chain, drops in table.forward
        if drops or any(rule.chain == chain and rule.is_final and rule.says_no for rule in table.rules)
        for network in ranges
        if _concerns(table.family, network) and not _is_let_through(table, network)
    ]
    return tuple(sorted(found, key=lambda block: (block.family, block.table, block.chain, str(block.network))))


def _concerns(family: str, network: Network) -> bool:
    return family == "inet" or family == ("ip" if network.version == 4 else "ip6")


def _is_of_ufw(table: ForeignTable) -> bool:
    return any(rule.chain.startswith(("ufw-", "ufw6-")) for rule in table.rules)


def _is_let_through(table: ForeignTable, network: Network) -> bool:
    """Some rule of the table holds the range, or a wider one with it, and does not say no."""
    wanted: set[bytes] = set()
    for length in range(SMALLEST_COVER, network.prefixlen + 1):
        packed = network.supernet(new_prefix=length).network_address.packed
        wanted |= {packed} if length % 8 else {packed, packed[: length // 8]}
    return any(not rule.says_no and not wanted.isdisjoint(rule.values) for rule in table.rules)


def find_mend(block: Block) -> str:
    """The commands that let Pods through, by whose chain it is: a line for the shell, to be run as it is."""
    version = "ip" if block.network.version == 4 else "ip6"
    if block.table == "firewalld":
        return "run: " + "; ".join(f"firewall-cmd {step}" for step in _list_firewalld_steps(block.network))
    if block.is_ufw:
        return f"run: ufw route allow from {block.network}; ufw route allow to {block.network}"
    if block.table == "filter" and block.chain == "FORWARD":
        program = f"{version}tables" + ("-legacy" if block.is_legacy else "")
        allow = f"{program} -I FORWARD"
        return f"run: {allow} -s {block.network} -j ACCEPT; {allow} -d {block.network} -j ACCEPT"
    place = f"nft insert rule {block.family} {block.table} {block.chain} {version}"
    return f"run: {place} saddr {block.network} accept; {place} daddr {block.network} accept"


def _list_firewalld_steps(network: Network) -> tuple[str, ...]:
    """A trusted zone lets through what Pods send; what others send to it needs a policy (firewalld 0.9 and later)."""
    policy = f"--permanent --policy={FIREWALLD_POLICY}"
    return (
        f"--permanent --zone=trusted --add-source={network}",
        f"--permanent --new-policy={FIREWALLD_POLICY}",
        f"{policy} --add-ingress-zone=ANY",
        f"{policy} --add-egress-zone=trusted",
        f"{policy} --set-target=ACCEPT",
        "--reload",
    )
