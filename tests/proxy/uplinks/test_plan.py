"""Which links are served and guarded, and what is restored. Rule: design.md §12, spec "node" §4.4."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.net.family import Family
from seaway.proxy.uplinks.plan import (
    Enabled,
    HostLinks,
    Link,
    Record,
    UplinkPlan,
    decode_record,
    encode_record,
    plan_restore,
    plan_uplinks,
)

NODE = "192.0.2.10"
UP = Link("up0", 2, (NODE,), has_default_route=True)
ON_RECORD = Enabled("IPv4", "up0", 2, False)


def host(*links: Link, all_forward: bool = False) -> HostLinks:
    return HostLinks(Family.IPV4, links, all_forward)


def forwarding(link: Link) -> Link:
    return replace(link, forwards=True)


TURNED_ON = UplinkPlan((ON_RECORD,), ("up0",))
GUARDED = UplinkPlan((ON_RECORD,), ())
NOTHING = UplinkPlan()
TABLE: list[tuple[str, HostLinks, tuple[Enabled, ...], UplinkPlan]] = [
    ("a link with the node's address is served", host(Link("up0", 2, (NODE,))), (), TURNED_ON),
    ("a link with the default route is served", host(Link("up0", 2, has_default_route=True)), (), TURNED_ON),
    ("a link with another address is not", host(Link("up0", 2, ("198.51.100.1",))), (), NOTHING),
    ("a link that forwards already is left alone and not guarded", host(forwarding(UP)), (), NOTHING),
    ("a link that forwards because of us stays guarded", host(forwarding(UP)), (ON_RECORD,), GUARDED),
    ("a start that ended between record and switch goes on", host(UP), (ON_RECORD,), TURNED_ON),
    (
        "a link that is no uplink any more stays guarded",
        host(Link("up0", 2, forwards=True)),
        (ON_RECORD,),
        GUARDED,
    ),
    (
        "and is not turned on again",
        host(Link("up0", 2)),
        (ON_RECORD,),
        GUARDED,
    ),
    ("a link that is gone is forgotten", host(), (ON_RECORD,), NOTHING),
    (
        "a link of the same name that forwards is another's",
        host(replace(forwarding(UP), index=9)),
        (ON_RECORD,),
        NOTHING,
    ),
    (
        "a link of the same name that does not forward is served anew",
        host(replace(UP, index=9)),
        (ON_RECORD,),
        UplinkPlan((replace(ON_RECORD, index=9),), ("up0",)),
    ),
    (
        "forwarding that somebody turned on for all links since is theirs",
        host(forwarding(UP), all_forward=True),
        (ON_RECORD,),
        NOTHING,
    ),
    (
        "a link that was off though all were on is ours",
        host(forwarding(UP), all_forward=True),
        (replace(ON_RECORD, all_forwarded=True),),
        UplinkPlan((replace(ON_RECORD, all_forwarded=True),), ()),
    ),
    ("another family's record says nothing", host(forwarding(UP)), (replace(ON_RECORD, family="IPv6"),), NOTHING),
    (
        "a name that no rule can hold is refused",
        host(Link('up"*', 2, (NODE,))),
        (),
        UplinkPlan(refused=('up"*',)),
    ),
]


@pytest.mark.parametrize(("links", "enabled", "expected"), [r[1:] for r in TABLE], ids=[r[0] for r in TABLE])
def test_plan(links: HostLinks, enabled: tuple[Enabled, ...], expected: UplinkPlan) -> None:
    assert plan_uplinks(links, enabled, (NODE,)) == expected


@pytest.mark.parametrize(
    ("links", "expected"),
    [
        (host(forwarding(UP)), ("up0",)),
        (host(UP), ()),
        (host(), ()),
        (host(replace(forwarding(UP), index=9)), ()),
        (host(forwarding(UP), all_forward=True), ()),
        (host(forwarding(UP), forwarding(Link("eth1", 3))), ("up0",)),
    ],
    ids=[
        "what was turned on is turned off",
        "what is off already stays off",
        "a link that is gone needs nothing",
        "another link of the same name is left alone",
        "where all forward by now the link goes on",
        "what is not on record is left alone",
    ],
)
def test_restore(links: HostLinks, expected: tuple[str, ...]) -> None:
    assert plan_restore(links, (ON_RECORD,)) == expected


link_names = st.sampled_from(("up0", "up1", "eth0.100", "bad name"))
links = st.builds(Link, link_names, st.integers(2, 4), st.sampled_from(((), (NODE,))), st.booleans(), st.booleans())
hosts = st.builds(
    HostLinks,
    st.just(Family.IPV4),
    st.lists(links, unique_by=(lambda link: link.name, lambda link: link.index)).map(tuple),
    st.booleans(),
)
records = st.lists(
    st.builds(Enabled, st.just("IPv4"), link_names, st.integers(2, 4), st.booleans()),
    unique_by=lambda e: e.name,
).map(tuple)


@given(hosts, records)
def test_what_is_turned_on_is_guarded_then_settled_and_then_restored(
    before: HostLinks, enabled: tuple[Enabled, ...]
) -> None:
    plan = plan_uplinks(before, enabled, (NODE,))
    assert set(plan.turn_on) <= {e.name for e in plan.enabled}
    after = replace(
        before, links=tuple(replace(link, forwards=link.forwards or link.name in plan.turn_on) for link in before.links)
    )
    assert plan_uplinks(after, plan.enabled, (NODE,)) == replace(plan, turn_on=())
    assert set(plan.turn_on) <= set(plan_restore(after, plan.enabled))


@given(records)
def test_a_record_survives_the_disk(enabled: tuple[Enabled, ...]) -> None:
    record = Record("4711", tuple(sorted(enabled)))
    assert decode_record(encode_record(record)) == record


UNKNOWN_FAMILY = b'{"bootID": "x", "links": [{"family": "x", "name": "up0", "index": 2, "allForwarded": false}]}'


@pytest.mark.parametrize(
    "torn", [b"", b"{", b"[]", b'{"bootID": "x", "links": [{}]}', b'{"links": []}', UNKNOWN_FAMILY]
)
def test_what_is_no_record_is_refused(torn: bytes) -> None:
    with pytest.raises(ValueError, match="no record of uplinks"):
        decode_record(torn)
