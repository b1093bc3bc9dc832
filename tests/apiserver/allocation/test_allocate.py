"""Cluster IPs and node ports of Services. Rule: spec "service-api" §2.3, §3.3, §4, §5."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seaway.api.machinery.errors import ApiError, InternalError, Invalid
from seaway.api.machinery.strategy import Context
from seaway.api.registry import SERVICE_CIDRS
from seaway.api.service.strategy import STRATEGY
from seaway.apiserver.allocation.allocate import ADDRESS_PREFIX, PORT_PREFIX, Claim, ServiceAllocator, TakenBy
from seaway.apiserver.allocation.pool import address_number
from seaway.apiserver.config import ServerConfig
from seaway.store.contract import Precondition, PreconditionFailed, Write
from seaway.testing.builders import make_service

NOW = "2024-01-01T00:00:00Z"
V4, V6 = "10.96.0.0/24", "fd10::/120"
Json = dict[str, Any]


class Cluster:
    """A store of the claimed keys and an allocator that sees each commit at once, unless told to lag."""

    def __init__(self, *cidrs: str, ports: tuple[int, int] = (30000, 30063), turn: int = 0) -> None:
        self.turn = turn
        config = ServerConfig(service_cidrs=cidrs or (V4,))
        self.allocator = ServiceAllocator(config.families, ports, pick=lambda n: self.turn % n)
        self.keys: dict[str, tuple[bytes, int]] = {}
        self.revision = 1
        self.set_range("kubernetes", *config.service_cidrs)

    def set_range(self, name: str, *cidrs: str, ready: str = "", deleting: bool = False) -> None:
        """Show the allocator a ServiceCIDR; without ranges: that it is gone."""
        meta = {"name": name} | ({"deletionTimestamp": NOW} if deleting else {})
        conditions = [{"type": "Ready", "status": ready}] if ready else []
        value = {"metadata": meta, "spec": {"cidrs": cidrs}, "status": {"conditions": conditions}}
        self.allocator.observe(
            SERVICE_CIDRS.store_key("", name), json.dumps(value).encode() if cidrs else None, self.revision
        )

    def commit(self, claim: Claim, *, observed: bool = True) -> None:
        """Raises PreconditionFailed, as a store does."""
        for precondition in claim.preconditions:
            current = self.keys.get(precondition.key, (b"", 0))[1]
            if current != precondition.revision:
                raise PreconditionFailed(precondition.key, current)
        for write in claim.writes:
            self.revision += 1
            if write.value is None:
                del self.keys[write.key]
            else:
                self.keys[write.key] = (write.value, self.revision)
            if observed:
                self.allocator.observe(write.key, write.value, self.revision)

    def show(self, key: str) -> None:
        value, revision = self.keys.get(key, (None, self.revision))
        self.allocator.observe(key, value, revision)

    def plan(self, service: Json) -> tuple[Json, Claim]:
        return self.allocator.plan_create(STRATEGY.default(copy.deepcopy(service)), wall_now=NOW)

    def create(self, name: str = "web", **spec: Any) -> Json:
        service, claim = self.plan(make_service(name, **spec))
        assert STRATEGY.validate_create(STRATEGY.prepare_create(service, Context(NOW))) == []
        self.commit(claim)
        return service

    def update(self, old: Json, **spec: Any) -> Json:
        """PUT of the old Service with fields replaced; None removes one."""
        wanted = {**old["spec"], **spec}
        body = {**old, "spec": {key: value for key, value in wanted.items() if value is not None}}
        return self.put(body, old)

    def put(self, body: Json, old: Json) -> Json:
        kept = copy.deepcopy(old)
        service, claim = self.allocator.plan_update(STRATEGY.default(copy.deepcopy(body)), old, wall_now=NOW)
        service = STRATEGY.prepare_update(service, old, Context(NOW))
        assert old == kept
        if errors := STRATEGY.validate_update(service, old):
            raise AssertionError([str(error) for error in errors])
        self.commit(claim)
        return service

    def delete(self, service: Json) -> None:
        self.commit(self.allocator.plan_delete(service))

    @property
    def addresses(self) -> list[str]:
        return sorted(key.removeprefix(ADDRESS_PREFIX) for key in self.keys if key.startswith(ADDRESS_PREFIX))

    @property
    def ports(self) -> list[int]:
        return sorted(int(key.removeprefix(PORT_PREFIX)) for key in self.keys if key.startswith(PORT_PREFIX))


def node_ports(service: Json) -> list[int]:
    return [port.get("nodePort", 0) for port in service["spec"]["ports"]]


def two_ports(first: Json, second: Json) -> list[Json]:
    return [{"name": "a", **first}, {"name": "b", **second}]


def test_a_service_gets_an_address_and_an_object_that_says_so() -> None:
    cluster = Cluster()
    service = cluster.create()
    assert service["spec"]["clusterIP"] == "10.96.0.17"
    assert service["spec"]["clusterIPs"] == ["10.96.0.17"]
    value = json.loads(cluster.keys[f"{ADDRESS_PREFIX}10.96.0.17"][0])
    assert value["apiVersion"] == "networking.k8s.io/v1"
    assert value["kind"] == "IPAddress"
    assert value["metadata"]["name"] == "10.96.0.17"
    assert value["metadata"]["creationTimestamp"] == NOW
    assert value["metadata"]["labels"] == {
        "ipaddress.kubernetes.io/ip-family": "IPv4",
        "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
    }
    assert value["spec"] == {"parentRef": {"resource": "services", "namespace": "default", "name": "web"}}


def test_a_plan_changes_neither_its_input_nor_the_allocator() -> None:
    cluster = Cluster()
    service = STRATEGY.default(make_service(type="NodePort"))
    kept = copy.deepcopy(service)
    first = cluster.allocator.plan_create(service, wall_now=NOW)
    assert service == kept
    assert cluster.allocator.plan_create(service, wall_now=NOW) == first


@pytest.mark.parametrize("spec", [{"clusterIP": "None"}, {"type": "ExternalName", "externalName": "example.com"}])
def test_headless_and_external_name_take_nothing(spec: Json) -> None:
    cluster = Cluster()
    service = cluster.create(**spec)
    assert cluster.keys == {}
    cluster.delete(service)


FAMILIES: list[tuple[str, tuple[str, ...], Json, str, list[str]]] = [
    # what, ranges, spec; policy and families afterwards
    ("nothing said", (V4,), {}, "SingleStack", ["IPv4"]),
    ("nothing said, two ranges", (V4, V6), {}, "SingleStack", ["IPv4"]),
    ("the primary range decides", (V6, V4), {}, "SingleStack", ["IPv6"]),
    ("the second family alone", (V4, V6), {"ipFamilies": ["IPv6"]}, "SingleStack", ["IPv6"]),
    ("an address brings its family", (V4, V6), {"clusterIP": "fd10::5"}, "SingleStack", ["IPv6"]),
    ("prefer on one range", (V4,), {"ipFamilyPolicy": "PreferDualStack"}, "PreferDualStack", ["IPv4"]),
    ("prefer on two", (V4, V6), {"ipFamilyPolicy": "PreferDualStack"}, "PreferDualStack", ["IPv4", "IPv6"]),
    ("prefer, the order is the client's", (V4, V6), {"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv6"]},
     "PreferDualStack", ["IPv6", "IPv4"]),
    ("require with an address", (V4, V6), {"ipFamilyPolicy": "RequireDualStack", "clusterIP": "fd10::5"},
     "RequireDualStack", ["IPv6", "IPv4"]),
    ("headless with selector", (V4, V6), {"clusterIP": "None"}, "SingleStack", ["IPv4"]),
    ("headless with selector, prefer", (V4, V6), {"clusterIP": "None", "ipFamilyPolicy": "PreferDualStack"},
     "PreferDualStack", ["IPv4", "IPv6"]),
    ("headless without selector has both families", (V4,), {"clusterIP": "None", "selector": {}},
     "RequireDualStack", ["IPv4", "IPv6"]),
    ("headless without selector, one family said", (V4,),
     {"clusterIP": "None", "selector": {}, "ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv6"]},
     "SingleStack", ["IPv6"]),
    ("headless without selector, second family first", (V4,),
     {"clusterIP": "None", "selector": {}, "ipFamilies": ["IPv6"]}, "RequireDualStack", ["IPv6", "IPv4"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("cidrs", "spec", "policy", "families"), [pytest.param(*case[1:], id=case[0]) for case in FAMILIES]
)
def test_families_on_create(cidrs: tuple[str, ...], spec: Json, policy: str, families: list[str]) -> None:
    service = Cluster(*cidrs).create(**spec)
    assert service["spec"]["ipFamilyPolicy"] == policy
    assert service["spec"]["ipFamilies"] == families
    if spec.get("clusterIP") != "None":
        assert [":" in ip for ip in service["spec"]["clusterIPs"]] == [family == "IPv6" for family in families]


POLICY = (
    "spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or 'PreferDualStack' when multiple"
)
REFUSALS: list[tuple[str, tuple[str, ...], Json, list[str]]] = [
    ("a family without range", (V4,), {"ipFamilies": ["IPv6"]},
     ['spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster']),
    ("an address without range", (V4,), {"clusterIP": "fd10::5"},
     ['spec.clusterIPs[0]: Invalid value: ["fd10::5"]: IPv6 is not configured on this cluster']),
    ("two families need a policy", (V4, V6), {"ipFamilies": ["IPv4", "IPv6"]},
     [f"{POLICY} IP families are specified"]),
    ("two addresses need a policy", (V4,), {"clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.5", "fd10::5"]},
     [f"{POLICY} cluster IPs are specified",
      'spec.clusterIPs[1]: Invalid value: ["10.96.0.5","fd10::5"]: IPv6 is not configured on this cluster']),
    ("require on one range", (V4,), {"ipFamilyPolicy": "RequireDualStack"},
     ['spec.ipFamilyPolicy: Invalid value: "RequireDualStack": '
      "this cluster is not configured for dual-stack services"]),
    ("prefer with a family without range", (V4,),
     {"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv4", "IPv6"]},
     ['spec.ipFamilies[1]: Invalid value: "IPv6": not configured on this cluster']),
    ("an address outside the range", (V4,), {"clusterIP": "1.2.3.4"},
     ['spec.clusterIPs: Invalid value: ["1.2.3.4"]: failed to allocate IP 1.2.3.4: '
      "the provided network does not match the current range"]),
    ("the network's own address", (V4,), {"clusterIP": "10.96.0.0"},
     ['spec.clusterIPs: Invalid value: ["10.96.0.0"]: failed to allocate IP 10.96.0.0: '
      "the provided network does not match the current range"]),
    ("the broadcast address", (V4,), {"clusterIP": "10.96.0.255"},
     ['spec.clusterIPs: Invalid value: ["10.96.0.255"]: failed to allocate IP 10.96.0.255: '
      "the provided network does not match the current range"]),
    ("an address in use", (V4,), {"clusterIP": "10.96.0.9"},
     ['spec.clusterIPs: Invalid value: ["10.96.0.9"]: failed to allocate IP 10.96.0.9: '
      "provided IP is already allocated"]),
    ("an address in use, dual stack: the list is padded", (V4, V6),
     {"clusterIP": "10.96.0.9", "ipFamilyPolicy": "PreferDualStack"},
     ['spec.clusterIPs: Invalid value: ["10.96.0.9",""]: failed to allocate IP 10.96.0.9: '
      "provided IP is already allocated"]),
    ("only clusterIPs", (V4,), {"clusterIPs": ["10.96.0.5"]},
     ['spec.clusterIPs: Invalid value: ["10.96.0.5"]: must be empty when `clusterIP` is not specified']),
    ("a node port out of range", (V4,), {"type": "NodePort", "ports": [{"port": 80, "nodePort": 80}]},
     ["spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. "
      "The range of valid ports is 30000-30063"]),
    ("a node port in use", (V4,), {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30007}]},
     ["spec.ports[0].nodePort: Invalid value: 30007: provided port is already allocated"]),
    ("a node port shared by two ports", (V4,),
     {"type": "NodePort", "ports": two_ports({"port": 80, "nodePort": 30010},
                                             {"port": 76, "nodePort": 30010, "protocol": "UDP"})},
     ["spec.ports[1].nodePort: Invalid value: 30010: provided port is already allocated"]),
]  # fmt: skip


@pytest.mark.parametrize(("cidrs", "spec", "texts"), [pytest.param(*case[1:], id=case[0]) for case in REFUSALS])
def test_refused_on_create(cidrs: tuple[str, ...], spec: Json, texts: list[str]) -> None:
    cluster = Cluster(*cidrs)
    cluster.create("other", clusterIP="10.96.0.9", type="NodePort", ports=[{"port": 80, "nodePort": 30007}])
    with pytest.raises(Invalid) as raised:
        cluster.plan(make_service(**spec))
    found = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    assert raised.value.message == f'Service "web" is invalid: {found}'


def test_a_nameless_service_is_refused_in_the_words_of_the_address() -> None:
    with pytest.raises(Invalid) as raised:
        Cluster().plan(make_service(""))
    assert raised.value.message == (
        'Service "" is invalid: spec.clusterIPs: Invalid value: [""]: failed to allocate IP: '
        'IPAddress.networking.k8s.io "10.96.0.17" is invalid: spec.parentRef.name: Required value'
    )


def test_a_full_range_is_an_internal_error() -> None:
    cluster = Cluster("10.96.0.0/30", ports=(30000, 30002))
    cluster.create("a")
    cluster.create("b")
    with pytest.raises(InternalError, match="range is full") as raised:
        cluster.create("c")
    text = 'failed to allocate a serviceIP for Service "c": range is full'
    assert raised.value.message == f"Internal error occurred: {text}"
    assert raised.value.details == {"causes": [{"message": text}]}


def test_full_node_ports_are_an_internal_error() -> None:
    cluster = Cluster(ports=(30000, 30000))
    cluster.create("a", type="NodePort")
    with pytest.raises(InternalError, match="failed to allocate a nodePort: range is full"):
        cluster.create("b", type="NodePort")
    with pytest.raises(InternalError, match="failed to allocate a HealthCheck NodePort 0: range is full"):
        cluster.create("c", type="LoadBalancer", externalTrafficPolicy="Local", allocateLoadBalancerNodePorts=False)


def test_explicit_addresses_may_use_either_band() -> None:
    cluster = Cluster()
    assert cluster.create("a", clusterIP="10.96.0.1")["spec"]["clusterIP"] == "10.96.0.1"
    assert cluster.create("b", clusterIP="10.96.0.254")["spec"]["clusterIP"] == "10.96.0.254"


def test_an_odd_spelling_is_kept_and_held_once() -> None:
    cluster = Cluster(V6)
    assert cluster.create("a", clusterIP="FD10::5")["spec"]["clusterIPs"] == ["FD10::5"]
    assert cluster.addresses == ["fd10::5"]
    with pytest.raises(Invalid, match="already allocated"):
        cluster.create("b", clusterIP="fd10::5")


NODE_PORTS: list[tuple[str, Json, list[int]]] = [
    ("one port", {"type": "NodePort", "ports": [{"port": 80}]}, [30016]),
    ("a wanted one", {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30001}]}, [30001]),
    ("one number for TCP and UDP",
     {"type": "NodePort", "ports": two_ports({"port": 53}, {"port": 53, "protocol": "UDP"})}, [30016, 30016]),
    ("the number that one of them names",
     {"type": "NodePort", "ports": two_ports({"port": 53}, {"port": 53, "protocol": "UDP", "nodePort": 30005})},
     [30005, 30005]),
    ("two numbers when both name one", {"type": "NodePort", "ports": two_ports(
        {"port": 53, "nodePort": 30004}, {"port": 53, "protocol": "UDP", "nodePort": 30005})}, [30004, 30005]),
    ("a number each for two ports", {"type": "NodePort", "ports": two_ports({"port": 80}, {"port": 443})},
     [30016, 30017]),
    ("a load balancer has them", {"type": "LoadBalancer", "ports": [{"port": 80}]}, [30016]),
    ("unless it says no", {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False, "ports": [{"port": 80}]},
     [0]),
    ("and then gets what it names", {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False,
                                     "ports": two_ports({"port": 80, "nodePort": 30003}, {"port": 443})}, [30003, 0]),
    ("ClusterIP has none", {"ports": [{"port": 80}]}, [0]),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "expected"), [pytest.param(*case[1:], id=case[0]) for case in NODE_PORTS])
def test_node_ports_on_create(spec: Json, expected: list[int]) -> None:
    cluster = Cluster()
    service = cluster.create(**spec)
    assert node_ports(service) == expected
    assert cluster.ports == sorted({number for number in expected if number})
    cluster.delete(service)
    assert cluster.keys == {}


def test_a_local_load_balancer_has_a_health_check_port() -> None:
    cluster = Cluster()
    service = cluster.create(type="LoadBalancer", externalTrafficPolicy="Local")
    assert service["spec"]["healthCheckNodePort"] == 30017
    service = cluster.update(service, externalTrafficPolicy="Cluster")
    assert "healthCheckNodePort" not in service["spec"]
    assert cluster.ports == [30016]
    with pytest.raises(InternalError) as raised:
        cluster.update(service, externalTrafficPolicy="Local", healthCheckNodePort=30016)
    assert raised.value.message == (
        "Internal error occurred: failed to allocate requested HealthCheck NodePort 30016: "
        "provided port is already allocated"
    )


def test_sending_the_manifest_again_changes_nothing() -> None:
    cluster = Cluster(V4, V6)
    spec = {"type": "NodePort", "ipFamilyPolicy": "PreferDualStack", "ports": two_ports({"port": 80}, {"port": 443})}
    manifest = make_service(**spec)
    service = cluster.create(**spec)
    held, cluster.turn = dict(cluster.keys), 5
    again = cluster.put(manifest, service)
    assert again["spec"] == service["spec"]
    assert cluster.keys == held


TRANSITIONS: list[tuple[str, Json, Json, int, int]] = [
    # what, spec before, changes, addresses and node ports held afterwards
    ("ClusterIP to NodePort", {}, {"type": "NodePort"}, 1, 1),
    ("ClusterIP to LoadBalancer", {}, {"type": "LoadBalancer"}, 1, 1),
    ("ClusterIP to a local LoadBalancer", {}, {"type": "LoadBalancer", "externalTrafficPolicy": "Local"}, 1, 2),
    ("ClusterIP to ExternalName", {}, {"type": "ExternalName", "externalName": "a.b"}, 0, 0),
    ("NodePort to ClusterIP", {"type": "NodePort"}, {"type": "ClusterIP"}, 1, 0),
    ("NodePort to LoadBalancer", {"type": "NodePort"}, {"type": "LoadBalancer"}, 1, 1),
    ("NodePort to ExternalName", {"type": "NodePort"}, {"type": "ExternalName", "externalName": "a.b"}, 0, 0),
    ("a local LoadBalancer to ClusterIP", {"type": "LoadBalancer", "externalTrafficPolicy": "Local"},
     {"type": "ClusterIP"}, 1, 0),
    ("a local LoadBalancer to NodePort", {"type": "LoadBalancer", "externalTrafficPolicy": "Local"},
     {"type": "NodePort"}, 1, 1),
    ("ExternalName to NodePort", {"type": "ExternalName", "externalName": "a.b"}, {"type": "NodePort"}, 1, 1),
    ("ExternalName to headless", {"type": "ExternalName", "externalName": "a.b"},
     {"type": "ClusterIP", "clusterIP": "None"}, 0, 0),
    ("headless to ExternalName", {"clusterIP": "None"}, {"type": "ExternalName", "externalName": "a.b"}, 0, 0),
    ("one stack to two", {}, {"ipFamilyPolicy": "PreferDualStack"}, 2, 0),
    ("two stacks to one", {"ipFamilyPolicy": "PreferDualStack"}, {"ipFamilyPolicy": "SingleStack"}, 1, 0),
    ("a second port", {"type": "NodePort"}, {"ports": two_ports({"port": 80}, {"port": 443})}, 1, 2),
]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "changes", "addresses", "ports"), [pytest.param(*case[1:], id=case[0]) for case in TRANSITIONS]
)
def test_transitions(before: Json, changes: Json, addresses: int, ports: int) -> None:
    cluster = Cluster(V4, V6)
    old = cluster.create(**before)
    service = cluster.update(old, **changes)
    assert len(cluster.addresses) == addresses
    assert len(cluster.ports) == ports
    assert service["spec"].get("clusterIPs", []) in (cluster.addresses, ["None"], [])
    if service["spec"]["type"] != "ExternalName" and len(old["spec"].get("clusterIPs", ())):
        assert service["spec"]["clusterIP"] == old["spec"]["clusterIP"]
    cluster.delete(service)
    assert cluster.keys == {}


def test_a_load_balancer_that_stops_allocating_keeps_what_it_names() -> None:
    cluster = Cluster()
    service = cluster.create(type="LoadBalancer")
    service = cluster.update(service, allocateLoadBalancerNodePorts=False)
    assert node_ports(service) == [30016]
    service = cluster.update(service, ports=[{"port": 80}])
    assert node_ports(service) == [0]
    assert cluster.ports == []


def test_a_port_renamed_without_its_number_gets_another_one() -> None:
    cluster = Cluster()
    service = cluster.create(type="NodePort", ports=[{"name": "a", "port": 80}])
    service = cluster.update(service, ports=[{"name": "b", "port": 80}])
    assert node_ports(service) == [30017]
    assert cluster.ports == [30017]


def test_one_node_port_twice_for_a_protocol_is_a_plain_error_on_update() -> None:
    cluster = Cluster()
    service = cluster.create(type="NodePort")
    ports = two_ports({"port": 80, "nodePort": 30020}, {"port": 81, "nodePort": 30020})
    with pytest.raises(ApiError) as raised:
        cluster.update(service, ports=ports)
    assert (raised.value.status_code, raised.value.reason) == (500, "")
    assert raised.value.message == "duplicate nodePort: {TCP 30020}"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"clusterIPs": ["10.96.0.17"]}, "must be 'SingleStack' to release the secondary cluster IP"),
        ({"ipFamilies": ["IPv4"]}, "must be 'SingleStack' to release the secondary IP family"),
        ({"ipFamilies": ["IPv6", "IPv4"]}, "expected an IPv6 value as indicated by `ipFamilies[0]`"),
    ],
)
def test_a_second_family_goes_only_with_the_policy(changes: Json, text: str) -> None:
    cluster = Cluster(V4, V6)
    service = cluster.create(ipFamilyPolicy="RequireDualStack")
    with pytest.raises(Invalid) as raised:
        cluster.update(service, **changes)
    assert text in raised.value.message


def test_prefer_dual_stack_does_not_follow_the_cluster_by_itself() -> None:
    single = Cluster(V4)
    service = single.create(ipFamilyPolicy="PreferDualStack")
    dual = Cluster(V4, V6)
    for key in single.keys:
        dual.keys[key] = single.keys[key]
        dual.show(key)
    dual.revision = single.revision
    assert dual.update(service, sessionAffinity="ClientIP")["spec"]["ipFamilies"] == ["IPv4"]
    manifest = make_service()
    assert dual.put(manifest, service)["spec"]["ipFamilies"] == ["IPv4", "IPv6"]


def test_an_address_of_another_owner_is_never_released() -> None:
    cluster = Cluster()
    service = cluster.create()
    key = f"{ADDRESS_PREFIX}{service['spec']['clusterIP']}"
    other = json.dumps({"spec": {"parentRef": {"resource": "services", "namespace": "default", "name": "other"}}})
    cluster.keys[key] = (other.encode(), 90)
    cluster.show(key)
    assert cluster.allocator.plan_delete(service) == Claim()


def test_a_node_port_that_an_external_name_only_names_is_not_released() -> None:
    cluster = Cluster()
    cluster.create("owner", type="NodePort", ports=[{"port": 80, "nodePort": 30020}])
    ports = [{"port": 80, "nodePort": 30020}]
    service = cluster.create("alias", type="ExternalName", externalName="a.b", ports=ports)
    cluster.delete(service)
    assert cluster.ports == [30020]
    with pytest.raises(Invalid, match="already allocated"):
        cluster.update(service, type="NodePort")


def test_a_key_that_was_never_seen_makes_the_release_fail_once_not_leak() -> None:
    cluster = Cluster()
    service, claim = cluster.plan(make_service())
    cluster.commit(claim, observed=False)
    with pytest.raises(PreconditionFailed) as raised:
        cluster.delete(service)
    cluster.show(raised.value.key)
    cluster.delete(service)
    assert cluster.keys == {}


def test_a_key_that_changed_meanwhile_makes_the_release_fail_once() -> None:
    cluster = Cluster()
    service = cluster.create()
    claim = cluster.allocator.plan_delete(service)
    (key,) = cluster.keys
    cluster.keys[key] = (cluster.keys[key][0], 90)
    with pytest.raises(PreconditionFailed):
        cluster.commit(claim)


def test_two_plans_for_one_address_cannot_both_be_committed() -> None:
    cluster = Cluster()
    _, first = cluster.plan(make_service("a"))
    _, second = cluster.plan(make_service("b"))
    cluster.commit(first)
    with pytest.raises(PreconditionFailed):
        cluster.commit(second)
    assert cluster.create("b")["spec"]["clusterIP"] == "10.96.0.18"


def test_a_number_that_a_plan_gives_up_is_not_taken_by_the_same_plan() -> None:
    cluster = Cluster()
    service, claim = cluster.plan(make_service(type="NodePort", ports=[{"name": "a", "port": 80}]))
    cluster.commit(claim, observed=False)
    renamed = STRATEGY.default(make_service(type="NodePort", ports=[{"name": "b", "port": 80}]))
    after, claim = cluster.allocator.plan_update(renamed, service, wall_now=NOW)
    assert (node_ports(service), node_ports(after)) == ([30016], [30017])
    assert len({precondition.key for precondition in claim.preconditions}) == len(claim.preconditions)


def test_older_news_and_other_keys_are_ignored() -> None:
    cluster = Cluster()
    key = f"{PORT_PREFIX}30020"
    owner = b'{"namespace":"default","name":"web"}'
    cluster.allocator.observe(key, owner, 9)
    cluster.allocator.observe(key, None, 5)
    cluster.allocator.observe("/registry/core/services/default/web", b"{}", 10)
    cluster.allocator.observe(f"{PORT_PREFIX}many", b"{}", 10)
    cluster.allocator.observe(f"{ADDRESS_PREFIX}nowhere", b"not JSON", 10)
    with pytest.raises(Invalid, match="already allocated"):
        cluster.create(type="NodePort", ports=[{"port": 80, "nodePort": 30020}])


def test_ranges_of_one_family_are_refused() -> None:
    with pytest.raises(ValueError, match="at most one per IP family"):
        Cluster("10.0.0.0/24", "10.1.0.0/24")


# Interleaved planners: each plans from what the allocator knew some commits ago, and plans again when it loses.

SHAPES: tuple[Json, ...] = (
    {},
    {"type": "NodePort"},
    {"type": "NodePort", "ports": two_ports({"port": 53}, {"port": 53, "protocol": "UDP"})},
    {"type": "LoadBalancer", "externalTrafficPolicy": "Local"},
    {"type": "ExternalName", "externalName": "a.b"},
    {"clusterIP": "None"},
    {"ipFamilyPolicy": "PreferDualStack"},
    {"ipFamilyPolicy": "SingleStack"},
    {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30003}]},
    {"clusterIP": "10.96.0.5"},
)
ACTION = st.tuples(
    st.sampled_from(("create", "update", "delete", "deliver")),
    st.sampled_from("abcdef"),
    st.integers(0, len(SHAPES) - 1),
    st.integers(0, 50),
)


def held_by(services: dict[str, Json]) -> dict[str, str]:
    """Who holds which key, told from the Services alone. A number that two hold fails here."""
    held: dict[str, str] = {}
    for name, service in services.items():
        spec = service["spec"]
        keys = {f"{ADDRESS_PREFIX}{ip}" for ip in spec.get("clusterIPs", ()) if ip != "None"}
        if spec["type"] in ("NodePort", "LoadBalancer"):
            keys |= {f"{PORT_PREFIX}{port['nodePort']}" for port in spec["ports"] if port.get("nodePort")}
        if spec.get("healthCheckNodePort"):
            keys.add(f"{PORT_PREFIX}{spec['healthCheckNodePort']}")
        for key in keys:
            assert key not in held, f"{key} is held by {held[key]} and {name}"
            held[key] = name
    return held


@settings(max_examples=150, deadline=None)
@given(st.lists(ACTION, max_size=40))
def test_racing_planners_hand_out_nothing_twice_and_leak_nothing(actions: list[tuple[str, str, int, int]]) -> None:
    """Events reach the allocator only on "deliver" or after a lost race, so most plans rest on stale knowledge."""
    cluster = Cluster("10.96.0.0/28", "fd10::/124", ports=(30000, 30011))
    services: dict[str, Json] = {}
    for action, name, shape, turn in actions:
        cluster.turn = turn
        if action == "deliver":
            for key in list(cluster.allocator._held) + list(cluster.keys):
                cluster.show(key)
            continue
        for _ in range(40):
            try:
                act(cluster, services, action, name, SHAPES[shape])
                break
            except PreconditionFailed as failure:
                cluster.show(failure.key)
            except (ApiError, AssertionError):
                break  # refused: full, taken, or forbidden to change
        else:
            raise AssertionError("a plan that is repeated from fresh knowledge must succeed in the end")
        held = held_by(services)
        assert set(cluster.keys) == set(held)
        pools = [pool for _, pool in cluster.allocator.ranges.pools]
        assert all(any(address_number(address) in pool for pool in pools) for address in cluster.addresses)
        assert all(number in cluster.allocator.port_pool for number in cluster.ports)
    for key in {*cluster.allocator._held, *cluster.keys}:
        cluster.show(key)
    for cidr, pool in cluster.allocator.ranges.pools:
        assert pool.free + sum((":" in cidr) == (":" in address) for address in cluster.addresses) == pool.size
    assert cluster.allocator.port_pool.free + len(cluster.ports) == cluster.allocator.port_pool.size


def act(cluster: Cluster, services: dict[str, Json], action: str, name: str, spec: Json) -> None:
    old = services.get(name)
    if action == "create" and old is None:
        service, claim = cluster.plan(make_service(name, **copy.deepcopy(spec)))
        assert STRATEGY.validate_create(STRATEGY.prepare_create(service, Context(NOW))) == []
        cluster.commit(claim, observed=False)
        services[name] = service
    elif action == "update" and old is not None:
        new = STRATEGY.default(make_service(name, **copy.deepcopy(spec)))
        service, claim = cluster.allocator.plan_update(new, old, wall_now=NOW)
        service = STRATEGY.prepare_update(service, old, Context(NOW))
        assert STRATEGY.validate_update(service, old) == []
        cluster.commit(claim, observed=False)
        services[name] = service
    elif action == "delete" and old is not None:
        cluster.commit(cluster.allocator.plan_delete(old), observed=False)
        del services[name]


def test_claims_are_sorted_and_name_a_key_once() -> None:
    _, claim = Cluster(V4, V6).plan(make_service(type="NodePort", ipFamilyPolicy="RequireDualStack"))
    keys = [write.key for write in claim.writes]
    assert keys == sorted(set(keys)) == [precondition.key for precondition in claim.preconditions]
    assert all(isinstance(write, Write) for write in claim.writes)
    assert all(precondition == Precondition(precondition.key, 0) for precondition in claim.preconditions)


# Several ranges.


def test_a_range_added_live_is_used_at_once() -> None:
    cluster = Cluster("10.96.0.0/30")
    cluster.create("a")
    cluster.create("b")
    with pytest.raises(InternalError, match="range is full"):
        cluster.plan(make_service("c"))
    with pytest.raises(Invalid, match="does not match the current range"):
        cluster.plan(make_service("c", clusterIP="10.97.0.5"))
    cluster.set_range("more", "10.97.0.0/24")
    assert cluster.create("c")["spec"]["clusterIP"] == "10.97.0.17"
    assert cluster.create("d", clusterIP="10.97.0.5")["spec"]["clusterIP"] == "10.97.0.5"


@pytest.mark.parametrize(
    "state",
    [
        pytest.param({"ready": "False"}, id="called not ready"),
        pytest.param({"ready": "Unknown"}, id="readiness unknown"),
        pytest.param({"ready": "True", "deleting": True}, id="being deleted"),
    ],
)
def test_a_range_is_not_drawn_from_when(state: Json) -> None:
    cluster = Cluster()
    held = cluster.create("a")
    cluster.set_range("kubernetes", V4, **state)
    with pytest.raises(InternalError, match="range is full"):
        cluster.plan(make_service("b"))
    with pytest.raises(Invalid, match="does not match the current range"):
        cluster.plan(make_service("b", clusterIP="10.96.0.5"))
    cluster.delete(held)
    assert cluster.keys == {}, "what was taken is given back all the same"
    cluster.set_range("other", V4, ready="True")
    assert cluster.create("b")["spec"]["clusterIP"] == "10.96.0.17", "one good owner of the range is enough"


def test_a_range_that_is_gone_is_drawn_from_no_more_and_keeps_no_memory() -> None:
    cluster = Cluster()
    cluster.set_range("more", "10.97.0.0/24")
    kept = cluster.create("a", clusterIP="10.97.0.5")
    cluster.set_range("more")
    with pytest.raises(Invalid, match="does not match the current range"):
        cluster.plan(make_service("b", clusterIP="10.97.0.6"))
    cluster.set_range("again", "10.97.0.0/25")
    with pytest.raises(Invalid, match="already allocated"):
        cluster.plan(make_service("b", clusterIP="10.97.0.5"))
    cluster.delete(kept)
    assert cluster.create("b", clusterIP="10.97.0.5")["spec"]["clusterIP"] == "10.97.0.5"


def test_ranges_that_overlap_hand_out_an_address_once() -> None:
    cluster = Cluster("10.96.0.0/28")
    cluster.set_range("wide", "10.96.0.0/27")
    given_out = [cluster.create(f"s{index}")["spec"]["clusterIP"] for index in range(30)]
    assert len(set(given_out)) == 30
    with pytest.raises(InternalError, match="range is full"):
        cluster.plan(make_service("more"))
    assert [(cidr, pool.free) for cidr, pool in cluster.allocator.ranges.pools] == [
        ("10.96.0.0/27", 0),
        ("10.96.0.0/28", 0),
    ]


def test_a_second_family_added_live_does_not_make_the_cluster_dual_stack() -> None:
    cluster = Cluster()
    cluster.set_range("six", V6)
    with pytest.raises(Invalid, match="not configured on this cluster"):
        cluster.plan(make_service(ipFamilies=["IPv6"]))


def test_a_range_too_large_yields_no_addresses() -> None:
    cluster = Cluster("fd10::/120")
    cluster.set_range("huge", "fd20::/48")
    with pytest.raises(Invalid, match="does not match the current range"):
        cluster.plan(make_service(clusterIP="fd20::5"))


def test_an_address_that_somebody_made_an_object_of_is_taken() -> None:
    cluster = Cluster()
    parent = {"group": "example.com", "resource": "gateways", "name": "edge"}
    cluster.keys[f"{ADDRESS_PREFIX}10.96.0.17"] = (json.dumps({"spec": {"parentRef": parent}}).encode(), 5)
    cluster.show(f"{ADDRESS_PREFIX}10.96.0.17")
    assert cluster.create("a")["spec"]["clusterIP"] == "10.96.0.18"
    with pytest.raises(Invalid, match="already allocated") as raised:
        cluster.plan(make_service("b", clusterIP="10.96.0.17"))
    cause = raised.value.__cause__
    assert isinstance(cause, TakenBy)
    assert (cause.holder_key, cause.is_own) == ("", False)


def test_what_was_taken_is_counted_by_range_and_by_whether_it_was_asked_for() -> None:
    cluster = Cluster("10.96.0.0/30")
    _, claim = cluster.plan(make_service("a", clusterIP="10.96.0.1", type="NodePort"))
    cluster.allocator.commit_claim(claim, range(2, 2 + len(claim.writes)))
    cluster.set_range("more", "10.97.0.0/24")
    _, claim = cluster.plan(make_service("b", clusterIP="10.97.0.1"))
    cluster.allocator.commit_claim(claim, range(10, 10 + len(claim.writes)))
    with pytest.raises(Invalid):
        cluster.plan(make_service("c", clusterIP="10.97.0.1"))
    assert cluster.allocator.address_claims == {("10.96.0.0/30", "static"): 1, ("10.97.0.0/24", "static"): 1}
    assert cluster.allocator.port_claims == {"dynamic": 1}
    assert cluster.allocator.address_refusals == {("10.97.0.0/24", "static"): 1}
