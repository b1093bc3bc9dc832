"""What is wrong with a Service. Rule: spec "service-api" §3.2, §3.4, §6; the ids carry the rule's number."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from seaway.api.service.defaults import default_service
from seaway.api.service.strategy import STRATEGY
from seaway.api.service.validation import validate_load_balancer_status, validate_service, validate_service_update
from seaway.testing.builders import make_service, merge
from tests.api.machinery.test_addresses import CIDR, IP, LOOPBACK
from tests.api.machinery.test_names import LABEL, NAME_PART, SUBDOMAIN, VALUE

Json = dict[str, Any]
PORT = "must be between 1 and 65535, inclusive"
PROTOCOLS = 'supported values: "SCTP", "TCP", "UDP"'
ONLY_BALANCER = "Forbidden: may only be used when `type` is 'LoadBalancer'"
NOT_EXTERNAL_NAME = "Forbidden: may not be set for ExternalName services"
ALLOCATED = {"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"], "ipFamilies": ["IPv4"],
             "ipFamilyPolicy": "SingleStack"}  # fmt: skip
DUAL = {"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9", "fd10::9"], "ipFamilies": ["IPv4", "IPv6"],
        "ipFamilyPolicy": "RequireDualStack"}  # fmt: skip
HEADLESS = {"clusterIP": "None", "clusterIPs": ["None"]}
BALANCER = {"type": "LoadBalancer"}
NAMELESS: Json = {"clusterIP": "", "clusterIPs": [], "ipFamilies": [], "ipFamilyPolicy": None}
EXTERNAL = {**NAMELESS, "type": "ExternalName", "externalName": "example.com"}


def make(spec: Json, meta: Json | None = None) -> Json:
    return default_service(make_service(meta=meta, **{**ALLOCATED, **copy.deepcopy(spec)}))


def port(**fields: Any) -> Json:
    return {"ports": [{"port": 80, **fields}]}


CREATE: list[tuple[str, Json, list[str]]] = [
    ("a plain one", {}, []),
    ("R2 ports are needed", {"ports": []}, ["spec.ports: Required value"]),
    ("R2 headless needs none", {"ports": [], **HEADLESS}, []),
    ("R2 ExternalName needs none", {"ports": [], **EXTERNAL}, []),
    ("R3 a load balancer is not headless", {**BALANCER, **HEADLESS},
     ["spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for LoadBalancer services"]),
    ("R4 a node port is not headless", {"type": "NodePort", **HEADLESS},
     ["spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"]),
    ("R5-R7 ExternalName has no addresses", {"type": "ExternalName", "externalName": "example.com"},
     [f"spec.clusterIPs: {NOT_EXTERNAL_NAME}", f"spec.ipFamilies: {NOT_EXTERNAL_NAME}",
      f"spec.ipFamilyPolicy: {NOT_EXTERNAL_NAME}"]),
    ("R8 a name is needed", {**EXTERNAL, "externalName": ""}, ["spec.externalName: Required value"]),
    ("R8 a dot is no name", {**EXTERNAL, "externalName": "."}, ["spec.externalName: Required value"]),
    ("R8 one trailing dot is fine", {**EXTERNAL, "externalName": "a.b."}, []),
    ("R8 an address passes", {**EXTERNAL, "externalName": "1.2.3.4"}, []),
    ("R8 a subdomain", {**EXTERNAL, "externalName": "-a.b."},
     [f'spec.externalName: Invalid value: "-a.b": {SUBDOMAIN}']),
    ("R9 several ports have names", {"ports": [{"port": 80}, {"name": "b", "port": 81}]},
     ["spec.ports[0].name: Required value"]),
    ("R10 a port name is a label", port(name="A"), [f'spec.ports[0].name: Invalid value: "A": {LABEL}']),
    ("R10 a port name occurs once", {"ports": [{"name": "a", "port": 80}, {"name": "a", "port": 81}]},
     ['spec.ports[1].name: Duplicate value: "a"']),
    ("R11 a port number", port(port=65536, targetPort=1),
     [f"spec.ports[0].port: Invalid value: 65536: {PORT}"]),
    ("R11 R13 an absent port is 0", {"ports": [{"name": "a"}]},
     [f"spec.ports[0].port: Invalid value: 0: {PORT}", f"spec.ports[0].targetPort: Invalid value: 0: {PORT}"]),
    ("R12 a known protocol", port(protocol="tcp"),
     [f'spec.ports[0].protocol: Unsupported value: "tcp": {PROTOCOLS}']),
    ("R13 a number as text is a name without letters", port(targetPort="80"),
     ['spec.ports[0].targetPort: Invalid value: "80": must contain at least one letter (a-z)']),
    ("R13 a name", port(targetPort="http-web-svc"), []),
    ("R14 an application protocol is present when empty", port(appProtocol=""),
     ['spec.ports[0].appProtocol: Invalid value: "": name part must be non-empty',
      f'spec.ports[0].appProtocol: Invalid value: "": name part {NAME_PART}']),
    ("R15 a selector's key", {"selector": {"a b": "c"}},
     [f'spec.selector: Invalid value: "a b": name part {NAME_PART}']),
    ("R15 a selector's value", {"selector": {"a": "b c"}}, [f'spec.selector: Invalid value: "b c": {VALUE}']),
    ("R16 a known affinity", {"sessionAffinity": "Cookie"},
     ['spec.sessionAffinity: Unsupported value: "Cookie": supported values: "ClientIP", "None"']),
    ("R18 a day is accepted", {"sessionAffinity": "ClientIP", "sessionAffinityConfig":
                               {"clientIP": {"timeoutSeconds": 86400}}}, []),
    ("R18 no more than a day", {"sessionAffinity": "ClientIP", "sessionAffinityConfig":
                                {"clientIP": {"timeoutSeconds": 86401}}},
     ["spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: "
      "must be greater than 0 and less than 86400"]),
    ("R18 more than nothing", {"sessionAffinity": "ClientIP", "sessionAffinityConfig":
                               {"clientIP": {"timeoutSeconds": 0}}},
     ["spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: "
      "must be greater than 0 and less than 86400"]),
    ("R20 clusterIPs go with clusterIP", {"clusterIPs": []}, ["spec.clusterIPs: Required value"]),
    ("R21 the first is clusterIP", {"clusterIP": "10.96.0.8"},
     ['spec.clusterIPs: Invalid value: ["10.96.0.9"]: first value must match `clusterIP`']),
    ("R21 none without clusterIP", {"clusterIP": ""},
     ['spec.clusterIPs: Invalid value: ["10.96.0.9"]: must be empty when `clusterIP` is not specified']),
    ("R22 a known family", {"ipFamilies": ["IPv5"]},
     ['spec.ipFamilies[0]: Unsupported value: "IPv5": supported values: "IPv4", "IPv6"']),
    ("R23 a family occurs once", {"ipFamilies": ["IPv4", "IPv4"]},
     ['spec.ipFamilies[1]: Duplicate value: "IPv4"']),
    ("R24 a known policy", {"ipFamilyPolicy": ""},
     ['spec.ipFamilyPolicy: Unsupported value: "": '
      'supported values: "PreferDualStack", "RequireDualStack", "SingleStack"']),
    ("R25 None is alone", {"clusterIP": "None", "clusterIPs": ["None", "10.96.0.9"]},
     ["spec.clusterIPs: Invalid value: [\"None\",\"10.96.0.9\"]: 'None' must be the first and only value"]),
    ("R26 an address", {"clusterIP": "web", "clusterIPs": ["web"]},
     [f'spec.clusterIPs[0]: Invalid value: "web": {IP}']),
    ("R26 None is no second address", {"clusterIPs": ["10.96.0.9", "None"]},
     [f'spec.clusterIPs[1]: Invalid value: "None": {IP}']),
    ("R27 two addresses at most", {**DUAL, "clusterIPs": ["10.96.0.9", "fd10::9", "10.96.0.10"]},
     ['spec.clusterIPs: Invalid value: ["10.96.0.9","fd10::9","10.96.0.10"]: may only hold up to 2 values']),
    ("R28 R30 one address per family", {**DUAL, "clusterIPs": ["10.96.0.9", "10.96.0.10"]},
     ['spec.clusterIPs: Invalid value: ["10.96.0.9","10.96.0.10"]: '
      "may specify no more than one IP for each IP family",
      'spec.clusterIPs[1]: Invalid value: "10.96.0.10": '
      "expected an IPv6 value as indicated by `ipFamilies[1]`"]),
    ("R29 the family that was said", {"clusterIP": "fd10::9", "clusterIPs": ["fd10::9"]},
     ['spec.clusterIPs[0]: Invalid value: "fd10::9": expected an IPv4 value as indicated by `ipFamilies[0]`']),
    ("R31 an external address", {"externalIPs": ["web"]}, [f'spec.externalIPs[0]: Invalid value: "web": {IP}']),
    ("R31 an external address is no loopback", {"externalIPs": ["127.0.0.1"]},
     [f'spec.externalIPs[0]: Invalid value: "127.0.0.1": {LOOPBACK}']),
    ("R32 a known type", {"type": "Foo"},
     ['spec.type: Unsupported value: "Foo": '
      'supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"']),
    ("R33 ClusterIP has no node port", port(nodePort=30000),
     ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"]),
    ("R34 a node port once per protocol", {"type": "NodePort", "ports": [
        {"name": "a", "port": 80, "nodePort": 30000}, {"name": "b", "port": 81, "nodePort": 30000}]},
     ["spec.ports[1].nodePort: Duplicate value: 30000"]),
    ("R34 another protocol may share it", {"type": "NodePort", "ports": [
        {"name": "a", "port": 80, "nodePort": 30000}, {"name": "b", "port": 80, "nodePort": 30000, "protocol": "UDP"}]},
     []),
    ("R35 a port once per protocol", {"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 80}]},
     ['spec.ports[1]: Duplicate value: {"Name":"","Protocol":"TCP","AppProtocol":null,"Port":80,"TargetPort":0,'
      '"NodePort":0}']),
    ("R36 source ranges need a load balancer", {"loadBalancerSourceRanges": ["10.0.0.0/8"]},
     [f"spec.LoadBalancerSourceRanges: {ONLY_BALANCER}"]),
    ("R37 a source range is shown trimmed", {**BALANCER, "loadBalancerSourceRanges": [" x "]},
     [f'spec.LoadBalancerSourceRanges[0]: Invalid value: "x": {CIDR}']),
    ("R37 blanks around are fine", {**BALANCER, "loadBalancerSourceRanges": [" 10.0.0.0/8 "]}, []),
    ("R40 the flag needs a load balancer", {"allocateLoadBalancerNodePorts": False},
     [f"spec.allocateLoadBalancerNodePorts: {ONLY_BALANCER}"]),
    ("R42 a class is a qualified name", {**BALANCER, "loadBalancerClass": "a b"},
     [f'spec.loadBalancerClass: Invalid value: "a b": name part {NAME_PART}']),
    ("R43 a class needs a load balancer", {"loadBalancerClass": "a.b/c"},
     [f"spec.loadBalancerClass: {ONLY_BALANCER}"]),
    ("R44 an external policy needs an outside", {"externalTrafficPolicy": "Local"},
     ['spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services']),
    ("R44 external IPs are an outside", {"externalTrafficPolicy": "Local", "externalIPs": ["1.2.3.4"]}, []),
    ("R45 a known external policy", {"type": "NodePort", "externalTrafficPolicy": "Foo"},
     ['spec.externalTrafficPolicy: Unsupported value: "Foo": supported values: "Cluster", "Local"']),
    ("R46 a health check needs a local load balancer", {**BALANCER, "healthCheckNodePort": 30000},
     ["spec.healthCheckNodePort: Invalid value: 30000: may only be set when `type` is 'LoadBalancer' and "
      "`externalTrafficPolicy` is 'Local'"]),
    ("R47 a health check port", {**BALANCER, "externalTrafficPolicy": "Local", "healthCheckNodePort": 70000},
     [f"spec.healthCheckNodePort: Invalid value: 70000: {PORT}"]),
    ("R49 a known internal policy", {"internalTrafficPolicy": "Foo"},
     ['spec.internalTrafficPolicy: Unsupported value: "Foo": supported values: "Cluster", "Local"']),
    ("R50 a known distribution", {"trafficDistribution": ""},
     ['spec.trafficDistribution: Unsupported value: "": '
      'supported values: "PreferClose", "PreferSameZone", "PreferSameNode"']),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "texts"), [pytest.param(*case[1:], id=case[0]) for case in CREATE])
def test_create(spec: Json, texts: list[str]) -> None:
    service = make(spec)
    kept = copy.deepcopy(service)
    assert [str(error) for error in validate_service(service)] == texts
    assert service == kept


ANNOTATIONS: list[tuple[str, Json, Json, list[str]]] = [
    ("R1 two spellings agree", {"service.kubernetes.io/topology-mode": "Auto",
                                "service.kubernetes.io/topology-aware-hints": "Disabled"}, {},
     ['metadata.annotations[service.kubernetes.io/topology-mode]: Invalid value: "Auto": must match '
      "annotations[service.kubernetes.io/topology-aware-hints] when both are specified"]),
    ("R38 source ranges need a load balancer",
     {"service.beta.kubernetes.io/load-balancer-source-ranges": ""}, {},
     [f"metadata.annotations[service.beta.kubernetes.io/load-balancer-source-ranges]: {ONLY_BALANCER}"]),
    ("R39 source ranges",
     {"service.beta.kubernetes.io/load-balancer-source-ranges": "10.0.0.0/8, x"}, BALANCER,
     [f'metadata.annotations[service.beta.kubernetes.io/load-balancer-source-ranges]: Invalid value: "x": {CIDR}']),
]  # fmt: skip


@pytest.mark.parametrize(
    ("annotations", "spec", "texts"), [pytest.param(*case[1:], id=case[0]) for case in ANNOTATIONS]
)
def test_annotations(annotations: Json, spec: Json, texts: list[str]) -> None:
    assert [str(error) for error in validate_service(make(spec, {"annotations": annotations}))] == texts


FIXED = "may not change once set"
UPDATE: list[tuple[str, Json, Json, list[str]]] = [
    ("unchanged", {}, {}, []),
    ("much may change", {}, {"ports": [{"port": 81}], "selector": {}, "sessionAffinity": "ClientIP"}, []),
    ("U1 the address stays", {}, {"clusterIP": "10.96.0.8", "clusterIPs": ["10.96.0.8"]},
     [f'spec.clusterIPs[0]: Invalid value: ["10.96.0.8"]: {FIXED}']),
    ("U1 headless stays headless", HEADLESS, {},
     [f'spec.clusterIPs[0]: Invalid value: ["10.96.0.9"]: {FIXED}']),
    ("U1 not headless stays so", {}, HEADLESS, [f'spec.clusterIPs[0]: Invalid value: ["None"]: {FIXED}']),
    ("U2 an address is needed", {}, NAMELESS,
     ["spec.clusterIPs[0]: Invalid value: []: primary clusterIP can not be unset",
      "spec.ipFamilies[0]: Invalid value: []: primary ipFamily can not be unset"]),
    ("U3 the first address stays when one is added", {"clusterIP": "10.96.0.8", "clusterIPs": ["10.96.0.8"]}, DUAL,
     [f'spec.clusterIPs[0]: Invalid value: ["10.96.0.9","fd10::9"]: {FIXED}']),
    ("U4 U8 the policy says that the second goes", DUAL, {**ALLOCATED, "ipFamilyPolicy": "PreferDualStack"},
     ['spec.ipFamilyPolicy: Invalid value: "PreferDualStack": '
      "must be set to 'SingleStack' when releasing the secondary clusterIP",
      'spec.ipFamilyPolicy: Invalid value: "PreferDualStack": '
      "must be set to 'SingleStack' when releasing the secondary ipFamily"]),
    ("U4 released with the policy", DUAL, ALLOCATED, []),
    ("a second address is added", ALLOCATED, DUAL, []),
    ("headless families are free", {**HEADLESS, "ipFamilies": ["IPv4"]}, {**HEADLESS, "ipFamilies": ["IPv6"]}, []),
    ("U1-U8 to ExternalName and back", {}, EXTERNAL, []),
    ("U9 the class stays", {**BALANCER, "loadBalancerClass": "a.b/c"}, BALANCER,
     [f"spec.loadBalancerClass: Invalid value: null: {FIXED}"]),
    ("U9 the class is not added later", BALANCER, {**BALANCER, "loadBalancerClass": "a.b/c"},
     [f'spec.loadBalancerClass: Invalid value: "a.b/c": {FIXED}']),
    ("U9 the class comes with the type", {}, {**BALANCER, "loadBalancerClass": "a.b/c"}, []),
    ("U10 the health check port stays",
     {**BALANCER, "externalTrafficPolicy": "Local", "healthCheckNodePort": 30000},
     {**BALANCER, "externalTrafficPolicy": "Local", "healthCheckNodePort": 30001},
     ["spec.healthCheckNodePort: Forbidden: field is immutable"]),
    ("an address that was there may be odd", {"externalIPs": ["010.0.0.1"]}, {"externalIPs": ["010.0.0.1"]}, []),
    ("a range that was there may be odd", {**BALANCER, "loadBalancerSourceRanges": ["10.0.0.1/8"]},
     {**BALANCER, "loadBalancerSourceRanges": ["10.0.0.1/8"]}, []),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "texts"), [pytest.param(*case[1:], id=case[0]) for case in UPDATE])
def test_update(before: Json, after: Json, texts: list[str]) -> None:
    assert [str(error) for error in validate_service_update(make(after), make(before))] == texts


PATH = "status.loadBalancer.ingress"
STATUS: list[tuple[str, str, Json, list[str]]] = [
    ("only for load balancers", "NodePort", {"ip": "x"},
     [f"{PATH}: Forbidden: may only be used when `spec.type` is 'LoadBalancer'"]),
    ("good", "LoadBalancer", {"ip": "1.2.3.4", "ipMode": "VIP", "hostname": "a.b"}, []),
    ("neither address nor name", "LoadBalancer", {}, []),
    ("an address", "LoadBalancer", {"ip": "x", "ipMode": "Proxy"}, [f'{PATH}[0].ip: Invalid value: "x": {IP}']),
    ("an address has a mode", "LoadBalancer", {"ip": "1.2.3.4"},
     [f"{PATH}[0].ipMode: Required value: must be specified when `ip` is set"]),
    ("a mode has an address", "LoadBalancer", {"ipMode": "VIP"},
     [f"{PATH}[0].ipMode: Forbidden: may not be specified when `ip` is not set"]),
    ("a known mode", "LoadBalancer", {"ip": "1.2.3.4", "ipMode": "x"},
     [f'{PATH}[0].ipMode: Unsupported value: "x": supported values: "Proxy", "VIP"']),
    ("a host name is no address", "LoadBalancer", {"hostname": "1.2.3.4"},
     [f'{PATH}[0].hostname: Invalid value: "1.2.3.4": must be a DNS name, not an IP address']),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "entry", "texts"), [pytest.param(*case[1:], id=case[0]) for case in STATUS])
def test_status(kind: str, entry: Json, texts: list[str]) -> None:
    old = make({"type": kind})
    new = merge(old, {"status": {"loadBalancer": {"ingress": [entry]}}})
    assert [str(error) for error in validate_load_balancer_status(new, old)] == texts


def test_the_name_is_a_label_that_may_start_with_a_digit() -> None:
    assert STRATEGY.validate_name is not None
    assert STRATEGY.validate_name("1web") == []
    assert STRATEGY.validate_name("a.b") == ["must not contain dots"]
