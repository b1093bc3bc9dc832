"""Which Pod an ID leads to. Rule: spec "service-api" §8.1, §8.2."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.machinery.errors import ApiError
from seaway.api.registry import ENDPOINTS, NODES, PODS, SERVICES, Resource
from seaway.apiserver.proxying.targets import ProxyId, choose_target, find_proxy_id, is_proxyable
from seaway.apiserver.record import Record, encode_stored, make_record
from tests.apiserver.proxying.backends import make_address, make_endpoints, make_pod, make_service, make_subset

Json = dict[str, Any]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("web", ProxyId("web")),
        ("web:80", ProxyId("web", "80")),
        ("web:", ProxyId("web")),
        ("web:http", ProxyId("web", "http")),
        ("https:web:", ProxyId("web", "", "https")),
        (":web:80", ProxyId("web", "80")),
        ("http:web:80", ProxyId("web", "80", "http")),
        ("", None),
        (":80", None),
        ("http::80", None),
        ("HTTP:web:80", None),
        ("ws:web:80", None),
        ("a:b:c:d", None),
    ],
)
def test_an_id_is_a_name_with_a_port_and_a_scheme(text: str, found: ProxyId | None) -> None:
    assert find_proxy_id(text) == found


@given(st.sampled_from(("", "http", "https")), st.from_regex(r"[a-z]{1,5}", fullmatch=True), st.sampled_from(("", "8")))
def test_what_is_put_together_is_taken_apart(scheme: str, name: str, port: str) -> None:
    assert find_proxy_id(f"{scheme}:{name}:{port}") == ProxyId(name, port, scheme)


class Objects:
    """What the server has."""

    def __init__(self, *objects: tuple[Resource, Json], namespace: str = "default") -> None:
        self._records: dict[tuple[str, str, str], Record] = {}
        for resource, obj in objects:
            meta = {"namespace": namespace, "uid": f"uid-{obj['metadata']['name']}", **obj["metadata"]}
            whole = {**obj, "kind": resource.kind, "apiVersion": "v1", "metadata": meta}
            key = (resource.plural, meta["namespace"], meta["name"])
            self._records[key] = make_record(resource, f"{key[1]}/{key[2]}", encode_stored(whole), 1)

    def find(self, resource: Resource, namespace: str, name: str) -> Record | None:
        return self._records.get((resource.plural, namespace, name))

    def choose(self, text: str, *picks: int, resource: Resource = SERVICES) -> str:
        """The URL's beginning, or the refusal."""
        left = list(picks)
        try:
            found = choose_target(
                resource, "default", text, find=self.find, pick=lambda count: left.pop(0) if left else 0
            )
        except ApiError as error:
            return f"{error.status_code} {error.message}"
        return f"{'https' if found.is_tls else 'http'}://{found.host} {found.uid}"


PODS_HERE = [(PODS, make_pod(name, f"10.0.0.{n}", f"fd00::{n}")) for n, name in enumerate("abcd", 1)]


def all_of(*ips: str, port: int = 8080, name: str = "") -> Json:
    return make_subset(port, *(make_address(ip, "abcd"[int(ip[-1]) - 1]) for ip in ips), name=name)


def test_the_search_starts_anywhere_and_goes_round() -> None:
    two = make_endpoints("web", all_of("10.0.0.1", "10.0.0.2"), all_of("10.0.0.3", "fd00::4", port=81))
    objects = Objects(*PODS_HERE, (ENDPOINTS, two))
    found = {(s, a): objects.choose("web", s, a) for s in (0, 1) for a in (0, 1)}
    assert found == {
        (0, 0): "http://10.0.0.1:8080 uid-a",
        (0, 1): "http://10.0.0.2:8080 uid-b",
        (1, 0): "http://10.0.0.3:81 uid-c",
        (1, 1): "http://[fd00::4]:81 uid-d",
    }


def test_what_does_not_qualify_is_passed_over() -> None:
    forged = make_subset(
        8080, make_address("10.0.0.9", "a"), make_address("10.0.0.2", "b"), make_address("10.9.9.9", None)
    )
    empty = {"notReadyAddresses": [make_address("10.0.0.1", "a")], "ports": [{"port": 1}]}
    objects = Objects(*PODS_HERE, (ENDPOINTS, make_endpoints("web", empty, forged, all_of("10.0.0.3", name="other"))))
    for subset in range(3):
        for address in range(3):
            assert objects.choose("web", subset, address) == "http://10.0.0.2:8080 uid-b"


