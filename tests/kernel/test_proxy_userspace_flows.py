"""The flow table of spec "proxy" §3.3 again, served from user space: one table, two data planes.

The addresses of Services are the node's own here, as on a host where another program put them. Who answers is the
table's; the endpoint sees the node, since user space connects anew. What the kernel drops is
refused: docs/userspace.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from random import SystemRandom
from typing import Any

import pytest

from seaway.api.service import served as served_at
from seaway.api.service.served import derive_port
from seaway.net.family import Family
from seaway.net.loopback import LoopbackMap
from seaway.proxy.config import NodeView, ProxyConfig, choose_node_port_addresses
from seaway.proxy.forwarding import Forwarding, Frontend, Masquerade, ServiceForwarding, Target, TrafficClass
from seaway.proxy.kernel import list_interface_addresses
from seaway.proxy.proxier import Proxier
from seaway.proxy.userspace.figures import ConnectionFigures
from seaway.proxy.userspace.gate import Neighbours
from seaway.proxy.userspace.plan import Place, find_moved, plan_listeners
from seaway.proxy.userspace.plane import UserspacePlane
from seaway.proxy.userspace.serve import UserspaceSockets
from seaway.telemetry.metrics import Metrics
from seaway.testing.netns import Namespace
from tests.kernel.test_proxy import Running
from tests.kernel.test_proxy_flows import ADDRESSES, ANSWER_SECONDS, SILENCE_SECONDS, Lab, build_lab, frontends, serve
from tests.proxy.nftables.test_flow_table import ABSENCE, CHANGES, FLOWS, SERVICES, SETTINGS, read

pytestmark = pytest.mark.kernel

KINDS = ("TCP", "UDP")
PATIENCE = 20.0
MAP = LoopbackMap()


@dataclass
class Served:
    """The plane in a thread whose sockets are the node's."""

    lab: Lab
    config: ProxyConfig
    ready: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """The thread: until `stop`."""
        with self.lab.places["node"].entered():
            asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        node = NodeView("node-1", "", tuple(ADDRESSES[f]["node"] for f in Family))
        cluster = tuple(ipaddress.ip_network(cidr) for cidr in self.config.cluster_cidrs)
        neighbours = Neighbours(None, cluster, frozenset(list_interface_addresses()))
        sockets = UserspaceSockets(neighbours, figures=ConnectionFigures(Metrics()), tell=lambda *words: None)

        def plan(service: Any, view: NodeView) -> Any:
            addresses = choose_node_port_addresses(self.config, view, service.family).addresses
            return plan_listeners(service, loopback=None, node_addresses=addresses)

        self.planes = {family: UserspacePlane(sockets, plan, pick=SystemRandom().randrange) for family in Family}
        self.proxier = Proxier(self.planes, node, is_userspace=True)
        self.ready.set()
        await self._ended.wait()
        for plane in self.planes.values():
            plane.close()
        sockets.close()

    def call(self, work: Callable[[], Any]) -> Any:
        """In the thread."""
        done: Future[Any] = Future()

        def act() -> None:
            try:
                done.set_result(work())
            except BaseException as error:
                done.set_exception(error)

        self._loop.call_soon_threadsafe(act)
        return done.result(PATIENCE)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:

    if os.geteuid() != 0:
        pytest.skip("needs root: namespaces with veths; run as root or inside `unshare -Urnm`")
    with contextlib.ExitStack() as stack:
        made = build_lab(stack)
        for number in range(1, len(SERVICES) + 1):
            for family in Family:
                for place, (address, _) in frontends(number, family).items():
                    if place != "node":
                        length = 128 if family is Family.IPV6 else 32
                        nodad = ("nodad",) if family is Family.IPV6 else ()
                        made.places["node"].run("ip", "address", "add", f"{address}/{length}", "dev", "lo", *nodad)
        yield made


