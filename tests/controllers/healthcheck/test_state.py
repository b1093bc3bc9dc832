"""A target over time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.controllers.healthcheck.check import Check
from seaway.controllers.healthcheck.state import Outcome, TargetState, restart, start, step

CHECK = Check(kind="tcp", interval_seconds=2.0, rise=2, fall=3)
BAD = Outcome(False, "refused")

ROWS: dict[str, tuple[bool, str, str]] = {
    "a target that is up stays up": (True, "++++", "^^^^"),
    "it falls with the third failure in a row": (True, "---", "^^v"),
    "a success in between begins the row anew": (True, "--+--+---", "^^^^^^^^v"),
    "it rises with the second success in a row": (False, "++", "v^"),
    "a failure in between begins that row anew": (False, "+-+-++", "vvvvv^"),
    "what fell rises and falls again": (True, "---++---", "^^vv^^^v"),
    "a target that is down stays down": (False, "----", "vvvv"),
}


@pytest.mark.parametrize("case", ROWS.values(), ids=ROWS)
def test_what_a_row_of_results_decides(case: tuple[bool, str, str]) -> None:
    is_up, outcomes, wanted = case
    state = start(CHECK, is_up=is_up, now=0.0, jitter=0.0)
    seen = ""
    for sign in outcomes:
        state = step(state, CHECK, Outcome(sign == "+"), state.due_at)
        seen += "^" if state.is_up else "v"
    assert seen == wanted


def test_the_first_try_is_somewhere_in_the_first_interval() -> None:
    assert start(CHECK, is_up=True, now=10.0, jitter=0.0).due_at == 10.0
    assert start(CHECK, is_up=True, now=10.0, jitter=0.75).due_at == 11.5


TICKS: dict[str, tuple[float, float]] = {
    "the rhythm does not drift with how long a try takes": (10.9, 12.0),
    "a try that ends at the next tick is followed at once": (12.0, 12.0),
    "a tick that was missed is made up for": (13.9, 12.0),
    "of many, the last": (17.5, 16.0),
}


@pytest.mark.parametrize("case", TICKS.values(), ids=TICKS)
def test_when_the_next_try_is_due(case: tuple[float, float]) -> None:
    now, wanted = case
    assert step(TargetState(True, 10.0), CHECK, Outcome(True), now).due_at == wanted


def test_the_last_failure_is_remembered_until_a_success() -> None:
    failed = step(TargetState(True, 0.0), CHECK, BAD, 0.1)
    assert failed.message == "refused"
    assert step(failed, CHECK, Outcome(True), 2.1).message == ""


def test_another_check_keeps_what_was_decided_and_begins_the_row_anew() -> None:
    state = TargetState(False, 4.0, streak=1, message="refused")
    assert restart(state, CHECK, now=5.0, jitter=0.5) == TargetState(False, 6.0, 0, "refused")


@given(
    st.integers(1, 5), st.integers(1, 5), st.lists(st.booleans(), max_size=40), st.floats(0, 0.99),
    st.floats(0, 0.999),
)  # fmt: skip
def test_a_target_that_comes_back_is_back_in_rise_times_the_interval(
    rise: int, fall: int, history: list[bool], jitter: float, phase: float
) -> None:
    """Whatever was before, and whenever between two ticks it comes back; and the same for one that breaks."""
    check = Check(kind="tcp", interval_seconds=1.0, timeout_seconds=0.5, rise=rise, fall=fall)
    for passed, row in ((True, rise), (False, fall)):
        state = start(check, is_up=True, now=0.0, jitter=jitter)
        for earlier in history:
            state = step(state, check, Outcome(earlier), state.due_at)
        changed_at = state.due_at - 1.0 + phase
        while state.is_up != passed:
            tried_at = state.due_at
            assert tried_at <= changed_at + row * check.interval_seconds + 1e-9
            state = step(state, check, Outcome(passed), tried_at)
        assert state.is_up == passed


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 10)), max_size=40))
def test_tries_are_never_closer_than_the_rhythm_but_for_one(history: list[tuple[bool, float]]) -> None:
    state = start(CHECK, is_up=True, now=0.0, jitter=0.0)
    for passed, took in history:
        begun = state.due_at
        state = step(state, CHECK, Outcome(passed), begun + took)
        ticks = (state.due_at - begun) / CHECK.interval_seconds
        assert ticks >= 1 and ticks == int(ticks)
        assert state.due_at > begun + took - CHECK.interval_seconds
