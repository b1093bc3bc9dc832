"""The laws of ownership, on random histories. Rule: spec "api-machinery" §5.5."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seaway.api.registry import SERVICES
from seaway.apiserver.managedfields.apply import ApplyConflicts, apply_config
from seaway.apiserver.managedfields.entries import Entries, parse_entries, read_entries, render_entries
from seaway.apiserver.managedfields.schema import OwnedSchema, find_owned_schema
from seaway.apiserver.managedfields.tracking import Writer, record_change
from tests.apiserver.managedfields.oracle import Oracle, Refused, flatten
from tests.apiserver.managedfields.paths import to_paths

Json = dict[str, Any]
NOW = "2026-01-02T12:00:00Z"
MANAGERS = st.sampled_from(["a", "b", "c"])
TEXTS = st.sampled_from(["x", "y"])
PORTS = st.lists(
    st.fixed_dictionaries(
        {"port": st.sampled_from([80, 81, 82])},
        optional={"protocol": st.sampled_from(["TCP", "UDP"]), "name": TEXTS, "targetPort": st.sampled_from([1, 2])},
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda port: (port["port"], port.get("protocol", "TCP")),
)
META = st.fixed_dictionaries(
    {},
    optional={
        "labels": st.dictionaries(st.sampled_from(["k", "l", "m"]), TEXTS, min_size=1),
        "finalizers": st.lists(st.sampled_from(["a/a", "b/b", "c/c"]), min_size=1, unique=True),
    },
)
SPEC = st.fixed_dictionaries(
    {},
    optional={
        "type": TEXTS,
        "sessionAffinity": TEXTS,
        "ports": PORTS,
        "selector": st.dictionaries(st.sampled_from(["k", "l"]), TEXTS, min_size=1),
        "externalIPs": st.lists(TEXTS, min_size=1, max_size=2),
    },
)
OBJECTS = st.fixed_dictionaries({"metadata": META}, optional={"spec": SPEC.filter(bool)})
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("update"), MANAGERS, OBJECTS),
        st.tuples(st.just("apply"), MANAGERS, OBJECTS),
        st.tuples(st.just("force"), MANAGERS, OBJECTS),
        st.tuples(st.just("fill"), MANAGERS, st.just({})),
    ),
    min_size=1,
    max_size=8,
)


class World:
    """The real thing: one Service and its entries, through the wire's form after every step."""

    def __init__(self) -> None:
        found = find_owned_schema(SERVICES, "")
        assert found is not None
        self.schema: OwnedSchema = found
        self.obj: Json = {"metadata": {}}
        self.entries: Entries = {}

    def update(self, manager: str, obj: Json) -> None:
        before = copy.deepcopy((self.obj, obj))
        self._keep(record_change(self.schema, self.obj, obj, self.entries, Writer(manager, "v1", NOW)))
        assert before == (self.obj, obj)
        self.obj = obj

    def apply(self, manager: str, config: Json, *, force: bool) -> None:
        before = copy.deepcopy((self.obj, config))
        writer = Writer(manager, "v1", NOW)
        applied = apply_config(self.schema, self.obj, config, self.entries, writer, force=force)
        assert before == (self.obj, config)
        self._keep(applied.entries)
        self.obj = applied.obj

    def _keep(self, entries: Entries) -> None:
        wire = json.loads(json.dumps(render_entries(entries)))
        assert parse_entries(wire) == read_entries(wire) == entries, "what is stored parses, and is canonical"
        self.entries = entries

    def owned_by(self) -> dict[tuple[str, str], set[tuple[str, ...]]]:
        return {(entry.manager, entry.operation): to_paths(entry.fields) for entry in self.entries.values()}


def fill(obj: Json) -> Json:
    """What a server allocates: fields that nobody asked for."""
    filled = copy.deepcopy(obj)
    if "spec" in filled:
        filled["spec"]["clusterIP"] = "10.96.0.1"
        for port in filled["spec"].get("ports", ()):
            port.setdefault("nodePort", 30000)
    return filled


@settings(max_examples=400)
@given(STEPS)
def test_ownership_is_what_the_obvious_implementation_says(steps: list[tuple[str, str, Json]]) -> None:
    world, oracle = World(), Oracle()
    for verb, manager, obj in steps:
        if verb == "update":
            world.update(manager, obj)
            oracle.update(manager, obj)
        elif verb == "fill":
            world.obj = fill(world.obj)
            oracle.fill(world.obj)
        else:
            if not world.entries:  # whoever comes first finds all that is there owned
                oracle.claim("before-first-apply")
            expected: set[Any] | None = None
            try:
                oracle.apply(manager, obj, force=verb == "force")
            except Refused as refused:
                expected = {(owner[0], path) for owner, path in refused.conflicts}
            try:
                world.apply(manager, obj, force=verb == "force")
                found = None
            except ApplyConflicts as refused:
                found = {(c.entry.manager, path) for c in refused.conflicts for path in to_paths(c.fields)}
            assert found == expected
        assert flatten(world.obj) == oracle.flat
        assert world.owned_by() == oracle.owned_by()


@given(STEPS, OBJECTS)
def test_an_apply_again_changes_nothing(steps: list[tuple[str, str, Json]], config: Json) -> None:
    world = World()
    for _, manager, obj in steps:
        world.apply(manager, obj, force=True)
    world.apply("z", config, force=True)
    obj, entries = world.obj, world.entries
    world.apply("z", config, force=False)
    assert (world.obj, world.entries) == (obj, entries)


@given(OBJECTS, OBJECTS)
def test_an_applier_owns_exactly_what_it_named(live: Json, config: Json) -> None:
    world = World()
    world.update("u", live)
    world.apply("a", config, force=True)
    wanted = flatten(config)
    named = {path for path in wanted if len(path) != 2 or path[1] not in ("f:labels", "f:finalizers", "f:ports")}
    assert world.owned_by().get(("a", "Apply"), set()) == named


@given(OBJECTS, OBJECTS)
def test_what_only_the_applier_had_is_gone_when_it_is_not_applied(first: Json, second: Json) -> None:
    world = World()
    world.apply("a", first, force=False)
    world.apply("a", second, force=False)
    assert flatten(world.obj) == flatten(second)


@given(OBJECTS, OBJECTS)
def test_appliers_of_the_same_object_meet_whatever_their_order(one: Json, other: Json) -> None:
    worlds = []
    for order in ((("a", one), ("b", other)), (("b", other), ("a", one))):
        world = World()
        try:
            for manager, config in order:
                world.apply(manager, config, force=False)
        except ApplyConflicts:
            worlds.append(None)
            continue
        worlds.append((flatten(world.obj), world.owned_by()))
    assert worlds[0] == worlds[1]


@given(OBJECTS)
def test_writing_the_same_is_no_write(obj: Json) -> None:
    world = World()
    world.update("a", obj)
    entries = world.entries
    world.update("b", copy.deepcopy(obj))
    assert world.entries is entries


def test_the_oracle_knows_a_conflict() -> None:
    oracle = Oracle()
    oracle.apply("a", {"metadata": {"labels": {"k": "x"}}}, force=False)
    with pytest.raises(Refused):
        oracle.apply("b", {"metadata": {"labels": {"k": "y"}}}, force=False)
