"""The grammar of the annotations."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.controllers.healthcheck.check import Check, Reading, parse_check
from seaway.net.probing.http import HTTPTarget, render_request

CHECK, INTERVAL, TIMEOUT, RISE, FALL = (
    f"seaway.dev/check{rest}" for rest in ("", "-interval", "-timeout", "-rise", "-fall")
)
TARGET_ALLOWED = "tcp, http, https or grpc, then nothing or ://[:PORT][/PATH] without a host"

CHECKS: dict[str, dict[str, Any]] = {
    "tcp": {"kind": "tcp"},
    "tcp://": {"kind": "tcp"},
    "tcp://:5432": {"kind": "tcp", "port": 5432},
    "tcp://:sql": {"kind": "tcp", "port": "sql"},
    "tcp:///": {"kind": "tcp"},
    "http": {"kind": "http", "rest": "/"},
    "http://": {"kind": "http", "rest": "/"},
    "http:///healthz": {"kind": "http", "rest": "/healthz"},
    "http://:8080": {"kind": "http", "port": 8080, "rest": "/"},
    "http://:8080/healthz?deep=1&x=%20": {"kind": "http", "port": 8080, "rest": "/healthz?deep=1&x=%20"},
    "https://:web/": {"kind": "https", "port": "web", "rest": "/"},
    "https://:443-x/": {"kind": "https", "port": "443-x", "rest": "/"},
    "http:///a://b:c/d": {"kind": "http", "rest": "/a://b:c/d"},
    "grpc": {"kind": "grpc"},
    "grpc://:50051": {"kind": "grpc", "port": 50051},
    "grpc:///my.pkg.Service": {"kind": "grpc", "rest": "my.pkg.Service"},
    "grpc://:rpc/my.pkg.Service": {"kind": "grpc", "port": "rpc", "rest": "my.pkg.Service"},
}


@pytest.mark.parametrize("text", CHECKS)
def test_what_a_check_means(text: str) -> None:
    assert parse_check({CHECK: text}) == Reading(Check(**CHECKS[text]))


NO_CHECKS = (
    "", "udp", "TCP", "tcp ", " tcp", "tcp:", "tcp:/", "tcp:5432", "tcp://5432", "tcp:///path", "ftp://:21/",
    "http:8080",
    "http://example.com/", "http://10.0.0.1/", "http://10.0.0.1:80/", "http://user@:80/", "http://[::1]:80/",
    "http://:0/", "http://:65536/", "http://:080808/", "http://:-a/", "http://:a-/", "http://:A/", "http://:/",
    "http:///a b", "http:///a\r\nHost: x", "http:///a\n", "http:///ä", "http:///a#b", "http:///" + "a" * 1024,
    "grpc://host/x", "tcp://:" + "a" * 64,
)  # fmt: skip


@pytest.mark.parametrize("text", NO_CHECKS)
def test_what_is_no_check(text: str) -> None:
    (error,) = parse_check({CHECK: text}).errors
    assert (error.name, error.found, error.allowed) == (CHECK, text, TARGET_ALLOWED)


def test_no_annotation_asks_for_nothing_and_options_alone_do_neither() -> None:
    assert parse_check({}) == Reading()
    assert parse_check({INTERVAL: "nonsense", "other": "x"}) == Reading()


OPTIONS: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "defaults are those that others have": ({}, {}),
    "durations in seconds": ({INTERVAL: "5s", TIMEOUT: "3s"}, {"interval_seconds": 5.0, "timeout_seconds": 3.0}),
    "durations in milliseconds": (
        {INTERVAL: "500ms", TIMEOUT: "50ms"}, {"interval_seconds": 0.5, "timeout_seconds": 0.05}
    ),
    "durations in minutes": ({INTERVAL: "60m"}, {"interval_seconds": 3600.0}),
    "durations with a fraction": ({INTERVAL: "1.5s"}, {"interval_seconds": 1.5}),
    "the timeout follows a short interval": ({INTERVAL: "250ms"}, {"interval_seconds": 0.25, "timeout_seconds": 0.25}),
    "counts": ({RISE: "1", FALL: "20"}, {"rise": 1, "fall": 20}),
}  # fmt: skip


@pytest.mark.parametrize("case", OPTIONS.values(), ids=OPTIONS)
def test_what_options_mean(case: tuple[dict[str, str], dict[str, Any]]) -> None:
    assert parse_check({CHECK: "tcp", **case[0]}) == Reading(Check(kind="tcp", **case[1]))


INTERVAL_ALLOWED = "250ms to 60m allowed"
TIMEOUT_ALLOWED = "10ms to 10s, and no more than the interval allowed"
BAD: dict[str, tuple[dict[str, str], list[str]]] = {
    "an interval without a unit": ({INTERVAL: "2"}, [f"{INTERVAL}: '2' found, {INTERVAL_ALLOWED}"]),
    "an interval that is too short": ({INTERVAL: "249ms"}, [f"{INTERVAL}: '249ms' found, {INTERVAL_ALLOWED}"]),
    "an interval that is too long": ({INTERVAL: "61m"}, [f"{INTERVAL}: '61m' found, {INTERVAL_ALLOWED}"]),
    "an interval with a sign": ({INTERVAL: "-2s"}, [f"{INTERVAL}: '-2s' found, {INTERVAL_ALLOWED}"]),
    "an empty interval": ({INTERVAL: ""}, [f"{INTERVAL}: '' found, {INTERVAL_ALLOWED}"]),
    "a timeout longer than the interval": (
        {INTERVAL: "1s", TIMEOUT: "2s"}, [f"{TIMEOUT}: '2s' found, {TIMEOUT_ALLOWED}"]
    ),
    "a timeout that holds a place for too long": (
        {INTERVAL: "60s", TIMEOUT: "11s"}, [f"{TIMEOUT}: '11s' found, {TIMEOUT_ALLOWED}"]
    ),
    "a timeout of nothing": ({TIMEOUT: "0s"}, [f"{TIMEOUT}: '0s' found, {TIMEOUT_ALLOWED}"]),
    "a rise of nothing": ({RISE: "0"}, [f"{RISE}: '0' found, 1 to 20 allowed"]),
    "a fall of too many": ({FALL: "21"}, [f"{FALL}: '21' found, 1 to 20 allowed"]),
    "a count that is none": ({FALL: "1.5"}, [f"{FALL}: '1.5' found, 1 to 20 allowed"]),
    "a name that is misspelt": (
        {"seaway.dev/check-intervall": "2s"},
        [f"seaway.dev/check-intervall: '2s' found, no such annotation; {FALL}, {INTERVAL}, {RISE}, {TIMEOUT} allowed"],
    ),
    "a text of any length is cut": ({RISE: "9" * 200}, [f"{RISE}: '{'9' * 80}…' found, 1 to 20 allowed"]),
    "each bad annotation is one error, by name": (
        {RISE: "x", FALL: "y", INTERVAL: "z"},
        [f"{FALL}: 'y' found, 1 to 20 allowed", f"{INTERVAL}: 'z' found, {INTERVAL_ALLOWED}",
         f"{RISE}: 'x' found, 1 to 20 allowed"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_what_is_wrong_with_options(case: tuple[dict[str, str], list[str]]) -> None:
    reading = parse_check({CHECK: "tcp", **case[0]})
    assert reading.check is None
    assert [error.text for error in reading.errors] == case[1]


@given(st.dictionaries(st.sampled_from([CHECK, INTERVAL, TIMEOUT, RISE, FALL]), st.text(max_size=40)))
def test_any_text_is_a_check_within_bounds_or_errors_or_nothing(annotations: dict[str, str]) -> None:
    reading = parse_check(annotations)
    assert (reading.check is None) or not reading.errors
    if CHECK in annotations:
        assert reading.check is not None or reading.errors
    if reading.check is not None:
        found = reading.check
        assert 0.01 <= found.timeout_seconds <= found.interval_seconds <= 3600
        assert 1 <= found.rise <= 20 and 1 <= found.fall <= 20
        assert not set(found.rest) & set(" \r\n")


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=60))
def test_any_path_is_one_line_of_a_request_to_the_target(path: str) -> None:
    reading = parse_check({CHECK: f"http:///{path}"})
    if reading.check is None:
        assert "#" in path
        return
    first, host, *rest = render_request(HTTPTarget("http", "192.0.2.1", 80, reading.check.rest), "me").split(b"\r\n")
    asked = path.removesuffix("?") if path.count("?") == 1 else path  # a query without a word is none
    assert (first, host) == (f"GET /{asked} HTTP/1.1".encode(), b"Host: 192.0.2.1:80")
    assert len(rest) == 5
