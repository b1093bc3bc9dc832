"""Clients that write at once in a namespace whose quota comes and changes meanwhile, judged commit by commit.

Law: after every commit the numbers of a counted quota are what an oracle counts in the store; no commit takes them
above the limit; and nobody is refused for want of something that nobody had.
Rule: spec "service-api" §3.6; docs/design/0012.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from seaway.apiserver.run import ServerConfig, open_server
from seaway.store.contract import Event, Precondition, Write
from seaway.store.memory import MemoryStore
from seaway.testing.builders import make_pod, make_service
from tests.apiserver.conversation import Conversation, Reply, talk

Json = dict[str, Any]
HOME = "/api/v1/namespaces/default"
PREFIXES = {"pods": "/registry/core/pods/default/", "services": "/registry/core/services/default/"}
QUOTA_PREFIX = "/registry/core/resourcequotas/default/"
NAMES = ("count/pods", "requests.cpu", "services", "services.nodeports")
SHAPES: tuple[tuple[str, Json], ...] = (
    ("services", {}),
    ("services", {"type": "NodePort"}),
    ("services", {"type": "NodePort", "ports": [{"name": "a", "port": 1}, {"name": "b", "port": 2}]}),
    ("services", {"type": "ExternalName", "externalName": "a.b"}),
    ("pods", {"cpu": "250m"}),
    ("pods", {"cpu": "1"}),
)
ACTION = st.tuples(
    st.sampled_from(("create", "create", "create", "put", "delete", "status", "quota", "no quota")),
    st.sampled_from("abcd"),
    st.sampled_from(SHAPES),
    st.integers(0, 3),
)
CLIENTS = st.lists(st.lists(ACTION, max_size=8), min_size=1, max_size=5)


class SlowStore(MemoryStore):
    """Commits take time, so that plans grow old on the way; they are judged in the order in which they came."""

    async def commit(self, preconditions: Sequence[Precondition], writes: Sequence[Write]) -> tuple[int, ...]:
        for _ in range(3):
            await asyncio.sleep(0)
        return await super().commit(preconditions, writes)


def count(kind: str, obj: Json) -> dict[str, int]:
    """In whole things and thousandths of a core, told from the object alone."""
    if kind == "services":
        ports = [p for p in obj["spec"].get("ports", ()) if obj["spec"]["type"] == "NodePort"]
        return {"services": 1, "services.nodeports": len(ports)}
    ended = obj["status"]["phase"] in ("Succeeded", "Failed")
    cpu = obj["spec"]["containers"][0]["resources"]["requests"]["cpu"]
    return {"count/pods": 1, "requests.cpu": 0 if ended else number(cpu)}


def number(text: str) -> int:
    if text.endswith("m"):
        return int(text[:-1])
    return int(text) * 1000


class Referee:
    """Looks at the store after every commit."""

    def __init__(self) -> None:
        self.held: dict[str, dict[str, int]] = {}
        self.quotas: dict[str, Json] = {}
        self.errors: list[str] = []

    def total(self) -> dict[str, int]:
        return {name: sum(held.get(name, 0) for held in self.held.values()) for name in NAMES}

    def observe(self, events: Sequence[Event]) -> None:
        before = self.total()
        grown = self.counted()
        for event in events:
            obj = None if event.value is None else json.loads(event.value)
            if event.key.startswith(QUOTA_PREFIX):
                self.quotas.pop(event.key, None)
                if obj is not None:
                    self.quotas[event.key] = obj
            for kind, prefix in PREFIXES.items():
                if event.key.startswith(prefix):
                    self.held.pop(event.key, None)
                    if obj is not None:
                        self.held[event.key] = count(kind, obj)
        self.judge(before, grown)

    def counted(self) -> dict[str, Json]:
        return {
            key: quota
            for key, quota in self.quotas.items()
            if (status := quota.get("status") or {}).get("hard") == quota["spec"]["hard"] and status.get("used")
        }

    def judge(self, before: dict[str, int], were: dict[str, Json]) -> None:
        now = self.total()
        for key, quota in self.counted().items():
            for name, limit in quota["spec"]["hard"].items():
                told, true, most = quota["status"]["used"][name], now[name], number(limit)
                scale = 1 if name == "requests.cpu" else 1000
                if number(told) != true * scale:
                    self.errors.append(f"{name}: {told} told, {true} in the store")
                if key in were and true > before[name] and true * scale > most:
                    self.errors.append(f"{name}: {true} of {limit}")


async def act(ask: Conversation, action: str, name: str, shape: tuple[str, Json], amount: int) -> Reply:
    kind, spec = shape
    path = f"{HOME}/{kind}"
    if action in ("quota", "no quota"):
        quotas = f"{HOME}/resourcequotas"
        if action == "no quota":
            return await ask("DELETE", f"{quotas}/{name}")
        names = NAMES[: amount + 1] if name in "ab" else NAMES[amount:]
        quota = {"metadata": {"name": name}, "spec": {"hard": {n: str(amount + 1) for n in names}}}
        reply = await ask("POST", quotas, quota)
        return reply if reply.status != 409 else await ask("PUT", f"{quotas}/{name}", quota)
    if action == "delete":
        return await ask("DELETE", f"{path}/{name}")
    if action == "status":
        return await ask.patch(f"{HOME}/pods/{name}/status", {"status": {"phase": "Succeeded"}})
    if kind == "services":
        body = make_service(name, **spec)
    else:
        body = make_pod(name, containers=[{"name": "c", "image": "i", "resources": {"requests": spec}}])
    if action == "put":
        return await ask("PUT", f"{path}/{name}", body)
    return await ask("POST", path, body)


async def play(ask: Conversation, actions: list[Any], referee: Referee) -> None:
    for action in actions:
        reply = await act(ask, *action)
        assert reply.status in (200, 201, 403, 404, 409, 422), reply.body
        if reply.status == 403:
            assert "exceeded quota" in reply.message, reply.message
        assert not referee.errors


@settings(max_examples=60, deadline=None)
@given(CLIENTS)
def test_no_commit_exceeds_a_quota_and_the_numbers_are_right_after_each(clients: list[list[Any]]) -> None:
    store, referee = SlowStore(), Referee()

    async def conversation(ask: Conversation) -> None:
        store.watch("/registry/", 0, referee.observe)
        await asyncio.gather(*(play(ask, actions, referee) for actions in clients))
        assert not referee.errors
        book = ask.server.state.quotas
        async with book.turn_to_count("default"):
            pass
        referee.judge(referee.total(), {})
        assert not referee.errors
        assert len(referee.counted()) == len(referee.quotas)
        revision = store.current_revision
        await book.recount("default")
        assert store.current_revision == revision, "a recount found something to mend"

    talk(conversation, store=store)


def test_fifty_writers_at_once_take_exactly_what_there_is() -> None:
    store, referee = SlowStore(), Referee()

    async def conversation(ask: Conversation) -> None:
        store.watch("/registry/", 0, referee.observe)
        hard = {"services": "20"}
        await ask("POST", f"{HOME}/resourcequotas", {"metadata": {"name": "q"}, "spec": {"hard": hard}})
        there = len((await ask("GET", f"{HOME}/services")).body["items"])
        made = await asyncio.gather(*(ask("POST", f"{HOME}/services", make_service(f"s{i}")) for i in range(50)))
        assert [reply.status for reply in made].count(201) == 20 - there
        assert [reply.status for reply in made].count(403) == 30 + there
        gone = await asyncio.gather(*(ask("DELETE", f"{HOME}/services/s{i}") for i in range(50)))
        assert [reply.status for reply in gone].count(200) == 20 - there
        assert not referee.errors
        quota = (await ask("GET", f"{HOME}/resourcequotas/q")).body
        assert quota["status"]["used"] == {"services": str(there)}

    talk(conversation, store=store)


def test_what_was_on_its_way_when_the_quota_came_is_counted() -> None:
    """Without the step between, the first count would miss the Service whose commit was already under way."""
    store, referee = SlowStore(), Referee()

    async def conversation(ask: Conversation) -> None:
        store.watch("/registry/", 0, referee.observe)
        quota = {"metadata": {"name": "q"}, "spec": {"hard": {"services": "1"}}}
        replies = await asyncio.gather(
            ask("POST", f"{HOME}/resourcequotas", quota),
            *(ask("POST", f"{HOME}/services", make_service(f"s{i}")) for i in range(3)),
        )
        assert [reply.status for reply in replies] == [201] * 4
        assert (await ask("POST", f"{HOME}/services", make_service("x"))).status == 403
        assert not referee.errors

    talk(conversation, store=store)


def test_two_servers_of_one_store_take_no_more_than_there_is() -> None:
    """Turns are a server's own; what holds between servers is that a commit needs the quota as it was judged."""
    store, referee = SlowStore(), Referee()

    async def conversation(ask: Conversation) -> None:
        store.watch("/registry/", 0, referee.observe)
        server = await open_server(ServerConfig(), store, effects=ask.effects, runs_loops=False)
        both = (ask, Conversation(server, ask.effects))
        await ask("POST", f"{HOME}/resourcequotas", {"metadata": {"name": "q"}, "spec": {"hard": {"services": "9"}}})
        there = len((await ask("GET", f"{HOME}/services")).body["items"])
        made = await asyncio.gather(
            *(both[i % 2]("POST", f"{HOME}/services", make_service(f"s{i}", clusterIP="None")) for i in range(30))
        )
        await server.close()
        assert [reply.status for reply in made].count(201) == 9 - there
        assert not referee.errors

    talk(conversation, store=store)
