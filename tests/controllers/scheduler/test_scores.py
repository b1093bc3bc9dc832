"""Rule: spec "controllers" §7.7 (Pods are spread over nodes); weights are upstream's."""

from __future__ import annotations

from typing import Any

import pytest

from seaway.controllers.scheduler.board import Board
from seaway.controllers.scheduler.plan import Placement, find_place
from seaway.controllers.scheduler.pod import PlacedPod
from tests.controllers.scheduler.boards import HOSTNAME, ZONE, board, expression, near, node, pod

Json = dict[str, Any]
AVOIDED = [{"key": "k", "effect": "PreferNoSchedule"}]


def owned(name: str, owner: str = "rs", **rest: Any) -> PlacedPod:
    return pod(name, meta={"ownerReferences": [{"controller": True, "uid": owner}]}, **rest)


def prefer_node(weight: int, *expressions: Json) -> Json:
    term = {"weight": weight, "preference": {"matchExpressions": list(expressions)}}
    return {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [term]}}


def prefer_pods(kind: str, weight: int, term: Json) -> Json:
    return {kind: {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": weight, "podAffinityTerm": term}]}}


WISH = [{"maxSkew": 1, "topologyKey": HOSTNAME, "whenUnsatisfiable": "ScheduleAnyway",
         "labelSelector": {"matchLabels": {"app": "web"}}}]  # fmt: skip
WEB = pod("w", labels={"app": "web"})
NODES = [node("a"), node("b")]

CASES: dict[str, tuple[PlacedPod, Board, str]] = {
    "of equal nodes the first by name": (pod("p"), board(NODES), "a"),
    "the one that has more left": (pod("p"), board(NODES, [(pod("x", requests={"cpu": "8"}), "a")]), "b"),
    "Pods that ask for nothing weigh something": (pod("p"), board(NODES, [(pod("x"), "a")]), "b"),
    "the bigger one": (pod("p"), board([node("a"), node("b", has={"cpu": "128", "memory": "512Gi"})]), "b"),
    "the one whose taint does not mind": (pod("p"), board([node("a", taints=AVOIDED), node("b")]), "b"),
    "a taint that is tolerated does not matter": (
        pod("p", tolerations=[{"operator": "Exists"}]), board([node("a", taints=AVOIDED), node("b")]), "a",
    ),
    "the one that it prefers": (
        pod("p", affinity=prefer_node(1, expression("disk", "In", "ssd"))),
        board([node("a"), node("b", labels={"disk": "ssd"})]),
        "b",
    ),
    "away from those of its owner": (owned("p"), board(NODES, [(owned("x"), "a"), (pod("y"), "b")]), "b"),
    "away from its owner's zone": (
        owned("p"),
        board([node("a", zone="z1"), node("b", zone="z2"), node("c", zone="z1")], [(owned("x"), "c")]),
        "b",
    ),
    "where fewest are, if it wishes to be spread": (
        pod("p", labels={"app": "web"}, topologySpreadConstraints=WISH), board(NODES, [(WEB, "a")]), "b",
    ),
    "near whom it prefers": (
        pod("p", affinity=prefer_pods("podAffinity", 10, near("web"))),
        board([node("a", zone="z1"), node("b")], [(WEB, "b")]),
        "b",
    ),
    "far from whom it prefers not": (
        pod("p", affinity=prefer_pods("podAntiAffinity", 10, near("web", ZONE))),
        board([node("a", zone="z1"), node("b", zone="z2"), node("c", zone="z1")], [(WEB, "c")]),
        "b",
    ),
    "near who prefers it": (
        pod("p", labels={"app": "web"}),
        board(NODES, [(pod("x", affinity=prefer_pods("podAffinity", 10, near("web"))), "b")]),
        "b",
    ),
    "far from who would rather not": (
        pod("p", labels={"app": "web"}),
        board(
            [node("a", zone="z1"), node("b", zone="z2"), node("c", zone="z1")],
            [(pod("x", affinity=prefer_pods("podAntiAffinity", 10, near("web", ZONE))), "c"), (pod("y"), "b")],
        ),
        "b",
    ),
    "a preference outweighs what is left": (
        pod("p", affinity=prefer_node(1, expression(HOSTNAME, "In", "a"))),
        board(NODES, [(pod("x", requests={"cpu": "16"}), "a")]),
        "a",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("subject", "on", "best"), CASES.values(), ids=CASES.keys())
def test_the_best_node_is(subject: PlacedPod, on: Board, best: str) -> None:
    assert find_place(subject, on) == Placement("default/p", best)
