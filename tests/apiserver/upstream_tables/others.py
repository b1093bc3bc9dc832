"""Where the rules behind upstream's test tables are tested here: allocation, networking, discovery, printers, options.

The tables of Services themselves are elsewhere. A test is named by its file and function. Rule: spec "service-api" §12.
"""

from __future__ import annotations

_POOL = "tests/apiserver/allocation/test_pool.py::"
_ALLOCATE = "tests/apiserver/allocation/test_allocate.py::"
_OBJECTS = "tests/apiserver/allocation/test_objects.py::"
_REPAIRS = "tests/apiserver/builtin/test_repairs.py::"
_DEFAULT_CIDR = "tests/apiserver/builtin/test_default_cidr.py::"
_OWN_SERVICE = "tests/apiserver/builtin/test_kubernetes_service.py::"
_CIDR = "tests/api/servicecidr/test_servicecidr.py::"
_CIDR_LOOP = "tests/controllers/servicecidr/test_plan.py::"
_INGRESS = "tests/api/ingress/test_ingress.py::"
_CLASS = "tests/api/ingressclass/test_ingressclass.py::"
_SLICE = "tests/api/endpointslice/test_validation.py::"
_ENDPOINTS = "tests/api/endpoints/test_validation.py::"
_SUBSETS = "tests/api/endpoints/test_subsets.py::"
_TABLES = "tests/apiserver/reading/test_tables.py::"
_COLUMNS = "tests/api/test_columns.py::"
_SMALL = "tests/api/test_small_kinds.py::"
_ADDRESSES = "tests/api/machinery/test_addresses.py::"
_TARGETS = "tests/apiserver/proxying/test_targets.py::"
_HTML = "tests/apiserver/proxying/test_html.py::"
_EXTERNAL = "tests/apiserver/admission/test_external_ips.py::"

