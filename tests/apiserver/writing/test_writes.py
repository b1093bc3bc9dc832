"""The write pipeline: who may create by PUT, which names are tried, what is too big, what is warned of.

Rule: spec "api-machinery" §1.3, §4.1 to §4.6, §11.
"""

from __future__ import annotations

from typing import Any

import pytest

from seaway.api.machinery.http import Identity
from seaway.apiserver.answers import make_warning_headers
from seaway.apiserver.writing.writes import MAX_STORED_BYTES, encode_within_limit
from seaway.testing.builders import make_service
from tests.apiserver.conversation import CONFIG_MAPS, SERVICES, Conversation, talk

Json = dict[str, Any]
ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
ANN = Identity("ann", ("system:authenticated",))


async def allow(ask: Conversation, *verbs: str) -> None:
    """Let ann do that with Services and Events."""
    rule = {"verbs": list(verbs), "apiGroups": ["", "events.k8s.io"], "resources": ["services", "events"]}
    assert (await ask("POST", ROLES, {"metadata": {"name": "r"}, "rules": [rule]})).status == 201
    bound = {"metadata": {"name": "r"}, "subjects": [{"kind": "User", "name": "ann"}],
             "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r"}}  # fmt: skip
    assert (await ask("POST", BINDINGS, bound)).status == 201


def test_a_put_that_creates_needs_the_right_to_create() -> None:
    async def conversation(ask: Conversation) -> None:
        await allow(ask, "update")
        refused = await ask("PUT", f"{SERVICES}/web", make_service(), identity=ANN)
        assert refused.status == 403
        assert refused.message == (
            'services is forbidden: User "ann" cannot create resource "services" in API group "" in the namespace '
            '"default"'
        )
        await ask("POST", SERVICES, make_service())
        assert (await ask("PUT", f"{SERVICES}/web", make_service(), identity=ANN)).status == 200

    talk(conversation)


def test_a_put_that_creates_asks_in_the_group_that_was_spoken_to() -> None:
    path = "/apis/events.k8s.io/v1/namespaces/default/events"

    async def conversation(ask: Conversation) -> None:
        await allow(ask, "update")
        refused = await ask("PUT", f"{path}/e", {"metadata": {"name": "e"}}, identity=ANN)
        assert refused.message.startswith("events.events.k8s.io is forbidden: ")

    talk(conversation)


CREATED_BY_PUT = ("/api/v1/namespaces/default/services", "/api/v1/namespaces/default/endpoints",
                  "/api/v1/namespaces/default/events", "/apis/coordination.k8s.io/v1/namespaces/default/leases",
                  "/api/v1/namespaces/default/limitranges", "/apis/rbac.authorization.k8s.io/v1/clusterroles",
                  "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles")  # fmt: skip
NOT_CREATED_BY_PUT = ("/api/v1/namespaces", "/api/v1/nodes", "/api/v1/namespaces/default/pods",
                      "/api/v1/namespaces/default/secrets", CONFIG_MAPS, "/api/v1/namespaces/default/serviceaccounts",
                      "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
                      "/apis/networking.k8s.io/v1/ipaddresses", "/apis/networking.k8s.io/v1/servicecidrs",
                      "/apis/networking.k8s.io/v1/namespaces/default/ingresses",
                      "/apis/apps/v1/namespaces/default/deployments",
                      "/apis/apps/v1/namespaces/default/controllerrevisions")  # fmt: skip


@pytest.mark.parametrize("path", CREATED_BY_PUT, ids=lambda path: path.rpartition("/")[2])
def test_what_a_put_creates(path: str) -> None:
    body: Json = {"metadata": {"name": "x", "resourceVersion": "7"}}
    if path.endswith("services"):
        body = make_service("x", meta={"resourceVersion": "7"})
    elif path.endswith("leases"):
        body["spec"] = {"leaseDurationSeconds": 1}

    async def conversation(ask: Conversation) -> None:
        made = await ask("PUT", f"{path}/x", body)
        assert made.status == 201, made.body

    talk(conversation)


