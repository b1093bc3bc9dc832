"""Where the rules behind upstream's test tables of Services and Endpoints are tested here.

A test is named by its file and function. Rule: spec "service-api" §12.
"""

from __future__ import annotations

_VALIDATION = "tests/api/service/test_validation.py::"
_DEFAULTS = "tests/api/service/test_defaults.py::"
_FAMILIES = "tests/api/service/test_families.py::"
_ENDPOINTS = "tests/api/endpoints/test_validation.py::"
_ADDRESSES = "tests/api/machinery/test_addresses.py::"
_ALLOCATE = "tests/apiserver/allocation/test_allocate.py::"
_FAMILY_MATRIX = "tests/apiserver/allocation/test_family_matrix.py::"
_PORT_MATRIX = "tests/apiserver/allocation/test_port_matrix.py::"
_OBJECTS = "tests/apiserver/allocation/test_objects.py::"
_CLIENTS = "tests/apiserver/allocation/test_concurrent_clients.py::"
_CRASH = "tests/apiserver/allocation/test_crash.py::"
_FEATURES = "tests/apiserver/test_service_features.py::"
_SEED = "tests/apiserver/test_seed_cases.py::"
_TRANSITIONS = "tests/apiserver/test_service_transitions.py::"
_ORACLE = "tests/apiserver/test_service_oracle.py::"
_READ = "tests/apiserver/reading/test_services_on_read.py::"
_TARGETS = "tests/apiserver/proxying/test_targets.py::"
_PROXY = "tests/apiserver/proxying/test_proxy.py::"
_FORWARDING = "tests/proxy/test_forwarding.py::"

