"""What is remembered of texts that clients send."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from seaway.api.machinery.http import Identity
from seaway.api.machinery.remember import REMEMBERED_LENGTH, remember_short
from seaway.api.machinery.selectors import parse_field_selector, parse_label_selector
from seaway.apiserver.access.rbac import Attributes, Policy
from seaway.apiserver.routes import parse_path


def test_a_short_text_is_worked_on_once_and_a_long_one_each_time() -> None:
    asked: list[tuple[str, int]] = []

    @remember_short(2, length=3)
    def measure(text: str, factor: int) -> int:
        asked.append((text, factor))
        return len(text) * factor

    assert [measure(text, 2) for text in ("abc", "abc", "abcd", "abcd")] == [6, 6, 8, 8]
    assert measure("abc", 3) == 9
    assert asked == [("abc", 2), ("abcd", 2), ("abcd", 2), ("abc", 3)]


@pytest.mark.parametrize(
    ("find", "part"),
    [
        pytest.param(parse_path, "/api/v1/pods", id="paths"),
        pytest.param(parse_label_selector, "app", id="label selectors"),
        pytest.param(parse_field_selector, "spec.type=a", id="field selectors"),
    ],
)
def test_what_is_remembered_of_a_client_is_short(find: Callable[[str], object], part: str) -> None:
    short, long = part, ",".join([part] * REMEMBERED_LENGTH)
    assert find(short) is find(short)
    assert find(long) is not find(long)


def test_a_decision_about_a_long_name_is_not_remembered() -> None:
    policy = Policy([], [])
    who = Identity("jane")
    short, long = Attributes("get", resource="pods", name="a"), Attributes("get", resource="pods", name="a" * 600)
    assert policy.decide(who, short) is policy.decide(who, short)
    assert policy.decide(who, long) is not policy.decide(who, long)
