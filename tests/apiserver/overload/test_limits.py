"""What one client may hold, and for how long. Rule: spec "api-machinery" §11, §1.2 (`timeout`), §1.4 (504)."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.machinery.duration import DurationError, parse_duration
from seaway.api.machinery.errors import BadRequest
from seaway.api.machinery.http import Request
from seaway.apiserver.overload.limits import ConnectionCounts, ConnectionLimits, Verdict, find_time_limit
from tests.apiserver.conversation import SERVICES

ALLOTTED = "Timeout: request did not complete within the allotted timeout"
CONTEXT = "Timeout: request did not complete within requested timeout - context deadline exceeded"


def make_request(method: str, target: str) -> Request:
    path, _, query = target.partition("?")
    return Request(method, path, tuple(parse_qsl(query, keep_blank_values=True)))


@pytest.mark.parametrize(
    ("method", "target", "seconds", "text"),
    [
        pytest.param("GET", f"{SERVICES}/web", 60, ALLOTTED, id="a read has a minute"),
        pytest.param("GET", SERVICES, 60, ALLOTTED, id="a list too"),
        pytest.param("DELETE", SERVICES, 60, ALLOTTED, id="the deletion of a collection too"),
        pytest.param("POST", SERVICES, 34, CONTEXT, id="a creation has 34 seconds"),
        pytest.param("PUT", f"{SERVICES}/web", 34, CONTEXT, id="an update too"),
        pytest.param("PATCH", f"{SERVICES}/web", 34, CONTEXT, id="a patch too"),
        pytest.param("DELETE", f"{SERVICES}/web", 34, CONTEXT, id="a deletion too"),
        pytest.param("GET", f"{SERVICES}?timeout=1m", 60, ALLOTTED, id="timeout says the same"),
        pytest.param("GET", f"{SERVICES}?timeout=1500ms", 1.5, ALLOTTED, id="timeout lowers"),
        pytest.param("GET", f"{SERVICES}?timeout=8m18s", 60, ALLOTTED, id="timeout does not raise"),
        pytest.param("POST", f"{SERVICES}?timeout=40s", 34, CONTEXT, id="nor for a write"),
        pytest.param("GET", f"{SERVICES}?timeout=0s", 60, ALLOTTED, id="timeout zero is none"),
        pytest.param("GET", f"{SERVICES}?timeout=", 60, ALLOTTED, id="timeout empty is none"),
        pytest.param("GET", "/metrics", 60, ALLOTTED, id="paths that are no resources have the minute"),
        pytest.param("GET", f"{SERVICES}/..?x=1", 60, ALLOTTED, id="a bad name is refused elsewhere"),
    ],
)
def test_the_time_of_a_request(method: str, target: str, seconds: float, text: str) -> None:
    limit = find_time_limit(make_request(method, target))
    assert limit is not None
    assert (limit.seconds, limit.error.message, limit.error.status_code) == (seconds, text, 504)


@pytest.mark.parametrize(
    ("method", "target"),
    [
        pytest.param("GET", f"{SERVICES}?watch=1&timeout=1s", id="a watch is not cut by timeout"),
        pytest.param("GET", f"{SERVICES}?watch=1&timeout=soon", id="nor refused for it"),
        pytest.param("GET", "/api/v1/watch/services", id="the old path of a watch"),
        pytest.param("POST", "/api/v1/namespaces/default/pods/p/exec?command=a", id="exec"),
        pytest.param("GET", "/api/v1/namespaces/default/pods/p/log?follow=1", id="a log"),
        pytest.param("GET", "/api/v1/namespaces/default/services/s/proxy/a/b", id="a proxied request"),
    ],
)
def test_what_runs_long_has_no_limit(method: str, target: str) -> None:
    assert find_time_limit(make_request(method, target)) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("soon", 'time: invalid duration "soon"'),
        ("5", 'time: missing unit in duration "5"'),
        ("5x", 'time: unknown unit "x" in duration "5x"'),
        ("-", 'time: invalid duration "-"'),
        ("99999999999h", 'time: invalid duration "99999999999h"'),
    ],
)
def test_a_malformed_timeout_is_a_bad_request_in_the_words_of_go(text: str, why: str) -> None:
    with pytest.raises(BadRequest) as raised:
        find_time_limit(make_request("GET", f"{SERVICES}?timeout={text}"))
    assert raised.value.message == f"invalid timeout specified in the request URL - {why}"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("32s", 32),
        ("8m18s", 498),
        ("1.5h", 5400),
        ("-300ms", -0.3),
        ("0", 0),
        ("+1us", 1e-6),
        (".5s", 0.5),
        ("1h0m", 3600),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@given(st.text(max_size=20))
def test_law_any_text_is_a_duration_or_refused(text: str) -> None:
    try:
        parse_duration(text)
    except DurationError as error:
        assert "duration" in str(error)


def test_connections_are_limited_in_all_and_per_source() -> None:
    counts = ConnectionCounts(ConnectionLimits(connections=3, connections_per_source=2))
    verdicts = [counts.admit(source) for source in ("a", "a", "a", "b", "c")]
    assert verdicts == [
        Verdict.ADMITTED,
        Verdict.ADMITTED,
        Verdict.TOO_MANY_OF_SOURCE,
        Verdict.ADMITTED,
        Verdict.TOO_MANY,
    ]
    counts.release("a")
    assert counts.admit("c") is Verdict.ADMITTED and counts.total == 3


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc")), max_size=100))
def test_law_what_is_released_can_be_had_again(steps: list[tuple[bool, str]]) -> None:
    counts = ConnectionCounts(ConnectionLimits(connections=5, connections_per_source=3))
    held = dict.fromkeys("abc", 0)
    for is_arrival, source in steps:
        if is_arrival:
            may = sum(held.values()) < 5 and held[source] < 3
            assert (counts.admit(source) is Verdict.ADMITTED) == may
            held[source] += may
        elif held[source]:
            counts.release(source)
            held[source] -= 1
        assert counts.total == sum(held.values())


def test_one_source_never_takes_all_the_connections() -> None:
    limits = ConnectionLimits()
    assert limits.connections_per_source <= limits.connections // 2
