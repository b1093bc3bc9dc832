"""What is wrong with a Service. Rule: spec "service-api" §3.2, §3.4, §6; the ids carry the rule's number."""

from __future__ import annotations

import copy
import re
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
    ("R2 None and more is not headless", {"ports": [], "clusterIP": "None", "clusterIPs": ["None", "None"]},
     ["spec.ports: Required value",
      "spec.clusterIPs: Invalid value: [\"None\",\"None\"]: 'None' must be the first and only value",
      f'spec.clusterIPs[1]: Invalid value: "None": {IP}']),
    ("R7 an empty policy is a policy", {**EXTERNAL, "ipFamilyPolicy": ""},
     [f"spec.ipFamilyPolicy: {NOT_EXTERNAL_NAME}"]),
    ("R5-R7 ExternalName has no addresses", {"type": "ExternalName", "externalName": "example.com"},
     [f"spec.clusterIPs: {NOT_EXTERNAL_NAME}", f"spec.ipFamilies: {NOT_EXTERNAL_NAME}",
      f"spec.ipFamilyPolicy: {NOT_EXTERNAL_NAME}"]),
    ("R8 a name is needed", {**EXTERNAL, "externalName": ""}, ["spec.externalName: Required value"]),
    ("R8 a dot is no name", {**EXTERNAL, "externalName": "."}, ["spec.externalName: Required value"]),
    ("R8 one trailing dot is fine", {**EXTERNAL, "externalName": "a.b."}, []),
    ("R8 an address passes", {**EXTERNAL, "externalName": "1.2.3.4"}, []),
    ("R8 only one dot is taken off", {**EXTERNAL, "externalName": "a.b.."},
     [f'spec.externalName: Invalid value: "a.b.": {SUBDOMAIN}']),
    ("R8 other types may keep a bad name", {"externalName": "-"}, []),
    ("R8 a subdomain", {**EXTERNAL, "externalName": "-a.b."},
     [f'spec.externalName: Invalid value: "-a.b": {SUBDOMAIN}']),
    ("R9 several ports have names", {"ports": [{"port": 80}, {"name": "b", "port": 81}]},
     ["spec.ports[0].name: Required value"]),
    ("R10 a port name is a label", port(name="A"), [f'spec.ports[0].name: Invalid value: "A": {LABEL}']),
    ("R10 a name may start with a digit", port(name="123-abc"), []),
    ("R10 an underscore is no part of a name", port(name="123_abc"),
     [f'spec.ports[0].name: Invalid value: "123_abc": {LABEL}']),
    ("R10 a dash starts no name", port(name="-web"), [f'spec.ports[0].name: Invalid value: "-web": {LABEL}']),
    ("R10 a dot has words of its own", port(name="a.b"),
     ['spec.ports[0].name: Invalid value: "a.b": must not contain dots']),
    ("R10 63 bytes are a name, and as PNAME is for targets alone more than 15 are", port(name="a" * 63), []),
    ("R10 64 bytes are none", port(name="a" * 64),
     [f'spec.ports[0].name: Invalid value: "{"a" * 64}": must be no more than 63 characters']),
    ("R10 a line end is no part of a name", port(name="web\n"),
     [f'spec.ports[0].name: Invalid value: "web\\n": {LABEL}']),
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
    ("R13 all that is wrong with a name is said", port(targetPort="-http--Web-port-name-"),
     [f'spec.ports[0].targetPort: Invalid value: "-http--Web-port-name-": {text}' for text in (
         "must be no more than 15 characters",
         "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
         "must not contain consecutive hyphens",
         "must not begin or end with a hyphen")]),
    ("R13 a negative number", port(targetPort=-1), [f"spec.ports[0].targetPort: Invalid value: -1: {PORT}"]),
    ("R12 SCTP is known", port(protocol="SCTP"), []),
    ("R14 a domain may stand before", port(appProtocol="kubernetes.io/h2c"), []),
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
    ("R22 R23 a family is unknown and repeated", {"ipFamilies": ["IPv5", "IPv5"]},
     ['spec.ipFamilies[0]: Unsupported value: "IPv5": supported values: "IPv4", "IPv6"',
      'spec.ipFamilies[1]: Unsupported value: "IPv5": supported values: "IPv4", "IPv6"',
      'spec.ipFamilies[1]: Duplicate value: "IPv5"']),
    ("R23 a family occurs once", {"ipFamilies": ["IPv4", "IPv4"]},
     ['spec.ipFamilies[1]: Duplicate value: "IPv4"']),
    ("R24 a known policy", {"ipFamilyPolicy": ""},
     ['spec.ipFamilyPolicy: Unsupported value: "": '
      'supported values: "PreferDualStack", "RequireDualStack", "SingleStack"']),
    ("R25 None is alone", {"clusterIP": "None", "clusterIPs": ["None", "10.96.0.9"]},
     ["spec.clusterIPs: Invalid value: [\"None\",\"10.96.0.9\"]: 'None' must be the first and only value"]),
    ("R26 an address", {"clusterIP": "web", "clusterIPs": ["web"]},
     [f'spec.clusterIPs[0]: Invalid value: "web": {IP}']),
    ("R25 R26 what follows None is judged too", {"clusterIP": "None", "clusterIPs": ["None", "web"]},
     ["spec.clusterIPs: Invalid value: [\"None\",\"web\"]: 'None' must be the first and only value",
      f'spec.clusterIPs[1]: Invalid value: "web": {IP}']),
    ("R26 the empty text is no address", {"clusterIPs": ["10.96.0.9", ""]},
     [f'spec.clusterIPs[1]: Invalid value: "": {IP}']),
    ("R26 leading zeros", {"clusterIP": "10.96.0.09", "clusterIPs": ["10.96.0.09"]},
     ['spec.clusterIPs[0]: Invalid value: "10.96.0.09": must not have leading 0s']),
    ("R26 an IPv4 address in IPv6 clothes", {"clusterIP": "::ffff:10.96.0.9", "clusterIPs": ["::ffff:10.96.0.9"]},
     ['spec.clusterIPs[0]: Invalid value: "::ffff:10.96.0.9": must not be an IPv4-mapped IPv6 address']),
    ("R26 an odd spelling of IPv6 passes", {"clusterIP": "FD10::9", "clusterIPs": ["FD10::9"],
                                            "ipFamilies": ["IPv6"]}, []),
    ("R26 None is no second address", {"clusterIPs": ["10.96.0.9", "None"]},
     [f'spec.clusterIPs[1]: Invalid value: "None": {IP}']),
    ("R27 two addresses at most", {**DUAL, "clusterIPs": ["10.96.0.9", "fd10::9", "10.96.0.10"]},
     ['spec.clusterIPs: Invalid value: ["10.96.0.9","fd10::9","10.96.0.10"]: may only hold up to 2 values']),
    ("R28 R30 one address per family", {**DUAL, "clusterIPs": ["10.96.0.9", "10.96.0.10"]},
     ['spec.clusterIPs: Invalid value: ["10.96.0.9","10.96.0.10"]: '
      "may specify no more than one IP for each IP family",
      'spec.clusterIPs[1]: Invalid value: "10.96.0.10": '
      "expected an IPv6 value as indicated by `ipFamilies[1]`"]),
    ("R29 families that come in pairs are compared one by one",
     {**DUAL, "ipFamilies": ["IPv6", "IPv4"]},
     ['spec.clusterIPs[0]: Invalid value: "10.96.0.9": expected an IPv6 value as indicated by `ipFamilies[0]`',
      'spec.clusterIPs[1]: Invalid value: "fd10::9": expected an IPv4 value as indicated by `ipFamilies[1]`']),
    ("R29 the family that was said", {"clusterIP": "fd10::9", "clusterIPs": ["fd10::9"]},
     ['spec.clusterIPs[0]: Invalid value: "fd10::9": expected an IPv4 value as indicated by `ipFamilies[0]`']),
    ("R31 an external address", {"externalIPs": ["web"]}, [f'spec.externalIPs[0]: Invalid value: "web": {IP}']),
    ("R31 an external address is no loopback", {"externalIPs": ["127.0.0.1"]},
     [f'spec.externalIPs[0]: Invalid value: "127.0.0.1": {LOOPBACK}']),
    ("R31 any type may have them", {**EXTERNAL, "externalIPs": ["198.51.100.32"]}, []),
    ("R31 a cluster IP may be one", {"externalIPs": ["10.96.0.9"]}, []),
    ("R32 a known type", {"type": "Foo"},
     ['spec.type: Unsupported value: "Foo": '
      'supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"']),
    ("R33 ClusterIP has no node port", port(nodePort=30000),
     ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"]),
    ("R33 is not asked of ExternalName", {**EXTERNAL, **port(nodePort=30000)}, []),
    ("R33 of all ports before R34 of any", {"ports": [
        {"name": name, "port": index + 80, "nodePort": 30000} for index, name in enumerate("abc")]},
     [f"spec.ports[{index}].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'" for index in range(3)]
     + [f"spec.ports[{index}].nodePort: Duplicate value: 30000" for index in (1, 2)]),
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
    ("R36 R37 a bad range on another type is wrong twice", {"loadBalancerSourceRanges": ["10.0.0.1/8"]},
     [f"spec.LoadBalancerSourceRanges: {ONLY_BALANCER}",
      'spec.LoadBalancerSourceRanges[0]: Invalid value: "10.0.0.1/8": '
      "must not have bits set beyond the prefix length"]),
    ("R40 the flag needs a load balancer", {"allocateLoadBalancerNodePorts": False},
     [f"spec.allocateLoadBalancerNodePorts: {ONLY_BALANCER}"]),
    ("R42 a class is a qualified name", {**BALANCER, "loadBalancerClass": "a b"},
     [f'spec.loadBalancerClass: Invalid value: "a b": name part {NAME_PART}']),
    ("R42 an empty class is a class", {**BALANCER, "loadBalancerClass": ""},
     ['spec.loadBalancerClass: Invalid value: "": name part must be non-empty',
      f'spec.loadBalancerClass: Invalid value: "": name part {NAME_PART}']),
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
    ("R46 a local ClusterIP with external IPs has no health check",
     {"externalTrafficPolicy": "Local", "externalIPs": ["1.2.3.4"], "healthCheckNodePort": 30000},
     ["spec.healthCheckNodePort: Invalid value: 30000: may only be set when `type` is 'LoadBalancer' and "
      "`externalTrafficPolicy` is 'Local'"]),
    ("R49 of ExternalName too", {**EXTERNAL, "internalTrafficPolicy": "Foo"},
     ['spec.internalTrafficPolicy: Unsupported value: "Foo": supported values: "Cluster", "Local"']),
    *((f"R50 {value} is a known distribution", {"trafficDistribution": value}, []) for value in (
        "PreferClose", "PreferSameZone", "PreferSameNode")),
    ("loadBalancerIP is never judged", {"loadBalancerIP": "no address"}, []),
    ("mixed protocols of a load balancer pass",
     {**BALANCER, "ports": [{"name": "a", "port": 53}, {"name": "b", "port": 53, "protocol": "UDP"}]}, []),
    ("headless ports need not be target ports", {**HEADLESS, **port(targetPort=8080)}, []),
    ("any number of ports", {"ports": [{"name": f"p{number}", "port": number} for number in range(1, 1001)]}, []),
    ("what is wrong is said in the order of the rules",
     {"type": "Foo", "ports": [], "sessionAffinity": "x", "externalIPs": ["x"], "trafficDistribution": "x"},
     ["spec.ports: Required value",
      'spec.sessionAffinity: Unsupported value: "x": supported values: "ClientIP", "None"',
      f'spec.externalIPs[0]: Invalid value: "x": {IP}',
      'spec.type: Unsupported value: "Foo": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"',
      'spec.trafficDistribution: Unsupported value: "x": '
      'supported values: "PreferClose", "PreferSameZone", "PreferSameNode"']),
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


KINDS: dict[str, Json] = {"ClusterIP": {}, "headless": HEADLESS, "NodePort": {"type": "NodePort"},
                          "LoadBalancer": BALANCER, "ExternalName": EXTERNAL}  # fmt: skip
FIELDS: list[tuple[str, Any, str, tuple[str, ...]]] = [
    # field, value, the refusal, and of which types
    ("loadBalancerSourceRanges", ["10.0.0.0/8"], f"spec.LoadBalancerSourceRanges: {ONLY_BALANCER}",
     ("ClusterIP", "headless", "NodePort", "ExternalName")),
    ("loadBalancerClass", "a.b/c", f"spec.loadBalancerClass: {ONLY_BALANCER}",
     ("ClusterIP", "headless", "NodePort", "ExternalName")),
    ("allocateLoadBalancerNodePorts", True, f"spec.allocateLoadBalancerNodePorts: {ONLY_BALANCER}",
     ("ClusterIP", "headless", "NodePort", "ExternalName")),
    ("ports", [{"port": 80, "nodePort": 30000}],
     "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'", ("ClusterIP", "headless")),
    ("ports", [], "spec.ports: Required value", ("ClusterIP", "NodePort", "LoadBalancer")),
    ("selector", {}, "", ()),
    ("externalIPs", ["198.51.100.32"], "", ()),
    ("externalName", "example.com", "", ()),
    ("loadBalancerIP", "192.0.2.1", "", ()),
    ("publishNotReadyAddresses", True, "", ()),
    ("sessionAffinity", "ClientIP", "", ()),
    ("internalTrafficPolicy", "Local", "", ()),
    ("trafficDistribution", "PreferSameNode", "", ()),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "field", "value", "text"),
    [
        pytest.param(kind, field, value, text if kind in refused else "", id=f"{kind}, {field} {value}")
        for field, value, text, refused in FIELDS
        for kind in KINDS
    ],
)
def test_a_field_of_a_type(kind: str, field: str, value: Any, text: str) -> None:
    """§1.1, the column of types; §3.2."""
    found = validate_service(make({**KINDS[kind], field: value}))
    assert [str(error) for error in found] == ([text] if text else [])


