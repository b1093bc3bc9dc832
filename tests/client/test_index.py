from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from seaway.client.index import Change, Index, diff_objects

Cache = dict[str, tuple[str, tuple[str, ...]]]  # key -> version, labels
caches = st.dictionaries(
    st.sampled_from("abcde"), st.tuples(st.sampled_from("12"), st.lists(st.sampled_from("xyz"), max_size=2).map(tuple))
)


def labels_of(obj: tuple[str, tuple[str, ...]]) -> tuple[str, ...]:
    return obj[1]


@given(st.lists(caches, max_size=5))
def test_an_index_of_changes_equals_one_built_anew(states: list[Cache]) -> None:
    index: Index[tuple[str, tuple[str, ...]], str] = Index(labels_of)
    have: Cache = {}
    for want in states:
        for key in sorted(have.keys() | want.keys()):
            index.apply(Change(key, have.get(key), want.get(key)))
        have = want
    assert {v: set(index.get(v)) for v in index.values()} == {
        v: keys for v in "xyz" if (keys := {k for k, o in have.items() if v in o[1]})
    }
    assert not index.get("unknown")


@given(caches, caches)
def test_a_diff_leads_from_one_state_to_the_other(have: Cache, want: Cache) -> None:
    before = dict(have)
    changes = list(diff_objects(have, want, lambda key: have[key][0] == want[key][0]))
    assert have == before
    assert [c.key for c in changes] == sorted(c.key for c in changes)
    result = dict(have)
    for change in changes:
        assert change.old == have.get(change.key)
        if change.new is None:
            del result[change.key]
        else:
            result[change.key] = change.new
    assert {k: o[0] for k, o in result.items()} == {k: o[0] for k, o in want.items()}


def test_equal_versions_are_no_change() -> None:
    assert not list(diff_objects({"a": "1"}, {"a": "1"}, lambda key: True))
