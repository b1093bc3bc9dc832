"""JSON bodies: the short way and the long one find the same values, duplicates and mistakes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.machinery import json_codec
from seaway.api.machinery.json_codec import MAX_DEPTH, JsonError, copy_json, parse_json

STRINGS = st.one_of(
    st.text(max_size=6),
    st.sampled_from(["a", "b", ":", "::", '"', "\\", "\\u003a", "a:b", "é", "\U0001f600", "\t", "\x7f"]),
)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), STRINGS)


@st.composite
def json_texts(draw: st.DrawFn, depth: int = 0) -> str:
    """JSON as people and programs write it: blanks anywhere, any escapes, keys repeated."""
    blank = draw(st.sampled_from(["", "", " ", "\n\t"]))
    shape = draw(st.sampled_from(["scalar", "object", "list"] if depth < 3 else ["scalar"]))
    if shape == "scalar":
        return blank + json.dumps(draw(SCALARS), ensure_ascii=draw(st.booleans()))
    items = draw(st.lists(json_texts(depth + 1), max_size=4))
    if shape == "list":
        return f"{blank}[{','.join(items)}{blank}]"
    keys = [draw(st.sampled_from(["a", "b", "c", ":"]) | STRINGS) for _ in items]
    as_ascii = draw(st.booleans())
    pairs = (f"{json.dumps(key, ensure_ascii=as_ascii)}{blank}:{item}" for key, item in zip(keys, items, strict=True))
    return f"{blank}{{{','.join(pairs)}{blank}}}"


def outcome(parse: Any, body: bytes) -> str:
    """Text, because NaN differs from itself, and to tell 1 from 1.0 and from true."""
    try:
        return repr(parse(body))
    except JsonError as error:
        return f"JsonError: {error}"


@given(json_texts())
def test_both_ways_find_the_same(text: str) -> None:
    body = text.encode(errors="surrogatepass")
    assert outcome(parse_json, body) == outcome(json_codec._parse_marking, body)


@given(json_texts(), st.data())
def test_both_ways_refuse_the_same(text: str, data: st.DataObject) -> None:
    body = bytearray(text.encode(errors="surrogatepass"))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body)))
        body[at : at + data.draw(st.integers(0, 1))] = data.draw(st.binary(max_size=2))
    assert outcome(parse_json, bytes(body)) == outcome(json_codec._parse_marking, bytes(body))


@pytest.mark.parametrize(
    ("body", "duplicates"),
    [
        pytest.param(b'{"a":1,"a":1}', ("a",), id="a repeated field is found though its value is the same"),
        pytest.param(rb'{"a":1,"a":"\u003a"}', ("a",), id="an escaped colon does not make up for the dropped one"),
        pytest.param(b'{"a":":","b":{"x":1,"x":2}}', ("b.x",), id="colons in strings are none of fields"),
        pytest.param(b'[{"a":1},{"a":1}]', (), id="the same field of two objects is no repetition"),
        pytest.param(b'{"a":{"b":1},"a":2}', ("a",), id="a dropped object takes all of its colons along"),
    ],
)
def test_duplicates(body: bytes, duplicates: tuple[str, ...]) -> None:
    assert parse_json(body)[1] == duplicates


@pytest.mark.parametrize("body", [b"[" * (MAX_DEPTH + 2) + b"]" * (MAX_DEPTH + 2), b"[" * 100_000])
def test_nesting_beyond_the_limit_is_refused(body: bytes) -> None:
    with pytest.raises(JsonError):
        parse_json(body)
    assert outcome(parse_json, body) == outcome(json_codec._parse_marking, body)


def _containers(value: Any) -> list[int]:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    own = [id(value)] if isinstance(value, dict | list) else []
    return own + [found for child in children for found in _containers(child)]


@given(json_texts())
def test_a_copy_is_equal_and_shares_no_list_and_no_map(text: str) -> None:
    value = json.loads(text)
    copied = copy_json(value)
    assert repr(copied) == repr(value)
    assert not set(_containers(copied)) & set(_containers(value))
