"""What is written, and what is said."""

from __future__ import annotations

import copy

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.endpoints.types import Endpoints
from seaway.api.endpointslice.types import EndpointConditions
from seaway.controllers.healthcheck.check import BadAnnotation
from seaway.controllers.healthcheck.held import hold, parse_held, render_held
from seaway.controllers.healthcheck.plan import (
    ConditionsPlan,
    list_held,
    make_change_events,
    make_complaints,
    plan_conditions,
)
from seaway.controllers.healthcheck.targets import Target, TargetChoice
from seaway.controllers.mirroring.plan import plan_mirror
from tests.controllers.healthcheck.slices import Json, apply, by_hand, decode, raw_slice
from tests.controllers.mirroring import mirrors

HELD = "seaway.dev/held-down"
A, B = "192.0.2.1", "192.0.2.2"


def settle(body: Json, *down: str) -> Json:
    """The slice after the plan, after checking that a plan for it is empty and that the input stays."""
    slice_ = decode(body)
    before = copy.deepcopy(slice_)
    plan = plan_conditions(slice_, down)
    assert slice_ == before
    after = apply(body, plan)
    assert plan_conditions(decode(after), down).is_empty
    return after


def test_an_endpoint_that_is_down_is_neither_ready_nor_serving_and_its_own_words_are_kept() -> None:
    body = raw_slice({"addresses": [A], "conditions": {"ready": True, "terminating": False}}, B)
    after = settle(body, A)
    assert [e["conditions"] for e in after["endpoints"]] == [
        {"ready": False, "serving": False, "terminating": False},
        {},
    ]
    assert after["metadata"]["annotations"] == {HELD: '{"192.0.2.1":{"ready":true,"terminating":false}}'}


WORDS: dict[str, Json] = {
    "nothing": {},
    "ready": {"ready": True},
    "ready and serving": {"ready": True, "serving": True},
    "ready though not serving": {"ready": True, "serving": False},
    "terminating": {"serving": True, "terminating": True},
}


@pytest.mark.parametrize("conditions", WORDS.values(), ids=WORDS)
def test_one_that_comes_back_has_what_its_author_wrote(conditions: Json) -> None:
    body = raw_slice({"addresses": [A], "conditions": conditions}, B, annotations={"note": "kept"})
    assert settle(settle(body, A)) == body


def test_one_that_its_author_took_out_is_left_alone() -> None:
    body = raw_slice({"addresses": [A], "conditions": {"ready": False}})
    assert settle(body, A) == body


def test_fields_that_are_not_known_here_stay() -> None:
    body = raw_slice({"addresses": [A], "conditions": {}, "hints": {"forZones": [{"name": "z"}]}, "later": {"x": 1}})
    after = settle(body, A)
    assert (after["endpoints"][0]["hints"], after["endpoints"][0]["later"]) == (
        {"forZones": [{"name": "z"}]}, {"x": 1}
    )  # fmt: skip


