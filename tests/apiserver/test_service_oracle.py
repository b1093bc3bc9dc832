"""Services written by several clients at once, judged write by write by a slow and obvious oracle of the rules.

A watch tells in which order the writes took effect. Each success must be what the oracle makes of the state before it;
each refusal must be what it says of a state that the request can have met. Numbers are told apart as kept and new;
that no two Services share one is judged in allocation/test_concurrent_clients.py.
Rule: spec "service-api" §2, §3.2, §3.4, §4.
"""

from __future__ import annotations

import asyncio
import copy
from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from seaway.apiserver.config import ServerConfig
from seaway.testing.builders import make_service
from tests.apiserver.allocation.test_concurrent_clients import SlowStore
from tests.apiserver.conversation import SERVICES, Conversation, Reply, talk

Json = dict[str, Any]
CONFIG = ServerConfig(service_cidrs=("10.96.0.0/24", "fd10::/120"))
TWO = [{"name": "a", "port": 80}, {"name": "b", "port": 81}]
SHAPES: tuple[Json, ...] = (
    {},
    {"type": "ClusterIP"},
    {"clusterIP": "None"},
    {"type": "NodePort"},
    {"type": "NodePort", "ports": TWO},
    {"type": "NodePort", "ports": [{"port": 80}, {"port": 81}]},
    {"type": "LoadBalancer"},
    {"type": "LoadBalancer", "ports": TWO},
    {"type": "LoadBalancer", "externalTrafficPolicy": "Local"},
    {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False},
    {"type": "LoadBalancer", "loadBalancerClass": "a/b"},
    {"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.0/8"]},
    {"type": "ExternalName", "externalName": "a.b"},
    {"type": "ExternalName"},
    {"ipFamilyPolicy": "SingleStack"},
    {"ipFamilyPolicy": "PreferDualStack"},
    {"ipFamilyPolicy": "RequireDualStack"},
    {"sessionAffinity": "ClientIP"},
    {"sessionAffinity": "x"},
    {"externalTrafficPolicy": "Local"},
    {"allocateLoadBalancerNodePorts": False},
    {"loadBalancerClass": "a/b"},
)
Actions = list[tuple[str, str, Json, int]]


@st.composite
def clients_at_once(draw: st.DrawFn) -> list[Actions]:
    """What each client does. A play has few shapes, so that a Service meets the same one again."""
    shapes = draw(st.lists(st.sampled_from(SHAPES), min_size=1, max_size=4))
    verbs = st.sampled_from(("create", "put", "put", "patch", "patch", "delete"))
    action = st.tuples(verbs, st.sampled_from("ab"), st.sampled_from(shapes), st.integers(0, 3))
    return draw(st.lists(st.lists(action, max_size=12), min_size=1, max_size=4))


# The oracle.


class Refused(Exception):
    """The server has to say 422."""


def needs_ports(spec: Json) -> bool:
    return spec["type"] == "NodePort" or (spec["type"] == "LoadBalancer" and spec["allocateLoadBalancerNodePorts"])


