"""The short run of the fuzzer, and proof that it sees what is wrong. The long one: `python -m tests.fuzz --help`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.machinery.http import Request, Response
from seaway.api.registry import RESOURCES
from seaway.apiserver import verbs
from tests.fuzz.named import NAMED, find_named
from tests.fuzz.oracle import judge, judge_event
from tests.fuzz.rounds import Result, minimize, replay, run_round
from tests.fuzz.shrink import shrink
from tests.fuzz.steps import Advance, Break, Check, Close, Compact, Read, Send, Step, Together, decode_step, encode_step

REQUESTS = 8_000
HEADERS = (("Audit-Id", "1"), ("Cache-Control", "no-cache, private"), ("Content-Type", "application/json"))


@pytest.fixture(scope="module")
def result() -> Result:
    return run_round(1, 0, REQUESTS)


def test_no_rule_is_broken(result: Result) -> None:
    assert result.complaints == [], f"python -m tests.fuzz --seed 1 --requests {REQUESTS}"


def test_every_kind_is_made_and_read(result: Result) -> None:
    """Else what is fuzzed would be the refusals alone."""
    kinds = {resource.plural for resource in RESOURCES if "create" in resource.verbs} - {"ipaddresses", "bindings"}
    posted = {kind.partition(".")[0] for method, kind, code in result.counts if (method, code) == ("POST", 201)}
    assert kinds - posted == set()
    shown = {kind.partition(".")[0] for method, kind, code in result.counts if (method, code) == ("GET", 200)}
    assert {resource.plural for resource in RESOURCES if "get" in resource.verbs} - shown == set()


def test_the_same_seed_asks_the_same() -> None:
    first, second = (run_round(3, 7, 400) for _ in range(2))
    assert (first.steps, first.counts) == (second.steps, second.counts)
    assert replay(first.steps, first.seed, tampers=first.tampers) == []


def test_a_planted_bug_is_found_and_made_small(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = verbs.VERBS[("get", "")]

    async def answer_get(call: verbs.Call) -> Response:
        if call.route.name == "web" and call.state.find(call.resource, call.namespace, "web"):
            raise KeyError("planted")
        return await honest(call)

    monkeypatch.setitem(verbs.VERBS, ("get", ""), answer_get)
    found = run_round(2, 0, 4_000)
    assert "KeyError" in found.complaints[0].rule + found.complaints[-1].rule
    steps = minimize(found)
    assert 1 <= len(steps) <= 3
    assert replay([decode_step(encode_step(step)) for step in steps], found.seed)


def make_send(method: str = "GET", who: str = "admin") -> Send:
    return Send(who, Request(method, "/api/v1/pods"))


def make_status(code: int, reason: str, message: str = "text", **more: Any) -> bytes:
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message}
    return json.dumps({**status, "reason": reason, "code": code, **more}).encode() + b"\n"


@pytest.mark.parametrize(
    ("response", "rule"),
    [
        pytest.param(Response(200, HEADERS, b'{"a":1}\n'), "", id="an object is fine"),
        pytest.param(Response(404, HEADERS, make_status(404, "NotFound")), "", id="a Status is fine"),
        pytest.param(Response(200, HEADERS[1:], b"{}\n"), "header missing", id="no Audit-Id"),
        pytest.param(Response(200, (*HEADERS, ("X", "a\r\nb")), b"{}\n"), "header holds control", id="a split header"),
        pytest.param(Response(200, HEADERS, b"{\n"), "body is not what", id="half a body"),
        pytest.param(Response(200, HEADERS, b"{}"), "body is not what", id="no newline"),
        pytest.param(Response(299, HEADERS, b"{}\n"), "unknown success code", id="an odd code"),
        pytest.param(Response(404, HEADERS, b"{}\n"), "error is no Status", id="an error of another kind"),
        pytest.param(Response(404, HEADERS[:2], b"no"), "error is neither", id="an error in other words"),
        pytest.param(Response(404, HEADERS, make_status(400, "NotFound")), "code of the Status", id="two codes"),
        pytest.param(Response(404, HEADERS, make_status(404, "Gone")), "code and reason", id="an unknown pair"),
        pytest.param(Response(404, HEADERS, make_status(404, "NotFound", "")), "Status without", id="no message"),
        pytest.param(Response(500, HEADERS, make_status(500, "InternalError", "oops")), "unnamed 500 oops", id="a 500"),
        pytest.param(
            Response(409, HEADERS, make_status(409, "AlreadyExists", details={"retryAfterSeconds": 1})),
            "Retry-After does not agree",
            id="a repeat without its header",
        ),
    ],
)
def test_what_is_wrong_with_an_answer(response: Response, rule: str) -> None:
    _, complaints = judge(make_send(), response)
    assert [complaint.rule.startswith(rule) for complaint in complaints] == ([True] if rule else [])


def test_who_has_no_rights_gets_nothing() -> None:
    _, complaints = judge(make_send(who="nobody"), Response(200, HEADERS, b"{}\n"))
    assert [complaint.rule for complaint in complaints] == ["answered somebody without rights"]


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        (b'{"type":"ADDED","object":{}}', False),
        (b'{"type":"GONE","object":{}}', True),
        (b'{"type":"ADDED"}', True),
        (b"{", True),
        (b'{"type":"ERROR","object":{"code":410,"reason":"Expired","message":"too old"}}', False),
        (b'{"type":"ERROR","object":{"code":500,"reason":"InternalError","message":"oops"}}', True),
    ],
)
def test_what_is_wrong_with_an_event(line: bytes, wrong: bool) -> None:
    assert bool(judge_event(line)[1]) is wrong


def test_the_named_errors_are_of_500_and_above_and_each_has_its_rule() -> None:
    assert all(row.code >= 500 and "§" in row.rule for row in NAMED)
    why = "resourceVersion should not be set on objects to be created"
    assert find_named("POST", 500, "", why) is not None
    assert find_named("GET", 500, "", why) is None
    assert find_named("POST", 500, "InternalError", why) is None
    assert find_named("POST", 500, "", f"{why}!") is None


STEPS: tuple[Step, ...] = (
    Send("user", Request("GET", "/a%20b", (("a", "é"), ("a", "")), {"accept": "*/*"}, b"\xff\x00")),
    Send("admin", Request("POST", "/", (), {}, b'{"a":1}'), verifies=True),
    Together((make_send(), make_send("PUT"))),
    Read(1),
    Close(2),
    Advance(0.5),
    Compact(7),
    Break(1),
    Check(),
)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: type(step).__name__)
def test_a_step_is_a_line_and_back(step: Step) -> None:
    line = encode_step(step)
    assert "\n" not in line and decode_step(line) == step


@given(st.lists(st.integers(0, 9), min_size=1), st.data())
def test_what_is_left_still_fails_and_nothing_of_it_can_go(steps: list[int], data: st.DataObject) -> None:
    needed = data.draw(st.sets(st.sampled_from(steps)))

    def fails(attempt: list[int]) -> bool:
        return needed <= set(attempt)

    kept = shrink(steps, fails)
    assert fails(kept)
    assert all(not fails(kept[:i] + kept[i + 1 :]) for i in range(len(kept)) if len(kept) > 1)
    assert sorted(kept) == sorted(needed) or (not needed and len(kept) == 1)
