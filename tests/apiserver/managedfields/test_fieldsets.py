"""FieldsV1 as a set of paths. Rule: spec "api-machinery" §5.5."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.apiserver.managedfields.fieldsets import (
    FieldsError,
    difference,
    intersection,
    list_paths,
    parse_fields,
    unite,
)
from tests.apiserver.managedfields.paths import Path, Tree, to_paths, to_tree

KEYS = st.dictionaries(
    st.sampled_from(["name", "port", "protocol"]), st.sampled_from([1, 80, "TCP", 'a"b', True]), min_size=1
)
ELEMENTS = st.one_of(
    st.sampled_from(["f:a", "f:b", "f:metadata", "f:a.b/c", "f:"]),
    KEYS.map(lambda keys: "k:" + json.dumps(keys, separators=(",", ":"), sort_keys=True)),
    st.sampled_from(['v:"x"', "v:1", "v:true", "i:0", "i:12"]),
)
PATH_SETS = st.sets(st.lists(ELEMENTS, min_size=1, max_size=4).map(tuple), max_size=12)


# Few elements, so that paths are often prefixes of others.
DENSE_SETS = st.sets(st.lists(st.sampled_from(["f:a", "f:b"]), min_size=1, max_size=3).map(tuple), max_size=8)


@given(PATH_SETS)
def test_a_tree_says_the_same_as_its_paths(paths: set[Path]) -> None:
    assert to_paths(to_tree(paths)) == paths


@given(st.one_of(PATH_SETS, DENSE_SETS), DENSE_SETS)
def test_the_operations_are_those_of_sets(a: set[Path], b: set[Path]) -> None:
    left, right = to_tree(a), to_tree(b)
    before = copy.deepcopy((left, right))
    assert unite(left, right) == to_tree(a | b)
    assert difference(left, right) == to_tree(a - b)
    assert intersection(left, right) == to_tree(a & b)
    assert (left, right) == before, "sets are shared and never changed"


@given(DENSE_SETS, DENSE_SETS)
def test_what_is_not_touched_comes_back_as_it_was(a: set[Path], b: set[Path]) -> None:
    tree = to_tree(a)
    assert (difference(tree, to_tree(b)) is tree) == (not a & b)
    if a and b <= a:
        assert unite(tree, to_tree(b)) is tree


@given(PATH_SETS)
def test_parsing_what_was_written_gives_the_same_set(paths: set[Path]) -> None:
    tree = to_tree(paths)
    assert parse_fields(json.loads(json.dumps(tree))) == tree
    assert len(list(list_paths(tree))) == len(paths)


def shuffle_keys(tree: Any, backwards: bool) -> Any:
    items = [(_respell(key), shuffle_keys(child, not backwards)) for key, child in tree.items()]
    return dict(reversed(items) if backwards else items)


def _respell(key: str) -> str:
    """The same element as another client might spell it."""
    if key[:2] != "k:":
        return key
    return "k:" + json.dumps(dict(reversed(json.loads(key[2:]).items())), indent=1)


@given(PATH_SETS)
def test_however_it_is_spelt_a_set_is_one_set(paths: set[Path]) -> None:
    tree = to_tree(paths)
    assert parse_fields(shuffle_keys(tree, True)) == tree


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 99), st.text(max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(ELEMENTS, st.text(max_size=5), st.sampled_from([".", "k:{", "v:", "i:-1"])), inner),
    ),
    max_leaves=10,
)


@given(JSON)
def test_whatever_a_client_sends_is_a_set_or_refused(value: Any) -> None:
    try:
        tree = parse_fields(value)
    except FieldsError:
        return
    assert parse_fields(tree) == tree == to_tree(to_paths(tree)), "canonical, and every path of it parses"


@pytest.mark.parametrize(
    "value",
    [
        pytest.param([], id="a list"),
        pytest.param({"f:a": None}, id="a null below"),
        pytest.param({"a": {}}, id="an element without its kind"),
        pytest.param({"": {}}, id="an element without a name"),
        pytest.param({"k:{": {}}, id="a key that is no JSON"),
        pytest.param({"k:[1]": {}}, id="a key that is no object"),
        pytest.param({"k:{}": {}}, id="a key without keys"),
        pytest.param({"i:-1": {}}, id="an index below zero"),
        pytest.param({"i:true": {}}, id="an index that is a boolean"),
        pytest.param({"v:" + "[" * 100_000: {}}, id="a value that is too deep"),
    ],
)
def test_what_is_no_set_is_refused(value: Any) -> None:
    with pytest.raises(FieldsError):
        parse_fields(value)


def test_a_set_that_is_too_deep_is_refused() -> None:
    tree: Tree = {}
    for _ in range(300):
        tree = {"f:a": tree}
    with pytest.raises(FieldsError):
        parse_fields(tree)


def test_elements_that_a_later_version_may_know_are_left_out() -> None:
    assert parse_fields({"x:new": {}, "f:a": {"y:new": {}}, "f:b": {".": {}, "y:new": {}}}) == {"f:b": {}}


def test_paths_are_shown_as_people_write_them() -> None:
    tree = to_tree(
        [
            ("f:spec", "f:type"),
            ("f:spec", "f:ports", 'k:{"port":80,"protocol":"TCP"}', "f:targetPort"),
            ("f:spec", "f:ports", 'k:{"port":9,"protocol":"TCP"}'),
            ("f:metadata", "f:finalizers", 'v:"a/b"'),
            ("f:metadata", "f:labels", "f:app.kubernetes.io/name"),
            ("f:list", "i:3"),
            ("f:apiVersion",),
        ]
    )
    assert list(list_paths(tree)) == [
        ".apiVersion",
        ".list[3]",
        '.metadata.finalizers[="a/b"]',
        ".metadata.labels.app.kubernetes.io/name",
        ".spec.type",
        '.spec.ports[port=9,protocol="TCP"]',
        '.spec.ports[port=80,protocol="TCP"].targetPort',
    ]
