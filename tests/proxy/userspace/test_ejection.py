"""Endpoints that refuse get no new connections for a while. Rule: issue of the userspace plane, part 3."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.proxy.connectionpolicy import EjectionRule
from seaway.proxy.forwarding import Target
from seaway.proxy.userspace.ejection import MAX_GROWTH, Ejected, Ejections, Outcome

A, B, C, D = (Target(f"10.244.0.{n}", 80) for n in (1, 2, 3, 4))
RULE = EjectionRule(failures=3, seconds=30.0)
FAILURES = [outcome for outcome in Outcome if outcome is not Outcome.CONNECTED]


def fail(ejections: Ejections, target: Target, times: int, now: float = 0.0) -> Ejected | None:
    """The answer to the last of so many refused connections."""
    found = None
    for _ in range(times):
        found = ejections.report(target, Outcome.REFUSED, now)
    return found


@pytest.mark.parametrize("outcome", FAILURES)
def test_as_many_failures_as_the_rule_says_put_it_out(outcome: Outcome) -> None:
    ejections = Ejections(RULE, [A, B])
    assert [ejections.report(A, outcome, 0.0) for _ in range(3)] == [None, None, Ejected(A, 3, outcome, 30.0)]
    assert ejections.out(0.0) == {A}


def test_failures_count_only_in_a_row() -> None:
    ejections = Ejections(RULE, [A, B])
    fail(ejections, A, 2)
    ejections.report(A, Outcome.CONNECTED, 0.0)
    assert fail(ejections, A, 2) is None
    assert ejections.out(0.0) == set()


def test_failures_of_one_are_not_those_of_another() -> None:
    ejections = Ejections(RULE, [A, B])
    fail(ejections, A, 2)
    assert fail(ejections, B, 2) is None


def test_it_comes_back_when_the_time_is_over() -> None:
    ejections = Ejections(RULE, [A, B])
    fail(ejections, A, 3, now=100.0)
    assert ejections.next_deadline() == 130.0
    assert ejections.out(129.9) == {A}
    assert ejections.out(130.0) == set()
    assert ejections.next_deadline() is None


def test_on_trial_one_failure_puts_it_out_for_longer_each_time_up_to_a_limit() -> None:
    ejections = Ejections(RULE, [A, B])
    now, seconds = 0.0, []
    found = fail(ejections, A, 3)
    for _ in range(6):
        assert found is not None
        seconds.append(found.seconds)
        now += found.seconds
        found = fail(ejections, A, 1, now)
    assert seconds == [30.0, 60.0, 120.0, 240.0, 30.0 * MAX_GROWTH, 30.0 * MAX_GROWTH]


def test_on_trial_one_success_forgets_all() -> None:
    ejections = Ejections(RULE, [A, B])
    fail(ejections, A, 3)
    ejections.report(A, Outcome.CONNECTED, 30.0)
    assert fail(ejections, A, 2, now=30.0) is None
    assert fail(ejections, A, 1, now=30.0) == Ejected(A, 3, Outcome.REFUSED, 30.0)


def test_what_ends_while_it_is_out_changes_nothing() -> None:
    ejections = Ejections(RULE, [A, B])
    fail(ejections, A, 3)
    assert ejections.report(A, Outcome.CONNECTED, 1.0) is None
    assert fail(ejections, A, 5, now=1.0) is None
    assert ejections.out(29.9) == {A}
    assert ejections.out(30.0) == set()


def test_one_that_is_alone_stays() -> None:
    ejections = Ejections(RULE, [A])
    assert fail(ejections, A, 10) is None
    assert ejections.out(0.0) == set()


def test_at_most_half_are_out_and_who_had_to_stay_is_judged_again() -> None:
    ejections = Ejections(RULE, [A, B, C])
    fail(ejections, A, 3)
    assert fail(ejections, B, 3) is None
    assert ejections.out(0.0) == {A}
    assert fail(ejections, B, 1, now=30.0) == Ejected(B, 4, Outcome.REFUSED, 30.0)
    assert ejections.out(30.0) == {B}


def test_when_others_leave_those_come_back_that_are_out_longest() -> None:
    ejections = Ejections(RULE, [A, B, C, D])
    fail(ejections, B, 3, now=0.0)
    fail(ejections, A, 3, now=1.0)
    ejections.set_endpoints([A, B, C], 2.0)
    assert ejections.out(2.0) == {A}
    ejections.set_endpoints([A], 3.0)
    assert ejections.out(3.0) == set()


def test_who_left_is_forgotten() -> None:
    ejections = Ejections(RULE, [A, B])
    fail(ejections, A, 3)
    ejections.set_endpoints([B, C], 1.0)
    ejections.set_endpoints([A, B, C], 2.0)
    assert ejections.out(2.0) == set()
    assert fail(ejections, A, 2, now=2.0) is None


def test_who_is_no_endpoint_is_not_judged() -> None:
    ejections = Ejections(RULE, [A, B])
    assert fail(ejections, D, 10) is None
    assert ejections.out(0.0) == set()


STEPS = st.lists(
    st.tuples(
        st.one_of(
            st.tuples(st.sampled_from((A, B, C, D)), st.sampled_from(Outcome)),
            st.sets(st.sampled_from((A, B, C, D))),
        ),
        st.sampled_from((0.0, 0.0, 0.0, 1.0, 29.0, 30.0, 400.0)),
    ),
    max_size=60,
)


@given(STEPS)
def test_whatever_happens_at_most_half_are_out_and_time_brings_all_back(
    steps: list[tuple[tuple[Target, Outcome] | set[Target], float]],
) -> None:
    ejections, now = Ejections(EjectionRule(failures=2, seconds=30.0), [A, B, C, D]), 0.0
    endpoints = {A, B, C, D}
    for step, seconds in steps:
        now += seconds
        before = ejections.out(now)
        if isinstance(step, set):
            endpoints = step
            ejections.set_endpoints(step, now)
            assert ejections.out(now) <= before
        else:
            told = ejections.report(*step, now)
            assert ejections.out(now) - before == ({told.target} if told else set())
            assert before <= ejections.out(now)
        out = ejections.out(now)
        assert out <= endpoints
        assert len(out) <= len(endpoints) // 2
        deadline = ejections.next_deadline()
        assert (deadline is None) == (not out)
        assert deadline is None or now < deadline <= now + 30.0 * MAX_GROWTH
    assert ejections.out(now + 30.0 * MAX_GROWTH) == set()
