"""Spec "proxy" §3.3 as a table: every source, destination and policy, by every way to know Pods, in both families."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from seaway.net.family import Family
from tests.proxy.scene import LOCAL_IN, LOCAL_OUT, Scene

SOURCES = {"pod": "P", "node": "N", "outside": "C"}
PLACES = ("cluster", "node", "lb", "external")  # external IPs behave exactly as load balancer IPs
SERVICES: tuple[dict[str, Any], ...] = ({}, LOCAL_OUT, LOCAL_IN)

FLOWS = """
    pod     cluster   all p | all p | loc p
    pod     node      all m | all p | all m
    pod     lb        all m | all p | all m
    node    cluster   all m | all m | loc m
    node    node      all m | all m | all m
    node    lb        all m | all m | all m
    outside cluster   all m | all m | loc m
    outside node      all m | loc p | all m
    outside lb        all m | loc p | all m
"""
CHANGES = {
    "a detector": "",
    "no detector": """
        pod     node      all m | loc p | all m
        pod     lb        all m | loc p | all m
        node    cluster   all p | all p | loc p
        outside cluster   all p | all p | loc p
    """,
    "masquerade all": """
        pod     cluster   all m | all m | loc m
    """,
    "masquerade all, no detector": """
        pod     cluster   all m | all m | loc m
        pod     node      all m | loc p | all m
        pod     lb        all m | loc p | all m
    """,
}
SETTINGS: dict[str, dict[str, Any]] = {
    "a detector": {},
    "no detector": {"cluster_cidrs": ()},
    "masquerade all": {"masquerade_all": True},
    "masquerade all, no detector": {"masquerade_all": True, "cluster_cidrs": ()},
}
ABSENCE = """
    pod     cluster   R1 p | DROP
    node    cluster   R1 m | DROP
    outside cluster   R1 m | DROP
    pod     node      R1 p | R1 m
    pod     lb        R1 p | R1 m
    node    node      R1 m | R1 m
    node    lb        R1 m | R1 m
    outside node      DROP | R1 m
    outside lb        DROP | R1 m
"""
OUTCOMES = {"all p": "L1 p R2 p", "all m": "L1 m R2 m", "loc p": "L1 p", "loc m": "L1 m"}


def read(text: str) -> dict[tuple[str, str], list[str]]:
    """(source, place) → what becomes of it by Service."""
    rows = [line.split(maxsplit=2) for line in text.strip().splitlines() if line.strip()]
    table = {(source, place): [cell.strip() for cell in cells.split("|")] for source, place, cells in rows}
    return table | {(source, "external"): cells for (source, place), cells in table.items() if place == "lb"}


CASES = [(variant, *pair, family) for variant in CHANGES for pair in read(FLOWS) for family in Family]


def test_the_table_is_complete() -> None:
    for table in (FLOWS, ABSENCE):
        assert read(table).keys() == set(itertools.product(SOURCES, PLACES))
    assert len(CASES) == len(SETTINGS) * len(SOURCES) * len(PLACES) * len(Family)


@pytest.mark.parametrize(
    ("variant", "source", "place", "family"), CASES, ids=[f"{v}; {s} to {p}, {f.value}" for v, s, p, f in CASES]
)
def test_flow(variant: str, source: str, place: str, family: Family) -> None:
    expected = (read(FLOWS) | read(CHANGES[variant]))[source, place]
    found = []
    for spec in SERVICES:
        scene = Scene(**SETTINGS[variant])
        scene.serve(**spec)
        scene.endpoints("L+ R+")
        found.append(scene.ask(SOURCES[source], place, family=family))
    assert found == [OUTCOMES[word] for word in expected]


@pytest.mark.parametrize("family", Family, ids=lambda f: f.value)
@pytest.mark.parametrize(("source", "place"), read(ABSENCE), ids=[" to ".join(pair) for pair in read(ABSENCE)])
def test_flow_without_a_local_endpoint(source: str, place: str, family: Family) -> None:
    found = []
    for spec in (LOCAL_OUT, LOCAL_IN):
        scene = Scene()
        scene.serve(**spec)
        scene.endpoints("R+")
        found.append(scene.ask(SOURCES[source], place, family=family))
    assert found == read(ABSENCE)[source, place]
