"""The roles that every server has, and who may read Secrets by them. Rule: spec "api-machinery" §10.4."""

from __future__ import annotations

import functools
import json
from dataclasses import replace

import pytest

from seaway.api.machinery.http import ANONYMOUS, Identity
from seaway.api.registry import CLUSTER_ROLES, RESOURCES, REVIEWS, SERVED, Resource
from seaway.apiserver.access import roles
from seaway.apiserver.access.controllerroles import CONTROLLER_PREFIX, CONTROLLER_RULES, OWN_LOOPS
from seaway.apiserver.access.rbac import Attributes, Policy
from seaway.apiserver.builtin import bootstrap
from seaway.apiserver.builtin.bootstrap import make_rbac_objects
from tests.apiserver.conversation import Conversation, Json, talk

RBAC = "/apis/rbac.authorization.k8s.io/v1"
EVERYBODY = "system:authenticated"


@functools.cache
def policy() -> Policy:
    objects = make_rbac_objects()
    cluster_roles = [obj for resource, obj in objects if resource is CLUSTER_ROLES]
    bindings = [obj for resource, obj in objects if resource is not CLUSTER_ROLES]
    users = [
        {
            "metadata": {"name": name},
            "subjects": [{"kind": "User", "name": f"the-{name}"}],
            "roleRef": {"kind": "ClusterRole", "name": name},
        }
        for name in ("view", "edit", "admin")
    ]
    return Policy(cluster_roles, [*bindings, *users])


def who(user: str, *groups: str) -> Identity:
    return Identity(user, tuple(sorted((*groups, EVERYBODY))))


def account(name: str, namespace: str = "kube-system") -> Identity:
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
    return who(f"system:serviceaccount:{namespace}:{name}", *groups)


def may(identity: Identity, verb: str, resource: Resource, subresource: str = "") -> bool:
    asked = Attributes(verb, resource.group, resource.plural, subresource, "shop" if resource.namespaced else "", "x")
    return policy().decide(identity, asked).allowed


VIEWER, EDITOR, ADMIN = who("the-view"), who("the-edit"), who("the-admin")
# Kinds of a namespace that users do not see, or see and do not write, and why.
NOT_VIEWED = {
    "secrets": "whoever reads one may act as whom it speaks for",
    "leases.coordination.k8s.io": "programs' own; editors have them",
    "roles.rbac.authorization.k8s.io": "administrators' own",
    "rolebindings.rbac.authorization.k8s.io": "administrators' own",
}
NOT_EDITED = {
    "endpoints": "whoever writes them sends a Service's clients elsewhere",
    "endpointslices.discovery.k8s.io": "the same",
    "limitranges": "limits are set from outside of the namespace",
    "resourcequotas": "the same",
    "controllerrevisions.apps": "the controllers' own",
    "roles.rbac.authorization.k8s.io": "administrators' own",
    "rolebindings.rbac.authorization.k8s.io": "administrators' own",
    "localsubjectaccessreviews.authorization.k8s.io": "administrators' own",
}


def named(resource: Resource) -> str:
    return f"{resource.plural}.{resource.group}" if resource.group else resource.plural


NAMESPACED = [resource for resource in SERVED if resource.namespaced]


@pytest.mark.parametrize("resource", [r for r in NAMESPACED if r.is_stored], ids=named)
def test_every_kind_of_a_namespace_is_viewed_and_edited_or_named_as_left_out(resource: Resource) -> None:
    viewed = named(resource) not in NOT_VIEWED
    for verb in ("get", "list", "watch"):
        assert may(VIEWER, verb, resource) is viewed, verb
        if named(resource) in ("secrets", "leases.coordination.k8s.io"):
            assert may(EDITOR, verb, resource)
        assert may(ADMIN, verb, resource)
    for verb in ("create", "update", "patch", "delete", "deletecollection"):
        assert not may(VIEWER, verb, resource), verb
        if verb in resource.verbs:
            assert may(EDITOR, verb, resource) is (named(resource) not in NOT_EDITED), verb
            if "rbac" in resource.group:
                assert may(ADMIN, verb, resource)


@pytest.mark.parametrize("resource", [r for r in RESOURCES if not r.namespaced], ids=named)
def test_users_of_a_namespace_write_nothing_of_the_cluster_and_see_namespaces_alone(resource: Resource) -> None:
    for identity in (VIEWER, EDITOR, ADMIN):
        assert may(identity, "get", resource) is (resource.plural == "namespaces")
        for verb in ("create", "update", "patch", "delete", "deletecollection"):
            assert not may(identity, verb, resource)


def test_the_lists_of_what_is_left_out_name_only_kinds_that_are_served() -> None:
    assert {*NOT_VIEWED, *NOT_EDITED} <= {named(resource) for resource in NAMESPACED}


def test_everybody_who_is_known_asks_about_themselves_and_about_nobody_else() -> None:
    own = {"SelfSubjectReview", "SelfSubjectAccessReview", "SelfSubjectRulesReview"}
    for resource in REVIEWS:
        assert may(who("ann"), "create", resource) is (resource.kind in own)
        assert not policy().decide(ANONYMOUS, Attributes("create", resource.group, resource.plural)).allowed


