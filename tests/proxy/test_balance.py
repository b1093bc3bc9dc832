"""How new connections are shared. Rule: issue of the proxy, part 3; "Maglev", NSDI 2016."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.endpointslice.types import EndpointSlice
from seaway.api.endpointslice.weights import parse_weight
from seaway.api.service.types import Service
from seaway.net.family import Family
from seaway.proxy.balance import (
    MAX_TURNS,
    TABLE_SIZES,
    Balance,
    choose_places,
    parse_balance,
    parse_weights,
    share_turns,
)
from seaway.proxy.config import NodeView
from seaway.proxy.forwarding import Forwarding, Refusal, forward_service
from seaway.testing.builders import make_service, make_slice

BALANCES = {
    "nothing is random": ({}, Balance.RANDOM),
    "random": ({"seaway.dev/balance": "random"}, Balance.RANDOM),
    "round-robin": ({"seaway.dev/balance": "round-robin"}, Balance.ROUND_ROBIN),
    "hash": ({"seaway.dev/balance": "hash"}, Balance.HASH),
    "least connections": ({"seaway.dev/balance": "least-connections"}, Balance.LEAST_CONNECTIONS),
    "no algorithm": ({"seaway.dev/balance": "Hash"}, None),
    "empty": ({"seaway.dev/balance": ""}, None),
}


@pytest.mark.parametrize(("annotations", "balance"), BALANCES.values(), ids=BALANCES.keys())
def test_the_algorithm(annotations: dict[str, str], balance: Balance | None) -> None:
    assert parse_balance(annotations) is balance


@pytest.mark.parametrize(
    ("text", "weight"),
    [("0", 0), ("1", 1), ("1000", 1000), ("1001", None), ("-1", None), ("", None), ("1.5", None), ("٣", None),
     ("00001", None), ("9" * 5000, None)],
)  # fmt: skip
def test_a_weight(text: str, weight: int | None) -> None:
    assert parse_weight(text) == weight


WEIGHTS: dict[str, tuple[dict[str, str], int, dict[str, int], str]] = {
    "none": ({}, 1, {}, ""),
    "of a slice": ({"seaway.dev/weight": "3"}, 3, {}, ""),
    "of addresses": ({"seaway.dev/weights": '{"10.0.0.1": 0, "10.0.0.2": 7}'}, 1, {"10.0.0.1": 0, "10.0.0.2": 7}, ""),
    "of a slice, but for one address": (
        {"seaway.dev/weight": "3", "seaway.dev/weights": '{"10.0.0.1": 1}'}, 3, {"10.0.0.1": 1}, "",
    ),
    "no number": (
        {"seaway.dev/weight": "heavy"}, 1, {},
        "seaway.dev/weight: 'heavy' found, a number from 0 to 1000 allowed",
    ),
    "no object": (
        {"seaway.dev/weights": "[1]"}, 1, {},
        "seaway.dev/weights: '[1]' found, a JSON object of addresses and numbers from 0 to 1000 allowed",
    ),
    "what can be understood counts": (
        {"seaway.dev/weights": '{"a": 2, "b": true, "c": 1.0, "d": -1}'}, 1, {"a": 2},
        """seaway.dev/weights: '{"a": 2, "b": true, "c": 1.0, "d": -1}' found, """
        "a JSON object of addresses and numbers from 0 to 1000 allowed",
    ),
    "a deep well": (
        {"seaway.dev/weights": "[" * 100_000}, 1, {},
        f"seaway.dev/weights: '{'[' * 40}' found, a JSON object of addresses and numbers from 0 to 1000 allowed",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("annotations", "common", "single", "problem"), WEIGHTS.values(), ids=WEIGHTS.keys())
def test_weights(annotations: dict[str, str], common: int, single: dict[str, int], problem: str) -> None:
    assert parse_weights(annotations) == (common, single, problem)


TURNS = {
    "nobody": ([], ()),
    "all alike": ([5, 5, 5], (1, 1, 1)),
    "in the shortest terms": ([10, 20, 30], (1, 2, 3)),
    "what is too long is scaled": ([1000, 1], (511, 1)),
    "nobody falls below one": ([1000, 999, 1], (256, 255, 1)),
}


@pytest.mark.parametrize(("weights", "turns"), TURNS.values(), ids=TURNS.keys())
def test_turns(weights: list[int], turns: tuple[int, ...]) -> None:
    assert share_turns(weights) == turns


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=700))
def test_everybody_has_a_turn_and_the_heavier_never_fewer(weights: list[int]) -> None:
    turns = share_turns(weights)
    assert len(turns) == len(weights) and min(turns) >= 1
    assert sum(turns) <= MAX_TURNS + len(weights)
    for (w1, t1), (w2, t2) in zip(
        zip(weights, turns, strict=True), zip(weights[1:], turns[1:], strict=False), strict=False
    ):
        assert (w1 > w2) <= (t1 >= t2)


endpoint_lists = st.lists(st.integers(0, 400), min_size=2, max_size=60, unique=True).map(
    lambda numbers: tuple((f"10.0.{n // 250}.{n % 250}", 80) for n in numbers)
)


def find_owners(endpoints: tuple[tuple[str, int], ...]) -> list[tuple[str, int]]:
    return [endpoints[index] for index in choose_places(endpoints)]


@given(endpoint_lists, st.randoms(use_true_random=False))
def test_places_are_shared_evenly_and_do_not_depend_on_the_order(
    endpoints: tuple[tuple[str, int], ...], random: Any
) -> None:
    owners = find_owners(endpoints)
    shares = Counter(owners)
    assert len(owners) in TABLE_SIZES
    assert shares.keys() == set(endpoints)
    assert max(shares.values()) - min(shares.values()) <= 1
    shuffled = list(endpoints)
    random.shuffle(shuffled)
    assert find_owners(tuple(shuffled)) == owners


@given(endpoint_lists)
def test_few_clients_move_when_an_endpoint_leaves(endpoints: tuple[tuple[str, int], ...]) -> None:
    before, after = find_owners(endpoints), find_owners(endpoints[1:])
    if len(before) != len(after):
        return  # the table itself has grown or shrunk
    stayed = sum(b == a for b, a in zip(before, after, strict=True) if b != endpoints[0])
    others = sum(b != endpoints[0] for b in before)
    assert stayed >= 0.6 * others, "all but those who had to move, and a few"


def test_hardly_anybody_moves_among_many() -> None:
    endpoints = tuple((f"10.0.0.{n}", 80) for n in range(50))
    before, after = find_owners(endpoints), find_owners(endpoints[1:])
    moved = sum(b != a for b, a in zip(before, after, strict=True) if b != endpoints[0])
    assert moved <= 0.1 * len(before)


def test_weights_are_shares_of_the_places() -> None:
    heavy, light = ("10.0.0.1", 80), ("10.0.0.2", 80)
    shares = Counter(find_owners((heavy, heavy, heavy, light)))
    assert shares[heavy] / shares[light] == pytest.approx(3, rel=0.05)


def test_more_endpoints_than_places_are_no_error() -> None:
    assert len(choose_places(tuple((f"10.{n // 250}.0.{n % 250}", 80) for n in range(5000)))) == TABLE_SIZES[-1]


def forward(spec: dict[str, Any], annotations: dict[str, str], *slices: tuple[list[str], dict[str, str]]) -> Forwarding:
    wire = make_service("web", meta={"annotations": annotations}, clusterIP="10.96.0.1", **spec)
    pieces = []
    for number, (addresses, weights) in enumerate(slices):
        piece = make_slice(f"web-{number}", "web", addresses, ports=[{"name": "", "port": 80, "protocol": "TCP"}])
        piece["metadata"]["annotations"] = weights
        pieces.append(msgspec.convert(piece, EndpointSlice))
    found = forward_service(msgspec.convert(wire, Service), pieces, family=Family.IPV4, node=NodeView("n"))
    assert found is not None
    return found.forwardings[0]


def test_an_endpoint_stands_as_often_as_its_weight_says() -> None:
    found = forward({}, {}, (["10.0.0.1"], {"seaway.dev/weight": "2"}), (["10.0.0.2", "10.0.0.3"], {}))
    assert [t.address for t in found.endpoints] == ["10.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.3"]


def test_a_weight_of_zero_drains() -> None:
    weights = {"seaway.dev/weights": '{"10.0.0.1": 0}'}
    spec = {"ports": [{"port": 80, "protocol": "UDP"}]}
    wire = make_slice("web-0", "web", ["10.0.0.1", "10.0.0.2"], ports=[{"name": "", "port": 80, "protocol": "UDP"}])
    wire["metadata"]["annotations"] = weights
    service = msgspec.convert(make_service("web", clusterIP="10.96.0.1", **spec), Service)
    found = forward_service(service, [msgspec.convert(wire, EndpointSlice)], family=Family.IPV4, node=NodeView("n"))
    assert found is not None
    (only,) = found.forwardings
    assert [t.address for t in only.endpoints] == ["10.0.0.2"]
    assert [t.address for t in only.serving] == ["10.0.0.1", "10.0.0.2"], "it keeps the flows that it has"


def test_when_all_are_drained_nobody_serves() -> None:
    found = forward({}, {}, (["10.0.0.1", "10.0.0.2"], {"seaway.dev/weight": "0"}))
    assert (found.endpoints, found.refusal) == ((), Refusal.REJECT)


def test_what_cannot_be_understood_is_random() -> None:
    assert forward({}, {"seaway.dev/balance": "best"}, (["10.0.0.1"], {})).balance is Balance.RANDOM
