"""RBAC evaluation and the bootstrap policy. Rule: spec "api-machinery" §10.4, §1.4."""

from __future__ import annotations

from typing import Any

import pytest

from seaway.api.machinery.http import ANONYMOUS, Identity
from seaway.api.registry import CLUSTER_ROLES
from seaway.apiserver.access.rbac import Attributes, Policy, make_refusal, parse_rules
from seaway.apiserver.builtin.bootstrap import make_rbac_objects

Json = dict[str, Any]


def role(name: str, *rules: Json, namespace: str = "") -> Json:
    return {"metadata": {"name": name, "namespace": namespace}, "rules": list(rules)}


def binding(role_name: str, *subjects: Json, namespace: str = "", kind: str = "ClusterRole") -> Json:
    reference = {"kind": kind, "name": role_name}
    return {"metadata": {"name": "b", "namespace": namespace}, "subjects": list(subjects), "roleRef": reference}


USER = {"kind": "User", "name": "ann"}
READ_PODS = {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}
ANN = Identity("ann", ("system:authenticated",))


def decide(asked: Attributes, rule: Json, *, identity: Identity = ANN, subject: Json = USER) -> bool:
    return Policy([role("r", rule)], [binding("r", subject)]).decide(identity, asked).allowed


@pytest.mark.parametrize(
    ("asked", "rule", "allowed"),
    [
        pytest.param(Attributes("get", "", "pods"), READ_PODS, True, id="verb, group and resource fit"),
        pytest.param(Attributes("delete", "", "pods"), READ_PODS, False, id="another verb"),
        pytest.param(Attributes("get", "apps", "pods"), READ_PODS, False, id="another group"),
        pytest.param(Attributes("get", "", "pods", "log"), READ_PODS, False, id="a subresource is another resource"),
        pytest.param(
            Attributes("get", "", "pods", "log"),
            {**READ_PODS, "resources": ["pods/log"]},
            True,
            id="a subresource by name",
        ),
        pytest.param(
            Attributes("get", "", "pods", "log"), {**READ_PODS, "resources": ["*/log"]}, True, id="a subresource of all"
        ),
        pytest.param(Attributes("get", "", "pods", "log"), {**READ_PODS, "resources": ["*"]}, True, id="a star is all"),
        pytest.param(
            Attributes("get", "x", "y"), {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}, True, id="stars"
        ),
        pytest.param(
            Attributes("get", "", "pods", name="a"), {**READ_PODS, "resourceNames": ["a"]}, True, id="the named object"
        ),
        pytest.param(
            Attributes("get", "", "pods", name="b"), {**READ_PODS, "resourceNames": ["a"]}, False, id="another object"
        ),
        pytest.param(
            Attributes("list", "", "pods"), {**READ_PODS, "resourceNames": ["a"]}, False, id="a list has no name"
        ),
        pytest.param(
            Attributes("get", path="/metrics"), {"verbs": ["get"], "nonResourceURLs": ["/metrics"]}, True, id="path"
        ),
        pytest.param(
            Attributes("get", path="/a/b"), {"verbs": ["get"], "nonResourceURLs": ["/a/*"]}, True, id="prefix"
        ),
        pytest.param(
            Attributes("get", path="/b"), {"verbs": ["get"], "nonResourceURLs": ["/a/*"]}, False, id="not below"
        ),
        pytest.param(Attributes("get", path="/b"), {"verbs": ["get"], "nonResourceURLs": ["*"]}, True, id="any path"),
    ],
)
def test_a_rule_allows(asked: Attributes, rule: Json, allowed: bool) -> None:
    assert decide(asked, rule) is allowed


@pytest.mark.parametrize(
    ("identity", "subject", "bound"),
    [
        (ANN, {"kind": "Group", "name": "system:authenticated"}, True),
        (ANN, {"kind": "Group", "name": "ann"}, False),
        (Identity("system:serviceaccount:a:b"), {"kind": "ServiceAccount", "name": "b", "namespace": "a"}, True),
        (Identity("system:serviceaccount:x:b"), {"kind": "ServiceAccount", "name": "b", "namespace": "a"}, False),
        (ANONYMOUS, {"kind": "User", "name": "system:anonymous"}, True),
        (ANN, {"kind": "User"}, False),
    ],
)
def test_subjects(identity: Identity, subject: Json, bound: bool) -> None:
    assert decide(Attributes("get", "", "pods"), READ_PODS, identity=identity, subject=subject) is bound


def test_a_role_binding_counts_in_its_namespace_alone() -> None:
    policy = Policy([role("r", READ_PODS)], [], [], [binding("r", USER, namespace="a")])
    assert policy.decide(ANN, Attributes("get", "", "pods", namespace="a")).allowed
    assert not policy.decide(ANN, Attributes("get", "", "pods", namespace="b")).allowed
    assert not policy.decide(ANN, Attributes("get", "", "pods")).allowed


