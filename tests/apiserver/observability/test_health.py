"""Health checks. Rule: spec "api-machinery" §11."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from seaway.api.machinery.http import ANONYMOUS, Request
from seaway.apiserver.observability.health import answer_health, is_health_path
from seaway.store.contract import Entry, StoreError
from seaway.store.memory import Deliver, MemoryStore
from tests.apiserver.conversation import CONFIG_MAPS, Conversation, talk

READY = (
    b"[+]ping ok\n[+]log ok\n[+]etcd ok\n[+]informer-sync ok\n[+]poststarthook/rbac/bootstrap-roles ok\n"
    b"[+]shutdown ok\nreadyz check passed\n"
)
LIVE = b"[+]ping ok\n[+]log ok\n[+]etcd ok\n[+]poststarthook/rbac/bootstrap-roles ok\nlivez check passed\n"


class FailingStore(MemoryStore):
    """A store that can be told not to answer."""

    failure: Exception | None = None

    async def get(self, key: str, revision: int = 0) -> Entry | None:
        if self.failure is not None:
            raise self.failure
        return await super().get(key, revision)


@pytest.mark.parametrize(
    ("target", "body"),
    [
        pytest.param("/readyz?verbose", READY, id="readiness has all checks"),
        pytest.param("/livez?verbose", LIVE, id="liveness has no check that says not yet or no longer"),
        pytest.param("/healthz?verbose", LIVE.replace(b"livez", b"healthz"), id="the old name is the same"),
        pytest.param("/readyz", b"ok", id="one word when all is well"),
        pytest.param("/readyz?verbose=false", b"ok", id="verbose may be false"),
        pytest.param("/readyz/etcd", b"ok", id="one check by name"),
        pytest.param("/livez/poststarthook/rbac/bootstrap-roles", b"ok", id="a name may have slashes"),
        pytest.param(
            "/livez?verbose&exclude=etcd",
            LIVE.replace(b"[+]etcd ok", b"[+]etcd excluded: ok"),
            id="an excluded check is said to be",
        ),
        pytest.param(
            "/livez?verbose&exclude=strange",
            LIVE.replace(
                b"livez check", b'warn: some health checks cannot be excluded: no matches for "strange"\nlivez check'
            ),
            id="an unknown exclusion is a warning",
        ),
    ],
)
def test_what_a_healthy_server_answers(target: str, body: bytes) -> None:
    async def conversation(ask: Conversation) -> None:
        answer = await ask("GET", target)
        assert (answer.status, answer.text) == (200, body)
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"

    talk(conversation)


@pytest.mark.parametrize("target", ["/readyz/none", "/livez/shutdown", "/livez/informer-sync", "/healthzz"])
def test_a_check_that_does_not_exist_is_not_found(target: str) -> None:
    async def conversation(ask: Conversation) -> None:
        assert (await ask("GET", target)).status == 404

    talk(conversation)


def test_a_store_that_does_not_answer_fails_the_etcd_check_and_nobody_outside_learns_why() -> None:
    store = FailingStore()

    async def conversation(ask: Conversation) -> None:
        store.failure = StoreError("disk is on fire")
        for root in ("/healthz", "/livez", "/readyz"):
            answer = await ask("GET", root)
            assert answer.status == 500 and b"[-]etcd failed: reason withheld\n" in answer.text
            assert answer.text.endswith(f"{root[1:]} check failed\n".encode())
            assert b"fire" not in answer.text
            assert (await ask("GET", f"{root}?exclude=etcd")).status == 200
        single = await ask("GET", "/livez/etcd")
        assert (single.status, single.text) == (500, b"internal server error: reason withheld\n")
        assert (await ask("GET", "/livez/ping")).status == 200
        text = (await ask("GET", "/metrics")).text
        assert b'seaway_apiserver_store_request_errors_total{operation="get"}' in text
        store.failure = None
        assert (await ask("GET", "/readyz")).status == 200

    talk(conversation, store=store)


def test_a_store_that_hangs_fails_the_check_after_two_seconds() -> None:
    import asyncio

    class HangingStore(MemoryStore):
        hangs = False

        async def get(self, key: str, revision: int = 0) -> Entry | None:
            if self.hangs:
                await asyncio.get_running_loop().create_future()
            return await super().get(key, revision)

    store = HangingStore()

    async def conversation(ask: Conversation) -> None:
        store.hangs = True
        asked = asyncio.ensure_future(ask("GET", "/livez"))
        for _ in range(3):
            await asyncio.sleep(0)
        assert not asked.done()
        await ask.effects.advance(2)
        assert (await asked).status == 500

    talk(conversation, store=store)


def test_a_write_that_is_on_its_way_is_no_lack_of_readiness() -> None:
    import asyncio

    class LateStore(MemoryStore):
        def watch(self, prefix: str, after_revision: int, deliver: Deliver) -> Callable[[], None]:
            loop = asyncio.get_running_loop()
            return super().watch(prefix, after_revision, lambda events: loop.call_soon(deliver, events) and None)

    async def conversation(ask: Conversation) -> None:
        write = ask("POST", CONFIG_MAPS, {"metadata": {"name": "a"}})
        made, ready = await asyncio.gather(write, ask("GET", "/readyz?verbose"))
        assert (made.status, ready.status) == (201, 200), ready.text

    talk(conversation, store=LateStore())


def test_readiness_fails_once_the_server_stops_and_liveness_does_not() -> None:
    async def conversation(ask: Conversation) -> None:
        ask.server.stop_accepting()
        answer = await ask("GET", "/readyz")
        assert answer.status == 500 and b"[-]shutdown failed: reason withheld\nreadyz check failed\n" in answer.text
        assert (await ask("GET", "/livez")).status == 200

    talk(conversation)


def test_anybody_may_read_the_three_roots_and_nothing_below() -> None:
    async def conversation(ask: Conversation) -> None:
        for root in ("/healthz", "/livez", "/readyz"):
            assert (await ask("GET", root, identity=ANONYMOUS)).status == 200
            assert (await ask("GET", f"{root}?verbose", identity=ANONYMOUS)).status == 200
            single = await ask("GET", f"{root}/ping", identity=ANONYMOUS)
            assert single.status == 403
        assert (await ask("GET", "/metrics", identity=ANONYMOUS)).status == 403

    talk(conversation)


def test_a_loop_that_has_ended_fails_its_hook() -> None:
    checks = {"ping": None, "poststarthook/start-compaction": "it has ended"}
    answer = answer_health(Request("GET", "/livez"), "/livez", checks)
    assert answer is not None and answer.status == 500
    assert b"[-]poststarthook/start-compaction failed: reason withheld\n" in bytes(answer.body)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "is_health"),
    [("/healthz", True), ("/readyz/ping", True), ("/healthzz", False), ("/api/v1", False), ("/livez/", True)],
)
def test_which_paths_are_health_checks(path: str, is_health: bool) -> None:
    assert is_health_path(path) is is_health
