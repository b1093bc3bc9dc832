"""The fewest connections by weight, against a slow oracle. Rule: issue of the userspace plane, part 3."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from seaway.proxy.forwarding import Target
from seaway.proxy.userspace.leastconnections import LeastConnections

A, B, C = (Target(f"10.244.0.{n}", 80) for n in (1, 2, 3))
KNOWN = [Target(f"10.244.0.{n}", 80) for n in range(6)]


def run(chooser: LeastConnections, count: int) -> list[Target]:
    """That many connections, which stay."""
    chosen: list[Target] = []
    for _ in range(count):
        target = chooser.choose()
        assert target is not None
        chooser.open(target)
        chosen.append(target)
    return chosen


def test_nobody_is_chosen_where_there_is_nobody() -> None:
    assert LeastConnections().choose() is None


def test_idle_endpoints_take_turns() -> None:
    chooser = LeastConnections([A, B, C])
    order: list[Target] = []
    for _ in range(6):
        (target,) = run(chooser, 1)
        chooser.close(target)
        order.append(target)
    assert order[:3] == order[3:]
    assert set(order) == {A, B, C}


def test_who_comes_first_of_the_idle_is_drawn() -> None:
    first = {LeastConnections([A, B, C], pick=lambda bound, k=k: k % bound).choose() for k in range(3)}
    assert len(first) > 1


def test_a_busy_endpoint_gets_no_more_until_the_others_are_as_busy() -> None:
    chooser = LeastConnections([A, B])
    for _ in range(5):
        chooser.open(A)
    assert run(chooser, 5) == [B] * 5
    assert Counter(run(chooser, 10)) == {A: 5, B: 5}


def test_connections_follow_the_weights() -> None:
    assert Counter(run(LeastConnections([A, A, A, B]), 400)) == {A: 300, B: 100}


def test_a_new_endpoint_catches_up() -> None:
    chooser = LeastConnections([A, B])
    run(chooser, 8)
    chooser.set_endpoints([A, B, C])
    assert run(chooser, 4) == [C] * 4


def test_an_endpoint_that_comes_back_has_the_connections_that_it_kept() -> None:
    chooser = LeastConnections([A, B])
    run(chooser, 8)
    chooser.set_endpoints([A])
    assert run(chooser, 1) == [A]
    chooser.set_endpoints([A, B])
    assert chooser.count(B) == 4
    assert run(chooser, 1) == [B]


def test_who_is_to_be_avoided_is_not_chosen_and_not_forgotten() -> None:
    chooser = LeastConnections([A, B])
    chooser.open(B)
    assert chooser.choose({A}) == B
    assert chooser.choose({A, B}) is None
    assert chooser.choose() == A


def test_a_connection_that_never_began_cannot_end() -> None:
    chooser = LeastConnections([A])
    with pytest.raises(ValueError, match="never began"):
        chooser.close(A)
    assert chooser.count(A) == 0


class AgainstTheOracle(RuleBasedStateMachine):
    """Whatever happens, who is chosen is among the best, and of those the one that waits longest."""

    def __init__(self) -> None:
        super().__init__()
        self.chooser = LeastConnections()
        self.weights: Counter[Target] = Counter()
        self.open: Counter[Target] = Counter()
        self.turns: dict[Target, int] = {}
        self.turn = 0

    @rule(endpoints=st.lists(st.sampled_from(KNOWN), max_size=12))
    def change(self, endpoints: list[Target]) -> None:
        self.chooser.set_endpoints(endpoints)
        self.weights = Counter(endpoints)
        self.turns = {target: self.turns.get(target, 0) for target in self.weights}

    @rule(endpoint=st.sampled_from(KNOWN))
    def begin(self, endpoint: Target) -> None:
        self.chooser.open(endpoint)
        self.open[endpoint] += 1
        self.turn += 1
        if endpoint in self.weights:
            self.turns[endpoint] = self.turn

    @precondition(lambda self: self.open.total())
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        target = data.draw(st.sampled_from(sorted(t for t, count in self.open.items() if count)))
        self.chooser.close(target)
        self.open[target] -= 1

    @rule(avoid=st.sets(st.sampled_from(KNOWN)))
    def choose(self, avoid: set[Target]) -> None:
        able = [target for target in self.weights if target not in avoid]
        chosen = self.chooser.choose(avoid)
        if not able:
            assert chosen is None
            return
        assert chosen is not None
        least = min(self.load(target) for target in able)
        best = [target for target in able if self.load(target) == least]
        assert chosen in best
        assert self.turns[chosen] == min(self.turns[target] for target in best)

    @invariant()
    def counts_are_right(self) -> None:
        assert all(self.chooser.count(target) == self.open[target] for target in KNOWN)

    @invariant()
    def the_heap_is_bounded(self) -> None:
        assert len(self.chooser._heap) <= 4 * len(self.weights) + 64

    def load(self, target: Target) -> Fraction:
        return Fraction(self.open[target] + 1, self.weights[target])


TestAgainstTheOracle = AgainstTheOracle.TestCase
TestAgainstTheOracle.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.integers(0, 2**26 - 1), st.integers(1, 512), st.integers(0, 2**26 - 1), st.integers(1, 512))
def test_floats_compare_as_fractions_do(a: int, b: int, c: int, d: int) -> None:
    exact = (Fraction(a, b) > Fraction(c, d)) - (Fraction(a, b) < Fraction(c, d))
    assert ((a / b) > (c / d)) - ((a / b) < (c / d)) == exact
