"""The service proxy on a real kernel: Services in, connections out. Every address is private to the namespaces."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from seaway.api.endpointslice.types import EndpointSlice
from seaway.api.service.types import Service
from seaway.net.family import Family
from seaway.proxy.config import NodeView, ProxyConfig
from seaway.proxy.flows.plan import choose_stale, plan_resets
from seaway.proxy.kernel import delete_flows, list_flows, list_interface_addresses
from seaway.proxy.nftables.kernel import NftKernel
from seaway.proxy.nftables.plane import NftablesPlane, NftError
from seaway.proxy.nftables.text import render_text
from seaway.proxy.proxier import Proxier, SyncReport
from seaway.testing.builders import make_service, make_slice
from seaway.testing.netns import EchoServers, Namespace, ask, connect
from seaway.testing.ordinary_user import as_ordinary_user

pytestmark = pytest.mark.kernel

NODE, NODE6 = "192.0.2.1", "2001:db8::1"
OUTSIDE, OUTSIDE6 = "192.0.2.2", "2001:db8::2"
PODS = ("10.244.0.2", "10.244.0.3", "10.244.0.4")
PODS6 = ("fd10:244::2", "fd10:244::3", "fd10:244::4")
REMOTE = "10.244.1.2"
CLIENT_POD = "10.244.0.9"
VIP, VIP6, EXTERNAL = "10.96.0.10", "fd10:96::10", "203.0.113.10"
CONFIG = ProxyConfig(
    node_name="node-1",
    cluster_cidrs=("10.244.0.0/16", "fd10:244::/48"),
    service_cidrs=("10.96.0.0/16", "fd10:96::/112"),
)


@dataclass
class World:
    """A node with three Pods that serve and one that asks, another node's Pod, and a client outside."""

    node: Namespace
    outside: Namespace
    pods: dict[str, Namespace]
    kernel: NftKernel

    def start(self, config: ProxyConfig = CONFIG, *, guarded_links: tuple[str, ...] = ()) -> Running:
        planes = {
            f: NftablesPlane(
                self.kernel, config, f, interface_addresses=self.list_addresses, guarded_links=lambda: guarded_links
            )
            for f in Family
        }
        return Running(self, planes, Proxier(planes, NodeView("node-1", "", (NODE, NODE6))))

    def list_addresses(self) -> tuple[str, ...]:
        with self.node.entered():
            return list_interface_addresses()


@dataclass
class Running:
    world: World
    planes: dict[Family, NftablesPlane]
    proxier: Proxier

    def serve(self, name: str = "web", *, status: Any = None, meta: Any = None, **spec: Any) -> None:
        defaults = {"clusterIP": VIP, "clusterIPs": [VIP, VIP6], "ipFamilies": ["IPv4", "IPv6"]}
        wire = make_service(name, meta=meta, **{**defaults, **spec}) | {"status": status or {}}
        self.proxier.set_service(f"default/{name}", msgspec.convert(wire, Service))

    def endpoints(
        self,
        addresses: list[str],
        service: str = "web",
        *,
        ports: Any = None,
        node_name: str = "node-1",
        annotations: dict[str, str] | None = None,
    ) -> None:
        kind = "IPv6" if addresses and ":" in addresses[0] else "IPv4"
        name = f"{service}-{kind.lower()}-{node_name}"
        wire = make_slice(name, service, addresses, ports=ports, address_type=kind, nodeName=node_name)
        wire["metadata"]["annotations"] = annotations or {}
        self.proxier.set_slice(f"default/{name}", msgspec.convert(wire, EndpointSlice))

    def sync(self) -> SyncReport:
        report = self.proxier.sync()
        assert not report.failures
        return report

    def draw(self, namespace: Namespace, address: str, port: int, *, times: int = 60) -> Counter[str]:
        return Counter(ask(namespace, address, port)[0] for _ in range(times))


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    if os.geteuid() != 0:
        pytest.skip("needs root: namespaces with veths; run as root or inside `unshare -Urnm`")
    with contextlib.ExitStack() as stack:
        yield build_world(stack)


