"""Rule: spec "proxy" §9, §14 (coexistence)."""

from __future__ import annotations

from seaway.net.family import Family
from seaway.proxy.replacing.plan import judge_leftovers, judge_tables


def test_without_stock_tables_nothing_is_said() -> None:
    assert judge_tables([], replaces=True) == judge_tables([], replaces=False) == ""


def test_both_active_is_said_with_the_way_out() -> None:
    text = judge_tables([Family.IPV4, Family.IPV6], replaces=False)
    assert "tables ip kube-proxy, ip6 kube-proxy" in text
    assert "--replace" in text


def test_what_was_taken_over_is_said() -> None:
    assert "removed the tables of stock kube-proxy: ip kube-proxy" in judge_tables([Family.IPV4], replaces=True)


def test_leftovers_of_other_modes_are_named_with_their_removal() -> None:
    chains = [("ip", "nat", "KUBE-SERVICES"), ("ip", "nat", "KUBE-MARK-MASQ"), ("ip", "nat", "DOCKER")]
    iptables, ipvs = judge_leftovers(chains, ["lo", "kube-ipvs0"])
    assert iptables.startswith("2 chains of kube-proxy's iptables mode in ip nat; remove them with")
    assert "kube-ipvs0" in ipvs


def test_a_host_without_them_is_not_accused() -> None:
    assert judge_leftovers([("ip", "nat", "DOCKER"), ("ip", "seaway", "translate")], ["lo", "eth0"]) == ()
