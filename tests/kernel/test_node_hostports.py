"""Ports of the node as the kernel does them, by protocol and address: SCTP by its first packet, made by hand.

A client's namespace, a node with two addresses of each family, and two Pods. Rule: spec "node" §2.15, §4.5.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from seaway.node.hostports.kernel import apply_host_ports
from seaway.node.hostports.plan import HostPort, PortMapping, plan_host_ports
from seaway.testing.netns import EchoServers, Namespace, ask, connect
from tests.kernel.sctp import Listeners

pytestmark = pytest.mark.kernel

PORT = 9000
NODE = {4: ("192.0.2.1", "192.0.2.9"), 6: ("2001:db8::1", "2001:db8::9")}
CLIENT = {4: "192.0.2.2", 6: "2001:db8::2"}
PODS = {"first": {4: "10.244.1.5", 6: "fd10:244:1::5"}, "second": {4: "10.244.2.5", 6: "fd10:244:2::5"}}
GATEWAYS = {"first": {4: "10.244.1.1", 6: "fd10:244:1::1"}, "second": {4: "10.244.2.1", 6: "fd10:244:2::1"}}
LENGTHS, FAMILIES = {4: 24, 6: 64}, {4: socket.AF_INET, 6: socket.AF_INET6}


@dataclass(frozen=True, slots=True)
class World:
    client: Namespace
    node: Namespace
    pods: dict[str, Namespace]

    def apply(self, *ports: HostPort) -> None:
        with self.node.entered():
            apply_host_ports(ports)


def give(namespace: Namespace, link: str, address: str, version: int) -> None:
    namespace.run("ip", "addr", "add", f"{address}/{LENGTHS[version]}", "dev", link)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with contextlib.ExitStack() as stack:
        client, node, *pods = (stack.enter_context(Namespace()) for _ in range(4))
        made = World(client, node, dict(zip(PODS, pods, strict=True)))
        for namespace in (client, node, *pods):
            namespace.write_sysctl("net/ipv6/conf/default/accept_dad", "0")
        connect(node, "up0", client, "eth0")
        for name, pod in made.pods.items():
            connect(node, name, pod, "eth0")
        for version in (4, 6):
            give(client, "eth0", CLIENT[version], version)
            for address in NODE[version]:
                give(node, "up0", address, version)
            for name, pod in made.pods.items():
                give(node, name, GATEWAYS[name][version], version)
                give(pod, "eth0", PODS[name][version], version)
                pod.run("ip", "route", "add", "default", "via", GATEWAYS[name][version])
        for sysctl in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
            node.write_sysctl(sysctl, "1")
        servers = stack.enter_context(EchoServers())
        for name, pod in made.pods.items():
            servers.listen(pod, name, 82)
        servers.start()
        yield made


def lead(protocol: str, host_ip: str, pod: str, port: int, version: int) -> tuple[HostPort, ...]:
    mapping = PortMapping(protocol, PORT, host_ip, port)
    return plan_host_ports([mapping], [ipaddress.ip_address(PODS[pod][version])])


def ask_sctp(listeners: Listeners, client: Namespace, address: str) -> tuple[str, str, int]:
    """Asked again while links come up."""
    for _ in range(10):
        with contextlib.suppress(OSError):
            return listeners.ask(client, address, PORT)
    raise AssertionError(f"{address}: nobody got it")


@pytest.mark.parametrize("version", [4, 6])
def test_one_number_leads_to_pods_by_protocol_and_address(world: World, version: int) -> None:
    one, other = NODE[version]
    world.apply(
        *lead("SCTP", "", "first", 80, version),
        *lead("SCTP", one, "second", 81, version),
        *lead("TCP", "", "second", 82, version),
        *lead("UDP", one, "first", 82, version),
    )
    with contextlib.closing(Listeners(world.pods, FAMILIES[version])) as listeners:
        client = CLIENT[version]
        assert ask_sctp(listeners, world.client, other) == ("first", client, 80), "whole, and the client's address kept"
        assert ask_sctp(listeners, world.client, one) == ("second", client, 81), "one address comes before all"
        assert ask_sctp(listeners, world.node, other)[::2] == ("first", 80), "from the node itself"
        assert ask_sctp(listeners, world.pods["second"], other) == ("first", PODS["second"][version], 80), "from a Pod"
    assert ask(world.client, other, PORT) == ("second", client)
    assert ask(world.client, one, PORT, udp=True) == ("first", client)
    with pytest.raises(OSError):
        ask(world.client, other, PORT, udp=True)


@pytest.mark.parametrize("version", [4, 6])
def test_an_sctp_port_that_is_gone_leads_nowhere(world: World, version: int) -> None:
    address = NODE[version][0]
    with contextlib.closing(Listeners(world.pods, FAMILIES[version])) as listeners:
        world.apply(*lead("SCTP", "", "first", 80, version))
        assert ask_sctp(listeners, world.client, address)[0] == "first"
        world.apply()
        with pytest.raises(OSError):
            listeners.ask(world.client, address, PORT, timeout_seconds=0.5)
