"""Endpoint choice. Rule: spec "proxy" §2.

Notation of §2.4: L here, R elsewhere; + ready, t serving and terminating, - neither; x serving, but not ready.
"""

from __future__ import annotations

import random

import pytest

from seaway.proxy.topology import ServingEndpoint, choose_endpoints

NODE = "node-1"
CONDITIONS = {"+": (True, True, False), "t": (False, True, True), "-": (False, False, False), "x": (False, True, False)}


def make(text: str) -> list[ServingEndpoint]:
    """`L+ R+:ab R-::node-1`: place, condition, zone hints (a letter each), node hint."""
    endpoints = []
    for number, word in enumerate(text.split(), 1):
        place, *hints = word.split(":")
        ready, serving, terminating = CONDITIONS[place[1]]
        endpoints.append(
            ServingEndpoint(
                f"10.0.0.{number}",
                80,
                ready,
                serving,
                terminating,
                NODE if place[0] == "L" else "node-2",
                frozenset(hints[0]) if hints else frozenset(),
                frozenset(hints[1:]),
            )
        )
    return endpoints


def numbers(endpoints: tuple[ServingEndpoint, ...] | None) -> str | None:
    return None if endpoints is None else "".join(e.address.rsplit(".", 1)[1] for e in endpoints)


PLAIN, ITP, BOTH = (True, False), (False, True), (True, True)

CASES = [
    ("no endpoints at all", PLAIN, "", "", "", None, False),
    ("an unready endpoint is not usable", PLAIN, "L-", "", "", None, False),
    ("a serving endpoint that is not terminating is not usable", PLAIN, "L+ Rx", "", "1", None, True),
    ("ready endpoints are used, wherever they are", PLAIN, "R- R+", "", "2", None, True),
    ("terminating ones only when nothing is ready", PLAIN, "Lt Rt", "", "12", None, True),
    ("one ready endpoint ends the fallback", PLAIN, "Lt R+", "", "2", None, True),
    ("internal Local, none", ITP, "", "", None, "", False),
    ("internal Local, only remote", ITP, "R+ R+", "", None, "", True),
    ("internal Local, local ready", ITP, "L+ R+", "", None, "1", True),
    ("internal Local falls back to local ones, though remote ones are ready", ITP, "Lt R+", "", None, "1", True),
    ("both lists, only remote ready", BOTH, "R+ R+", "", "12", "", True),
    ("both lists, only remote terminating", BOTH, "Rt Rt", "", "12", "", True),
    ("the fallback is decided per list", BOTH, "R+ L- Lt Rt", "", "1", "3", True),
    ("local ignores zone hints, cluster obeys them", BOTH, "L+:a L+:b R+:a R+:b", "a", "13", "12", True),
    ("zone hints choose", PLAIN, "R+:a R+:b R+:c R+:a", "a", "14", None, True),
    ("an unready endpoint's hint is not looked at", PLAIN, "R+:a R+:b R+:c R-:a", "a", "1", None, True),
    ("no ready endpoint for this zone: all", PLAIN, "R-:a R+:b R+:c", "a", "23", None, True),
    ("one ready endpoint without hints: all", PLAIN, "R+:a R+:b R+ R+:a", "a", "1234", None, True),
    ("an unready endpoint without hints has no effect", PLAIN, "R+:a R+:b R-", "a", "1", None, True),
    ("several zones in one hint", PLAIN, "R+:abc R+:bc R+:bd R+:c", "c", "124", None, True),
    ("a node without a zone label ignores zone hints", PLAIN, "R+:a R+:b", "", "12", None, True),
    ("node hints go before zone hints", PLAIN, "R+:a:node-1 R+:b:node-2 R+:c:node-3 R+:a:node-4", "a", "1", None, True),
    ("node hints for others fall to zone hints", PLAIN, "R+:a:node-9 R+:b:node-2 R+:a:node-4", "a", "13", None, True),
    ("the fallback ignores hints", PLAIN, "Rt:a Rt:b", "a", "12", None, True),
]  # fmt: skip


@pytest.mark.parametrize(
    ("uses", "endpoints", "zone", "cluster", "local", "has_any"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_choice(
    uses: tuple[bool, bool], endpoints: str, zone: str, cluster: str | None, local: str | None, has_any: bool
) -> None:
    known = make(endpoints)
    choice = choose_endpoints(known, node=NODE, zone=zone, uses_cluster=uses[0], uses_local=uses[1])
    assert (numbers(choice.cluster), numbers(choice.local), choice.has_any) == (cluster, local, has_any)
    union = set(choice.cluster or ()) | set(choice.local or ())
    assert set(choice.reachable) == union
    random.Random(1).shuffle(known)
    assert choose_endpoints(known, node=NODE, zone=zone, uses_cluster=uses[0], uses_local=uses[1]) == choice


@pytest.mark.parametrize(
    ("endpoints", "zone", "reason"),
    [
        ("R+ R+", "a", ""),
        ("R+:a R+", "a", "an endpoint has no node hint; an endpoint has no zone hint"),
        ("R+:b R+:b", "a", "an endpoint has no node hint; no endpoint is hinted for zone a"),
        ("R+:b R+:b", "", "an endpoint has no node hint; this node has no zone label"),
    ],
    ids=["no hints, nothing ignored", "a hint is missing", "no hint for this zone", "no zone label"],
)
def test_the_reason_says_why_hints_were_ignored(endpoints: str, zone: str, reason: str) -> None:
    choice = choose_endpoints(make(endpoints), node=NODE, zone=zone, uses_cluster=True, uses_local=False)
    assert choice.reason == reason
