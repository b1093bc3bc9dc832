"""Services that ask for user space beside others that do not, on a real kernel and on the same addresses.

Rule: issue of the userspace plane, part 3.
"""

from __future__ import annotations

import contextlib
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from seaway.net.family import Family
from seaway.proxy.config import NodeView
from seaway.proxy.forwarding import Target
from seaway.proxy.nftables.plane import NftablesPlane
from seaway.proxy.proxier import Proxier
from seaway.proxy.splitting.plane import SplitPlane
from seaway.proxy.splitting.run import Splitting
from seaway.telemetry.metrics import Metrics
from seaway.testing.netns import Namespace, ask
from tests.kernel.test_proxy import (
    CLIENT_POD,
    CONFIG,
    EXTERNAL,
    NODE,
    NODE6,
    OUTSIDE,
    PODS,
    PODS6,
    VIP,
    VIP6,
    Running,
    World,
    world,
)
from tests.kernel.userspace_world import Asking, NamespaceLoop, Talk, Talkers, talk

__all__ = ["world"]
pytestmark = pytest.mark.kernel

PLAIN, WITH_HEADER = 8180, 8181
PORTS = [{"name": "", "port": 80, "protocol": "TCP", "nodePort": 30080}]


@pytest.fixture(scope="module")
def thread(world: World) -> Iterator[NamespaceLoop]:
    made = NamespaceLoop(world.node)
    yield made
    made.close()


@pytest.fixture
def talkers(world: World, thread: NamespaceLoop) -> Iterator[Talkers]:
    made = Talkers(thread, PLAIN)
    for address in PODS:
        made.start(world.pods[address], address)
    yield made
    made.close()


@dataclass
class Split(Running):
    """A proxy with both planes."""

    thread: NamespaceLoop
    splitting: Splitting
    split: dict[Family, SplitPlane]
    metrics: Metrics
    told: list[tuple[str, str, str]]

    def ask_for(self, *pods: str, port: int = PLAIN, spec: Any = None, **asked: str) -> None:
        """The Service with these annotations, of every class, and its endpoints; in step when this returns."""
        annotations = {f"seaway.dev/{name.replace('_', '-')}": value for name, value in asked.items()}
        more = {"type": "NodePort", "ports": PORTS, "externalIPs": [EXTERNAL]}
        self.serve(meta={"annotations": annotations}, **{**more, **(spec or {})})
        ports = [{"name": "", "port": port, "protocol": "TCP"}]
        for family in (PODS, PODS6):
            chosen = [pod for index, pod in enumerate(family) if not pods or PODS[index] in pods]
            self.endpoints(chosen, ports=ports)
        self.bring_in_step()

    def bring_in_step(self) -> None:
        report = self.thread.call(self.proxier.sync)
        assert not report.failures

    def count(self, name: str) -> dict[tuple[str, ...], float]:
        """A metric's cells."""
        families = self.thread.call(lambda: list(self.metrics.collect()))
        (family,) = [f for f in families if f.name == f"seaway_proxy_userspace_{name}"]
        return {values: number for values, number in family.rows if isinstance(number, float)}

    def listeners(self) -> list[Target]:
        """Where the rules lead to."""
        frontends = [f.frontend for service in self.proxier.forwardings(Family.IPV4) for f in service.forwardings]
        found = (self.splitting.find_listener("default/web", frontend) for frontend in frontends)
        return [target for target in found if target is not None]


@pytest.fixture
def split(world: World, thread: NamespaceLoop, talkers: Talkers) -> Iterator[Split]:
    metrics, told = Metrics(), []  # type: Metrics, list[tuple[str, str, str]]
    splitting = Splitting(
        CONFIG, metrics=metrics, tell=lambda *text: told.append(text), list_addresses=world.list_addresses
    )
    rules = {f: NftablesPlane(world.kernel, CONFIG, f, interface_addresses=world.list_addresses) for f in Family}
    planes = {family: splitting.add(plane) for family, plane in rules.items()}
    proxier = Proxier(planes, NodeView("node-1", "", (NODE, NODE6)), unserved=splitting.complaints)
    yield Split(world, rules, proxier, thread, splitting, planes, metrics, told)
    thread.call(splitting.close)
    for family in Family:
        world.kernel.delete(family, "seaway")


