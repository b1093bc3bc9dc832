"""The policy against a second one, written from the sentence of the spec and for nothing but being obvious.

Rule: spec "api-machinery" §10.4.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from seaway.api.machinery.errors import ApiError
from seaway.api.machinery.http import Identity
from seaway.api.registry import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES
from seaway.apiserver.access.escalation import check_escalation
from seaway.apiserver.access.rbac import Attributes, Policy

Json = dict[str, Any]


class Slow:
    """The sentence, clause by clause, over the objects as they are stored."""

    def __init__(
        self, cluster_roles: list[Json], cluster_bindings: list[Json], roles: list[Json], bindings: list[Json]
    ):
        self.cluster_roles, self.cluster_bindings = cluster_roles, cluster_bindings
        self.roles, self.bindings = roles, bindings

    def allows(self, identity: Identity, asked: Attributes) -> bool:
        applying = [(binding, None) for binding in self.cluster_bindings]
        if asked.namespace:
            for binding in self.bindings:
                if binding["metadata"]["namespace"] == asked.namespace:
                    applying.append((binding, asked.namespace))
        for binding, namespace in applying:
            if any(self.is_subject(subject, identity, namespace) for subject in binding["subjects"]):
                for rule in self.rules_of(binding["roleRef"], namespace):
                    if self.rule_allows(rule, asked):
                        return True
        return False

    def is_subject(self, subject: Json, identity: Identity, namespace: str | None) -> bool:
        if subject["kind"] == "User":
            return subject["name"] == identity.user
        if subject["kind"] == "Group":
            return subject["name"] in identity.groups
        home = subject.get("namespace") or namespace
        return identity.user == f"system:serviceaccount:{home}:{subject['name']}"

    def rules_of(self, reference: Json, namespace: str | None) -> list[Json]:
        if reference["kind"] == "ClusterRole":
            found = [role for role in self.cluster_roles if role["metadata"]["name"] == reference["name"]]
        else:
            found = [
                role
                for role in self.roles
                if (role["metadata"]["namespace"], role["metadata"]["name"]) == (namespace, reference["name"])
            ]
        return [rule for role in found for rule in role["rules"]]

    def rule_allows(self, rule: Json, asked: Attributes) -> bool:
        if not ("*" in rule["verbs"] or asked.verb in rule["verbs"]):
            return False
        if asked.path:
            for url in rule.get("nonResourceURLs", []):
                if url in ("*", asked.path) or (url[-1] == "*" and asked.path[: len(url) - 1] == url[:-1]):
                    return True
            return False
        if not ("*" in rule.get("apiGroups", []) or asked.group in rule.get("apiGroups", [])):
            return False
        names = rule.get("resourceNames", [])
        if names and asked.name not in names:
            return False
        for resource in rule.get("resources", []):
            if resource == "*":
                return True
            if asked.subresource:
                if resource in (f"{asked.resource}/{asked.subresource}", f"*/{asked.subresource}"):
                    return True
            elif resource == asked.resource:
                return True
        return False


VERBS, GROUPS, NAMES, PATHS = ("get", "list", "*"), ("", "apps", "*"), ("x", "y"), ("/a", "/a/*", "/b", "*")
RESOURCES = ("pods", "services", "pods/log", "*/log", "*")
NAMESPACES = ("n", "m")
USERS = ("ann", "ben", "system:serviceaccount:n:robot", "system:serviceaccount:m:robot")


def some(values: tuple[str, ...], *, least: int = 1) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), min_size=least, max_size=2, unique=True)


RESOURCE_RULES = st.fixed_dictionaries(
    {"verbs": some(VERBS), "apiGroups": some(GROUPS), "resources": some(RESOURCES)},
    optional={"resourceNames": some(NAMES, least=0)},
)
PATH_RULES = st.fixed_dictionaries({"verbs": some(VERBS), "nonResourceURLs": some(PATHS)})
RULES = st.lists(RESOURCE_RULES | PATH_RULES, max_size=2)
SUBJECTS = st.lists(
    st.one_of(
        st.sampled_from(USERS).map(lambda name: {"kind": "User", "name": name}),
        st.sampled_from(("g", "h")).map(lambda name: {"kind": "Group", "name": name}),
        st.sampled_from(("n", "m", "")).map(
            lambda namespace: {"kind": "ServiceAccount", "name": "robot", "namespace": namespace}
        ),
    ),
    max_size=2,
)
IDENTITIES = st.builds(
    lambda user, groups: Identity(user, tuple(sorted(groups))), st.sampled_from(USERS), st.sets(st.sampled_from("gh"))
)
ASKED = st.one_of(
    st.builds(
        Attributes, st.sampled_from(("get", "list", "delete")), st.sampled_from(("", "apps", "batch")),
        st.sampled_from(("pods", "services")), st.sampled_from(("", "log", "status")),
        st.sampled_from(("", *NAMESPACES)), st.sampled_from(("", *NAMES)),
    ),
    st.builds(
        lambda verb, path: Attributes(verb, path=path),
        st.sampled_from(("get", "post")), st.sampled_from(("/a", "/a/b", "/b", "/c")),
    ),
)  # fmt: skip


def named(name: str, namespace: str = "") -> Json:
    return {"metadata": {"name": name, **({"namespace": namespace} if namespace else {})}}


def reference(kind: str) -> st.SearchStrategy[Json]:
    return st.sampled_from(("r", "s", "missing")).map(lambda name: {"kind": kind, "name": name})


@st.composite
def policies(draw: st.DrawFn) -> tuple[list[Json], list[Json], list[Json], list[Json]]:
    cluster_roles = [{**named(name), "rules": draw(RULES)} for name in ("r", "s")]
    cluster_bindings = [
        {**named(f"b{index}"), "subjects": draw(SUBJECTS), "roleRef": draw(reference("ClusterRole"))}
        for index in range(draw(st.integers(0, 2)))
    ]
    roles = [{**named(name, space), "rules": draw(RULES)} for space in NAMESPACES for name in ("r", "s")]
    bindings = [
        {**named(f"b{index}", draw(st.sampled_from(NAMESPACES))), "subjects": draw(SUBJECTS),
         "roleRef": draw(reference("ClusterRole") | reference("Role"))}
        for index in range(draw(st.integers(0, 3)))
    ]  # fmt: skip
    return cluster_roles, cluster_bindings, roles, bindings


@settings(max_examples=300, deadline=None)
@given(policies(), st.lists(st.tuples(IDENTITIES, ASKED), min_size=1, max_size=8))
def test_the_policy_decides_as_the_sentence_does(
    policy: tuple[list[Json], list[Json], list[Json], list[Json]], questions: list[tuple[Identity, Attributes]]
) -> None:
    fast, slow = Policy(*policy), Slow(*policy)
    for identity, asked in [*questions, *questions]:  # what is remembered is the same as what is worked out
        assert fast.decide(identity, asked).allowed is slow.allows(identity, asked), (identity, asked)


ALL_ASKED = [
    *(Attributes(verb, group, resource, subresource, namespace, name)
      for verb in ("get", "list", "delete") for group in ("", "apps", "batch") for resource in ("pods", "services")
      for subresource in ("", "log") for namespace in ("", *NAMESPACES) for name in ("", *NAMES)),
    *(Attributes(verb, path=path) for verb in ("get", "post") for path in ("/a", "/a/b", "/b", "/c")),
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(policies(), IDENTITIES, RULES, st.sampled_from(("", *NAMESPACES)))
def test_whoever_may_write_a_role_and_bind_it_holds_no_more_than_before(
    policy: tuple[list[Json], list[Json], list[Json], list[Json]], writer: Identity, rules: list[Json], namespace: str
) -> None:
    """The law behind the check: without `escalate` and `bind` there is no way up."""
    cluster_roles, cluster_bindings, roles, bindings = policy
    before = Policy(*policy)
    role = {**named("new", namespace), "rules": rules}
    resource = ROLES if namespace else CLUSTER_ROLES
    try:
        check_escalation(lambda: before, writer, resource, role, None)
    except ApiError:
        return
    subject = [{"kind": "User", "name": writer.user}]
    binding = {
        **named("new", namespace),
        "subjects": subject,
        "roleRef": {"kind": "Role" if namespace else "ClusterRole", "name": "new"},
    }
    between = Policy(
        cluster_roles if namespace else [*cluster_roles, role], cluster_bindings,
        [*roles, role] if namespace else roles, bindings,
    )  # fmt: skip
    check_escalation(lambda: between, writer, ROLE_BINDINGS if namespace else CLUSTER_ROLE_BINDINGS, binding, None)
    after = Slow(
        cluster_roles if namespace else [*cluster_roles, role],
        cluster_bindings if namespace else [*cluster_bindings, binding],
        [*roles, role] if namespace else roles,
        [*bindings, binding] if namespace else bindings,
    )
    slow = Slow(*policy)
    for asked in ALL_ASKED:
        assert not after.allows(writer, asked) or slow.allows(writer, asked), asked