ANNOTATIONS: list[tuple[str, Json, Json, list[str]]] = [
    ("R1 two spellings agree", {"service.kubernetes.io/topology-mode": "Auto",
                                "service.kubernetes.io/topology-aware-hints": "Disabled"}, {},
     ['metadata.annotations[service.kubernetes.io/topology-mode]: Invalid value: "Auto": must match '
      "annotations[service.kubernetes.io/topology-aware-hints] when both are specified"]),
    ("R38 source ranges need a load balancer",
     {"service.beta.kubernetes.io/load-balancer-source-ranges": ""}, {},
     [f"metadata.annotations[service.beta.kubernetes.io/load-balancer-source-ranges]: {ONLY_BALANCER}"]),
    ("R1 one spelling is enough", {"service.kubernetes.io/topology-mode": "Auto"}, {}, []),
    ("R39 blank source ranges are none",
     {"service.beta.kubernetes.io/load-balancer-source-ranges": "  "}, BALANCER, []),
    ("R38 the field comes first", {"service.beta.kubernetes.io/load-balancer-source-ranges": "x"},
     {**BALANCER, "loadBalancerSourceRanges": ["10.0.0.0/8"]}, []),
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
    ("U2 U6 an address and a family are needed", {}, NAMELESS,
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
    ("U4 one family goes with its address alone", DUAL, {**DUAL, "clusterIPs": ["10.96.0.9"]},
     ['spec.ipFamilyPolicy: Invalid value: "RequireDualStack": '
      "must be set to 'SingleStack' when releasing the secondary clusterIP"]),
    ("U5 the index is always 0", DUAL, {**DUAL, "ipFamilies": ["IPv6", "IPv4"]},
     [f'spec.ipFamilies[0]: Invalid value: ["IPv6","IPv4"]: {FIXED}'] * 2
     + [f'spec.clusterIPs[{index}]: Invalid value: "{address}": '
        f"expected an {family} value as indicated by `ipFamilies[{index}]`"
        for index, (address, family) in enumerate((("10.96.0.9", "IPv6"), ("fd10::9", "IPv4")))]),
    ("U7 the value shown is clusterIPs", DUAL, {**ALLOCATED, "ipFamilies": ["IPv6"]},
     [f'spec.ipFamilies[0]: Invalid value: ["10.96.0.9"]: {FIXED}',
      'spec.clusterIPs[0]: Invalid value: "10.96.0.9": expected an IPv6 value as indicated by `ipFamilies[0]`']),
    ("U9 the class is not exchanged", {**BALANCER, "loadBalancerClass": "a.b/c"},
     {**BALANCER, "loadBalancerClass": "a.b/d"}, [f'spec.loadBalancerClass: Invalid value: "a.b/d": {FIXED}']),
    ("U9 the class may go with the type", {**BALANCER, "loadBalancerClass": "a.b/c"}, {"type": "NodePort"}, []),
    ("U10 the port may go with the policy",
     {**BALANCER, "externalTrafficPolicy": "Local", "healthCheckNodePort": 30000}, BALANCER, []),
    ("what allocates node ports may change", BALANCER, {**BALANCER, "allocateLoadBalancerNodePorts": False}, []),
    ("the form of a class is said twice, as upstream says it", {}, {**BALANCER, "loadBalancerClass": "a b"},
     [f'spec.loadBalancerClass: Invalid value: "a b": name part {NAME_PART}'] * 2),
    ("an odd address may stay and not move", {"externalIPs": ["010.0.0.1"]}, {"externalIPs": ["010.0.0.2"]},
     ['spec.externalIPs[0]: Invalid value: "010.0.0.2": must not have leading 0s']),
    ("R31 an address that nobody can reach may not even stay", {"externalIPs": ["127.0.0.1"]},
     {"externalIPs": ["127.0.0.1"]}, [f'spec.externalIPs[0]: Invalid value: "127.0.0.1": {LOOPBACK}']),
    ("an address that was there may be odd", {"externalIPs": ["010.0.0.1"]}, {"externalIPs": ["010.0.0.1"]}, []),
    ("a range that was there may be odd", {**BALANCER, "loadBalancerSourceRanges": ["10.0.0.1/8"]},
     {**BALANCER, "loadBalancerSourceRanges": ["10.0.0.1/8"]}, []),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "texts"), [pytest.param(*case[1:], id=case[0]) for case in UPDATE])