def test_a_number_stands_for_the_name_that_the_service_gives_it() -> None:
    endpoints = make_endpoints("web", all_of("10.0.0.1", port=8080, name="http"), all_of("10.0.0.2", port=9, name="81"))
    service = make_service("web", ("http", 80), ("admin", 81))
    objects = Objects(*PODS_HERE, (ENDPOINTS, endpoints), (SERVICES, service))
    assert objects.choose("web:80") == "http://10.0.0.1:8080 uid-a"
    assert objects.choose("https:web:http") == "https://10.0.0.1:8080 uid-a"
    assert objects.choose("web:82") == '503 no service port 82 found for service "web"'
    assert objects.choose("web:81") == '503 no endpoints available for service "web:81"'
    assert objects.choose("web") == '503 no endpoints available for service "web"', "its ports have names"


def test_a_pods_port_is_that_of_the_id_or_its_containers_first() -> None:
    objects = Objects((PODS, make_pod("a", "10.0.0.1", ports=(8080, 9090))), (PODS, make_pod("b", "10.0.0.2")),
                      (PODS, make_pod("c")))  # fmt: skip
    chosen = {text: objects.choose(text, resource=PODS) for text in ("a", "a:9090", "b", "https:b:", "c", "a:0", "a:x")}
    assert chosen == {
        "a": "http://10.0.0.1:8080 uid-a",
        "a:9090": "http://10.0.0.1:9090 uid-a",
        "b": "http://10.0.0.2:80 uid-b",
        "https:b:": "https://10.0.0.2:443 uid-b",
        "c": "400 address not allowed",
        "a:0": '400 invalid pod request "a:0"',
        "a:x": '400 invalid pod request "a:x"',
    }


def make_node(*addresses: tuple[str, str], port: int = 0) -> Json:
    told = [{"type": kind, "address": address} for kind, address in addresses]
    endpoints = {"daemonEndpoints": {"kubeletEndpoint": {"Port": port}}} if port else {}
    return {"metadata": {"name": "n"}, "spec": {}, "status": {"addresses": told, **endpoints}}


INTERNAL, EXTERNAL, NAME = ("InternalIP", "10.0.0.1"), ("ExternalIP", "203.0.113.1"), ("Hostname", "n")


@pytest.mark.parametrize(
    ("node", "text", "chosen"),
    [
        pytest.param(make_node(NAME, EXTERNAL, INTERNAL, port=10259), "n", "agent https://10.0.0.1:10259",
                     id="the agent is at the internal address and the port that the Node tells"),
        pytest.param(make_node(INTERNAL), "n", "agent https://10.0.0.1:10250", id="a Node that tells none has 10250"),
        pytest.param(make_node(EXTERNAL), "n", "agent https://203.0.113.1:10250", id="else at the external address"),
        pytest.param(make_node(INTERNAL), "http:n:10250", "agent https://10.0.0.1:10250",
                     id="the agent is asked over https, whatever the scheme"),
        pytest.param(make_node(INTERNAL), "n:9100", "other http://10.0.0.1:9100", id="another port is another's"),
        pytest.param(make_node(INTERNAL), "https:n:9100", "other https://10.0.0.1:9100", id="in the scheme asked for"),
        pytest.param(make_node(INTERNAL), "n:http", '400 invalid node request "n:http"', id="ports have no names"),
        pytest.param(make_node(INTERNAL), "n:0", '400 invalid node request "n:0"', id="0 is no port"),
        pytest.param(make_node(("InternalIP", "127.0.0.1")), "n", "400 address not allowed", id="never loopback"),
        pytest.param(make_node(NAME), "n", '503 error trying to reach service: node "n" has no IP address',
                     id="a name is not looked up"),
        pytest.param(make_node(INTERNAL), "m", '404 nodes "m" not found', id="an unknown Node"),
    ],
)  # fmt: skip
def test_a_node_is_its_agent_or_a_port_of_its_address(node: Json, text: str, chosen: str) -> None:
    """Rule: spec "node" §5.2, §1.4."""
    objects = Objects((NODES, node), namespace="")
    try:
        found = choose_target(NODES, "", text, find=objects.find, pick=lambda count: 0)
    except ApiError as error:
        assert f"{error.status_code} {error.message}" == chosen
        return
    who = "agent" if found.is_kubelet else "other"
    assert f"{who} {'https' if found.is_tls else 'http'}://{found.host}" == chosen
    assert found.uid == "uid-n"


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.1.1", "fe80::1", "0.0.0.0", "::", "224.0.0.1",
                "ff02::1", "255.255.255.255", "web", ""]
)  # fmt: skip
def test_special_addresses_are_never_dialled(address: str) -> None:
    assert not is_proxyable(address)


@pytest.mark.parametrize("address", ["10.0.0.1", "203.0.113.1", "fd00::1", "2001:db8::1"])
def test_addresses_of_pods_are_dialled(address: str) -> None:
    assert is_proxyable(address)
