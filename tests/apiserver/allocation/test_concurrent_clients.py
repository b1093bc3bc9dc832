"""Clients that create, replace, patch and delete Services at once, judged by an oracle that only reads what they got.

Laws: no two Services share what may not be shared; what is held is exactly what the Services say; free plus used is
constant; nobody is refused a number that nobody ever had; a full range is said only when all of it is in use.
Rule: issue 4 (property tests), spec "service-api" §5.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from seaway.api.machinery.addresses import canonical_address
from seaway.api.registry import IP_ADDRESSES, SERVICE_CIDRS
from seaway.apiserver.allocation.holdings import PORT_PREFIX
from seaway.apiserver.allocation.repair import is_covered
from seaway.apiserver.builtin.repairs import AddressRepairs, PortRepairs
from seaway.apiserver.config import ServerConfig
from seaway.store.contract import Precondition, Write
from seaway.store.memory import MemoryStore
from seaway.testing.builders import make_service
from tests.apiserver.conversation import SERVICES as PATH
from tests.apiserver.conversation import Conversation, Reply, talk

Json = dict[str, Any]
CONFIG = ServerConfig(service_cidrs=("10.96.0.0/29", "fd10::/125"), node_port_range=(30000, 30007))
MORE = {"metadata": {"name": "more"}, "spec": {"cidrs": ["10.96.0.4/30", "fd10::/126"]}}
"""Overlaps the first ranges, and adds nothing: an address of two ranges is one address."""
DUAL = {"ipFamilyPolicy": "PreferDualStack"}
DNS = [{"name": "t", "port": 53}, {"name": "u", "port": 53, "protocol": "UDP"}]
SHAPES: tuple[Json, ...] = (
    {},
    {"clusterIP": "10.96.0.5"},
    {"clusterIP": "fd10::3"},
    DUAL,
    {"ipFamilyPolicy": "SingleStack"},
    {"type": "NodePort"},
    {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30003}]},
    {"type": "NodePort", "ports": DNS, **DUAL},
    {"type": "NodePort", "ports": [{"name": "a", "port": 1}, {"name": "b", "port": 2, "nodePort": 30003}]},
    {"type": "LoadBalancer", "externalTrafficPolicy": "Local"},
    {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30004},
    {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False},
    {"type": "ExternalName", "externalName": "a.b"},
    {"clusterIP": "None"},
)
ACTION = st.tuples(
    st.sampled_from(("create", "create", "put", "patch", "delete", "dry run")),
    st.sampled_from("abcde"),
    st.integers(0, len(SHAPES) - 1),
    st.integers(0, 3),
)
CLIENTS = st.lists(st.lists(ACTION, max_size=10), min_size=1, max_size=4)


class SlowStore(MemoryStore):
    """Others have their turn before a commit is judged: so plans grow old on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = 0

    async def commit(self, preconditions: Sequence[Precondition], writes: Sequence[Write]) -> tuple[int, ...]:
        for _ in range(self.turns):
            await asyncio.sleep(0)
        return await super().commit(preconditions, writes)


def numbers_of(service: Json) -> list[str]:
    """What the Service holds, told from the object alone."""
    spec = service["spec"]
    if spec["type"] == "ExternalName":
        return []
    held = {f"ip {canonical_address(ip)}" for ip in spec.get("clusterIPs", ()) if ip != "None"}
    if spec["type"] != "ClusterIP":
        held |= {f"port {port['nodePort']}" for port in spec["ports"] if port.get("nodePort")}
    if spec.get("healthCheckNodePort"):
        held.add(f"port {spec['healthCheckNodePort']}")
    return sorted(held)


