"""The page of packets' paths names what is in the kernel: chains at their hooks, sysctls, the marks of what is ours."""

from __future__ import annotations

import re
from pathlib import Path

from seaway.net.family import Family
from seaway.node.hostports.encode import GUARD_PRIORITY, NAT_PRIORITY, POSTROUTING_PRIORITY, TABLE
from seaway.node.network.kernel import ALIAS, PROTOCOL
from seaway.node.network.plan import DEFAULT_MTU, allocate_address, parse_pools, plan_attachment
from seaway.proxy.nftables.structure import MARK, RenderConfig, render_structure

PAGE = (Path(__file__).parent.parent / "docs" / "networking.md").read_text()
ROW = re.compile(r"^\| (\w+) \| (-?\d+) \| `([\w-]+)` `([\w-]+)` \|", re.MULTILINE)


def list_rows(table: str) -> list[tuple[str, int, str]]:
    return [(hook, int(priority), chain) for hook, priority, of, chain in ROW.findall(PAGE) if of == table]


def test_every_base_chain_of_the_proxy_is_there_and_no_other() -> None:
    config = RenderConfig(family=Family.IPV4)
    chains = render_structure((), config).chains
    hooks = {(c.hook.hook, c.hook.priority, name) for name, c in chains.items() if c.hook is not None}
    assert sorted(list_rows(config.table)) == sorted(hooks)


def test_the_chains_of_host_ports_have_their_priorities() -> None:
    assert list_rows(TABLE) == [
        ("prerouting", NAT_PRIORITY, "prerouting"),
        ("output", NAT_PRIORITY, "output"),
        ("input", GUARD_PRIORITY, "guard"),
        ("postrouting", POSTROUTING_PRIORITY, "postrouting"),
    ]


def test_the_rows_are_in_the_order_in_which_a_packet_meets_them() -> None:
    """Before routing, then delivery or forwarding, then after routing; by priority at each."""
    order = {"prerouting": 0, "output": 0, "input": 1, "forward": 1, "postrouting": 2}
    rows = [(hook, int(priority)) for hook, priority, *_ in ROW.findall(PAGE)]
    places = [(order[hook] if priority < 0 else max(order[hook], 1), priority) for hook, priority in rows]
    assert places == sorted(places)


def test_what_is_ours_is_known_by_the_marks_that_the_page_names() -> None:
    assert f"`{ALIAS}`" in PAGE
    assert f"protocol number {PROTOCOL}" in PAGE and f"ip route show proto {PROTOCOL}" in PAGE
    assert f"({MARK:#06x})" in PAGE
    assert f"; {DEFAULT_MTU} without any" in PAGE


def test_every_sysctl_of_a_pods_link_is_named() -> None:
    pools = tuple(allocate_address(pool, "uid")[0] for pool in parse_pools("10.244.0.0/24,fd10:244::/64"))
    for path, value in plan_attachment("uid", pools).host_sysctls:
        assert f"`{path.rpartition('/')[2]}={value}`" in PAGE
