"""Rule: spec "controllers" §6.1 (rates, threshold, large zone), §6.2 (all zones dead)."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.node.types import Node
from seaway.controllers.nodes.zones import EXCLUDED_LABEL, Outlook, Pace, ZoneState, judge_zone, survey


def node(name: str, zone: str, ready: str, **labels: str) -> Node:
    meta = {"name": name, "labels": {"topology.kubernetes.io/zone": zone, **labels}}
    return msgspec.convert({"metadata": meta, "status": {"conditions": [{"type": "Ready", "status": ready}]}}, Node)


STATES = {
    "nobody is lost": (3, 0, ZoneState.NORMAL),
    "two are few": (1, 2, ZoneState.NORMAL),
    "three of five are too many": (2, 3, ZoneState.PARTIAL),
    "three of six are not": (3, 3, ZoneState.NORMAL),
    "all": (0, 1, ZoneState.FULL),
    "an empty zone is well": (0, 0, ZoneState.NORMAL),
}


@pytest.mark.parametrize(("ready", "unready", "state"), STATES.values(), ids=STATES.keys())
def test_the_state_of_a_zone(ready: int, unready: int, state: ZoneState) -> None:
    assert judge_zone(ready, unready) is state


def zone(name: str, ready: int, unready: int) -> list[Node]:
    return [node(f"{name}{i}", name, "True" if i < ready else "Unknown") for i in range(ready + unready)]


RATES = {
    "a zone that is well": (zone("a", 3, 1), 0.1),
    "a small zone that is half lost is left alone": (zone("a", 4, 6), 0.0),
    "a large one is emptied slowly": (zone("a", 20, 40), 0.01),
    "one that is all lost beside another that is not": ([*zone("a", 0, 3), *zone("b", 1, 0)], 0.1),
}


@pytest.mark.parametrize(("nodes", "rate"), RATES.values(), ids=RATES.keys())
def test_the_rate_of_a_zone(nodes: list[Node], rate: float) -> None:
    assert survey(nodes).rates["/a"] == rate


def test_all_zones_lost_is_being_cut_off() -> None:
    assert survey([*zone("a", 0, 3), *zone("b", 0, 1)]).is_cut_off
    assert not survey([*zone("a", 0, 3), *zone("b", 1, 1)]).is_cut_off
    assert not survey([]).is_cut_off


def test_a_node_may_be_left_out_of_the_count() -> None:
    assert survey([node("x", "a", "True", **{EXCLUDED_LABEL: ""}), *zone("a", 0, 1)]).is_cut_off


NORMAL = Outlook({"a": ZoneState.NORMAL, "b": ZoneState.NORMAL}, {"a": 0.1, "b": 0.1})
CUT_OFF = Outlook({"a": ZoneState.FULL}, {"a": 0.1})


def test_one_goes_at_once_and_the_next_after_ten_seconds_in_each_zone() -> None:
    pace = Pace()
    for name in ("a1", "a2", "b1"):
        pace.add(name, name[0])
    assert pace.advance(NORMAL, 5.0) == ("a1", "b1")
    assert pace.next_deadline(NORMAL, 5.0) == 15.0
    assert pace.advance(NORMAL, 14.9) == ()
    assert pace.advance(NORMAL, 15.0) == ("a2",)
    assert pace.next_deadline(NORMAL, 15.0) is None
    assert all(pace.is_let(name) for name in ("a1", "a2", "b1"))


def test_who_is_ready_again_loses_his_turn() -> None:
    pace = Pace()
    pace.add("a1", "a")
    pace.forget("a1")
    assert pace.advance(NORMAL, 0.0) == ()


def test_nobody_goes_while_all_are_lost_or_the_zone_is_left_alone() -> None:
    pace = Pace()
    pace.add("a1", "a")
    stopped = Outlook({"a": ZoneState.PARTIAL}, {"a": 0.0})
    for outlook in (CUT_OFF, stopped):
        assert pace.advance(outlook, 0.0) == ()
        assert pace.next_deadline(outlook, 0.0) is None
    assert pace.advance(NORMAL, 1.0) == ("a1",)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 30)), max_size=20), st.floats(0, 20))
def test_no_zone_is_emptied_faster_than_its_rate(arrivals: list[tuple[str, int]], step: float) -> None:
    pace, times, now = Pace(), dict[str, list[float]](), 0.0
    for zone_name, number in arrivals:
        pace.add(f"{zone_name}{number}", zone_name)
        now += step
        for name in pace.advance(NORMAL, now):
            times.setdefault(name[0], []).append(now)
    for moments in times.values():
        assert all(later - earlier >= 9.999 for earlier, later in itertools.pairwise(moments))
