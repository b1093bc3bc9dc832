"""Rule: the laws at the top of `queue.py`; upstream's scheduling queue."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from seaway.controllers.scheduler.queue import LEFTOVER_SECONDS, Happening, SchedulingQueue

A, B = (0, "1", "a"), (0, "2", "b")
RESOURCES = ("NodeResourcesFit",)


def parked(filters: tuple[str, ...] = RESOURCES, *, times: int = 1) -> SchedulingQueue:
    """`a`, which found no place `times` times in a row, at 0."""
    queue = SchedulingQueue()
    queue.add("a", A)
    assert queue.pop(0.0) == "a"
    for _ in range(times):
        queue.park("a", A, filters, 0.0)
    return queue


def test_pods_leave_in_their_order() -> None:
    queue = SchedulingQueue()
    for key, order in (("late", (0, "2", "")), ("early", (0, "1", "")), ("urgent", (-5, "9", ""))):
        queue.add(key, order)
    assert [queue.pop(0.0) for _ in range(4)] == ["urgent", "early", "late", None]


def test_a_pod_whose_priority_changes_moves() -> None:
    queue = SchedulingQueue()
    queue.add("a", A)
    queue.add("b", B)
    queue.add("b", (-1, "2", "b"))
    assert [queue.pop(0.0) for _ in range(3)] == ["b", "a", None]


def test_one_that_found_no_place_waits_for_something_to_happen() -> None:
    queue = parked()
    assert queue.pop(200.0) is None
    assert queue.next_deadline() == LEFTOVER_SECONDS
    assert queue.pop(LEFTOVER_SECONDS) == "a"


def test_what_happens_wakes_it_after_its_back_off() -> None:
    queue = parked()
    queue.wake(Happening.NODE_CHANGED, 0.5)
    assert queue.pop(0.9) is None
    assert queue.next_deadline() == 1.0
    assert queue.pop(1.0) == "a"


def test_the_back_off_grows_to_ten_seconds() -> None:
    queue = parked(times=8)
    queue.wake(Happening.NODE_CHANGED, 0.0)
    assert queue.next_deadline() == 10.0


def test_what_cannot_help_wakes_nobody() -> None:
    queue = parked(("NodeAffinity",))
    queue.wake(Happening.POD_LEFT, 0.0)
    queue.wake(Happening.POD_PLACED, 0.0)
    assert queue.next_deadline() == LEFTOVER_SECONDS
    queue.wake(Happening.NODE_CHANGED, 0.0)
    assert queue.next_deadline() == 1.0


def test_a_pod_that_left_makes_room_and_one_that_came_is_company() -> None:
    for filters, helped_by in (
        (RESOURCES, {Happening.NODE_CHANGED, Happening.POD_LEFT}),
        (("NodePorts",), {Happening.NODE_CHANGED, Happening.POD_LEFT}),
        (("InterPodAffinity",), set(Happening)),
        (("PodTopologySpread",), set(Happening)),
        (("TaintToleration",), {Happening.NODE_CHANGED}),
    ):
        assert {h for h in Happening if h.may_help(filters)} == helped_by


def test_one_that_asks_for_something_else_is_tried_at_once() -> None:
    queue = parked(times=5)
    queue.add("a", A)
    assert queue.pop(0.0) == "a"


def test_one_that_is_gone_does_not_come_back() -> None:
    queue = parked()
    queue.drop("a")
    queue.wake(Happening.NODE_CHANGED, 0.0)
    assert queue.pop(1000.0) is None
    assert not len(queue)


def test_one_that_could_not_be_put_is_tried_after_its_back_off_whatever_happens() -> None:
    queue = SchedulingQueue()
    queue.retry("a", A, 0.0)
    assert queue.pop(0.9) is None
    assert queue.pop(1.0) == "a"


def test_what_waits_for_what_is_counted() -> None:
    queue = parked()
    queue.add("b", B)
    queue.retry("c", (0, "3", "c"), 0.0)
    assert queue.count() == {"active": 1, "backoff": 1, "unschedulable": 1}
    queue.wake(Happening.NODE_CHANGED, 0.0)
    assert queue.count() == {"active": 1, "backoff": 2, "unschedulable": 0}


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "drop", "pop", "park", "wake", "retry"]), st.sampled_from("abc"), st.integers(0, 9)
    ),
    max_size=40,
)


@given(STEPS)
def test_no_pod_is_lost_or_handed_out_twice(steps: list[tuple[str, str, int]]) -> None:
    queue, known, out, now = SchedulingQueue(), set[str](), set[str](), 0.0
    for step, key, seconds in steps:
        now += seconds
        order = (0, "", key)
        if step == "add":
            queue.add(key, order)
            known.add(key)
            out.discard(key)
        elif step == "drop":
            queue.drop(key)
            known.discard(key)
            out.discard(key)
        elif step == "pop":
            found = queue.pop(now)
            assert found is None or (found in known and found not in out)
            out |= {found} if found else set()
        elif step == "park" and key in out:
            queue.park(key, order, RESOURCES, now)
            out.discard(key)
        elif step == "retry" and key in out:
            queue.retry(key, order, now)
            out.discard(key)
        elif step == "wake":
            queue.wake(Happening.POD_LEFT, now)
    left = set()
    while (found := queue.pop(now + LEFTOVER_SECONDS)) is not None:
        left.add(found)
    assert left == known - out
