"""Roles that gather the rules of others. Rule: spec "api-machinery" §10.4."""

from __future__ import annotations

import asyncio
import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.registry import CLUSTER_ROLES
from seaway.apiserver.access.aggregation import plan_aggregation
from seaway.testing.cluster import open_cluster
from tests.apiserver.conversation import Json


def rule(resource: str) -> Json:
    return {"verbs": ["get"], "apiGroups": [""], "resources": [resource]}


def role(name: str, *rules: Json, gathers: list[Json] | None = None, **labels: str) -> Json:
    made: Json = {"metadata": {"name": name, "labels": labels}, "rules": list(rules)}
    return made if gathers is None else {**made, "aggregationRule": {"clusterRoleSelectors": gathers}}


def gather(*roles: Json) -> dict[str, list[str]]:
    """By name, the resources of the rules of each role that changes."""
    before = copy.deepcopy(roles)
    planned = {r["metadata"]["name"]: [x["resources"][0] for x in r["rules"]] for r in plan_aggregation(roles)}
    assert list(roles) == list(before)
    return planned


BY_LABEL: Json = {"matchLabels": {"to": "g"}}


@pytest.mark.parametrize(
    ("roles", "planned"),
    [
        pytest.param([role("g", gathers=[BY_LABEL]), role("b", rule("y"), to="g"), role("a", rule("x"), to="g")],
                     {"g": ["x", "y"]}, id="in order of the names"),
        pytest.param([role("g", gathers=[BY_LABEL]), role("a", rule("x"), to="g"), role("b", rule("x"), to="g")],
                     {"g": ["x"]}, id="each rule once"),
        pytest.param([role("g", rule("x"), gathers=[BY_LABEL]), role("a", rule("x"), to="g")], {}, id="nothing to do"),
        pytest.param([role("g", rule("x"), gathers=[BY_LABEL])], {"g": []}, id="what is not gathered any more goes"),
        pytest.param([role("g", rule("x"), gathers=[BY_LABEL], to="g")], {"g": []}, id="a role does not gather itself"),
        pytest.param([role("g", gathers=[{"matchExpressions": [{"key": "to", "operator": "Exists"}]}, BY_LABEL]),
                      role("a", rule("x"), to="h")], {"g": ["x"]}, id="any of the selectors"),
        pytest.param([role("g", gathers=[{"matchExpressions": [{"key": "to", "operator": "Odd"}]}]),
                      role("a", rule("x"), to="g")], {}, id="a selector that cannot be read selects nothing"),
        pytest.param([role("g", gathers=[BY_LABEL]), role("h", gathers=[{"matchLabels": {"to": "h"}}], to="g"),
                      role("a", rule("x"), to="h")], {"g": ["x"], "h": ["x"]}, id="one that gathers is gathered"),
        pytest.param([role("g", gathers=[BY_LABEL], to="h"), role("h", gathers=[{"matchLabels": {"to": "h"}}], to="g"),
                      role("a", rule("x"), to="h")], {"g": ["x"], "h": ["x"]}, id="a circle comes to an end"),
        pytest.param([role("a", rule("x"), to="g")], {}, id="an ordinary role keeps its rules"),
    ],
)  # fmt: skip
def test_what_is_gathered(roles: list[Json], planned: dict[str, list[str]]) -> None:
    assert gather(*roles) == planned


NAMES = "abcd"
LABELS = st.dictionaries(st.sampled_from("kl"), st.sampled_from("12"), max_size=2)
ROLES = st.lists(
    st.builds(
        lambda rules, labels, selectors: ([rule(r) for r in rules], labels, selectors),
        st.lists(st.sampled_from("xyz"), max_size=2),
        LABELS,
        st.none() | st.lists(LABELS.map(lambda labels: {"matchLabels": labels}), min_size=1, max_size=2),
    ),
    max_size=len(NAMES),
)


@given(ROLES)
def test_a_plan_for_its_own_result_is_empty_and_order_does_not_matter(
    parts: list[tuple[list[Json], dict[str, str], list[Json] | None]],
) -> None:
    roles = [
        role(name, *rules, gathers=selectors, **labels)
        for name, (rules, labels, selectors) in zip(NAMES, parts, strict=False)
    ]
    planned = {r["metadata"]["name"]: r for r in plan_aggregation(roles)}
    after = [planned.get(r["metadata"]["name"], r) for r in roles]
    assert plan_aggregation(after) == []
    assert plan_aggregation(reversed(roles)) == plan_aggregation(roles)


def test_view_edit_and_admin_gather_what_users_add() -> None:
    label = "rbac.authorization.k8s.io/aggregate-to-view"

    async def run() -> None:
        async with open_cluster() as cluster:
            client = cluster.client()
            await client.create(CLUSTER_ROLES, role("tabs", rule("crontabs"), **{label: "true"}))

            async def look() -> bool:
                roles = [await client.get(CLUSTER_ROLES, name, as_type=dict) for name in ("view", "edit", "admin")]
                return all(rule("crontabs") in found["rules"] for found in roles)

            await cluster.eventually(look)
            await client.delete(CLUSTER_ROLES, "tabs")

            async def look_again() -> bool:
                return rule("crontabs") not in (await client.get(CLUSTER_ROLES, "admin", as_type=dict))["rules"]

            await cluster.eventually(look_again)

    asyncio.run(run())
