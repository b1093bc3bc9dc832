"""Upstream's end-to-end tests of the network (v1.36), the control loops that each needs, and our tests that show them.

`network.tsv` has the facts (spec "controllers" §7.11): file, name without `[sig-network] <suite>`, tags, letters of
loops, and how many nodes. Files in `common/` are of `test/e2e/common/network`, and conformance all (spec "node" §7.3).
Every test also needs a namespace with its account and CA, emptied at the end; one with nodes needs Pods that are
scheduled on living nodes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).with_name("network.tsv")


@dataclass(frozen=True, slots=True)
class UpstreamTest:
    """A row. `needs`: keys of NEEDS, in their order."""

    file: str
    name: str
    tags: tuple[str, ...]
    needs: tuple[str, ...]
    nodes: int

    @property
    def is_conformance(self) -> bool:
        return "C" in self.tags


@dataclass(frozen=True, slots=True)
class Need:
    """What a test needs of the controllers. loops: names in `--controllers`, none where it is not in place.

    shown: tests of ours, as `path::name` under `tests/`, or a golden conversation, as `path` alone. absent: why it is
    not in place.
    """

    text: str
    loops: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    absent: str = ""


LOOPS, ENDS, NEEDS_, NODES_ = (
    f"scenarios/{file}.py::test_"
    for file in ("test_control_loops", "test_endpoints", "test_upstream_needs", "test_node_failure")
)
MIRROR, SLICES, PLACES, RANGES = (
    f"scenarios/{file}.py::test_"
    for file in ("test_mirroring", "test_slices", "test_scheduling", "test_service_ranges")
)
ROLLS = "scenarios/test_deployments.py::test_"
NEEDS = {
    "A": Need(
        "a namespace with its account and CA, and its end",
        ("namespace", "garbage"),
        ("scenarios/namespaces.txt", f"{LOOPS}every_namespace_has_its_default_objects_and_gets_them_back",
         f"{LOOPS}a_namespace_ends_with_all_that_is_in_it", f"{LOOPS}slices_end_with_their_service"),
    ),
    "N": Need(
        "Pods on living nodes",
        ("scheduler", "nodes", "tainteviction", "podgc"),
        ("scenarios/node-liveness.txt", f"{PLACES}a_pod_is_bound_and_told_so",
         f"{LOOPS}pods_are_spread_over_ready_nodes",
         f"{NODES_}a_dead_node_loses_its_endpoints_at_once_and_its_pods_in_time"),
    ),
    "E": Need(
        "EndpointSlices",
        ("endpointslice",),
        ("scenarios/endpoint-slices.txt", "scenarios/faults.txt",
         f"{NEEDS_}pods_that_come_and_go_one_by_one_are_the_endpoints"),
    ),
    "P": Need(
        "Endpoints",
        ("endpoints",),
        (f"{ENDS}a_service_gets_its_endpoints_and_they_follow_its_pods",
         f"{ENDS}endpoints_end_with_their_service_whoever_is_first"),
    ),
    "M": Need(
        "mirrored Endpoints",
        ("mirroring",),
        ("scenarios/endpoints-and-mirroring.txt",
         f"{MIRROR}hand_made_endpoints_are_mirrored_through_create_update_and_delete"),
    ),
    "D": Need(
        "Deployments and ReplicaSets",
        ("deployment", "replicaset"),
        ("scenarios/rolling-update.txt", f"{ROLLS}a_deployment_is_told_of_step_by_step",
         f"{ROLLS}a_rolling_update_keeps_its_bounds_and_can_be_undone"),
    ),
    "S": Need(
        "DaemonSets",
        ("daemonset",),
        (f"{NEEDS_}a_daemon_set_has_a_pod_on_each_node_and_its_service_an_endpoint_of_each",),
    ),
    "C": Need(
        "ServiceCIDRs",
        ("servicecidr",),
        (f"{RANGES}a_range_is_used_when_it_comes_and_stays_until_nothing_uses_it",),
    ),
    "H": Need(
        "topology hints",
        ("endpointslice",),
        ("scenarios/topology-hints.txt", f"{SLICES}hints_by_topology_follow_the_nodes",
         f"{NEEDS_}a_node_says_by_its_labels_in_which_zone_its_endpoints_are"),
    ),
    "L": Need("load balancers", absent="`type: LoadBalancer` gets no address yet"),
}  # fmt: skip

SWITCH = f"{NEEDS_}a_service_that_changes_from_external_name_to_cluster_ip_gets_endpoints_and_back_keeps_them"
TYPES = f"{NEEDS_}the_type_of_a_service_does_not_touch_its_endpoints"
ONE_BY_ONE = f"{NEEDS_}pods_that_come_and_go_one_by_one_are_the_endpoints"
PUBLISHED = f"{NEEDS_}unready_and_terminating_pods_are_ready_when_the_service_publishes_them"
TERMINATING = f"{NEEDS_}a_terminating_pod_serves_while_its_probe_says_so_and_is_never_ready"
FAMILIES = f"{NEEDS_}each_family_of_a_service_has_the_addresses_of_its_family"
BY_HAND = f"{NEEDS_}slices_that_a_test_makes_by_hand_stay_as_they_are"
PROTOCOLS = f"{NEEDS_}one_number_with_two_protocols_is_two_ports_until_one_goes"
SCTP = f"{NEEDS_}sctp_is_a_protocol_like_the_others"
SHARED = f"{NEEDS_}services_that_share_pods_have_endpoints_each_until_they_are_deleted"
HOST_NAMES = f"{NEEDS_}a_pod_with_a_host_name_in_the_services_subdomain_has_it_in_its_endpoint"
READINESS = f"{NEEDS_}readiness_that_comes_later_is_followed_and_so_is_a_switch_between_two_versions"
DETAILS: tuple[tuple[str, str], ...] = (
    (r"basic endpoint from pods|up and down services", ONE_BY_ONE),
    (r"multiport endpoints from pods", f"{NEEDS_}a_port_that_only_one_pod_has_is_of_that_pod_alone"),
    (r"adding or deleting ports|target port changes",
     f"{NEEDS_}a_port_of_the_service_that_is_added_or_removed_is_followed"),
    (r"ExternalName to|to ExternalName", SWITCH),
    (r"NodePort|nodePort|LoadBalancer|load balancer|ExternalIP|session affinity|service-proxy-name", TYPES),
    (r"service has been recreated", f"{NEEDS_}a_service_that_is_made_again_under_its_name_has_its_endpoints_again"),
    (r"unready pods|PublishNotReadyAddresses is true", PUBLISHED),
    (r"PublishNotReadyAddresses is false|terminating|pod cycles|update endpoints|rolling update", TERMINATING),
    (r"evicted pods|no endpoints exist",
     f"{NEEDS_}an_evicted_pod_is_no_endpoint_even_of_a_service_that_publishes_unready_ones"),
    (r"same port (number but|and) different protocol", PROTOCOLS),
    (r"sctp|SCTP service", SCTP),
    (r"^(?!common/).*(udp|UDP)", PROTOCOLS),
    (r"ports exposed by restartable|named ports exposed", f"{NEEDS_}a_named_port_is_found_in_a_sidecar"),
    (r"resolve to different ports|Endpoints and EndpointSlices for Pods",
     f"{NEEDS_}named_ports_that_resolve_differently_and_change_with_a_pod_of_the_same_name"),
    (r"multiple endpoint-Services with same selector", SHARED),
    (r"dual_stack|family|single stack|cluster ip", FAMILIES),
    (r"multiple ports specified|multiple endpoint IPs|EndpointSlice API operations|kubernetes.io/headless", BY_HAND),
    (r"lifecycle of an Endpoint", f"{NEEDS_}endpoints_by_hand_live_until_somebody_deletes_them"),
    (r"selector that matches no pods",
     f"{NEEDS_}without_pods_there_are_an_empty_slice_and_empty_endpoints_and_both_go_with_the_service"),
    (r"create Endpoints for Pods",
     f"{NEEDS_}endpoints_have_a_subset_for_each_way_in_which_a_named_port_resolves"),
    (r"multiple subsets and same IP", f"{MIRROR}one_address_with_two_ports_is_two_slices"),
    (r"DNS for (services|pods)|partial qualified names for services|starts with a digit", HOST_NAMES),
    (r"Blue Green|unready endpoints get ready", READINESS),
    (r"service_latency|maximum number of services",
     f"{NEEDS_}two_hundred_services_over_one_pod_have_their_endpoints_in_an_instant"),
    (r"traffic_distribution|distribute endpoints evenly",
     f"{NEEDS_}a_node_says_by_its_labels_in_which_zone_its_endpoints_are"),
    (r"restarting|recreate its iptables", f"{LOOPS}what_changed_while_the_loops_were_cut_off_is_made_up_for"),
    (r"same hostPort", f"{PLACES}in_a_burst_no_node_is_overcommitted_and_no_port_taken_twice"),
    (r"different Service CIDRs", f"{RANGES}a_range_is_used_when_it_comes_and_stays_until_nothing_uses_it"),
    (r"service.go .*(internalTrafficPolicy|source pod IP|hairpin|functioning|be rejected when|health check node port)|"
     r"^networking.go|conntrack.go|kube_proxy.go|dns_configmap.go|networking_perf.go|proxy through a service|"
     r"source ranges|target(s)? (only|all)|only target|work from pods|should work for type|cleanup finalizer|"
     r"type and ports of a TCP service", ONE_BY_ONE),
)  # fmt: skip
"""Where a test asks for something particular of a loop: a pattern of its file and name, and our test of that."""


def read_table() -> list[UpstreamTest]:
    """All rows, in upstream's order."""
    rows = []
    for line in TABLE.read_text().splitlines()[1:]:
        file, name, tags, loops, nodes = line.split("\t")
        letters = ["A", *(["N"] if int(nodes) else []), *loops.split()]
        rows.append(UpstreamTest(file, name, tuple(tags.replace(",", " ").split()), tuple(letters), int(nodes)))
    return rows


def find_details(row: UpstreamTest) -> Iterator[str]:
    """Our tests of what the row asks for in particular."""
    for pattern, shown in DETAILS:
        if re.search(pattern, f"{row.file} {row.name}"):
            yield shown
