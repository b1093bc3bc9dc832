"""Who is who among clients of the userspace plane. Rule: spec "proxy" §3 (inside and outside, source ranges)."""

from __future__ import annotations

import ipaddress

import pytest

from seaway.net.loopback import LoopbackMap
from seaway.proxy.userspace.gate import Neighbours

CLUSTER = (ipaddress.ip_network("10.244.0.0/16"), ipaddress.ip_network("fd00:10:244::/64"))
ON_LOOPBACK = Neighbours(LoopbackMap(), CLUSTER, frozenset({"192.0.2.1"}))
ON_LINKS = Neighbours(None, CLUSTER, frozenset({"192.0.2.1", "2001:db8::1"}))


@pytest.mark.parametrize(
    ("neighbours", "client", "is_inside"),
    [
        pytest.param(ON_LOOPBACK, "127.244.0.7", True, id="a Pod on loopback"),
        pytest.param(ON_LOOPBACK, "127.0.0.1", True, id="a program of the host"),
        pytest.param(ON_LINKS, "::1", True, id="a program of the host, IPv6"),
        pytest.param(ON_LINKS, "10.244.0.7", True, id="a Pod"),
        pytest.param(ON_LINKS, "fd00:10:244::7", True, id="a Pod, IPv6"),
        pytest.param(ON_LINKS, "192.0.2.1", True, id="the host by its own address"),
        pytest.param(ON_LINKS, "2001:db8::1", True, id="the host by its own address, IPv6"),
        pytest.param(ON_LINKS, "192.0.2.9", False, id="another machine"),
        pytest.param(ON_LINKS, "fe80::9%eth0", False, id="another machine of the link"),
        pytest.param(Neighbours(), "10.244.0.7", False, id="a Pod's address when no range is known to be Pods'"),
    ],
)
def test_inside_are_pods_and_the_host_itself(neighbours: Neighbours, client: str, is_inside: bool) -> None:
    assert neighbours.is_inside(client) == is_inside


@pytest.mark.parametrize(
    ("neighbours", "client", "ranges", "may_ask"),
    [
        pytest.param(ON_LINKS, "192.0.2.9", (), True, id="no ranges: everybody"),
        pytest.param(ON_LINKS, "192.0.2.9", ("192.0.2.8/29",), True, id="within"),
        pytest.param(ON_LINKS, "192.0.2.16", ("192.0.2.8/29",), False, id="beside"),
        pytest.param(ON_LINKS, "192.0.2.9", ("198.51.100.0/24", "192.0.2.9/32"), True, id="within the second"),
        pytest.param(ON_LINKS, "192.0.2.9", ("192.0.2.15/29",), True, id="a range that is written with host bits"),
        pytest.param(ON_LINKS, "192.0.2.9", ("2001:db8::/32",), False, id="ranges of the other family let nobody in"),
        pytest.param(ON_LINKS, "2001:db8::9", ("2001:db8::/32",), True, id="IPv6"),
        pytest.param(ON_LINKS, "127.0.0.1", ("198.51.100.0/24",), True, id="a program of the host"),
        pytest.param(ON_LINKS, "::1", ("2001:db8::/32",), True, id="a program of the host, IPv6"),
        pytest.param(ON_LOOPBACK, "127.244.0.7", ("10.244.0.7/32",), True, id="a Pod by the address that it has"),
        pytest.param(ON_LOOPBACK, "127.244.0.8", ("10.244.0.7/32",), False, id="a Pod that was not asked in"),
    ],
)
def test_source_ranges_are_of_addresses_that_clients_have(
    neighbours: Neighbours, client: str, ranges: tuple[str, ...], may_ask: bool
) -> None:
    assert neighbours.may_ask(client, ranges) == may_ask


def test_only_addresses_of_the_cluster_are_moved_before_they_are_dialled() -> None:
    assert ON_LOOPBACK.dial("10.244.0.5") == "127.244.0.5"
    assert ON_LOOPBACK.dial("192.0.2.5") == "192.0.2.5"
    assert ON_LINKS.dial("10.244.0.5") == "10.244.0.5"


def test_only_a_pod_is_named_to_the_endpoint_by_its_own_address() -> None:
    assert ON_LOOPBACK.find_pod("127.244.0.7") == "127.244.0.7"
    assert ON_LOOPBACK.find_pod("127.0.0.1") == ""
    assert ON_LINKS.find_pod("127.244.0.7") == ""
