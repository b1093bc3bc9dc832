"""Spec "discovery" part D5, by number, through what a container is started with.

The rules one by one are in test_envvars.py and test_resolvconf.py.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from seaway.api.service.types import Service
from seaway.node.config import NodeConfig
from seaway.node.pods.sources import (
    HostFiles,
    Sources,
    find_resolver_warnings,
    make_container_spec,
    make_sandbox_spec,
)
from seaway.node.resolvconf import Resolver, ResolverError, parse_resolv_conf
from seaway.node.runtime.contract import ContainerSpec
from seaway.node.state import PodState
from tests.node.manifests import decode_pod, decode_service

CONFIG = NodeConfig(
    node_name="node-1", node_ip="192.0.2.10", dns_ip="10.96.0.10", state_dir=Path("/s"), data_dir=Path("/d")
)
HOST = HostFiles(
    Resolver(("192.0.2.53",), ("corp.example",), ("timeout:1",)), "127.0.0.1\tlocalhost node-1\n", "node-1"
)
MASTER = decode_service("kubernetes", "10.96.0.1", ports=[{"name": "https", "port": 443, "protocol": "TCP"}])
REDIS = decode_service("redis-primary", "10.0.0.11", namespace="demo", ports=[{"port": 6379, "protocol": "TCP"}])
KUBERNETES = {
    "KUBERNETES_SERVICE_HOST": "10.96.0.1",
    "KUBERNETES_SERVICE_PORT": "443",
    "KUBERNETES_SERVICE_PORT_HTTPS": "443",
    "KUBERNETES_PORT": "tcp://10.96.0.1:443",
    "KUBERNETES_PORT_443_TCP": "tcp://10.96.0.1:443",
    "KUBERNETES_PORT_443_TCP_PROTO": "tcp",
    "KUBERNETES_PORT_443_TCP_PORT": "443",
    "KUBERNETES_PORT_443_TCP_ADDR": "10.96.0.1",
}


def start(
    *services: Service, ips: tuple[str, ...] = ("10.244.0.2",), config: NodeConfig = CONFIG, host: HostFiles = HOST,
    sources: Sources | None = None, name: str = "web-1", container: dict[str, Any] | None = None, **spec: Any,
) -> ContainerSpec:  # fmt: skip
    """What the container of a Pod in namespace demo is started with."""
    main = {"name": "main", "command": ["true"], **(container or {})}
    pod = decode_pod(name, meta={"namespace": "demo"}, containers=[main], **spec)
    return make_container_spec(
        config, pod, pod.spec.containers[0], PodState(pod_ips=ips), services=services,
        sources=sources or Sources(), host=host,
    )  # fmt: skip


def find_file(path: str, **changes: Any) -> str:
    return dict(start(**changes).files)[path]


def find_warnings(*, config: NodeConfig = CONFIG, host: HostFiles = HOST, **spec: Any) -> list[tuple[str, str]]:
    pod = decode_pod(meta={"namespace": "demo"}, **spec)
    return list(find_resolver_warnings(config, pod, host))


def test_d5_1_the_seed_example_and_the_master_and_nothing_else() -> None:
    assert start(REDIS, MASTER).environment == KUBERNETES | {
        "REDIS_PRIMARY_SERVICE_HOST": "10.0.0.11",
        "REDIS_PRIMARY_SERVICE_PORT": "6379",
        "REDIS_PRIMARY_PORT": "tcp://10.0.0.11:6379",
        "REDIS_PRIMARY_PORT_6379_TCP": "tcp://10.0.0.11:6379",
        "REDIS_PRIMARY_PORT_6379_TCP_PROTO": "tcp",
        "REDIS_PRIMARY_PORT_6379_TCP_PORT": "6379",
        "REDIS_PRIMARY_PORT_6379_TCP_ADDR": "10.0.0.11",
    }


def test_d5_2_without_service_links_there_is_the_master_alone() -> None:
    assert start(REDIS, MASTER, enableServiceLinks=False).environment == KUBERNETES


@pytest.mark.parametrize(("links", "address"), [(True, "10.9.9.9"), (False, "10.96.0.1")])
def test_d5_3_a_service_kubernetes_of_the_own_namespace(links: bool, address: str) -> None:
    own = decode_service("kubernetes", "10.9.9.9", namespace="demo", ports=[{"port": 1}])
    environment = start(own, MASTER, enableServiceLinks=links).environment
    assert environment["KUBERNETES_SERVICE_HOST"] == address
    assert ("KUBERNETES_SERVICE_PORT_HTTPS" in environment) is not links, "one Service, not a mixture"


def test_d5_4_services_without_a_cluster_ip_and_those_of_other_namespaces_give_nothing() -> None:
    others = [
        decode_service("headless", "None", namespace="demo"),
        decode_service("unallocated", "", namespace="demo"),
        decode_service("external", "", namespace="demo", type="ExternalName", externalName="a.example"),
        decode_service("elsewhere", "10.0.0.12", namespace="other"),
    ]
    assert start(MASTER, *others).environment == KUBERNETES


def test_d5_5_a_users_variable_wins_and_is_what_later_ones_refer_to() -> None:
    env = [
        {"name": "EARLIER", "value": "$(REDIS_PRIMARY_PORT)"},
        {"name": "REDIS_PRIMARY_PORT", "value": "6379"},
        {"name": "LATER", "value": "$(REDIS_PRIMARY_PORT)"},
    ]
    found = start(REDIS, container={"env": env}).environment
    assert (found["REDIS_PRIMARY_PORT"], found["LATER"]) == ("6379", "6379")
    assert found["EARLIER"] == "tcp://10.0.0.11:6379"


ROWS = {
    "$(A)": "value", "$(X)": "$(X)", "$$": "$", "$$(A)": "$(A)", "$$$(A)": "$value", "$A ${A} $? $é": "$A ${A} $? $é",
    "$(A": "$(A", "$(A$$": "$(A$", "$(A$(B))": "$(A$(B))", "[$(E)]": "[]", "a$": "a$", "\\$(A)": "\\value",
    "$(R)": "$(A)",
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), ROWS.items())
def test_d5_6_every_row_of_the_syntax_in_variables_commands_and_sub_paths(text: str, expected: str) -> None:
    env = [{"name": "A", "value": "value"}, {"name": "E", "value": ""}, {"name": "R", "value": "$$(A)"}]
    mount = {"name": "v", "mountPath": "/v", "subPathExpr": text}
    container = {"command": ["c", text], "args": [text], "volumeMounts": [mount]}
    found = start(container={"env": [*env, {"name": "IT", "value": text}], **container})
    assert found.environment["IT"] == expected
    assert found.argv == ("c", expected, expected)
    assert found.mounts[0].sub_path == expected


def test_d5_7_the_first_port_names_the_url_whatever_its_protocol() -> None:
    ports = [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 54, "protocol": "TCP"}]
    found = start(decode_service("dns-cache", "10.0.0.12", namespace="demo", ports=ports)).environment
    assert (found["DNS_CACHE_PORT"], found["DNS_CACHE_SERVICE_PORT"]) == ("udp://10.0.0.12:53", "53")
    assert len(found) == 3 + 2 + 4 * 2


def test_d5_8_ipv6_has_brackets_in_urls_and_the_second_family_is_absent() -> None:
    dual = decode_service("d", "fd00::1", namespace="demo", clusterIPs=["fd00::1", "10.0.0.9"], ports=[{"port": 80}])
    found = start(dual).environment
    assert found["D_PORT"] == "tcp://[fd00::1]:80"
    assert found["D_SERVICE_HOST"] == found["D_PORT_80_TCP_ADDR"] == "fd00::1"
    assert not any("10.0.0.9" in value for value in found.values())


CLUSTER = "search demo.svc.cluster.local svc.cluster.local cluster.local corp.example\nnameserver 10.96.0.10\n"
OF_HOST = "search corp.example\nnameserver 192.0.2.53\noptions timeout:1\n"
ONE = {"nameservers": ["1.1.1.1"]}
POLICIES: dict[str, tuple[dict[str, Any], str]] = {
    "ClusterFirst": ({}, f"{CLUSTER}options ndots:5\n"),
    "ClusterFirst with hostNetwork is Default": ({"hostNetwork": True}, OF_HOST),
    "ClusterFirstWithHostNet": ({"dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": True},
                                f"{CLUSTER}options ndots:5\n"),
    "Default": ({"dnsPolicy": "Default"}, OF_HOST),
    "None": ({"dnsPolicy": "None", "dnsConfig": ONE}, "nameserver 1.1.1.1\n"),
    "an unknown policy is ClusterFirst": ({"dnsPolicy": "Odd"}, f"{CLUSTER}options ndots:5\n"),
    "duplicates are merged": (
        {"dnsConfig": {"nameservers": ["10.96.0.10", "9.9.9.9"], "searches": ["corp.example", "x"]}},
        CLUSTER.replace("corp.example", "corp.example x") + "nameserver 9.9.9.9\noptions ndots:5\n"),
    "the Pod's option wins": ({"dnsConfig": {"options": [{"name": "ndots", "value": "2"}]}},
                              f"{CLUSTER}options ndots:2\n"),
    "a bare option": ({"dnsConfig": {"options": [{"name": "edns0"}, {"name": "rotate", "value": ""}]}},
                      f"{CLUSTER}options ndots:5 edns0 rotate\n"),
}  # fmt: skip


@pytest.mark.parametrize(("spec", "expected"), POLICIES.values(), ids=POLICIES)
def test_d5_9_resolv_conf_by_policy(spec: dict[str, Any], expected: str) -> None:
    assert find_file("/etc/resolv.conf", **spec) == expected
    assert find_warnings(**spec) == []


@pytest.mark.parametrize("policy", ["ClusterFirst", "ClusterFirstWithHostNet"])
def test_d5_9_without_cluster_dns_the_hosts_file_and_an_event(policy: str) -> None:
    config = NodeConfig(node_name="n", node_ip="192.0.2.10", state_dir=Path("/s"), data_dir=Path("/d"))
    assert find_file("/etc/resolv.conf", config=config, dnsPolicy=policy) == OF_HOST
    assert find_warnings(config=config, dnsPolicy=policy) == [(
        "MissingClusterDNS",
        'pod: "web-1_demo(uid-1)". kubelet does not have ClusterDNS IP configured and cannot create Pod using '
        '"ClusterFirst" policy. Falling back to "Default" policy.',
    )]  # fmt: skip


def test_d5_9_a_pod_without_any_resolver_gets_the_hosts_file_as_it_is() -> None:
    host = HostFiles(Resolver(), resolv_conf="# nothing here\n")
    assert find_file("/etc/resolv.conf", host=host, dnsPolicy="Default") == "# nothing here\n"


LIMITS: dict[str, tuple[dict[str, Any], str, str]] = {
    "the fourth nameserver": (
        {"nameservers": ["1.1.1.1", "2.2.2.2", "3.3.3.3", "4.4.4.4"]},
        "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: ",
        "1.1.1.1 2.2.2.2 3.3.3.3"),
    **{
        name: (
            {**ONE, "searches": searches},
            "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: ",
            " ".join(kept))
        for name, searches, kept in (
            ("the 33rd search", [f"s{n}" for n in range(33)], [f"s{n}" for n in range(32)]),
            ("a search of 254 characters, wherever it stands", ["a", "b" * 254, "c"], ["a", "c"]),
            ("a line of 2049 characters, from its end",
             [letter * 240 for letter in "abcdefgh"] + ["i" * 121], [letter * 240 for letter in "abcdefgh"]),
        )
    },
}  # fmt: skip


@pytest.mark.parametrize(("config", "text", "applied"), LIMITS.values(), ids=LIMITS)
def test_d5_9_limits_cut_and_say_so(config: dict[str, Any], text: str, applied: str) -> None:
    spec = {"dnsPolicy": "None", "dnsConfig": config}
    assert find_warnings(**spec) == [("DNSConfigForming", text + applied)]
    lines = find_file("/etc/resolv.conf", **spec).splitlines()
    found = [line.split()[1] for line in lines if line.startswith("nameserver")] + lines[0].split()[1:]
    assert set(applied.split()) <= set(found) and len(found) <= len(applied.split()) + 1


def test_d5_9_a_line_of_2048_characters_is_whole() -> None:
    searches = [letter * 240 for letter in "abcdefgh"] + ["i" * 119]
    searches[-1] += "i"
    assert len(" ".join(searches)) == 2048
    assert find_warnings(dnsPolicy="None", dnsConfig={**ONE, "searches": searches}) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("search . foo.", Resolver(searches=("foo",)), id="a lone dot goes, and a trailing one"),
        pytest.param("search a\nsearch b", Resolver(searches=("b",)), id="the last search line"),
        pytest.param("options ndots:1 ndots:5", Resolver(options=("ndots:5",)), id="the last of an option"),
        pytest.param("  nameserver\t1.2.3.4\n\tsearch\tx", Resolver(("1.2.3.4",), ("x",)), id="indents and tabs"),
    ],
)
def test_d5_10_the_hosts_resolver_file(text: str, expected: Resolver) -> None:
    assert parse_resolv_conf(text) == expected


def test_d5_10_a_bare_nameserver_is_an_error() -> None:
    with pytest.raises(ResolverError, match="Encountered error while parsing resolv conf file"):
        parse_resolv_conf("nameserver\n")


HEAD = (
    "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n"
)
ALIASES = [{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]
ADDED = "\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n"
HOSTS: dict[str, tuple[dict[str, Any], str]] = {
    "plain": ({}, f"{HEAD}10.244.0.2\tweb-1\n"),
    "subdomain": ({"subdomain": "s"}, f"{HEAD}10.244.0.2\tweb-1.s.demo.svc.cluster.local\tweb-1\n"),
    "two addresses": ({"ips": ("10.244.0.2", "fd00::2")}, f"{HEAD}10.244.0.2\tweb-1\nfd00::2\tweb-1\n"),
    "aliases": ({"hostAliases": ALIASES}, f"{HEAD}10.244.0.2\tweb-1\n{ADDED}"),
    "host network": (
        {"hostNetwork": True, "hostAliases": ALIASES},
        f"# Kubernetes-managed hosts file (host network).\n{HOST.hosts}{ADDED}"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "expected"), HOSTS.values(), ids=HOSTS)
def test_d5_11_the_hosts_file_byte_for_byte(changes: dict[str, Any], expected: str) -> None:
    assert find_file("/etc/hosts", **changes) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a" * 70, "a" * 63), ("a" * 60 + "-.-bcdefgh", "a" * 60)],
    ids=["70 characters are cut to 63", "what the cut leaves at the end is trimmed"],
)
def test_d5_12_a_long_host_name(name: str, expected: str) -> None:
    pod = decode_pod(name, meta={"namespace": "demo"})
    assert make_sandbox_spec(CONFIG, pod, HOST).hostname == expected
    assert find_file("/etc/hostname", name=name) == f"{expected}\n"


def test_d5_12_a_full_name_of_64_characters_and_not_of_65() -> None:
    domain = ".s.demo.svc.cluster.local"
    spec = {"subdomain": "s", "setHostnameAsFQDN": True}
    fits = decode_pod(meta={"namespace": "demo"}, hostname="h" * (64 - len(domain)), **spec)
    assert len(make_sandbox_spec(CONFIG, fits, HOST).hostname) == 64
    name = "h" * (65 - len(domain))
    with pytest.raises(ResolverError) as caught:
        make_sandbox_spec(CONFIG, decode_pod(meta={"namespace": "demo"}, hostname=name, **spec), HOST)
    assert str(caught.value) == (
        f"failed to construct FQDN from pod hostname and cluster domain, FQDN {name}{domain} is too long "
        "(64 characters is the max, 65 characters requested)"
    )


@pytest.mark.parametrize(
    ("node_ip", "expected"),
    [("192.0.2.10,2001:db8::1", "1.2.3.4,fd00::6"), ("2001:db8::1,192.0.2.10", "fd00::6,1.2.3.4")],
    ids=["IPv4 first", "IPv6 first"],
)
def test_d5_13_pod_addresses_in_the_order_of_the_nodes_families(node_ip: str, expected: str) -> None:
    env = [
        {"name": name, "valueFrom": {"fieldRef": {"fieldPath": f"status.{name}"}}}
        for name in ("podIP", "podIPs", "hostIP", "hostIPs")
    ]
    config = NodeConfig(node_name="n", node_ip=node_ip, state_dir=Path("/s"), data_dir=Path("/d"))
    found = start(config=config, ips=("fd00::6", "1.2.3.4"), container={"env": env}).environment
    assert found["podIPs"] == expected
    assert found["podIP"] == expected.partition(",")[0]
    assert (found["hostIP"], found["hostIPs"]) == (node_ip.partition(",")[0], node_ip)


def test_every_scenario_has_a_test_of_its_number() -> None:
    numbers = {int(match[1]) for name in vars(sys.modules[__name__]) if (match := re.match(r"test_d5_([0-9]+)_", name))}
    assert numbers == set(range(1, 14))
