"""How bad values look in messages. Rule: spec "service-api" §0.3, §13.2."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.machinery.field import not_supported, render_value, too_many

CASES: list[tuple[str, Any, str]] = [
    ("a text is quoted", "web", '"web"'),
    ("quotes and backslashes are escaped", 'a"b\\', r'"a\"b\\"'),
    ("Go has short escapes that JSON lacks", "\a\b\f\n\r\t\v", r'"\a\b\f\n\r\t\v"'),
    ("other control characters are two digits", "\x00\x1b\x7f", r'"\x00\x1b\x7f"'),
    ("what is printed stays", "größe → 日本 <&>", '"größe → 日本 <&>"'),
    ("a blank that is no space is spelt", "a\u00a0b\u2028", r'"a\u00a0b\u2028"'),
    ("beyond the first plane: eight digits", "\U000e0001", r'"\U000e0001"'),
    ("a number is bare", 80, "80"),
    ("a boolean too", True, "true"),
    ("nothing is null", None, "null"),
    ("the rest is compact JSON", {"Name": "", "Port": 80}, '{"Name":"","Port":80}'),
    ("JSON as Go writes it, safe inside HTML", ["<a&b>"], r'["\u003ca\u0026b\u003e"]'),
]


@pytest.mark.parametrize(("value", "text"), [pytest.param(*case[1:], id=case[0]) for case in CASES])
def test_a_bad_value(value: Any, text: str) -> None:
    assert render_value(value) == text


@given(st.text())
def test_a_quoted_text_is_one_printable_line_and_can_be_read_back(text: str) -> None:
    quoted = render_value(text)
    assert quoted.isprintable()
    inside = quoted[1:-1].replace('\\"', '"')
    assert inside.encode("latin-1", "backslashreplace").decode("unicode_escape") == text


@given(st.lists(st.text()))
def test_escaped_json_is_the_same_json(texts: list[str]) -> None:
    assert json.loads(render_value(texts)) == texts


def test_details() -> None:
    assert str(too_many("endpoints", 1001, 1000)) == "endpoints: Too many: 1001: must have at most 1000 items"
    assert str(not_supported("spec.type", "", ("A", "B"))) == (
        'spec.type: Unsupported value: "": supported values: "A", "B"'
    )
