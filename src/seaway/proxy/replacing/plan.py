"""What is said of another proxy's rules, and how they are removed. Rule: spec "proxy" §9, §14 (coexistence)."""

from __future__ import annotations

from collections.abc import Iterable

from seaway.net.family import Family

STOCK_TABLE = "kube-proxy"
IPVS_LINK = "kube-ipvs0"
_BY_IPTABLES = (
    "remove them with kube-proxy --cleanup, or once its Pod is gone: iptables-save | grep -v KUBE- | iptables-restore"
)


def judge_tables(found: Iterable[Family], *, replaces: bool) -> str:
    """What is said of stock nftables tables: "" when there are none."""
    names = ", ".join(f"{_keyword(family)} {STOCK_TABLE}" for family in found)
    if not names:
        return ""
    if replaces:
        return f"removed the tables of stock kube-proxy: {names}; see that it does not run, or it makes them again"
    return (
        f"stock kube-proxy is active beside this proxy: tables {names}; end it and start with --replace to remove them"
    )


def judge_leftovers(chains: Iterable[tuple[str, str, str]], links: Iterable[str]) -> tuple[str, ...]:
    """What is said of rules of its other modes. chains: (keyword of the family, table, name) of all there are."""
    counts: dict[str, int] = {}
    for keyword, table, name in chains:
        if name.startswith("KUBE-"):
            counts[f"{keyword} {table}"] = counts.get(f"{keyword} {table}", 0) + 1
    said = [
        f"{count} chains of kube-proxy's iptables mode in {where}; {_BY_IPTABLES}"
        for where, count in sorted(counts.items())
    ]
    if IPVS_LINK in links:
        said.append(f"the link {IPVS_LINK} of kube-proxy's ipvs mode; remove it with kube-proxy --cleanup")
    return tuple(said)


def _keyword(family: Family) -> str:
    return "ip" if family is Family.IPV4 else "ip6"
