"""Rule: spec "controllers" §7.7; the texts are upstream's."""

from __future__ import annotations

from typing import Any

import pytest

from seaway.controllers.scheduler.board import Board
from seaway.controllers.scheduler.filters import FILTERS, STATIC_FILTERS
from seaway.controllers.scheduler.plan import examine
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

UNSCHEDULABLE = "node(s) were unschedulable"
TAINTED = "node(s) had untolerated taint(s)"
MISMATCH = "node(s) didn't match Pod's node affinity/selector"
NOT_PINNED = "node(s) didn't satisfy plugin(s) [NodeAffinity]"
NO_PORT = "node(s) didn't have free ports for the requested pod ports"
NOT_NEAR = "node(s) didn't match pod affinity rules"
NOT_FAR = "node(s) didn't match pod anti-affinity rules"
REPELLED = "node(s) didn't satisfy existing pods anti-affinity rules"
SKEWED = "node(s) didn't match pod topology spread constraints"
NO_LABEL = f"{SKEWED} (missing required label)"

Case = tuple[PlacedPod, Board, str | tuple[str, ...]]


def taint(key: str = "k", value: str = "v", effect: str = "NoSchedule") -> dict[str, Any]:
    return {"key": key, "value": value, "effect": effect}


def bear(**toleration: Any) -> dict[str, Any]:
    return {"tolerations": [toleration]}


def on_tainted(effect: str = "NoSchedule", **spec: Any) -> tuple[PlacedPod, Board]:
    return pod(**spec), board([node("n", taints=[taint(effect=effect)])])


def on_labelled(*expressions: dict[str, Any], **labels: str) -> tuple[PlacedPod, Board]:
    term = {"matchExpressions": list(expressions)}
    return pod(affinity=require_nodes(term)), board([node("n", labels=labels)])


def beside(port: dict[str, Any], other: dict[str, Any]) -> tuple[PlacedPod, Board]:
    return pod("b", ports=[port]), board([node("n")], [(pod("a", ports=[other]), "n")])


def port(number: int = 80, protocol: str = "TCP", ip: str = "") -> dict[str, Any]:
    return {"containerPort": 1, "hostPort": number, "protocol": protocol, **({"hostIP": ip} if ip else {})}


WEB = pod("w", labels={"app": "web"})
TWO = [node("n", zone="z1"), node("m", zone="z2")]


def spread(skew: int = 1, key: str = HOSTNAME, **rest: Any) -> dict[str, Any]:
    selector = {"matchLabels": {"app": "web"}}
    constraint = {"maxSkew": skew, "topologyKey": key, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector}
    return {"labels": {"app": "web"}, "topologySpreadConstraints": [{**constraint, **rest}]}


def webs(count: int, name: str = "n") -> list[tuple[PlacedPod, str]]:
    return [(pod(f"w{i}", labels={"app": "web"}), name) for i in range(count)]