def draw(namespace: Namespace, address: str, port: int, times: int) -> Counter[str]:
    """Who greets, of so many connections one after the other."""
    found: Counter[str] = Counter()
    for _ in range(times):
        with talk(namespace, address, port) as client:
            found[client.server] += 1
    return found


def test_the_client_is_known_by_the_header_whichever_address_it_asks(split: Split, world: World) -> None:
    split.ask_for(PODS[0], port=WITH_HEADER, plane="userspace", proxy_protocol="v2")
    pod, outside, node = world.pods[CLIENT_POD], world.outside, world.node
    asked = [
        (pod, CLIENT_POD, VIP, 80), (pod, CLIENT_POD, NODE, 30080), (pod, CLIENT_POD, EXTERNAL, 80),
        (outside, OUTSIDE, NODE, 30080), (outside, OUTSIDE, EXTERNAL, 80), (outside, OUTSIDE, VIP, 80),
        (node, NODE, VIP, 80), (node, NODE, NODE, 30080), (world.pods[PODS[0]], PODS[0], VIP, 80),
    ]  # fmt: skip
    for namespace, source, address, port in asked:
        with talk(namespace, address, port) as client:
            assert (client.server, client.asked) == (PODS[0], f"{address}:{port}")
            assert client.seen == source
            assert client.says("and what follows the header is the client's")


def test_version_1_and_ipv6(split: Split, world: World) -> None:
    split.ask_for(PODS[0], port=WITH_HEADER, plane="userspace", proxy_protocol="v1")
    with talk(world.outside, NODE, 30080) as client:
        assert (client.seen, client.asked) == (OUTSIDE, f"{NODE}:30080")
    with talk(world.pods[CLIENT_POD], VIP6, 80) as client:
        assert (client.seen, client.asked) == ("fd10:244::9", f"{VIP6}:80")


def test_connections_go_to_who_has_the_fewest(split: Split, world: World) -> None:
    split.ask_for(plane="userspace", balance="least-connections")
    with contextlib.ExitStack() as stack:
        held: list[Talk] = []
        for _ in range(9):
            held.append(stack.enter_context(talk(world.pods[CLIENT_POD], VIP, 80)))
        assert Counter(client.server for client in held) == dict.fromkeys(PODS, 3)


def test_a_client_that_comes_back_gets_the_endpoint_that_it_had(split: Split, world: World) -> None:
    split.ask_for(plane="userspace", spec={"sessionAffinity": "ClientIP"})
    assert len(draw(world.pods[CLIENT_POD], VIP, 80, 12)) == 1


def test_who_refuses_is_passed_over_before_a_byte_is_sent(split: Split, world: World, talkers: Talkers) -> None:
    split.ask_for(PODS[0], PODS[1], plane="userspace")
    talkers.stop(PODS[0])
    assert draw(world.pods[CLIENT_POD], VIP, 80, 20) == {PODS[1]: 20}


def test_who_refuses_again_and_again_is_left_alone_told_and_counted(
    split: Split, world: World, talkers: Talkers
) -> None:
    split.ask_for(PODS[0], PODS[1], plane="userspace", balance="round-robin", ejection="failures=2,for=1h")
    talkers.stop(PODS[0])
    assert draw(world.pods[CLIENT_POD], VIP, 80, 20) == {PODS[1]: 20}
    text = f"endpoint {PODS[0]}:{PLAIN} of port 80 gets no new connections for 3600s: 2 in a row were refused"
    assert split.told == [("default/web", "EndpointEjected", text)]
    web = ("default", "web", "80")
    assert split.count("ejected_endpoints") == {web: 1.0}
    assert split.count("retries_total") == {web: 2.0}
    assert split.count("connects_total") == {(*web, "refused"): 2.0, (*web, "connected"): 20.0}


def test_a_connection_ends_at_its_age(split: Split, world: World) -> None:
    split.ask_for(plane="userspace", max_connection_age="1s")
    with talk(world.pods[CLIENT_POD], VIP, 80) as client:
        client.wait_end()


