"""Rule: spec "discovery" Part B and D5."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.node.envvars import (
    EnvError,
    PodFields,
    choose_services,
    expand,
    expand_command,
    find_skipped_names,
    make_environment,
    make_service_variables,
    read_field,
    sort_addresses,
)
from seaway.node.podspec import FieldRef
from tests.node.manifests import decode_pod, decode_service

REDIS = decode_service("redis-primary", "10.0.0.11", ports=[{"port": 6379, "protocol": "TCP"}])
MASTER = decode_service("kubernetes", "10.96.0.1", ports=[{"name": "https", "port": 443, "protocol": "TCP"}])
OWN_MASTER = decode_service("kubernetes", "10.9.9.9", namespace="demo", ports=[{"port": 1}])


def test_the_seven_variables_of_redis_primary() -> None:
    lines = [f"{name}={value}" for name, value in make_service_variables([REDIS]).items()]
    assert lines == [
        "REDIS_PRIMARY_SERVICE_HOST=10.0.0.11",
        "REDIS_PRIMARY_SERVICE_PORT=6379",
        "REDIS_PRIMARY_PORT=tcp://10.0.0.11:6379",
        "REDIS_PRIMARY_PORT_6379_TCP=tcp://10.0.0.11:6379",
        "REDIS_PRIMARY_PORT_6379_TCP_PROTO=tcp",
        "REDIS_PRIMARY_PORT_6379_TCP_PORT=6379",
        "REDIS_PRIMARY_PORT_6379_TCP_ADDR=10.0.0.11",
    ]


def test_two_named_ports_with_udp_first() -> None:
    ports = [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]
    assert make_service_variables([decode_service("dns-cache", "10.0.0.12", ports=ports)]) == {
        "DNS_CACHE_SERVICE_HOST": "10.0.0.12",
        "DNS_CACHE_SERVICE_PORT": "53",
        "DNS_CACHE_SERVICE_PORT_DNS": "53",
        "DNS_CACHE_SERVICE_PORT_DNS_TCP": "53",
        "DNS_CACHE_PORT": "udp://10.0.0.12:53",
        "DNS_CACHE_PORT_53_UDP": "udp://10.0.0.12:53",
        "DNS_CACHE_PORT_53_UDP_PROTO": "udp",
        "DNS_CACHE_PORT_53_UDP_PORT": "53",
        "DNS_CACHE_PORT_53_UDP_ADDR": "10.0.0.12",
        "DNS_CACHE_PORT_53_TCP": "tcp://10.0.0.12:53",
        "DNS_CACHE_PORT_53_TCP_PROTO": "tcp",
        "DNS_CACHE_PORT_53_TCP_PORT": "53",
        "DNS_CACHE_PORT_53_TCP_ADDR": "10.0.0.12",
    }


def test_ipv6_has_brackets_in_urls_only() -> None:
    port = {"name": "u-d-p", "port": 8084, "protocol": "UDP"}
    found = make_service_variables([decode_service("super-ipv6", "2001:DB8::", ports=[port])])
    assert found["SUPER_IPV6_SERVICE_HOST"] == found["SUPER_IPV6_PORT_8084_UDP_ADDR"] == "2001:DB8::"
    assert found["SUPER_IPV6_PORT"] == "udp://[2001:DB8::]:8084"
    assert found["SUPER_IPV6_SERVICE_PORT_U_D_P"] == "8084"


@pytest.mark.parametrize(
    ("namespace", "links", "expected"),
    [
        pytest.param("default", True, ["kubernetes", "redis-primary"], id="own namespace and the master"),
        pytest.param("default", False, ["kubernetes"], id="without links only the master"),
        pytest.param("other", True, ["kubernetes"], id="nothing of other namespaces"),
    ],
)
def test_which_services_count(namespace: str, links: bool, expected: list[str]) -> None:
    excluded = [
        decode_service("headless", "None"),
        decode_service("unallocated", ""),
        decode_service("external", "", type="ExternalName", externalName="a.example"),
        decode_service("portless", "10.0.0.9", ports=[]),
    ]
    chosen = choose_services([REDIS, MASTER, *excluded], namespace, links=links)
    assert [service.metadata.name for service in chosen] == expected


@pytest.mark.parametrize(
    ("links", "address"),
    [
        pytest.param(True, "10.9.9.9", id="with links a Service kubernetes of the own namespace wins"),
        pytest.param(False, "10.96.0.1", id="without links it does not count"),
    ],
)
def test_a_service_named_kubernetes(links: bool, address: str) -> None:
    for services in ([MASTER, OWN_MASTER], [OWN_MASTER, MASTER]):
        [chosen] = choose_services(services, "demo", links=links)
        assert chosen.spec.cluster_ip == address


@given(st.permutations([REDIS, MASTER, decode_service("a", "10.0.0.1"), decode_service("a-service", "10.0.0.2")]))
def test_order_of_services_changes_nothing(services: list[Any]) -> None:
    chosen = choose_services(services, "default", links=True)
    assert make_service_variables(chosen)["A_SERVICE_PORT"] == "tcp://10.0.0.2:80"
    assert [s.metadata.name for s in chosen] == ["a", "a-service", "kubernetes", "redis-primary"]


VALUES = {"A": "value", "E": "", "R": "$(A)", "A$(B": "odd"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("$(A)", "value", id="reference"),
        pytest.param("$(X)", "$(X)", id="undefined stays"),
        pytest.param("$$", "$", id="escape"),
        pytest.param("$$(A)", "$(A)", id="escaped reference"),
        pytest.param("$$$(A)", "$value", id="odd count expands"),
        pytest.param("$A ${A} $? $é", "$A ${A} $? $é", id="not an expression"),
        pytest.param("$(A", "$(A", id="unterminated"),
        pytest.param("$(A$$", "$(A$", id="unterminated, scanning goes on"),
        pytest.param("$(A$(B))", "odd)", id="the name runs to the first parenthesis"),
        pytest.param("$(C$(B))", "$(C$(B))", id="no nesting"),
        pytest.param("[$(E)]", "[]", id="empty value"),
        pytest.param("a$", "a$", id="trailing dollar"),
        pytest.param("\\$(A)", "\\value", id="backslash means nothing"),
        pytest.param("$(R)", "$(A)", id="a value is inserted as it is"),
    ],
)
def test_expansion(text: str, expected: str) -> None:
    assert expand(text, VALUES.get) == expected


@given(st.text())
def test_expansion_without_dollars_changes_nothing(text: str) -> None:
    plain = text.replace("$", "")
    assert expand(plain, VALUES.get) == plain
    assert expand(text.replace("$", "$$"), VALUES.get) == text


def build(env: list[Any], env_from: list[Any] | None = None, services: dict[str, str] | None = None) -> dict[str, str]:
    container = {"name": "main", "env": env, "envFrom": env_from or []}
    pod = decode_pod(containers=[container], nodeName="node-1", labels={"app": "web"})
    return make_environment(
        pod.spec.containers[0], pod, services if services is not None else make_service_variables([REDIS]),
        fields=PodFields(("10.244.0.2", "fd00::2"), ("192.0.2.1",)),
        find_config_map={"settings": {"COLOR": b"blue", "A": b"map"}}.get,
        find_secret={"keys": {"password": b"hunter2", "A": b"secret"}}.get,
    )  # fmt: skip


def test_user_variables_win_over_services() -> None:
    env = [
        {"name": "BEFORE", "value": "$(REDIS_PRIMARY_PORT)"},
        {"name": "REDIS_PRIMARY_PORT", "value": "6379"},
        {"name": "AFTER", "value": "$(REDIS_PRIMARY_PORT)"},
        {"name": "LATE", "value": "$(LATER)"},
        {"name": "LATER", "value": "x"},
        {"name": "REDIS_PRIMARY_SERVICE_HOST"},
    ]
    found = build(env)
    assert found["REDIS_PRIMARY_PORT"] == found["AFTER"] == "6379"
    assert found["BEFORE"] == "tcp://10.0.0.11:6379"
    assert found["LATE"] == "$(LATER)"
    assert found["REDIS_PRIMARY_SERVICE_HOST"] == "", "an empty value hides the Service's"
    assert len(found) == 7 + 4


def test_env_from_in_order_with_prefix() -> None:
    sources = [
        {"configMapRef": {"name": "settings"}},
        {"secretRef": {"name": "keys"}},
        {"prefix": "P_", "configMapRef": {"name": "settings"}},
        {"configMapRef": {"name": "absent", "optional": True}},
    ]
    assert build([{"name": "COLOR", "value": "red"}], sources, {}) == {
        "COLOR": "red", "A": "secret", "password": "hunter2", "P_COLOR": "blue", "P_A": "map",
    }  # fmt: skip


REFERENCES = {
    "map key": ({"configMapKeyRef": {"name": "settings", "key": "COLOR"}}, "blue"),
    "secret key": ({"secretKeyRef": {"name": "keys", "key": "password"}}, "hunter2"),
    "label": ({"fieldRef": {"fieldPath": "metadata.labels['app']"}}, "web"),
    "absent annotation": ({"fieldRef": {"fieldPath": "metadata.annotations['x']"}}, ""),
    "Pod address": ({"fieldRef": {"fieldPath": "status.podIP"}}, "10.244.0.2"),
    "Pod addresses": ({"fieldRef": {"fieldPath": "status.podIPs"}}, "10.244.0.2,fd00::2"),
    "host address": ({"fieldRef": {"fieldPath": "status.hostIP"}}, "192.0.2.1"),
    "node name": ({"fieldRef": {"fieldPath": "spec.nodeName"}}, "node-1"),
}


@pytest.mark.parametrize(("source", "expected"), REFERENCES.values(), ids=REFERENCES)
def test_value_from(source: dict[str, Any], expected: str) -> None:
    assert build([{"name": "X", "valueFrom": source}], services={}) == {"X": expected}


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ({"configMapKeyRef": {"name": "no", "key": "k"}}, 'configmap "no" not found'),
        ({"secretKeyRef": {"name": "no", "key": "k"}}, 'secret "no" not found'),
        ({"configMapKeyRef": {"name": "settings", "key": "k"}}, "couldn't find key k in ConfigMap default/settings"),
        ({"fieldRef": {"fieldPath": "status.phase"}}, "field label not supported: status.phase"),
    ],
)
def test_what_is_missing_says_so(source: dict[str, Any], text: str) -> None:
    with pytest.raises(EnvError) as caught:
        build([{"name": "X", "valueFrom": source}])
    assert str(caught.value) == text


def test_an_optional_key_that_is_missing_leaves_the_variable_out() -> None:
    source = {"configMapKeyRef": {"name": "no", "key": "k", "optional": True}}
    assert build([{"name": "X", "valueFrom": source}], services={}) == {}


def test_keys_that_cannot_be_variables_are_left_out_and_told() -> None:
    data = {"fine": b"1", "a=b": b"2", "\u00e9": b"3", "with space": b"4"}
    pod = decode_pod(containers=[{"name": "main", "envFrom": [
        {"prefix": "P_", "configMapRef": {"name": "odd"}}, {"secretRef": {"name": "odd"}},
    ]}])  # fmt: skip
    container = pod.spec.containers[0]
    find = {"odd": data}.get
    found = make_environment(container, pod, {}, fields=PodFields(), find_config_map=find, find_secret=find)
    assert found == {"P_fine": "1", "P_with space": "4", "fine": "1", "with space": "4"}
    assert list(find_skipped_names(container, pod, find_config_map=find, find_secret=find)) == [
        ("InvalidEnvironmentVariableNames", f"Keys [{keys}] from the EnvFrom {kind} default/odd were skipped since "
         "they are considered invalid environment variable names.")
        for keys, kind in (("P_a=b, P_\u00e9", "configMap"), ("a=b, \u00e9", "secret"))
    ]  # fmt: skip


def test_a_resource_of_the_container_or_of_another() -> None:
    env = [
        {"name": "OWN", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
        {"name": "HOST", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Ki"}}},
        {"name": "IT", "valueFrom": {"resourceFieldRef": {"containerName": "b", "resource": "requests.cpu"}}},
    ]
    pod = decode_pod(containers=[
        {"name": "a", "env": env, "resources": {"limits": {"cpu": "200m"}}},
        {"name": "b", "resources": {"requests": {"cpu": "1001m"}}},
    ])  # fmt: skip
    fields = PodFields(allocatable={"memory": "512Ki"})
    container = pod.spec.containers[0]
    found = make_environment(container, pod, {}, fields=fields, find_config_map={}.get, find_secret={}.get)
    assert found == {"OWN": "200", "HOST": "512", "IT": "2"}


@pytest.mark.parametrize(
    ("addresses", "primary", "expected"),
    [
        (("fd00::6", "1.2.3.4"), "192.0.2.1", ("1.2.3.4", "fd00::6")),
        (("fd00:0::6", "1.2.3.4"), "2001:db8::1", ("fd00::6", "1.2.3.4")),
        (("1.2.3.4", "1.2.3.5"), "192.0.2.1", ("1.2.3.4",)),
        (("fd00::6",), "192.0.2.1", ("fd00::6",)),
        ((), "192.0.2.1", ()),
    ],
)
def test_addresses_in_the_order_of_the_node(
    addresses: tuple[str, ...], primary: str, expected: tuple[str, ...]
) -> None:
    assert sort_addresses(addresses, primary) == expected


def test_commands_see_the_whole_environment() -> None:
    pod = decode_pod(containers=[{"name": "main", "command": ["echo", "$(A)"], "args": ["$$(A)", "$(B)"]}])
    assert expand_command(pod.spec.containers[0], {"A": "1"}) == ("echo", "1", "$(A)", "$(B)")


def test_the_old_name_of_the_node_field() -> None:
    assert read_field(FieldRef(field_path="spec.host"), decode_pod(nodeName="n"), PodFields()) == "n"
