"""Who is asked first, and who not at all. Rule: spec "discovery" A3.3 (policy, max_fails)."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.dns.forwarding.config import Policy
from seaway.dns.forwarding.route.order import choose_upstreams, is_down, order_upstreams


@given(st.sampled_from(Policy), st.integers(1, 15), st.integers(0, 1000), st.integers())
def test_every_upstream_has_its_turn_once(policy: Policy, count: int, turn: int, seed: int) -> None:
    order = order_upstreams(count, policy, turn=turn, draw=random.Random(seed).randrange)
    assert sorted(order) == list(range(count))


def test_round_robin_begins_with_each_in_turn() -> None:
    firsts = [order_upstreams(3, Policy.ROUND_ROBIN, turn=turn, draw=lambda n: 0)[0] for turn in range(6)]
    assert firsts == [0, 1, 2, 0, 1, 2]


def test_sequential_begins_with_the_first_always() -> None:
    assert order_upstreams(3, Policy.SEQUENTIAL, turn=7, draw=lambda n: 0) == (0, 1, 2)


def test_random_has_every_order_equally_often() -> None:
    draw = random.Random(1).randrange
    found = Counter(order_upstreams(3, Policy.RANDOM, turn=0, draw=draw) for _ in range(6000))
    assert len(found) == 6
    assert all(800 < times < 1200 for times in found.values())


@pytest.mark.parametrize(
    ("failures", "options", "chosen"),
    [
        pytest.param((0, 2, 3), {}, (0, 1), id="down is more failures than the limit"),
        pytest.param((9, 9, 9), {"max_fails": 0}, (0, 1, 2), id="without a limit none is down"),
        pytest.param((3, 3, 3), {}, (2,), id="all down: a random one"),
        pytest.param((3, 3, 3), {"fails_fast": True}, (), id="all down and hurried: none"),
    ],
)
def test_those_that_are_down_are_left_out(
    failures: tuple[int, ...], options: dict[str, int], chosen: tuple[int, ...]
) -> None:
    given_options = {"max_fails": 2, "fails_fast": False} | options
    assert choose_upstreams((0, 1, 2), failures, draw=lambda n: n - 1, **given_options) == chosen  # type: ignore[arg-type]


def test_down_begins_beyond_the_limit() -> None:
    assert [is_down(failures, max_fails=2) for failures in range(5)] == [False, False, False, True, True]
