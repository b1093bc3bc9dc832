"""What clients see of quotas: refusals in upstream's words, numbers that follow every write.

Rule: spec "service-api" §3.6.
"""

from __future__ import annotations

from typing import Any

import pytest

from seaway.testing.builders import make_pod, make_service
from tests.apiserver.conversation import CONFIG_MAPS, SERVICES, Conversation, Reply, talk

Json = dict[str, Any]
QUOTAS = "/api/v1/namespaces/default/resourcequotas"
PODS = "/api/v1/namespaces/default/pods"
NODE_PORT: Json = {"type": "NodePort", "ports": [{"name": "a", "port": 1}, {"name": "b", "port": 2}]}


def quota(name: str = "q", /, **hard: str) -> Json:
    return {"metadata": {"name": name}, "spec": {"hard": hard}}


def config_map(name: str) -> Json:
    return {"metadata": {"name": name}}


def container(name: str, **resources: Json) -> Json:
    return {"name": name, "image": "i", "resources": resources}


async def make(ask: Conversation, path: str, *objects: Json) -> None:
    for obj in objects:
        reply = await ask("POST", path, obj)
        assert reply.status == 201, reply.body


async def used(ask: Conversation, name: str = "q") -> Json:
    status: Json = (await ask("GET", f"{QUOTAS}/{name}")).body["status"]
    return dict(status["used"])


def refuses(reply: Reply, why: str) -> bool:
    return (reply.status, reply.body.get("reason"), reply.body.get("message")) == (403, "Forbidden", why)