def build_world(stack: contextlib.ExitStack) -> World:
    def make() -> Namespace:
        return stack.enter_context(Namespace())

    node, outside, remote = make(), make(), make()
    node.write_sysctl("net/ipv4/ip_forward", "1")
    node.write_sysctl("net/ipv6/conf/all/forwarding", "1")
    node.write_sysctl("net/ipv4/icmp_ratelimit", "0")  # REJECTs in quick succession would fall silent
    link(node, outside, "out", (NODE, NODE6), (OUTSIDE, OUTSIDE6))
    node.run("ip", "route", "add", "default", "via", OUTSIDE)  # what has no route never meets a rule
    node.run("ip", "-6", "route", "add", "default", "via", OUTSIDE6)
    link(node, remote, "rem", ("192.0.2.129", ""), ("192.0.2.130", ""))
    remote.run("ip", "address", "add", f"{REMOTE}/32", "dev", "lo")
    node.run("ip", "route", "add", f"{REMOTE}/32", "via", "192.0.2.130")
    pods: dict[str, Namespace] = {REMOTE: remote}
    servers = stack.enter_context(EchoServers())
    for index, address in enumerate((*PODS, CLIENT_POD)):
        pods[address] = pod = make()
        address6 = PODS6[index] if index < len(PODS6) else "fd10:244::9"
        attach(node, pod, f"pod{index}", address, address6)
    for address in (*PODS, REMOTE):
        for port in (8080, 9090):
            servers.listen(pods[address], f"{address}:{port}", port)
    servers.listen(node, "node", 7070)
    servers.start()
    with node.entered():
        kernel = NftKernel()
    stack.callback(kernel.close)
    return World(node, outside, pods, kernel)


def link(a: Namespace, b: Namespace, name: str, ours: tuple[str, str], theirs: tuple[str, str]) -> None:
    """A routed link; the far side sends everything here."""
    connect(a, name, b, "eth0")
    for namespace, device, address in ((a, name, ours), (b, "eth0", theirs)):
        namespace.run("ip", "address", "add", f"{address[0]}/25", "dev", device)
        if address[1]:
            namespace.run("ip", "-6", "address", "add", f"{address[1]}/64", "dev", device, "nodad")
    b.run("ip", "route", "add", "default", "via", ours[0])
    if ours[1]:
        b.run("ip", "-6", "route", "add", "default", "via", ours[1])


def attach(node: Namespace, pod: Namespace, name: str, address: str, address6: str) -> None:
    """A Pod on a routed veth: no bridge, a gateway that is only a link-local address."""
    connect(node, name, pod, "eth0")
    node.run("ip", "address", "add", "169.254.1.1/32", "dev", name)
    node.run("ip", "-6", "address", "add", "fe80::1/64", "dev", name, "nodad")
    node.run("ip", "route", "add", f"{address}/32", "dev", name, "src", NODE)
    node.run("ip", "-6", "route", "add", f"{address6}/128", "dev", name)
    pod.run("ip", "address", "add", f"{address}/32", "dev", "eth0")
    pod.run("ip", "-6", "address", "add", f"{address6}/128", "dev", "eth0", "nodad")
    pod.run("ip", "route", "add", "169.254.1.1", "dev", "eth0")
    pod.run("ip", "route", "add", "default", "via", "169.254.1.1", "src", address)
    pod.run("ip", "-6", "route", "add", "default", "via", "fe80::1", "dev", "eth0")


@pytest.fixture
def proxy(world: World) -> Iterator[Running]:
    yield world.start()
    for family in Family:
        world.kernel.delete(family, "seaway")


def refused(namespace: Namespace, address: str, port: int, *, udp: bool = False) -> int:
    """The error number of an attempt."""
    with pytest.raises(OSError) as caught:
        ask(namespace, address, port, udp=udp, timeout_seconds=0.5)
    return errno.ETIMEDOUT if isinstance(caught.value, TimeoutError) else caught.value.errno or 0


