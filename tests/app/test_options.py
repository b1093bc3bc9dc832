"""The flags of `seaway up`, and the addresses that follow from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seaway.app.options import (
    UpOptions,
    apiserver_ip,
    check_families,
    check_loopback,
    check_node_ports,
    check_options,
    dns_ip,
    loopback_node_ip,
    pod_cidrs,
)
from seaway.net.errors import OperationalError
from seaway.net.loopback import LoopbackMap


def make_options(**flags: Any) -> UpOptions:
    return UpOptions(data_dir=Path("data"), **flags)


def test_the_defaults_are_those_of_kubeadm() -> None:
    options = make_options()
    check_options(options)
    assert (apiserver_ip(options), dns_ip(options)) == ("10.96.0.1", "10.96.0.10")
    assert pod_cidrs(options) == ("10.244.0.0/24",)


DUAL = {"service_cidrs": ("10.96.0.0/16", "fd10:96::/112"), "cluster_cidrs": ("10.244.0.0/16", "fd10:244::/56")}


def test_with_two_families_this_hosts_pods_have_a_range_of_each() -> None:
    options = make_options(**DUAL)
    check_options(options)
    check_families(options)
    assert pod_cidrs(options) == ("10.244.0.0/24", "fd10:244::/64")
    assert (apiserver_ip(options), dns_ip(options)) == ("10.96.0.1", "10.96.0.10"), "of the first family"
    assert pod_cidrs(make_options(cluster_cidrs=("10.244.0.0/24", "fd10:244::/112")))[1] == "fd10:244::/112"


@pytest.mark.parametrize("flag", sorted(DUAL))
def test_two_families_of_services_are_two_of_pods(flag: str) -> None:
    options = make_options(**{flag: DUAL[flag]})
    check_options(options)
    with pytest.raises(OperationalError, match="one family and two found"):
        check_families(options)


def test_external_ranges_are_of_either_family() -> None:
    check_options(make_options(external_ip_cidrs=("192.0.2.0/24", "2001:db8::/64", "198.51.100.7/32")))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        pytest.param({"service_cidrs": ("10.96.0.1/16",)}, "--service-cidr 10.96.0.1/16", id="host bits"),
        pytest.param({"service_cidrs": ("10.96.0.0/30",)}, "/0 to /28 needed", id="too small for the DNS address"),
        pytest.param({"service_cidrs": ("fd10::/112",)}, "give an IPv4 range", id="another family"),
        pytest.param(
            {"service_cidrs": ("10.96.0.0/16", "10.97.0.0/16")}, "one IPv4 and then one IPv6", id="two of one family"
        ),
        pytest.param({"service_cidrs": ("10.96.0.0/16", "fd10::/112", "x")}, "3 ranges found", id="three ranges"),
        pytest.param(
            {"service_cidrs": ("10.96.0.0/16", "fd10::/48")}, "/64 to /125 needed", id="too wide to draw from"
        ),
        pytest.param({"service_cidrs": ()}, "0 ranges found", id="no range"),
        pytest.param({"cluster_cidrs": ("10.96.0.0/20",)}, "overlap", id="ranges that meet"),
        pytest.param(
            {"service_cidrs": ("10.96.0.0/16", "fd10:1::/112"), "cluster_cidrs": ("10.244.0.0/16", "fd10::/16")},
            "fd10:1::/112 and --cluster-cidr fd10::/16 overlap",
            id="IPv6 ranges that meet",
        ),
        pytest.param(
            {"cluster_cidrs": ("10.244.0.0/16", "fd10::/121")}, "--cluster-cidr fd10::/121: /121 found", id="few Pods"
        ),
        pytest.param(
            {"external_ip_cidrs": ("192.0.2.0/24", "x")}, "--external-ip-cidrs x: .*192.0.2.0/24", id="no range"
        ),
        pytest.param(
            {"external_ip_cidrs": ("192.0.2.1/24",)}, "--external-ip-cidrs 192.0.2.1/24", id="external host bits"
        ),
        pytest.param({"dns_ip": "10.1.0.10"}, "not in the service range", id="DNS outside of the range"),
    ],
)
def test_a_bad_flag_is_named(flags: dict[str, Any], words: str) -> None:
    with pytest.raises(OperationalError, match=words):
        check_options(make_options(**flags))


def test_the_range_of_node_ports_holds_the_one_of_the_api_server() -> None:
    assert check_node_ports("30000+99", 30099) == (30000, 30099)
    assert check_node_ports("30000-32767", 0) == (30000, 32767)
    with pytest.raises(OperationalError, match=r"kubernetes service node port range 30000-32767 doesn't contain 99"):
        check_node_ports("30000-32767", 99)
    with pytest.raises(OperationalError, match=r"--service-node-port-range: end port .*; give one like 30000-32767"):
        check_node_ports("5-3", 0)


def test_without_a_network_the_usual_ranges_are_on_loopback() -> None:
    check_loopback(make_options())
    assert loopback_node_ip(make_options()) == "10.95.0.1"


@pytest.mark.parametrize(
    ("loopback", "services", "pods", "node"),
    [
        pytest.param(
            "10.0.0.0/8=127.0.0.0/8", "10.95.0.0/16", "10.244.0.0/16", "10.0.1.1", id="the usual one is taken"
        ),
        pytest.param("10.96.0.0/14=127.64.0.0/14", "10.96.0.0/16", "10.97.0.0/16", "10.98.0.1", id="a small map"),
    ],
)
def test_the_node_has_an_address_beside_services_and_pods(loopback: str, services: str, pods: str, node: str) -> None:
    options = make_options(loopback_map=LoopbackMap.parse(loopback), service_cidrs=(services,), cluster_cidrs=(pods,))
    check_loopback(options)
    assert loopback_node_ip(options) == node
    assert options.loopback_map.to_loopback(node)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        pytest.param(DUAL, "--service-cidr fd10:96::/112: IPv6 found", id="IPv6"),
        pytest.param(
            {"service_cidrs": ("172.16.0.0/16",)},
            "--service-cidr: 172.16.0.0/16 found, a range within 10.0.0.0/8",
            id="a range that the map does not have",
        ),
        pytest.param(
            {"cluster_cidrs": ("10.0.0.0/16",)},
            "--cluster-cidr: 10.0.0.0/16 found, which would be 127.0.0.0/16 on loopback; 127.0.0.0/24 is",
            id="the host's own addresses",
        ),
        pytest.param(
            {"loopback_map": LoopbackMap.parse("10.96.0.0/15=127.96.0.0/15"), "cluster_cidrs": ("10.97.0.0/16",)},
            "--loopback-map 10.96.0.0/15=127.96.0.0/15: Services and Pods have all of it",
            id="no address is left for the node",
        ),
    ],
)
def test_a_range_without_a_place_on_loopback_is_refused_in_one_line(flags: dict[str, Any], words: str) -> None:
    options = make_options(**flags)
    check_options(options)
    with pytest.raises(OperationalError) as refused:
        check_loopback(options)
    assert str(refused.value).startswith(words)
    assert "give" in str(refused.value) or "choose" in str(refused.value)
