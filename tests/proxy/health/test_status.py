"""Rule: spec "proxy" §7.2."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from seaway.api.node.types import Node
from seaway.net.family import Family
from seaway.proxy.health.status import Moment, ProxyHealth, format_time
from seaway.testing.builders import make_node

BOTH = (Family.IPV4, Family.IPV6)
DAY = 1_700_000_000.0


def at(seconds: float) -> Moment:
    return Moment(seconds, DAY + seconds)


def queue(*times: float) -> Callable[[ProxyHealth], None]:
    return lambda health: [health.queue(at(t)) for t in times] and None


def update(seconds: float, *families: Family) -> Callable[[ProxyHealth], None]:
    return lambda health: [health.update(f, at(seconds)) for f in families or BOTH] and None


CLOCK: dict[str, tuple[list[Callable[[ProxyHealth], None]], float, bool]] = {
    "nothing queued is healthy, at the start and for ever": ([], 9999, True),
    "a change may wait for less than the timeout": ([queue(0)], 59.9, True),
    "154 a change that waits for the timeout is too late": ([queue(0)], 60, False),
    "the first of several counts": ([queue(0, 50)], 60, False),
    "a success clears it": ([queue(0), update(30)], 9999, True),
    "one family that is late is enough": ([queue(0), update(30, Family.IPV4)], 60, False),
    "what is queued after a success starts anew": ([queue(0), update(30), queue(40)], 99.9, True),
    "and is late by itself": ([queue(0), update(30), queue(40)], 100, False),
    "a success after the timeout heals": ([queue(0), update(90)], 91, True),
}


@pytest.mark.parametrize(("steps", "now", "is_healthy"), CLOCK.values(), ids=CLOCK.keys())
def test_pending_changes(steps: list[Callable[[ProxyHealth], None]], now: float, is_healthy: bool) -> None:
    health = ProxyHealth(BOTH)
    for step in steps:
        step(health)
    assert health.is_healthy(at(now)) is is_healthy
    assert health.answer("/livez", at(now)).code == (200 if is_healthy else 503)


def node(**changes: Any) -> Node:
    made = make_node("node-1")
    return msgspec.convert({**made, **changes}, Node)


TAINTED = node(spec={"taints": [{"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}]})
LEAVING = node(metadata={"name": "node-1", "deletionTimestamp": "2026-01-01T00:00:00Z"})
ELIGIBILITY: dict[str, tuple[list[Node | None], int]] = {
    "an unknown Node is not eligible": ([], 503),
    "a Node that is known is": ([node()], 200),
    "153 not with the taint of the autoscaler": ([TAINTED], 503),
    "another taint does not matter": ([node(spec={"taints": [{"key": "x", "effect": "NoSchedule"}]})], 200),
    "not while it is being deleted": ([LEAVING], 503),
    "one that is gone is as it was last seen": ([node(), None], 200),
}


@pytest.mark.parametrize(("seen", "code"), ELIGIBILITY.values(), ids=ELIGIBILITY.keys())
def test_eligibility_is_of_healthz_alone(seen: list[Node | None], code: int) -> None:
    health = ProxyHealth(BOTH)
    for one in seen:
        health.see_node(one)
    answer = health.answer("/healthz", at(1))
    assert answer.code == code
    told = json.loads(answer.body)
    assert (told["nodeEligible"], told["healthy"]) == (code == 200, True)
    livez = health.answer("/livez", at(1))
    assert livez.code == 200
    assert "nodeEligible" not in json.loads(livez.body)


def test_the_body_to_the_letter() -> None:
    health = ProxyHealth(BOTH)
    health.see_node(node())
    health.update(Family.IPV4, at(10.25))
    well = health.answer("/healthz", at(20))
    assert well.body.decode() == (
        '{"lastUpdated":"2023-11-14T22:13:40Z","currentTime":"2023-11-14T22:13:40Z","nodeEligible":true,"healthy":true,'
        '"status":{"IPv4":{"lastUpdated":"2023-11-14T22:13:30.25Z","healthy":true},'
        '"IPv6":{"lastUpdated":"0001-01-01T00:00:00Z","healthy":true}}}'
    )
    assert well.content_type == "application/json"
    health.queue(at(30))
    health.update(Family.IPV4, at(40))
    ill = json.loads(health.answer("/livez", at(100)).body)
    assert ill["lastUpdated"] == format_time(at(40))
    assert ill["status"] == {
        "IPv4": {"lastUpdated": format_time(at(40)), "healthy": True},
        "IPv6": {"lastUpdated": "0001-01-01T00:00:00Z", "healthy": False},
    }


def test_other_paths_are_not_there() -> None:
    assert ProxyHealth(BOTH).answer("/readyz", at(0)).code == 404
