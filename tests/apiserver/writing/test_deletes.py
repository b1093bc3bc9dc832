"""Deletes: at once, with finalizers, with grace, of collections, of namespaces. Rule: spec "api-machinery" §8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import pytest

from seaway.api.machinery.strategy import Strategy
from seaway.api.registry import PODS, RESOURCES, Resource
from seaway.apiserver.options import DeleteOptions
from seaway.apiserver.writing.deletes import plan_deletion
from seaway.testing.builders import make_pod, make_service
from tests.apiserver.conversation import CONFIG_MAPS, NOON, SERVICES, Conversation, talk

Json = dict[str, Any]
PODS_PATH = "/api/v1/namespaces/default/pods"


@pytest.mark.parametrize(
    ("pod", "options", "grace"),
    [
        pytest.param(make_pod(nodeName="n"), DeleteOptions(), 30, id="a bound pod gets its default"),
        pytest.param(make_pod(nodeName="n", terminationGracePeriodSeconds=5), DeleteOptions(), 5, id="or its own"),
        pytest.param(make_pod(nodeName="n"), DeleteOptions(grace_seconds=7), 7, id="or what is asked"),
        pytest.param(make_pod(nodeName="n"), DeleteOptions(grace_seconds=-3), 1, id="negative means one second"),
        pytest.param(make_pod(nodeName="n"), DeleteOptions(grace_seconds=0), None, id="zero removes at once"),
        pytest.param(make_pod(), DeleteOptions(), None, id="an unbound pod goes at once"),
        pytest.param(
            make_pod(nodeName="n", status={"phase": "Succeeded"}),
            DeleteOptions(),
            None,
            id="a finished pod goes at once",
        ),
        pytest.param(
            make_pod(nodeName="n", meta={"finalizers": ["a/b"]}),
            DeleteOptions(grace_seconds=0),
            0,
            id="a finalizer holds it",
        ),
    ],
)
def test_the_grace_of_a_pod(pod: Json, options: DeleteOptions, grace: int | None) -> None:
    planned = plan_deletion(pod, PODS, options, wall_now=NOON)
    if grace is None:
        assert planned is None
    else:
        assert planned is not None
        assert planned["metadata"]["deletionGracePeriodSeconds"] == grace
        assert planned["metadata"]["deletionTimestamp"] == f"2026-01-02T12:00:{grace:02}Z"
        assert plan_deletion(planned, PODS, options, wall_now=NOON) == planned, "repeating changes nothing"


def test_numbers_at_the_end_of_their_range_do_not_stop_a_delete() -> None:
    pod = make_pod(nodeName="n", meta={"generation": 2**63 - 1})
    planned = plan_deletion(pod, PODS, DeleteOptions(grace_seconds=2**63 - 1), wall_now=NOON)
    assert planned is not None
    assert planned["metadata"]["deletionGracePeriodSeconds"] == 2**63 - 1
    assert planned["metadata"]["deletionTimestamp"] == "2162-02-08T18:28:16Z"
    assert planned["metadata"]["generation"] == 2**63 - 1
    shortened = plan_deletion(planned, PODS, DeleteOptions(grace_seconds=60), wall_now=NOON)
    assert shortened is not None and shortened["metadata"]["deletionTimestamp"] == "2026-01-02T12:01:00Z"


def test_a_repeated_delete_may_only_shorten_the_grace() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", PODS_PATH, make_pod(nodeName="n"))
        first = await ask("DELETE", f"{PODS_PATH}/web-1")
        assert first.body["metadata"]["deletionTimestamp"] == "2026-01-02T12:00:30Z"
        assert first.body["metadata"]["generation"] == 2
        longer = await ask("DELETE", f"{PODS_PATH}/web-1", {"gracePeriodSeconds": 60})
        assert longer.body == first.body
        await ask.effects.advance(4)
        shorter = await ask("DELETE", f"{PODS_PATH}/web-1", {"gracePeriodSeconds": 10})
        assert shorter.body["metadata"]["deletionTimestamp"] == "2026-01-02T12:00:10Z", "from the first delete on"
        assert shorter.body["metadata"]["generation"] == 2, "which alone counts as a change"
        await ask("PUT", f"{PODS_PATH}/web-1/status", make_pod(status={"phase": "Succeeded"}))
        plain = await ask("DELETE", f"{PODS_PATH}/web-1")
        assert plain.body["metadata"]["deletionGracePeriodSeconds"] == 10, "who asks for nothing changes nothing"
        assert (await ask("DELETE", f"{PODS_PATH}/web-1", {"gracePeriodSeconds": 0})).status == 200
        assert (await ask("GET", f"{PODS_PATH}/web-1")).status == 404

    talk(conversation)


def test_finalizers_hold_an_object_until_the_last_is_gone() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", CONFIG_MAPS, {"metadata": {"name": "a", "finalizers": ["x/y"]}})
        watch = await ask.watch(CONFIG_MAPS)
        begun = await ask("DELETE", f"{CONFIG_MAPS}/a")
        assert begun.body["kind"] == "ConfigMap" and begun.body["metadata"]["deletionGracePeriodSeconds"] == 0
        assert (await ask("DELETE", f"{CONFIG_MAPS}/a")).body == begun.body
        again = await ask("POST", CONFIG_MAPS, {"metadata": {"name": "a"}})
        assert again.message == 'object is being deleted: configmaps "a" already exists'
        more = await ask.patch(f"{CONFIG_MAPS}/a", {"metadata": {"finalizers": ["x/y", "z/z"]}})
        assert more.status == 422 and "no new finalizers can be added if the object is being deleted" in more.message
        ended = await ask.patch(f"{CONFIG_MAPS}/a", {"metadata": {"finalizers": None}})
        assert ended.body["metadata"]["resourceVersion"] == begun.body["metadata"]["resourceVersion"]
        assert (await ask("GET", f"{CONFIG_MAPS}/a")).status == 404
        events = await watch.events()
        assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "DELETED"]
        assert events[-1]["object"]["metadata"]["finalizers"] == ["x/y"], "the last stored state"

    talk(conversation)


@pytest.mark.parametrize(
    ("policy", "finalizers"), [("Foreground", ["foregroundDeletion"]), ("Orphan", ["orphan"]), ("Background", None)]
)
def test_propagation_is_a_finalizer(policy: str, finalizers: list[str] | None) -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", CONFIG_MAPS, {"metadata": {"name": "a"}})
        answer = await ask("DELETE", f"{CONFIG_MAPS}/a?propagationPolicy={policy}")
        if finalizers is None:
            assert answer.body["kind"] == "Status"
        else:
            assert answer.body["metadata"]["finalizers"] == finalizers

    talk(conversation)


def test_what_a_delete_answers_depends_on_the_kind() -> None:
    async def conversation(ask: Conversation) -> None:
        made = await ask("POST", CONFIG_MAPS, {"metadata": {"name": "a"}})
        status = (await ask("DELETE", f"{CONFIG_MAPS}/a")).body
        details = {"name": "a", "kind": "configmaps", "uid": made.body["metadata"]["uid"]}
        assert status == {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
        await ask("POST", SERVICES, make_service())
        assert (await ask("DELETE", f"{SERVICES}/web")).body["kind"] == "Service"

    talk(conversation)


def test_a_collection_is_deleted_by_selection_and_answered_as_a_list() -> None:
    async def conversation(ask: Conversation) -> None:
        for name, value in (("a", "1"), ("b", "1"), ("c", "2")):
            await ask("POST", CONFIG_MAPS, {"metadata": {"name": name, "labels": {"x": value}}})
        gone = await ask("DELETE", f"{CONFIG_MAPS}?labelSelector=x%3D1")
        assert gone.body["kind"] == "ConfigMapList"
        assert [item["metadata"]["name"] for item in gone.body["items"]] == ["a", "b"]
        left = await ask("GET", CONFIG_MAPS)
        assert [item["metadata"]["name"] for item in left.body["items"]] == ["c"]

    talk(conversation)


def test_finalizing_keeps_the_label_of_the_name_and_no_empty_list() -> None:
    async def conversation(ask: Conversation) -> None:
        made = (await ask("POST", "/api/v1/namespaces", {"metadata": {"name": "n"}})).body
        bare = {"metadata": {"name": "n"}, "spec": {"finalizers": []}}
        finalized = (await ask("PUT", "/api/v1/namespaces/n/finalize", bare)).body
        assert finalized["metadata"]["labels"] == made["metadata"]["labels"] and finalized["spec"] == {}
        assert (await ask("PUT", "/api/v1/namespaces/n", finalized)).body == finalized

    talk(conversation)


def test_a_page_of_a_collection_is_deleted_and_the_rest_can_follow() -> None:
    async def conversation(ask: Conversation) -> None:
        for name in "abc":
            await ask("POST", CONFIG_MAPS, {"metadata": {"name": name}})
        gone = (await ask("DELETE", f"{CONFIG_MAPS}?limit=2")).body
        assert [item["metadata"]["name"] for item in gone["items"]] == ["a", "b"]
        assert gone["metadata"]["continue"] and gone["metadata"]["remainingItemCount"] == 1
        rest = await ask("DELETE", f"{CONFIG_MAPS}?limit=2&continue={gone['metadata']['continue']}")
        assert [item["metadata"]["name"] for item in rest.body["items"]] == ["c"]
        assert (await ask("GET", CONFIG_MAPS)).body["items"] == []

    talk(conversation)


def test_a_collection_is_held_by_finalizers_and_preconditions_one_by_one() -> None:
    async def conversation(ask: Conversation) -> None:
        for name, finalizers in (("a", ["x/y"]), ("b", [])):
            await ask("POST", CONFIG_MAPS, {"metadata": {"name": name, "finalizers": finalizers}})
        refused = await ask("DELETE", CONFIG_MAPS, {"preconditions": {"uid": "x"}})
        assert (refused.status, refused.body["details"]["kind"]) == (409, "ConfigMap")
        await ask("DELETE", CONFIG_MAPS, {"propagationPolicy": "Foreground"})
        left = (await ask("GET", CONFIG_MAPS)).body["items"]
        assert [item["metadata"]["name"] for item in left] == ["a", "b"]
        assert [item["metadata"]["finalizers"][-1] for item in left] == ["foregroundDeletion"] * 2

    talk(conversation)


def test_a_namespace_ends_when_its_finalizers_are_gone() -> None:
    async def conversation(ask: Conversation) -> None:
        made = (await ask("POST", "/api/v1/namespaces", {"metadata": {"name": "n"}})).body
        assert made["spec"]["finalizers"] == ["kubernetes"] and made["status"]["phase"] == "Active"
        assert made["metadata"]["labels"] == {"kubernetes.io/metadata.name": "n"}
        begun = (await ask("DELETE", "/api/v1/namespaces/n")).body
        assert begun["status"]["phase"] == "Terminating" and "deletionGracePeriodSeconds" not in begun["metadata"]
        assert (await ask("DELETE", "/api/v1/namespaces/n")).body == begun
        refused = await ask("POST", "/api/v1/namespaces/n/configmaps", {"metadata": {"name": "a"}})
        assert refused.status == 403
        why = "unable to create new content in namespace n because it is being terminated"
        assert refused.message == f'configmaps "a" is forbidden: {why}'
        assert refused.body["details"]["causes"][0]["reason"] == "NamespaceTerminating"
        begun["spec"]["finalizers"] = []
        assert (await ask("PUT", "/api/v1/namespaces/n/finalize", begun)).status == 200
        assert (await ask("GET", "/api/v1/namespaces/n")).status == 404

    talk(conversation)


@pytest.mark.parametrize(
    ("finalizers", "options", "status"),
    [
        pytest.param(["x/y"], {"orphanDependents": False}, 202, id="held, and a cascade asked for in the old way"),
        pytest.param(["x/y"], {"orphanDependents": True}, 200, id="held, without a cascade"),
        pytest.param(["x/y"], {"propagationPolicy": "Background"}, 200, id="held, the new way"),
        pytest.param([], {"orphanDependents": False}, 200, id="removed at once"),
    ],
)
def test_a_delete_is_only_accepted_when_it_is_asked_in_the_old_way_and_held(
    finalizers: list[str], options: Json, status: int
) -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", CONFIG_MAPS, {"metadata": {"name": "a", "finalizers": finalizers}})
        assert (await ask("DELETE", f"{CONFIG_MAPS}/a", options)).status == status

    talk(conversation)


def with_finalizers(*finalizers: str) -> Json:
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a", "finalizers": list(finalizers)}}


@pytest.mark.parametrize(
    ("had", "options", "default", "kept"),
    [
        pytest.param([], DeleteOptions(), "Background", None, id="nobody says anything: in the background"),
        pytest.param([], DeleteOptions(), "Orphan", ["orphan"], id="or as the kind does it by itself"),
        pytest.param(["foregroundDeletion"], DeleteOptions(), "Orphan", ["foregroundDeletion"],
                     id="what the object has counts before its kind"),
        pytest.param(["orphan"], DeleteOptions(propagation="Foreground"), "Background", ["foregroundDeletion"],
                     id="what the request says counts before both"),
        pytest.param(["orphan", "a/b"], DeleteOptions(propagation="Background"), "Orphan", ["a/b"],
                     id="in the background takes both away and leaves others"),
        pytest.param([], DeleteOptions(orphan_dependents=True), "Background", ["orphan"], id="the old way to orphan"),
        pytest.param([], DeleteOptions(orphan_dependents=False), "Orphan", None, id="the old way not to"),
        pytest.param(["orphan"], DeleteOptions(propagation="Foreground"), "Unsupported", None,
                     id="a kind without dependents keeps neither"),
    ],
)  # fmt: skip
def test_who_decides_about_dependents(
    had: list[str], options: DeleteOptions, default: str, kept: list[str] | None
) -> None:
    planned = plan_deletion(with_finalizers(*had), of_default(default), options, wall_now=NOON)
    assert (None if planned is None else planned["metadata"]["finalizers"]) == kept


@dataclass(frozen=True)
class KindOfItsOwn:
    """What a plan asks of a row of the registry."""

    strategy: Strategy


def of_default(propagation: str) -> Resource:
    flags = {"has_dependents": propagation != "Unsupported", "orphans_dependents": propagation == "Orphan"}
    return cast(Resource, KindOfItsOwn(Strategy(**flags)))


ANSWERED_WITH_THE_OBJECT = {"services", "pods", "namespaces", "serviceaccounts", "persistentvolumes",
                            "persistentvolumeclaims", "podtemplates", "resourcequotas"}  # fmt: skip


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda r: f"{r.plural}.{r.group}")
def test_which_kinds_a_delete_answers_with_the_object(resource: Resource) -> None:
    assert resource.strategy.answers_delete_with_object is (resource.plural in ANSWERED_WITH_THE_OBJECT)


def test_a_replication_controller_leaves_its_pods_unless_told() -> None:
    path = "/api/v1/namespaces/default/replicationcontrollers"
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "m", "image": "x"}]}}
    body = {"metadata": {"name": "rc"}, "spec": {"selector": {"a": "b"}, "template": template}}

    async def conversation(ask: Conversation) -> None:
        await ask("POST", path, body)
        assert (await ask("DELETE", f"{path}/rc")).body["metadata"]["finalizers"] == ["orphan"]
        await ask.patch(f"{path}/rc", {"metadata": {"finalizers": None}})
        await ask("POST", path, body)
        assert (await ask("DELETE", f"{path}/rc?propagationPolicy=Background")).body["kind"] == "Status"

    talk(conversation)


@pytest.mark.parametrize(
    ("form", "kind"), [("Table", "Table"), ("PartialObjectMetadata", "PartialObjectMetadata")], ids=str.lower
)
def test_a_deleted_object_comes_in_the_form_that_was_asked_and_a_status_as_it_is(form: str, kind: str) -> None:
    headers = {"accept": f"application/json;as={form};v=v1;g=meta.k8s.io"}

    async def conversation(ask: Conversation) -> None:
        await ask("POST", SERVICES, make_service())
        assert (await ask("DELETE", f"{SERVICES}/web", headers=headers)).body["kind"] == kind
        await ask("POST", CONFIG_MAPS, {"metadata": {"name": "a"}})
        assert (await ask("DELETE", f"{CONFIG_MAPS}/a", headers=headers)).body["kind"] == "Status"

    talk(conversation)
