"""Selectors: what they match and how bad ones are refused. Rule: spec "api-machinery" §6.2, §1.4."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.machinery.selectors import (
    SelectorError,
    parse_field_selector,
    parse_label_selector,
    selector_from_object,
)

LABELS = {"app": "web", "tier": "2", "empty": "", "a.b/c": "x"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        pytest.param("", True, id="an empty selector matches everything"),
        pytest.param("   ", True, id="blanks match everything"),
        pytest.param("app", True, id="a bare key asks for its presence"),
        pytest.param("none", False, id="an absent key is not present"),
        pytest.param("!none", True, id="a negated key asks for its absence"),
        pytest.param("! app", False, id="blanks may follow the negation"),
        pytest.param("app=web", True, id="one equals sign"),
        pytest.param("app == web", True, id="two equals signs and blanks"),
        pytest.param("app!=web", False, id="unequal to what is there"),
        pytest.param("none!=web", True, id="unequal matches an absent key"),
        pytest.param("app in (web,db)", True, id="in a set"),
        pytest.param("app in (db)", False, id="not in a set"),
        pytest.param("app notin (db, api)", True, id="notin another set"),
        pytest.param("none notin (db)", True, id="notin matches an absent key"),
        pytest.param("empty=", True, id="an empty value"),
        pytest.param("empty in (,x)", True, id="an empty value in a set"),
        pytest.param("app=", False, id="an empty value is not any value"),
        pytest.param("tier>1", True, id="greater as a number"),
        pytest.param("tier<2", False, id="not less than itself"),
        pytest.param("app>1", False, id="text is no number"),
        pytest.param("none>1", False, id="an absent key is not greater"),
        pytest.param("app=web,tier=2", True, id="a comma means and"),
        pytest.param("app=web,tier=3", False, id="one unmet requirement is enough to fail"),
        pytest.param("a.b/c=x,!service.kubernetes.io/headless", True, id="prefixed keys"),
    ],
)
def test_a_label_selector_matches(text: str, matches: bool) -> None:
    assert parse_label_selector(text).matches(LABELS) is matches


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("app=web,", "found '', expected: identifier after ','"),
        ("=x", "found '=', expected: !, identifier, or 'end of string'"),
        ("app=web=x", "found '=', expected: ',' or 'end of string'"),
        ("app in web", "unable to parse requirement: found 'web' expected: '('"),
        ("app x y", "unable to parse requirement: found 'x', expected: in, notin, =, ==, !=, gt, lt"),
        ("app in (a", "unable to parse requirement: found '', expected: ',', ')' or identifier"),
        ("app in (a b)", "unable to parse requirement: found 'b', expected: ',' or ')'"),
        ("app>x", "for 'Gt', 'Lt' operators, the value must be an integer"),
        ("-x=y", 'unable to parse requirement: key: Invalid value: "-x": name part must consist of'),
        ("a/b/c", 'unable to parse requirement: key: Invalid value: "a/b/c": a valid label key must'),
        ("/b", "prefix part must be non-empty"),
        ("app=" + "x" * 64, "must be no more than 63 bytes"),
        ("app=a_", "a valid label must be an empty string or consist of"),
    ],
)
def test_a_bad_label_selector_is_refused_in_words(text: str, message: str) -> None:
    with pytest.raises(SelectorError) as caught:
        parse_label_selector(text)
    assert message in str(caught.value)


@given(st.text(max_size=40))
def test_any_text_is_a_label_selector_or_a_selector_error(text: str) -> None:
    try:
        parse_label_selector(text).matches({"a": "b"})
        parse_field_selector(text).matches({"a": "b"})
    except SelectorError:
        pass


FIELDS = {"metadata.name": "web", "spec.clusterIP": "None", "odd": "a,b=c\\d"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        pytest.param("", True, id="empty matches"),
        pytest.param("metadata.name=web", True, id="equal"),
        pytest.param("metadata.name==web", True, id="equal, spelled twice"),
        pytest.param("metadata.name!=web", False, id="unequal"),
        pytest.param("spec.clusterIP!=None,metadata.name=web", False, id="all must hold"),
        pytest.param("absent=", True, id="an absent field is empty"),
        pytest.param("absent!=", False, id="an absent field is not unequal to empty"),
        pytest.param("odd=a\\,b\\=c\\\\d", True, id="commas, equals signs and backslashes are escaped"),
    ],
)
def test_a_field_selector_matches(text: str, matches: bool) -> None:
    assert parse_field_selector(text).matches(FIELDS) is matches


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x", "invalid selector: 'x'; can't understand 'x'"),
        ("a=\\x", "invalid field selector: invalid escape sequence: \\x"),
    ],
)
def test_a_bad_field_selector_is_refused_in_words(text: str, message: str) -> None:
    with pytest.raises(SelectorError) as caught:
        parse_field_selector(text)
    assert str(caught.value) == message


def test_the_only_allowed_value_is_found() -> None:
    selector = parse_field_selector("metadata.name=web,spec.type!=x")
    assert selector.find_exact("metadata.name") == "web"
    assert selector.find_exact("spec.type") is None


def test_a_selector_object_means_what_its_text_would() -> None:
    expressions = [
        {"key": "tier", "operator": "NotIn", "values": ["3"]},
        {"key": "none", "operator": "DoesNotExist"},
        {"key": "app", "operator": "Exists"},
    ]
    selector = selector_from_object({"matchLabels": {"app": "web"}, "matchExpressions": expressions})
    assert selector is not None and selector.matches(LABELS)
    assert selector_from_object(None) is None
    assert selector_from_object({}) == parse_label_selector("")
    with pytest.raises(SelectorError):
        selector_from_object({"matchExpressions": [{"key": "a", "operator": "Like"}]})
    with pytest.raises(SelectorError):
        selector_from_object({"matchExpressions": [{"operator": "Exists"}]})
