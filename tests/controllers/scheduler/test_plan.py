"""Rule: spec "controllers" §7.7."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.node.types import Node
from seaway.controllers.scheduler.plan import (
    Placement,
    PlacementPlan,
    examine,
    key_of,
    needs_node,
    plan_placements,
    put_on,
)
from seaway.controllers.scheduler.pod import PlacedPod
from tests.controllers.scheduler.boards import (
    HOSTNAME,
    ZONE,
    affinity,
    board,
    expression,
    near,
    node,
    pod,
    require_nodes,
)

WAITING = {
    "a new Pod does": (pod(), True),
    "one that has a node does not": (pod(nodeName="n1"), False),
    "one that is being deleted does not": (pod(meta={"deletionTimestamp": "2026-01-01T00:00:00Z"}), False),
    "one with a gate does not": (pod(schedulingGates=[{"name": "g"}]), False),
    "another scheduler's does not": (pod(schedulerName="other"), False),
    "one that failed does not": (pod(status={"phase": "Failed"}), False),
}


@pytest.mark.parametrize(("subject", "expected"), WAITING.values(), ids=WAITING.keys())
def test_who_waits(subject: PlacedPod, expected: bool) -> None:
    assert needs_node(subject) is expected


def test_who_waits_for_another_scheduler() -> None:
    assert needs_node(pod(schedulerName="other"), "other")


MESSAGES: dict[str, tuple[list[Node], PlacedPod, str]] = {
    "no node is there": ([], pod(), "no nodes available to schedule pods"),
    "reasons are counted and sorted as text": (
        [
            node("n1", taints=[{"key": "k", "effect": "NoSchedule"}]),
            node("n2", has={"cpu": "1"}),
            node("n3", has={"cpu": "1"}),
            node("n4", unschedulable=True),
        ],
        pod(requests={"cpu": "2"}),
        "0/4 nodes are available: 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable, "
        "2 Insufficient cpu.",
    ),
    "a node may have two reasons": (
        [node("n1", has={"cpu": "1", "memory": "1Ki"})],
        pod(requests={"cpu": "2", "memory": "1Gi"}),
        "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory.",
    ),
    "the first filter that objects speaks for the node": (
        [node("n1", unschedulable=True, has={"cpu": "1"})],
        pod(requests={"cpu": "2"}),
        "0/1 nodes are available: 1 node(s) were unschedulable.",
    ),
    "who names his node hears of the others in one": (
        [node("n1", has={"cpu": "1"}), node("n2"), node("n3")],
        pod(
            requests={"cpu": "2"},
            affinity=require_nodes({"matchFields": [expression("metadata.name", "In", "n1")]}),
        ),
        "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't satisfy plugin(s) [NodeAffinity].",
    ),
}


@pytest.mark.parametrize(("nodes", "subject", "message"), MESSAGES.values(), ids=MESSAGES.keys())
def test_messages(nodes: list[Node], subject: PlacedPod, message: str) -> None:
    (found,) = plan_placements([subject], board(nodes)).unschedulable
    assert found.message == message


def test_who_matters_more_goes_first_then_who_waits_longer() -> None:
    one_place = [node("n", has={"pods": "1"})]

    def waiting(name: str, priority: int, created: str) -> PlacedPod:
        return pod(name, priority=priority, meta={"creationTimestamp": created})

    early, late, urgent = waiting("z", 0, "2026-01-01"), waiting("a", 0, "2026-01-02"), waiting("u", 9, "2026-01-03")
    assert plan_placements([late, early], board(one_place)).place == (Placement("default/z", "n"),)
    assert plan_placements([late, early, urgent], board(one_place)).place == (Placement("default/u", "n"),)


# Anything that a Pod can ask for, often enough of the same to be in each other's way.
APPS = st.sampled_from(["web", "db"])
KEYS = st.sampled_from([HOSTNAME, ZONE])
TERMS = st.builds(lambda app, key: near(app, key), APPS, KEYS)


@st.composite
def pods(draw: st.DrawFn, *, count: int = 8) -> list[PlacedPod]:
    made = []
    for index in range(draw(st.integers(0, count))):
        app = draw(APPS)
        spec: dict[str, Any] = {"labels": {"app": app}, "priority": draw(st.integers(0, 1))}
        kind = draw(st.sampled_from(["", "podAffinity", "podAntiAffinity"]))
        if kind:
            spec["affinity"] = affinity(kind, draw(TERMS))
        if draw(st.booleans()):
            selector = {"matchLabels": {"app": app}}
            spec["topologySpreadConstraints"] = [
                {"maxSkew": draw(st.integers(1, 2)), "topologyKey": draw(KEYS), "labelSelector": selector,
                 "whenUnsatisfiable": draw(st.sampled_from(["DoNotSchedule", "ScheduleAnyway"]))}
            ]  # fmt: skip
        ports = draw(st.lists(st.sampled_from([("", 80), ("10.0.0.1", 80), ("10.0.0.2", 80), ("", 81)]), max_size=1))
        entries = [{"hostPort": number, **({"hostIP": ip} if ip else {})} for ip, number in ports]
        cpu = draw(st.sampled_from(["0", "300m", "1", "3"]))
        made.append(pod(f"p{index}", requests={"cpu": cpu}, ports=entries, **spec))
    return made


NODES = st.lists(
    st.builds(
        lambda zone, cpu, count: (zone, {"cpu": cpu, "pods": count}),
        st.sampled_from(["", "z1", "z2"]),
        st.sampled_from(["1", "2", "4"]),
        st.sampled_from(["1", "3", "110"]),
    ),
    min_size=1,
    max_size=4,
).map(lambda found: [node(f"n{i}", zone=zone, has=has) for i, (zone, has) in enumerate(found)])


def place_all(waiting: list[PlacedPod], nodes: list[Node]) -> tuple[PlacementPlan, list[tuple[PlacedPod, str]]]:
    by_key = {key_of(p): p for p in waiting}
    plan = plan_placements(waiting, board(nodes))
    return plan, [(by_key[found.pod], found.node) for found in plan.place]


@given(pods(count=14), NODES)
def test_no_node_gets_more_than_it_has(waiting: list[PlacedPod], nodes: list[Node]) -> None:
    plan, placed = place_all(waiting, nodes)
    assert len(plan.place) + len(plan.unschedulable) == len(waiting)
    for one in nodes:
        mine = [p for p, name in placed if name == one.metadata.name]
        cpu = sum(dict(p.wants.requests).get("cpu", 0) for p in mine)
        assert cpu <= 1000 * int(one.status.allocatable["cpu"])
        assert len(mine) <= int(one.status.allocatable["pods"])


@given(pods(count=14), NODES)
def test_no_two_pods_of_a_node_have_one_host_port(waiting: list[PlacedPod], nodes: list[Node]) -> None:
    _, placed = place_all(waiting, nodes)
    taken: Counter[tuple[str, int, str]] = Counter()
    for one, name in placed:
        taken.update((name, port.port, port.ip) for port in one.wants.ports)
    everywhere = {(name, number) for name, number, ip in taken if ip == "0.0.0.0"}
    assert all(count == 1 for count in taken.values())
    assert not any((name, number) in everywhere for name, number, ip in taken if ip != "0.0.0.0")


@given(pods(), NODES)
def test_the_order_of_the_input_does_not_matter(waiting: list[PlacedPod], nodes: list[Node]) -> None:
    assert plan_placements(waiting[::-1], board(nodes[::-1])) == plan_placements(waiting, board(nodes))


@given(pods(), NODES)
def test_a_plan_for_its_own_result_is_empty(waiting: list[PlacedPod], nodes: list[Node]) -> None:
    plan, placed = place_all(waiting, nodes)
    now = [put_on(p, name) for p, name in placed]
    assert not [p for p in now if needs_node(p)]
    again = plan_placements([p for p in now if needs_node(p)], board(nodes, placed))
    assert again == PlacementPlan()
    assert list(plan.place) == sorted(plan.place)


# The oracle: every rule said anew, over all Pods, without anything kept.


def matches(term: Any, subject: PlacedPod) -> bool:
    return subject.metadata.namespace in term.namespaces and term.selector.matches(subject.metadata.labels)


def fits_slowly(subject: PlacedPod, on: Node, nodes: list[Node], placed: list[tuple[PlacedPod, str]]) -> bool:
    by_name = {n.metadata.name: n for n in nodes}
    mine = [p for p, name in placed if name == on.metadata.name]
    labels = on.metadata.labels

    def together(key: str, name: str) -> bool:
        return key in labels and by_name[name].metadata.labels.get(key) == labels[key]

    def cpu(found: list[PlacedPod]) -> int:
        return sum(dict(p.wants.requests).get("cpu", 0) for p in found)

    if len(mine) + 1 > int(on.status.allocatable["pods"]):
        return False
    if dict(subject.wants.requests).get("cpu") and cpu([*mine, subject]) > 1000 * int(on.status.allocatable["cpu"]):
        return False
    for port in subject.wants.ports:
        for other in (o for p in mine for o in p.wants.ports):
            if port.port == other.port and (port.ip == other.ip or "0.0.0.0" in (port.ip, other.ip)):
                return False
    for term in subject.wants.near:
        known = [(p, name) for p, name in placed if term.topology_key in by_name[name].metadata.labels]
        if any(matches(term, p) for p, _ in known) or not matches(term, subject):
            if not any(matches(term, p) and together(term.topology_key, name) for p, name in known):
                return False
        elif term.topology_key not in labels:
            return False
    if any(matches(t, p) and together(t.topology_key, n) for t in subject.wants.far for p, n in placed):
        return False
    if any(matches(t, subject) and together(t.topology_key, n) for p, n in placed for t in p.wants.far):
        return False
    for spread in (s for s in subject.wants.spread if s.is_required):
        if spread.topology_key not in labels:
            return False
        domains = {n.metadata.labels[spread.topology_key] for n in nodes if spread.topology_key in n.metadata.labels}
        counts = {
            domain: sum(
                spread.selector is not None and spread.selector.matches(p.metadata.labels)
                for p, name in placed
                if by_name[name].metadata.labels.get(spread.topology_key) == domain
            )
            for domain in domains
        }
        if counts[labels[spread.topology_key]] + 1 - min(counts.values()) > spread.max_skew:
            return False
    return True


@given(pods(count=12), NODES)
def test_a_slow_oracle_finds_the_same_nodes(subjects: list[PlacedPod], nodes: list[Node]) -> None:
    if not subjects:
        return
    waiting, rest = subjects[0], subjects[1:]
    placed = [(p, nodes[i % len(nodes)].metadata.name) for i, p in enumerate(rest)]
    found = {row.name for row in examine(waiting, board(nodes, placed)).fitting}
    assert found == {n.metadata.name for n in nodes if fits_slowly(waiting, n, nodes, placed)}
