"""What upstream's conformance tests of the network need of a node and of the way to its Pods, and what shows it.

`node.tsv` has the facts (spec "node" §7.3): file and name as in `network.tsv`, and letters of NODE_NEEDS; none where a
test runs no Pod.
"""

from __future__ import annotations

from pathlib import Path

from tests.upstream.network import PROTOCOLS, Need

TABLE = Path(__file__).with_name("node.tsv")

PODS, PORTS, TWO = (f"kernel/{file}.py::" for file in ("node_program", "node_network_program", "node_two"))
PROXY, AFFINITY = (f"kernel/{file}.py::test_" for file in ("test_proxy", "test_proxy_affinity"))
EXAMPLES, STREAMS, IMAGES, PROXYING, SHARING = (
    f"system/{file}.py::test_"
    for file in ("test_examples", "test_streams", "test_images", "test_proxying", "test_shared_network")
)
RULES, PROBES, PROBING, STREAMING = (
    f"node/{file}.py::test_"
    for file in ("test_discovery_scenarios", "test_probes", "probing/test_transport", "streaming/test_serve")
)
DIGS, DNS = (f"dns/{file}.py::test_" for file in ("test_conformance_names", "test_serve"))
REQUESTS = "apiserver/proxying/test_proxy.py::test_"

NODE_NEEDS = {
    "r": Need(
        "a Pod with a network, an address and a host name of its own, ready when it says so, gone when it is deleted",
        shown=(f"{PODS}a_pod_serves_from_its_own_address", f"{PODS}names_and_resolver_are_the_pods_own",
               f"{PODS}a_deleted_pod_leaves_nothing", f"{PODS}a_forced_deletion_ends_what_the_api_knows_no_more"),
    ),
    "i": Need(
        "programs of an image, which somebody has [imported](images.md) on the node: nothing is pulled",
        shown=(f"{IMAGES}an_image_serves_by_its_own_entrypoint",
               f"{IMAGES}a_program_sees_the_image_and_nothing_of_the_host",
               f"{IMAGES}a_name_may_stand_for_a_program_of_the_host"),
    ),
    "x": Need(
        "exec: output, errors and exit code, each apart",
        shown=(f"{STREAMS}output_errors_and_the_exit_code_are_the_programs",
               f"{STREAMING}output_and_the_exit_code_come_apart_and_the_end_is_a_normal_close",
               f"{STREAMING}a_program_over_spdy"),
    ),
    "m": Need(
        "several containers in a Pod with one network; one ends and starts again while the others run",
        shown=(f"{SHARING}containers_of_a_pod_share_its_network_and_its_volume",
               f"{SHARING}one_container_ends_and_starts_again_while_the_other_runs_on"),
    ),
    "v": Need(
        "an emptyDir that the containers of a Pod share",
        shown=(f"{SHARING}containers_of_a_pod_share_its_network_and_its_volume",
               f"{PODS}init_containers_run_first_and_in_order"),
    ),
    "e": Need(
        "`$(NAME)` and `$$` in commands",
        shown=(f"{RULES}d5_6_every_row_of_the_syntax_in_variables_commands_and_sub_paths",),
    ),
    "n": Need(
        "resolv.conf with the cluster's search list, a hosts file with the Pod's names",
        shown=(f"{PODS}names_and_resolver_are_the_pods_own", f"{RULES}d5_9_resolv_conf_by_policy",
               f"{RULES}d5_11_the_hosts_file_byte_for_byte"),
    ),
    "c": Need("`dnsPolicy: None` with a `dnsConfig`", shown=(f"{RULES}d5_9_resolv_conf_by_policy",)),
    "q": Need(
        "the cluster's DNS, asked from Pods, over UDP and TCP",
        shown=(f"{DIGS}every_name_that_is_dug_for_is_answered", f"{DIGS}the_cluster_ip_has_the_name_of_its_service",
               f"{DIGS}an_external_name_that_is_changed_and_becomes_a_cluster_ip", f"{DNS}dig_prints",
               f"{EXAMPLES}a_headless_name_answers_with_the_pods_addresses"),
    ),
    "h": Need(
        "HTTP probes, from a first delay on",
        shown=(f"{PODS}a_pod_serves_from_its_own_address",
               f"{PROBES}the_first_try_waits_for_the_initial_delay_since_the_start", f"{PROBING}status_codes"),
    ),
    "t": Need(
        "Pods reach each other by their own addresses, on one node and on another",
        shown=(f"{TWO}a_pod_reaches_a_pod_of_the_other_node_and_its_address_is_kept",
               f"{SHARING}pods_reach_each_other_by_tcp_and_udp_and_keep_their_addresses"),
    ),
    "w": Need(
        "Pods on the node's own network, which reach all others",
        shown=(f"{SHARING}a_pod_on_the_nodes_network_has_its_address_and_reaches_pods_by_tcp_and_udp",),
    ),
    "o": Need(
        "host ports by address and protocol, 127.0.0.1 too",
        shown=(f"{PORTS}one_number_leads_to_three_pods_by_address_and_protocol",),
    ),
    "p": Need(
        "Pods and Services by way of the API server",
        shown=(f"{PROXYING}a_program_is_asked_by_service_and_by_pod", f"{REQUESTS}every_method_is_passed_on",
               f"{REQUESTS}a_path_without_a_slash_is_redirected_to_the_one_with_it"),
    ),
    "s": Need(
        "cluster IPs, from Pods",
        shown=(f"{PROXY}a_pod_reaches_the_endpoints_by_the_cluster_ip_with_its_own_address",
               f"{PROXY}two_ports_go_to_their_own_targets", f"{EXAMPLES}a_pod_reaches_the_service_by_name",
               f"{EXAMPLES}a_named_target_port_is_found_in_the_pod"),
    ),
    "d": Need(
        "node ports, from Pods",
        shown=(f"{PROXY}a_node_port_serves_outside_and_node_and_pod",
               f"{EXAMPLES}a_node_port_is_served_at_the_nodes_address"),
    ),
    "f": Need(
        "session affinity, switched on and off",
        shown=(f"{AFFINITY}scenario_115_a_client_keeps_its_endpoint",
               f"{AFFINITY}scenario_123_another_time_keeps_the_client_and_none_ends_it",
               f"{AFFINITY}scenario_125_a_node_port_keeps_its_client_too_under_either_policy"),
    ),
    "u": Need(
        "TCP and UDP on one port, and no UDP any more once that port is gone",
        shown=(PROTOCOLS, f"{SHARING}one_port_serves_tcp_and_udp_until_udp_is_taken_away"),
    ),
}  # fmt: skip


def read_node_needs() -> dict[tuple[str, str], tuple[str, ...]]:
    """By file and name, what each conformance test needs of a node: letters, in the order of the table."""
    needs = {}
    for line in TABLE.read_text().splitlines()[1:]:
        file, name, letters = line.split("\t")
        needs[file, name] = tuple(letters.replace("-", "").split())
    return needs