@pytest.mark.parametrize("path", NOT_CREATED_BY_PUT, ids=lambda path: path.rpartition("/")[2])
def test_what_a_put_does_not_create(path: str) -> None:
    async def conversation(ask: Conversation) -> None:
        answer = await ask("PUT", f"{path}/x", {"metadata": {"name": "x", "uid": "y"}})
        assert (answer.status, answer.body["reason"]) == (404, "NotFound"), answer.body

    talk(conversation)


def test_eight_generated_names_are_tried_and_then_the_client_may_try_again() -> None:
    async def conversation(ask: Conversation) -> None:
        tried: list[float] = []

        def random() -> float:
            tried.append(0.0)
            return 0.0

        ask.effects.random = random  # type: ignore[method-assign]
        body = {"metadata": {"generateName": "web-"}}
        made = await ask("POST", CONFIG_MAPS, body)
        assert made.body["metadata"]["name"] == "web-bbbbb"
        tried.clear()
        refused = await ask("POST", CONFIG_MAPS, body)
        assert len(tried) == 8 * 5
        assert (refused.status, refused.body["reason"], refused.headers["Retry-After"]) == (409, "AlreadyExists", "1")
        assert refused.message == (
            'configmaps "web-bbbbb" already exists, the server was not able to generate a unique name for the object'
        )
        assert refused.body["details"] == {"name": "web-bbbbb", "kind": "configmaps", "retryAfterSeconds": 1}

    talk(conversation)


def test_a_name_that_is_given_is_never_generated() -> None:
    async def conversation(ask: Conversation) -> None:
        made = await ask("POST", CONFIG_MAPS, {"metadata": {"name": "a", "generateName": "b-"}})
        assert (made.body["metadata"]["name"], made.body["metadata"]["generateName"]) == ("a", "b-")

    talk(conversation)


def test_what_is_too_big_to_store_is_refused() -> None:
    rules = [{"verbs": ["v" * 1000], "apiGroups": ["g" * 1000], "resources": ["r" * 1000]} for _ in range(520)]

    async def conversation(ask: Conversation) -> None:
        body = {"metadata": {"name": "big"}, "rules": rules[:500]}
        made = await ask("POST", ROLES, body)
        assert made.status == 201
        body["rules"] = [*rules, *rules[:10]]
        for method, path in (("PUT", f"{ROLES}/big"), ("POST", ROLES)):
            refused = await ask(method, path, {**body, "metadata": {"name": "big" if method == "PUT" else "other"}})
            assert (refused.status, refused.body["reason"]) == (413, "RequestEntityTooLarge")
            assert refused.message == "Request entity too large: limit is 1572864"
        assert (await ask("GET", f"{ROLES}/big")).body == made.body

    talk(conversation)


def test_the_record_of_managers_gives_way_before_the_object_is_refused() -> None:
    entry = {"manager": "m" * 100, "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
             "fieldsV1": {f"f:{n}": {} for n in range(100)}}  # fmt: skip
    obj = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a", "managedFields": [entry] * 100},
           "data": {"k": "x" * (MAX_STORED_BYTES - 10_000)}}  # fmt: skip
    value = encode_within_limit(obj)
    assert len(value) <= MAX_STORED_BYTES and b"managedFields" not in value


def test_the_generation_of_a_client_counts_nowhere_but_where_the_kind_has_none() -> None:
    slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"

    async def conversation(ask: Conversation) -> None:
        made = await ask("POST", SERVICES, make_service(meta={"generation": 7}))
        assert made.body["metadata"]["generation"] == 7
        changed = await ask.patch(f"{SERVICES}/web", {"metadata": {"generation": 9}, "spec": {"type": "NodePort"}})
        assert changed.body["metadata"]["generation"] == 7, "it stays"
        slice_ = {"metadata": {"name": "s", "generation": 7}, "addressType": "IPv4", "endpoints": []}
        assert (await ask("POST", slices, slice_)).body["metadata"]["generation"] == 1
        labelled = await ask.patch(f"{slices}/s", {"metadata": {"labels": {"a": "b"}, "generation": 40}})
        assert labelled.body["metadata"]["generation"] == 2, "labels count for slices"

    talk(conversation)


