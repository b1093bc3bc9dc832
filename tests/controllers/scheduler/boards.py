"""Boards and Pods for the tests of the scheduler: what is not said is ample or absent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from seaway.api.node.types import Node
from seaway.controllers.scheduler.board import Board
from seaway.controllers.scheduler.plan import key_of, put_on
from seaway.controllers.scheduler.pod import PlacedPod, decode_placed_pod
from seaway.testing.builders import make_node, make_pod, merge

Json = dict[str, Any]
HOSTNAME, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
AMPLE = {"cpu": "64", "memory": "256Gi", "pods": "110", "ephemeral-storage": "1Ti"}


def pod(name: str = "a", *, requests: Json | None = None, ports: Iterable[Json] = (), **rest: Any) -> PlacedPod:
    container: Json = {"name": "main"}
    if requests:
        container["resources"] = {"requests": requests}
    if ports:
        container["ports"] = list(ports)
    raw = make_pod(name, **{"containers": [container], **rest})
    raw["metadata"].setdefault("uid", f"uid-{name}")
    return decode_placed_pod(msgspec.json.encode(raw))


def node(name: str, *, zone: str = "", labels: Json | None = None, has: Json | None = None, **spec: Any) -> Node:
    own = {HOSTNAME: name, **({ZONE: zone} if zone else {}), **(labels or {})}
    raw = merge(make_node(name, meta={"labels": own}, **spec), {"status": {"allocatable": AMPLE | (has or {})}})
    return msgspec.convert(raw, Node)


def board(nodes: Iterable[Node], placed: Iterable[tuple[PlacedPod, str]] = ()) -> Board:
    made = Board()
    for one in nodes:
        made.put_node(one)
    for one_pod, name in placed:
        made.put_pod(key_of(one_pod), put_on(one_pod, name))
    return made


def affinity(kind: str, *terms: Json) -> Json:
    """`podAffinity` or `podAntiAffinity`, required."""
    return {kind: {"requiredDuringSchedulingIgnoredDuringExecution": list(terms)}}


def near(app: str, key: str = HOSTNAME, **rest: Any) -> Json:
    return {"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key, **rest}


def require_nodes(*terms: Json) -> Json:
    wanted = {"nodeSelectorTerms": list(terms)}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": wanted}}


def expression(key: str, operator: str, *values: str) -> Json:
    return {"key": key, "operator": operator, **({"values": list(values)} if values else {})}