class Play:
    def __init__(self, ask: Conversation, store: SlowStore) -> None:
        self.ask = ask
        self.store = store
        self.ever: set[str] = set()
        """Every number that some Service was ever said to have."""

    async def client(self, actions: list[tuple[str, str, int, int]]) -> None:
        for action, name, shape, turns in actions:
            self.store.turns = turns
            reply = await self.act(action, name, SHAPES[shape])
            assert reply.status in (200, 201, 404, 409, 422, 500), reply.body
            if reply.status in (200, 201) and reply.body["kind"] == "Service" and action != "dry run":
                self.ever |= set(numbers_of(reply.body))
            elif reply.status == 500:
                assert "range is full" in reply.message or "already allocated" in reply.message, reply.message

    async def act(self, action: str, name: str, shape: Json) -> Reply:
        body = make_service(name, **shape)
        if action == "create":
            return await self.ask("POST", PATH, body)
        if action == "dry run":
            return await self.ask("POST", f"{PATH}?dryRun=All", body)
        if action == "put":
            return await self.ask("PUT", f"{PATH}/{name}", body)
        if action == "patch":
            return await self.ask.patch(f"{PATH}/{name}", {"spec": shape})
        return await self.ask("DELETE", f"{PATH}/{name}")

    async def check(self) -> None:
        """All is quiet: the Services say what is held, and the server agrees in every way that it can be asked."""
        services = (await self.ask("GET", PATH)).body["items"]
        held = [(number, service["metadata"]["name"]) for service in services for number in numbers_of(service)]
        numbers = [number for number, _ in held]
        assert len(numbers) == len(set(numbers)), f"shared: {held}"
        assert set(numbers) <= self.ever
        addresses = (await self.ask("GET", IP_ADDRESSES.path(""))).body["items"]
        parents = [(f"ip {a['metadata']['name']}", a["spec"]["parentRef"]["name"]) for a in addresses]
        assert sorted(parents) == sorted(pair for pair in held if pair[0].startswith("ip "))
        ports = [f"port {e.key.removeprefix(PORT_PREFIX)}" for e in (await self.store.list(PORT_PREFIX)).entries]
        assert sorted(ports) == sorted(number for number in numbers if number.startswith("port "))
        state = self.ask.server.state
        assert state.allocator.port_pool.free + len(ports) == state.allocator.port_pool.size
        for cidr, pool in state.allocator.ranges.pools:
            inside = [a for a in addresses if is_covered(a["metadata"]["name"], [cidr])]
            assert pool.free + len(inside) == pool.size, cidr
        await AddressRepairs(state).repair_all(lambda: asyncio.sleep(0))
        await PortRepairs(state).repair_all(lambda: asyncio.sleep(0))
        assert state.metrics.repairs == {}
        await self.fill(len(ports))

    async def fill(self, ports_used: int) -> None:
        """All node ports that are free can be had, and then none."""
        self.store.turns = 0
        for index in range(CONFIG.node_port_range[1] - CONFIG.node_port_range[0] + 1 - ports_used):
            reply = await self.ask("POST", PATH, make_service(f"f{index}", type="NodePort"))
            if reply.status == 500 and "serviceIP" in reply.message:
                return
            assert reply.status == 201, reply.body
        reply = await self.ask("POST", PATH, make_service("last", type="NodePort"))
        assert (reply.status, "range is full" in reply.message) == (500, True)


@settings(max_examples=25, deadline=None)
@given(CLIENTS, st.booleans())
def test_no_two_services_share_and_nothing_is_lost(clients: list[list[tuple[str, str, int, int]]], more: bool) -> None:
    store = SlowStore()

    async def conversation(ask: Conversation) -> None:
        play = Play(ask, store)
        if more:
            assert (await ask("POST", SERVICE_CIDRS.path(""), MORE)).status == 201
        await asyncio.gather(*(play.client(actions) for actions in clients))
        await play.check()

    talk(conversation, store=store, config=CONFIG)


@settings(max_examples=25, deadline=None)
@given(st.lists(ACTION, max_size=25))
def test_alone_a_client_is_refused_exactly_what_is_taken(actions: list[tuple[str, str, int, int]]) -> None:
    """The oracle is a set: a number that a create asks for is refused if and only if it is in it."""
    store = SlowStore()

    async def conversation(ask: Conversation) -> None:
        play = Play(ask, store)
        for action, name, shape, _ in actions:
            services = (await ask("GET", PATH)).body["items"]
            taken = {number for service in services for number in numbers_of(service)}
            is_new = all(service["metadata"]["name"] != name for service in services)
            reply = await play.act(action, name, SHAPES[shape])
            if action in ("create", "dry run") and is_new:
                asked = _asked(SHAPES[shape])
                assert (reply.status == 422) == bool(asked & taken), reply.body
                if reply.status == 201:
                    assert asked <= set(numbers_of(reply.body))
                    assert not set(numbers_of(reply.body)) & taken
                if reply.status == 500 and "serviceIP" in reply.message:
                    assert sum(number.startswith("ip ") for number in taken) >= 6
            play.ever |= set(numbers_of(reply.body)) if reply.body.get("kind") == "Service" else set()
        await play.check()

    talk(conversation, store=store, config=CONFIG)


def _asked(shape: Json) -> set[str]:
    """What is refused with 422 when taken; a health-check port is a 500."""
    asked = {f"port {port['nodePort']}" for port in shape.get("ports", ()) if port.get("nodePort")}
    address = shape.get("clusterIP", "None")
    return asked | ({f"ip {address}"} if address != "None" else set())