# Who reads Secrets

SECRETS = next(resource for resource in RESOURCES if resource.plural == "secrets")
READ = ("get", "list", "watch")
READS_ALL = {
    "the editor": EDITOR,
    "the administrator of a namespace": ADMIN,
    "masters": who("root", "system:masters"),
    "the control loops": who("system:kube-controller-manager"),
    **{
        f"the account of {name}": account(name)
        for name in ("generic-garbage-collector", "namespace-controller", "resourcequota-controller")
    },
}
READS_NONE = {
    "nobody": ANONYMOUS,
    "somebody": who("ann"),
    "an account": account("default", "shop"),
    "the viewer": VIEWER,
    "the proxy": who("system:kube-proxy"),
    "cluster DNS": who("seaway:dns"),
    "health checks": who("seaway:healthcheck"),
    "upstream's DNS": account("kube-dns"),
    "the scheduler": who("system:kube-scheduler"),
    "monitoring": who("prometheus", "system:monitoring"),
    "a joining node": who("system:bootstrap:abcdef", "system:bootstrappers"),
    "a node's name without its group": who("system:node:n"),
    **{f"the account of {name}": account(name) for name in CONTROLLER_RULES
       if f"the account of {name}" not in READS_ALL},
}  # fmt: skip


@pytest.mark.parametrize("identity", READS_NONE.values(), ids=READS_NONE)
def test_secrets_stay_closed(identity: Identity) -> None:
    for verb in (*READ, "create", "update", "patch", "delete"):
        for resource in (SECRETS, replace(SECRETS, namespaced=False)):
            assert not may(identity, verb, resource), verb
    assert not may(identity, "impersonate", next(r for r in RESOURCES if r.plural == "serviceaccounts"))


@pytest.mark.parametrize("identity", READS_ALL.values(), ids=READS_ALL)
def test_secrets_are_open_to(identity: Identity) -> None:
    assert any(may(identity, verb, SECRETS) for verb in READ)


def test_the_walk_meets_every_role_and_every_subject() -> None:
    """A role or binding that is added must be put into one of the two tables above."""
    met = {*READS_ALL.values(), *READS_NONE.values()}
    users = {identity.user for identity in met}
    groups = {group for identity in met for group in identity.groups} | {"system:nodes"}
    for name, subjects in roles.BINDINGS.items():
        for kind, subject in subjects:
            wanted = f"system:serviceaccount:kube-system:{subject}" if kind == "ServiceAccount" else subject
            assert wanted in (groups if kind == "Group" else users), name
    open_roles = {
        name
        for name, rules in roles.ROLE_RULES.items()
        for rule in rules
        if {"*", "secrets"} & set(rule.get("resources", ())) and {"", "*"} & set(rule.get("apiGroups", ()))
        and {*READ, "*"} & set(rule["verbs"])
    }  # fmt: skip
    assert open_roles == {
        "cluster-admin", "system:aggregate-to-edit", "system:kube-controller-manager", "system:node",
        "system:controller:generic-garbage-collector", "system:controller:namespace-controller",
        "system:controller:resourcequota-controller",
    }  # fmt: skip