def test_update(before: Json, after: Json, texts: list[str]) -> None:
    assert [str(error) for error in validate_service_update(make(after), make(before))] == texts


CLASSES = (None, "a.b/c", "a.b/d")


@pytest.mark.parametrize("after", CLASSES)
@pytest.mark.parametrize("before", CLASSES)
@pytest.mark.parametrize("kind", ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"])
@pytest.mark.parametrize("was", ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"])
def test_a_class_of_types(was: str, kind: str, before: str | None, after: str | None) -> None:
    """R43, U9: it comes with the type, stays as long as the type, and no other type has one.

    That no other type has one is said by both rounds of the rules.
    """
    old = make({**KINDS[was], **({"loadBalancerClass": before} if before and was == "LoadBalancer" else {})})
    new = make({**KINDS[kind], **({"loadBalancerClass": after} if after else {})})
    had = before if was == "LoadBalancer" else None
    expected = []
    if was == kind == "LoadBalancer" and after != had:
        shown = f'"{after}"' if after else "null"
        expected.append(f"spec.loadBalancerClass: Invalid value: {shown}: {FIXED}")
    if kind != "LoadBalancer" and after:
        expected += [f"spec.loadBalancerClass: {ONLY_BALANCER}"] * 2
    assert [str(error) for error in validate_service_update(new, old)] == expected


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
    ("a host name is a subdomain", "LoadBalancer", {"hostname": "A"},
     [f'{PATH}[0].hostname: Invalid value: "A": {SUBDOMAIN}']),
    ("ports are not judged", "LoadBalancer", {"hostname": "a.b", "ports": [{"port": 0, "error": "a b"}]}, []),
    ("an address has no leading zeros", "LoadBalancer", {"ip": "10.0.0.01", "ipMode": "VIP"},
     [f'{PATH}[0].ip: Invalid value: "10.0.0.01": must not have leading 0s']),
    ("an IPv6 address has a mode too", "LoadBalancer", {"ip": "2001:db8::1"},
     [f"{PATH}[0].ipMode: Required value: must be specified when `ip` is set"]),
    ("an unknown mode without an address is wrong twice", "LoadBalancer", {"hostname": "a.b", "ipMode": "x"},
     [f"{PATH}[0].ipMode: Forbidden: may not be specified when `ip` is not set",
      f'{PATH}[0].ipMode: Unsupported value: "x": supported values: "Proxy", "VIP"']),
    ("a mode without an address, of another type", "ClusterIP", {"ipMode": "VIP"},
     [f"{PATH}: Forbidden: may only be used when `spec.type` is 'LoadBalancer'"]),
    ("a name with a wild card is none", "LoadBalancer", {"hostname": "*.a.b"},
     [f'{PATH}[0].hostname: Invalid value: "*.a.b": {SUBDOMAIN}']),
    ("an IPv6 address is no name in two ways", "LoadBalancer", {"hostname": "fd00::1"},
     [f'{PATH}[0].hostname: Invalid value: "fd00::1": {SUBDOMAIN}',
      f'{PATH}[0].hostname: Invalid value: "fd00::1": must be a DNS name, not an IP address']),
    ("a host name is no address", "LoadBalancer", {"hostname": "1.2.3.4"},
     [f'{PATH}[0].hostname: Invalid value: "1.2.3.4": must be a DNS name, not an IP address']),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "entry", "texts"), [pytest.param(*case[1:], id=case[0]) for case in STATUS])