def test_a_pod_reaches_the_endpoints_by_the_cluster_ip_with_its_own_address(proxy: Running, world: World) -> None:
    proxy.serve(ports=[{"port": 80, "protocol": "TCP"}, {"name": "dns", "port": 53, "protocol": "UDP"}])
    both = [{"name": "", "port": 8080, "protocol": "TCP"}, {"name": "dns", "port": 9090, "protocol": "UDP"}]
    proxy.endpoints([PODS[0]], ports=both)
    proxy.sync()
    assert ask(world.pods[CLIENT_POD], VIP, 80) == (f"{PODS[0]}:8080", CLIENT_POD)
    assert ask(world.pods[CLIENT_POD], VIP, 53, udp=True) == (f"{PODS[0]}:9090", CLIENT_POD)


def test_ipv6_is_served_beside_ipv4(proxy: Running, world: World) -> None:
    proxy.serve()
    proxy.endpoints([PODS[0]])
    proxy.endpoints([PODS6[1]])
    proxy.sync()
    assert ask(world.pods[CLIENT_POD], VIP6, 80) == (f"{PODS[1]}:8080", "fd10:244::9")
    assert ask(world.pods[CLIENT_POD], VIP, 80)[0] == f"{PODS[0]}:8080"


def test_the_node_reaches_the_cluster_ip_masqueraded(proxy: Running, world: World) -> None:
    proxy.serve(ports=[{"port": 80, "protocol": "TCP"}, {"name": "dns", "port": 53, "protocol": "UDP"}])
    both = [{"name": "", "port": 8080, "protocol": "TCP"}, {"name": "dns", "port": 9090, "protocol": "UDP"}]
    proxy.endpoints([PODS[0]], ports=both)
    proxy.sync()
    name, source = ask(world.node, VIP, 80)
    assert name == f"{PODS[0]}:8080"
    assert source in world.list_addresses()
    assert ask(world.node, VIP, 53, udp=True)[0] == f"{PODS[0]}:9090"


def test_connections_are_spread_evenly(proxy: Running, world: World) -> None:
    proxy.serve()
    proxy.endpoints(list(PODS))
    proxy.sync()
    shares = proxy.draw(world.pods[CLIENT_POD], VIP, 80, times=300)
    assert shares.keys() == {f"{pod}:8080" for pod in PODS}
    assert min(shares.values()) > 60  # 100 each are expected; fewer than 60 come once in 10^6 runs


def test_two_ports_go_to_their_own_targets(proxy: Running, world: World) -> None:
    proxy.serve(ports=[{"name": "a", "port": 80, "protocol": "TCP"}, {"name": "b", "port": 443, "protocol": "TCP"}])
    targets = [{"name": "a", "port": 8080, "protocol": "TCP"}, {"name": "b", "port": 9090, "protocol": "TCP"}]
    proxy.endpoints([PODS[1]], ports=targets)
    proxy.sync()
    assert ask(world.pods[CLIENT_POD], VIP, 80)[0] == f"{PODS[1]}:8080"
    assert ask(world.pods[CLIENT_POD], VIP, 443)[0] == f"{PODS[1]}:9090"
    assert refused(world.pods[CLIENT_POD], VIP, 8080) == errno.ECONNREFUSED


def test_a_pod_reaches_itself_through_its_own_service(proxy: Running, world: World) -> None:
    proxy.serve()
    proxy.endpoints([PODS[0]])
    proxy.sync()
    name, source = ask(world.pods[PODS[0]], VIP, 80)
    assert name == f"{PODS[0]}:8080"
    assert source != PODS[0]


def test_a_node_port_serves_outside_and_node_and_pod(proxy: Running, world: World) -> None:
    proxy.serve(type="NodePort", ports=[{"port": 80, "protocol": "TCP", "nodePort": 30080}])
    proxy.endpoints([PODS[0]])
    proxy.endpoints([REMOTE], node_name="node-2")
    proxy.sync()
    for client in (world.outside, world.node, world.pods[CLIENT_POD]):
        assert proxy.draw(client, NODE, 30080, times=30).keys() == {f"{PODS[0]}:8080", f"{REMOTE}:8080"}
    _, source = ask(world.outside, NODE, 30080)
    assert source in world.list_addresses()
    assert refused(world.outside, "192.0.2.129", 30080) == errno.ECONNREFUSED  # not the primary address


