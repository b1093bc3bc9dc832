"""Rule: spec "node" §4.5."""

from __future__ import annotations

import ipaddress
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.node.hostports.plan import (
    HostPort,
    PortMapping,
    decode_mappings,
    encode_mappings,
    find_mappings,
    plan_host_ports,
    sort_host_ports,
)
from tests.node.manifests import decode_pod

FOUR, SIX = ipaddress.ip_address("10.244.0.5"), ipaddress.ip_address("fd00::5")


def ports_of(host_ip: str, *targets: Any) -> list[tuple[str, str]]:
    found = plan_host_ports([PortMapping("TCP", 8080, host_ip, 80)], targets)
    return [(str(port.address), str(port.target)) for port in found]


@pytest.mark.parametrize(
    ("host_ip", "expected"),
    [
        pytest.param("", [("None", "10.244.0.5"), ("None", "fd00::5")], id="no host IP is every address"),
        pytest.param("0.0.0.0", [("None", "10.244.0.5")], id="every address of IPv4"),
        pytest.param("::", [("None", "fd00::5")], id="every address of IPv6"),
        pytest.param("192.0.2.1", [("192.0.2.1", "10.244.0.5")], id="an address of IPv4"),
        pytest.param("2001:db8::1", [("2001:db8::1", "fd00::5")], id="an address of IPv6"),
    ],
)
def test_a_host_ip_counts_for_its_family(host_ip: str, expected: list[tuple[str, str]]) -> None:
    assert ports_of(host_ip, FOUR, SIX) == expected


def test_a_pod_of_one_family_has_no_port_of_the_other() -> None:
    assert ports_of("2001:db8::1", FOUR) == ports_of("::", FOUR) == []


CONTAINERS = [{"name": "main", "ports": [
    {"containerPort": 80, "hostPort": 8080}, {"containerPort": 81}, {"containerPort": 53, "hostPort": 53,
     "protocol": "UDP", "hostIP": "2001:DB8:0::1"}, {"containerPort": 80, "hostPort": 8080, "name": "again"},
]}]  # fmt: skip
INIT = [
    {"name": "side", "restartPolicy": "Always", "ports": [{"containerPort": 1, "hostPort": 9}]},
    {"name": "init", "ports": [{"containerPort": 2, "hostPort": 10}]},
]


def test_what_a_pod_asks_for() -> None:
    pod = decode_pod(containers=CONTAINERS, initContainers=INIT)
    assert find_mappings(pod) == (
        PortMapping("TCP", 9, "", 1), PortMapping("TCP", 8080, "", 80), PortMapping("UDP", 53, "2001:db8::1", 53),
    )  # fmt: skip
    assert find_mappings(decode_pod(containers=CONTAINERS, hostNetwork=True)) == ()


def test_one_address_comes_before_every_address() -> None:
    everywhere, one = (HostPort("TCP", 80, address, FOUR, 1) for address in (None, ipaddress.ip_address("127.0.0.1")))
    assert sort_host_ports([everywhere, one]) == sort_host_ports([one, everywhere]) == (one, everywhere)
    assert one.takes_loopback and everywhere.takes_loopback
    assert not HostPort("TCP", 80, None, SIX, 1).takes_loopback
    assert not HostPort("TCP", 80, ipaddress.ip_address("192.0.2.1"), FOUR, 1).takes_loopback


MAPPINGS = st.builds(
    PortMapping, st.sampled_from(["TCP", "UDP", "SCTP"]), st.integers(1, 65535), st.sampled_from(["", "192.0.2.1"]),
    st.integers(1, 65535),
)  # fmt: skip


@given(st.dictionaries(st.text(min_size=1), st.lists(MAPPINGS, min_size=1).map(tuple)))
def test_what_is_kept_comes_back(held: dict[str, tuple[PortMapping, ...]]) -> None:
    assert decode_mappings(json.loads(json.dumps(encode_mappings(held)))) == held


@pytest.mark.parametrize("saved", [None, [], {"a": []}, {"a": [["TCP", 0, "", 80]]}, {"a": [["ICMP", 1, "", 1]]}])
def test_what_cannot_be_read_is_left_out(saved: object) -> None:
    assert decode_mappings(saved) == {}
