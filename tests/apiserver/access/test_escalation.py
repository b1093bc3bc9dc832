"""Nobody hands out what they do not hold. Rule: spec "api-machinery" §10.4."""

from __future__ import annotations

import pytest

from seaway.api.machinery.http import Identity
from tests.apiserver.conversation import Conversation, Json, Reply, talk

RBAC = "/apis/rbac.authorization.k8s.io/v1"
ROLES, BINDINGS = f"{RBAC}/namespaces/default/roles", f"{RBAC}/namespaces/default/rolebindings"
CLUSTER_ROLES, CLUSTER_BINDINGS = f"{RBAC}/clusterroles", f"{RBAC}/clusterrolebindings"
ANN = Identity("ann", ("devs", "system:authenticated"))
ANY_ROLE = {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["*"]}
WRITES = {"verbs": ["create", "update", "patch", "get", "delete"], **ANY_ROLE}
READ_PODS = {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}
READ_SECRETS = {**READ_PODS, "resources": ["secrets"]}


def role(name: str, *rules: Json, **more: object) -> Json:
    return {"metadata": {"name": name}, "rules": list(rules), **more}


def binding(name: str, target: str, *users: str, kind: str = "ClusterRole") -> Json:
    subjects = [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"} for user in users]
    reference = {"kind": kind, "name": target, "apiGroup": "rbac.authorization.k8s.io"}
    return {"metadata": {"name": name}, "subjects": subjects, "roleRef": reference}


async def give(ask: Conversation, *rules: Json) -> None:
    """Ann holds these rules in the whole cluster, and may write roles."""
    assert (await ask("POST", CLUSTER_ROLES, role("anns", WRITES, *rules))).status == 201
    assert (await ask("POST", CLUSTER_BINDINGS, binding("anns", "anns", "ann"))).status == 201


async def put(ask: Conversation, path: str, obj: Json) -> Reply:
    """Ann's PUT over what an administrator has made."""
    await ask("POST", path.rpartition("/")[0], obj)
    return await ask("GET", path)


def test_a_role_with_more_than_its_writer_holds_is_refused_with_all_that_is_missing() -> None:
    async def conversation(ask: Conversation) -> None:
        await give(ask, READ_PODS)
        wide = role(
            "wide", {**READ_PODS, "verbs": ["delete", "get", "watch"]}, {**READ_SECRETS, "resourceNames": ["s"]}
        )
        for path in (ROLES, CLUSTER_ROLES):
            plural = path.rpartition("/")[2]
            reply = await ask("POST", path, wide, identity=ANN)
            assert reply.status == 403
            assert reply.message == (
                f'{plural}.rbac.authorization.k8s.io "wide" is forbidden: user "ann" (groups=["devs" '
                '"system:authenticated"]) is attempting to grant RBAC permissions not currently held:\n'
                '{APIGroups:[""], Resources:["pods"], Verbs:["delete" "watch"]}\n'
                '{APIGroups:[""], Resources:["secrets"], ResourceNames:["s"], Verbs:["get" "list"]}'
            )
        assert (await ask("POST", ROLES, role("narrow", READ_PODS), identity=ANN)).status == 201

    talk(conversation)


def test_paths_are_rights_too() -> None:
    async def conversation(ask: Conversation) -> None:
        await give(ask, {"verbs": ["get"], "nonResourceURLs": ["/metrics", "/x/*"]})
        fine = role("fine", {"verbs": ["get"], "nonResourceURLs": ["/metrics", "/x/y"]})
        assert (await ask("POST", CLUSTER_ROLES, fine, identity=ANN)).status == 201
        reply = await ask("POST", CLUSTER_ROLES, role("no", {"verbs": ["get"], "nonResourceURLs": ["*"]}), identity=ANN)
        assert reply.status == 403 and '{NonResourceURLs:["*"], Verbs:["get"]}' in reply.message

    talk(conversation)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "PUT of a missing one"])
def test_every_way_to_write_a_role_is_judged(method: str) -> None:
    async def conversation(ask: Conversation) -> None:
        await give(ask, READ_PODS)
        path, wide = f"{ROLES}/r", role("r", READ_SECRETS)
        if method == "PUT of a missing one":
            reply = await ask("PUT", path, wide, identity=ANN)
        else:
            await ask("POST", ROLES, role("r", READ_PODS))
            headers = {"content-type": "application/merge-patch+json"} if method == "PATCH" else {}
            reply = await ask(method, path, wide, identity=ANN, headers=headers)
        assert reply.status == 403 and "is attempting to grant RBAC permissions" in reply.message

    talk(conversation)