def test_owner_references_that_repeat_are_said_once_and_warned_of() -> None:
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "1"}

    async def conversation(ask: Conversation) -> None:
        made = await ask("POST", CONFIG_MAPS, {"metadata": {"name": "a", "ownerReferences": [owner, owner]}})
        assert made.body["metadata"]["ownerReferences"] == [owner]
        assert made.headers["Warning"].startswith('299 - ".metadata.ownerReferences contains duplicate entries; ')

    talk(conversation)


@pytest.mark.parametrize(
    ("warnings", "texts"),
    [
        pytest.param(["a", "b", "a"], ["a", "b"], id="each once, in order"),
        pytest.param(["a\nb", "tab\t", "fine"], ["fine"], id="none with control characters"),
        pytest.param(["no\u00a0break", "é"], ["no\u00a0break", "é"], id="other characters are fine"),
        pytest.param(['say "no" \\'], ['say \\"no\\" \\\\'], id="quotes and backslashes are escaped"),
        pytest.param(["x" * 4000], ["x" * 4000], id="a long one alone is whole"),
        pytest.param(["x" * 3000, "y" * 3000], ["x" * 256, "y" * 256], id="too much together: all are cut"),
    ],
)
def test_warnings(warnings: list[str], texts: list[str]) -> None:
    assert make_warning_headers(warnings) == tuple(("Warning", f'299 - "{text}"') for text in texts)


def test_a_rehearsal_goes_through_everything_and_keeps_nothing() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", CONFIG_MAPS, {"metadata": {"name": "a", "finalizers": ["x/y"]}})
        before = (await ask("GET", CONFIG_MAPS)).body
        named = await ask("POST", f"{CONFIG_MAPS}?dryRun=All", {"metadata": {"generateName": "g-"}})
        assert named.status == 201 and named.body["metadata"]["name"].startswith("g-")
        assert (await ask("POST", f"{CONFIG_MAPS}?dryRun=All", {"metadata": {"name": "a"}})).status == 409
        stale = {"metadata": {"name": "a", "resourceVersion": "1"}}
        assert (await ask("PUT", f"{CONFIG_MAPS}/a?dryRun=All", stale)).status == 409
        assert (await ask("DELETE", f"{CONFIG_MAPS}/a?dryRun=All", None)).body["metadata"]["deletionTimestamp"]
        refused = await ask("DELETE", f"{CONFIG_MAPS}/a", {"dryRun": ["All"], "preconditions": {"uid": "x"}})
        assert refused.status == 409
        swept = await ask("DELETE", f"{CONFIG_MAPS}?dryRun=All")
        assert [item["metadata"]["name"] for item in swept.body["items"]] == ["a"]
        assert (await ask("GET", CONFIG_MAPS)).body == before, "not even a revision was used"

    talk(conversation)


@pytest.mark.parametrize("given", [None, "", "0"], ids=["absent", "empty", "zero"])
def test_an_update_without_a_version_takes_what_is_there(given: str | None) -> None:
    meta = {} if given is None else {"resourceVersion": given}

    async def conversation(ask: Conversation) -> None:
        made = await ask("POST", SERVICES, make_service())
        written = await ask("PUT", f"{SERVICES}/web", make_service(meta={**meta, "labels": {"a": "b"}}))
        assert written.status == 200
        assert int(written.body["metadata"]["resourceVersion"]) > int(made.body["metadata"]["resourceVersion"])
        assert written.body["metadata"]["uid"] == made.body["metadata"]["uid"], (
            "an absent uid keeps the one that is there"
        )

    talk(conversation)


def test_a_rehearsed_create_does_not_mind_a_version() -> None:
    body = {"metadata": {"name": "a", "resourceVersion": "7"}}

    async def conversation(ask: Conversation) -> None:
        tried = await ask("POST", f"{CONFIG_MAPS}?dryRun=All", body)
        assert tried.status == 201 and "resourceVersion" not in tried.body["metadata"]
        zero = {"metadata": {"name": "a", "resourceVersion": "0"}}
        assert (await ask("POST", CONFIG_MAPS, zero)).status == 201

    talk(conversation)
