"""Rule: spec "node" §4.6 (host-gw)."""

from __future__ import annotations

import ipaddress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.node.types import Node
from seaway.node.peers.plan import LinkAddress, PeerPlan, PeerRoute, RouteChanges, plan_changes, plan_peers

LINKS = (
    LinkAddress("eth0", ipaddress.ip_interface("192.0.2.1/24")),
    LinkAddress("eth1", ipaddress.ip_interface("2001:db8::1/64")),
)


def node(name: str, ranges: list[str], *addresses: str, created: str = "2026-01-01T00:00:00Z") -> Node:
    entries = [{"type": "InternalIP", "address": address} for address in addresses]
    return msgspec.convert(
        {
            "metadata": {"name": name, "creationTimestamp": created},
            "spec": {"podCIDR": ranges[0], "podCIDRs": ranges} if ranges else {},
            "status": {"addresses": [*entries, {"type": "Hostname", "address": "192.0.2.99"}]},
        },
        Node,
    )


def plan(*nodes: Node, cluster: tuple[str, ...] = ("10.244.0.0/16", "fd10:244::/56")) -> PeerPlan:
    return plan_peers(
        nodes,
        own_name="a",
        own_ranges=[ipaddress.ip_network("10.244.0.0/24")],
        cluster_ranges=[ipaddress.ip_network(text) for text in cluster],
        links=LINKS,
    )


def test_each_family_is_routed_over_the_nodes_address_of_that_family() -> None:
    found = plan(node("b", ["10.244.1.0/24", "fd10:244:0:1::/64"], "192.0.2.2", "2001:db8::2"))
    assert found.routes == (PeerRoute("10.244.1.0/24", "192.0.2.2"), PeerRoute("fd10:244:0:1::/64", "2001:db8::2"))
    assert found.links == ("eth0", "eth1") and found.unreachable == ()


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(node("a", ["10.244.0.0/24"], "192.0.2.1"), id="the node itself needs no route"),
        pytest.param(node("b", [], "192.0.2.2"), id="a node without a range has none yet"),
        pytest.param(node("b", ["nonsense"], "192.0.2.2"), id="what is no range is passed over"),
    ],
)
def test_no_route_and_no_complaint(other: Node) -> None:
    assert plan(other) == PeerPlan()


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        pytest.param(node("b", ["10.244.1.0/24"], "198.51.100.2"), "on a link", id="an address on no link of the host"),
        pytest.param(node("b", ["10.244.1.0/24"], "192.0.2.1"), "on a link", id="this host's own address"),
        pytest.param(node("b", ["10.244.1.0/24"], "2001:db8::2"), "on a link", id="an address of the other family"),
        pytest.param(node("b", ["0.0.0.0/0"], "192.0.2.2"), "outside", id="a range beyond the cluster's"),
        pytest.param(node("b", ["10.244.0.128/25"], "192.0.2.2"), "another node's", id="a part of this node's range"),
    ],
)
def test_a_node_is_told_as_unreachable_for(other: Node, reason: str) -> None:
    found = plan(other)
    assert found.routes == () and len(found.unreachable) == 1
    assert reason in found.unreachable[0] and "node b" in found.unreachable[0]


def test_a_node_that_claims_the_range_of_an_older_one_does_not_get_its_packets() -> None:
    older = node("z", ["10.244.1.0/24"], "192.0.2.2", created="2026-01-01T00:00:00Z")
    newer = node("b", ["10.244.1.0/24"], "192.0.2.3", created="2026-01-02T00:00:00Z")
    assert plan(newer, older).routes == (PeerRoute("10.244.1.0/24", "192.0.2.2"),)


def test_a_range_that_moved_to_another_host_is_replaced_and_never_without_a_route() -> None:
    old, new = PeerRoute("10.244.1.0/24", "192.0.2.2"), PeerRoute("10.244.1.0/24", "192.0.2.3")
    assert plan_changes([new], [old]) == RouteChanges(set=(new,))


ROUTES = st.dictionaries(
    st.sampled_from([f"10.244.{n}.0/24" for n in range(4)]), st.sampled_from([f"192.0.2.{n}" for n in range(2, 5)])
).map(lambda found: frozenset(PeerRoute(*item) for item in found.items()))


@given(ROUTES, ROUTES)
def test_changes_lead_from_what_is_there_to_what_is_wanted_and_then_there_are_none(
    wanted: frozenset[PeerRoute], found: frozenset[PeerRoute]
) -> None:
    changes = plan_changes(wanted, found)
    table = {route.network: route for route in found}
    for route in changes.removed:
        del table[route.network]
    table |= {route.network: route for route in changes.set}
    assert set(table.values()) == wanted
    assert plan_changes(wanted, table.values()) == RouteChanges()