def test_the_local_policy_keeps_the_source_and_the_node(proxy: Running, world: World) -> None:
    proxy.serve(
        type="LoadBalancer",
        externalTrafficPolicy="Local",
        ports=[{"port": 80, "protocol": "TCP", "nodePort": 30080}],
        status={"loadBalancer": {"ingress": [{"ip": EXTERNAL}]}},
    )
    proxy.endpoints([PODS[0]])
    proxy.endpoints([REMOTE], node_name="node-2")
    proxy.sync()
    local = (f"{PODS[0]}:8080", OUTSIDE)
    assert {ask(world.outside, NODE, 30080) for _ in range(20)} == {local}
    assert {ask(world.outside, EXTERNAL, 80) for _ in range(20)} == {local}
    assert proxy.draw(world.pods[CLIENT_POD], EXTERNAL, 80, times=30).keys() == {f"{PODS[0]}:8080", f"{REMOTE}:8080"}
    proxy.endpoints([])
    proxy.sync()
    assert refused(world.outside, NODE, 30080) == errno.ETIMEDOUT
    assert ask(world.pods[CLIENT_POD], NODE, 30080)[0] == f"{REMOTE}:8080"


def test_scenarios_79_81_source_ranges_keep_others_out(proxy: Running, world: World) -> None:
    proxy.serve(
        type="LoadBalancer",
        loadBalancerSourceRanges=["192.0.2.2/32", "192.0.2.0/29"],
        status={"loadBalancer": {"ingress": [{"ip": EXTERNAL}]}},
    )
    proxy.endpoints([PODS[0]])
    proxy.sync()
    assert ask(world.outside, EXTERNAL, 80)[0] == f"{PODS[0]}:8080"
    assert refused(world.pods[CLIENT_POD], EXTERNAL, 80) == errno.ETIMEDOUT
    assert ask(world.pods[CLIENT_POD], VIP, 80)[0] == f"{PODS[0]}:8080"


def test_without_endpoints_a_connection_is_refused_at_once(proxy: Running, world: World) -> None:
    proxy.serve(
        type="NodePort",
        ports=[{"port": 80, "protocol": "TCP", "nodePort": 30080}, {"name": "u", "port": 53, "protocol": "UDP"}],
    )
    proxy.sync()
    assert refused(world.pods[CLIENT_POD], VIP, 80) == errno.ECONNREFUSED
    assert refused(world.pods[CLIENT_POD], VIP, 53, udp=True) == errno.ECONNREFUSED
    assert refused(world.node, VIP, 80) == errno.ECONNREFUSED
    assert refused(world.outside, NODE, 30080) == errno.ECONNREFUSED
    proxy.endpoints([PODS[0]])
    proxy.sync()
    assert ask(world.pods[CLIENT_POD], VIP, 80)[0] == f"{PODS[0]}:8080"


def test_an_address_that_no_service_has_is_dropped(proxy: Running, world: World) -> None:
    proxy.serve()
    proxy.sync()
    assert refused(world.pods[CLIENT_POD], "10.96.0.99", 80) == errno.ETIMEDOUT


def test_removed_endpoints_get_no_new_connection(proxy: Running, world: World) -> None:
    proxy.serve()
    proxy.endpoints(list(PODS))
    proxy.sync()
    proxy.endpoints([PODS[0], PODS[2]])
    proxy.sync()
    assert proxy.draw(world.pods[CLIENT_POD], VIP, 80).keys() == {f"{PODS[0]}:8080", f"{PODS[2]}:8080"}


