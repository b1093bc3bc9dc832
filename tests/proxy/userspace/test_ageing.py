"""Connections end at an age. Rule: issue of the userspace plane, part 3."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.proxy.userspace.ageing import GRACE_SECONDS, JITTER, LINGER_SECONDS, QUIET_SECONDS, Ageing, Step


def still(connection: str) -> int:
    return 7


def open_at(now: float, *, age: float = 100.0, draw: float = 0.5) -> Ageing[str]:
    ageing: Ageing[str] = Ageing()
    ageing.open("c", age, now, draw=draw)
    return ageing


def test_a_young_connection_is_left_alone() -> None:
    ageing = open_at(1000.0)
    assert ageing.next_deadline() == 1100.0
    assert ageing.take_due(1099.9, still) == []


@pytest.mark.parametrize(("draw", "ripe"), [(0.0, 90.0), (0.5, 100.0), (1.0, 110.0)])
def test_the_age_is_drawn_from_a_tenth_below_to_a_tenth_above(draw: float, ripe: float) -> None:
    assert open_at(0.0, draw=draw).next_deadline() == pytest.approx(ripe)


def test_a_quiet_connection_finishes_at_the_second_look_and_is_closed_after_a_while() -> None:
    ageing = open_at(0.0)
    assert ageing.take_due(100.0, still) == []
    assert ageing.next_deadline() == 100.0 + QUIET_SECONDS
    assert ageing.take_due(101.0, still) == [("c", Step.FINISH)]
    assert ageing.next_deadline() == 101.0 + LINGER_SECONDS
    assert ageing.take_due(111.0, still) == [("c", Step.CLOSE)]
    assert ageing.next_deadline() is None
    assert len(ageing) == 0


def test_a_busy_connection_finishes_at_its_first_quiet_moment() -> None:
    ageing, bytes_moved = open_at(0.0), iter((1, 2, 3, 3))
    found = [ageing.take_due(100.0 + second, lambda _: next(bytes_moved)) for second in range(4)]
    assert found == [[], [], [], [("c", Step.FINISH)]]


def test_one_that_is_never_quiet_finishes_when_the_grace_is_over() -> None:
    ageing, bytes_moved, now = open_at(0.0), iter(range(1000)), 0.0
    while not (found := ageing.take_due(now, lambda _: next(bytes_moved))):
        deadline = ageing.next_deadline()
        assert deadline is not None
        assert deadline > now
        now = deadline
    assert found == [("c", Step.FINISH)]
    assert now == pytest.approx(100.0 + GRACE_SECONDS)


def test_one_that_ends_before_its_age_is_forgotten() -> None:
    ageing = open_at(0.0)
    ageing.close("c")
    ageing.close("c")
    assert ageing.next_deadline() is None
    assert ageing.take_due(1000.0, still) == []


def test_one_that_begins_anew_under_the_same_name_has_its_own_age() -> None:
    ageing = open_at(0.0)
    ageing.close("c")
    ageing.open("c", 500.0, 0.0, draw=0.5)
    assert ageing.take_due(100.0, still) == []
    assert ageing.next_deadline() == 500.0


def test_one_cannot_begin_twice() -> None:
    with pytest.raises(ValueError, match="second time"):
        open_at(0.0).open("c", 1.0, 0.0, draw=0.5)


def test_many_that_came_and_went_leave_nothing() -> None:
    ageing: Ageing[int] = Ageing()
    for number in range(10_000):
        ageing.open(number, 3600.0, float(number), draw=0.5)
        ageing.close(number)
    assert len(ageing) == 0
    assert len(ageing._heap) <= 100


@given(
    st.dictionaries(
        st.integers(0, 50),
        st.tuples(st.floats(1.0, 1000.0), st.floats(0.0, 100.0), st.floats(0.0, 1.0), st.booleans()),
        max_size=20,
    )
)
def test_each_connection_finishes_once_in_its_time_and_is_closed_once(
    connections: dict[int, tuple[float, float, float, bool]],
) -> None:
    ageing: Ageing[int] = Ageing()
    for number, (age, begun, draw, _) in sorted(connections.items(), key=lambda item: item[1][1]):
        ageing.open(number, age, begun, draw=draw)
    looks = iter(range(1_000_000))
    ended: dict[tuple[int, Step], float] = {}
    while (now := ageing.next_deadline()) is not None:
        for step in ageing.take_due(now, lambda number: next(looks) if connections[number][3] else 0):
            assert step not in ended
            ended[step] = now
    assert ended.keys() == {(number, step) for number in connections for step in Step}
    for number, (age, begun, _, is_busy) in connections.items():
        early, late = begun + age * (1 - JITTER), begun + age * (1 + JITTER)
        slack = GRACE_SECONDS if is_busy else QUIET_SECONDS
        assert early - 1e-6 <= ended[number, Step.FINISH] <= late + slack + 1e-6
        assert ended[number, Step.CLOSE] == pytest.approx(ended[number, Step.FINISH] + LINGER_SECONDS)