def test_a_reader_of_a_namespace_reads_no_secret_of_another() -> None:
    reader = {"kind": "User", "name": "ann"}
    reference = {"kind": "ClusterRole", "name": "edit"}

    async def conversation(ask: Conversation) -> None:
        ann = who("ann")
        for namespace in ("a", "b"):
            await ask("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
            await ask("POST", f"/api/v1/namespaces/{namespace}/secrets", {"metadata": {"name": "s"}})
        body = {"metadata": {"name": "e"}, "subjects": [reader], "roleRef": reference}
        assert (await ask("POST", f"{RBAC}/namespaces/a/rolebindings", body)).status == 201
        for path, status in (("namespaces/a/secrets/s", 200), ("namespaces/b/secrets/s", 403), ("secrets", 403)):
            assert (await ask("GET", f"/api/v1/{path}", identity=ann)).status == status
        watch = await ask("GET", "/api/v1/secrets?watch=1", identity=ann)
        assert watch.status == 403

    talk(conversation)


# The roles as objects


def test_every_loop_of_the_controllers_is_bound_to_its_role() -> None:
    loops = who("system:kube-controller-manager")
    for name in OWN_LOOPS:
        rules = roles.ROLE_RULES[f"{CONTROLLER_PREFIX}{name}"]
        for rule in rules:
            asked = Attributes(rule["verbs"][0], rule["apiGroups"][0], *f"{rule['resources'][0]}/".split("/")[:2])
            assert policy().decide(loops, asked).allowed, (name, rule)
            assert policy().decide(account(name), asked).allowed, (name, rule)
    escalate = Attributes("escalate", "rbac.authorization.k8s.io", "clusterroles")
    assert not policy().decide(loops, escalate).allowed


def test_bootstrap_objects_carry_the_marks_by_which_clients_know_them() -> None:
    for _, obj in make_rbac_objects():
        meta = obj["metadata"]
        assert meta["labels"]["kubernetes.io/bootstrapping"] == "rbac-defaults"
        assert meta["annotations"] == {"rbac.authorization.kubernetes.io/autoupdate": "true"}


def test_the_gathering_roles_are_made_filled() -> None:
    made = {obj["metadata"]["name"]: obj for _, obj in make_rbac_objects() if obj["kind"] == "ClusterRole"}
    assert len(made["view"]["rules"]) < len(made["edit"]["rules"]) < len(made["admin"]["rules"])
    assert all(rule in made["admin"]["rules"] for rule in made["view"]["rules"])


async def plan(ask: Conversation) -> list[str]:
    return [f"{write.resource.kind}/{write.name}" for write in bootstrap.plan_rbac(ask.server.state.find)]


PROXIER, PROXIER_BINDING = f"{RBAC}/clusterroles/system:node-proxier", f"{RBAC}/clusterrolebindings/system:node-proxier"


def test_a_second_start_finds_nothing_to_do() -> None:
    async def conversation(ask: Conversation) -> None:
        assert await plan(ask) == []

    talk(conversation)


@pytest.mark.parametrize(
    ("path", "patch", "found"),
    [
        pytest.param(PROXIER, {"rules": []}, ["ClusterRole/system:node-proxier"], id="rules that are gone come back"),
        pytest.param(PROXIER, {"metadata": {"labels": None}}, ["ClusterRole/system:node-proxier"], id="labels too"),
        pytest.param(PROXIER_BINDING, {"subjects": []}, ["ClusterRoleBinding/system:node-proxier"], id="subjects too"),
        pytest.param(PROXIER, {"rules": [], "metadata": {"annotations": {bootstrap.AUTOUPDATE: "false"}}}, [],
                     id="but not where somebody says hands off"),
        pytest.param(PROXIER_BINDING, {"subjects": [{"kind": "User", "name": "ann"},
                                                    {"kind": "User", "name": "system:kube-proxy",
                                                     "apiGroup": "rbac.authorization.k8s.io"}]}, [],
                     id="further subjects stay"),
        pytest.param(f"{RBAC}/clusterroles/view", {"rules": []}, [], id="what gathers is left to the loop"),
    ],
)  # fmt: skip
def test_what_is_missing_is_put_back_and_what_was_added_stays(path: str, patch: Json, found: list[str]) -> None:
    async def conversation(ask: Conversation) -> None:
        assert (await ask.patch(path, patch)).status == 200
        assert await plan(ask) == found

    talk(conversation)


def test_a_role_that_was_cut_keeps_what_was_added() -> None:
    more = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}

    async def conversation(ask: Conversation) -> None:
        whole = (await ask("GET", PROXIER)).body["rules"]
        await ask.patch(PROXIER, {"rules": [more, *whole[1:]]})
        [write] = bootstrap.plan_rbac(ask.server.state.find)
        assert write.obj is not None
        assert write.obj["rules"] == [more, *whole[1:], whole[0]]

    talk(conversation)


def test_a_role_and_binding_that_were_deleted_are_made_anew() -> None:
    async def conversation(ask: Conversation) -> None:
        for path in (PROXIER, PROXIER_BINDING):
            await ask("DELETE", path)
        assert await plan(ask) == ["ClusterRole/system:node-proxier", "ClusterRoleBinding/system:node-proxier"]

    talk(conversation)


def test_the_policy_is_made_anew_only_after_a_role_or_binding_has_changed() -> None:
    async def conversation(ask: Conversation) -> None:
        state = ask.server.state
        before = state.read_policy()
        await ask("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": "c"}})
        assert state.read_policy() is before
        await ask("POST", f"{RBAC}/clusterroles", {"metadata": {"name": "r"}, "rules": []})
        assert state.read_policy() is not before

    talk(conversation)


def test_nobody_in_particular_reaches_health_and_version_alone() -> None:
    allowed = ("/livez", "/readyz", "/healthz", "/version", "/version/")
    refused = ("/livez/ping", "/metrics", "/api", "/apis", "/openapi/v2", "/", "/.well-known/openid-configuration")

    async def conversation(ask: Conversation) -> None:
        for path in allowed:
            assert (await ask("GET", path, identity=ANONYMOUS)).status == 200, path
        for path in refused:
            reply = await ask("GET", path, identity=ANONYMOUS)
            assert reply.status == 403
            assert reply.message == f'forbidden: User "system:anonymous" cannot get path "{path}"'
        for path in ("/api/v1/pods", "/apis/apps/v1/deployments"):
            reply = await ask("GET", path, identity=ANONYMOUS)
            assert reply.status == 403 and 'User "system:anonymous" cannot list resource' in reply.message

    talk(conversation)


def test_a_namespace_is_born_with_its_account() -> None:
    async def conversation(ask: Conversation) -> None:
        for rehearsed in ("?dryRun=All", ""):
            await ask("POST", f"/api/v1/namespaces{rehearsed}", {"metadata": {"name": "new"}})
            found = await ask("GET", "/api/v1/namespaces/new/serviceaccounts/default")
            assert found.status == (404 if rehearsed else 200)
        assert found.body["metadata"]["uid"] and json.loads(found.text)["kind"] == "ServiceAccount"

    talk(conversation)