def test_scenario_126_a_busy_udp_client_moves_to_the_new_endpoint(proxy: Running, world: World) -> None:
    proxy.serve(ports=[{"name": "u", "port": 53, "protocol": "UDP"}])
    ports = [{"name": "u", "port": 8080, "protocol": "UDP"}]
    proxy.endpoints([PODS[0]], ports=ports)
    proxy.sync()
    with world.pods[CLIENT_POD].entered():
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with client:
        client.settimeout(1)
        client.connect((VIP, 53))
        client.send(b"?")
        assert client.recv(100).decode().split()[0] == f"{PODS[0]}:8080"
        proxy.endpoints([PODS[1]], ports=ports)
        report = proxy.sync()
        with world.node.entered():
            stale = choose_stale(list_flows(Family.IPV4), report.flows[Family.IPV4])
            assert (PODS[0], 8080) in {flow.answering for flow in stale}
            assert delete_flows(stale) == len(stale)
            assert not choose_stale(list_flows(Family.IPV4), report.flows[Family.IPV4])
        client.send(b"?")
        assert client.recv(100).decode().split()[0] == f"{PODS[1]}:8080"


def test_a_busy_udp_client_of_a_deleted_service_is_not_answered_any_more(proxy: Running, world: World) -> None:
    proxy.serve(ports=[{"name": "u", "port": 53, "protocol": "UDP"}])
    proxy.endpoints([PODS[0]], ports=[{"name": "u", "port": 8080, "protocol": "UDP"}])
    proxy.sync()
    with world.pods[CLIENT_POD].entered():
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with client:
        client.settimeout(1)
        client.connect((VIP, 53))
        client.send(b"?")
        assert client.recv(100).decode().split()[0] == f"{PODS[0]}:8080"
        proxy.proxier.set_service("default/web", None)
        report = proxy.sync()
        client.send(b"?")
        assert client.recv(100), "the flow lives on by itself"
        with world.node.entered():
            delete_flows(choose_stale(list_flows(Family.IPV4), report.flows[Family.IPV4]))
        client.send(b"?")
        with pytest.raises(OSError):
            client.recv(100)


def test_a_tcp_client_is_reset_when_its_endpoint_has_gone_and_the_service_wants_it(
    proxy: Running, world: World
) -> None:
    proxy.serve(meta={"annotations": {"seaway.dev/reset-after": "0s"}})
    proxy.endpoints([PODS[0]])
    proxy.sync()
    with world.pods[PODS[0]].entered():
        server = socket.create_server((PODS[0], 8081))
    with world.pods[CLIENT_POD].entered():
        client = socket.socket()
    with server, client:
        proxy.endpoints([PODS[0]], ports=[{"name": "", "port": 8081, "protocol": "TCP"}])
        proxy.sync()
        client.settimeout(5)
        client.connect((VIP, 80))
        accepted, _ = server.accept()
        with accepted:
            proxy.endpoints([PODS[1]])
            proxy.sync()
            client.send(b"still there")
            assert accepted.recv(100) == b"still there"
            with world.node.entered():
                due, _ = plan_resets(list_flows(Family.IPV4), proxy.proxier.resettable(Family.IPV4), {}, now=0)
                assert (PODS[0], 8081) in {flow.answering for flow in due}
                delete_flows(due)
            with pytest.raises(ConnectionResetError):
                for _ in range(2):
                    client.send(b"?")
                    client.recv(100)


