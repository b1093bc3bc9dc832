"""Law: what is compared with itself differs in nothing; what differs is what a sync would send."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from seaway.api.endpointslice.types import EndpointSlice
from seaway.api.service.types import Service
from seaway.net.family import Family
from seaway.proxy.config import NodeView, ProxyConfig
from seaway.proxy.nftables.diff import SetRules
from seaway.proxy.nftables.objects import Chain, Ruleset, Structure
from seaway.proxy.nftables.text import render_text, render_transaction
from seaway.proxy.showing.plan import compare, plan_ruleset
from seaway.testing.builders import make_service, make_slice

WEB = msgspec.convert(make_service("web", clusterIP="10.96.0.10"), Service)
TWO = msgspec.convert(make_slice("web-1", "web", ["10.244.0.2", "10.244.0.3"]), EndpointSlice)


def plan(piece: EndpointSlice = TWO, found: Ruleset | None = None) -> Ruleset:
    return plan_ruleset(
        [WEB], [piece], config=ProxyConfig(node_name="n"), node=NodeView("n"), family=Family.IPV4, found=found
    )


def as_read(ruleset: Ruleset) -> Ruleset:
    """As a kernel's listing tells it: rules unknown."""
    chains = {name: Chain(None, chain.hook) for name, chain in ruleset.structure.chains.items()}
    return replace(ruleset, structure=Structure(ruleset.structure.sets, chains))


def test_the_wanted_table_as_text() -> None:
    assert "10.96.0.10 . tcp . 80 : goto pick-2" in render_text(plan())


def test_a_table_in_step_differs_in_nothing() -> None:
    assert compare(as_read(plan()), frozenset(), plan()).is_empty


def test_endpoints_stay_in_the_slots_in_which_they_are_found() -> None:
    turned = msgspec.convert(make_slice("web-1", "web", ["10.244.0.3", "10.244.0.4"]), EndpointSlice)
    text = render_transaction(compare(as_read(plan()), frozenset(), plan(turned, plan())), Family.IPV4)
    assert (
        "replace element slot-0 10.96.0.10 . tcp . 80 : 10.244.0.2 . 8080 by 10.96.0.10 . tcp . 80 : 10.244.0.4 . 8080"
        in text
    )
    assert "slot-1" not in text
    assert "set rules" not in text


def test_an_altered_chain_is_named() -> None:
    commands = compare(as_read(plan()), frozenset(("translate",)), plan()).commands
    assert [c.name for c in commands if isinstance(c, SetRules)] == ["translate"]