# What the node `n` says of the Pod; "" when it takes it.
CASES: dict[str, Case] = {
    "an empty node takes any Pod": (pod(), board([node("n")]), ""),
    "a cordoned node takes none": (pod(), board([node("n", unschedulable=True)]), UNSCHEDULABLE),
    "but who tolerates the cordon": (
        pod(**bear(key="node.kubernetes.io/unschedulable", operator="Exists")),
        board([node("n", unschedulable=True)]),
        "",
    ),
    "NoSchedule keeps away": (*on_tainted(), TAINTED),
    "NoExecute keeps away": (*on_tainted("NoExecute"), TAINTED),
    "PreferNoSchedule does not": (*on_tainted("PreferNoSchedule"), ""),
    "an equal toleration covers": (*on_tainted(**bear(key="k", operator="Equal", value="v")), ""),
    "no operator is Equal": (*on_tainted(**bear(key="k", value="v")), ""),
    "another value does not cover": (*on_tainted(**bear(key="k", value="w")), TAINTED),
    "another key does not cover": (*on_tainted(**bear(key="j", operator="Exists")), TAINTED),
    "Exists covers any value": (*on_tainted(**bear(key="k", operator="Exists")), ""),
    "Exists without a key covers all": (*on_tainted(**bear(operator="Exists")), ""),
    "another effect does not cover": (*on_tainted(**bear(key="k", operator="Exists", effect="NoExecute")), TAINTED),
    "an unknown operator covers nothing": (*on_tainted(**bear(key="k", operator="Near")), TAINTED),
    "a node selector is kept": (pod(nodeSelector={"disk": "ssd"}), board([node("n")]), MISMATCH),
    "and met": (pod(nodeSelector={"disk": "ssd"}), board([node("n", labels={"disk": "ssd"})]), ""),
    "In": (*on_labelled(expression("a", "In", "1", "2"), a="2"), ""),
    "In, and it is not": (*on_labelled(expression("a", "In", "1", "2"), a="3"), MISMATCH),
    "NotIn": (*on_labelled(expression("a", "NotIn", "1"), a="1"), MISMATCH),
    "NotIn of a label that is not there": (*on_labelled(expression("a", "NotIn", "1")), ""),
    "Exists": (*on_labelled(expression("a", "Exists")), MISMATCH),
    "DoesNotExist": (*on_labelled(expression("a", "DoesNotExist"), a="1"), MISMATCH),
    "Gt compares numbers": (*on_labelled(expression("a", "Gt", "9"), a="10"), ""),
    "Gt is not equal": (*on_labelled(expression("a", "Gt", "10"), a="10"), MISMATCH),
    "Lt": (*on_labelled(expression("a", "Lt", "9"), a="10"), MISMATCH),
    "Lt of what is no number": (*on_labelled(expression("a", "Lt", "9"), a="x"), MISMATCH),
    "Gt of no number matches nothing": (*on_labelled(expression("a", "Gt", "x"), a="1"), MISMATCH),
    "conditions of a term hold together": (
        *on_labelled(expression("a", "Exists"), expression("b", "Exists"), a="1"),
        MISMATCH,
    ),
    "terms are alternatives": (
        pod(affinity=require_nodes({"matchExpressions": [expression("a", "Exists")]},
                                   {"matchExpressions": [expression(HOSTNAME, "In", "n")]})),
        board([node("n")]),
        "",
    ),
    "an empty term matches nothing": (pod(affinity=require_nodes({})), board([node("n")]), MISMATCH),
    "a field names the node": (
        pod(affinity=require_nodes({"matchFields": [expression("metadata.name", "In", "n")]})),
        board([node("n")]),
        "",
    ),
    "a field names another": (
        pod(affinity=require_nodes({"matchFields": [expression("metadata.name", "In", "m")]})),
        board([node("n")]),
        NOT_PINNED,
    ),
    "a field that is not the name of this one": (
        pod(affinity=require_nodes({"matchFields": [expression("metadata.name", "NotIn", "n")]})),
        board([node("n")]),
        MISMATCH,
    ),
    "a host port is one Pod's": (*beside(port(), port()), NO_PORT),
    "another port is free": (*beside(port(), port(81)), ""),
    "another protocol is free": (*beside(port(), port(protocol="UDP")), ""),
    "another address is free": (*beside(port(ip="10.0.0.1"), port(ip="10.0.0.2")), ""),
    "all addresses take each": (*beside(port(ip="10.0.0.1"), port()), NO_PORT),
    "each takes all addresses": (*beside(port(ip="0.0.0.0"), port(ip="10.0.0.2")), NO_PORT),
    "the last cpu goes": (pod(requests={"cpu": "2"}), board([node("n", has={"cpu": "2"})]), ""),
    "and no more": (pod(requests={"cpu": "2001m"}), board([node("n", has={"cpu": "2"})]), "Insufficient cpu"),
    "what lies there counts": (
        pod("b", requests={"cpu": "1"}),
        board([node("n", has={"cpu": "2"})], [(pod("a", requests={"cpu": "1500m"}), "n")]),
        "Insufficient cpu",
    ),
    "what has ended does not": (
        pod("b", requests={"cpu": "1"}),
        board([node("n", has={"cpu": "2"})], [(pod("a", requests={"cpu": "2"}, status={"phase": "Failed"}), "n")]),
        "",
    ),
    "each resource has its reason": (
        pod(requests={"cpu": "100", "memory": "1Pi", "example.com/gpu": "1"}),
        board([node("n")]),
        ("Insufficient cpu", "Insufficient example.com/gpu", "Insufficient memory"),
    ),
    "ephemeral storage is one": (
        pod(requests={"ephemeral-storage": "2Ti"}), board([node("n")]), "Insufficient ephemeral-storage",
    ),
    "a node has room for so many Pods": (
        pod(), board([node("n", has={"pods": "1"})], [(WEB, "n")]), "Too many pods",
    ),
    "near a Pod of the host": (pod(affinity=affinity("podAffinity", near("web"))), board(TWO, [(WEB, "n")]), ""),
    "and not on another": (
        pod(affinity=affinity("podAffinity", near("web"))), board(TWO, [(WEB, "m")]), NOT_NEAR,
    ),
    "near in the zone": (
        pod(affinity=affinity("podAffinity", near("web", ZONE))),
        board([*TWO, node("o", zone="z1")], [(WEB, "o")]),
        "",
    ),
    "near needs the label": (
        pod(affinity=affinity("podAffinity", near("web", ZONE))), board([node("n")], [(WEB, "n")]), NOT_NEAR,
    ),
    "the first of a group may lie anywhere": (
        pod(labels={"app": "web"}, affinity=affinity("podAffinity", near("web"))), board(TWO), "",
    ),
    "but only where the label is": (
        pod(labels={"app": "web"}, affinity=affinity("podAffinity", near("web", ZONE))), board([node("n")]), NOT_NEAR,
    ),
    "who looks for others waits for them": (pod(affinity=affinity("podAffinity", near("web"))), board(TWO), NOT_NEAR),
    "another namespace's Pods do not count": (
        pod(affinity=affinity("podAffinity", near("web"))),
        board(TWO, [(pod("w", namespace="shop", labels={"app": "web"}), "n")]),
        NOT_NEAR,
    ),
    "unless it is named": (
        pod(affinity=affinity("podAffinity", near("web", namespaces=["shop"]))),
        board(TWO, [(pod("w", namespace="shop", labels={"app": "web"}), "n")]),
        "",
    ),
    "or all are": (
        pod(affinity=affinity("podAffinity", near("web", namespaceSelector={}))),
        board(TWO, [(pod("w", namespace="shop", labels={"app": "web"}), "n")]),
        "",
    ),
    "far from a Pod": (pod(affinity=affinity("podAntiAffinity", near("web"))), board(TWO, [(WEB, "n")]), NOT_FAR),
    "far in the zone": (
        pod(affinity=affinity("podAntiAffinity", near("web", ZONE))),
        board([*TWO, node("o", zone="z1")], [(WEB, "o")]),
        NOT_FAR,
    ),
    "far enough": (pod(affinity=affinity("podAntiAffinity", near("web"))), board(TWO, [(WEB, "m")]), ""),
    "a Pod of another revision is far enough": (
        pod(labels={"rev": "2"}, affinity=affinity("podAntiAffinity", near("web", matchLabelKeys=["rev"]))),
        board(TWO, [(pod("w", labels={"app": "web", "rev": "1"}), "n")]),
        "",
    ),
    "a Pod that is there minds": (
        pod("b", labels={"app": "web"}),
        board(TWO, [(pod("a", affinity=affinity("podAntiAffinity", near("web"))), "n")]),
        REPELLED,
    ),
    "one Pod per node": (
        pod("b", labels={"app": "web"}, affinity=affinity("podAntiAffinity", near("web"))),
        board(TWO, [(pod("a", labels={"app": "web"}, affinity=affinity("podAntiAffinity", near("web"))), "n")]),
        NOT_FAR,
    ),
    "an even spread takes one more": (pod("b", **spread()), board(TWO, webs(1) + webs(1, "m")), ""),
    "and not two": (pod("b", **spread()), board(TWO, webs(1)), SKEWED),
    "a wider skew does": (pod("b", **spread(2)), board(TWO, webs(1)), ""),
    "a wish keeps nobody away": (pod("b", **spread(whenUnsatisfiable="ScheduleAnyway")), board(TWO, webs(5)), ""),
    "spreading needs the label": (pod("b", **spread(key=ZONE)), board([node("n")]), NO_LABEL),
    "too few domains count as an empty one": (pod("b", **spread(minDomains=2)), board([node("n")], webs(1)), SKEWED),
    "nodes that the Pod cannot be on are no domains": (
        pod("b", nodeSelector={HOSTNAME: "n"}, **spread()), board(TWO, webs(3)), "",
    ),
    "unless it says so": (
        pod("b", nodeSelector={HOSTNAME: "n"}, **spread(nodeAffinityPolicy="Ignore")), board(TWO, webs(3)), SKEWED,
    ),
    "tainted nodes are domains": (
        pod("b", **spread()), board([node("n"), node("m", taints=[taint()])], webs(1)), SKEWED,
    ),
    "unless it says that they are not": (
        pod("b", **spread(nodeTaintsPolicy="Honor")), board([node("n"), node("m", taints=[taint()])], webs(1)), "",
    ),
    "Pods that are ending are not counted": (
        pod("b", **spread()),
        board(TWO, [(pod("w", labels={"app": "web"}, meta={"deletionTimestamp": "2026-01-01T00:00:00Z"}), "n")]),
        "",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("subject", "on", "expected"), CASES.values(), ids=CASES.keys())
def test_what_a_node_says(subject: PlacedPod, on: Board, expected: str | tuple[str, ...]) -> None:
    found = examine(subject, on)
    reasons = set(found.reasons)
    fits = any(row.name == "n" for row in found.fitting)
    if not expected:
        assert fits, reasons
    else:
        assert not fits
        assert set((expected,) if isinstance(expected, str) else expected) <= reasons


def test_filters_are_in_the_order_of_upstream() -> None:
    assert [name for name, _ in STATIC_FILTERS] + [rule.name for rule in FILTERS] == [
        "NodeUnschedulable",
        "TaintToleration",
        "NodeAffinity",
        "NodePorts",
        "NodeResourcesFit",
        "PodTopologySpread",
        "InterPodAffinity",
    ]


def test_a_node_that_has_not_said_what_it_has_is_not_limited() -> None:
    bare = node("n")
    free = board([type(bare)(metadata=bare.metadata, spec=bare.spec)])
    assert [row.name for row in examine(pod(requests={"cpu": "1000"}), free).fitting] == ["n"]