@pytest.mark.parametrize(
    ("hard", "kept", "more", "why"),
    [
        pytest.param(
            {"services": "2"}, [{}, {}], {},
            "requested: services=1, used: services=2, limited: services=2",
            id="a Service counts one of services",
        ),
        pytest.param(
            {"count/services": "1"}, [{}], {},
            "requested: count/services=1, used: count/services=1, limited: count/services=1",
            id="a Service counts one of count/services",
        ),
        pytest.param(
            {"services.nodeports": "3"}, [NODE_PORT, {}], NODE_PORT,
            "requested: services.nodeports=2, used: services.nodeports=2, limited: services.nodeports=3",
            id="a NodePort Service counts its ports",
        ),
        pytest.param(
            {"services.loadbalancers": "1", "services.nodeports": "5"}, [{"type": "LoadBalancer"}],
            {"type": "LoadBalancer"},
            "requested: services.loadbalancers=1, used: services.loadbalancers=1, limited: services.loadbalancers=1",
            id="only what is exceeded is named",
        ),
        pytest.param(
            {"services.nodeports": "0", "services": "0"}, [], {"type": "LoadBalancer"},
            "requested: services=1,services.nodeports=1, used: services=0,services.nodeports=0, "
            "limited: services=0,services.nodeports=0",
            id="all that is exceeded is named",
        ),
        pytest.param(
            {"services.nodeports": "0"},
            [{"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False}],
            {
                "type": "LoadBalancer", "allocateLoadBalancerNodePorts": False,
                "ports": [{"name": "a", "port": 1}, {"name": "b", "port": 2, "nodePort": 30001}],
            },
            "requested: services.nodeports=1, used: services.nodeports=0, limited: services.nodeports=0",
            id="a LoadBalancer that allocates no node ports counts those that it names",
        ),
    ],
)  # fmt: skip
def test_a_service_that_is_one_too_many(hard: Json, kept: list[Json], more: Json, why: str) -> None:
    async def conversation(ask: Conversation) -> None:
        await make(ask, QUOTAS, quota(**hard))
        await make(ask, SERVICES, *(make_service(f"kept-{i}", **spec) for i, spec in enumerate(kept)))
        reply = await ask("POST", SERVICES, make_service("x", **more))
        assert refuses(reply, f'services "x" is forbidden: exceeded quota: q, {why}'), reply.body

    talk(conversation)


def test_a_refusal_gives_back_what_the_service_had_taken() -> None:
    async def conversation(ask: Conversation) -> None:
        await make(ask, QUOTAS, quota("q", services="1"))
        await make(ask, SERVICES, make_service("a"))
        own: Json = {"clusterIP": "10.96.0.77", "type": "NodePort", "ports": [{"port": 80, "nodePort": 30077}]}
        assert (await ask("POST", SERVICES, make_service("b", **own))).status == 403
        assert (await ask("DELETE", f"{SERVICES}/a")).status == 200
        await make(ask, SERVICES, make_service("b", **own))

    talk(conversation)


def test_validation_is_answered_before_the_quota() -> None:
    async def conversation(ask: Conversation) -> None:
        await make(ask, QUOTAS, quota("q", services="0"))
        reply = await ask("POST", SERVICES, make_service("b", sessionAffinity="x"))
        assert reply.status == 422

    talk(conversation)


def test_what_was_there_before_the_quota_counts() -> None:
    async def conversation(ask: Conversation) -> None:
        await make(ask, SERVICES, make_service("a"), make_service("b", **NODE_PORT))
        before = len((await ask("GET", SERVICES)).body["items"])
        await make(ask, QUOTAS, quota("q", services="1", **{"services.nodeports": "9"}))
        reply = await ask("POST", SERVICES, make_service("x"))
        assert refuses(
            reply,
            'services "x" is forbidden: exceeded quota: q, requested: services=1, '
            f"used: services={before}, limited: services=1",
        )
        assert await used(ask) == {"services": str(before), "services.nodeports": "2"}

    talk(conversation)


def test_an_update_pays_for_what_it_adds_and_gets_back_what_it_gives_up() -> None:
    async def conversation(ask: Conversation) -> None:
        await make(ask, QUOTAS, quota("q", **{"services.nodeports": "2"}))
        await make(ask, SERVICES, make_service("a", **NODE_PORT), make_service("b"))
        reply = await ask.patch(f"{SERVICES}/b", {"spec": {"type": "NodePort"}})
        assert refuses(
            reply,
            'services "b" is forbidden: exceeded quota: q, requested: services.nodeports=1, '
            "used: services.nodeports=2, limited: services.nodeports=2",
        )
        assert (await ask.patch(f"{SERVICES}/a", {"spec": {"type": "ClusterIP"}})).status == 200
        assert await used(ask) == {"services.nodeports": "0"}
        assert (await ask.patch(f"{SERVICES}/b", {"spec": {"type": "NodePort"}})).status == 200
        assert await used(ask) == {"services.nodeports": "1"}

    talk(conversation)


def test_an_update_that_asks_for_no_more_passes_a_quota_that_is_exceeded() -> None:
    async def conversation(ask: Conversation) -> None:
        await make(ask, SERVICES, make_service("a", **NODE_PORT))
        await make(ask, QUOTAS, quota("q", services="0", **{"services.nodeports": "0"}))
        assert (await ask.patch(f"{SERVICES}/a", {"metadata": {"labels": {"a": "b"}}})).status == 200

    talk(conversation)


def test_a_delete_gives_back_at_once() -> None:
    async def conversation(ask: Conversation) -> None:
        await make(ask, QUOTAS, quota("q", configmaps="3", **{"count/configmaps": "9"}))
        base = int((await used_after_write(ask, "a"))["configmaps"])
        assert (await ask("DELETE", f"{CONFIG_MAPS}/a")).status == 200
        assert await used(ask) == {"configmaps": str(base - 1), "count/configmaps": str(base - 1)}

    talk(conversation)


async def used_after_write(ask: Conversation, name: str) -> Json:
    await make(ask, CONFIG_MAPS, config_map(name))
    return await used(ask)


def test_the_last_finalizer_gives_back() -> None:
    async def conversation(ask: Conversation) -> None:
        await make(ask, QUOTAS, quota("q", services="5"))
        before = (await used_after_service(ask, make_service("z")))["services"]
        await make(ask, SERVICES, make_service("a", meta={"finalizers": ["example.com/f"]}))
        assert (await ask("DELETE", f"{SERVICES}/a")).status == 200
        assert int((await used(ask))["services"]) == int(before) + 1
        assert (await ask.patch(f"{SERVICES}/a", {"metadata": {"finalizers": None}})).status == 200
        assert (await used(ask))["services"] == before

    talk(conversation)


async def used_after_service(ask: Conversation, service: Json) -> Json:
    await make(ask, SERVICES, service)
    return await used(ask)


def test_a_dry_run_is_judged_and_counts_nothing() -> None:
    async def conversation(ask: Conversation) -> None:
        await make(ask, QUOTAS, quota("q", **{"services.nodeports": "1"}))
        reply = await ask("POST", f"{SERVICES}?dryRun=All", make_service("x", **NODE_PORT))
        assert reply.status == 403
        assert (await ask("POST", f"{SERVICES}?dryRun=All", make_service("x", type="NodePort"))).status == 201
        assert await used(ask) == {"services.nodeports": "0"}

    talk(conversation)


def test_every_kind_counts_by_its_name() -> None:
    async def conversation(ask: Conversation) -> None:
        await make(
            ask,
            QUOTAS,
            quota("q", **{"count/ingresses.networking.k8s.io": "0", "count/leases.coordination.k8s.io": "1"}),
        )
        lease = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
        await make(ask, lease, {"metadata": {"name": "a"}})
        reply = await ask("POST", lease, {"metadata": {"name": "b"}})
        name = "count/leases.coordination.k8s.io"
        assert refuses(
            reply,
            f'leases.coordination.k8s.io "b" is forbidden: exceeded quota: q, requested: {name}=1, '
            f"used: {name}=1, limited: {name}=1",
        )

    talk(conversation)


def test_quotas_count_themselves() -> None:
    async def conversation(ask: Conversation) -> None:
        await make(ask, QUOTAS, quota("q", resourcequotas="1"))
        reply = await ask("POST", QUOTAS, quota("r", services="1"))
        assert refuses(
            reply,
            'resourcequotas "r" is forbidden: exceeded quota: q, requested: resourcequotas=1, '
            "used: resourcequotas=1, limited: resourcequotas=1",
        )
        assert (await ask("DELETE", f"{QUOTAS}/q")).status == 200
        await make(ask, QUOTAS, quota("r", services="1"))

    talk(conversation)


def test_all_quotas_of_the_namespace_must_agree_and_others_are_nobodys_business() -> None:
    async def conversation(ask: Conversation) -> None:
        await make(ask, "/api/v1/namespaces", {"metadata": {"name": "other"}})
        await make(ask, "/api/v1/namespaces/other/resourcequotas", quota("z", services="0"))
        await make(ask, QUOTAS, quota("a", services="9"), quota("b", services="1"))
        await make(ask, SERVICES, make_service("one"))
        reply = await ask("POST", SERVICES, make_service("two"))
        assert "exceeded quota: b," in reply.message

    talk(conversation)


def test_a_pod_must_say_what_the_quota_limits() -> None:
    async def conversation(ask: Conversation) -> None:
        await make(ask, QUOTAS, quota("q", cpu="1", **{"limits.memory": "1Gi"}))
        pod = make_pod("x", containers=[container("c1"), container("c2", requests={"cpu": "1"})])
        assert refuses(
            await ask("POST", PODS, pod),
            'pods "x" is forbidden: failed quota: q: must specify cpu for: c1; limits.memory for: c1,c2',
        )

    talk(conversation)


def test_what_pods_ask_for_adds_up_until_they_have_ended() -> None:
    async def conversation(ask: Conversation) -> None:
        hard = {"pods": "5", "count/pods": "5", "requests.cpu": "1", "limits.memory": "1Gi"}
        await make(ask, QUOTAS, quota(**hard))
        asked: Json = {"requests": {"cpu": "600m"}, "limits": {"memory": "512Mi"}}
        await make(ask, PODS, make_pod("a", containers=[container("c", **asked)]))
        reply = await ask("POST", PODS, make_pod("b", containers=[container("c", **asked)]))
        assert refuses(
            reply,
            'pods "b" is forbidden: exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=600m, '
            "limited: requests.cpu=1",
        )
        assert await used(ask) == {"count/pods": "1", "limits.memory": "512Mi", "pods": "1", "requests.cpu": "600m"}
        assert (await ask.patch(f"{PODS}/a/status", {"status": {"phase": "Succeeded"}})).status == 200
        assert await used(ask) == {"count/pods": "1", "limits.memory": "0", "pods": "0", "requests.cpu": "0"}
        await make(ask, PODS, make_pod("b", containers=[container("c", **asked)]))

    talk(conversation)


def test_a_scope_leaves_out_all_others() -> None:
    async def conversation(ask: Conversation) -> None:
        await make(ask, QUOTAS, {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1"}, "scopes": ["Terminating"]}})
        await make(ask, PODS, make_pod("a", activeDeadlineSeconds=9), make_pod("b"))
        assert await used(ask) == {"pods": "1"}
        assert (await ask("POST", PODS, make_pod("c", activeDeadlineSeconds=9))).status == 403

    talk(conversation)


def test_a_limit_that_is_raised_is_used_at_once() -> None:
    async def conversation(ask: Conversation) -> None:
        await make(ask, QUOTAS, quota("q", services="1"))
        await make(ask, SERVICES, make_service("a"))
        assert (await ask("POST", SERVICES, make_service("b"))).status == 403
        assert (await ask.patch(f"{QUOTAS}/q", {"spec": {"hard": {"services": "2", "secrets": "0"}}})).status == 200
        await make(ask, SERVICES, make_service("b"))
        status = (await ask("GET", f"{QUOTAS}/q")).body["status"]
        assert status == {"hard": {"secrets": "0", "services": "2"}, "used": {"secrets": "0", "services": "2"}}

    talk(conversation)


def test_a_quota_is_counted_before_anybody_writes_and_names_nobody_counts_stay_out() -> None:
    async def conversation(ask: Conversation) -> None:
        await make(ask, QUOTAS, quota("q", services="9", **{"count/foos.example.com": "1"}))
        for namespace in ask.server.state.quotas.find_uncounted():
            async with ask.server.state.quotas.turn_to_count(namespace):
                pass
        status = (await ask("GET", f"{QUOTAS}/q")).body["status"]
        assert set(status["hard"]) == {"services", "count/foos.example.com"}
        assert set(status["used"]) == {"services"}
        assert ask.server.state.quotas.find_uncounted() == []

    talk(conversation)


def test_a_recount_mends_what_was_written_into_the_status() -> None:
    async def conversation(ask: Conversation) -> None:
        await make(ask, QUOTAS, quota("q", secrets="9"))
        await make(ask, "/api/v1/namespaces/default/secrets", {"metadata": {"name": "a"}})
        true = await used(ask)
        assert (await ask.patch(f"{QUOTAS}/q/status", {"status": {"used": {"secrets": "7"}}})).status == 200
        await ask.server.state.quotas.recount("default")
        assert await used(ask) == true
        revision = ask.server.state.store.current_revision
        await ask.server.state.quotas.recount("default")
        assert ask.server.state.store.current_revision == revision

    talk(conversation)
