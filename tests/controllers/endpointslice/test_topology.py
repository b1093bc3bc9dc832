"""Rule: spec "controllers" §2.3 (ratios, overload)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from seaway.api.node.types import Node
from seaway.controllers.endpointslice.topology import NOTHING, Topology, compute_topology, count_fewest, is_overloaded
from seaway.testing.builders import make_node

NO_CPU = "Node c has no allocatable cpu"
NO_ZONE = "Node c has no label topology.kubernetes.io/zone"
FEW = "1 zones have Ready worker Nodes (z1), 2 are needed"


def node(name: str, zone: str = "", cpu: str = "", *, ready: bool = True, **labels: str) -> Node:
    given = {"topology.kubernetes.io/zone": zone} if zone else {}
    raw = make_node(name, ready=ready, meta={"labels": {**given, **labels}})
    raw["status"]["allocatable"] = {"cpu": cpu} if cpu else {}
    return msgspec.convert(raw, Node)


CONTROL_PLANE = {"node-role.kubernetes.io/control-plane": ""}
MASTER = {"node-role.kubernetes.io/master": "true"}
A, B = node("a", "z1", "4"), node("b", "z2", "3920m")
BOTH = {"z1": 4000 / 7920, "z2": 3920 / 7920}

RATIOS: list[tuple[str, list[Node], dict[str, float], str]] = [
    ("shares are of milli-CPU", [A, B], BOTH, ""),
    ("nodes of a zone are added up", [A, B, node("c", "z2", "80m")], {"z1": 0.5, "z2": 0.5}, ""),
    ("a fraction of a CPU counts", [A, node("b", "z2", "0.5")], {"z1": 4000 / 4500, "z2": 500 / 4500}, ""),
    ("less than a milli-CPU is one", [A, node("b", "z2", "1u")], {"z1": 4000 / 4001, "z2": 1 / 4001}, ""),
    ("a node that is not ready is left out", [A, B, node("c", ready=False)], BOTH, ""),
    ("a control-plane node is left out", [A, B, node("c", **CONTROL_PLANE)], BOTH, ""),
    ("so is a master, whatever the label says", [A, B, node("c", **MASTER)], BOTH, ""),
    ("one node without a zone is too little to know", [A, B, node("c", cpu="1")], {}, NO_ZONE),
    ("so is one without CPU", [A, B, node("c", "z1")], {}, NO_CPU),
    ("no CPU is zero CPU", [A, B, node("c", "z1", "0")], {}, NO_CPU),
    ("what is no quantity is no CPU", [A, B, node("c", "z1", "many")], {}, NO_CPU),
    ("one zone is no choice", [A], {}, FEW),
    ("no node is none", [], {}, "0 zones have Ready worker Nodes (none), 2 are needed"),
]  # fmt: skip


@pytest.mark.parametrize(("nodes", "ratios", "reason"), [r[1:] for r in RATIOS], ids=[r[0] for r in RATIOS])
def test_shares_of_the_zones(nodes: list[Node], ratios: dict[str, float], reason: str) -> None:
    found = compute_topology(nodes)
    assert (dict(found.ratios), found.reason) == (ratios, reason)
    assert compute_topology(nodes[::-1]) == found


def test_the_reason_names_at_most_five_nodes() -> None:
    found = compute_topology([node(f"n{n}") for n in range(7)])
    assert found.reason.endswith("Node n4 has no label topology.kubernetes.io/zone and 2 more")


HALVES = Topology({"z1": 0.5, "z2": 0.5}, "")
OVERLOADED: list[tuple[str, dict[str, int], Topology, bool]] = [
    ("even hints fit even zones", {"z1": 3, "z2": 3}, HALVES, False),
    ("a fifth more than its share is borne", {"z1": 7, "z2": 5}, HALVES, False),
    ("one endpoint below ceil(total x ratio / 1.2) is not", {"z1": 8, "z2": 4}, HALVES, True),
    ("a zone that has no entry is overloaded", {"z1": 6}, HALVES, True),
    ("without shares everything is", {"z1": 3, "z2": 3}, Topology(), True),
]


@pytest.mark.parametrize(("have", "now", "expected"), [o[1:] for o in OVERLOADED], ids=[o[0] for o in OVERLOADED])
def test_hints_that_do_not_fit_the_nodes_any_more(have: dict[str, int], now: Topology, expected: bool) -> None:
    assert is_overloaded(NOTHING.remember("IPv4", have), now) is expected


def test_a_service_without_hints_is_never_overloaded() -> None:
    assert not is_overloaded(NOTHING, Topology())


def test_one_address_type_of_two_suffices() -> None:
    assert is_overloaded(NOTHING.remember("IPv4", {"z1": 1, "z2": 1}).remember("IPv6", {"z1": 2}), HALVES)


def test_what_is_forgotten_is_forgotten_by_address_type_and_is_news_again() -> None:
    both: Any = NOTHING.remember("IPv4", {"z1": 1}).remember("IPv6", {"z1": 1})
    left = both.forget("IPv6")
    assert (left.is_enabled, set(left.by_type)) == (False, {"IPv4"})
    assert set(both.keep(["IPv4"]).by_type) == {"IPv4"} and both.keep(["IPv6", "IPv4"]) is both


@pytest.mark.parametrize(("share", "fewest"), [(1.5, 2), (2.5, 3), (3.0, 3), (3.6, 3), (6.0, 5), (1.2, 1)])
def test_the_fewest_endpoints_are_rounded_up_from_doubles(share: float, fewest: int) -> None:
    assert count_fewest(share) == fewest