def test_what_a_role_grants_already_may_stay_when_something_else_changes() -> None:
    async def conversation(ask: Conversation) -> None:
        await give(ask)
        await ask("POST", ROLES, role("r", READ_SECRETS))
        labelled = {**role("r", READ_SECRETS), "metadata": {"name": "r", "labels": {"a": "b"}}}
        assert (await ask("PUT", f"{ROLES}/r", labelled, identity=ANN)).status == 200
        await ask("POST", BINDINGS, binding("b", "cluster-admin", "ben"))
        kept = {**binding("b", "cluster-admin", "ben"), "metadata": {"name": "b", "labels": {"a": "b"}}}
        assert (await ask("PUT", f"{BINDINGS}/b", kept, identity=ANN)).status == 200

    talk(conversation)


def test_escalate_lets_a_role_be_written_and_bind_lets_it_be_bound() -> None:
    async def conversation(ask: Conversation) -> None:
        await give(ask, {"verbs": ["escalate"], **ANY_ROLE}, {"verbs": ["bind"], **ANY_ROLE, "resourceNames": ["a"]})
        for name in ("a", "b"):
            assert (await ask("POST", CLUSTER_ROLES, role(name, READ_SECRETS), identity=ANN)).status == 201
        assert (await ask("POST", CLUSTER_BINDINGS, binding("a", "a", "ben"), identity=ANN)).status == 201
        assert (await ask("POST", CLUSTER_BINDINGS, binding("b", "b", "ben"), identity=ANN)).status == 403

    talk(conversation)


def test_a_binding_to_more_than_its_writer_holds_is_refused() -> None:
    async def conversation(ask: Conversation) -> None:
        await give(ask, READ_PODS)
        reply = await ask("POST", CLUSTER_BINDINGS, binding("b", "cluster-admin", "ann"), identity=ANN)
        assert reply.status == 403 and '{APIGroups:["*"], Resources:["*"], Verbs:["*"]}' in reply.message
        await ask("POST", CLUSTER_ROLES, role("readers", READ_PODS))
        assert (await ask("POST", BINDINGS, binding("b", "readers", "ben"), identity=ANN)).status == 201
        await ask("POST", BINDINGS, binding("c", "cluster-admin", "ben"))
        more = await ask("PUT", f"{BINDINGS}/c", binding("c", "cluster-admin", "ben", "ann"), identity=ANN)
        assert more.status == 403

    talk(conversation)


def test_a_role_that_does_not_exist_yet_cannot_be_bound() -> None:
    async def conversation(ask: Conversation) -> None:
        await give(ask)
        reply = await ask("POST", BINDINGS, binding("b", "later", "ann", kind="Role"), identity=ANN)
        assert (reply.status, reply.message) == (404, 'roles.rbac.authorization.k8s.io "later" not found')
        assert (await ask("POST", BINDINGS, binding("b", "later", "ann", kind="Role"))).status == 201, "admins may"

    talk(conversation)


def test_a_binding_keeps_its_role() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", BINDINGS, binding("b", "view", "ben"))
        reply = await ask("PUT", f"{BINDINGS}/b", binding("b", "edit", "ben"))
        assert reply.status == 422 and "roleRef: Invalid value: " in reply.message
        assert "cannot change roleRef" in reply.message

    talk(conversation)


GATHER = {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}


def test_what_gathers_the_rules_of_others_takes_all_rights_there_are() -> None:
    why = "must have cluster-admin privileges to use the aggregationRule"

    async def conversation(ask: Conversation) -> None:
        await give(ask, READ_PODS)
        reply = await ask("POST", CLUSTER_ROLES, role("g", aggregationRule=GATHER), identity=ANN)
        assert reply.status == 403 and why in reply.message
        await ask("POST", CLUSTER_ROLES, role("g", aggregationRule=GATHER))
        reply = await ask("PUT", f"{CLUSTER_ROLES}/g", role("g", READ_PODS), identity=ANN)
        assert reply.status == 403 and why in reply.message, "nor may it be taken apart"
        await ask("POST", CLUSTER_BINDINGS, binding("all", "cluster-admin", "ann"))
        assert (await ask("POST", CLUSTER_ROLES, role("h", aggregationRule=GATHER), identity=ANN)).status == 201

    talk(conversation)


def test_problems_with_the_writers_own_bindings_are_told() -> None:
    async def conversation(ask: Conversation) -> None:
        await give(ask)
        await ask("POST", BINDINGS, binding("gone", "gone", "ann"))
        reply = await ask("POST", ROLES, role("r", READ_SECRETS), identity=ANN)
        assert reply.message.endswith('; resolution errors: [clusterrole.rbac.authorization.k8s.io "gone" not found]')

    talk(conversation)
