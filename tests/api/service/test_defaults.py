"""Defaults, transitions and warnings of Services. Rule: spec "service-api" §1.4, §2.1, §2.4, §3.5, §4.1-4.3, §6."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from seaway.api.machinery.strategy import Context
from seaway.api.service.defaults import (
    default_service,
    is_externally_accessible,
    needs_health_check_port,
    needs_node_ports,
)
from seaway.api.service.strategy import STRATEGY
from seaway.api.service.transition import default_on_read, take_over_allocated
from seaway.api.service.warnings import warn_of_service
from seaway.testing.builders import make_service, merge

Json = dict[str, Any]
CONTEXT = Context("2024-01-01T00:00:00Z")


def make(spec: Json) -> Json:
    return default_service(make_service(**copy.deepcopy(spec)))


AFFINITY = {"clientIP": {"timeoutSeconds": 10800}}
DEFAULTS: list[tuple[str, Json, Json]] = [
    # what, spec given, what the defaulted spec holds (None: the field is absent)
    ("the least", {}, {"type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
                       "externalTrafficPolicy": None, "allocateLoadBalancerNodePorts": None,
                       "trafficDistribution": None}),
    ("a port", {"ports": [{"port": 80}]}, {"ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}]}),
    ("target port 0 is none", {"ports": [{"port": 80, "targetPort": 0}]},
     {"ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}]}),
    ("a target port is kept", {"ports": [{"port": 80, "targetPort": "web"}]},
     {"ports": [{"port": 80, "protocol": "TCP", "targetPort": "web"}]}),
    ("affinity None drops its configuration", {"sessionAffinityConfig": {}}, {"sessionAffinityConfig": None}),
    ("affinity gets a timeout", {"sessionAffinity": "ClientIP"}, {"sessionAffinityConfig": AFFINITY}),
    ("§2.1(3) a timeout of 0 is one, for validation to refuse",
     {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 0}}},
     {"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 0}}}),
    ("§2.1(5) the empty target port is none", {"ports": [{"port": 80, "targetPort": ""}]},
     {"ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}]}),
    ("§2.1(6) a ClusterIP without external IPs has no external policy", {"externalIPs": []},
     {"externalTrafficPolicy": None}),
    ("§2.1(6) what is said stays", {"type": "NodePort", "externalTrafficPolicy": "Local"},
     {"externalTrafficPolicy": "Local"}),
    ("§2.1(6) ExternalName has no external policy", {"type": "ExternalName", "externalIPs": ["1.2.3.4"]},
     {"externalTrafficPolicy": None}),
    ("§2.1(8) a flag that is false stays", {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False},
     {"allocateLoadBalancerNodePorts": False}),
    ("§2.1(8) NodePort has no flag", {"type": "NodePort"}, {"allocateLoadBalancerNodePorts": None}),
    ("§2.1 what has no default stays absent", {"type": "LoadBalancer"},
     {"loadBalancerClass": None, "trafficDistribution": None, "publishNotReadyAddresses": None,
      "healthCheckNodePort": None, "ipFamilyPolicy": None}),
    ("an incomplete configuration is replaced",
     {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {}}}, {"sessionAffinityConfig": AFFINITY}),
    ("a timeout is kept",
     {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 5}}},
     {"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 5}}}),
    ("external policy of NodePort", {"type": "NodePort"}, {"externalTrafficPolicy": "Cluster"}),
    ("external policy with external IPs", {"externalIPs": ["1.2.3.4"]}, {"externalTrafficPolicy": "Cluster"}),
    ("a load balancer allocates", {"type": "LoadBalancer"},
     {"allocateLoadBalancerNodePorts": True, "externalTrafficPolicy": "Cluster"}),
    ("headless has an internal policy", {"clusterIP": "None"}, {"internalTrafficPolicy": "Cluster"}),
    ("ExternalName has none", {"type": "ExternalName"}, {"internalTrafficPolicy": None, "sessionAffinity": "None"}),
]  # fmt: skip


@pytest.mark.parametrize(("given", "expected"), [pytest.param(*case[1:], id=case[0]) for case in DEFAULTS])
def test_defaults(given: Json, expected: Json) -> None:
    service = make(given)
    assert {key: service["spec"].get(key) for key in expected} == expected
    assert default_service(copy.deepcopy(service)) == service


NEEDS: list[tuple[str, Json, str]] = [
    # what, spec; o: reached from outside, n: needs node ports, h: needs a port for health checks
    ("ClusterIP", {}, ""),
    ("headless", {"clusterIP": "None"}, ""),
    ("ClusterIP with external IPs", {"externalIPs": ["1.2.3.4"]}, "o"),
    ("a local ClusterIP with external IPs", {"externalIPs": ["1.2.3.4"], "externalTrafficPolicy": "Local"}, "o"),
    ("NodePort", {"type": "NodePort"}, "on"),
    ("a local NodePort", {"type": "NodePort", "externalTrafficPolicy": "Local"}, "on"),
    ("LoadBalancer", {"type": "LoadBalancer"}, "on"),
    ("a local LoadBalancer", {"type": "LoadBalancer", "externalTrafficPolicy": "Local"}, "onh"),
    ("LoadBalancer without node ports", {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False}, "o"),
    ("a local one without node ports", {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False,
                                        "externalTrafficPolicy": "Local"}, "oh"),
    ("ExternalName", {"type": "ExternalName"}, ""),
    ("ExternalName with external IPs", {"type": "ExternalName", "externalIPs": ["1.2.3.4"]}, ""),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "needs"), [pytest.param(*case[1:], id=case[0]) for case in NEEDS])
def test_what_a_service_needs(spec: Json, needs: str) -> None:
    """§1.1, §4.1, §5.6."""
    found = make(spec)["spec"]
    rules = {"o": is_externally_accessible, "n": needs_node_ports, "h": needs_health_check_port}
    assert "".join(letter for letter, rule in rules.items() if rule(found)) == needs


def test_an_ingress_address_is_a_vip_by_the_type_that_was_submitted() -> None:
    status = {"status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}, {"hostname": "a.b"}]}}}
    balancer = default_service(merge(make_service(type="LoadBalancer"), status))
    assert balancer["status"]["loadBalancer"]["ingress"] == [{"ip": "1.2.3.4", "ipMode": "VIP"}, {"hostname": "a.b"}]
    other = default_service(merge(make_service(), status))
    assert other["status"] == status["status"]


def test_a_new_service_has_an_empty_status() -> None:
    service = STRATEGY.prepare_create(merge(make({}), {"status": {"conditions": [{}]}}), CONTEXT)
    assert service["status"] == {"loadBalancer": {}}


def test_external_name_keeps_its_internal_policy_and_does_not_show_it() -> None:
    """Rule: spec "service-api" §4.7."""
    service = STRATEGY.prepare_create(make({"type": "ExternalName", "internalTrafficPolicy": "Local"}), CONTEXT)
    assert service["spec"]["internalTrafficPolicy"] == "Local"
    shown = STRATEGY.on_read(service, "IPv4")
    assert shown is not None
    assert "internalTrafficPolicy" not in shown["spec"]
    assert service["spec"]["internalTrafficPolicy"] == "Local"


SHOWN_AS_STORED: list[tuple[str, Json]] = [
    ("a cluster IP", {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ipFamilies": ["IPv4"]}),
    ("headless", {"clusterIP": "None", "clusterIPs": ["None"], "ipFamilies": ["IPv4"]}),
    ("ExternalName", {"type": "ExternalName"}),
]


@pytest.mark.parametrize("spec", [pytest.param(spec, id=name) for name, spec in SHOWN_AS_STORED])
def test_a_service_of_today_is_shown_as_it_is_stored(spec: Json) -> None:
    assert STRATEGY.on_read(make(spec), "IPv4") is None


ON_READ: list[tuple[str, Json, Json]] = [
    ("clusterIPs follow clusterIP", {"type": "ClusterIP", "clusterIP": "10.0.0.1"},
     {"clusterIPs": ["10.0.0.1"], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}),
    ("two addresses are two families", {"type": "ClusterIP", "clusterIP": "fd::1", "clusterIPs": ["fd::1", "10.0.0.1"]},
     {"ipFamilies": ["IPv6", "IPv4"], "ipFamilyPolicy": "RequireDualStack"}),
    ("families that are there stay", {"type": "ClusterIP", "clusterIP": "10.0.0.1", "ipFamilies": ["IPv6"]},
     {"ipFamilies": ["IPv6"], "ipFamilyPolicy": None}),
    ("ExternalName has no families", {"type": "ExternalName"}, {"ipFamilies": None, "ipFamilyPolicy": None}),
    ("headless with a selector", {"type": "ClusterIP", "clusterIP": "None", "selector": {"a": "b"}},
     {"clusterIPs": ["None"], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}),
    ("headless without one", {"type": "ClusterIP", "clusterIP": "None"},
     {"ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack"}),
    ("ExternalName has no internal policy", {"type": "ExternalName", "internalTrafficPolicy": "Cluster"},
     {"internalTrafficPolicy": None, "ipFamilies": None}),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "expected"), [pytest.param(*case[1:], id=case[0]) for case in ON_READ])
def test_default_on_read(spec: Json, expected: Json) -> None:
    kept = copy.deepcopy(spec)
    found = default_on_read(spec, primary="IPv4")
    assert {key: found.get(key) for key in expected} == expected
    assert spec == kept


OLD = {"type": "NodePort", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"],
       "ports": [{"name": "a", "port": 80, "nodePort": 30001}, {"name": "b", "port": 81, "nodePort": 30002}],
       }  # fmt: skip
TAKEN_OVER: list[tuple[str, Json, Json]] = [
    ("addresses", {"type": "ClusterIP"}, {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"]}),
    ("not by ExternalName", {"type": "ExternalName"}, {"clusterIP": None, "clusterIPs": None}),
    ("node ports by name", {"type": "NodePort", "ports": [{"name": "b", "port": 82}]},
     {"ports": [{"name": "b", "port": 82, "nodePort": 30002}]}),
    ("not one that another port names", {"type": "NodePort", "ports": [
        {"name": "a", "port": 80}, {"name": "c", "port": 82, "nodePort": 30001}]},
     {"ports": [{"name": "a", "port": 80}, {"name": "c", "port": 82, "nodePort": 30001}]}),
    ("§4.1 two new ports of one name get the number once", {"type": "NodePort", "ports": [
        {"name": "a", "port": 80}, {"name": "a", "port": 81}]},
     {"ports": [{"name": "a", "port": 80, "nodePort": 30001}, {"name": "a", "port": 81}]}),
    ("§4.1 ports of several protocols keep the number that they shared", {"type": "NodePort", "ports": [
        {"name": "a", "port": 53, "protocol": "TCP"}, {"name": "a", "port": 53, "protocol": "UDP"}]},
     {"ports": [{"name": "a", "port": 53, "protocol": "TCP", "nodePort": 30001},
                {"name": "a", "port": 53, "protocol": "UDP", "nodePort": 30001}]}),
    ("§4.1 a load balancer that allocates takes them over", {"type": "LoadBalancer",
     "ports": [{"name": "a", "port": 80}]}, {"ports": [{"name": "a", "port": 80, "nodePort": 30001}]}),
    ("§4.1 a new name has no number", {"type": "NodePort", "ports": [{"name": "z", "port": 80}]},
     {"ports": [{"name": "z", "port": 80}]}),
    ("§4.1 a number that the request moves is not copied back", {"type": "NodePort", "ports": [
        {"name": "a", "port": 80, "nodePort": 30002}, {"name": "b", "port": 81}]},
     {"ports": [{"name": "a", "port": 80, "nodePort": 30002}, {"name": "b", "port": 81}]}),
    ("§4.1 families and policy are not copied", {"type": "ClusterIP"}, {"ipFamilies": None, "ipFamilyPolicy": None}),
    ("§4.2 an unchanged clusterIP brings its list", {"type": "ClusterIP", "clusterIP": "10.0.0.1"},
     {"clusterIPs": ["10.0.0.1"]}),
    ("no node ports by ClusterIP", {"type": "ClusterIP", "ports": [{"name": "a", "port": 80}]},
     {"ports": [{"name": "a", "port": 80}]}),
    ("no node ports where they are not wanted",
     {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False, "ports": [{"name": "a", "port": 80}]},
     {"ports": [{"name": "a", "port": 80}]}),
    ("clusterIPs follow a changed clusterIP",
     {"type": "ClusterIP", "clusterIP": "10.0.0.2", "clusterIPs": ["10.0.0.1"]},
     {"clusterIPs": ["10.0.0.2"]}),
    ("both changed are left for validation",
     {"type": "ClusterIP", "clusterIP": "10.0.0.2", "clusterIPs": ["10.0.0.3"]}, {"clusterIPs": ["10.0.0.3"]}),
    ("clusterIP cleared on the way to ExternalName", {"type": "ExternalName", "clusterIPs": ["10.0.0.1"]},
     {"clusterIPs": None}),
]  # fmt: skip


@pytest.mark.parametrize(("new", "expected"), [pytest.param(*case[1:], id=case[0]) for case in TAKEN_OVER])
def test_taken_over_from_the_stored_service(new: Json, expected: Json) -> None:
    spec, old = copy.deepcopy(new), copy.deepcopy(OLD)
    take_over_allocated(spec, old)
    assert {key: spec.get(key) for key in expected} == expected
    assert old == OLD


WIPED: list[tuple[str, Json, Json, Json]] = [
    # what, spec before, changes, what the spec holds afterwards
    ("addresses on the way to ExternalName", {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"],
     "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}, {"type": "ExternalName"},
     {"clusterIP": None, "clusterIPs": None, "ipFamilies": None, "ipFamilyPolicy": None}),
    ("a changed address is left for validation", {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"]},
     {"type": "ExternalName", "clusterIP": "10.0.0.2"}, {"clusterIP": "10.0.0.2", "clusterIPs": ["10.0.0.1"]}),
    ("node ports", {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30001}]}, {"type": "ClusterIP"},
     {"ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}], "externalTrafficPolicy": None}),
    ("a new node port is left for validation", {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30001}]},
     {"type": "ClusterIP", "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80, "nodePort": 30002}]},
     {"ports": [{"port": 80, "protocol": "TCP", "targetPort": 80, "nodePort": 30002}]}),
    ("what only a load balancer has",
     {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30009,
      "loadBalancerClass": "a/b"},
     {"type": "ClusterIP"}, {"healthCheckNodePort": None, "allocateLoadBalancerNodePorts": None,
                             "loadBalancerClass": None, "externalTrafficPolicy": None}),
    ("NodePort keeps the external policy", {"type": "LoadBalancer", "externalTrafficPolicy": "Local"},
     {"type": "NodePort"}, {"externalTrafficPolicy": "Local", "allocateLoadBalancerNodePorts": None}),
    ("the health check port alone", {"type": "LoadBalancer", "externalTrafficPolicy": "Local",
                                     "healthCheckNodePort": 30009}, {"externalTrafficPolicy": "Cluster"},
     {"healthCheckNodePort": None, "allocateLoadBalancerNodePorts": True}),
    ("§4.3 node ports of ports that went and came", {"type": "NodePort", "ports": [
        {"name": "a", "port": 80, "nodePort": 30001}, {"name": "b", "port": 81, "nodePort": 30002}]},
     {"type": "ClusterIP", "ports": [{"name": "c", "port": 82, "nodePort": 30002}]},
     {"ports": [{"name": "c", "port": 82}]}),
    ("§4.3 NodePort to LoadBalancer keeps all", {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30001}]},
     {"type": "LoadBalancer", "ports": [{"port": 80, "nodePort": 30001}]},
     {"ports": [{"port": 80, "nodePort": 30001}], "externalTrafficPolicy": "Cluster"}),
    ("§4.3 a changed health check port is left for validation",
     {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30009},
     {"type": "NodePort", "healthCheckNodePort": 30010}, {"healthCheckNodePort": 30010}),
    ("§4.3 a changed class is left for validation", {"type": "LoadBalancer", "loadBalancerClass": "a/b"},
     {"type": "NodePort", "loadBalancerClass": "a/c"}, {"loadBalancerClass": "a/c"}),
    ("§4.3 an empty class is a change", {"type": "LoadBalancer"},
     {"type": "NodePort", "loadBalancerClass": ""}, {"loadBalancerClass": ""}),
    ("§4.3 a changed flag is left for validation", {"type": "LoadBalancer"},
     {"type": "NodePort", "allocateLoadBalancerNodePorts": False}, {"allocateLoadBalancerNodePorts": False}),
    ("§4.3 a changed external policy is left for validation", {"type": "NodePort"},
     {"type": "ClusterIP", "externalTrafficPolicy": "Local"}, {"externalTrafficPolicy": "Local"}),
    ("§4.3 external IPs keep the external policy", {"type": "NodePort", "externalIPs": ["1.2.3.4"]},
     {"type": "ClusterIP"}, {"externalTrafficPolicy": "Cluster"}),
    ("§4.3 external IPs that go take it along", {"externalIPs": ["1.2.3.4"]}, {"externalIPs": []},
     {"externalTrafficPolicy": None}),
    ("§4.3 changed families are left for validation", {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"],
     "ipFamilies": ["IPv4"]}, {"type": "ExternalName", "ipFamilies": ["IPv6"]},
     {"clusterIP": None, "ipFamilies": ["IPv6"]}),
    ("§4.3 headless loses None on the way to ExternalName", {"clusterIP": "None", "clusterIPs": ["None"]},
     {"type": "ExternalName"}, {"clusterIP": None, "clusterIPs": None}),
    ("§4.3 what is never wiped", {"type": "LoadBalancer", "selector": {"a": "b"}, "externalName": "a.b",
     "externalIPs": ["1.2.3.4"], "sessionAffinity": "ClientIP", "loadBalancerIP": "1.2.3.4",
     "trafficDistribution": "PreferSameZone", "internalTrafficPolicy": "Cluster"}, {"type": "NodePort"},
     {"selector": {"a": "b"}, "externalName": "a.b", "externalIPs": ["1.2.3.4"], "sessionAffinity": "ClientIP",
      "sessionAffinityConfig": AFFINITY, "loadBalancerIP": "1.2.3.4", "trafficDistribution": "PreferSameZone",
      "internalTrafficPolicy": "Cluster"}),
    ("source ranges stay", {"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.0/8"]},
     {"type": "ClusterIP"}, {"loadBalancerSourceRanges": ["10.0.0.0/8"]}),
]  # fmt: skip


@pytest.mark.parametrize(("before", "changes", "expected"), [pytest.param(*case[1:], id=case[0]) for case in WIPED])
def test_wiped_by_type(before: Json, changes: Json, expected: Json) -> None:
    old = merge(make(before), {"status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}, "conditions": []}})
    kept = copy.deepcopy(old)
    new = STRATEGY.prepare_update({**old, "spec": {**copy.deepcopy(old["spec"]), **changes}}, old, CONTEXT)
    assert {key: new["spec"].get(key) for key in expected} == expected
    still = new["spec"]["type"] == "LoadBalancer"
    assert new["status"] == {"conditions": [], "loadBalancer": old["status"]["loadBalancer"] if still else {}}
    assert old == kept


def test_a_status_write_keeps_the_spec_and_takes_the_metadata() -> None:
    old = merge(make({}), {"metadata": {"finalizers": ["a.b/c"]}})
    sent = {"metadata": {"name": "web", "namespace": "default"}, "spec": {}, "status": {"conditions": []}}
    new = STRATEGY.prepare_status_update(sent, old, CONTEXT)
    assert new["spec"] == old["spec"]
    assert "finalizers" not in new["metadata"]
    assert new["status"] == {"loadBalancer": {}, "conditions": []}


IGNORES = "is ignored for headless services"
TRANSLATES = "nothing translates ports of a headless Service without a selector; clients use port"
WARNINGS: list[tuple[str, Json, list[str]]] = [
    ("§3.5 an IPv4 address in IPv6 clothes", {"externalIPs": ["::ffff:1.2.3.4"], "clusterIP": "None"},
     [f"spec.externalIPs {IGNORES}",
      'spec.externalIPs[0]: non-standard IP address "::ffff:1.2.3.4" is invalid: use "1.2.3.4"']),
    ("§3.5(7) host bits and zeros are two things", {"type": "LoadBalancer",
     "loadBalancerSourceRanges": ["010.0.0.1/8", "FD00::/8"]},
     ['spec.loadBalancerSourceRanges[0]: CIDR value "010.0.0.1/8" is ambiguous in this context '
      '(should be "10.0.0.0/8" or "10.0.0.1/32"?)',
      'spec.loadBalancerSourceRanges[0]: non-standard CIDR value "010.0.0.1/8" is invalid: use "10.0.0.1/8"',
      'spec.loadBalancerSourceRanges[1]: IPv6 CIDR value "FD00::/8" should be in RFC 5952 canonical format '
      '("fd00::/8")']),
    ("§3.5(7) a range with blanks is no CIDR to the warnings", {"type": "LoadBalancer",
     "loadBalancerSourceRanges": [" 10.0.0.1/8 "]}, []),
    ("no warning of mixed protocols, of a loadBalancerIP or of a name like an address",
     {"type": "LoadBalancer", "loadBalancerIP": "1.2.3.4",
      "ports": [{"name": "a", "port": 53}, {"name": "b", "port": 53, "protocol": "UDP"}]}, []),
    ("no warning of a name like an address", {"type": "ExternalName", "externalName": "1.2.3.4"}, []),
    ("all in their order", {"externalIPs": ["FD::1"], "loadBalancerIP": "FD::2", "externalName": "a.b",
     "trafficDistribution": "PreferClose", "clusterIP": "FD::3", "clusterIPs": ["FD::3"]},
     [f'{path}: IPv6 address "FD::{n}" should be in RFC 5952 canonical format ("fd::{n}")'
      for path, n in (("spec.clusterIPs[0]", 3), ("spec.externalIPs[0]", 1))]
     + ["spec.externalIPs is deprecated and may no longer be implemented in some clusters",
        'spec.loadBalancerIP: IPv6 address "FD::2" should be in RFC 5952 canonical format ("fd::2")',
        'spec.externalName is ignored when spec.type is not "ExternalName"',
        'spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"']),
    ("§14(77) headless without a selector: the port is the target port",
     {"clusterIP": "None", "selector": {}, "ports": [
         {"name": "a", "port": 80}, {"name": "b", "port": 81, "targetPort": 8081},
         {"name": "c", "port": 82, "targetPort": "web"}]},
     [f"spec.ports[1].targetPort: {TRANSLATES} 81, not 8081", f"spec.ports[2].targetPort: {TRANSLATES} 82, not web"]),
    ("§14(77) a selector has Pods, whose ports may differ",
     {"clusterIP": "None", "ports": [{"port": 80, "targetPort": 8080}]}, []),
    ("§14(77) not headless: a port is translated", {"selector": {}, "ports": [{"port": 80, "targetPort": 8080}]}, []),
    ("§3.5(2) each of two addresses", {"clusterIP": "FD::1", "clusterIPs": ["FD::1", "010.0.0.1"]},
     ['spec.clusterIPs[0]: IPv6 address "FD::1" should be in RFC 5952 canonical format ("fd::1")',
      'spec.clusterIPs[1]: non-standard IP address "010.0.0.1" is invalid: use "10.0.0.1"']),
    ("§3.5(3) headless alone has nothing to ignore", {"clusterIP": "None"}, []),
    ("§3.5(3) headless and an affinity of None", {"clusterIP": "None", "sessionAffinity": "None"}, []),
    ("§3.5(3) a name that is ignored anyway", {"clusterIP": "None", "externalName": "a.b"},
     ['spec.externalName is ignored when spec.type is not "ExternalName"']),
    *((f"§3.5(3) headless and {field}", {"clusterIP": "None", field: value}, [f"spec.{named} {IGNORES}"])
      for field, named, value in (("loadBalancerIP", "loadBalancerIP", "1.2.3.4"),
                                  ("externalIPs", "externalIPs", ["1.2.3.4"]),
                                  ("sessionAffinity", "SessionAffinity", "ClientIP"))),
    ("§3.5(3) None of another type is not headless to the warnings",
     {"type": "NodePort", "clusterIP": "None", "sessionAffinity": "ClientIP"}, []),
    *((f"§3.5(5) external IPs of a {kind}", {"type": kind, "externalIPs": ["1.2.3.4"]},
       ["spec.externalIPs is deprecated and may no longer be implemented in some clusters"])
      for kind in ("ClusterIP", "NodePort", "LoadBalancer")),
    ("§3.5(8) after what is odd about them", {"type": "ExternalName", "externalName": "a.b", "externalIPs": ["FD::1"]},
     ['spec.externalIPs[0]: IPv6 address "FD::1" should be in RFC 5952 canonical format ("fd::1")',
      'spec.externalIPs is ignored when spec.type is "ExternalName"']),
    *((f"§3.5(9) a name of a {kind}", {"type": kind, "externalName": "a.b"},
       ['spec.externalName is ignored when spec.type is not "ExternalName"']) for kind in ("NodePort", "LoadBalancer")),
    *((f"§3.5(10) {value} has no better name", {"trafficDistribution": value}, [])
      for value in ("PreferSameZone", "PreferSameNode")),
    ("§3.5(10) of ExternalName too",
     {"type": "ExternalName", "externalName": "a.b", "trafficDistribution": "PreferClose"},
     ['spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"']),
    ("none", {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"]}, []),
    ("an odd address", {"clusterIP": "FD::1", "clusterIPs": ["FD::1"]},
     ['spec.clusterIPs[0]: IPv6 address "FD::1" should be in RFC 5952 canonical format ("fd::1")']),
    ("what headless ignores",
     {"clusterIP": "None", "loadBalancerIP": "1.2.3.4", "externalIPs": ["1.2.3.4"], "sessionAffinity": "ClientIP"},
     ["spec.loadBalancerIP is ignored for headless services", "spec.externalIPs is ignored for headless services",
      "spec.SessionAffinity is ignored for headless services"]),
    ("external IPs are deprecated", {"externalIPs": ["1.2.3.4"]},
     ["spec.externalIPs is deprecated and may no longer be implemented in some clusters"]),
    ("an odd load balancer address", {"type": "LoadBalancer", "loadBalancerIP": "01.2.3.4"},
     ['spec.loadBalancerIP: non-standard IP address "01.2.3.4" is invalid: use "1.2.3.4"']),
    ("a load balancer address that is none", {"type": "LoadBalancer", "loadBalancerIP": "x"}, []),
    ("host bits", {"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.1/8"]},
     ['spec.loadBalancerSourceRanges[0]: CIDR value "10.0.0.1/8" is ambiguous in this context '
      '(should be "10.0.0.0/8" or "10.0.0.1/32"?)']),
    ("ExternalName ignores external IPs",
     {"type": "ExternalName", "externalName": "1.2.3.4", "externalIPs": ["1.2.3.4"]},
     ['spec.externalIPs is ignored when spec.type is "ExternalName"']),
    ("only ExternalName has one", {"externalName": "a.b"},
     ['spec.externalName is ignored when spec.type is not "ExternalName"']),
    ("PreferClose has a better name", {"trafficDistribution": "PreferClose"},
     ['spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"']),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "texts"), [pytest.param(*case[1:], id=case[0]) for case in WARNINGS])
def test_warnings(spec: Json, texts: list[str]) -> None:
    assert warn_of_service(make(spec)) == texts


def test_the_hints_annotation_is_warned_of_first() -> None:
    old_hints = merge(make({"externalName": "a.b"}), {"metadata": {"annotations": {
        "service.kubernetes.io/topology-aware-hints": "Auto"}}})  # fmt: skip
    assert warn_of_service(old_hints) == [
        "annotation service.kubernetes.io/topology-aware-hints is deprecated, "
        "please use service.kubernetes.io/topology-mode instead",
        'spec.externalName is ignored when spec.type is not "ExternalName"',
    ]


def test_a_status_write_is_warned_of_addresses_alone() -> None:
    """The path is the entry's, without `.ip` (§3.5)."""
    status = {"status": {"loadBalancer": {"ingress": [{"hostname": "a.b"}, {"ip": "FD::1"}]}}}
    odd = merge(make({"type": "LoadBalancer", "externalName": "a.b"}), status)
    assert STRATEGY.status_warnings(odd, odd) == [
        'status.loadBalancer.ingress[1]: IPv6 address "FD::1" should be in RFC 5952 canonical format ("fd::1")'
    ]


def test_selectable_fields() -> None:
    assert STRATEGY.fields(make({"clusterIP": "None"})) == {"spec.clusterIP": "None", "spec.type": "ClusterIP"}
    assert STRATEGY.fields({}) == {"spec.clusterIP": "", "spec.type": ""}
