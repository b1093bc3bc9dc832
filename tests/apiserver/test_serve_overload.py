"""A greedy client does not starve a polite one: real sockets, bounded counts. Rule: spec "api-machinery" §11."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import aiohttp
import pytest
import uvloop

from seaway.api.machinery.http import Request
from seaway.apiserver.observability.audit import AuditTrail, Level, Policy, Rule
from seaway.apiserver.overload.fairness import Phase
from seaway.apiserver.run import ServerConfig
from seaway.store.contract import Precondition, Write
from seaway.store.memory import MemoryStore
from seaway.testing.builders import make_service
from tests.apiserver.conversation import ADMIN, CONFIG_MAPS, NOON, SERVICES
from tests.apiserver.running import CLUSTER_ADMINS, WAIT_SECONDS, Running, running

GREEDY_CONNECTIONS = 500
POLITE_REQUESTS = 20
BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"


async def prepare(server: Running) -> None:
    async with server.session(token="good") as session:
        for path, obj in ((BINDINGS, CLUSTER_ADMINS), (SERVICES, make_service())):
            async with session.post(f"{server.url}{path}", json=obj) as answer:
                assert answer.status == 201


def test_five_hundred_greedy_connections_do_not_starve_a_polite_client(tmp_path: Path) -> None:
    """While a polite client asks a few times, a greedy one gets some turns for each, not 500."""

    async def conversation(server: Running) -> None:
        await prepare(server)
        counts = {"greedy": 0, "polite": 0}
        is_over = asyncio.Event()
        warm = asyncio.Event()

        async def be_greedy(session: aiohttp.ClientSession) -> None:
            while not is_over.is_set():
                async with session.get(f"{server.url}{SERVICES}/web") as answer:
                    assert answer.status == 200
                counts["greedy"] += 1
                if counts["greedy"] >= GREEDY_CONNECTIONS:
                    warm.set()

        async with (
            server.session(token="greedy", connections=GREEDY_CONNECTIONS) as greedy,
            server.session(token="polite") as polite,
        ):
            tasks = [asyncio.ensure_future(be_greedy(greedy)) for _ in range(GREEDY_CONNECTIONS)]
            await asyncio.wait_for(warm.wait(), WAIT_SECONDS)
            async with polite.get(f"{server.url}{SERVICES}/web") as answer:
                assert answer.status == 200
            before = counts["greedy"]
            for _ in range(POLITE_REQUESTS):
                async with polite.get(f"{server.url}{SERVICES}/web") as answer:
                    assert answer.status == 200
                counts["polite"] += 1
            got = counts["greedy"] - before
            async with polite.get(f"{server.url}/readyz") as answer:
                assert answer.status == 200
            is_over.set()
            await asyncio.gather(*tasks)
        # First come, first served would give it up to 500 for each. The client's own loop takes its share of the
        # delay here too: it reads what 500 connections answer.
        assert got < POLITE_REQUESTS * GREEDY_CONNECTIONS / 3, got
        assert server.server.gates["readOnly"].dispatched > GREEDY_CONNECTIONS
        assert server.server.backlog == 0

    running(tmp_path, conversation, loop_factory=uvloop.new_event_loop)


class HeldStore(MemoryStore):
    """A store whose commits wait until the test lets them go."""

    def __init__(self) -> None:
        super().__init__()
        self.is_open = asyncio.Event()
        self.is_open.set()

    async def commit(self, preconditions: list[Precondition], writes: list[Write]) -> tuple[int, ...]:  # type: ignore[override]
        await self.is_open.wait()
        return await super().commit(preconditions, writes)


def test_writes_queue_by_client_and_probes_masters_and_watches_pass(tmp_path: Path) -> None:
    store = HeldStore()

    async def conversation(server: Running) -> None:
        await prepare(server)
        store.is_open.clear()
        order: list[str] = []

        async def write(session: aiohttp.ClientSession, user: str, index: int) -> int:
            obj = {"metadata": {"name": f"{user}-{index}"}}
            async with session.post(f"{server.url}{CONFIG_MAPS}", json=obj) as answer:
                order.append(user)
                assert answer.status in (201, 429), await answer.text()
                if answer.status == 429:
                    assert answer.headers["Retry-After"] == "1"
                    assert await answer.text() == "Too many requests, please try again later.\n"
                return answer.status

        gate = server.server.gates["mutating"]
        async with (
            server.session(token="greedy") as greedy,
            server.session(token="polite") as polite,
            server.session(token="good") as master,
        ):
            tasks = [asyncio.ensure_future(write(greedy, "greedy", index)) for index in range(9)]
            await server.until(lambda: gate.queue.waiting == 4 and gate.refused[Phase.FULL] == 3)
            last = asyncio.ensure_future(write(polite, "polite", 0))
            await server.until(lambda: gate.refused[Phase.FULL] == 4)
            for path in ("/healthz", "/livez", "/readyz", "/readyz/ping"):
                async with master.get(f"{server.url}{path}") as answer:
                    assert answer.status == 200
            async with polite.get(f"{server.url}{CONFIG_MAPS}?watch=1") as watch:
                assert watch.status == 200
            passing = asyncio.ensure_future(write(master, "master", 0))
            await server.until(lambda: server.server.metrics.in_flight["mutating"] == 3)
            store.is_open.set()
            codes = await asyncio.gather(*tasks)
            assert (codes.count(201), codes.count(429)) == (5, 4)
            assert await last == 201, "there is room for another client though the greedy one filled the queue"
            assert await passing == 201

    config = ServerConfig(max_writes_in_flight=2)
    running(tmp_path, conversation, store=store, config=config)


def test_health_is_answered_while_every_seat_and_every_place_is_taken(tmp_path: Path) -> None:
    async def conversation(server: Running) -> None:
        async with server.session() as nobody:
            for path in ("/healthz", "/livez", "/readyz"):
                async with nobody.get(f"{server.url}{path}") as answer:
                    assert (answer.status, await answer.text()) == (200, "ok")
            async with nobody.get(f"{server.url}/version") as answer:
                assert answer.status == 429

    running(tmp_path, conversation, config=ServerConfig(max_reads_in_flight=0))


@pytest.mark.parametrize("timeout", ["50ms", "1ns"])
def test_a_write_that_takes_too_long_is_told_so_and_goes_on(tmp_path: Path, timeout: str) -> None:
    store = HeldStore()

    async def conversation(server: Running) -> None:
        store.is_open.clear()
        async with server.session(token="good") as session:
            obj = {"metadata": {"name": "late"}}
            async with session.post(f"{server.url}{CONFIG_MAPS}?timeout={timeout}", json=obj) as answer:
                body = await answer.json()
                assert (answer.status, body["reason"], body["code"]) == (504, "Timeout", 504)
                text = "Timeout: request did not complete within requested timeout - context deadline exceeded"
                assert body["message"] == text and answer.headers["Audit-Id"]
            store.is_open.set()
            await server.until(lambda: not server.server.metrics.in_flight["mutating"])
            async with session.get(f"{server.url}{CONFIG_MAPS}/late") as answer:
                assert answer.status == 200
        metrics = await server.server.handle(Request("GET", "/metrics"), ADMIN)
        assert isinstance(metrics.body, bytes)
        assert b'apiserver_request_terminations_total{verb="POST",group="",version="v1"' in metrics.body

    running(tmp_path, conversation, store=store)


class AuditLog:
    """What was written of requests for Services."""

    def __init__(self, server: Running) -> None:
        self._lines: list[bytes] = []
        policy = Policy((Rule(level=Level.METADATA, resources=(("", "services", frozenset()),)),))
        server.server.audit = AuditTrail(policy, self._write, lambda: NOON)

    def _write(self, line: bytes) -> bool:
        self._lines.append(line)
        return True

    def stages(self) -> list[tuple[str, str, int | None]]:
        events = [json.loads(line) for line in self._lines]
        return [(e["auditID"], e["stage"], (e.get("responseStatus") or {}).get("code")) for e in events]


@pytest.mark.parametrize("query", ["resourceVersion=99999&resourceVersionMatch=NotOlderThan", ""],
                         ids=["while it waits for memory", "while it waits for its turn"])  # fmt: skip
def test_a_read_whose_client_has_gone_is_counted_and_audited_once(tmp_path: Path, query: str) -> None:
    async def conversation(server: Running) -> None:
        log, metrics = AuditLog(server), server.server.metrics
        gate = server.server.gates["readOnly"]
        async with server.session(token="good" if query else "polite") as session:  # masters do not queue
            held = None if query else gate.enter("another", 0.0)
            asked = asyncio.ensure_future(session.get(f"{server.url}{SERVICES}?limit=1&{query}"))
            await server.until(lambda: len(log.stages()) == 1)
            asked.cancel()
            await server.until(lambda: len(log.stages()) == 2)
        (first, begin, _), (second, end, code) = log.stages()
        assert first == second and (begin, end, code) == ("RequestReceived", "ResponseComplete", 504)
        (cell,) = (cell for cell in metrics.cells if cell.labels.resource == "services")
        assert (cell.codes, cell.terminated, metrics.in_flight["readOnly"]) == ({504: 1}, {504: 1}, 0)
        if held is not None:
            gate.leave(held)
        assert (gate.queue.running, gate.queue.waiting) == (0, 0)

    running(tmp_path, conversation, config=ServerConfig(max_reads_in_flight=1))


def test_a_write_whose_client_has_gone_is_counted_and_audited_when_it_is_done(tmp_path: Path) -> None:
    store = HeldStore()

    async def conversation(server: Running) -> None:
        log, metrics = AuditLog(server), server.server.metrics
        store.is_open.clear()
        async with server.session(token="good") as session:
            asked = asyncio.ensure_future(session.post(f"{server.url}{SERVICES}", json=make_service("late")))
            await server.until(lambda: metrics.in_flight["mutating"] == 1)
            asked.cancel()
            await server.until(lambda: not any(metrics.connections.values()))
            store.is_open.set()
            await server.until(lambda: len(log.stages()) == 2)
        assert [stage[1:] for stage in log.stages()] == [("RequestReceived", None), ("ResponseComplete", 201)]
        (cell,) = (cell for cell in metrics.cells if cell.labels.resource == "services")
        assert (cell.codes, cell.terminated) == ({201: 1}, {})

    running(tmp_path, conversation, store=store)


def test_a_read_that_takes_too_long_is_told_so(tmp_path: Path) -> None:
    async def conversation(server: Running) -> None:
        log = AuditLog(server)
        async with server.session(token="good") as session:
            target = f"{server.url}{SERVICES}?timeout=50ms&resourceVersion=99999&resourceVersionMatch=NotOlderThan"
            async with session.get(target) as answer:
                body = await answer.json()
                assert answer.status == 504
                assert body["message"] == "Timeout: request did not complete within the allotted timeout"
                audit_id = answer.headers["Audit-Id"]
            assert log.stages() == [(audit_id, "RequestReceived", None), (audit_id, "ResponseComplete", 504)]
            async with session.get(f"{server.url}{SERVICES}?timeout=soon") as answer:
                body = await answer.json()
                assert (answer.status, body["reason"]) == (400, "BadRequest")

    running(tmp_path, conversation)
