"""JSON Merge Patch: the examples of RFC 7386 appendix A (objects), and its laws."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seaway.apiserver.patch.merge import apply_merge_patch

Json = dict[str, Any]


@pytest.mark.parametrize(
    ("original", "patch", "wanted"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ({"a": 1}, {"a": {"b": None, "c": 2}}, {"a": {"c": 2}}),
    ],
)
def test_the_examples_of_the_rfc(original: Json, patch: Json, wanted: Json) -> None:
    before = copy.deepcopy((original, patch))
    assert apply_merge_patch(patch, original) == wanted
    assert (original, patch) == before


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=10,
)
_OBJECTS = st.dictionaries(st.sampled_from("abc"), _VALUES, max_size=3)


@settings(deadline=None)
@given(_OBJECTS, _OBJECTS)
def test_a_patch_applied_twice_is_a_patch_applied_once(original: Json, patch: Json) -> None:
    once = apply_merge_patch(patch, original)
    assert apply_merge_patch(patch, once) == once


@settings(deadline=None)
@given(_OBJECTS)
def test_an_empty_patch_changes_nothing_and_shares_nothing(original: Json) -> None:
    made = apply_merge_patch({}, original)
    assert made == original
    for key in "abc":
        made.setdefault(key, {})
        if isinstance(made[key], dict):
            made[key]["new"] = 1
    assert "new" not in str(original)