TESTS: dict[str, tuple[str, ...]] = {
    "net TestPortRange": (
        "tests/api/machinery/test_port_range.py::test_a_range_of_ports",
        "tests/api/machinery/test_port_range.py::test_what_is_no_range_of_ports",
    ),
    "options TestValidateServiceNodePort": (
        "tests/app/test_options.py::test_the_range_of_node_ports_holds_the_one_of_the_api_server",
        "tests/apiserver/builtin/test_kubernetes_service.py::test_with_a_node_port_it_is_of_that_type",
    ),
    "ipallocator/bitmap_test Test_calculateRangeOffset": (_POOL + "test_address_bands",),
    "ipallocator/bitmap_test TestAllocate": (
        _ALLOCATE + "test_explicit_addresses_may_use_either_band", _POOL + "test_the_static_band_comes_last",
        _ALLOCATE + "test_a_full_range_is_an_internal_error",
    ),
    "ipallocator/bitmap_test TestDryRun": (_OBJECTS + "test_a_dry_run_keeps_nothing",),
    "ipallocator_test Test_hostsPerNetwork": (
        _POOL + "test_address_bands", _POOL + "test_a_range_without_addresses_is_full",
    ),
    "ipallocator_test Test_broadcastAddress": (_POOL + "test_address_bands",),
    "ipallocator_test Test_addOffsetAddress": (_POOL + "test_address_bands",),
    "ipallocator_test TestAddOffsetAddress": (_POOL + "test_address_bands",),
    "ipallocator_test Test_ipIterator": (
        _POOL + "test_the_static_band_comes_last", _POOL + "test_what_is_chosen_is_free_and_inside",
    ),
    "ipallocator_test Test_ipIterator_Number": (_POOL + "test_a_full_stretch_is_crossed_in_few_looks",),
    "ipallocator_test TestAllocateIPAllocator": (
        _ALLOCATE + "test_refused_on_create", _POOL + "test_a_wanted_number_is_checked",
    ),
    "ipallocator_test TestAllocateNext_Collision": (
        _ALLOCATE + "test_two_plans_for_one_address_cannot_both_be_committed",
        _ALLOCATE + "test_racing_planners_hand_out_nothing_twice_and_leak_nothing",
    ),
    "cidrallocator_test TestCIDRAllocateMultiple": (_ALLOCATE + "test_a_range_added_live_is_used_at_once",),
    "cidrallocator_test TestCIDRAllocateShadow": (_ALLOCATE + "test_ranges_that_overlap_hand_out_an_address_once",),
    "cidrallocator_test TestCIDRAllocateGrow": (_ALLOCATE + "test_a_range_added_live_is_used_at_once",),
    "cidrallocator_test TestCIDRAllocateShrink": (
        _ALLOCATE + "test_a_range_is_not_drawn_from_when",
        _ALLOCATE + "test_a_range_that_is_gone_is_drawn_from_no_more_and_keeps_no_memory",
    ),
    "cidrallocator_test Test_isNotContained": (_CIDR_LOOP + "test_a_range_contains_what_it_can_hand_out",),
    "repairip_test TestRepairServiceIP": (
        _REPAIRS + "test_what_this_server_writes_needs_no_repair", _REPAIRS + "test_a_missing_address_is_made_again",
        _REPAIRS + "test_an_address_with_a_wrong_parent_is_made_again",
        _REPAIRS + "test_an_address_without_its_labels_is_made_again_quietly",
        _REPAIRS + "test_an_address_of_two_services_is_said_and_left",
        _REPAIRS + "test_addresses_that_are_none_or_of_no_range_are_said_and_left",
    ),
    "repairip_test TestRepairIPAddress_syncIPAddress": (
        _REPAIRS + "test_a_leaked_address_goes_after_a_minute",
        _REPAIRS + "test_an_address_that_was_modified_to_name_no_service_goes",
        _REPAIRS + "test_an_address_that_names_a_service_which_does_not_use_it_is_removed_and_made_again",
    ),
    "repairip_test TestRepairIPAddress_runOnce": (
        _REPAIRS + "test_the_ranges_of_all_service_cidrs_count",
        _REPAIRS + "test_a_pass_that_breaks_is_counted_for_the_loop_that_broke",
        _REPAIRS + "test_what_one_loop_cannot_mend_does_not_keep_the_other_from_mending",
    ),
    "portallocator/allocator_test Test_calculateRangeOffset": (_POOL + "test_port_bands",),
    "portallocator/allocator_test TestAllocate": (
        _POOL + "test_a_wanted_number_is_checked", _POOL + "test_what_is_chosen_is_free_and_inside",
    ),
    "portallocator/allocator_test TestAllocateReserved": (_POOL + "test_the_static_band_comes_last",),
    "portallocator/operation_test TestDryRunAllocate": (_OBJECTS + "test_a_dry_run_keeps_nothing",),
    "portallocator/operation_test TestDryRunAllocateNext": (_OBJECTS + "test_a_dry_run_keeps_nothing",),
    "portallocator/controller/repair_test TestCollectServiceNodePorts": (
        _REPAIRS + "test_node_ports_used_twice_or_out_of_range_are_said_and_left",
    ),
    "portallocator/controller/repair_test TestRepair": (_REPAIRS + "test_node_ports_are_put_right",),
    "allocator/bitmap_test": (
        _POOL + "test_bits_are_a_set", _POOL + "test_what_is_chosen_is_free_and_inside",
        _POOL + "test_the_static_band_comes_last",
    ),
    "allocator/bitmap_test TestPreAllocateReservedFull_BitmapReserved": (
        _POOL + "test_reserved_numbers_are_passed_over",
    ),
    "servicecidr_test TestOverlapsPrefix": (_CIDR_LOOP + "test_ranges_overlap_when_an_address_may_lie_in_both",),
    "servicecidr_test TestContainsPrefix": (_CIDR_LOOP + "test_plan",),
    "servicecidr_test TestContainsAddress": (_CIDR_LOOP + "test_a_range_contains_what_it_can_hand_out",),
    "servicecidr_test Test_PrefixContainIP": (_CIDR_LOOP + "test_a_range_contains_what_it_can_hand_out",),
    "servicecidr_test TestIPToAddr": (_ADDRESSES + "test_what_is_found_is_what_the_standard_library_finds",),
    "servicecidr_test TestBroadcastAddress": (_POOL + "test_address_bands",),
    "networking TestValidateIPAddress": (
        _SMALL + "test_an_ip_address_is_named_by_its_canonical_text", _SMALL + "test_create",
    ),
    "networking TestValidateIPAddressUpdate": (_SMALL + "test_update",),
    "networking TestValidateServiceCIDR": (_CIDR + "test_create",),
    "networking TestValidateServiceCIDRUpdate": (_CIDR + "test_update", _CIDR + "test_update_of_two"),
    "networking TestValidateIngress": (_INGRESS + "test_create",),
    "networking TestValidateIngressRuleValue": (_INGRESS + "test_create",),
    "networking TestValidateIngressCreate": (
        _INGRESS + "test_create", _INGRESS + "test_the_annotation_is_judged_on_create_alone",
    ),
    "networking TestValidateIngressUpdate": (
        _INGRESS + "test_the_annotation_is_judged_on_create_alone", _INGRESS + "test_a_bad_name_of_a_secret_may_stay",
    ),
    "networking TestValidateIngressStatusUpdate": (
        _INGRESS + "test_status", _INGRESS + "test_an_odd_address_of_the_status_may_stay",
    ),
    "networking TestValidateIngressClass": (_CLASS + "test_create",),
    "networking TestValidateIngressClassUpdate": (_CLASS + "test_the_controller_stays",),
    "defaultservicecidr TestControllerSync": (
        _DEFAULT_CIDR + "test_it_is_made_of_the_servers_ranges_in_their_order",
        _DEFAULT_CIDR + "test_it_is_called_ready_when_nobody_has_judged_it",
        _DEFAULT_CIDR + "test_nothing_else_is_touched", _DEFAULT_CIDR + "test_what_no_write_mends_is_said",
        _DEFAULT_CIDR + "test_what_somebody_calls_not_ready_is_said_once_and_stays",
    ),
    "defaultservicecidr TestControllerSyncConversions": (
        _DEFAULT_CIDR + "test_a_second_range_is_added_to_the_first",
        _DEFAULT_CIDR + "test_a_server_with_two_ranges_upgrades_the_object_of_one",
        _DEFAULT_CIDR + "test_a_write_that_fails_is_said",
    ),
    "servicecidrs TestControllerSync": (_CIDR_LOOP + "test_plan",),
    "servicecidrs TestController_canDeleteCIDR": (
        _CIDR_LOOP + "test_plan", _CIDR_LOOP + "test_nothing_that_a_service_holds_loses_its_last_range",
    ),
    "servicecidrs TestController_ipToCidrs": (_CIDR_LOOP + "test_a_range_contains_what_it_can_hand_out",),
    "servicecidrs TestController_cidrToCidrs": (_CIDR_LOOP + "test_ranges_overlap_when_an_address_may_lie_in_both",),
    "reconcilers/endpointsadapter_test": (
        _OWN_SERVICE + "test_endpoints_and_slice_name_the_server_and_nobody_mirrors_them",
        _OWN_SERVICE + "test_it_is_put_right",
        _OWN_SERVICE + "test_an_address_of_another_family_makes_another_slice",
    ),
    "kubernetesservice TestCreateOrUpdateMasterService": (
        _OWN_SERVICE + "test_it_is_single_stack_with_the_first_address_and_leads_from_443_to_the_secure_port",
        _OWN_SERVICE + "test_an_existing_service_is_never_corrected",
    ),
    "discovery TestValidateEndpointSlice": (_SLICE + "test_create", _SLICE + "test_endpoint"),
    "discovery TestValidateEndpointSliceCreate": (_SLICE + "test_create",),
    "discovery TestValidateEndpointSliceUpdate": (
        _SLICE + "test_the_address_type_stays", _SLICE + "test_endpoints_that_stay_are_not_judged_again",
    ),
    "endpointslice/strategy_test Test_dropTopologyOnV1": (
        _SLICE + "test_the_old_topology_goes_but_a_known_node_stays_known",
        _SLICE + "test_a_node_name_is_not_made_of_topology_that_the_old_slice_lacks",
        _SLICE + "test_a_new_slice_has_no_old_topology",
    ),
    "endpointslice/strategy_test TestPrepareForUpdate": (_SLICE + "test_what_counts_for_the_generation",),
    "endpointslice/strategy_test Test_warnOnBadIPs": (
        _SLICE + "test_warnings", _SLICE + "test_a_warning_of_the_mirroring_controller_is_none",
    ),
    "endpointslice/strategy_test TestWarningsOnEndpointSliceAddressType": (_SLICE + "test_warnings",),
    "endpointslice/strategy_test Test_getDeprecatedTopologyNodeNames": (
        _SLICE + "test_the_old_topology_goes_but_a_known_node_stays_known",
    ),
    "endpoint/strategy_test Test_endpointsWarning": (_ENDPOINTS + "test_warnings",),
    "endpoints/util_test TestPackSubsets": (
        _SUBSETS + "test_canonical_subsets", _SUBSETS + "test_the_first_of_equal_addresses_stands",
        _SUBSETS + "test_the_canonical_form_says_the_same_in_any_order_and_is_its_own",
    ),
    "printers TestPrintService": (_TABLES + "test_services",),
    "printers TestPrintServiceLoadBalancer": (_TABLES + "test_services",),
    "printers TestPrintEndpoint": (_TABLES + "test_endpoints",),
    "printers TestPrintEndpointSlice": (_TABLES + "test_endpoint_slices",),
    "printers TestPrintServiceCIDR": (_TABLES + "test_small_kinds",),
    "printers TestPrintIPAddress": (_TABLES + "test_small_kinds",),
    "printers TestPrintPod": (_TABLES + "test_pods", _TABLES + "test_wide_cells_of_pods"),
    "printers TestPrintNode": (_TABLES + "test_nodes",),
    "printers TestPrintNamespace": (_TABLES + "test_small_kinds",),
    "printers TestPrintIngress": (
        _COLUMNS + "test_hosts_of_an_ingress", _COLUMNS + "test_an_ingress_shows_each_address_once_and_sorted",
    ),
    "printers TestPrintIngressClass": (_TABLES + "test_small_kinds", _COLUMNS + "test_default_classes_are_marked"),
    "duration TestHumanDuration": (_TABLES + "test_durations",),
    "duration TestHumanDurationBoundaries": (_TABLES + "test_durations",),
    "net TestSplitSchemeNamePort": (_TARGETS + "test_an_id_is_a_name_with_a_port_and_a_scheme",),
    "validation/ip_test TestIsValidIP": (_ADDRESSES + "test_addresses",),
    "validation/ip_test TestGetWarningsForIP": (_ADDRESSES + "test_addresses",),
    "validation/ip_test TestIsValidCIDR": (_ADDRESSES + "test_addresses",),
    "validation/ip_test TestGetWarningsForCIDR": (_ADDRESSES + "test_addresses",),
    "proxy TestProxyTransport": (
        _HTML + "test_only_what_is_absolute_on_the_same_host_is_rewritten",
        _HTML + "test_attributes_that_are_urls_are_rewritten", _HTML + "test_compressed_pages_stay_compressed",
        _HTML + "test_only_html_that_can_be_read_is_rewritten",
    ),
    "options TestClusterServiceIPRange": ("tests/app/test_options.py::test_a_bad_flag_is_named",),
    "admission defaultingressclass": (
        "tests/apiserver/admission/test_classes.py::test_an_ingress_without_a_class_gets_the_default",
        "tests/apiserver/admission/test_classes.py::test_an_ingress_that_says_something_keeps_it",
    ),
    "admission denyserviceexternalips": (
        _EXTERNAL + "test_by_default_every_external_ip_is_denied_in_upstreams_words",
        _EXTERNAL + "test_an_external_ip_that_is_there_stays_and_another_is_not_added",
        _EXTERNAL + "test_a_status_is_written_whatever_the_spec_in_the_body_says",
    ),
    "integration/servicecidr": (
        _ALLOCATE + "test_a_range_added_live_is_used_at_once",
        _OBJECTS + "test_the_default_range_gets_its_second_family_and_keeps_its_first",
        "tests/system/test_service_ranges.py::test_a_range_added_live_is_reached_and_guarded_until_it_goes",
    ),
}  # fmt: skip

WITHOUT: dict[str, str] = {
    "networking TestAllowRelaxedServiceNameValidation": "the gate is on and cannot be turned off",
    "reconcilers/lease_test": "one server writes the endpoints; there are no leases of several",
    "reconcilers/instancecount_test": "deprecated upstream, and there is one server",
    "options TestValidatePublicIPServiceClusterIPRangeIPFamilies": "the address is the node's own; no flag gives one",
}
"""Upstream's tables that have no counterpart here, and why."""
