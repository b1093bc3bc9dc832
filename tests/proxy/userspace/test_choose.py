"""Who gets a new connection on the userspace plane. Rule: spec "proxy" §2, §5; docs/userspace.md."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.proxy.balance import Balance
from seaway.proxy.connectionpolicy import DEFAULT, ConnectionPolicy, EjectionRule
from seaway.proxy.forwarding import Forwarding, Frontend, Masquerade, Target, TrafficClass
from seaway.proxy.userspace import choose
from seaway.proxy.userspace.choose import PortChoice
from seaway.proxy.userspace.ejection import Outcome

A, B, C = (Target(f"10.244.0.{number}", 8080) for number in (1, 2, 3))
targets = st.lists(st.sampled_from([A, B, C]), unique=True, min_size=1).map(tuple)


def forward(*endpoints: Target, **options: object) -> Forwarding:
    return Forwarding(
        frontend=Frontend(TrafficClass.CLUSTER_IP, "10.96.0.10", "TCP", 80),
        port_name="http",
        endpoints=endpoints,
        masquerade=Masquerade.OFF_CLUSTER,
        **options,  # type: ignore[arg-type]
    )


def begin(*forwardings: Forwarding, policy: ConnectionPolicy = DEFAULT, turns: bool = True) -> PortChoice:
    """turns: draws go round, so that everybody is drawn as often as it is listed."""
    counter = itertools.count()
    made = PortChoice(pick=lambda bound: next(counter) % bound if turns else 0)
    made.follow(forwardings, policy, 0.0)
    return made


def ask(made: PortChoice, forwarding: Forwarding, client: str = "127.244.0.9", **options: object) -> Target | None:
    asked: dict[str, object] = {"is_inside": True, "now": 0.0, **options}
    return made.choose(forwarding, client, **asked)  # type: ignore[arg-type]


@pytest.mark.parametrize("balance", [Balance.RANDOM, Balance.ROUND_ROBIN])
def test_an_endpoint_is_chosen_as_often_as_its_weight_says(balance: Balance) -> None:
    f = forward(A, A, A, B, balance=balance)
    made = begin(f)
    assert Counter(ask(made, f) for _ in range(8)) == {A: 6, B: 2}


def test_least_connections_go_by_weight_and_by_what_is_open() -> None:
    f = forward(A, A, B, balance=Balance.LEAST_CONNECTIONS)
    made = begin(f)
    opened = []
    for _ in range(6):
        target = ask(made, f)
        assert target is not None
        made.open(target)
        opened.append(target)
    assert Counter(opened) == {A: 4, B: 2}


@given(targets, st.ip_addresses(v=4).map(str))
def test_a_hash_gives_a_client_the_same_endpoint_again_and_moves_it_only_if_that_has_gone(
    left: tuple[Target, ...], client: str
) -> None:
    f = forward(A, B, C, balance=Balance.HASH)
    made = begin(f)
    first = ask(made, f, client)
    assert first == ask(made, f, client) == ask(begin(f), f, client)
    fewer = forward(*left, balance=Balance.HASH)
    second = ask(begin(fewer), fewer, client)
    assert second in left


def test_who_comes_from_outside_gets_the_endpoints_of_this_node_alone() -> None:
    f = forward(A, B, outside=(C,))
    made = begin(f)
    assert ask(made, f, is_inside=False) == C
    assert ask(made, f, is_inside=True) in (A, B)
    nobody = forward(A, B, outside=())
    assert ask(begin(nobody), nobody, is_inside=False) is None


def test_a_client_with_affinity_stays_until_it_was_away_for_too_long() -> None:
    f = forward(A, B, affinity_seconds=100)
    made = begin(f)
    first = ask(made, f)
    assert [ask(made, f, now=float(now)) for now in (50, 140, 239)] == [first] * 3, "each new connection counts anew"
    assert ask(made, f, now=339.0) != first, "the draw goes round"


def test_affinity_holds_over_all_addresses_of_the_port_and_ends_with_its_endpoint() -> None:
    f = forward(A, B, affinity_seconds=100)
    node_port = replace(f, frontend=Frontend(TrafficClass.NODE_PORT, "", "TCP", 30080))
    made = begin(f, node_port)
    first = ask(made, f)
    assert ask(made, node_port) == first
    other = B if first == A else A
    gone = forward(other, affinity_seconds=100)
    made.follow([gone], DEFAULT, 0.0)
    assert ask(made, gone) == other
    made.follow([f], DEFAULT, 0.0)
    assert ask(made, f) == other, "it has found a new one, and stays there"


def test_no_more_clients_are_remembered_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "MAX_REMEMBERED", 2)
    f = forward(A, B, affinity_seconds=100)
    made = begin(f)
    for client in ("127.1.0.1", "127.1.0.2", "127.1.0.3"):
        ask(made, f, client)
    assert list(made._clients) == ["127.1.0.2", "127.1.0.3"]


@given(targets, targets, st.sampled_from(Balance))
def test_who_was_tried_is_not_tried_again(
    endpoints: tuple[Target, ...], tried: tuple[Target, ...], by: Balance
) -> None:
    f = forward(*endpoints, balance=by, affinity_seconds=10)
    found = ask(begin(f), f, tried=tried)
    left = set(endpoints) - set(tried)
    assert found in left if left else found is None


def test_who_was_ejected_is_chosen_only_when_all_others_were_tried() -> None:
    policy = replace(DEFAULT, ejection=EjectionRule(failures=1, seconds=10.0))
    f = forward(A, B)
    made = begin(f, policy=policy)
    assert made.report(A, Outcome.REFUSED, 0.0) is not None
    assert made.count_ejected(1.0) == 1
    assert {ask(made, f, now=1.0) for _ in range(4)} == {B}
    assert ask(made, f, now=1.0, tried=(B,)) == A
    assert made.count_ejected(11.0) == 0
    assert {ask(made, f, now=11.0) for _ in range(4)} == {A, B}


def test_an_ejected_endpoint_loses_its_clients_for_as_long() -> None:
    policy = replace(DEFAULT, ejection=EjectionRule(failures=1, seconds=10.0))
    f = forward(A, B, affinity_seconds=100)
    made = begin(f, policy=policy)
    first = ask(made, f)
    assert first is not None
    made.report(first, Outcome.TIMED_OUT, 0.0)
    assert ask(made, f, now=1.0) not in (first, None)


@given(st.lists(st.sampled_from([A, B, C])).map(tuple), st.sampled_from(Balance), st.booleans())
def test_whoever_is_chosen_is_an_endpoint(endpoints: tuple[Target, ...], balance: Balance, sticky: bool) -> None:
    f = forward(*endpoints, balance=balance, affinity_seconds=60 if sticky else None)
    found = ask(begin(f, turns=False), f)
    assert found in endpoints if endpoints else found is None
