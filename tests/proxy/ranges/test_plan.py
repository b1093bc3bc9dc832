"""Which ranges count as Services, and which routes follow. Rule: spec "service-api" §5.5; design.md §12."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.proxy.ranges.plan import RoutePlan, Taken, choose_ranges, plan_routes

FIRST = "10.96.0.0/16"
TAKEN = tuple(
    Taken(ipaddress.ip_network(text), whose)
    for text, whose in (
        ("10.244.0.0/16", "addresses of Pods"),
        ("192.0.2.10/32", "an address of this host"),
        ("192.0.2.0/24", "which this host has a route to"),
        ("fd00::/64", "which this host has a route to"),
    )
)


@pytest.mark.parametrize(
    ("told", "accepted"),
    [
        pytest.param((), (), id="without objects the configured ones alone"),
        pytest.param((FIRST,), (), id="what is configured is not told twice"),
        pytest.param(("10.97.0.0/24", "10.97.0.0/24"), ("10.97.0.0/24",), id="a range of two objects is one"),
        pytest.param(("fd10:97::/112", "10.97.0.0/24"), ("10.97.0.0/24", "fd10:97::/112"), id="sorted, IPv4 first"),
        pytest.param(("10.96.4.0/24",), ("10.96.4.0/24",), id="one inside of another is one of its own"),
        pytest.param(("nonsense", "10.97.0.1/24"), (), id="what is no range is left out"),
        pytest.param(("10.244.1.0/24",), (), id="part of the Pods' range is theirs"),
        pytest.param(("10.0.0.0/8",), (), id="what holds the Pods' range too"),
        pytest.param(("192.0.2.128/25",), (), id="part of a network beside the host is the network's"),
        pytest.param(("0.0.0.0/0",), (), id="everywhere is no range of Services"),
        pytest.param(("::/0",), (), id="everywhere is none in IPv6 either"),
    ],
)
def test_a_range_is_taken_when_it_takes_nothing_away(told: tuple[str, ...], accepted: tuple[str, ...]) -> None:
    assert choose_ranges((FIRST,), told, TAKEN).accepted == (FIRST, *accepted)


def test_a_refused_range_says_whose_it_is() -> None:
    assert choose_ranges((FIRST,), ("0.0.0.0/0", "192.0.2.0/28"), TAKEN).refused == (
        ("0.0.0.0/0", "it meets 10.244.0.0/16, addresses of Pods"),
        ("192.0.2.0/28", "it meets 192.0.2.10/32, an address of this host"),
    )


def test_what_is_configured_was_checked_by_who_configured_it() -> None:
    assert choose_ranges(("10.244.0.0/20", "10.96.0.1/16"), (), TAKEN).accepted == ("10.244.0.0/20", FIRST)


networks = st.integers(0, 255).flatmap(
    lambda second: st.sampled_from((8, 12, 16, 24)).map(
        lambda length: str(ipaddress.ip_network(f"10.{second}.0.0/{length}", strict=False))
    )
)


@given(st.lists(networks), st.lists(networks))
def test_order_and_repeats_of_what_is_told_change_nothing(told: list[str], owned: list[str]) -> None:
    taken = [Taken(ipaddress.ip_network(text), "owned") for text in owned]
    chosen = choose_ranges((FIRST,), told, taken)
    shuffled = sorted([*told, *told], key=lambda text: text[::-1])
    assert choose_ranges((FIRST,), shuffled, taken) == chosen
    assert {*chosen.accepted, *(cidr for cidr, _ in chosen.refused)} == {FIRST, *told}
    for text in set(chosen.accepted) - {FIRST}:
        assert not any(ipaddress.ip_network(text).overlaps(t.network) for t in taken)


def test_routes_follow_the_ranges_but_none_goes_before_all_are_known() -> None:
    have, want = ("10.96.0.0/16", "10.97.0.0/24"), ("10.98.0.0/24", "10.96.0.0/16")
    assert plan_routes(have, want, is_complete=True) == RoutePlan(("10.98.0.0/24",), ("10.97.0.0/24",))
    assert plan_routes(have, want, is_complete=False) == RoutePlan(("10.98.0.0/24",))
    assert plan_routes(want, want, is_complete=True) == RoutePlan()