TESTS: dict[str, tuple[str, ...]] = {
    # pkg/apis/core/validation/validation_test.go
    "core/validation TestValidateServiceCreate": (
        _VALIDATION + "test_create", _VALIDATION + "test_annotations", _VALIDATION + "test_a_field_of_a_type",
        _VALIDATION + "test_every_rule_that_can_be_met_has_a_row",
        _VALIDATION + "test_the_name_is_a_label_that_may_start_with_a_digit",
    ),
    "core/validation TestValidateServiceUpdate": (
        _VALIDATION + "test_update", _VALIDATION + "test_a_class_of_types",
        _VALIDATION + "test_a_ranges_annotation_that_was_there_may_be_odd",
        _VALIDATION + "test_metadata_is_judged_by_the_kind_too",
    ),
    "core/validation TestValidateServiceExternalTrafficPolicy": (
        _VALIDATION + "test_create", _FEATURES + "test_an_external_policy_of",
    ),
    "core/validation TestValidateLoadBalancerStatus": (
        _VALIDATION + "test_status", _VALIDATION + "test_an_address_of_the_status_that_was_there_may_be_odd",
    ),
    "core/validation TestValidateEndpointsCreate": (_ENDPOINTS + "test_create", _ENDPOINTS + "test_the_size"),
    "core/validation TestValidateEndpointsUpdate": (_ENDPOINTS + "test_subsets_that_stay_are_not_judged_again",),
    "core/validation TestValidateEndpointIP": (_ENDPOINTS + "test_create", _ADDRESSES + "test_addresses"),
    "core/validation TestEndpointAddressNodeName": (
        _ENDPOINTS + "test_create", _ENDPOINTS + "test_the_node_of_an_address_may_change",
    ),
    # pkg/apis/core/v1/defaults_test.go
    "core/v1/defaults_test TestSetDefaultService": (_DEFAULTS + "test_defaults",),
    "core/v1/defaults_test TestSetDefaultServiceSessionAffinityConfig": (
        _DEFAULTS + "test_defaults",
        _FEATURES + "test_affinity_comes_with_its_default_changes_and_goes_with_its_timeout",
    ),
    "core/v1/defaults_test TestSetDefaultServiceTargetPort": (_DEFAULTS + "test_defaults",),
    "core/v1/defaults_test TestSetDefaultServicePort": (_DEFAULTS + "test_defaults",),
    "core/v1/defaults_test TestSetDefaultServiceExternalTraffic": (_DEFAULTS + "test_defaults",),
    "core/v1/defaults_test TestSetDefaultServiceLoadbalancerIPMode": (
        _DEFAULTS + "test_an_ingress_address_is_a_vip_by_the_type_that_was_submitted",
        _SEED + "test_a_status_put_is_defaulted_by_the_type_that_it_submits",
    ),
    "core/v1/defaults_test TestSetDefaultServiceInternalTrafficPolicy": (
        _DEFAULTS + "test_defaults", _FEATURES + "test_an_internal_policy_of",
    ),
    "core/v1/defaults_test TestSetDefaultEndpointsProtocol": (_ENDPOINTS + "test_a_port_without_a_protocol_is_tcp",),
    # pkg/api/service/warnings_test.go, util_test.go
    "service/warnings_test TestGetWarningsForService": (
        _DEFAULTS + "test_warnings", _DEFAULTS + "test_the_hints_annotation_is_warned_of_first",
    ),
    "service/warnings_test TestGetWarningsForServiceClusterIPs": (
        _DEFAULTS + "test_warnings", _ADDRESSES + "test_addresses",
    ),
    "service/util_test GetLoadBalancerSourceRanges": (
        _FORWARDING + "test_source_ranges", _VALIDATION + "test_create", _VALIDATION + "test_annotations",
    ),
    "service/util_test ExternallyAccessible": (_DEFAULTS + "test_what_a_service_needs",),
    "service/util_test NeedsHealthCheck": (_DEFAULTS + "test_what_a_service_needs",),
    "service/util_test RequestsOnlyLocalTraffic": (
        _FORWARDING + "test_refusals", _FORWARDING + "test_the_local_policy_parts_outside_from_the_cluster",
    ),
    "service/util_test AllowAll": (_FORWARDING + "test_source_ranges",),
    # pkg/registry/core/service/strategy_test.go
    "service/strategy_test TestDropTypeDependentFields": (
        _DEFAULTS + "test_wiped_by_type", _TRANSITIONS + "test_from_type_to_type",
        _PORT_MATRIX + "test_ports_that_lose_their_numbers_with_the_type",
        _VALIDATION + "test_a_class_of_types",
    ),
    "service/strategy_test TestMatchService": (
        _FEATURES + "test_services_are_selected_by_their_fields", _DEFAULTS + "test_selectable_fields",
    ),
    "service/strategy_test TestServiceStatusStrategy": (
        _DEFAULTS + "test_a_status_write_keeps_the_spec_and_takes_the_metadata",
        _SEED + "test_a_status_write_keeps_the_spec_takes_metadata_and_warns_of_addresses",
    ),
    # pkg/registry/core/service/storage/storage_test.go
    "storage_test TestNormalizeClusterIPs": (
        _DEFAULTS + "test_taken_over_from_the_stored_service", _ALLOCATE + "test_families_on_create",
        _ALLOCATE + "test_refused_on_create", _FAMILY_MATRIX + "test_updates_in_a_cluster",
    ),
    "storage_test TestPatchAllocatedValues": (
        _DEFAULTS + "test_taken_over_from_the_stored_service", _PORT_MATRIX + "test_changed_ports",
    ),
    "storage_test TestServiceDefaultOnRead": (
        _DEFAULTS + "test_default_on_read", _DEFAULTS + "test_a_service_of_today_is_shown_as_it_is_stored",
        _READ + "test_a_service_of_an_older_server",
    ),
    "storage_test TestCreateInitClusterIPsFromClusterIP": (
        _FAMILY_MATRIX + "test_creation_in_a_cluster", _ALLOCATE + "test_families_on_create",
        _SEED + "test_own_cluster_ip",
    ),
    "storage_test TestCreateInitIPFields": (
        _FAMILY_MATRIX + "test_creation_in_a_cluster", _FAMILIES + "test_create",
        _FAMILIES + "test_the_primary_family_is_the_first_range",
        _FAMILIES + "test_external_name_has_no_families",
    ),
    "storage_test TestCreateInvalidClusterIPInputs": (
        _ALLOCATE + "test_refused_on_create", _VALIDATION + "test_create",
        _FAMILY_MATRIX + "test_creation_in_a_cluster",
    ),
    "storage_test TestCreateDeleteReuse": (_FEATURES + "test_what_a_deleted_service_had_another_gets",),
    "storage_test TestCreateInitNodePorts": (
        _PORT_MATRIX + "test_ports", _ALLOCATE + "test_node_ports_on_create",
        _ALLOCATE + "test_full_node_ports_are_an_internal_error",
    ),
    "storage_test TestCreateSkipsAllocationsForHeadless": (
        _ALLOCATE + "test_headless_and_external_name_take_nothing", _FAMILY_MATRIX + "test_creation_in_a_cluster",
    ),
    "storage_test TestCreateDryRun": (
        _FEATURES + "test_a_rehearsed_create_shows_valid_values_and_takes_nothing",
        _OBJECTS + "test_a_dry_run_keeps_nothing",
    ),
    "storage_test TestDeleteDryRun": (_FEATURES + "test_a_rehearsed_delete_gives_nothing_back",),
    "storage_test TestUpdateDryRun": (
        _FEATURES + "test_a_rehearsed_update_answers_as_the_update_does_and_moves_nothing",
        _OBJECTS + "test_what_a_change_gives_up_is_free_with_its_answer",
    ),
    "storage_test TestUpdatePatchAllocatedValues": (
        _PORT_MATRIX + "test_changed_ports", _PORT_MATRIX + "test_ports",
        _FEATURES + "test_the_port_of_health_checks_is_kept_while_it_is_needed_and_goes_afterwards",
        _TRANSITIONS + "test_the_same_write_again_changes_nothing",
    ),
    "storage_test TestUpdateIPsFromSingleStack": (
        _FAMILY_MATRIX + "test_updates_in_a_cluster", _FAMILIES + "test_update",
        _ALLOCATE + "test_prefer_dual_stack_does_not_follow_the_cluster_by_itself",
    ),
    "storage_test TestUpdateIPsFromDualStack": (
        _FAMILY_MATRIX + "test_updates_in_a_cluster", _FAMILIES + "test_update",
        _ALLOCATE + "test_a_second_family_goes_only_with_the_policy",
    ),
    "storage_test TestFeatureExternalName": (
        _FEATURES + "test_an_external_name_is_exchanged_and_one_trailing_dot_is_kept",
    ),
    "storage_test TestFeatureSelector": (
        _FEATURES + "test_a_selector_is_exchanged_as_a_whole_and_moves_no_address",
    ),
    "storage_test TestFeatureClusterIPs": (
        _FAMILY_MATRIX + "test_updates_in_a_cluster", _VALIDATION + "test_update",
        _TRANSITIONS + "test_leaving_external_name_the_client_may_name_an_address",
    ),
    "storage_test TestFeaturePorts": (
        _PORT_MATRIX + "test_changed_ports", _PORT_MATRIX + "test_ports",
        _ALLOCATE + "test_a_port_renamed_without_its_number_gets_another_one",
        _TRANSITIONS + "test_leaving_external_name_needs_ports_unless_headless",
    ),
    "storage_test TestFeatureSessionAffinity": (
        _FEATURES + "test_affinity_comes_with_its_default_changes_and_goes_with_its_timeout",
    ),
    "storage_test TestFeatureType": (
        _TRANSITIONS + "test_from_type_to_type", _ALLOCATE + "test_transitions",
        _ORACLE + "test_every_write_is_what_the_rules_make_of_the_state_that_it_met",
    ),
    "storage_test TestFeatureExternalTrafficPolicy": (
        _FEATURES + "test_an_external_policy_of",
        _FEATURES + "test_the_port_of_health_checks_is_kept_while_it_is_needed_and_goes_afterwards",
        _FEATURES + "test_an_external_policy_goes_with_the_last_way_from_outside",
    ),
    "storage_test TestFeatureInternalTrafficPolicy": (
        _FEATURES + "test_an_internal_policy_of",
        _READ + "test_the_policy_stays_when_a_patch_goes_to_external_name_and_back",
    ),
    "storage_test TestServiceRegistryResourceLocation": (
        _TARGETS + "test_an_id_is_a_name_with_a_port_and_a_scheme",
        _TARGETS + "test_the_search_starts_anywhere_and_goes_round",
        _TARGETS + "test_what_does_not_qualify_is_passed_over",
        _TARGETS + "test_a_number_stands_for_the_name_that_the_service_gives_it",
        _PROXY + "test_what_cannot_be_reached_is_told_as_upstream_tells_it",
        _PROXY + "test_only_addresses_that_a_pod_of_the_namespace_has_are_dialled",
    ),
    "storage_test TestUpdateServiceLoadBalancerStatus": (
        _FEATURES + "test_ingress_of_a_load_balancer_comes_changes_and_goes_through_the_status",
        _SEED + "test_a_status_write_of_another_type_is_refused",
    ),
    "storage_test TestDeleteWithFinalizer": (
        _FEATURES + "test_a_service_that_a_finalizer_holds_keeps_its_numbers_and_its_endpoints_until_it_is_gone",
        _SEED + "test_the_last_finalizer_removed_through_the_status_ends_the_service_and_gives_back_its_numbers",
    ),
    # pkg/registry/core/service/storage/transaction_test.go
    "transaction_test Test_metaTransaction": (
        _FEATURES + "test_nothing_is_taken_or_given_up_when", _OBJECTS + "test_a_refused_service_keeps_nothing",
        _CRASH + "test_killed_at_any_commit_it_leaves_nothing_to_mend",
        _CLIENTS + "test_no_two_services_share_and_nothing_is_lost",
    ),
    # test/integration/service, test/integration/dualstack
    "integration/service loadbalancer_test": (
        _TRANSITIONS + "test_a_node_port_is_released_alone_by",
        _TRANSITIONS + "test_a_manifest_that_never_named_node_ports_releases_all",
        _TRANSITIONS + "test_the_flag_turned_on_gives_every_port_a_number_and_keeps_what_is_there",
        _SEED + "test_load_balancer_class_is_set_once", _SEED + "test_load_balancer_class_does_not_come_later",
        _SEED + "test_load_balancer_class_on_another_type",
        _SEED + "test_node_ports_are_kept_when_allocation_is_turned_off",
        _FEATURES + "test_ingress_of_a_load_balancer_comes_changes_and_goes_through_the_status",
    ),
    "integration/service service_test": (
        _READ + "test_the_policy_comes_back_when_a_patch_leaves_external_name",
        _READ + "test_the_policy_stays_when_a_patch_goes_to_external_name_and_back",
        "tests/scenarios/test_control_loops.py::test_a_service_gets_its_slices_and_they_follow_its_pods",
        "tests/scenarios/test_endpoints.py::test_a_service_that_gains_a_selector_takes_endpoints_by_hand_over",
        "tests/controllers/endpointslice/test_hints.py::test_a_preference_is_decided_per_endpoint",
        "tests/controllers/endpointslice/test_hints.py::test_which_mechanism_applies",
    ),
    "integration/dualstack": (
        _FAMILY_MATRIX + "test_creation_in_a_cluster", _FAMILY_MATRIX + "test_updates_in_a_cluster",
        _ALLOCATE + "test_a_second_family_added_live_does_not_make_the_cluster_dual_stack",
        _OBJECTS + "test_the_default_range_gets_its_second_family_and_keeps_its_first",
        "tests/system/test_dual_stack.py::test_node_pods_and_services_have_an_address_of_each_family",
        "tests/system/test_dual_stack.py::test_a_service_of_ipv6_alone_is_served",
    ),
}  # fmt: skip

WITHOUT: dict[str, str] = {}
"""Upstream's tables that have no counterpart here, and why."""
