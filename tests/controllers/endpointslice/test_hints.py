"""Rule: spec "controllers" §2."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.endpointslice.types import Endpoint, EndpointConditions, EndpointHints, ForNode, ForZone
from seaway.controllers.endpointslice.hints import (
    Hinted,
    Hinting,
    Refused,
    choose_hinting,
    hint_by_preference,
    hint_by_topology,
    remove_hints,
)
from seaway.controllers.endpointslice.topology import Topology
from tests.controllers.endpointslice.slices import service

Slices = list[tuple[Endpoint, ...]]
DEPRECATED, MODE = "service.kubernetes.io/topology-aware-hints", "service.kubernetes.io/topology-mode"


def endpoint(number: int, zone: str | None = "a", *, ready: bool | None = True, node: str | None = "n1",
             hint: str | None = None) -> Endpoint:  # fmt: skip
    hints = EndpointHints(for_zones=(ForZone(name=hint),)) if hint else None
    return Endpoint(
        (f"10.0.{number >> 8}.{number & 255}",), EndpointConditions(ready), zone=zone, node_name=node, hints=hints
    )


def spread(**zones: int) -> tuple[Endpoint, ...]:
    """So many ready endpoints in each zone."""
    placed = [zone for zone, count in zones.items() for _ in range(count)]
    return tuple(endpoint(number, zone) for number, zone in enumerate(placed))


def weigh(**zones: float) -> Topology:
    total = sum(zones.values())
    return Topology({zone: cpu / total for zone, cpu in zones.items()}, "")


def show(endpoints: Sequence[Endpoint]) -> list[tuple[str, ...]]:
    """The zones of each endpoint's hints; nodes after a slash."""
    return [
        (*(z.name for z in e.hints.for_zones), *(f"/{n.name}" for n in e.hints.for_nodes)) if e.hints else ()
        for e in endpoints
    ]


def expect(found: Hinted | Refused) -> Hinted:
    assert isinstance(found, Hinted), found
    return found


MECHANISMS: list[tuple[str, dict[str, str], str | None, Hinting]] = [
    ("nothing asks for hints", {}, None, Hinting.NONE),
    ("PreferClose is by zone", {}, "PreferClose", Hinting.ZONE),
    ("PreferSameZone is the same", {}, "PreferSameZone", Hinting.ZONE),
    ("PreferSameNode is by node", {}, "PreferSameNode", Hinting.NODE),
    ("an unknown distribution is none", {}, "PreferFar", Hinting.NONE),
    ("the annotation Auto is by topology", {MODE: "Auto"}, None, Hinting.TOPOLOGY),
    ("so is auto", {MODE: "auto"}, None, Hinting.TOPOLOGY),
    ("AUTO is not", {MODE: "AUTO"}, None, Hinting.NONE),
    ("the annotation beats the field", {MODE: "Auto"}, "PreferClose", Hinting.TOPOLOGY),
    ("an annotation of another value leaves it to the field", {MODE: "Disabled"}, "PreferClose", Hinting.ZONE),
    ("the deprecated annotation is enough", {DEPRECATED: "Auto"}, None, Hinting.TOPOLOGY),
    ("the deprecated annotation decides alone", {DEPRECATED: "no", MODE: "Auto"}, None, Hinting.NONE),
]


@pytest.mark.parametrize(
    ("annotations", "distribution", "expected"), [m[1:] for m in MECHANISMS], ids=[m[0] for m in MECHANISMS]
)
def test_which_mechanism_applies(annotations: dict[str, str], distribution: str | None, expected: Hinting) -> None:
    given_service = service(meta={"annotations": annotations}, trafficDistribution=distribution)
    assert choose_hinting(given_service) is expected


PREFERENCES: list[tuple[str, Hinting, Endpoint, tuple[str, ...]]] = [
    ("by zone: its own", Hinting.ZONE, endpoint(1, "a"), ("a",)),
    ("by zone: none without a zone", Hinting.ZONE, endpoint(1, None), ()),
    ("by node: zone and node", Hinting.NODE, endpoint(1, "a"), ("a", "/n1")),
    ("by node: the node alone without a zone", Hinting.NODE, endpoint(1, None), ("/n1",)),
    ("by node: none without both", Hinting.NODE, endpoint(1, None, node=None), ()),
    ("a wrong hint is put right", Hinting.ZONE, endpoint(1, "a", hint="b"), ("a",)),
    ("a hint that is not wanted goes", Hinting.ZONE, endpoint(1, None, hint="b"), ()),
    ("one that is not ready gets none", Hinting.ZONE, endpoint(1, "a", ready=False), ()),
    ("unknown is not ready here", Hinting.ZONE, endpoint(1, "a", ready=None), ()),
    ("one that is not ready keeps what it has", Hinting.ZONE, endpoint(1, "a", ready=False, hint="b"), ("b",)),
]


@pytest.mark.parametrize(("hinting", "given_endpoint", "expected"), [p[1:] for p in PREFERENCES],
                         ids=[p[0] for p in PREFERENCES])  # fmt: skip