def is_local(spec: Json) -> bool:
    return bool(spec["type"] == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local")


def foretell(wanted: Json, was: Json | None) -> Json:
    """What is seen of the Service after the write. Raises Refused.

    wanted: the spec that the client asks for, with a patch applied. was: the spec before; None when there is none.
    """
    spec = copy.deepcopy(wanted)
    kind = spec.setdefault("type", "ClusterIP")
    came_from = was["type"] if was else ""
    seen: Json = {"type": kind, "affinity": spec.get("sessionAffinity", "None"), "name": spec.get("externalName", "")}
    if seen["affinity"] not in ("None", "ClientIP") or (kind == "ExternalName" and not seen["name"]):
        raise Refused
    seen["internal"] = "" if kind == "ExternalName" else "Cluster"
    if kind == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    if kind in ("NodePort", "LoadBalancer"):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    for field, fits, fitted in (
        ("externalTrafficPolicy", kind in ("NodePort", "LoadBalancer"), came_from in ("NodePort", "LoadBalancer")),
        ("allocateLoadBalancerNodePorts", kind == "LoadBalancer", came_from == "LoadBalancer"),
        ("loadBalancerClass", kind == "LoadBalancer", came_from == "LoadBalancer"),
    ):
        value = spec.get(field)
        if not fits and value is not None:
            if not (was and fitted and was.get(field) == value):
                raise Refused
            value = None
        seen[field] = value
    if kind == came_from == "LoadBalancer" and was and was.get("loadBalancerClass") != seen["loadBalancerClass"]:
        raise Refused
    seen["ranges"] = spec.get("loadBalancerSourceRanges", [])
    if seen["ranges"] and kind != "LoadBalancer":
        raise Refused
    seen |= foretell_addresses(spec, was)
    seen["ports"] = foretell_ports(spec, was)
    seen["health"] = ("kept" if was and is_local(was) else "new") if is_local(spec) else "none"
    return seen


def foretell_addresses(spec: Json, was: Json | None) -> Json:
    asked, had = spec.get("clusterIP", ""), was.get("clusterIP", "") if was else ""
    if spec["type"] == "ExternalName":
        for field in ("clusterIP", "ipFamilyPolicy"):
            if spec.get(field) and not (was and was.get(field) == spec[field]):
                raise Refused
        return {"families": [], "policy": "", "addresses": []}
    if had and asked and asked != had:
        raise Refused
    headless = "None" in (asked, had)
    if headless and spec["type"] != "ClusterIP":
        raise Refused
    policy = spec.get("ipFamilyPolicy") or (was.get("ipFamilyPolicy") if was else None) or "SingleStack"
    families = ["IPv4"] if policy == "SingleStack" else ["IPv4", "IPv6"]
    kept = len(was.get("clusterIPs", ())) if was else 0
    fates = [] if headless else ["kept" if index < kept else "new" for index in range(len(families))]
    return {"families": families, "policy": policy, "addresses": fates}


def foretell_ports(spec: Json, was: Json | None) -> list[tuple[str, int, str]]:
    ports = spec["ports"]
    names = [port.get("name", "") for port in ports]
    if len(ports) > 1 and "" in names:
        raise Refused
    had = {port.get("name", ""): port.get("nodePort", 0) for port in was["ports"]} if was else {}
    fates = []
    for name, port in zip(names, ports, strict=True):
        carries = bool(port.get("nodePort")) and spec["type"] in ("NodePort", "LoadBalancer")
        is_copied = needs_ports(spec) and bool(was and needs_ports(was) and had.get(name))
        fate = "kept" if carries or is_copied else "new" if needs_ports(spec) else "none"
        fates.append((name, port["port"], fate))
    return fates


def look_at(spec: Json, was: Json | None) -> Json:
    """The same picture, of what the server made."""
    before = was or {}

    def fate(number: Any, had: Any) -> str:
        return "none" if not number else "kept" if number in had else "new"

    numbers = {port["nodePort"] for port in before.get("ports", ()) if port.get("nodePort")}
    addresses = [] if spec.get("clusterIP", "None") == "None" else spec["clusterIPs"]
    fields = ("externalTrafficPolicy", "allocateLoadBalancerNodePorts", "loadBalancerClass")
    return {
        "type": spec["type"],
        "affinity": spec["sessionAffinity"],
        "name": spec.get("externalName", ""),
        "internal": spec.get("internalTrafficPolicy", ""),
        **{field: spec.get(field) for field in fields},
        "ranges": spec.get("loadBalancerSourceRanges", []),
        "families": spec.get("ipFamilies", []),
        "policy": spec.get("ipFamilyPolicy", ""),
        "addresses": [fate(address, before.get("clusterIPs", ())) for address in addresses],
        "ports": [(p.get("name", ""), p["port"], fate(p.get("nodePort"), numbers)) for p in spec["ports"]],
        "health": fate(spec.get("healthCheckNodePort"), {before.get("healthCheckNodePort")}),
    }


# The play.


@dataclass(frozen=True)
class Write:
    action: str
    name: str
    shape: Json
    reply: Reply
    first_revision: int
    last_revision: int

    def wanted(self, was: Json | None) -> Json:
        """The spec that this asks for when the stored one is `was`."""
        if self.action == "patch" and was is not None:
            return {**was, **self.shape}
        spec: Json = make_service(self.name, **self.shape)["spec"]
        return spec

    def is_explained_by(self, was: Json | None) -> bool:
        """Whether the reply is what the rules make of this state."""
        if was is None and self.action in ("patch", "delete"):
            return self.reply.status == 404
        if self.action == "delete":
            return self.reply.status == 200
        base = None if self.action == "create" else was
        try:
            expected = foretell(self.wanted(was), base)
        except Refused:
            return self.reply.status == 422
        if self.action == "create" and was is not None:
            return self.reply.status == 409
        if self.reply.status != (201 if was is None else 200):
            return False
        return look_at(self.reply.body["spec"], base) == expected


History = list[tuple[int, Json | None]]
"""Of one name: from which revision on, which spec."""


async def play(ask: Conversation, store: SlowStore, actions: Actions) -> list[Write]:
    writes = []
    for action, name, shape, turns in actions:
        store.turns = turns
        path = f"{SERVICES}/{name}"
        first = store.current_revision
        if action == "create":
            reply = await ask("POST", SERVICES, make_service(name, **shape))
        elif action == "put":
            reply = await ask("PUT", path, make_service(name, **shape))
        elif action == "patch":
            reply = await ask.patch(path, {"spec": shape})
        else:
            reply = await ask("DELETE", path)
        writes.append(Write(action, name, shape, reply, first, store.current_revision))
    return writes


def remember(events: list[Json]) -> dict[str, History]:
    histories: dict[str, History] = {"a": [(0, None)], "b": [(0, None)]}
    for event in events:
        obj = event["object"]
        spec = None if event["type"] == "DELETED" else obj["spec"]
        histories[obj["metadata"]["name"]].append((int(obj["metadata"]["resourceVersion"]), spec))
    return histories


def states_met(write: Write, history: History) -> list[Json | None]:
    """The states that were there at some time while the request ran."""
    revisions = [revision for revision, _ in history]
    start = max(index for index, revision in enumerate(revisions) if revision <= write.first_revision)
    return [spec for revision, spec in history[start:] if revision <= write.last_revision]


def check_success(revision: int, writes: list[Write], history: History) -> None:
    """Of the writes that were answered with one state, one made it of the state before; the others changed nothing."""
    position = [at for at, _ in history].index(revision)
    before, after = history[position - 1][1], history[position][1]
    assert all(write.reply.body["spec"] == after for write in writes), "a reply is what is stored"
    makers = [write for write in writes if write.is_explained_by(before)]
    assert makers, (writes, before)
    assert all(write in makers or write.is_explained_by(after) for write in writes), (writes, before, after)


@settings(max_examples=100, deadline=None)
@given(clients_at_once())
def test_every_write_is_what_the_rules_make_of_the_state_that_it_met(clients: list[Actions]) -> None:
    store = SlowStore()

    async def conversation(ask: Conversation) -> None:
        watch = await ask.watch(SERVICES)
        played = await asyncio.gather(*(play(ask, store, actions) for actions in clients))
        histories = remember(await watch.events())
        by_revision: dict[tuple[str, int], list[Write]] = {}
        for write in (write for writes in played for write in writes):
            if write.reply.status in (200, 201) and write.action != "delete":
                revision = int(write.reply.body["metadata"]["resourceVersion"])
                by_revision.setdefault((write.name, revision), []).append(write)
            else:
                met = states_met(write, histories[write.name])
                assert any(write.is_explained_by(state) for state in met), (write, met)
        for (name, revision), writes in by_revision.items():
            check_success(revision, writes, histories[name])

    talk(conversation, store=store, config=CONFIG)


def test_the_oracle_can_tell_right_from_wrong() -> None:
    """A test of the test: a node port that moved is not explained."""

    async def conversation(ask: Conversation) -> None:
        first = await ask("POST", SERVICES, make_service("a", type="NodePort"))
        second = await ask("PUT", f"{SERVICES}/a", make_service("a", type="NodePort"))
        write = Write("put", "a", {"type": "NodePort"}, second, 0, 0)
        assert write.is_explained_by(first.body["spec"])
        moved = copy.deepcopy(second.body)
        moved["spec"]["ports"][0]["nodePort"] += 1
        wrong = Write("put", "a", {"type": "NodePort"}, Reply(200, {}, moved, b""), 0, 0)
        assert not wrong.is_explained_by(first.body["spec"])

    talk(conversation)
