"""Evictions and disruption budgets. Rule: spec "api-machinery" §9.2, §1.4 (429)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from seaway.api.machinery.errors import ApiError
from seaway.api.registry import POD_DISRUPTION_BUDGETS
from seaway.api.schema import find_definition
from seaway.apiserver.subresources.disruption import MAX_DISRUPTED_PODS, Permission, decide_eviction
from seaway.testing.builders import make_pod
from tests.apiserver.conversation import Conversation, talk
from tests.wire.protobuf_encoder import encode_body

Json = dict[str, Any]
PODS = "/api/v1/namespaces/default/pods"
BUDGETS = POD_DISRUPTION_BUDGETS.path("default")
NOW = "2026-01-02T12:00:00Z"
VIOLATED = "Cannot evict pod as it would violate the pod's disruption budget."
LABELS = {"app": "web"}


def make_budget(name: str = "web", *, spec: Json | None = None, generation: int = 1, **status: Any) -> Json:
    """One that allows a disruption, seen by its controller."""
    seen = {"disruptionsAllowed": 1, "currentHealthy": 3, "desiredHealthy": 2, "expectedPods": 3,
            "observedGeneration": 1}  # fmt: skip
    return {
        "metadata": {"name": name, "generation": generation},
        "spec": {"minAvailable": 2, "selector": {"matchLabels": LABELS}} if spec is None else spec,
        "status": {**seen, **status},
    }


def make_running(name: str = "web-1", *, ready: bool = True, **more: Any) -> Json:
    return make_pod(name, ip="10.244.0.9", ready=ready, labels=LABELS, **more)


ALWAYS = {"selector": {"matchLabels": LABELS}, "unhealthyPodEvictionPolicy": "AlwaysAllow"}
CAREFUL = {"selector": {"matchLabels": LABELS}, "unhealthyPodEvictionPolicy": "IfHealthyBudget"}


@pytest.mark.parametrize(
    ("pod", "budgets", "spent", "is_bound"),
    [
        pytest.param(make_running(), [], False, False, id="no budget, no question"),
        pytest.param(make_running(), [make_budget()], True, False, id="a ready Pod costs a disruption"),
        pytest.param(make_running(), [make_budget(spec={"selector": {}})], True, False,
                     id="an empty selector selects all"),
        pytest.param(make_running(), [make_budget(spec={})], False, False, id="no selector selects none"),
        pytest.param(make_running(), [make_budget(spec={"selector": {"matchLabels": {"app": "db"}}})], False, False,
                     id="another's budget"),
        pytest.param(make_running(), [make_budget(spec={"selector": {"matchExpressions": [{"key": "a",
                     "operator": "Odd"}]}})], False, False, id="a selector that cannot be read selects none"),
        pytest.param(make_pod(labels=LABELS), [make_budget(disruptionsAllowed=0)], False, True,
                     id="a pending Pod goes as it was seen"),
        pytest.param(make_running(status={"phase": "Succeeded"}), [make_budget(disruptionsAllowed=0)], False, False,
                     id="one that has ended goes"),
        pytest.param(make_running(status={"phase": "Failed"}), [make_budget(disruptionsAllowed=0)] * 2, False, False,
                     id="one that has failed goes, whatever the budgets"),
        pytest.param(make_running(meta={"deletionTimestamp": NOW}), [make_budget(disruptionsAllowed=0)], False, False,
                     id="one that is going anyway goes"),
        pytest.param(make_running(ready=False), [make_budget(spec=ALWAYS, disruptionsAllowed=0, currentHealthy=0)],
                     False, True, id="an unready Pod always goes where the policy says so"),
        pytest.param(make_running(ready=False), [make_budget(disruptionsAllowed=0)], False, True,
                     id="an unready Pod goes while enough others are healthy"),
        pytest.param(make_running(ready=False), [make_budget(spec=CAREFUL, currentHealthy=1)], True, False,
                     id="an unready Pod costs a disruption while others are short"),
        pytest.param(make_running(ready=False), [make_budget(desiredHealthy=0)], True, False,
                     id="nobody need be healthy: it counts as one"),
    ],
)  # fmt: skip
def test_who_may_go(pod: Json, budgets: list[Json], spent: bool, is_bound: bool) -> None:
    permission = decide_eviction(pod, budgets, NOW)
    if not spent:
        assert permission == Permission(None, is_bound)
        return
    assert permission.budget is not None and not permission.is_bound
    assert permission.budget["status"]["disruptionsAllowed"] == budgets[0]["status"]["disruptionsAllowed"] - 1
    assert permission.budget["status"]["disruptedPods"] == {"web-1": NOW}
    assert permission.budget["spec"] == budgets[0]["spec"]
    assert budgets[0]["status"]["disruptionsAllowed"] == 1, "the stored budget is not touched"


@pytest.mark.parametrize(
    ("budgets", "code", "message", "cause", "retry"),
    [
        pytest.param([make_budget(disruptionsAllowed=0, currentHealthy=2)], 429, VIOLATED,
                     "The disruption budget web needs 2 healthy pods and has 2 currently", 0, id="nothing left"),
        pytest.param([make_budget(generation=2)], 429, VIOLATED,
                     "The disruption budget web is still being processed by the server.", 10,
                     id="a budget that its controller has not seen"),
        pytest.param([make_budget(disruptionsAllowed=0, conditions=[{"type": "DisruptionAllowed", "status": "False",
                     "reason": "SyncFailed", "message": "found no controllers"}])], 429, VIOLATED,
                     "The disruption budget web does not allow evicting pods currently because it failed sync: "
                     "found no controllers", 0, id="a budget whose controller is lost"),
        pytest.param([make_budget(), make_budget("other")], 500, "This pod has more than one PodDisruptionBudget, "
                     "which the eviction subresource does not support.", "", 0, id="two budgets"),
        pytest.param([make_budget(disruptionsAllowed=-1)], 403,
                     'poddisruptionbudget.policy "web" is forbidden: pdb disruptions allowed is negative', "", 0,
                     id="less than nothing left"),
        pytest.param([make_budget(disruptedPods={f"p{n}": NOW for n in range(MAX_DISRUPTED_PODS + 1)})], 403,
                     'poddisruptionbudget.policy "web" is forbidden: DisruptedPods map too big - too many evictions '
                     "not confirmed by PDB controller", "", 0, id="too much that nobody has confirmed"),
    ],
)  # fmt: skip
def test_who_must_stay(budgets: list[Json], code: int, message: str, cause: str, retry: int) -> None:
    with pytest.raises(ApiError) as refused:
        decide_eviction(make_running(), budgets, NOW)
    error = refused.value
    assert (error.status_code, error.message, error.retry_after_seconds) == (code, message, retry)
    if cause:
        assert error.details is not None
        assert error.details["causes"] == [{"reason": "DisruptionBudget", "message": cause}]


def test_the_last_disruption_says_that_it_was_the_last() -> None:
    budget = decide_eviction(make_running(), [make_budget()], NOW).budget
    assert budget is not None and budget["status"]["conditions"] == [
        {"type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods", "message": "",
         "observedGeneration": 1, "lastTransitionTime": NOW}]  # fmt: skip
    assert decide_eviction(make_running(), [make_budget(disruptionsAllowed=2)], NOW).budget is not None


async def make_guarded(ask: Conversation, *names: str, allowed: int = 1) -> None:
    """Pods that run and are ready, on a node, and their budget."""
    for name in names:
        made = await ask("POST", PODS, make_running(name, nodeName="n1"))
        assert made.status == 201, made.body
        await ask("PUT", f"{PODS}/{name}/status", make_running(name))
    made = await ask("POST", BUDGETS, make_budget())
    assert made.status == 201, made.body
    body = {**made.body, "status": {**make_budget()["status"], "disruptionsAllowed": allowed,
                                    "observedGeneration": made.body["metadata"].get("generation", 0)}}  # fmt: skip
    assert (await ask("PUT", f"{BUDGETS}/web/status", body)).status == 200


def make_eviction(name: str = "web-1", **fields: Any) -> Json:
    return {"kind": "Eviction", "apiVersion": "policy/v1", "metadata": {"name": name}, **fields}


async def status_of_budget(ask: Conversation) -> Json:
    status: Json = (await ask("GET", f"{BUDGETS}/web")).body["status"]
    return status


def test_an_eviction_spends_the_budget_and_ends_the_pod() -> None:
    async def conversation(ask: Conversation) -> None:
        await make_guarded(ask, "web-1", "web-2")
        watch = await ask.watch(f"{PODS}?fieldSelector=metadata.name%3Dweb-1")
        await watch.events()
        evicted = await ask("POST", f"{PODS}/web-1/eviction", make_eviction())
        assert (evicted.status, evicted.body["kind"], evicted.body["status"]) == (201, "Status", "Success")
        status = await status_of_budget(ask)
        assert status["disruptionsAllowed"] == 0 and status["disruptedPods"] == {"web-1": NOW}
        pod = (await ask("GET", f"{PODS}/web-1")).body
        assert pod["metadata"]["deletionGracePeriodSeconds"] == 30
        marked, ending = await watch.events()
        reason = marked["object"]["status"]["conditions"][-1]
        assert (reason["type"], reason["reason"]) == ("DisruptionTarget", "EvictionByEvictionAPI")
        assert "deletionTimestamp" in ending["object"]["metadata"]
        refused = await ask("POST", f"{PODS}/web-2/eviction", make_eviction("web-2"))
        assert (refused.status, refused.body["reason"], refused.message) == (429, "TooManyRequests", VIOLATED)
        assert "Retry-After" not in refused.headers

    talk(conversation)


def test_evictions_at_once_never_spend_more_than_there_is() -> None:
    async def conversation(ask: Conversation) -> None:
        names = [f"web-{number}" for number in range(6)]
        await make_guarded(ask, *names, allowed=3)
        answers = await asyncio.gather(*(ask("POST", f"{PODS}/{n}/eviction", make_eviction(n)) for n in names))
        assert sorted(answer.status for answer in answers) == [201] * 3 + [429] * 3
        status = await status_of_budget(ask)
        assert status["disruptionsAllowed"] == 0 and len(status["disruptedPods"]) == 3

    talk(conversation)


def test_a_race_for_the_pod_spends_the_budget_once() -> None:
    async def conversation(ask: Conversation) -> None:
        await make_guarded(ask, "web-1", allowed=5)
        patch = ask.patch(f"{PODS}/web-1", {"metadata": {"labels": {"x": "y"}}})
        evicted, patched = await asyncio.gather(ask("POST", f"{PODS}/web-1/eviction", make_eviction()), patch)
        assert (evicted.status, patched.status) == (201, 200)
        assert (await status_of_budget(ask))["disruptionsAllowed"] == 4

    talk(conversation)


@pytest.mark.parametrize(
    ("query", "options"),
    [("?dryRun=All", {}), ("", {"dryRun": ["All"]}), ("?dryRun=All", {"dryRun": ["All"]})],
    ids=["in the query", "in the options", "in both"],
)
def test_a_rehearsal_spends_nothing_and_ends_nobody(query: str, options: Json) -> None:
    async def conversation(ask: Conversation) -> None:
        await make_guarded(ask, "web-1")
        before = (await ask("GET", f"{PODS}/web-1")).body
        tried = await ask("POST", f"{PODS}/web-1/eviction{query}", make_eviction(deleteOptions=options))
        assert tried.status == 201
        assert (await ask("GET", f"{PODS}/web-1")).body == before
        assert (await status_of_budget(ask))["disruptionsAllowed"] == 1

    talk(conversation)


def test_the_options_of_the_delete_are_passed_on() -> None:
    async def conversation(ask: Conversation) -> None:
        await make_guarded(ask, "web-1")
        wrong = make_eviction(deleteOptions={"preconditions": {"uid": "x"}})
        refused = await ask("POST", f"{PODS}/web-1/eviction", wrong)
        assert refused.status == 409 and (await status_of_budget(ask))["disruptionsAllowed"] == 1
        version = (await ask("GET", f"{PODS}/web-1")).body["metadata"]["resourceVersion"]
        options = {"gracePeriodSeconds": 0, "preconditions": {"resourceVersion": version}}
        assert (await ask("POST", f"{PODS}/web-1/eviction", make_eviction(deleteOptions=options))).status == 201
        assert (await ask("GET", f"{PODS}/web-1")).status == 404

    talk(conversation)


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        pytest.param(make_eviction("else"), 400, "name in URL does not match name in Eviction object", id="of another"),
        pytest.param({}, 400, "name in URL does not match name in Eviction object", id="of nobody"),
        pytest.param({"metadata": {"name": "web-1", "namespace": "n"}}, 400, "the namespace of the provided object "
                     "does not match the namespace sent on the request", id="of another namespace"),
        pytest.param({"kind": "Eviction", "apiVersion": "policy/v9", "metadata": {"name": "web-1"}}, 400,
                     'Eviction in version "v9" cannot be handled as a Eviction: no kind "Eviction" is registered for '
                     'version "policy/v9" in scheme ', id="of another version"),
        pytest.param(make_eviction(deleteOptions={"propagationPolicy": "Odd"}), 422,
                     'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: ', id="with odd options"),
        pytest.param(make_eviction(), 404, 'pods "web-1" not found', id="of a Pod that is not there"),
    ],
)  # fmt: skip
def test_what_is_no_eviction(body: Json, code: int, message: str) -> None:
    async def conversation(ask: Conversation) -> None:
        answer = await ask("POST", f"{PODS}/web-1/eviction", body)
        assert answer.status == code and answer.message.startswith(message), answer.message

    talk(conversation)


def test_an_eviction_in_protobuf() -> None:
    definition = find_definition("policy", "v1", "Eviction")
    assert definition is not None

    async def conversation(ask: Conversation) -> None:
        await ask("POST", PODS, make_pod(labels=LABELS))
        body = encode_body(make_eviction(deleteOptions={"gracePeriodSeconds": 0}), definition)
        headers = {"content-type": "application/vnd.kubernetes.protobuf"}
        assert (await ask("POST", f"{PODS}/web-1/eviction", body, headers=headers)).status == 201
        assert (await ask("GET", f"{PODS}/web-1")).status == 404
        assert (await ask("GET", f"{PODS}/web-1/eviction")).status == 405

    talk(conversation)