def test_a_preference_is_decided_per_endpoint(
    hinting: Hinting, given_endpoint: Endpoint, expected: tuple[str, ...]
) -> None:
    written = hint_by_preference(hinting, [(given_endpoint,)], [])
    assert show(written.written[0]) == [expected]
    unchanged = hint_by_preference(hinting, [], [(given_endpoint,)])
    is_same = show([given_endpoint]) == [expected]
    assert {p: show(e) for p, e in unchanged.taken_up.items()} == ({} if is_same else {0: [expected]})


def test_more_than_one_zone_is_no_preference() -> None:
    both = msgspec.structs.replace(endpoint(1), hints=EndpointHints(for_zones=(ForZone(name="a"), ForZone(name="b"))))
    assert show(hint_by_preference(Hinting.ZONE, [], [(both,)]).taken_up[0]) == [("a",)]


def test_a_hint_for_a_node_goes_when_the_preference_is_for_zones() -> None:
    hints = EndpointHints(for_zones=(ForZone(name="a"),), for_nodes=(ForNode(name="n1"),))
    near = msgspec.structs.replace(endpoint(1), hints=hints)
    assert show(hint_by_preference(Hinting.ZONE, [], [(near,)]).taken_up[0]) == [("a",)]


def test_endpoints_without_a_zone_are_counted() -> None:
    found = hint_by_preference(Hinting.ZONE, [(endpoint(1, None), endpoint(2))], [(endpoint(3, None, ready=False),)])
    assert found.unhinted == (1, 2)


def test_removal_writes_what_has_hints_and_nothing_else() -> None:
    plain, hinted = (endpoint(1),), (endpoint(2, hint="a"), endpoint(3, ready=False, hint="a"))
    found = remove_hints([hinted], [plain, hinted])
    assert show(found.written[0]) == [(), ()]
    assert {p: show(e) for p, e in found.taken_up.items()} == {1: [(), ()]}


FAILING = {2: {3, 5}, 3: {4, 5, 8, 11}, 4: {5, 6, 7, 10, 11, 15}}
WORKED = [(zones, n, n not in failing) for zones, failing in FAILING.items() for n in range(zones, 40)]


@pytest.mark.parametrize(
    ("zones", "count", "works"), WORKED, ids=[f"{z} equal zones and {n} endpoints" for z, n, _ in WORKED]
)
def test_which_numbers_of_endpoints_can_be_spread(zones: int, count: int, works: bool) -> None:
    names = "abcd"[:zones]
    endpoints = tuple(endpoint(number, names[number % zones]) for number in range(count))
    found = hint_by_topology(weigh(**dict.fromkeys(names, 1)), [endpoints], [])
    if works:
        assert sum(expect(found).allocated.values()) == count
        return
    assert isinstance(found, Refused)
    reason = "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold"
    assert found.reason == f"{reason} ({count} endpoints, {zones} zones)"


@pytest.mark.parametrize(
    ("count", "works"), [(3, True), (4, False)], ids=["1:2 and 3 endpoints", "1:2 and 4 endpoints"]
)
def test_unequal_zones(count: int, works: bool) -> None:
    assert isinstance(hint_by_topology(weigh(a=1, b=2), [spread(a=count)], []), Hinted) is works


REFUSED: list[tuple[str, Topology, Slices, str, str]] = [
    ("no shares", Topology(reason="Node c has no allocatable cpu"), [spread(a=4)],
     "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes",
     "Node c has no allocatable cpu"),
    ("one zone", weigh(a=1), [spread(a=4)], "Nodes only ready in one zone", "1 zone has Ready Nodes, 2 are needed"),
    ("fewer endpoints than zones", weigh(a=1, b=1), [(endpoint(1),), (endpoint(2, ready=False),)],
     "Insufficient number of endpoints (1 endpoints, 2 zones)",
     "1 ready endpoints for 2 zones, each needs at least 1"),
    ("an imbalance", weigh(a=1, b=1), [spread(a=2, b=1)],
     "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold "
     "(3 endpoints, 2 zones)",
     "a has 50.0% of the CPU and needs 2, b has 50.0% of the CPU and needs 2; 4 needed, 3 ready"),
    ("an endpoint without a zone", weigh(a=1, b=1), [(endpoint(1), endpoint(2, None))],
     "One or more endpoints do not have a zone specified",
     "1 of 2 ready endpoints of the slices to be written have no zone"),
]  # fmt: skip


@pytest.mark.parametrize(("topology", "slices", "reason", "arithmetic"), [r[1:] for r in REFUSED],
                         ids=[r[0] for r in REFUSED])  # fmt: skip
def test_hints_by_topology_are_refused_for(topology: Topology, slices: Slices, reason: str, arithmetic: str) -> None:
    assert hint_by_topology(topology, slices, []) == Refused(reason, arithmetic)


