"""Ranges of the wrong family. Rule: spec "proxy" §11.1, step 10."""

from __future__ import annotations

from typing import Any

import pytest

from seaway.net.family import Family
from seaway.proxy.config import DetectLocal, NodeView, ProxyConfig
from seaway.proxy.families import FamilyFault, find_family_faults

V4, V6 = ("10.0.0.0/8",), ("fd10::/64",)
BOTH, ONLY4, ONLY6 = (Family.IPV4, Family.IPV6), (Family.IPV4,), (Family.IPV6,)
HOME4, HOME6 = "192.0.2.1", "2001:db8::1"
NODE_CIDR = DetectLocal.NODE_CIDR

CASES: dict[str, tuple[dict[str, Any], NodeView, tuple[Family, ...], list[tuple[str, bool]]]] = {
    "the right family is no fault": ({"cluster_cidrs": V4}, NodeView("N", "", (HOME4,)), BOTH, []),
    "no ranges are no fault": ({}, NodeView("N", "", (HOME4,)), ONLY4, []),
    "both families are no fault": ({"cluster_cidrs": V4 + V6}, NodeView("N", "", (HOME6,)), ONLY6, []),
    "the wrong one is told where the host has both": (
        {"cluster_cidrs": V6}, NodeView("N", "", (HOME4,)), BOTH,
        [("cluster is IPv4-primary but clusterCIDRs contains only IPv6 addresses", False)],
    ),
    "and fatal where it has one": (
        {"cluster_cidrs": V4}, NodeView("N", "", (HOME6,)), ONLY6,
        [("cluster is IPv6-only but clusterCIDRs contains only IPv4 addresses", True)],
    ),
    "a node without addresses is of the host's first family": (
        {"cluster_cidrs": V6}, NodeView("N"), ONLY4,
        [("cluster is IPv4-only but clusterCIDRs contains only IPv6 addresses", True)],
    ),
    "a node of both families may have either": ({"cluster_cidrs": V6}, NodeView("N", "", (HOME4, HOME6)), BOTH, []),
    "ranges are not looked at where Pods are known by links": (
        {"cluster_cidrs": V6, "detect_local": DetectLocal.BRIDGE_INTERFACE, "pod_link": "cni0"},
        NodeView("N", "", (HOME4,)), ONLY4, [],
    ),
    "node port addresses are only told": (
        {"node_port_addresses": V6}, NodeView("N", "", (HOME4,)), ONLY4,
        [("cluster is IPv4-only but nodePortAddresses contains only IPv6 addresses", False)],
    ),
    "the Node's ranges are fatal always": (
        {"detect_local": NODE_CIDR}, NodeView("N", "", (HOME4,), V6), BOTH,
        [("cluster is IPv4-primary but node.spec.podCIDRs contains only IPv6 addresses", True)],
    ),
    "an address that is set decides": (
        {"cluster_cidrs": V4}, NodeView("N", "", (HOME4, HOME6), fixed_address=HOME6), BOTH,
        [("cluster is IPv6-primary but clusterCIDRs contains only IPv4 addresses", False)],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("settings", "node", "families", "faults"), CASES.values(), ids=CASES.keys())
def test_ranges_of_a_family_that_the_node_does_not_have(
    settings: dict[str, Any], node: NodeView, families: tuple[Family, ...], faults: list[tuple[str, bool]]
) -> None:
    config = ProxyConfig(node_name="N", **settings)
    assert list(find_family_faults(config, node, families)) == [FamilyFault(*fault) for fault in faults]
