"""Roles and bindings that are wrong. Rule: spec "api-machinery" §10.4; the texts are upstream's."""

from __future__ import annotations

from typing import Any

import pytest

from seaway.api.rbac.validation import default_binding, validate_binding, validate_role

Json = dict[str, Any]
GROUP = "rbac.authorization.k8s.io"
GET = {"verbs": ["get"]}
PODS = {"apiGroups": [""], "resources": ["pods"]}
URLS = {"nonResourceURLs": ["/x"]}
GATHERS: Json = {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}


def role(*rules: Json, kind: str = "ClusterRole", **more: Any) -> Json:
    return {"kind": kind, "metadata": {"name": "r"}, "rules": list(rules), **more}


@pytest.mark.parametrize(
    ("obj", "errors"),
    [
        pytest.param(role(), [], id="no rules at all"),
        pytest.param(role(GET | PODS), [], id="a right"),
        pytest.param(role(GET | URLS), [], id="a path"),
        pytest.param(role(PODS), ["rules[0].verbs: Required value: verbs must contain at least one value"],
                     id="no verb"),
        pytest.param(role(GET | PODS, GET | {"resources": ["pods"]}),
                     ["rules[1].apiGroups: Required value: resource rules must supply at least one api group"],
                     id="no group"),
        pytest.param(role(GET | {"apiGroups": [""]}),
                     ["rules[0].resources: Required value: resource rules must supply at least one resource"],
                     id="no resource"),
        pytest.param(role(GET | URLS, kind="Role"),
                     ['rules[0].nonResourceURLs: Invalid value: ["/x"]: namespaced rules cannot apply to non-resource '
                      "URLs"], id="a path in a namespace"),
        pytest.param(role(GET | PODS | URLS),
                     ['rules[0].nonResourceURLs: Invalid value: ["/x"]: rules cannot apply to both regular resources '
                      "and non-resource URLs"], id="both"),
        pytest.param(role(aggregationRule=GATHERS), [], id="one that gathers"),
        pytest.param(role(aggregationRule={"clusterRoleSelectors": []}),
                     ["aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required "
                      "if aggregationRule is non-nil"], id="one that gathers nothing"),
    ],
)  # fmt: skip
def test_roles(obj: Json, errors: list[str]) -> None:
    assert [str(error) for error in validate_role(obj)] == errors


def binding(*subjects: Json, kind: str = "RoleBinding", **reference: str) -> Json:
    role = {"kind": "ClusterRole", "name": "r", **reference}
    return {"kind": kind, "metadata": {"name": "b"}, "subjects": list(subjects), "roleRef": role}


ANN = {"kind": "User", "name": "ann"}
ROBOT = {"kind": "ServiceAccount", "name": "robot"}


@pytest.mark.parametrize(
    ("obj", "errors"),
    [
        pytest.param(binding(), [], id="nobody"),
        pytest.param(binding(ANN, {"kind": "Group", "name": "g"}, ROBOT), [], id="one of each"),
        pytest.param(binding(kind="ClusterRoleBinding"), [], id="of the cluster"),
        pytest.param(binding(ROBOT, kind="ClusterRoleBinding"), ["subjects[0].namespace: Required value"],
                     id="an account of no namespace"),
        pytest.param(binding({"kind": "User"}), ["subjects[0].name: Required value"], id="no name"),
        pytest.param(binding({"kind": "Robot", "name": "x"}),
                     ['subjects[0].kind: Unsupported value: "Robot": supported values: "Group", "ServiceAccount", '
                      '"User"'], id="another kind of subject"),
        pytest.param(binding({**ANN, "apiGroup": "x"}),
                     [f'subjects[0].apiGroup: Unsupported value: "x": supported values: "{GROUP}"'],
                     id="a subject of another group"),
        pytest.param(binding({**ROBOT, "apiGroup": GROUP}),
                     [f'subjects[0].apiGroup: Unsupported value: "{GROUP}": supported values: ""'],
                     id="an account of this group"),
        pytest.param(binding(name=""), ["roleRef.name: Required value"], id="no role"),
        pytest.param(binding(name="a/b"), ["roleRef.name: Invalid value: \"a/b\": may not contain '/'"], id="a path"),
        pytest.param(binding(apiGroup="x"), [f'roleRef.apiGroup: Unsupported value: "x": supported values: "{GROUP}"'],
                     id="a role of another group"),
        pytest.param(binding(kind="ClusterRoleBinding") | {"roleRef": {"kind": "Role", "name": "r"}},
                     ['roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole"'],
                     id="a namespace's role for the cluster"),
        pytest.param(binding() | {"roleRef": {"kind": "X", "name": "r"}},
                     ['roleRef.kind: Unsupported value: "X": supported values: "Role", "ClusterRole"'],
                     id="another kind of role"),
    ],
)  # fmt: skip
def test_bindings(obj: Json, errors: list[str]) -> None:
    assert [str(error) for error in validate_binding(default_binding(obj))] == errors
