"""The flow table of spec "proxy" §3.3 with real packets: two nodes, Pods on each, a client outside.

TCP, UDP, and SCTP by hand; IPv4 and IPv6; every way to know Pods. Services take turns, so that few connections reach
every endpoint. Where the node's own address replaces the node's own address nothing is to be seen: there the table of
rules (tests/proxy/nftables/test_flow_table.py) is the proof.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from seaway.net.family import Family
from seaway.proxy.config import NodeView, ProxyConfig
from seaway.proxy.kernel import delete_flows, list_flows
from seaway.proxy.nftables.kernel import NftKernel
from seaway.proxy.nftables.plane import NftablesPlane
from seaway.proxy.proxier import Proxier
from seaway.testing.netns import EchoServers, Namespace, ask, connect
from tests.kernel.sctp import Listeners
from tests.kernel.test_proxy import Running
from tests.proxy.nftables.test_flow_table import ABSENCE, CHANGES, FLOWS, SERVICES, SETTINGS, read

pytestmark = pytest.mark.kernel

ADDRESSES = {
    Family.IPV4: {"node": "192.0.2.1", "far": "192.0.2.3", "outside": "192.0.2.2", "pod": "10.244.0.9",
                  "L": "10.244.0.2", "R": "10.244.1.2"},
    Family.IPV6: {"node": "2001:db8::1", "far": "2001:db8::3", "outside": "2001:db8::2", "pod": "fd10:244::9",
                  "L": "fd10:244::2", "R": "fd10:244:1::2"},
}  # fmt: skip
PORTS = {"TCP": 8080, "UDP": 8080, "SCTP": 8082}
KINDS = ("TCP", "UDP", "SCTP")


@dataclass
class Lab:
    """`listeners` see SCTP at L and R."""

    places: dict[str, Namespace]
    kernel: NftKernel
    listeners: dict[Family, Listeners]

    def start(self, **settings: Any) -> Running:
        defaults: dict[str, Any] = {
            "cluster_cidrs": ("10.244.0.0/16", "fd10:244::/32"), "service_cidrs": ("10.96.0.0/16", "fd10:96::/112"),
        }  # fmt: skip
        config = ProxyConfig(node_name="node-1", **{**defaults, **settings})
        planes = {f: NftablesPlane(self.kernel, config, f) for f in Family}
        node = NodeView("node-1", "", tuple(ADDRESSES[f]["node"] for f in Family))
        return Running(self, planes, Proxier(planes, node))  # type: ignore[arg-type]

    def ask(self, source: str, kind: str, address: str, port: int, timeout_seconds: float) -> tuple[str, str]:
        """(L or R, whether it saw the source `p` or another address `m`; "" where that is the same)."""
        family = Family.IPV6 if ":" in address else Family.IPV4
        client = self.places[source]
        if kind == "SCTP":
            name, seen, arrived = self.listeners[family].ask(client, address, port, timeout_seconds=timeout_seconds)
            assert arrived == PORTS[kind]
        else:
            name, seen = ask(client, address, port, udp=kind == "UDP", timeout_seconds=timeout_seconds)
        if source == "node" and (name == "R" or family is Family.IPV6):
            return name, ""
        return name, "p" if seen == ADDRESSES[family][source] else "m"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.skip("needs root: namespaces with veths; run as root or inside `unshare -Urnm`")
    with contextlib.ExitStack() as stack:
        yield build_lab(stack)


def build_lab(stack: contextlib.ExitStack) -> Lab:
    """node and far are routers of their Pods on one network with outside; outside reaches Services through node."""
    names = ("node", "far", "outside", "pod", "L", "R")
    places = {name: stack.enter_context(Namespace()) for name in names}
    network = stack.enter_context(Namespace())
    network.run("ip", "link", "add", "br0", "type", "bridge")
    network.run("ip", "link", "set", "br0", "up")
    for name in ("node", "far", "outside"):
        connect(places[name], "up0", network, name)
        network.run("ip", "link", "set", name, "master", "br0")
        for family in Family:
            add_address(places[name], ADDRESSES[family][name], "up0", 24 if family is Family.IPV4 else 64)
    for router in ("node", "far"):
        places[router].write_sysctl("net/ipv4/ip_forward", "1")
        places[router].write_sysctl("net/ipv6/conf/all/forwarding", "1")
        places[router].write_sysctl("net/ipv4/icmp_ratelimit", "0")
        places[router].write_sysctl("net/ipv4/conf/all/send_redirects", "0")
        places[router].write_sysctl("net/ipv4/conf/up0/send_redirects", "0")
    for pod, router in (("pod", "node"), ("L", "node"), ("R", "far")):
        attach(places[router], places[pod], f"veth-{pod}", [ADDRESSES[family][pod] for family in Family])
    for family in Family:
        told = ADDRESSES[family]
        add_route(places["node"], told["R"], told["far"])
        add_route(
            places["far"], told["outside"], told["node"]
        )  # who knows no Pods masquerades nobody: replies cross us
        for pod in ("pod", "L"):
            add_route(places["far"], told[pod], told["node"])
        add_route(places["node"], "default", told["outside"])
        add_route(places["outside"], "default", told["node"])
    servers = stack.enter_context(EchoServers())
    for name in ("L", "R"):
        servers.listen(places[name], name, PORTS["TCP"])
    servers.listen(places["node"], "node", PORTS["TCP"])
    servers.listen(places["node"], "process", 30099)
    servers.start()
    listeners = {}
    for family, number in ((Family.IPV4, socket.AF_INET), (Family.IPV6, socket.AF_INET6)):
        listeners[family] = Listeners({name: places[name] for name in ("L", "R")}, number)
        stack.callback(listeners[family].close)
    with places["node"].entered():
        kernel = NftKernel()
    stack.callback(kernel.close)
    for source in ("pod", "outside", "node"):  # links are new: the first packets wait for their neighbours
        for name in ("L", "R"):
            for family in Family:
                ask(places[source], ADDRESSES[family][name], PORTS["TCP"], timeout_seconds=10)
    return Lab(places, kernel, listeners)


def attach(router: Namespace, pod: Namespace, name: str, addresses: list[str]) -> None:
    """A Pod on a routed veth."""
    connect(router, name, pod, "eth0")
    router.run("ip", "address", "add", "169.254.1.1/32", "dev", name)
    router.run("ip", "-6", "address", "add", "fe80::1/64", "dev", name, "nodad")
    for address in addresses:
        add_address(pod, address, "eth0", 128 if ":" in address else 32)
        router.run("ip", "route", "add", f"{address}/{128 if ':' in address else 32}", "dev", name)
    pod.run("ip", "route", "add", "169.254.1.1", "dev", "eth0")
    pod.run("ip", "route", "add", "default", "via", "169.254.1.1", "src", addresses[0])
    pod.run("ip", "-6", "route", "add", "default", "via", "fe80::1", "dev", "eth0")


def add_address(namespace: Namespace, address: str, link: str, length: int) -> None:
    nodad = ("nodad",) if ":" in address else ()
    namespace.run("ip", "address", "add", f"{address}/{length}", "dev", link, *nodad)


def add_route(namespace: Namespace, target: str, via: str) -> None:
    namespace.run("ip", "-6" if ":" in via else "-4", "route", "add", target, "via", via)


def frontends(number: int, family: Family) -> dict[str, tuple[str, int]]:
    """How Service `number` is asked."""
    if family is Family.IPV4:
        return {
            "cluster": (f"10.96.0.{number}", 80), "node": (ADDRESSES[family]["node"], 30080 + number),
            "lb": (f"203.0.113.{number}", 80), "external": (f"203.0.113.{number + 100}", 80),
        }  # fmt: skip
    return {
        "cluster": (f"fd10:96::{number}", 80), "node": (ADDRESSES[family]["node"], 30080 + number),
        "lb": (f"2001:db8:1::{number}", 80), "external": (f"2001:db8:2::{number}", 80),
    }  # fmt: skip


def serve(running: Running, number: int, spec: dict[str, Any], *, local: bool = True) -> None:
    v4, v6 = (frontends(number, family) for family in Family)
    vips = [v4["cluster"][0], v6["cluster"][0]]
    ports = [{"name": k.lower(), "port": 80, "protocol": k, "nodePort": 30080 + number} for k in KINDS]
    running.serve(
        f"s{number}",
        meta={"annotations": {"seaway.dev/balance": "round-robin"}},
        status={"loadBalancer": {"ingress": [{"ip": v4["lb"][0]}, {"ip": v6["lb"][0]}]}},
        **{
            "type": "LoadBalancer", "clusterIP": vips[0], "clusterIPs": vips,
            "externalIPs": [v4["external"][0], v6["external"][0]], "ports": ports, **spec,
        },
    )  # fmt: skip
    targets = [{"name": k.lower(), "port": PORTS[k], "protocol": k} for k in KINDS]
    for family in Family:
        if local:
            running.endpoints([ADDRESSES[family]["L"]], f"s{number}", ports=targets)
        running.endpoints([ADDRESSES[family]["R"]], f"s{number}", ports=targets, node_name="node-2")


SILENCE_SECONDS, ANSWER_SECONDS = 1.0, 15.0
"""What is to be dropped is waited for briefly; what is to be answered may take its time on a busy machine."""


def fate(lab: Lab, source: str, kind: str, address: str, port: int, wanted: str) -> str:
    """`all p`, `loc m` … after a few connections; how the first one fails."""
    found = set()
    timeout_seconds = SILENCE_SECONDS if wanted == "DROP" else ANSWER_SECONDS
    for _ in range(4):
        try:
            found.add(lab.ask(source, kind, address, port, timeout_seconds))
        except TimeoutError:
            return "DROP"
        except PermissionError:
            return "DROP"  # what a node sends is refused while it is sent
    names = "".join(sorted({name for name, _ in found}))
    how = "".join(sorted({how for _, how in found}))
    return f"{ {'LR': 'all', 'L': 'loc', 'R': 'far'}[names] } {how or '?'}"


def is_as(found: str, expected: str) -> bool:
    return found == expected or (found.endswith("?") and found[:3] == expected[:3])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("variant", CHANGES)
def test_the_flow_table(lab: Lab, variant: str, kind: str) -> None:
    running = lab.start(**SETTINGS[variant])
    expected = read(FLOWS) | read(CHANGES[variant])
    try:
        for number, spec in enumerate(SERVICES, 1):
            serve(running, number, spec)
        running.sync()
        found = {
            (source, place, family): [
                fate(lab, source, kind, *frontends(number, family)[place], wanted)
                for number, wanted in enumerate(cells, 1)
            ]
            for (source, place), cells in expected.items()
            for family in Family
        }
        wrong = {
            (key, number): (cell, wanted)
            for key, cells in found.items()
            for number, (cell, wanted) in enumerate(zip(cells, expected[key[:2]], strict=True), 1)
            if not is_as(cell, wanted)
        }
        assert not wrong
    finally:
        stop(lab)


@pytest.mark.parametrize("kind", ["TCP", "UDP"])
def test_the_flow_table_without_a_local_endpoint(lab: Lab, kind: str) -> None:
    running = lab.start()
    try:
        for number, spec in enumerate(SERVICES[1:], 1):
            serve(running, number, spec, local=False)
        running.sync()
        found = {pair: [fate(lab, pair[0], kind, *frontends(n, Family.IPV4)[pair[1]], cell)
                        for n, cell in enumerate(cells, 1)]
                 for pair, cells in read(ABSENCE).items()}  # fmt: skip
        for pair, cells in read(ABSENCE).items():
            wanted = [cell.replace("R1", "far") for cell in cells]
            assert all(map(is_as, found[pair], wanted)), (pair, found[pair], wanted)
    finally:
        stop(lab)


def stop(lab: Lab) -> None:
    """Flows go too: a client that gets the port of an earlier one would follow the translation of other rules."""
    for family in Family:
        lab.kernel.delete(family, "seaway")
    with lab.places["node"].entered():
        for family in Family:
            delete_flows(list_flows(family))