def fill(proxy: Running) -> None:
    """Every kind of rule and element there is."""
    proxy.serve(type="NodePort", ports=[{"port": 80, "protocol": "TCP", "nodePort": 30080}], externalIPs=[EXTERNAL])
    proxy.endpoints(list(PODS))
    proxy.endpoints(list(PODS6))
    proxy.serve("none", clusterIP="10.96.0.11", clusterIPs=["10.96.0.11", "fd10:96::11"])
    proxy.serve(
        "balanced",
        clusterIP="10.96.0.12",
        clusterIPs=["10.96.0.12", "fd10:96::12"],
        type="LoadBalancer",
        externalTrafficPolicy="Local",
        loadBalancerSourceRanges=["192.0.2.0/24", "2001:db8::/32"],
        ports=[{"port": 53, "protocol": "UDP", "nodePort": 30053}],
        status={"loadBalancer": {"ingress": [{"ip": "203.0.113.12"}, {"ip": "2001:db8:1::12"}]}},
    )
    proxy.serve(
        "sticky",
        clusterIP="10.96.0.13",
        clusterIPs=["10.96.0.13", "fd10:96::13"],
        type="NodePort",
        externalTrafficPolicy="Local",
        sessionAffinity="ClientIP",
        sessionAffinityConfig={"clientIP": {"timeoutSeconds": 10 * 3600 + 90}},
        ports=[{"port": 80, "protocol": "TCP", "nodePort": 30080}],
    )
    proxy.endpoints(list(PODS), "sticky")
    proxy.endpoints(list(PODS6), "sticky")
    for number, (name, balance) in enumerate((("turns", "round-robin"), ("hashed", "hash")), 14):
        vips = [f"10.96.0.{number}", f"fd10:96::{number}"]
        meta = {"annotations": {"seaway.dev/balance": balance}}
        proxy.serve(name, meta=meta, clusterIP=vips[0], clusterIPs=vips, sessionAffinity="ClientIP")
        proxy.endpoints(list(PODS), name)
        proxy.endpoints(list(PODS6), name)
    proxy.serve(
        "ranged",
        meta={"annotations": {"seaway.dev/port-range": "8080-8100"}},
        clusterIP="10.96.0.16",
        clusterIPs=["10.96.0.16", "fd10:96::16"],
        type="LoadBalancer",
        externalTrafficPolicy="Local",
        externalIPs=["203.0.113.16"],
        loadBalancerSourceRanges=["192.0.2.0/24", "2001:db8::/32"],
        sessionAffinity="ClientIP",
        ports=[{"port": 8080, "protocol": "TCP"}],
        status={"loadBalancer": {"ingress": [{"ip": "203.0.113.17"}, {"ip": "2001:db8:1::17"}]}},
    )
    proxy.endpoints(list(PODS), "ranged")
    proxy.endpoints(list(PODS6), "ranged")
    udp = [{"name": "", "port": 8080, "protocol": "UDP"}]
    proxy.endpoints([PODS[0]], "balanced", ports=udp)
    proxy.endpoints([PODS6[0]], "balanced", ports=udp)
    proxy.endpoints([REMOTE], "balanced", ports=udp, node_name="node-2")


@pytest.mark.parametrize("node_ports", [None, ("0.0.0.0/0", "::/0")], ids=["primary addresses", "all addresses"])
def test_nft_lists_what_it_reloads_and_what_our_text_says(world: World, node_ports: tuple[str, ...] | None) -> None:
    running = world.start(make_config(node_ports), guarded_links=("out", "eth0.100", "a-link_with=it+"))
    fill(running)
    running.sync()
    try:
        listed = world.node.run("nft", "list", "ruleset")
        world.node.run("nft", "-c", "-f", "-", stdin=listed)
        assert "10.96.0.10 . tcp . 80 : goto pick-3" in world.node.run("nft", "list", "table", "ip", "seaway")
        with Namespace() as other:
            for family in Family:
                other.run("nft", "-f", "-", stdin=render_text(running.planes[family].table.want()))
            assert sorted(other.run("nft", "list", "ruleset").splitlines()) == sorted(listed.splitlines())
    finally:
        for family in Family:
            world.kernel.delete(family, "seaway")


def make_config(node_ports: tuple[str, ...] | None) -> ProxyConfig:
    return ProxyConfig(
        masquerade_outgoing=True,
        node_name="node-1",
        cluster_cidrs=CONFIG.cluster_cidrs,
        service_cidrs=CONFIG.service_cidrs,
        node_port_addresses=node_ports,
    )


def test_the_kernel_holds_what_is_wanted_after_any_change(proxy: Running, world: World) -> None:
    def check() -> None:
        for family in Family:
            want, have = proxy.planes[family].table.want(), world.kernel.read(family, "seaway")
            assert have.elements == want.elements
            assert have.structure.sets == want.structure.sets
            assert {n: c.hook for n, c in have.structure.chains.items()} == {
                n: c.hook for n, c in want.structure.chains.items()
            }

    fill(proxy)
    proxy.sync()
    check()
    proxy.endpoints([PODS[1]])
    proxy.sync()
    check()
    proxy.serve(clusterIP="None", clusterIPs=["None"])
    proxy.sync()
    check()


