"""Placing Pods: ten thousand on a hundred nodes, and one more when many are there already."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from bench.figures import Figure, Goal, median
from seaway.api.node.types import Node
from seaway.controllers.scheduler.board import Board
from seaway.controllers.scheduler.plan import key_of, plan_placements, put_on
from seaway.controllers.scheduler.pod import PlacedPod, decode_placed_pod

NODES, PODS, SETS = 100, 10_000, 1_000
CROWD = 100_000
SAMPLE = 200
ROUNDS = 3
HOSTNAME, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"

BURST = Goal("scheduler: 10,000 Pods onto 100 nodes, CPU", "s", at_most=5)
DECODE = Goal("scheduler: read one Pod for it", "µs", at_most=60)
SLOWDOWN = Goal("scheduler: one Pod where 100,000 lie, against an empty cluster", "x", at_most=1.5)
GOALS = (BURST, DECODE, SLOWDOWN)


def run() -> list[Figure]:
    """Medians of CPU time."""
    bodies = [_make_pod(number, "") for number in range(PODS)]
    begun = time.process_time()
    waiting = [decode_placed_pod(body) for body in bodies]
    decoding = (time.process_time() - begun) / PODS
    bursts = [_time_placing(waiting, _make_board(110)) for _ in range(ROUNDS)]
    sample = waiting[:SAMPLE]
    alone = median([_time_placing(sample, _make_board(5_000)) for _ in range(ROUNDS)])
    crowded = _make_board(5_000)
    for number in range(CROWD):
        pod = decode_placed_pod(_make_pod(number, "old-"))
        crowded.put_pod(key_of(pod), put_on(pod, f"n{number % NODES:03}"))
    among = median([_time_placing(sample, crowded) for _ in range(ROUNDS)])
    return [
        Figure(BURST, median(bursts), f"of {SETS} sets, with requests; median of {ROUNDS}"),
        Figure(DECODE, decoding * 1e6),
        Figure(SLOWDOWN, among / alone, f"{SAMPLE} Pods"),
    ]


def _time_placing(pods: list[PlacedPod], board: Board) -> float:
    """CPU seconds; all Pods find a place, and leave it again."""
    begun = time.process_time()
    plan = plan_placements(pods, board)
    seconds = time.process_time() - begun
    assert len(plan.place) == len(pods)
    for placement in plan.place:
        board.drop_pod(placement.pod)
    return seconds


def _make_board(pods_per_node: int) -> Board:
    board = Board()
    for number in range(NODES):
        name = f"n{number:03}"
        labels = {HOSTNAME: name, ZONE: f"z{number % 3}"}
        has = {"cpu": "1000", "memory": "4Ti", "pods": str(pods_per_node)}
        raw = {"metadata": {"name": name, "labels": labels}, "status": {"allocatable": has}}
        board.put_node(msgspec.convert(raw, Node))
    return board


def _make_pod(number: int, prefix: str) -> bytes:
    group = f"{prefix}web-{number % SETS}"
    tolerations = [
        {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
        for key in ("not-ready", "unreachable")
    ]
    requests = {"requests": {"cpu": "100m", "memory": "64Mi"}}
    meta: dict[str, Any] = {
        "name": f"{group}-{number}",
        "namespace": "default",
        "uid": f"00000000-0000-4000-8000-{number:012x}",
        "resourceVersion": str(number + 1),
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"app": group, "pod-template-hash": "7d9f8b6c5"},
        "ownerReferences": [{"kind": "ReplicaSet", "name": group, "uid": group, "controller": True}],
    }
    spec = {"containers": [{"name": "main", "resources": requests}], "tolerations": tolerations}
    return msgspec.json.encode({"metadata": meta, "spec": spec})