MOVES: list[tuple[str, Topology, dict[str, int], dict[str, int]]] = [
    ("even endpoints in even zones stay", weigh(a=1, b=1), {"a": 3, "b": 3}, {"a": 3, "b": 3}),
    ("the surplus of one is given to the other", weigh(a=1, b=1), {"a": 6, "b": 0}, {"a": 3, "b": 3}),
    ("three zones, six endpoints: two each", weigh(a=1, b=1, c=1), {"a": 6}, {"a": 2, "b": 2, "c": 2}),
    ("three zones, seven: at most three", weigh(a=1, b=1, c=1), {"a": 7}, {"a": 3, "b": 2, "c": 2}),
    ("a zone with twice the CPU gets twice as many", weigh(a=1, b=2), {"a": 9}, {"a": 3, "b": 6}),
    ("less than half an endpoint is not moved", weigh(a=7, b=6), {"a": 7, "b": 5}, {"a": 7, "b": 5}),
]


@pytest.mark.parametrize(("topology", "placed", "expected"), [m[1:] for m in MOVES], ids=[m[0] for m in MOVES])
def test_zones_give_and_receive(topology: Topology, placed: dict[str, int], expected: dict[str, int]) -> None:
    found = expect(hint_by_topology(topology, [spread(**placed)], []))
    hints = [zone for (zone,) in show(found.written[0])]
    assert {zone: hints.count(zone) for zone in expected} == expected == found.allocated


def test_an_endpoint_that_is_not_ready_is_passed_over() -> None:
    endpoints = (endpoint(1, None, ready=False), *spread(a=2, b=2))
    assert show(expect(hint_by_topology(weigh(a=1, b=1), [endpoints], [])).written[0])[0] == ()


TAKEN_UP: list[tuple[str, tuple[Endpoint, ...], bool]] = [
    ("a slice whose hints do is left", (endpoint(1, "a", hint="a"), endpoint(2, "b", hint="b")), False),
    ("a slice with an endpoint without a hint is taken up", (endpoint(1, "a", hint="a"), endpoint(2, "b")), True),
    ("a slice with a hint for an unknown zone is taken up", (endpoint(1, hint="a"), endpoint(2, "b", hint="x")), True),
    ("a slice that gives a zone too many is taken up", (endpoint(1, hint="a"), endpoint(2, "b", hint="a")), True),
    ("what is not ready is not looked at",
     (endpoint(1, hint="a"), endpoint(2, "b", hint="b"), endpoint(3, ready=False)), False),
]  # fmt: skip


@pytest.mark.parametrize(("endpoints", "expected"), [t[1:] for t in TAKEN_UP], ids=[t[0] for t in TAKEN_UP])
def test_unchanged_slices(endpoints: tuple[Endpoint, ...], expected: bool) -> None:
    found = expect(hint_by_topology(weigh(a=1, b=1), [], [endpoints]))
    assert bool(found.taken_up) is expected
    assert sum(found.allocated.values()) == 2


_ENDPOINTS = st.builds(
    endpoint,
    st.integers(0, 500),
    st.sampled_from(["a", "a", "b", "c", "x"]),
    ready=st.sampled_from([True, True, True, False]),
    hint=st.sampled_from([None, "a", "b", "c", "x"]),
)
_SLICES = st.lists(st.lists(_ENDPOINTS, max_size=6).map(tuple), max_size=4)
_TOPOLOGIES = st.dictionaries(st.sampled_from("abc"), st.integers(1, 5), max_size=3).map(lambda cpu: weigh(**cpu))


def carry_out(found: Hinted, unchanged: Slices) -> Slices:
    return [found.taken_up.get(position, endpoints) for position, endpoints in enumerate(unchanged)]


@given(_TOPOLOGIES, _SLICES, _SLICES)
def test_laws_of_hints_by_topology(topology: Topology, written: Slices, unchanged: Slices) -> None:
    found = hint_by_topology(topology, written, unchanged)
    if isinstance(found, Refused):
        return
    after = carry_out(found, unchanged)
    slices = [*found.written, *after]
    assert remove_hints(slices, []) == remove_hints([*written, *unchanged], []), "nothing but hints changes"
    assert all(hints for e in slices for one, hints in zip(e, show(e), strict=True) if one.conditions.ready)
    hints = [zone for e in slices for one in e if one.conditions.ready for (zone,) in [show([one])[0]]]
    assert {zone: hints.count(zone) for zone in {*hints, *found.allocated}} == found.allocated
    for _ in range(len(slices) + 1):  # a pass per slice at most, then it is done
        again = expect(hint_by_topology(topology, [], slices))
        if not again.taken_up:
            return
        slices = carry_out(again, slices)
    raise AssertionError("it never comes to rest")


@given(_SLICES, _SLICES, st.sampled_from([Hinting.ZONE, Hinting.NODE, Hinting.NONE]))
def test_laws_of_other_hints(written: Slices, unchanged: Slices, hinting: Hinting) -> None:
    def plan(first: Slices, second: Slices) -> Hinted:
        return remove_hints(first, second) if hinting is Hinting.NONE else hint_by_preference(hinting, first, second)

    found = plan(written, unchanged)
    after = carry_out(found, unchanged)
    assert all(after[position] != unchanged[position] for position in found.taken_up), "no write is in vain"
    assert not plan([], [*found.written, *after]).taken_up, "a plan for its own result is empty"
    assert remove_hints([*found.written, *after], []) == remove_hints([*written, *unchanged], [])
