"""Canonical form: where findings are, what zero means, and that nothing of the input is changed or shared."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.machinery.pruning import MAX_FINDINGS, DecodeError, prune
from seaway.api.schema import Definition, find_definition


def definition(group: str, kind: str) -> Definition:
    found = find_definition(group, "v1", kind)
    assert found is not None
    return found


SERVICE = definition("", "Service")
POD = definition("", "Pod")


@pytest.mark.parametrize(
    ("obj", "paths"),
    [
        pytest.param({"nope": 1}, ["nope"], id="at the top"),
        pytest.param({"spec": {"ports": [{}, {"prot": 1}]}}, ["spec.ports[1].prot"], id="below a list"),
        pytest.param({"spec": {"b": 1, "a": 1}, "x": 1}, ["spec.a", "spec.b", "x"], id="in alphabetical order"),
        pytest.param({"nope": None}, ["nope"], id="null counts"),
        pytest.param({"spec": {"a.b": 1, "[0]": 1}}, ["spec.[0]", "spec.a.b"], id="whatever the key looks like"),
    ],
)
def test_an_unknown_field_is_dropped_and_named_by_its_path(obj: dict[str, Any], paths: list[str]) -> None:
    unknown: list[str] = []
    pruned = prune(obj, SERVICE, unknown)
    assert unknown == paths
    assert prune(pruned, SERVICE, unknown) == pruned
    assert unknown == paths


def test_no_more_than_a_hundred_findings_are_named() -> None:
    unknown: list[str] = []
    prune({"spec": {f"x{number}": 1 for number in range(MAX_FINDINGS + 5)}, "y": 1}, SERVICE, unknown)
    assert len(unknown) == MAX_FINDINGS


@pytest.mark.parametrize(
    ("obj", "found"),
    [
        pytest.param({"spec": 1}, "number into Go struct field Service.spec of type v1.ServiceSpec", id="of an object"),
        pytest.param(
            {"spec": {"ports": [{"port": "80"}]}},
            "string into Go struct field ServicePort.spec.ports.port of type int32",
            id="the innermost struct and all fields, no indexes",
        ),
        pytest.param(
            {"spec": {"ports": [1]}},
            "number into Go struct field ServiceSpec.spec.ports of type v1.ServicePort",
            id="of an element",
        ),
        pytest.param(
            {"metadata": {"labels": {"a": 1}}},
            "number into Go struct field ObjectMeta.metadata.labels of type string",
            id="of a map's value, without its key",
        ),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_by_place_and_type(obj: dict[str, Any], found: str) -> None:
    with pytest.raises(DecodeError) as refused:
        prune(obj, SERVICE, [])
    assert str(refused.value) == f"json: cannot unmarshal {found}"


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["spec", "metadata", "labels", "containers", "name", "x"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["spec", "metadata", "status", "x"]), JSON_VALUES, max_size=3))
def test_the_canonical_form_is_its_own_and_the_input_stays(obj: dict[str, Any]) -> None:
    before = copy.deepcopy(obj)
    try:
        pruned = prune(obj, POD, [])
    except DecodeError:
        pruned = {}
    unknown: list[str] = []
    assert prune(pruned, POD, unknown) == pruned
    assert not unknown
    assert obj == before
