"""Packets to a Service that asks for user space, through the kernel's rendered rules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from seaway.net.family import Family
from seaway.proxy.config import NodeView
from seaway.proxy.forwarding import Frontend, Target
from seaway.proxy.nftables.objects import Chain, Structure
from seaway.proxy.nftables.plane import NftablesPlane
from seaway.proxy.proxier import Proxier
from seaway.proxy.showing.plan import compare, plan_ruleset
from seaway.proxy.splitting.plane import SplitPlane
from seaway.testing.packets import DROPPED, REJECTED, Packet, trace
from tests.proxy.scene import LOCAL_OUT, NODE, PLACES, RANGES, SOURCES, Scene
from tests.proxy.splitting.test_plane import Recorded

LISTENER = Target(NODE, 40000)


def find_listener(key: str, frontend: Frontend) -> Target:
    return LISTENER


def make(endpoints: str, **spec: Any) -> Scene:
    """A node in step, whose Service asks for user space."""
    scene = Scene()
    nftables = NftablesPlane(scene.kernel, scene.config, Family.IPV4)
    userspace = Recorded("userspace", [])
    plane = SplitPlane(nftables, userspace, find_listener=find_listener, is_holding=lambda key: False)
    scene.proxier = Proxier({Family.IPV4: plane}, scene.proxier.node)
    scene.serve(meta={"annotations": {"seaway.dev/plane": "userspace"}}, **spec)
    scene.endpoints(endpoints)
    scene.sync()
    return scene


def ask(source: str, place: str, endpoints: str, **spec: Any) -> set[tuple[str, bool]]:
    """Where the packet arrives, and whether its source is replaced on the way."""
    scene = make(endpoints, **spec)
    packet = Packet(SOURCES[Family.IPV4][source], *PLACES[Family.IPV4][place])
    fates = trace(scene.ruleset(), packet, host=scene.host)
    verdicts = {REJECTED: "REJECT", DROPPED: "DROP"}
    return {(verdicts.get(fate) or fate.arrives or "", fate.masqueraded) for fate in fates}


TABLE: dict[str, tuple[str, str, str, dict[str, Any], set[tuple[str, bool]]]] = {
    "a Pod asks the cluster IP": ("P", "cluster", "L+ R+", {}, {("listener", False)}),
    "an endpoint asks its own Service": ("L", "cluster", "L+", {}, {("listener", False)}),
    "a client outside asks the cluster IP": ("C", "cluster", "L+ R+", {}, {("listener", False)}),
    "a client outside asks a node port": ("C", "node", "L+ R+", {}, {("listener", False)}),
    "a client outside asks an external IP": ("C", "external", "R+", {}, {("listener", False)}),
    "a client outside asks a load balancer IP": ("C", "lb", "R+", {}, {("listener", False)}),
    "external Local with an endpoint here": ("C", "lb", "L+ R+", LOCAL_OUT, {("listener", False)}),
    "external Local without one": ("C", "lb", "R+", LOCAL_OUT, {("DROP", False)}),
    "external Local from a Pod": ("P", "lb", "R+", LOCAL_OUT, {("listener", False)}),
    "no endpoints": ("P", "cluster", "", {}, {("REJECT", False)}),
    "in the source ranges": ("C", "lb", "L+", RANGES, {("listener", False)}),
    "not in the source ranges": ("B", "lb", "L+", RANGES, {("DROP", False)}),
}


@pytest.mark.parametrize(("source", "place", "endpoints", "spec", "wanted"), TABLE.values(), ids=TABLE.keys())
def test_the_kernel_leads_to_the_listener_and_keeps_the_source(
    source: str, place: str, endpoints: str, spec: dict[str, Any], wanted: set[tuple[str, bool]]
) -> None:
    names = {f"{LISTENER.address}:{LISTENER.port}": "listener"}
    assert {(names.get(arrives, arrives), masq) for arrives, masq in ask(source, place, endpoints, **spec)} == wanted


@pytest.mark.parametrize("place", ["cluster", "node", "external", "lb"])
def test_the_node_itself_reaches_the_listener(place: str) -> None:
    assert {arrives for arrives, _ in ask("N", place, "R+")} == {f"{LISTENER.address}:{LISTENER.port}"}


@pytest.mark.parametrize("spec", [{}, LOCAL_OUT, {"sessionAffinity": "ClientIP"}], ids=["", "Local", "affinity"])
def test_what_is_shown_of_a_table_in_step_differs_in_nothing(spec: dict[str, Any]) -> None:
    scene = make("L+ R+", **spec)
    have = scene.ruleset()
    chains = {name: Chain(None, chain.hook) for name, chain in have.structure.chains.items()}
    as_read = replace(have, structure=Structure(have.structure.sets, chains))
    node = NodeView("N", "", (NODE,))
    want = plan_ruleset(
        scene.services.values(), scene.slices.values(), config=scene.config, node=node, family=Family.IPV4, found=have
    )
    assert compare(as_read, frozenset(), want).is_empty
