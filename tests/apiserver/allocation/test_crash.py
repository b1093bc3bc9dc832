"""The server dies at every commit of every kind of write, and another one starts over what it left.

Rule: issue 4 ("no leak after a crash at any point"), docs/design/0006: a Service and its numbers are one commit.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from seaway.api.registry import IP_ADDRESSES, SERVICES
from seaway.apiserver.allocation.holdings import PORT_PREFIX, address_keys, port_keys
from seaway.apiserver.builtin.repairs import AddressRepairs, PortRepairs
from seaway.apiserver.config import ServerConfig
from seaway.apiserver.record import decode_object
from seaway.apiserver.run import open_server
from seaway.store.contract import Precondition, Write
from seaway.store.memory import MemoryStore
from seaway.testing.builders import make_service
from tests.apiserver.conversation import SERVICES as PATH
from tests.apiserver.conversation import Conversation, ManualEffects

Json = dict[str, Any]
CONFIG = ServerConfig(service_cidrs=("10.96.0.0/27", "fd10::/123"), node_port_range=(30000, 30011))
FULL: Json = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ipFamilyPolicy": "RequireDualStack"}
PORTS = [{"name": "a", "port": 80}, {"name": "b", "port": 53}, {"name": "c", "port": 53, "protocol": "UDP"}]
EXTERNAL: Json = {"type": "ExternalName", "externalName": "a.b", "clusterIP": "", "clusterIPs": None}


class Killed(BaseException):
    """The process is no more: nothing of the server runs on."""


class MortalStore(MemoryStore):
    """Kills at the commit of the number, before or after it is on disk."""

    def __init__(self) -> None:
        super().__init__()
        self.left: int | None = None
        self.commits_first = False

    async def commit(self, preconditions: Sequence[Precondition], writes: Sequence[Write]) -> tuple[int, ...]:
        if self.left is None:
            return await super().commit(preconditions, writes)
        self.left -= 1
        if self.left > 0:
            return await super().commit(preconditions, writes)
        if self.commits_first:
            await super().commit(preconditions, writes)
        raise Killed


Act = Callable[[Conversation], Awaitable[object]]
ACTS: dict[str, Act] = {
    "create": lambda ask: ask("POST", PATH, make_service("new", ports=PORTS, **FULL)),
    "create many": lambda ask: _each(ask("POST", PATH, make_service(f"n{i}", type="NodePort")) for i in range(3)),
    "patch to ExternalName": lambda ask: ask.patch(f"{PATH}/old", {"spec": EXTERNAL}),
    "patch to ClusterIP": lambda ask: ask.patch(f"{PATH}/old", {"spec": {"type": "ClusterIP"}}),
    "patch of ports": lambda ask: ask.patch(f"{PATH}/old", {"spec": {"ports": [{"name": "z", "port": 9}]}}),
    "patch to one family": lambda ask: ask.patch(f"{PATH}/old", {"spec": {"ipFamilyPolicy": "SingleStack"}}),
    "patch from ExternalName": lambda ask: ask.patch(f"{PATH}/name", {"spec": {"type": "NodePort"}}),
    "replace": lambda ask: ask("PUT", f"{PATH}/old", make_service("old", type="NodePort", ports=PORTS)),
    "delete": lambda ask: ask("DELETE", f"{PATH}/old"),
    "delete of all": lambda ask: ask("DELETE", PATH),
}


async def _each(acts: Any) -> None:
    for act in acts:
        await act


async def _start(store: MemoryStore) -> Conversation:
    effects = ManualEffects()
    return Conversation(await open_server(CONFIG, store, effects=effects, runs_loops=False), effects)


async def _fill(ask: Conversation) -> None:
    for service in (
        make_service("old", ports=PORTS, **FULL),
        make_service("other", type="NodePort"),
        make_service("name", type="ExternalName", externalName="a.b"),
    ):
        reply = await ask("POST", PATH, service)
        assert reply.status == 201, reply.body


async def _check(store: MemoryStore) -> None:
    """What Services say is what is held, by nobody twice; the repair loops agree; all that is free can be had."""
    ask = await _start(store)
    state = ask.server.state
    services = [decode_object(record.body) for record in state.watch_cache.cache(SERVICES).select()]
    wanted = [key for service in services for key in address_keys(service["spec"]) | port_keys(service["spec"])]
    entries = (await store.list(IP_ADDRESSES.store_prefix)).entries + (await store.list(PORT_PREFIX)).entries
    assert sorted(wanted) == sorted(entry.key for entry in entries)
    before = store.current_revision
    await AddressRepairs(state).repair_all(lambda: asyncio.sleep(0))
    await PortRepairs(state).repair_all(lambda: asyncio.sleep(0))
    assert (state.metrics.repairs, store.current_revision) == ({}, before)
    for cidr, pool in state.allocator.ranges.pools:
        used = sum((":" in key) == (":" in cidr) for key in wanted if not key.startswith(PORT_PREFIX))
        assert pool.free + used == pool.size
    for index in range(state.allocator.port_pool.free):
        assert (await ask("POST", PATH, make_service(f"more{index}", type="NodePort"))).status == 201
    refused = await ask("POST", PATH, make_service("last", type="NodePort"))
    assert "failed to allocate a nodePort: range is full" in refused.message
    await ask.server.close()


@pytest.mark.parametrize("commits_first", [False, True], ids=["before the commit", "after the commit"])
@pytest.mark.parametrize("act", [pytest.param(act, id=name) for name, act in ACTS.items()])
def test_killed_at_any_commit_it_leaves_nothing_to_mend(act: Act, commits_first: bool) -> None:
    async def run() -> int:
        for number in itertools.count(1):
            store = MortalStore()
            ask = await _start(store)
            await _fill(ask)
            store.left, store.commits_first = number, commits_first
            try:
                await act(ask)
            except Killed:
                was_killed = True
            else:
                was_killed = False
            store.left = None
            await _check(store)  # the first server is dropped as it is
            if not was_killed:
                return number - 1
        raise AssertionError

    assert asyncio.run(run()) >= 1, "the write commits at least once"
