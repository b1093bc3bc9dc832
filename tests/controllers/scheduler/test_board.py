"""Laws of `board.py`: what is kept from change to change equals what is counted anew."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.service.types import Service
from seaway.controllers.scheduler.board import MAX_TALLIES, Board, Group
from seaway.controllers.scheduler.plan import key_of, put_on
from seaway.controllers.scheduler.pod import PlacedPod, PodTerm
from seaway.testing.builders import make_service
from tests.controllers.scheduler.boards import affinity, board, near, node, pod

WEB = pod(affinity=affinity("podAffinity", near("web"))).wants.near
ANYWHERE = pod(affinity=affinity("podAffinity", near("web", namespaceSelector={}))).wants.near
LABELLED = pod(affinity=affinity("podAffinity", near("web", namespaceSelector={"matchLabels": {"t": "1"}}))).wants.near
GROUPS = [Group(terms, ending) for terms in (WEB, ANYWHERE, LABELLED) for ending in (True, False)]


def variant(name: int, namespace: str, app: str, node_name: str, is_ending: bool, cpu: str) -> tuple[str, PlacedPod]:
    meta = {"deletionTimestamp": "2026-01-01T00:00:00Z"} if is_ending else {}
    meta |= {"ownerReferences": [{"controller": True, "uid": app}]}
    made = pod(f"p{name}", namespace=namespace, labels={"app": app}, meta=meta, requests={"cpu": cpu},
               affinity={"podAntiAffinity": {
                   "requiredDuringSchedulingIgnoredDuringExecution": [near(app)],
                   "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": near(app)}],
               }})  # fmt: skip
    return key_of(made), put_on(made, node_name)


CHANGES = st.lists(
    st.tuples(
        st.booleans(),
        st.builds(
            variant,
            st.integers(0, 4),
            st.sampled_from(["default", "shop"]),
            st.sampled_from(["web", "db"]),
            st.sampled_from(["n1", "n2", "gone"]),
            st.booleans(),
            st.sampled_from(["0", "1"]),
        ),
    ),
    max_size=30,
)


@given(CHANGES, st.sets(st.sampled_from(["default", "shop"])))
def test_what_is_kept_equals_what_is_counted_anew(
    changes: list[tuple[bool, tuple[str, PlacedPod]]], told: set[str]
) -> None:
    kept, now = board([node("n1"), node("n2")]), {}
    for group in GROUPS:
        kept.tally(group)
    for is_there, (key, one) in changes:
        if is_there:
            kept.put_pod(key, one)
            now[key] = one
        else:
            kept.drop_pod(key)
            now.pop(key, None)
    for name in sorted(told):
        kept.put_namespace(name, {"t": "1"})
    fresh = board([node("n1"), node("n2")])
    for name in told:
        fresh.put_namespace(name, {"t": "1"})
    for key, one in now.items():
        fresh.put_pod(key, one)
    assert [dict(kept.tally(g)) for g in GROUPS] == [dict(fresh.tally(g)) for g in GROUPS]
    assert kept.far == fresh.far
    assert kept.preferring == fresh.preferring
    assert kept.rows.keys() == fresh.rows.keys()
    for name, row in fresh.rows.items():
        mine = kept.rows[name]
        assert (mine.pods, +mine.used, +mine.scored, mine.ports) == (row.pods, +row.used, +row.scored, row.ports)
    for one in now.values():
        assert dict(kept.count_siblings(one)) == dict(fresh.count_siblings(one))


def test_pods_of_one_service_are_siblings_when_nobody_owns_them() -> None:
    made = board([node("n")], [(pod(f"p{i}", labels={"app": "web"}), "n") for i in range(3)])
    assert not made.count_siblings(pod("new", labels={"app": "web"}))
    made.put_service("default/web", msgspec.convert(make_service("web"), Service))
    assert dict(made.count_siblings(pod("new", labels={"app": "web"}))) == {"n": 3}
    made.put_service("default/web", None)
    assert not made.count_siblings(pod("new", labels={"app": "web"}))


def test_tallies_are_bounded() -> None:
    made = Board()
    for n in range(MAX_TALLIES + 10):
        made.tally(Group((PodTerm("", None, frozenset((f"ns{n}",))),)))
    assert len(made._tallies) == MAX_TALLIES
    assert len(made._scopes) == MAX_TALLIES
