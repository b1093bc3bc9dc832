"""Whatever clients send, stored owners are sets that parse, and nothing is a 5xx but what has a name.

Rule: spec "api-machinery" §5.5, §1.4 (500: a configuration that does not fit the schema).
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from seaway.apiserver.managedfields.entries import parse_entries, read_entries, render_entries
from seaway.testing.builders import make_service
from tests.apiserver.conversation import SERVICES, Conversation, Reply, talk

Json = dict[str, Any]
WEB = f"{SERVICES}/web"
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-1, 70000), st.sampled_from(["", "x", "TCP", "ClusterIP"]))
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["port", "protocol", "name", "f:spec", "k:{}", ".", "v:1", "uid"]), inner),
    ),
    max_leaves=6,
)
PORTS = st.lists(
    st.fixed_dictionaries(
        {"port": st.integers(1, 3)}, optional={"protocol": st.sampled_from(["TCP", "UDP"]), "name": st.just("x")}
    ),
    min_size=1,
    max_size=3,
)
ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "manager": st.sampled_from(["m", "n"]),
        "operation": st.sampled_from(["Apply", "Update", "Else"]),
        "apiVersion": st.sampled_from(["v1", "v2", ""]),
        "time": st.sampled_from(["2026-01-02T12:00:00Z", "x"]),
        "fieldsType": st.sampled_from(["FieldsV1", ""]),
        "fieldsV1": st.one_of(ANYTHING, st.just({"f:spec": {"f:ports": {'k:{"protocol":"TCP","port":1}': {".": {}}}}})),
        "subresource": st.sampled_from(["", "status"]),
    },
)
BODIES = st.fixed_dictionaries(
    {"apiVersion": st.just("v1"), "kind": st.just("Service")},
    optional={
        "metadata": st.fixed_dictionaries(
            {"name": st.just("web")},
            optional={
                "labels": st.one_of(st.dictionaries(st.sampled_from(["a", "b"]), SCALARS), ANYTHING),
                "finalizers": st.one_of(st.lists(st.sampled_from(["a/b", "c/d"])), ANYTHING),
                "ownerReferences": ANYTHING,
                "managedFields": st.lists(ENTRY, max_size=2),
            },
        ),
        "spec": st.fixed_dictionaries(
            {},
            optional={
                "ports": st.one_of(PORTS, ANYTHING),
                "selector": st.one_of(st.dictionaries(st.sampled_from(["a", "b"]), st.just("c")), ANYTHING),
                "type": SCALARS,
                "unknown": ANYTHING,
            },
        ),
    },
)
WRITES = st.lists(
    st.tuples(
        st.sampled_from(["PUT", "merge-patch+json", "strategic-merge-patch+json", "apply-patch+yaml"]),
        st.sampled_from(["", "/status"]),
        st.sampled_from(["m", "n", "kubectl"]),
        BODIES,
    ),
    min_size=1,
    max_size=8,
)


async def write(ask: Conversation, kind: str, subresource: str, manager: str, body: Json) -> Reply:
    target = f"{WEB}{subresource}?fieldManager={manager}"
    if kind == "PUT":
        return await ask("PUT", target, body)
    return await ask("PATCH", target, body, headers={"content-type": f"application/{kind}"})


@settings(max_examples=60, deadline=None)
@given(WRITES)
def test_owners_always_parse(writes: list[tuple[str, str, str, Json]]) -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", SERVICES, make_service())
        for step in writes:
            answer = await write(ask, *step)
            if answer.status >= 500:
                named = ("failed to create typed patch object", "map: ", "The order in", "cannot restore")
                assert answer.message.startswith(named), answer.message
            stored = (await ask("GET", WEB)).body["metadata"].get("managedFields", [])
            entries = parse_entries(json.loads(json.dumps(stored)))
            assert entries == read_entries(stored), "canonical"
            assert render_entries(entries) == stored, "complete, and in order"

    talk(conversation)