def test_a_service_changes_its_plane_while_connections_are_there(split: Split, world: World) -> None:
    pod = world.pods[CLIENT_POD]
    with contextlib.ExitStack() as stack:
        held: list[tuple[Talk, str]] = []
        for round_, plane in enumerate(("", "userspace", "", "userspace", "")):
            split.ask_for(**({"plane": plane} if plane else {}))
            sees = NODE if plane else CLIENT_POD
            for address, port in ((VIP, 80), (NODE, 30080)):
                client = stack.enter_context(talk(pod, address, port))
                if address == VIP:
                    assert client.seen == sees
                held.append((client, f"{round_} {address}"))
            assert [name for client, name in held if not client.says(name)] == []


def test_a_connection_past_the_rules_is_refused(split: Split, world: World) -> None:
    split.ask_for(plane="userspace", spec={"loadBalancerSourceRanges": ["10.244.0.0/16"]})
    listeners = split.listeners()
    assert len(listeners) == 3
    for address, port in listeners:
        assert address == NODE
        for namespace in (world.outside, world.pods[CLIENT_POD], world.node):
            with pytest.raises(ConnectionError), talk(namespace, address, port):
                pytest.fail("a listener took a connection that no rule saw")


def test_the_rules_of_another_service_lead_to_no_listener_of_this_one(split: Split, world: World) -> None:
    split.ask_for(plane="userspace")
    (vip, *_) = split.listeners()
    split.serve("detour", clusterIP="10.96.0.11", clusterIPs=["10.96.0.11"], ipFamilies=["IPv4"])
    split.endpoints([vip.address], "detour", ports=[{"name": "", "port": vip.port, "protocol": "TCP"}])
    split.bring_in_step()
    with pytest.raises(ConnectionError), talk(world.pods[CLIENT_POD], "10.96.0.11", 80):
        pytest.fail("a listener took a connection that came by another Service's rules")
    with talk(world.pods[CLIENT_POD], VIP, 80) as client:
        assert client.server in PODS


def test_other_services_and_refusals_stay_the_kernels(split: Split, world: World) -> None:
    split.ask_for(plane="userspace")
    split.serve("other", clusterIP="10.96.0.11", clusterIPs=["10.96.0.11"], ipFamilies=["IPv4"])
    split.endpoints([PODS[0]], "other")
    split.bring_in_step()
    assert ask(world.pods[CLIENT_POD], "10.96.0.11", 80) == (f"{PODS[0]}:8080", CLIENT_POD)
    split.proxier.set_slice("default/web-ipv4-node-1", None)
    split.proxier.set_slice("default/web-ipv6-node-1", None)
    split.bring_in_step()
    with pytest.raises(ConnectionRefusedError), talk(world.pods[CLIENT_POD], VIP, 80):
        pass


def test_before_the_proxy_ends_the_kernel_serves_by_itself(split: Split, world: World) -> None:
    split.ask_for(plane="userspace")
    for plane in split.split.values():
        split.thread.call(plane.hand_back)
    with talk(world.pods[CLIENT_POD], VIP, 80) as client:
        assert client.seen == CLIENT_POD


def test_what_nft_lists_it_loads_again(split: Split, world: World) -> None:
    if shutil.which("nft") is None:
        pytest.skip("needs nft (apt install nftables)")
    split.ask_for(plane="userspace", spec={"sessionAffinity": "ClientIP"})
    world.node.run("nft", "-c", "-f", "-", stdin=world.node.run("nft", "list", "ruleset"))


def test_no_new_connection_fails_while_a_service_changes_its_plane(split: Split, world: World) -> None:
    split.ask_for()
    with Asking(world.pods[CLIENT_POD], VIP, 80) as asking, Asking(world.outside, NODE, 30080) as outside:
        for _ in range(10):
            for asked in ({"plane": "userspace"}, {}):
                before = (asking.answered, outside.answered)
                split.ask_for(**asked)
                asking.wait_for(before[0] + 20)
                outside.wait_for(before[1] + 20)
    assert (asking.failed, outside.failed) == ([], [])