def test_a_restart_writes_nothing_when_it_finds_what_it_wants(proxy: Running, world: World) -> None:
    fill(proxy)
    proxy.sync()
    before = world.node.run("nft", "--handle", "list", "ruleset")
    again = world.start()
    fill(again)
    again.sync()
    assert world.node.run("nft", "--handle", "list", "ruleset") == before


def test_a_restart_mends_what_changed_meanwhile(proxy: Running, world: World) -> None:
    fill(proxy)
    proxy.sync()
    again = world.start()
    fill(again)
    again.endpoints([PODS[2]])
    again.sync()
    assert again.draw(world.pods[CLIENT_POD], VIP, 80, times=20).keys() == {f"{PODS[2]}:8080"}
    assert all(plane.table.verify() for plane in again.planes.values())


def test_scenario_145_a_table_that_somebody_deleted_comes_back(proxy: Running, world: World) -> None:
    proxy.serve()
    proxy.endpoints([PODS[0]])
    proxy.sync()
    world.node.run("nft", "delete", "table", "ip", "seaway")
    assert not proxy.planes[Family.IPV4].table.verify()
    proxy.sync()
    assert ask(world.pods[CLIENT_POD], VIP, 80)[0] == f"{PODS[0]}:8080"
    world.node.run("nft", "flush", "ruleset")
    proxy.endpoints([PODS[1]])  # noticed by the refused batch
    proxy.sync()
    assert ask(world.pods[CLIENT_POD], VIP, 80)[0] == f"{PODS[1]}:8080"


def test_a_large_table_goes_through_a_stock_send_buffer(world: World) -> None:
    running = world.start()
    addresses = [f"10.244.{i // 250}.{i % 250 + 1}" for i in range(400)]
    try:
        for index in range(120):
            running.serve(
                f"s{index}", clusterIP=f"10.96.1.{index}", clusterIPs=[f"10.96.1.{index}"], ipFamilies=["IPv4"]
            )
            running.endpoints(addresses[index : index + 40], f"s{index}")
        running.serve()
        running.endpoints(addresses)
        running.sync()
        want = running.planes[Family.IPV4].table.want()
        assert world.kernel.read(Family.IPV4, "seaway").elements == want.elements
        for index in range(120):
            running.endpoints(addresses[index + 100 : index + 150], f"s{index}")
        running.sync()
        want = running.planes[Family.IPV4].table.want()
        assert world.kernel.read(Family.IPV4, "seaway").elements == want.elements
    finally:
        for family in Family:
            world.kernel.delete(family, "seaway")


def test_a_refusal_names_its_subject(world: World) -> None:
    from seaway.proxy.nftables.diff import AddElements, Transaction
    from seaway.proxy.nftables.structure import find_spec

    spec = find_spec("cluster-ips")
    assert spec is not None
    with pytest.raises(NftError, match="table ip nowhere: elements of cluster-ips: No such file or directory"):
        world.kernel.apply(
            Family.IPV4, "nowhere", Transaction(switch=(AddElements("cluster-ips", spec, ((b"\1\2\3\4", None),)),))
        )


def test_an_ordinary_user_is_served_in_a_namespace_of_their_own(tmp_path: Path) -> None:
    if shutil.which("unshare") is None:
        pytest.skip("needs the program unshare (package util-linux)")
    tests = Path(__file__).parents[2]
    script = "import tests.kernel.test_proxy as t; t.serve_in_sandbox()"
    command = ["unshare", "-Urnm", sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tests)!r}); {script}"]
    done = subprocess.run(
        as_ordinary_user(command, home=tmp_path, needed=(tests,)),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "served"


def serve_in_sandbox() -> None:
    """Build the world, serve, ask: what root did above, without any right outside the namespace."""
    with contextlib.ExitStack() as stack:
        world = build_world(stack)
        running = world.start()
        fill(running)
        running.sync()
        assert running.draw(world.pods[CLIENT_POD], VIP, 80, times=30).keys() == {f"{pod}:8080" for pod in PODS}
        assert ask(world.outside, NODE, 30080)[0].endswith(":8080")
        print("served")
