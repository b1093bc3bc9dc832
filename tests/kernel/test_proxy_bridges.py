"""Pods that somebody put on a bridge, on a real kernel: what works, what does not, and what is told of it.

Rule: spec "proxy" §8.7 (bridged pods) and §3.5 (BridgeInterface), spec "node" §4.2.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from seaway.net.family import Family
from seaway.proxy.bridges.kernel import list_bridges
from seaway.proxy.bridges.run import BridgeWatch
from seaway.proxy.config import DetectLocal, NodeView, ProxyConfig
from seaway.proxy.nftables.kernel import NftKernel
from seaway.proxy.nftables.plane import NftablesPlane
from seaway.proxy.proxier import Proxier
from seaway.testing.netns import EchoServers, Namespace, ask, connect
from tests.kernel.test_proxy import VIP, VIP6, Running

pytestmark = pytest.mark.kernel
VIEW = NodeView("node-1", "", ("192.0.2.1", "2001:db8::1"))
BY_LINK = ProxyConfig(node_name="node-1", detect_local=DetectLocal.BRIDGE_INTERFACE, pod_link="cni0")
BY_RANGE = ProxyConfig(node_name="node-1", cluster_cidrs=("10.244.0.0/24", "fd10:244::/64"))
NAMES = ("client", "server")
ADDRESSES = {"client": ("10.244.0.2", "fd10:244::2"), "server": ("10.244.0.3", "fd10:244::3")}


@dataclass
class Host:
    """A node with a bridge and two Pods on it."""

    node: Namespace
    pods: dict[str, Namespace]
    kernel: NftKernel

    def set_filtering(self, value: str) -> None:
        for name in ("iptables", "ip6tables"):
            self.node.write_sysctl(f"net/bridge/bridge-nf-call-{name}", value)

    def start(self, config: ProxyConfig) -> Running:
        planes = {f: NftablesPlane(self.kernel, config, f) for f in Family}
        running = Running(self, planes, Proxier(planes, VIEW))  # type: ignore[arg-type]
        running.serve(ports=[{"name": p, "port": 80, "protocol": p.upper()} for p in ("tcp", "udp")])
        targets = [{"name": p, "port": 8080, "protocol": p.upper()} for p in ("tcp", "udp")]
        for address in ADDRESSES["server"]:
            running.endpoints([address], ports=targets)
        running.sync()
        return running


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    if os.geteuid() != 0:
        pytest.skip("needs root: namespaces with a bridge; run as root or inside `unshare -Urnm`")
    if not Path("/proc/sys/net/bridge/bridge-nf-call-iptables").exists():
        pytest.skip("needs br_netfilter; run `modprobe br_netfilter`")
    with contextlib.ExitStack() as stack:
        node = stack.enter_context(Namespace())
        node.write_sysctl("net/ipv4/ip_forward", "1")
        node.write_sysctl("net/ipv6/conf/all/forwarding", "1")
        node.write_sysctl("net/ipv4/conf/all/send_redirects", "0")
        node.run("ip", "link", "add", "cni0", "type", "bridge")
        node.run("ip", "link", "set", "cni0", "up")
        node.run("ip", "address", "add", "10.244.0.1/24", "dev", "cni0")
        node.run("ip", "-6", "address", "add", "fd10:244::1/64", "dev", "cni0", "nodad")
        connect(node, "up0", stack.enter_context(Namespace()), "eth0")
        node.run("ip", "route", "add", "default", "dev", "up0")  # what has no route never meets a rule
        node.run("ip", "-6", "route", "add", "default", "dev", "up0")
        pods = {}
        servers = stack.enter_context(EchoServers())
        for name in NAMES:
            pods[name] = pod = stack.enter_context(Namespace())
            connect(node, name, pod, "eth0")
            node.run("ip", "link", "set", name, "master", "cni0")
            v4, v6 = ADDRESSES[name]
            pod.run("ip", "address", "add", f"{v4}/24", "dev", "eth0")
            pod.run("ip", "-6", "address", "add", f"{v6}/64", "dev", "eth0", "nodad")
            pod.run("ip", "route", "add", "default", "via", "10.244.0.1")
            pod.run("ip", "-6", "route", "add", "default", "via", "fd10:244::1")
            servers.listen(pod, name, 8080)
        servers.start()
        with node.entered():
            kernel = NftKernel()
        stack.callback(kernel.close)
        for address in ADDRESSES["server"]:  # links are new: the first packets wait for their neighbours
            ask(pods["client"], address, 8080, timeout_seconds=10)
            ask(node, address, 8080, timeout_seconds=10)
        yield Host(node, pods, kernel)


@pytest.fixture(params=[BY_LINK, BY_RANGE], ids=["Pods by the bridge", "Pods by their range"])
def served(host: Host, request: pytest.FixtureRequest) -> Iterator[ProxyConfig]:
    host.start(request.param)
    yield request.param
    host.set_filtering("1")
    for family in Family:
        host.kernel.delete(family, "seaway")


protocols = pytest.mark.parametrize("udp", [False, True], ids=["TCP", "UDP"])


@protocols
def test_pods_on_a_bridge_reach_each_other_by_the_service_when_the_bridge_is_filtered(
    host: Host, served: ProxyConfig, udp: bool
) -> None:
    host.set_filtering("1")
    for vip, address in zip((VIP, VIP6), ADDRESSES["client"], strict=True):
        assert ask(host.pods["client"], vip, 80, udp=udp) == ("server", address), "with the Pod's own address"
        assert ask(host.node, vip, 80, udp=udp)[0] == "server"


@protocols
def test_a_pod_on_an_unfiltered_bridge_gets_no_answer_from_the_pod_beside_it(
    host: Host, served: ProxyConfig, udp: bool
) -> None:
    """Of UDP the answer comes, from an address that was not asked: a client that connected its socket hears nothing."""
    host.set_filtering("0")
    for vip in (VIP, VIP6):
        with pytest.raises(TimeoutError):
            ask(host.pods["client"], vip, 80, udp=udp, timeout_seconds=0.5)
        assert ask(host.node, vip, 80, udp=udp)[0] == "server", "others are answered"
        assert ask(host.pods["server"], vip, 80, udp=udp)[0] == "server", "and so is the Pod itself, masqueraded"


@protocols
def test_a_pod_on_a_filtered_bridge_reaches_itself_only_through_a_port_in_hairpin_mode(
    host: Host, served: ProxyConfig, udp: bool
) -> None:
    host.set_filtering("1")
    with pytest.raises(TimeoutError):
        ask(host.pods["server"], VIP, 80, udp=udp, timeout_seconds=0.5)
    host.node.run("ip", "link", "set", "server", "type", "bridge_slave", "hairpin", "on")
    try:
        name, source = ask(host.pods["server"], VIP, 80, udp=udp)
        assert (name, source) == ("server", "10.244.0.1"), "seen from the bridge's address"
        assert ask(host.pods["server"], VIP6, 80, udp=udp)[0] == "server"
    finally:
        host.node.run("ip", "link", "set", "server", "type", "bridge_slave", "hairpin", "off")


@pytest.mark.parametrize("config", [BY_LINK, BY_RANGE], ids=["Pods by the bridge", "Pods by their range"])
def test_an_unfiltered_bridge_with_pods_is_told_of_once_until_it_is_mended(
    host: Host, caplog: pytest.LogCaptureFixture, config: ProxyConfig
) -> None:
    watch = BridgeWatch(config, Family)

    def look() -> list[str]:
        caplog.clear()
        with host.node.entered(), caplog.at_level(logging.WARNING):
            watch.look(VIEW)
        return [record.getMessage() for record in caplog.records]

    host.set_filtering("1")
    try:
        assert look() == []
        host.set_filtering("0")
        told = look()
        assert [line.split()[:2] for line in told] == [["bridge=cni0", "family=IPv4"], ["bridge=cni0", "family=IPv6"]]
        assert "net.bridge.bridge-nf-call-iptables is off" in told[0]
        assert look() == []
        host.set_filtering("1")
        assert look() == []
        host.set_filtering("0")
        assert len(look()) == 2
    finally:
        host.set_filtering("1")


def test_a_bridge_with_a_switch_of_its_own_is_filtered(host: Host) -> None:
    host.set_filtering("0")
    try:
        host.node.run("ip", "link", "set", "cni0", "type", "bridge", "nf_call_iptables", "1")
        with host.node.entered():
            (bridge,) = list_bridges()
        assert bridge.name == "cni0" and {"10.244.0.1", "fd10:244::1"} <= set(bridge.addresses)
        assert bridge.filtered == frozenset((Family.IPV4,))
    finally:
        host.node.run("ip", "link", "set", "cni0", "type", "bridge", "nf_call_iptables", "0")
        host.set_filtering("1")
