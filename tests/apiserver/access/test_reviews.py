"""Questions about rights and credentials. Rule: spec "api-machinery" §10.3, §10.4."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from seaway.api.machinery.http import ANONYMOUS, Identity
from seaway.api.registry import REVIEWS, Resource
from seaway.api.schema import find_definition
from tests.apiserver.conversation import ADMIN, Conversation, Json, talk
from tests.wire.protobuf_encoder import encode_body

ACCESS, AUTHENTICATION = "/apis/authorization.k8s.io/v1", "/apis/authentication.k8s.io/v1"
SELF, RULES = f"{ACCESS}/selfsubjectaccessreviews", f"{ACCESS}/selfsubjectrulesreviews"
OTHERS, LOCAL = f"{ACCESS}/subjectaccessreviews", f"{ACCESS}/namespaces/a/localsubjectaccessreviews"
ANN = Identity("ann", ("devs", "system:authenticated"), "u-1", (("scope", ("a", "b")),))
RBAC = "/apis/rbac.authorization.k8s.io/v1"


def about(verb: str, resource: str, **more: str) -> Json:
    return {"spec": {"resourceAttributes": {"verb": verb, "resource": resource, **more}}}


async def grant(ask: Conversation) -> None:
    """Devs read Services in `a`; ann is bound to a role that does not exist."""
    await ask("POST", "/api/v1/namespaces", {"metadata": {"name": "a"}})
    rules = [{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["services"], "resourceNames": ["web"]}]
    await ask("POST", f"{RBAC}/namespaces/a/roles", {"metadata": {"name": "read"}, "rules": rules})
    for name, subject, role in (
        ("read", {"kind": "Group", "name": "devs"}, {"kind": "Role", "name": "read"}),
        ("gone", {"kind": "User", "name": "ben"}, {"kind": "ClusterRole", "name": "gone"}),
    ):
        body = {"metadata": {"name": name}, "subjects": [subject], "roleRef": role}
        assert (await ask("POST", f"{RBAC}/namespaces/a/rolebindings", body)).status == 201


@pytest.mark.parametrize(
    ("path", "identity", "body", "status"),
    [
        pytest.param(
            SELF, ADMIN, about("delete", "pods"),
            {"allowed": True, "reason": 'RBAC: allowed by ClusterRoleBinding "cluster-admin" of ClusterRole '
             '"cluster-admin" to Group "system:masters"'},
            id="what is allowed says by what",
        ),
        pytest.param(
            SELF, ANN, about("get", "services", namespace="a", name="web"),
            {"allowed": True, "reason": 'RBAC: allowed by RoleBinding "read/a" of Role "read" to Group "devs"'},
            id="a right in a namespace",
        ),
        pytest.param(SELF, ANN, about("get", "services", namespace="a"), {"allowed": False}, id="a refusal is just no"),
        pytest.param(SELF, ANN, about("get", "services", namespace="b", name="web"), {"allowed": False},
                     id="not in another namespace"),
        pytest.param(
            SELF, ANN, {"spec": {"nonResourceAttributes": {"verb": "get", "path": "/api"}}},
            {"allowed": True, "reason": 'RBAC: allowed by ClusterRoleBinding "system:discovery" of ClusterRole '
             '"system:discovery" to Group "system:authenticated"'},
            id="a path",
        ),
        pytest.param(
            OTHERS, ADMIN,
            {"spec": {**about("get", "services", namespace="a", name="web")["spec"], "groups": ["devs"]}},
            {"allowed": True, "reason": 'RBAC: allowed by RoleBinding "read/a" of Role "read" to Group "devs"'},
            id="somebody else's rights",
        ),
        pytest.param(
            OTHERS, ADMIN, {"spec": {**about("get", "pods", namespace="a")["spec"], "user": "ben"}},
            {"allowed": False, "reason": 'RBAC: clusterrole.rbac.authorization.k8s.io "gone" not found'},
            id="a role that is missing is told",
        ),
        pytest.param(
            OTHERS, ADMIN, {"spec": {"user": "x", "nonResourceAttributes": {"verb": "get", "path": "/api"}}},
            {"allowed": False}, id="nobody is added to a group that the question does not name",
        ),
        pytest.param(
            LOCAL, ADMIN,
            {"spec": {**about("list", "services", namespace="a", name="web")["spec"], "groups": ["devs"]}},
            {"allowed": True, "reason": 'RBAC: allowed by RoleBinding "read/a" of Role "read" to Group "devs"'},
            id="in one namespace",
        ),
    ],
)  # fmt: skip
def test_an_access_review_is_answered(path: str, identity: Identity, body: Json, status: Json) -> None:
    async def conversation(ask: Conversation) -> None:
        await grant(ask)
        reply = await ask("POST", path, body, identity=identity)
        assert reply.status == 201
        assert reply.body["status"] == status
        assert reply.body["spec"] == body["spec"]

    talk(conversation)


BOTH = {"resourceAttributes": {"verb": "get"}, "nonResourceAttributes": {"path": "/x"}}
ONE = "exactly one of nonResourceAttributes or resourceAttributes must be specified"


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        pytest.param(SELF, {"spec": {}}, 422, 'SelfSubjectAccessReview.authorization.k8s.io "" is invalid: '
                     f"spec.resourceAttributes: Invalid value: null: {ONE}", id="nothing is asked"),
        pytest.param(SELF, {"spec": BOTH}, 422, "cannot be specified in combination with resourceAttributes",
                     id="two things are asked"),
        pytest.param(SELF, {**about("get", "pods"), "metadata": {"name": "x"}}, 422, "must be empty",
                     id="it has a name"),
        pytest.param(OTHERS, about("get", "pods"), 422, 'spec.user: Invalid value: "": at least one of user or group '
                     "must be specified", id="about nobody"),
        pytest.param(LOCAL, {"spec": {"user": "u", **about("get", "pods", namespace="b")["spec"]}}, 422,
                     'spec.resourceAttributes.namespace: Invalid value: "b": must match metadata.namespace',
                     id="about another namespace"),
        pytest.param(LOCAL, {"spec": {"user": "u", "nonResourceAttributes": {"path": "/x"}}}, 422,
                     "disallowed on this kind of request", id="a path is in no namespace"),
        pytest.param(LOCAL, {"metadata": {"namespace": "b"}, "spec": {"user": "u"}}, 400,
                     "the namespace of the provided object does not match the namespace sent on the request",
                     id="another namespace in the body"),
        pytest.param(RULES, {"spec": {}}, 400, "no namespace on request", id="rules of no namespace"),
        pytest.param(f"{AUTHENTICATION}/tokenreviews", {"spec": {}}, 400,
                     "token is required for TokenReview in authentication", id="no token"),
        pytest.param(SELF, {"kind": "Pod", "apiVersion": "v1"}, 400, "cannot be handled as a SelfSubjectAccessReview",
                     id="another kind"),
        pytest.param(f"{SELF}?dryRun=x", about("get", "pods"), 422, 'dryRun: Unsupported value: ["x"]',
                     id="a bad option"),
    ],
)  # fmt: skip
def test_a_wrong_question_is_refused(path: str, body: Json, status: int, message: str) -> None:
    async def conversation(ask: Conversation) -> None:
        await grant(ask)
        reply = await ask("POST", path, body)
        assert reply.status == status and message in reply.message, reply.message

    talk(conversation)


def test_the_rules_of_oneself_are_those_of_the_namespace_and_of_the_cluster() -> None:
    async def conversation(ask: Conversation) -> None:
        await grant(ask)
        reply = await ask("POST", RULES, {"spec": {"namespace": "a"}}, identity=ANN)
        assert (reply.status, reply.body["spec"]) == (201, {})
        status = reply.body["status"]
        assert status["incomplete"] is False
        assert status["resourceRules"][-1] == {
            "verbs": ["get", "list"], "apiGroups": [""], "resources": ["services"], "resourceNames": ["web"],
        }  # fmt: skip
        assert {"verbs": ["create"], "apiGroups": ["authentication.k8s.io"],
                "resources": ["selfsubjectreviews"]} in status["resourceRules"]  # fmt: skip
        assert any("/api/*" in rule["nonResourceURLs"] for rule in status["nonResourceRules"])
        elsewhere = await ask("POST", RULES, {"spec": {"namespace": "b"}}, identity=ANN)
        assert all(rule["resources"] != ["services"] for rule in elsewhere.body["status"]["resourceRules"])

    talk(conversation)


def test_rules_that_cannot_all_be_told_are_called_incomplete() -> None:
    ben = Identity("ben", ("system:authenticated",))
    node = Identity("system:node:n", ("system:authenticated", "system:nodes"))

    async def conversation(ask: Conversation) -> None:
        await grant(ask)
        for who, why in ((ben, '"gone" not found'), (node, "node authorizer does not support user rule resolution")):
            status = (await ask("POST", RULES, {"spec": {"namespace": "a"}}, identity=who)).body["status"]
            assert status["incomplete"] is True and why in status["evaluationError"]

    talk(conversation)


def test_who_am_i() -> None:
    async def conversation(ask: Conversation) -> None:
        path = f"{AUTHENTICATION}/selfsubjectreviews"
        reply = await ask("POST", path, {}, identity=ANN)
        assert reply.body == {
            "kind": "SelfSubjectReview",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"creationTimestamp": "2026-01-02T12:00:00Z"},
            "status": {
                "userInfo": {
                    "username": "ann",
                    "uid": "u-1",
                    "groups": ["devs", "system:authenticated"],
                    "extra": {"scope": ["a", "b"]},
                }
            },
        }
        assert (await ask("POST", path, {}, identity=ANONYMOUS)).status == 403

    talk(conversation)


def test_a_bad_token_is_reviewed_and_not_accepted() -> None:
    async def conversation(ask: Conversation) -> None:
        reply = await ask("POST", f"{AUTHENTICATION}/tokenreviews", {"spec": {"token": "no"}})
        assert (reply.status, reply.body["status"]) == (201, {"user": {}, "error": "invalid bearer token"})

    talk(conversation)


def path_of(resource: Resource) -> str:
    return resource.path("a" if resource.namespaced else "")


@pytest.mark.parametrize("resource", REVIEWS, ids=lambda resource: resource.kind)
def test_a_review_can_only_be_created_and_is_kept_nowhere(resource: Resource) -> None:
    async def conversation(ask: Conversation) -> None:
        path, revision = path_of(resource), ask.server.state.watch_cache.revision
        for method, target in (
            *(("GET", path), ("GET", f"{path}?watch=1"), ("DELETE", path)),
            *((method, f"{path}/x") for method in ("GET", "PUT", "PATCH", "DELETE")),
        ):
            assert (await ask(method, target, {})).status == 405, (method, target)
        await ask("POST", path, BODIES[resource.kind])
        assert ask.server.state.watch_cache.revision == revision

    talk(conversation)


BODIES: Mapping[str, Json] = {
    "TokenReview": {"spec": {"token": "x", "audiences": ["v"]}},
    "SelfSubjectReview": {},
    "SubjectAccessReview": {"spec": {"user": "u", "resourceAttributes": {"verb": "get", "resource": "pods"}}},
    "SelfSubjectAccessReview": about("get", "pods"),
    "LocalSubjectAccessReview": {"spec": {"user": "u", **about("get", "pods", namespace="a")["spec"]}},
    "SelfSubjectRulesReview": {"spec": {"namespace": "a"}},
}


@pytest.mark.parametrize("resource", REVIEWS, ids=lambda resource: resource.kind)
def test_a_review_in_protobuf_yaml_and_json_gets_one_answer(resource: Resource) -> None:
    async def conversation(ask: Conversation) -> None:
        definition = find_definition(resource.group, resource.version, resource.kind)
        assert definition is not None
        body: Any = {**BODIES[resource.kind], "kind": resource.kind, "apiVersion": resource.api_version}
        answers = [
            await ask("POST", path_of(resource), raw, headers={"content-type": f"application/{media}"})
            for media, raw in (
                ("json", body), ("yaml", str(body).encode()),
                ("vnd.kubernetes.protobuf", encode_body(body, definition)),
            )
        ]  # fmt: skip
        assert [answer.status for answer in answers] == [201, 201, 201], answers[-1].body
        assert answers[0].body == answers[1].body == answers[2].body
        shown = await ask("POST", path_of(resource), body, headers={"accept": "application/yaml"})
        assert shown.headers["Content-Type"] == "application/yaml" and b"status:" in shown.text

    talk(conversation)
