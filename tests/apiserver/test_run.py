"""A server over a real store: what it makes for itself, restarts, and writers that race."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from seaway.apiserver.builtin.expiry import find_expired
from seaway.apiserver.handler import ApiServer
from seaway.apiserver.run import ServerConfig, _expire_events, _keep_kubernetes_service, _keep_namespaces, open_server
from seaway.store.contract import Store
from seaway.store.memory import MemoryStore
from seaway.store.sqlite import open_sqlite
from seaway.testing.builders import make_service
from tests.apiserver.conversation import CONFIG_MAPS, SERVICES, Conversation, ManualEffects, talk

Json = dict[str, Any]
ADVERTISED = ServerConfig(advertise_address="10.1.2.3", secure_port=6443)


def test_the_first_start_makes_what_every_cluster_has() -> None:
    async def conversation(ask: Conversation) -> None:
        namespaces = (await ask("GET", "/api/v1/namespaces")).body["items"]
        assert [item["metadata"]["name"] for item in namespaces] == [
            "default", "kube-node-lease", "kube-public", "kube-system",
        ]  # fmt: skip
        role = (await ask("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/cluster-admin")).body
        assert role["metadata"]["labels"] == {"kubernetes.io/bootstrapping": "rbac-defaults"}

    talk(conversation)


def test_the_kubernetes_service_points_to_the_server_and_comes_back() -> None:
    async def conversation(ask: Conversation) -> None:
        service = (await ask("GET", f"{SERVICES}/kubernetes")).body
        assert service["spec"]["clusterIP"] == "10.96.0.1"
        assert service["spec"]["ports"] == [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}]
        assert service["metadata"]["labels"] == {"component": "apiserver", "provider": "kubernetes"}
        slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"
        first = (await ask("GET", slices)).body
        assert first["endpoints"] == [{"addresses": ["10.1.2.3"], "conditions": {"ready": True}}]
        assert first["metadata"]["labels"] == {"kubernetes.io/service-name": "kubernetes"}
        state = ask.server.state
        before = state.watch_cache.revision
        await _keep_kubernetes_service(state)
        assert state.watch_cache.revision == before, "what is right is left alone"
        await ask("DELETE", f"{SERVICES}/kubernetes")
        await ask.patch(slices, {"endpoints": [{"addresses": ["10.9.9.9"]}]})
        await _keep_kubernetes_service(state)
        assert (await ask("GET", f"{SERVICES}/kubernetes")).body["spec"]["clusterIP"] == "10.96.0.1"
        assert (await ask("GET", slices)).body["endpoints"] == first["endpoints"]

    talk(conversation, config=ADVERTISED)


def test_a_system_namespace_that_is_gone_is_made_again() -> None:
    async def conversation(ask: Conversation) -> None:
        lease = (await ask("DELETE", "/api/v1/namespaces/kube-node-lease")).body
        lease["spec"]["finalizers"] = []
        await ask("PUT", "/api/v1/namespaces/kube-node-lease/finalize", lease)
        assert (await ask("GET", "/api/v1/namespaces/kube-node-lease")).status == 404
        await _keep_namespaces(ask.server.state)
        assert (await ask("GET", "/api/v1/namespaces/kube-node-lease")).status == 200

    talk(conversation)


def test_events_go_an_hour_after_their_last_sign_of_life() -> None:
    events = "/api/v1/namespaces/default/events"

    def event(name: str, last: str) -> Json:
        involved = {"kind": "Pod", "name": "p", "namespace": "default"}
        return {"metadata": {"name": name}, "involvedObject": involved, "lastTimestamp": last, "reason": "R"}

    async def conversation(ask: Conversation) -> None:
        for name, last in (("old", "2026-01-02T12:00:00Z"), ("seen-again", "2026-01-02T12:30:00Z")):
            assert (await ask("POST", events, event(name, last))).status == 201
        await ask.effects.advance(3601)
        await _expire_events(ask.server.state)
        assert [item["metadata"]["name"] for item in (await ask("GET", events)).body["items"]] == ["seen-again"]

    talk(conversation)
    assert find_expired([], ManualEffects().wall_now()) == []


def on_sqlite(path: Path, *conversations: Callable[[Conversation], Awaitable[None]]) -> None:
    """Each conversation with a new server process, so to say, over the same file."""

    async def run(conversation: Callable[[Conversation], Awaitable[None]]) -> None:
        store: Store = await open_sqlite(path)
        effects = ManualEffects()
        server: ApiServer = await open_server(ServerConfig(), store, effects=effects, runs_loops=False)
        try:
            await conversation(Conversation(server, effects))
        finally:
            await server.close()
            await store.close()

    for conversation in conversations:
        asyncio.run(run(conversation))


def test_racing_creates_never_share_an_address_or_a_port(tmp_path: Path) -> None:
    async def conversation(ask: Conversation) -> None:
        bodies = [make_service(f"s{index}", type="NodePort") for index in range(50)]
        answers = await asyncio.gather(*(ask("POST", SERVICES, body) for body in bodies))
        assert {answer.status for answer in answers} == {201}
        assert len({answer.body["spec"]["clusterIP"] for answer in answers}) == 50
        assert len({answer.body["spec"]["ports"][0]["nodePort"] for answer in answers}) == 50
        addresses = (await ask("GET", "/apis/networking.k8s.io/v1/ipaddresses")).body["items"]
        assert len(addresses) == 50

    on_sqlite(tmp_path / "db", conversation)


def test_of_racing_creates_of_one_address_or_name_one_wins(tmp_path: Path) -> None:
    async def conversation(ask: Conversation) -> None:
        bodies = [make_service(f"s{index}", clusterIP="10.96.0.50") for index in range(8)]
        codes = [answer.status for answer in await asyncio.gather(*(ask("POST", SERVICES, body) for body in bodies))]
        assert sorted(codes) == [201] + [422] * 7
        codes = [a.status for a in await asyncio.gather(*(ask("POST", SERVICES, make_service("x")) for _ in range(8)))]
        assert sorted(codes) == [201] + [409] * 7
        addresses = (await ask("GET", "/apis/networking.k8s.io/v1/ipaddresses")).body["items"]
        assert len(addresses) == 2, "nothing is left of those who lost"

    on_sqlite(tmp_path / "db", conversation)


def test_racing_patches_all_count(tmp_path: Path) -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", CONFIG_MAPS, {"metadata": {"name": "a"}})
        patches = [{"data": {f"k{index}": "v"}} for index in range(20)]
        answers = await asyncio.gather(*(ask.patch(f"{CONFIG_MAPS}/a", patch) for patch in patches))
        assert {answer.status for answer in answers} == {200}
        assert len((await ask("GET", f"{CONFIG_MAPS}/a")).body["data"]) == 20

    on_sqlite(tmp_path / "db", conversation)


def test_a_restart_knows_everything_and_watches_resume(tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    async def before(ask: Conversation) -> None:
        seen["first"] = (await ask("POST", SERVICES, make_service(type="NodePort"))).body
        seen["second"] = (await ask("POST", CONFIG_MAPS, {"metadata": {"name": "a"}})).body
        await ask.patch(f"{CONFIG_MAPS}/a", {"data": {"k": "v"}})
        await ask("DELETE", f"{CONFIG_MAPS}/a")
        seen["revision"] = ask.server.state.watch_cache.revision

    async def after(ask: Conversation) -> None:
        assert ask.server.state.watch_cache.revision == seen["revision"], "a second start writes nothing"
        assert (await ask("GET", f"{SERVICES}/web")).body == seen["first"]
        watch = await ask.watch(f"{CONFIG_MAPS}?resourceVersion={seen['second']['metadata']['resourceVersion']}")
        assert await watch.names() == [("MODIFIED", "a"), ("DELETED", "a")]
        port = seen["first"]["spec"]["ports"][0]["nodePort"]
        taken = await ask("POST", SERVICES, make_service("x", type="NodePort", ports=[{"port": 80, "nodePort": port}]))
        assert taken.status == 422 and "provided port is already allocated" in taken.message

    on_sqlite(tmp_path / "db", before, after)


def test_a_closed_server_leaves_the_store_open() -> None:
    async def run() -> None:
        store = MemoryStore()
        server = await open_server(ServerConfig(), store)
        await server.close()
        await server.close()
        assert await store.get("/registry/core/namespaces/default") is not None

    asyncio.run(run())


def test_a_quota_is_counted_though_nobody_writes() -> None:
    """Rule: docs/design/0012."""

    async def run() -> None:
        store = MemoryStore()
        server = await open_server(ServerConfig(), store)
        ask = Conversation(server, ManualEffects())
        told = await ask.watch("/api/v1/namespaces/default/resourcequotas")
        quota = {"metadata": {"name": "q"}, "spec": {"hard": {"services": "3"}}}
        assert (await ask("POST", "/api/v1/namespaces/default/resourcequotas", quota)).status == 201
        statuses: list[Json] = []
        while {"hard": {"services": "3"}, "used": {"services": "0"}} not in statuses:
            statuses += [event["object"].get("status", {}) for event in await told.events()]
            await asyncio.sleep(0)
        await server.close()
        await store.close()

    asyncio.run(run())


def test_a_quota_without_room_for_what_the_server_makes_keeps_no_server_from_starting(tmp_path: Path) -> None:
    async def before(ask: Conversation) -> None:
        hard = {"configmaps": "0", "services": "0", "count/serviceaccounts": "0"}
        quota = {"metadata": {"name": "q"}, "spec": {"hard": hard}}
        assert (await ask("POST", "/api/v1/namespaces/default/resourcequotas", quota)).status == 201
        for config_map in (await ask("GET", CONFIG_MAPS)).body["items"]:
            assert (await ask("DELETE", f"{CONFIG_MAPS}/{config_map['metadata']['name']}")).status == 200
        assert (await ask("DELETE", "/api/v1/namespaces/default/serviceaccounts/default")).status == 200

    async def after(ask: Conversation) -> None:
        assert (await ask("GET", CONFIG_MAPS)).body["items"] == []
        assert (await ask("DELETE", "/api/v1/namespaces/default/resourcequotas/q")).status == 200
        await _keep_namespaces(ask.server.state)
        assert (await ask("GET", "/api/v1/namespaces/default/serviceaccounts/default")).status == 200

    on_sqlite(tmp_path / "db", before, after)


def test_fifty_writers_over_a_file_take_what_a_quota_has_and_a_restart_finds_it_counted(tmp_path: Path) -> None:
    """Rule: docs/design/0012: commits are carried out in the order in which they come."""
    quotas = "/api/v1/namespaces/default/resourcequotas"

    async def before(ask: Conversation) -> None:
        quota = {"metadata": {"name": "q"}, "spec": {"hard": {"services": "40"}}}
        writers = [ask("POST", SERVICES, make_service(f"a{i}")) for i in range(20)]
        first = await asyncio.gather(*writers[:10], ask("POST", quotas, quota), *writers[10:])
        assert [reply.status for reply in first] == [201] * 21
        second = await asyncio.gather(*(ask("POST", SERVICES, make_service(f"b{i}")) for i in range(50)))
        there = len((await ask("GET", SERVICES)).body["items"])
        assert (there, [reply.status for reply in second].count(403)) == (40, 30)

    async def after(ask: Conversation) -> None:
        assert (await ask("GET", f"{quotas}/q")).body["status"]["used"] == {"services": "40"}
        assert (await ask("POST", SERVICES, make_service("c"))).status == 403

    on_sqlite(tmp_path / "db", before, after)