def test_a_write_names_the_version_that_was_read() -> None:
    first, *_ = plan_conditions(by_hand(A), {A}).operations
    assert first == {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"}


def test_what_the_author_writes_meanwhile_is_remembered_instead() -> None:
    after = settle(raw_slice({"addresses": [A], "conditions": {"ready": True}}), A)
    after["endpoints"][0]["conditions"] = {"ready": True, "serving": True}
    again = settle(after, A)
    assert again["endpoints"][0]["conditions"] == {"ready": False, "serving": False}
    assert settle(again)["endpoints"][0]["conditions"] == {"ready": True, "serving": True}


def test_a_mark_is_gone_with_the_last_that_was_down_or_with_its_address() -> None:
    after = settle(raw_slice(A, B), A, B)
    assert list(msgspec.json.decode(after["metadata"]["annotations"][HELD])) == [A, B]
    del after["endpoints"][0]
    after = settle(after, A, B)
    assert list(msgspec.json.decode(after["metadata"]["annotations"][HELD])) == [B]
    assert settle(after)["metadata"]["annotations"] == {}


@pytest.mark.parametrize("text", ["", "no JSON", "[]", '{"a": 1}', '{"192.0.2.1":{"ready":"yes"}}', "null"])
def test_a_mark_that_cannot_be_read_is_replaced(text: str) -> None:
    body = raw_slice(A, annotations={HELD: text})
    assert settle(body)["metadata"]["annotations"] == {}
    assert settle(body, A)["metadata"]["annotations"] == {HELD: '{"192.0.2.1":{}}'}


def test_the_slice_says_who_is_down() -> None:
    after = settle(raw_slice(A, B), B)
    assert list_held(decode(after)) == {B}
    after["endpoints"][1]["conditions"] = {}
    assert list_held(decode(after)) == frozenset(), "its author put it back"


def test_what_a_service_is_told_about_a_change() -> None:
    plan = plan_conditions(by_hand(*(f"192.0.2.{n}" for n in range(1, 9))), {f"192.0.2.{n}" for n in range(1, 8)})
    down, *rest = make_change_events(plan, {A: "tcp 192.0.2.1:8080: connect: connection refused"})
    assert (down.type, down.reason, rest) == ("Warning", "EndpointsDown", [])
    assert down.message == (
        "no more traffic to 192.0.2.1 (tcp 192.0.2.1:8080: connect: connection refused), 192.0.2.2, 192.0.2.3, "
        "192.0.2.4, 192.0.2.5 and 2 more"
    )
    (up,) = make_change_events(ConditionsPlan(rose=(A,)), {})
    assert (up.type, up.reason, up.message) == ("Normal", "EndpointsUp", "traffic again to 192.0.2.1")


def test_each_bad_annotation_is_an_event_of_its_own() -> None:
    errors = (BadAnnotation("seaway.dev/check-fall", "x", "1 to 20"), BadAnnotation("seaway.dev/check-rise", "y", "z"))
    found = make_complaints(errors, TargetChoice())
    assert [(e.reason, e.series) for e in found] == [
        ("InvalidCheck", "seaway.dev/check-fall"), ("InvalidCheck", "seaway.dev/check-rise"),
    ]  # fmt: skip
    assert found[0].message == "seaway.dev/check-fall: 'x' found, 1 to 20 allowed"


def test_what_is_not_checked_is_told() -> None:
    choice = TargetChoice((Target(A, 80),), (("127.0.0.1", "a loopback address"),), 3)
    assert [(e.reason, e.message) for e in make_complaints((), choice)] == [
        ("CheckRefused", "never checked: 127.0.0.1 (a loopback address)"),
        ("TooManyToCheck",
         "1 addresses and ports are checked, 3 are not: 1000 of a Service and 5000 of all are allowed, "
         "and 500 and 1000 tries a second"),
    ]  # fmt: skip
    (ignored,) = make_complaints((), TargetChoice(), is_checkable=False)
    assert ignored.reason == "CheckIgnored"


# Laws.

_CONDITION = st.none() | st.booleans()
_CONDITIONS = st.builds(
    lambda ready, serving, terminating: {
        key: value
        for key, value in (("ready", ready), ("serving", serving), ("terminating", terminating))
        if value is not None
    },
    _CONDITION, _CONDITION, _CONDITION,
)  # fmt: skip
_ADDRESS = st.integers(1, 6).map(lambda n: f"192.0.2.{n}")
_BODY = st.dictionaries(_ADDRESS, _CONDITIONS, max_size=5).map(
    lambda found: raw_slice(*({"addresses": [a], "conditions": c} for a, c in found.items()))
)


@given(_BODY, st.lists(st.frozensets(_ADDRESS), max_size=4))
def test_whatever_fell_and_rose_in_the_end_its_authors_words_are_there(
    body: Json, rounds: list[frozenset[str]]
) -> None:
    after = body
    for down in rounds:
        after = settle(after, *down)
        for endpoint, own in zip(after["endpoints"], body["endpoints"], strict=True):
            wanted = own["conditions"].get("ready") is not False
            is_down = wanted and endpoint["addresses"][0] in down
            assert (endpoint["conditions"] == own["conditions"]) or is_down
            if is_down:
                assert endpoint["conditions"]["ready"] is False and endpoint["conditions"]["serving"] is False
    after = settle(after)
    assert after["endpoints"] == body["endpoints"]
    assert HELD not in after["metadata"].get("annotations", {})


@given(st.dictionaries(_ADDRESS, st.builds(EndpointConditions, _CONDITION, _CONDITION, _CONDITION)))
def test_what_is_remembered_is_read_back(held: dict[str, EndpointConditions]) -> None:
    text = render_held(held)
    assert parse_held({HELD: text} if text is not None else {}) == held


_CHECKED = mirrors.service(annotations={"seaway.dev/check": "tcp"})
_MIRRORED = st.builds(
    lambda ready, rest: mirrors.endpoints(mirrors.subset(*ready, rest=rest - ready)),
    st.frozensets(_ADDRESS, min_size=1), st.frozensets(_ADDRESS),
)  # fmt: skip


@given(_MIRRORED, _MIRRORED, st.frozensets(_ADDRESS))
def test_mirroring_and_checks_do_not_fight(before: Endpoints, after: Endpoints, down: frozenset[str]) -> None:
    """Each leaves what the other wrote, and one round of both, in either order, is enough."""
    (slice_,) = mirrors.apply(before, [], plan_mirror(before, _CHECKED, []))
    held, remembered = hold(slice_.endpoints or (), down)
    text = render_held(remembered)
    meta = msgspec.structs.replace(slice_.metadata, annotations={HELD: text} if text else {})
    checked = msgspec.structs.replace(slice_, endpoints=held, metadata=meta)
    assert plan_conditions(checked, down).is_empty
    assert plan_mirror(before, _CHECKED, [checked]).is_empty
    (mirrored,) = mirrors.apply(after, [checked], plan_mirror(after, _CHECKED, [checked]))
    again = _apply_decoded(mirrored, down)
    assert plan_mirror(after, _CHECKED, [again]).is_empty
    assert plan_conditions(again, down).is_empty


def _apply_decoded(slice_: object, down: frozenset[str]) -> object:
    body = msgspec.to_builtins(slice_)
    for endpoint in body["endpoints"]:
        endpoint["conditions"] = {k: v for k, v in endpoint["conditions"].items() if v is not None}
    body["endpoints"] = list(body["endpoints"])
    return decode(apply(body, plan_conditions(decode(body), down)))