def test_a_binding_to_a_role_finds_it_in_its_own_namespace() -> None:
    roles = [role("r", READ_PODS, namespace="a")]
    bindings = [binding("r", USER, namespace=n, kind="Role") for n in ("a", "b")]
    policy = Policy([], [], roles, bindings)
    assert policy.decide(ANN, Attributes("get", "", "pods", namespace="a")).allowed
    missing = policy.decide(ANN, Attributes("get", "", "pods", namespace="b"))
    assert missing.reason == 'RBAC: role.rbac.authorization.k8s.io "r" not found'


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            Attributes("get", "", "services", "", "default", "web"),
            'services "web" is forbidden: User "u" cannot get resource "services" in API group "" in the namespace '
            '"default"',
        ),
        (
            Attributes("list", "discovery.k8s.io", "endpointslices"),
            'endpointslices.discovery.k8s.io is forbidden: User "u" cannot list resource "endpointslices" in API group '
            '"discovery.k8s.io" at the cluster scope',
        ),
        (
            Attributes("get", "", "pods", "log", "a", "p"),
            'pods "p" is forbidden: User "u" cannot get resource "pods/log" in API group "" in the namespace "a"',
        ),
        (Attributes("get", path="/metrics"), 'forbidden: User "u" cannot get path "/metrics"'),
    ],
)
def test_a_refusal_says_who_may_not_do_what(asked: Attributes, message: str) -> None:
    assert make_refusal(Identity("u"), asked).message == message


def test_a_refusal_escapes_what_html_would_take_for_markup() -> None:
    assert 'User "&lt;b&gt;"' in make_refusal(Identity("<b>"), Attributes("get", "", "pods")).message


def bootstrap_policy() -> Policy:
    objects = make_rbac_objects()
    roles = [obj for resource, obj in objects if resource is CLUSTER_ROLES]
    return Policy(roles, [obj for resource, obj in objects if resource is not CLUSTER_ROLES])


def authenticated(user: str, *groups: str) -> Identity:
    return Identity(user, (*groups, "system:authenticated"))


ADMIN = authenticated("admin", "system:masters")
NODE = authenticated("system:node:n", "system:nodes")
PROXY, DNS = authenticated("system:kube-proxy"), authenticated("seaway:dns")
CHECKS = authenticated("seaway:healthcheck")
LOOPS = authenticated("system:kube-controller-manager")
SLICES = "discovery.k8s.io"


@pytest.mark.parametrize(
    ("identity", "asked", "allowed"),
    [
        pytest.param(ADMIN, Attributes("delete", "any", "thing"), True, id="masters may do everything"),
        pytest.param(ADMIN, Attributes("get", path="/metrics"), True, id="masters may read metrics"),
        pytest.param(ANONYMOUS, Attributes("get", path="/livez"), True, id="anybody may read health"),
        pytest.param(ANONYMOUS, Attributes("get", path="/version"), True, id="anybody may read the version"),
        pytest.param(ANONYMOUS, Attributes("get", path="/livez/ping"), False, id="no single checks for anybody"),
        pytest.param(ANONYMOUS, Attributes("get", path="/api"), False, id="no discovery for anybody"),
        pytest.param(ANONYMOUS, Attributes("list", "", "services"), False, id="no objects for anybody"),
        pytest.param(ANN, Attributes("get", path="/apis/apps/v1"), True, id="discovery for who is known"),
        pytest.param(ANN, Attributes("get", path="/openapi/v3/api/v1"), True, id="OpenAPI for who is known"),
        pytest.param(ANN, Attributes("list", "", "services"), False, id="no objects for who is only known"),
        pytest.param(PROXY, Attributes("watch", SLICES, "endpointslices"), True, id="the proxy watches slices"),
        pytest.param(PROXY, Attributes("watch", "", "secrets"), False, id="the proxy sees no secrets"),
        pytest.param(PROXY, Attributes("update", "", "services"), False, id="the proxy writes no services"),
        *(
            pytest.param(DNS, Attributes("watch", group, plural), True, id=f"dns watches {plural}")
            for group, plural in (
                ("", "services"), (SLICES, "endpointslices"), ("", "pods"), ("", "namespaces"), ("", "nodes"),
            )
        ),
        pytest.param(DNS, Attributes("list", "", "secrets"), False, id="dns sees no secrets"),
        pytest.param(CHECKS, Attributes("patch", SLICES, "endpointslices"), True, id="health checks patch slices"),
        pytest.param(CHECKS, Attributes("create", SLICES, "endpointslices"), False, id="health checks make none"),
        pytest.param(CHECKS, Attributes("list", "", "pods"), False, id="health checks see no pods"),
        pytest.param(LOOPS, Attributes("create", SLICES, "endpointslices"), True, id="the loops make slices"),
        pytest.param(LOOPS, Attributes("create", "", "pods", "binding"), True, id="the loops bind"),
        pytest.param(LOOPS, Attributes("update", "", "namespaces", "finalize"), True, id="the loops finalize"),
        pytest.param(LOOPS, Attributes("patch", "", "nodes", "status"), True, id="the loops mark nodes"),
        pytest.param(NODE, Attributes("patch", "", "pods", "status"), True, id="a node reports its pods"),
        pytest.param(NODE, Attributes("create", "", "nodes"), True, id="a node registers"),
        pytest.param(NODE, Attributes("update", "coordination.k8s.io", "leases"), True, id="a node renews its lease"),
        pytest.param(NODE, Attributes("create", "", "services"), False, id="a node makes no services"),
    ],
)  # fmt: skip
def test_the_bootstrap_policy(identity: Identity, asked: Attributes, allowed: bool) -> None:
    assert bootstrap_policy().decide(identity, asked).allowed is allowed


def test_one_rule_covers_another() -> None:
    wide, narrow = parse_rules([{**READ_PODS, "verbs": ["*"]}, {**READ_PODS, "resourceNames": ["a"]}])
    assert wide.covers(narrow) and not narrow.covers(wide)


def test_masters_cannot_lock_themselves_out() -> None:
    bare = Policy([], [])
    assert bare.decide(ADMIN, Attributes("create", "rbac.authorization.k8s.io", "clusterrolebindings")).allowed
    assert not bare.decide(ANN, Attributes("get", "", "services")).allowed
