"""Rule: spec "api-machinery" §7.3, §7.4, §7.6."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.client.reflector import (
    MAX_DELAY_SECONDS,
    Failed,
    Failure,
    List,
    Listed,
    Phase,
    Progressed,
    Reflector,
    Started,
    Watch,
    WatchEnded,
    Woken,
    choose_delay,
    next_deadline,
    step,
)

WATCHING = Reflector(phase=Phase.WATCHING, resource_version="7", is_relist=True, watching_since=100.0)
LISTING = Reflector(phase=Phase.LISTING)

CASES = [
    ("a first list takes what is at hand",
        Reflector(), Started(), 0, Phase.LISTING, List("0"), None),
    ("a restarted reflector asks for the most recent state",
        Reflector(is_relist=True), Started(), 0, Phase.LISTING, List(""), None),
    ("a page with a token asks for the next",
        LISTING, Listed("5", "tok", 0), 0, Phase.LISTING, List("", "tok"), None),
    ("a complete list starts a watch at its revision",
        LISTING, Listed("5", "", 0), 0, Phase.WATCHING, Watch("5", 300), None),
    ("the time of a watch is spread",
        LISTING, Listed("5", "", 0.5), 0, Phase.WATCHING, Watch("5", 450), None),
    ("an event asks for nothing",
        WATCHING, Progressed("8"), 101, Phase.WATCHING, None, None),
    ("a watch that ended is resumed",
        WATCHING, WatchEnded(0), 400, Phase.WATCHING, Watch("7", 300), None),
    ("a watch that ended at once without an event waits",
        WATCHING, WatchEnded(0), 100.5, Phase.WAITING_TO_WATCH, None, 100.525),
    ("a short watch with an event is resumed at once",
        replace(WATCHING, has_progressed=True), WatchEnded(0), 100.5, Phase.WATCHING, Watch("7", 300), None),
    ("a lost connection is resumed after a moment",
        WATCHING, Failed(Failure.UNREACHABLE, 0), 101, Phase.WAITING_TO_WATCH, None, 101.025),
    ("a refused watch waits the full first delay",
        WATCHING, Failed(Failure.REFUSED, 0), 101, Phase.WAITING_TO_WATCH, None, 101.8),
    ("the server's wish is kept",
        WATCHING, Failed(Failure.THROTTLED, 0, 5), 101, Phase.WAITING_TO_WATCH, None, 106),
    ("an expired watch lists at once",
        WATCHING, Failed(Failure.EXPIRED, 0), 101, Phase.LISTING, List(""), None),
    ("a second expiry in a row waits",
        replace(WATCHING, failures=1), Failed(Failure.EXPIRED, 0), 101, Phase.WAITING_TO_LIST, None, 102.6),
    ("a failed list waits and lists again",
        LISTING, Failed(Failure.UNREACHABLE, 0), 10, Phase.WAITING_TO_LIST, None, 10.025),
    ("the deadline of a list lists",
        Reflector(phase=Phase.WAITING_TO_LIST, failures=3, deadline=1), Woken(0), 2, Phase.LISTING, List("0"), None),
    ("the deadline of a watch watches",
        replace(WATCHING, phase=Phase.WAITING_TO_WATCH, deadline=1),
        Woken(0), 2, Phase.WATCHING, Watch("7", 300), None),
    ("a long quiet watch ends a series of failures",
        replace(WATCHING, failures=9), Failed(Failure.UNREACHABLE, 0), 200, Phase.WAITING_TO_WATCH, None, 200.025),
]  # fmt: skip


@pytest.mark.parametrize(
    ("state", "event", "now", "phase", "action", "deadline"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_step(
    state: Reflector, event: object, now: float, phase: Phase, action: object, deadline: float | None
) -> None:
    after, done = step(state, event, now)  # type: ignore[arg-type]
    assert (after.phase, done) == (phase, action)
    assert next_deadline(after) == (None if deadline is None else pytest.approx(deadline))


def test_an_event_moves_the_revision_and_forgets_failures() -> None:
    after, _ = step(replace(WATCHING, failures=4), Progressed("12"), 101)
    assert (after.resource_version, after.failures) == ("12", 0)


def test_an_expired_revision_is_not_used_again() -> None:
    after, _ = step(WATCHING, Failed(Failure.EXPIRED, 0), 101)
    assert after.resource_version == ""


@given(st.integers(0, 10_000), st.sampled_from(list(Failure)), st.floats(0, 1, exclude_max=True))
def test_delays_grow_and_are_bounded(failures: int, failure: Failure, jitter: float) -> None:
    delay = choose_delay(failures, Failed(failure, jitter))
    assert 0 < delay <= 2 * MAX_DELAY_SECONDS
    assert choose_delay(failures + 1, Failed(failure, jitter)) >= delay
