"""Rule: spec "controllers" §0.1."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.client.workqueue import BackOff, WorkQueue


def drain(queue: WorkQueue, now: float) -> list[str]:
    taken = []
    while (key := queue.take(now)) is not None:
        taken.append(key)
    return taken


def test_a_key_waits_once() -> None:
    queue = WorkQueue()
    for key in ("a", "b", "a"):
        queue.add(key)
    assert drain(queue, 0) == ["a", "b"]


def test_a_key_in_work_waits_for_done() -> None:
    queue = WorkQueue()
    queue.add("a")
    assert queue.take(0) == "a"
    queue.add("a")
    queue.add("a")
    assert queue.take(0) is None
    queue.done("a")
    assert drain(queue, 0) == ["a"]


def test_the_earlier_deadline_wins() -> None:
    queue = WorkQueue()
    queue.add_after("a", 5, 0)
    queue.add_after("a", 2, 0)
    queue.add_after("a", 9, 0)
    assert queue.next_deadline() == 2
    assert drain(queue, 1.9) == []
    assert drain(queue, 2) == ["a"]
    assert queue.next_deadline() is None


def test_no_delay_is_now() -> None:
    queue = WorkQueue()
    queue.add_after("a", 0, 0)
    assert drain(queue, 0) == ["a"]


def test_failures_double_the_delay_until_forgotten() -> None:
    queue = WorkQueue(BackOff(first_seconds=1, max_seconds=5))
    assert [queue.add_failed("a", 0) for _ in range(4)] == [1, 2, 4, 5]
    assert queue.failures("a") == 4
    queue.forget("a")
    assert queue.add_failed("a", 0) == 1


def test_many_failing_keys_share_a_rate() -> None:
    queue = WorkQueue(BackOff(first_seconds=0.005, rate_per_second=10, burst=2))
    delays = [queue.add_failed(f"k{n}", 0) for n in range(4)]
    assert delays == pytest.approx([0.005, 0.005, 0.1, 0.2])


Step = st.one_of(
    st.tuples(st.just("add"), st.sampled_from("abc"), st.just(0.0)),
    st.tuples(st.just("after"), st.sampled_from("abc"), st.floats(0, 3)),
    st.tuples(st.just("take"), st.just(""), st.just(0.0)),
    st.tuples(st.just("done"), st.just(""), st.just(0.0)),
    st.tuples(st.just("pass"), st.just(""), st.floats(0, 2)),
)


@given(st.lists(Step, max_size=60))
def test_no_key_is_lost_and_none_is_worked_on_twice_at_once(steps: list[tuple[str, str, float]]) -> None:
    queue, now, working, owed = WorkQueue(), 0.0, [], set()
    for verb, key, amount in steps:
        if verb == "add":
            queue.add(key)
            owed.add(key)
        elif verb == "after":
            queue.add_after(key, amount, now)
            owed.add(key)
        elif verb == "take":
            taken = queue.take(now)
            if taken is not None:
                assert taken not in working
                working.append(taken)
                owed.discard(taken)
        elif verb == "done" and working:
            queue.done(working.pop())
        elif verb == "pass":
            now += amount
    for key in working:
        queue.done(key)
    assert owed <= set(drain(queue, now + 3))
