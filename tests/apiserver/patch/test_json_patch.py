"""JSON Patch: the examples of RFC 6902 appendix A, pointers of RFC 6901, and the quirks of the API (§5.1)."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seaway.api.machinery.errors import RequestEntityTooLarge
from seaway.apiserver.patch.json_patch import (
    MAX_OPERATIONS,
    PatchConflict,
    apply_json_patch,
    find_unknown_keys,
    parse_operations,
)

Json = dict[str, Any]


def patch(document: Json, *operations: Json) -> Json:
    before = copy.deepcopy(document)
    try:
        return apply_json_patch(parse_operations(list(operations)), document)
    finally:
        assert document == before


RFC_EXAMPLES: list[tuple[str, Json, list[Json], Json]] = [
    ("A.1 adding an object member", {"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}],
     {"baz": "qux", "foo": "bar"}),
    ("A.2 adding an array element", {"foo": ["bar", "baz"]}, [{"op": "add", "path": "/foo/1", "value": "qux"}],
     {"foo": ["bar", "qux", "baz"]}),
    ("A.3 removing an object member", {"baz": "qux", "foo": "bar"}, [{"op": "remove", "path": "/baz"}],
     {"foo": "bar"}),
    ("A.4 removing an array element", {"foo": ["bar", "qux", "baz"]}, [{"op": "remove", "path": "/foo/1"}],
     {"foo": ["bar", "baz"]}),
    ("A.5 replacing a value", {"baz": "qux", "foo": "bar"}, [{"op": "replace", "path": "/baz", "value": "boo"}],
     {"baz": "boo", "foo": "bar"}),
    ("A.6 moving a value", {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
     [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
     {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}}),
    ("A.7 moving an array element", {"foo": ["all", "grass", "cows", "eat"]},
     [{"op": "move", "from": "/foo/1", "path": "/foo/3"}], {"foo": ["all", "cows", "eat", "grass"]}),
    ("A.8 testing a value: success", {"baz": "qux", "foo": ["a", 2, "c"]},
     [{"op": "test", "path": "/baz", "value": "qux"}, {"op": "test", "path": "/foo/1", "value": 2}],
     {"baz": "qux", "foo": ["a", 2, "c"]}),
    ("A.10 adding a nested member object", {"foo": "bar"},
     [{"op": "add", "path": "/child", "value": {"grandchild": {}}}], {"foo": "bar", "child": {"grandchild": {}}}),
    ("A.11 ignoring unrecognized elements", {"foo": "bar"},
     [{"op": "add", "path": "/baz", "value": "qux", "xyz": 123}], {"foo": "bar", "baz": "qux"}),
    ("A.14 escape ordering", {"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"/": 9, "~1": 10}),
    ("A.16 adding an array value", {"foo": ["bar"]}, [{"op": "add", "path": "/foo/-", "value": ["abc", "def"]}],
     {"foo": ["bar", ["abc", "def"]]}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("document", "operations", "wanted"), [e[1:] for e in RFC_EXAMPLES], ids=[e[0] for e in RFC_EXAMPLES]
)
def test_the_examples_of_the_rfc(document: Json, operations: list[Json], wanted: Json) -> None:
    assert patch(document, *operations) == wanted


@pytest.mark.parametrize(
    ("document", "operation"),
    [
        pytest.param({"baz": "qux"}, {"op": "test", "path": "/baz", "value": "bar"}, id="A.9 a failed test"),
        pytest.param({"foo": "bar"}, {"op": "add", "path": "/baz/bat", "value": "qux"}, id="A.12 a missing parent"),
        pytest.param({"/": 9, "~1": 10}, {"op": "test", "path": "/~01", "value": "10"}, id="A.15 strings and numbers"),
        pytest.param({}, {"op": "remove", "path": "/a"}, id="removing a missing member"),
        pytest.param({"a": [1]}, {"op": "remove", "path": "/a/1"}, id="removing beyond the end"),
        pytest.param({"a": [1]}, {"op": "replace", "path": "/a/1", "value": 2}, id="replacing beyond the end"),
        pytest.param({"a": [1]}, {"op": "add", "path": "/a/3", "value": 2}, id="adding beyond the end"),
        pytest.param({"a": [1]}, {"op": "add", "path": "/a/01", "value": 2}, id="an index with a leading zero"),
        pytest.param({"a": [1]}, {"op": "add", "path": "/a/x", "value": 2}, id="a name as an index"),
        pytest.param({"a": []}, {"op": "remove", "path": "/a/-1"}, id="the last of no elements"),
        pytest.param({"a": "x"}, {"op": "add", "path": "/a/b", "value": 2}, id="a scalar as parent"),
        pytest.param({"a": 1}, {"op": "frob", "path": "/a"}, id="an unknown operation"),
        pytest.param({"a": 1}, {"path": "/a"}, id="no operation"),
        pytest.param({"a": 1}, {"op": "add", "path": "/a"}, id="no value"),
        pytest.param({"a": 1}, {"op": "copy", "path": "/b"}, id="no source"),
        pytest.param({"a": 1}, {"op": "remove"}, id="no path"),
        pytest.param({"a": 1}, {"op": "remove", "path": "a"}, id="a path without a slash"),
        pytest.param({"a": 1}, {"op": "remove", "path": 5}, id="a number as path"),
        pytest.param({"a": 1}, {"op": "remove", "path": ""}, id="the whole document"),
        pytest.param({"a": 1}, {"op": "replace", "path": "", "value": 5}, id="a document that is no object"),
        pytest.param({"a": {"b": 1}}, {"op": "move", "from": "/a", "path": "/a/b/c"}, id="a move into itself"),
        pytest.param({"a": 1}, {"op": "test", "path": "/a", "value": True}, id="one is not true"),
        pytest.param({"a": [1]}, {"op": "test", "path": "/a/1", "value": None}, id="null beyond the end"),
    ],
)
def test_a_patch_that_does_not_fit_is_refused(document: Json, operation: Json) -> None:
    with pytest.raises(PatchConflict):
        patch(document, operation)


@pytest.mark.parametrize(
    ("document", "operation", "wanted"),
    [
        pytest.param({}, {"op": "replace", "path": "/a", "value": 1}, {"a": 1}, id="replace adds a missing member"),
        pytest.param({"a": [1, 2]}, {"op": "remove", "path": "/a/-1"}, {"a": [1]}, id="-1 is the last element"),
        pytest.param({"a": [1, 2]}, {"op": "replace", "path": "/a/-1", "value": 3}, {"a": [1, 3]}, id="replacing it"),
        pytest.param({"a": [1]}, {"op": "add", "path": "/a/-1", "value": 2}, {"a": [1, 2]}, id="adding at -1 appends"),
        pytest.param({}, {"op": "test", "path": "/a", "value": None}, {}, id="null equals a missing member"),
        pytest.param({}, {"op": "test", "path": "/a"}, {}, id="and so does no value"),
        pytest.param({"a": 1}, {"op": "test", "path": "/a", "value": 1.0}, {"a": 1}, id="numbers compare by value"),
        pytest.param({"a": 1}, {"op": "replace", "path": "", "value": {"b": 2}}, {"b": 2}, id="the whole document"),
        pytest.param({"a": {"b": 1}}, {"op": "copy", "from": "/a", "path": "/c"}, {"a": {"b": 1}, "c": {"b": 1}},
                     id="copy"),
        pytest.param({"": {"a/b": 1}}, {"op": "remove", "path": "//a~1b"}, {"": {}}, id="empty and escaped names"),
    ],
)  # fmt: skip
def test_quirks_that_clients_know(document: Json, operation: Json, wanted: Json) -> None:
    assert patch(document, operation) == wanted


def test_copies_share_nothing() -> None:
    made = patch(
        {"a": {"b": 1}}, {"op": "copy", "from": "/a", "path": "/c"}, {"op": "replace", "path": "/c/b", "value": 2}
    )
    assert made == {"a": {"b": 1}, "c": {"b": 2}}


def test_growth_by_copies_is_limited() -> None:
    grow = [{"op": "copy", "from": "/a", "path": "/a/-"} for _ in range(40)]
    with pytest.raises(PatchConflict, match="limit"):
        patch({"a": ["x" * 1000]}, *grow)


def test_depth_is_limited() -> None:
    deep = nest(150)
    inner = "/a" + "/x" * 150
    with pytest.raises(PatchConflict, match="deep"):
        patch({"a": deep}, {"op": "add", "path": f"{inner}/x", "value": deep})


def nest(depth: int) -> Any:
    value: Any = {}
    for _ in range(depth):
        value = {"x": value}
    return value


def test_the_number_of_operations_is_limited() -> None:
    operations = [{"op": "test", "path": "/a"}] * (MAX_OPERATIONS + 1)
    with pytest.raises(RequestEntityTooLarge) as refused:
        parse_operations(operations)
    assert refused.value.message == (
        "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001"
    )


def test_unknown_keys_are_found() -> None:
    assert list(find_unknown_keys([{"op": "add", "foo": 1, "bar": 2}, {"path": ""}])) == ["[0].bar", "[0].foo"]


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from("abc"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc/~"), inner, max_size=3),
    max_leaves=8,
)
_OBJECTS = st.dictionaries(st.sampled_from("abc/~"), _VALUES, max_size=4)


@settings(deadline=None)
@given(_OBJECTS, _VALUES)
def test_what_is_added_can_be_tested_and_removed(document: Json, value: Any) -> None:
    steps = [{"op": "add", "path": "/new", "value": value}, {"op": "test", "path": "/new", "value": value}]
    assert patch(document, *steps) == {**document, "new": value}
    assert patch(document, *steps, {"op": "remove", "path": "/new"}) == document
