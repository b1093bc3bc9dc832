"""What goes wrong is mended by reading back; connections of Services that nothing happened to never fail meanwhile."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Self

import pytest

from seaway.net.family import Family
from seaway.proxy.kernel import delete_flows, list_flows
from seaway.proxy.nftables.kernel import NftKernel
from seaway.proxy.nftables.plane import NftablesPlane, NftError
from seaway.proxy.proxier import Proxier
from seaway.testing.netns import Namespace, ask
from tests.kernel import udp_flood
from tests.kernel.test_proxy import (
    CLIENT_POD,
    CONFIG,
    NODE,
    PODS,
    PODS6,
    VIP,
    VIP6,
    Running,
    World,
    fill,
    proxy,
    world,
)

__all__ = ["proxy", "world"]
pytestmark = pytest.mark.kernel
OTHER_VIP = "10.96.0.20"


class Stream:
    """A client that connects again and again, to both families in turn. Leaving it fails if a connection failed."""

    def __init__(self, client: Namespace) -> None:
        self._client = client
        self._changed = threading.Condition()
        self._served = 0
        self._failures: list[str] = []
        self._stop = False
        self._thread = threading.Thread(target=self._run, name="stream")

    def _run(self) -> None:
        while not self._stop:
            for address in (VIP, VIP6):
                try:
                    ask(self._client, address, 80, timeout_seconds=5)
                except OSError as error:
                    self._failures.append(f"{address}: {error}")
            with self._changed:
                self._served += 1
                self._changed.notify_all()

    def wait(self, rounds: int = 20) -> None:
        """Until it has connected so often since now."""
        with self._changed:
            goal = self._served + rounds
            assert self._changed.wait_for(lambda: self._served >= goal, timeout=60)

    def __enter__(self) -> Self:
        self._thread.start()
        self.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop = True
        self._thread.join()
        assert not self._failures


def serve(proxy: Running) -> None:
    """A Service that stays as it is, and another."""
    proxy.serve()
    proxy.endpoints([PODS[0]])
    proxy.endpoints([PODS6[0]])
    proxy.serve("other", clusterIP=OTHER_VIP, clusterIPs=[OTHER_VIP], ipFamilies=["IPv4"])
    proxy.endpoints([PODS[1], PODS[2]], "other")


@pytest.fixture
def stream(proxy: Running, world: World) -> Iterator[Stream]:
    serve(proxy)
    proxy.sync()
    with Stream(world.pods[CLIENT_POD]) as running:
        yield running


def other_answers(world: World) -> set[str]:
    return {ask(world.pods[CLIENT_POD], OTHER_VIP, 80)[0].partition(":")[0] for _ in range(24)}


EDITS = {
    "an element of a Service": f"delete element ip seaway services {{ {OTHER_VIP} . tcp . 80 }}",
    "an endpoint": f"delete element ip seaway slot-1 {{ {OTHER_VIP} . tcp . 80 }}",
    "an endpoint, replaced": f"delete element ip seaway slot-1 {{ {OTHER_VIP} . tcp . 80 }}\n"
    f"add element ip seaway slot-1 {{ {OTHER_VIP} . tcp . 80 : 10.244.9.9 . 80 }}",
    "an element of nobody": "add element ip seaway cluster-ips { 10.96.9.9 }",
    "a chain that was flushed": "flush chain ip seaway pick-2",
    "a rule that was put before": "insert rule ip seaway pick-2 drop",
    "a chain of somebody else": "add chain ip seaway mine",
    "a set of somebody else": "add set ip seaway mine { type ipv4_addr ; }",
    "the other family": "flush chain ip6 seaway reject-all",
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_an_edit_by_others_is_found_and_mended(stream: Stream, proxy: Running, world: World, edit: str) -> None:
    assert all(plane.table.verify() for plane in proxy.planes.values())
    world.node.run("nft", "-f", "-", stdin=edit)
    assert {plane.table.verify() for plane in proxy.planes.values()} == {True, False}
    stream.wait()
    proxy.sync()
    assert other_answers(world) == {PODS[1], PODS[2]}
    check(proxy, world)
    stream.wait()


def check(proxy: Running, world: World) -> None:
    """The kernel has what is wanted, down to each rule."""
    for family, plane in proxy.planes.items():
        want, have = plane.table.want(), world.kernel.read(family, "seaway")
        assert have.elements == want.elements
        assert have.structure.sets == want.structure.sets
        assert have.structure.chains.keys() == want.structure.chains.keys()
        assert not world.kernel.find_altered(want)


def test_others_who_change_what_is_theirs_cost_one_look(stream: Stream, proxy: Running, world: World) -> None:
    assert all(plane.table.verify() for plane in proxy.planes.values())
    before = world.node.run("nft", "--handle", "--stateless", "list", "table", "ip", "seaway")
    world.node.run("nft", "add", "table", "ip", "theirs")
    assert all(plane.table.verify() for plane in proxy.planes.values())
    proxy.sync()
    assert world.node.run("nft", "--handle", "--stateless", "list", "table", "ip", "seaway") == before
    world.node.run("nft", "delete", "table", "ip", "theirs")
    stream.wait(5)


@pytest.mark.parametrize(
    "edit",
    ["flush chain ip seaway translate", "delete chain ip seaway nat-prerouting", "flush table ip seaway",
     "delete table ip seaway", "flush ruleset"],
)  # fmt: skip
def test_a_table_that_serves_nobody_any_more_is_mended(proxy: Running, world: World, edit: str) -> None:
    serve(proxy)
    proxy.sync()
    world.node.run("nft", "-f", "-", stdin=edit)
    with pytest.raises(OSError):
        ask(world.pods[CLIENT_POD], VIP, 80, timeout_seconds=0.3)
    proxy.proxier.verify()
    proxy.sync()
    assert ask(world.pods[CLIENT_POD], VIP, 80)[0] == f"{PODS[0]}:8080"
    check(proxy, world)


def test_a_refused_batch_is_mended_at_once(stream: Stream, proxy: Running, world: World) -> None:
    """Somebody else has added what we are about to add, and deleted what we are about to delete."""
    added = "10.96.0.21"
    world.node.run("nft", "add", "element", "ip", "seaway", "services", f"{{ {added} . tcp . 80 : goto pick-1 }}")
    world.node.run("nft", "delete", "element", "ip", "seaway", "services", f"{{ {OTHER_VIP} . tcp . 80 }}")
    proxy.serve("third", clusterIP=added, clusterIPs=[added], ipFamilies=["IPv4"])
    proxy.endpoints([PODS[1], PODS[2]], "third")
    proxy.proxier.set_service("default/other", None)
    proxy.sync()
    assert ask(world.pods[CLIENT_POD], added, 80)[0].partition(":")[0] in PODS[1:]
    check(proxy, world)
    stream.wait()


class _Fragile(NftKernel):
    """A connection to the kernel that breaks before the batch of this number."""

    breaks_at = 0

    def _send(self, table: str, batch: object) -> None:
        self.breaks_at -= 1
        if self.breaks_at < 0:
            raise NftError(table, "batch", 5, "the test")
        super()._send(table, batch)  # type: ignore[arg-type]


@pytest.mark.parametrize("breaks_at", [0, 1, 2, 4])
def test_an_interrupted_load_is_mended_by_the_next_start(
    stream: Stream, proxy: Running, world: World, breaks_at: int
) -> None:
    with world.node.entered():
        fragile = _Fragile(send_limit=20_000)  # many batches, as of a large cluster
    try:
        planes = {f: NftablesPlane(fragile, CONFIG, f, interface_addresses=world.list_addresses) for f in Family}
        broken = Running(world, planes, Proxier(planes, proxy.proxier.node))
        serve(broken)
        fill(broken)
        broken.endpoints([f"10.244.7.{number}" for number in range(1, 200)], "turns")
        broken.endpoints([PODS[0]])
        broken.endpoints([PODS6[0]])
        fragile.breaks_at = breaks_at
        assert broken.proxier.sync().failures
        stream.wait()
    finally:
        fragile.close()
    again = world.start()
    serve(again)
    again.sync()
    check(again, world)
    stream.wait()


def test_two_proxies_with_one_table_serve_together(stream: Stream, proxy: Running, world: World) -> None:
    second = world.start()
    serve(second)
    second.sync()
    for pods in ([PODS[1]], [PODS[2]], [PODS[1], PODS[2]]):
        for running in (proxy, second):
            running.endpoints(pods, "other")
            running.sync()
            assert other_answers(world) == set(pods)
    for running in (second, proxy):
        running.proxier.verify()
        running.sync()
        check(running, world)
    stream.wait()


def test_scenarios_141_142_rules_serve_without_a_proxy_and_a_start_applies_what_changed(
    stream: Stream, proxy: Running, world: World
) -> None:
    """Neither a proxy that is gone nor one that hears nothing touches the rules."""
    before = world.node.run("nft", "--handle", "--stateless", "list", "ruleset")
    for _ in range(3):
        proxy.proxier.verify()
        proxy.sync()
    stream.wait()
    assert world.node.run("nft", "--handle", "--stateless", "list", "ruleset") == before
    again = world.start()
    serve(again)
    again.endpoints([PODS[1]], "other")
    again.sync()
    assert other_answers(world) == {PODS[1]}
    stream.wait()


def test_scenario_143_all_endpoints_are_replaced_one_by_one(stream: Stream, proxy: Running) -> None:
    rolls: list[Callable[[], None]] = []
    for old, new in ((0, 1), (1, 2), (2, 0), (0, 1)):
        for numbers in ((old, new), (new,)):
            rolls.append(lambda n=numbers: proxy.endpoints([PODS[i] for i in n]))
            rolls.append(lambda n=numbers: proxy.endpoints([PODS6[i] for i in n]))
    for roll in rolls:
        roll()
        proxy.sync()
        stream.wait(3)


def test_scenario_144_after_a_reboot_the_whole_table_is_there_after_the_first_sync(
    proxy: Running, world: World
) -> None:
    fill(proxy)
    proxy.sync()
    world.node.run("nft", "flush", "ruleset")
    again = world.start()
    fill(again)
    again.sync()
    check(again, world)
    assert ask(world.node, NODE, 30080)[0].endswith(":8080")


CHOICES = ((0,), (0, 1), (1,), (1, 2), (0, 1, 2), (2,))
FLOOD_SECONDS = 3.0
LOOK = f"""
table ip look {{
    counter missed {{ }}
    counter translated {{ }}
    chain forward {{
        type filter hook forward priority -300;
        ip daddr {VIP} udp dport 53 counter name missed
        ip daddr 10.244.0.0/24 udp dport 8080 counter name translated
    }}
}}
"""


def test_no_packet_is_missed_while_picks_and_slots_come_and_go(proxy: Running, world: World) -> None:
    """Each packet is the first of its flow, and each batch makes or takes away the chains of a draw.

    Rule: docs/design/0002 (a packet sees the rules of one generation and the maps of another).
    """
    proxy.serve(ports=[{"name": "dns", "port": 53, "protocol": "UDP"}])
    ports = [{"name": "dns", "port": 8080, "protocol": "UDP"}]
    proxy.endpoints([PODS[0]], ports=ports)
    proxy.sync()
    world.node.run("nft", "-f", "-", stdin=LOOK)
    with world.pods[CLIENT_POD].entered():
        flood = subprocess.Popen([sys.executable, udp_flood.__file__, VIP, "53", str(FLOOD_SECONDS)])
    try:
        for choice in itertools.cycle(CHOICES):
            if flood.poll() is not None:
                break
            proxy.endpoints([PODS[index] for index in choice], ports=ports)
            proxy.sync()
        listed = {
            name: world.node.run("nft", "list", "counter", "ip", "look", name) for name in ("translated", "missed")
        }
        counts = {name: int(text.split("packets ")[1].split()[0]) for name, text in listed.items()}
    finally:
        flood.kill()
        flood.wait()
        world.node.run("nft", "delete", "table", "ip", "look")
        with world.node.entered():
            delete_flows(flow for flow in list_flows(Family.IPV4) if flow.protocol == "UDP")
    assert counts["translated"] > 1000
    assert counts["missed"] == 0