def test_status(kind: str, entry: Json, texts: list[str]) -> None:
    old = make({"type": kind})
    new = merge(old, {"status": {"loadBalancer": {"ingress": [entry]}}})
    assert [str(error) for error in validate_load_balancer_status(new, old)] == texts


def test_an_address_of_the_status_that_was_there_may_be_odd() -> None:
    old = merge(make(BALANCER), {"status": {"loadBalancer": {"ingress": [{"ip": "010.0.0.1", "ipMode": "VIP"}]}}})
    assert validate_load_balancer_status(old, old) == []
    assert len(validate_load_balancer_status(old, make(BALANCER))) == 1


def test_metadata_is_judged_by_the_kind_too() -> None:
    """The server judges it once more: so a changed uid is said twice and a bad label three times (§0.3)."""
    old = make({}, {"uid": "a"})
    errors = [error.path for error in validate_service_update(make({}, {"uid": "b", "labels": {"a b": "c"}}), old)]
    assert errors == ["metadata.uid", "metadata.labels", "metadata.labels"]


def test_a_ranges_annotation_that_was_there_may_be_odd() -> None:
    odd = {"annotations": {"service.beta.kubernetes.io/load-balancer-source-ranges": "x"}}
    assert validate_service_update(make(BALANCER, odd), make(BALANCER, odd)) == []
    assert len(validate_service_update(make(BALANCER, odd), make(BALANCER))) == 1


def test_every_rule_that_can_be_met_has_a_row() -> None:
    """R17, R19, R41 and R48 are unreachable after the defaults."""
    ids = " ".join(row[0] for row in [*CREATE, *ANNOTATIONS, *UPDATE]).replace("R5-R7", "R5 R6 R7")
    named = set(re.findall(r"\b[RU][0-9]+\b", ids))
    wanted = {f"R{number}" for number in range(1, 51)} | {f"U{number}" for number in range(1, 11)}
    assert wanted - named == {"R17", "R19", "R41", "R48"}


def test_the_name_is_a_label_that_may_start_with_a_digit() -> None:
    assert STRATEGY.validate_name is not None
    assert STRATEGY.validate_name("1web") == []
    assert STRATEGY.validate_name("a.b") == ["must not contain dots"]
