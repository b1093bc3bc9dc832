"""Stores that others damaged, and what the repair loops say and mend. Rule: spec "service-api" §5.9."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import pytest

from seaway.api.registry import EVENTS, IP_ADDRESSES, SERVICE_CIDRS, SERVICES
from seaway.apiserver.allocation.holdings import ADDRESS_PREFIX, PORT_PREFIX, Holder, address_key, encode_port, port_key
from seaway.apiserver.builtin.repairs import REPAIR_SECONDS, AddressRepairs, PortRepairs
from seaway.apiserver.handler import ApiServer
from seaway.apiserver.run import ServerConfig, open_server
from seaway.store.contract import Precondition, StoreError, Write
from seaway.store.memory import MemoryStore
from seaway.testing.builders import make_service
from tests.apiserver.conversation import SERVICES as PATH
from tests.apiserver.conversation import Conversation, ManualEffects, Reply, talk

Json = dict[str, Any]


class Damaged:
    """A server whose store may be written behind its back."""

    def __init__(self, ask: Conversation, store: MemoryStore) -> None:
        self.ask = ask
        self.store = store
        self.addresses = AddressRepairs(ask.server.state)
        self.ports = PortRepairs(ask.server.state)

    async def make(self, name: str, **spec: Any) -> Json:
        reply = await self.ask("POST", PATH, make_service(name, **spec))
        assert reply.status == 201, reply.body
        return dict(reply.body)

    async def write(self, key: str, value: bytes | None) -> None:
        await self.store.commit([], [Write(key, value)])

    async def change(self, key: str, **changes: Any) -> None:
        entry = await self.store.get(key)
        assert entry is not None
        await self.write(key, msgspec.json.encode({**json.loads(entry.value), **changes}))

    async def repair(self) -> float:
        async def pause() -> None:
            await asyncio.sleep(0)

        seconds = await self.addresses.repair_all(pause)
        return min(seconds, await self.ports.repair_all(pause))

    async def address(self, name: str) -> Reply:
        return await self.ask("GET", IP_ADDRESSES.path("", name))

    async def notes(self) -> list[tuple[str, str, str, str]]:
        """(about, reason, action, text) of all Events, sorted."""
        items = (await self.ask("GET", "/api/v1/events")).body["items"]
        assert all(item["type"] == "Warning" for item in items)
        rows = [(e["involvedObject"]["name"], e["reason"], e["action"], e["message"]) for e in items]
        return sorted(rows)

    async def port(self, number: int) -> str:
        entry = await self.store.get(port_key(number))
        return json.loads(entry.value)["name"] if entry else ""


def play(scenario: Callable[[Damaged], Awaitable[None]]) -> None:
    store = MemoryStore()
    talk(lambda ask: scenario(Damaged(ask, store)), store=store)


def parent(name: str, **rest: str) -> Json:
    return {"parentRef": {"resource": "services", "namespace": "default", "name": name, **rest}}


def allocation(text: str) -> tuple[str, str, str]:
    return ("ClusterIPNotAllocated", "ClusterIPAllocation", text)


def test_what_this_server_writes_needs_no_repair() -> None:
    async def scenario(it: Damaged) -> None:
        await it.make(
            "a", type="NodePort", ports=[{"name": "t", "port": 53}, {"name": "u", "port": 53, "protocol": "UDP"}]
        )
        await it.make("b", type="LoadBalancer", externalTrafficPolicy="Local")
        await it.make("c", type="ExternalName", externalName="a.b", ports=[{"port": 80, "nodePort": 30001}])
        await it.make("d", clusterIP="None")
        before = it.store.current_revision
        assert await it.repair() == REPAIR_SECONDS
        assert (await it.notes(), it.store.current_revision) == ([], before)
        assert it.ask.server.state.metrics.repairs == {}

    play(scenario)


def test_a_missing_address_is_made_again() -> None:
    async def scenario(it: Damaged) -> None:
        service = await it.make("a", clusterIP="10.96.0.9")
        await it.write(address_key("10.96.0.9"), None)
        await it.repair()
        found = (await it.address("10.96.0.9")).body
        assert found["spec"] == parent("a")
        assert found["metadata"]["labels"]["ipaddress.kubernetes.io/managed-by"] == "ipallocator.k8s.io"
        assert await it.notes() == [("a", *allocation("Cluster IP [IPv4]: 10.96.0.9 is not allocated; repairing"))]
        assert it.ask.server.state.metrics.repairs == {("clusterip", "repair"): 1}
        assert (await it.ask("DELETE", f"{PATH}/{service['metadata']['name']}")).status == 200
        assert (await it.address("10.96.0.9")).status == 404

    play(scenario)


def test_an_address_deleted_through_the_api_is_made_again_without_waiting_for_a_pass() -> None:
    async def scenario(it: Damaged) -> None:
        await it.make("a", clusterIP="10.96.0.9")
        await it.ask("DELETE", IP_ADDRESSES.path("", "10.96.0.9"))
        await it.addresses.wait_for_losses()
        await it.addresses.repair_losses()
        assert (await it.address("10.96.0.9")).status == 200

    play(scenario)


WRONG: list[tuple[str, Json]] = [
    ("no Service", {"spec": {"parentRef": {"resource": "gateways", "group": "x.y", "name": "g"}}}),
    ("a Service that is not there", {"spec": parent("nobody")}),
]


@pytest.mark.parametrize("change", [pytest.param(change, id=f"it names {what}") for what, change in WRONG])
def test_an_address_with_a_wrong_parent_is_made_again(change: Json) -> None:
    async def scenario(it: Damaged) -> None:
        await it.make("a", clusterIP="10.96.0.9")
        await it.change(address_key("10.96.0.9"), **change)
        await it.repair()
        assert (await it.address("10.96.0.9")).body["spec"] == parent("a")
        text = "the ClusterIP [IPv4]: 10.96.0.9 for Service default/a has a wrong reference; repairing"
        assert ("a", *allocation(text)) in await it.notes()

    play(scenario)


def test_an_address_that_names_a_service_which_does_not_use_it_is_removed_and_made_again() -> None:
    async def scenario(it: Damaged) -> None:
        await it.make("a", clusterIP="10.96.0.9")
        await it.make("b", clusterIP="10.96.0.8")
        await it.change(address_key("10.96.0.9"), spec=parent("b"))
        await it.repair()
        assert (await it.address("10.96.0.9")).body["spec"] == parent("a")
        text = "IPAddress: 10.96.0.9 for Service default/b has a wrong reference; cleaning up"
        assert ("10.96.0.9", "IPAddressWrongReference", "IPAddressAllocation", text) in await it.notes()

    play(scenario)


def test_an_address_without_its_labels_is_made_again_quietly() -> None:
    async def scenario(it: Damaged) -> None:
        await it.make("a", clusterIP="10.96.0.9")
        assert (await it.ask.patch(IP_ADDRESSES.path("", "10.96.0.9"), {"metadata": {"labels": None}})).status == 200
        await it.repair()
        found = (await it.address("10.96.0.9")).body
        assert found["metadata"]["labels"]["ipaddress.kubernetes.io/ip-family"] == "IPv4"

    play(scenario)


def test_an_address_of_two_services_is_said_and_left() -> None:
    async def scenario(it: Damaged) -> None:
        first = await it.make("a", clusterIP="10.96.0.9")
        await it.make("b", clusterIP="10.96.0.8")
        spec = {**first["spec"], "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}]}
        await it.change(SERVICES.store_key("default", "b"), spec=spec)
        await it.repair()
        await it.repair()
        text = "Cluster IP [IPv4]:10.96.0.9 was assigned to multiple services; please recreate service"
        unused = "IPAddress: 10.96.0.8 for Service default/b has a wrong reference; cleaning up"
        assert await it.notes() == [
            ("10.96.0.8", "IPAddressWrongReference", "IPAddressAllocation", unused),
            ("b", "ClusterIPAlreadyAllocated", "ClusterIPAllocation", text),
        ]
        selector = "involvedObject.name=b"
        (event,) = (await it.ask("GET", f"{EVENTS.path('default')}?fieldSelector={selector}")).body["items"]
        assert event["series"]["count"] == 2, "the same finding is counted, not said again"
        assert event["reportingComponent"] == "ipallocator-repair-controller"
        assert (await it.address("10.96.0.9")).body["spec"] == parent("a")

    play(scenario)


def test_addresses_that_are_none_or_of_no_range_are_said_and_left() -> None:
    async def scenario(it: Damaged) -> None:
        service = await it.make("a", clusterIP="10.96.0.9")
        for name, address in (("x", "1.2.3.4"), ("y", "many")):
            value = {**service, "metadata": {**service["metadata"], "name": name}}
            value["spec"] = {**service["spec"], "clusterIP": address, "clusterIPs": [address]}
            await it.write(SERVICES.store_key("default", name), msgspec.json.encode(value))
        await it.repair()
        text = "Cluster IP [IPv4]: 1.2.3.4 is not within any configured Service CIDR; please recreate service"
        assert await it.notes() == [
            ("x", "ClusterIPOutOfRange", "ClusterIPAllocation", text),
            (
                "y",
                "ClusterIPNotValid",
                "ClusterIPValidation",
                "Cluster IP <nil> is not a valid IP; please recreate Service",
            ),
        ]

    play(scenario)


def test_a_leaked_address_goes_after_a_minute() -> None:
    async def scenario(it: Damaged) -> None:
        labels = {"ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"}
        leaked = {"metadata": {"name": "10.96.0.7", "labels": labels}, "spec": parent("nobody")}
        mine = {"metadata": {"name": "10.96.0.6"}, "spec": parent("nobody")}
        for address in (leaked, mine):
            assert (await it.ask("POST", IP_ADDRESSES.path(""), address)).status == 201
        assert 0 < await it.repair() <= 61
        assert (await it.address("10.96.0.7")).status == 200, "its Service may be on its way"
        await it.ask.effects.advance(61)
        await it.repair()
        assert (await it.address("10.96.0.7")).status == 404
        assert (await it.address("10.96.0.6")).status == 200, "what somebody reserved is left alone"
        text = "IPAddress: 10.96.0.7 for Service default/nobody appears to have leaked: cleaning up"
        assert await it.notes() == [("10.96.0.7", "IPAddressNotAllocated", "IPAddressAllocation", text)]

    play(scenario)


def test_an_address_that_was_modified_to_name_no_service_goes() -> None:
    async def scenario(it: Damaged) -> None:
        labels = {"ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"}
        odd = {
            "metadata": {"name": "10.96.0.7", "labels": labels},
            "spec": {"parentRef": {"resource": "pods", "name": "p"}},
        }
        assert (await it.ask("POST", IP_ADDRESSES.path(""), odd)).status == 201
        await it.repair()
        assert (await it.address("10.96.0.7")).status == 404
        ((about, reason, action, text),) = await it.notes()
        assert (about, reason, action) == ("10.96.0.7", "IPAddressNotAllocated", "IPAddressAllocation")
        assert text.startswith("IPAddress 10.96.0.7 appears to have been modified, not referencing a Service {")
        assert text.endswith("}: cleaning up")

    play(scenario)


def test_node_ports_are_put_right() -> None:
    async def scenario(it: Damaged) -> None:
        await it.make("a", type="NodePort", ports=[{"port": 80, "nodePort": 30010}])
        await it.make("b", type="NodePort", ports=[{"port": 80, "nodePort": 30011}])
        await it.write(port_key(30010), None)
        await it.write(port_key(30011), encode_port(Holder("default", "nobody")))
        await it.write(port_key(30012), encode_port(Holder("default", "a")))
        await it.write(port_key(30013), encode_port(Holder("default", "nobody")))
        await it.repair()
        assert [await it.port(number) for number in (30010, 30011, 30012, 30013)] == ["a", "b", "", ""]
        assert await it.notes() == [
            ("a", "PortNotAllocated", "PortAllocation", "Port 30010 is not allocated; repairing"),
            ("b", "PortNotAllocated", "PortAllocation", "Port 30011 is not allocated; repairing"),
        ]
        assert it.ask.server.state.metrics.repairs == {("nodeport", "leak"): 2, ("nodeport", "repair"): 2}
        assert it.ask.server.state.allocator.port_pool.free == 2768 - 2

    play(scenario)


def test_node_ports_used_twice_or_out_of_range_are_said_and_left() -> None:
    async def scenario(it: Damaged) -> None:
        first = await it.make("a", type="NodePort", ports=[{"port": 80, "nodePort": 30010}])
        await it.make("b", type="NodePort", clusterIP="10.96.0.9", ports=[{"port": 80, "nodePort": 30011}])
        ports = [*first["spec"]["ports"], {"name": "x", "port": 81, "protocol": "TCP", "nodePort": 99}]
        spec = {**first["spec"], "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"], "ports": ports}
        await it.change(SERVICES.store_key("default", "b"), spec=spec)
        await it.repair()
        text = "is not within the port range 30000-32767; please recreate service"
        assert await it.notes() == [
            ("b", "PortAlreadyAllocated", "PortAllocation",
             "Port 30010 was assigned to multiple services; please recreate service"),
            ("b", "PortOutOfRange", "PortAllocation", f"Port 99 {text}"),
        ]  # fmt: skip
        assert await it.port(30010) == "a"

    play(scenario)


def test_a_fix_that_rests_on_what_has_changed_is_not_made() -> None:
    async def scenario(it: Damaged) -> None:
        await it.make("a", type="NodePort", ports=[{"port": 80, "nodePort": 30010}])
        await it.write(port_key(30020), encode_port(Holder("default", "a")))

        async def take_it_meanwhile() -> None:
            await it.ask.patch(f"{PATH}/a", {"metadata": {"labels": {"changed": "yes"}}})

        services = [record async for record in _services(it, take_it_meanwhile)]
        assert len(services) == 1
        assert await it.port(30020) == "", "the next round sees the Service as it is"

    async def _services(it: Damaged, meanwhile: Callable[[], Awaitable[None]]) -> Any:
        calls = 0

        async def pause() -> None:
            nonlocal calls
            calls += 1
            if calls == 1:  # the Services were read for their ports
                await meanwhile()

        await it.ports.repair_all(pause)
        assert await it.port(30020) == "a", "the Service has changed since it was read"
        await it.repair()
        yield None

    play(scenario)


def test_the_ranges_of_all_service_cidrs_count() -> None:
    async def scenario(it: Damaged) -> None:
        more = {"metadata": {"name": "more"}, "spec": {"cidrs": ["10.99.0.0/24"]}}
        assert (await it.ask("POST", SERVICE_CIDRS.path(""), more)).status == 201
        await it.make("a", clusterIP="10.99.0.9")
        await it.repair()
        assert await it.notes() == []

    play(scenario)


@pytest.mark.parametrize(("loop", "other"), [("clusterip", "nodeport"), ("nodeport", "clusterip")])
def test_a_pass_that_breaks_is_counted_for_the_loop_that_broke(loop: str, other: str) -> None:
    async def scenario(it: Damaged) -> None:
        async def break_off() -> None:
            raise StoreError("the disk is gone")

        await it.make("a")
        loops = {"clusterip": it.addresses, "nodeport": it.ports}
        with pytest.raises(StoreError):
            await loops[loop].repair_all(break_off)
        page = (await it.ask("GET", "/metrics")).text.decode().splitlines()
        assert f"apiserver_{loop}_repair_reconcile_errors_total 1" in page
        assert f"apiserver_{other}_repair_reconcile_errors_total 0" in page

    play(scenario)


PORTS = [{"port": 80, "nodePort": 30010}]


class HalfBroken(MemoryStore):
    """Refuses what repairs write under one prefix."""

    broken = ""

    async def commit(self, preconditions: Sequence[Precondition], writes: Sequence[Write]) -> tuple[int, ...]:
        if self.broken and any(write.key.startswith(self.broken) for write in writes):
            raise StoreError("the disk is gone")
        return await super().commit(preconditions, writes)


async def is_ready(server: ApiServer) -> bool:
    """As the hook of the repair says."""
    reply = await Conversation(server, ManualEffects())(
        "GET", "/readyz/poststarthook/start-service-ip-repair-controllers"
    )
    return reply.status == 200


def test_a_server_is_ready_when_both_loops_have_looked_at_everything() -> None:
    async def run() -> None:
        server = await open_server(ServerConfig(), MemoryStore())
        try:
            turns = 0
            while not await is_ready(server):
                turns += 1
                assert turns < 1000
        finally:
            await server.close()

    asyncio.run(run())


@pytest.mark.parametrize("broken", [ADDRESS_PREFIX, PORT_PREFIX], ids=["addresses", "node ports"])
def test_what_one_loop_cannot_mend_does_not_keep_the_other_from_mending(broken: str) -> None:
    """The server's own loops: what was damaged before its start is mended in their first pass."""

    async def run() -> None:
        store = HalfBroken()
        server = await open_server(ServerConfig(), store, runs_loops=False)
        await Conversation(server, ManualEffects())(
            "POST", PATH, make_service("a", type="NodePort", clusterIP="10.96.0.9", ports=PORTS)
        )
        await server.close()
        keys = {ADDRESS_PREFIX: address_key("10.96.0.9"), PORT_PREFIX: port_key(30010)}
        for key in keys.values():
            await store.commit([], [Write(key, None)])
        store.broken = broken
        healthy = PORT_PREFIX if broken == ADDRESS_PREFIX else ADDRESS_PREFIX
        mended = asyncio.Event()
        end_watch = store.watch(keys[healthy], store.current_revision, lambda _event: mended.set())
        server = await open_server(ServerConfig(), store)
        try:
            await asyncio.wait_for(mended.wait(), 30)
            assert await store.get(keys[broken]) is None
            assert await store.get(keys[healthy]) is not None
            assert not await is_ready(server), "both must have looked at everything"
        finally:
            end_watch()
            await server.close()

    asyncio.run(run())