@contextlib.contextmanager
def served(lab: Lab, services: tuple[dict[str, Any], ...], *, local: bool = True, **settings: Any) -> Iterator[None]:
    """The Services are served in the block."""
    defaults: dict[str, Any] = {"cluster_cidrs": ("10.244.0.0/16", "fd10:244::/32")}
    made = Served(lab, ProxyConfig(node_name="node-1", plane="userspace", **{**defaults, **settings}))
    thread = threading.Thread(target=made.run)
    thread.start()
    try:
        assert made.ready.wait(PATIENCE)
        running = Running(lab, made.planes, made.proxier)  # type: ignore[arg-type]
        for number, spec in enumerate(services, 1):
            serve(running, number, spec, local=local)
        report = made.call(made.proxier.sync)
        assert not report.failures
        assert not any(plane.has_refused for plane in made.planes.values())
        yield
    finally:
        made.stop()
        thread.join(PATIENCE)


def fate(lab: Lab, source: str, kind: str, address: str, port: int, wanted: str) -> str:
    """`all`, `loc` or `far`, whoever answers a few connections; DROP when nobody does."""
    found = set()
    for _ in range(4):
        try:
            found.add(lab.ask(source, kind, address, port, SILENCE_SECONDS if wanted == "DROP" else ANSWER_SECONDS)[0])
        except (TimeoutError, ConnectionError):
            return "DROP"
    return {"LR": "all", "L": "loc", "R": "far"}["".join(sorted(found))]


def compare(lab: Lab, kind: str, expected: dict[tuple[str, str], list[str]], words: dict[str, str]) -> None:
    wrong = {}
    for (source, place), cells in expected.items():
        for family in Family:
            for number, cell in enumerate(cells, 1):
                wanted = words.get(cell.split()[0], cell.split()[0])
                found = fate(lab, source, kind, *frontends(number, family)[place], wanted)
                if found != wanted:
                    wrong[source, place, family, number] = (found, wanted)
    assert not wrong


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("variant", ["a detector", "no detector"])
def test_the_flow_table(lab: Lab, variant: str, kind: str) -> None:
    with served(lab, SERVICES, **SETTINGS[variant]):
        compare(lab, kind, read(FLOWS) | read(CHANGES[variant]), {})


@pytest.mark.parametrize("kind", KINDS)
def test_the_flow_table_without_a_local_endpoint(lab: Lab, kind: str) -> None:
    with served(lab, SERVICES[1:], local=False):
        compare(lab, kind, read(ABSENCE), {"R1": "far"})


def test_where_loopback_has_one_address_each_frontend_has_a_port_of_it_which_is_told() -> None:
    """As on macOS. Rule: issue of the userspace plane, part 1."""
    if os.geteuid() != 0:
        pytest.skip("needs root: a namespace")
    found: list[dict[Frontend, Place]] = []

    async def look() -> None:
        sockets = UserspaceSockets(Neighbours(MAP), figures=ConnectionFigures(Metrics()), tell=lambda *words: None)
        plane = UserspacePlane(
            sockets, lambda service, node: plan_listeners(service, loopback=MAP, node_addresses=()), pick=lambda n: 0
        )
        web = ServiceForwarding(
            service="default/web",
            family=Family.IPV4,
            age=("", ""),
            cluster_ip="10.96.0.10",
            forwardings=tuple(
                Forwarding(
                    frontend=Frontend(TrafficClass.CLUSTER_IP, "10.96.0.10", protocol, 8000),
                    port_name=protocol,
                    endpoints=(Target("10.244.0.5", 8080),),
                    masquerade=Masquerade.OFF_CLUSTER,
                )
                for protocol in KINDS
            ),
        )
        plane.sync({"default/web": web}, NodeView("node-1"))
        assert not plane.has_refused
        found.append(find_moved(plane.bound("default/web"), loopback=MAP))
        plane.close()
        sockets.close()

    def run(namespace: Namespace) -> None:
        with namespace.entered():
            asyncio.run(look())

    with Namespace() as namespace:
        namespace.run("ip", "address", "flush", "dev", "lo")
        namespace.run("ip", "address", "add", "127.0.0.1/32", "dev", "lo")
        thread = threading.Thread(target=run, args=(namespace,))
        thread.start()
        thread.join(PATIENCE)
    (moved,) = found
    assert {place.address for place in moved.values()} == {"127.0.0.1"}
    assert {frontend.protocol for frontend in moved} == set(KINDS)
    assert {place.port for place in moved.values()} == {
        derive_port(served_at.Frontend(f.address, f.port, f.protocol)) for f in moved
    }
