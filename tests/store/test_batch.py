"""Group commit: a batch is what its commits would be one after the other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from seaway.store.batch import Batch, Commit, Version, list_keys, plan_batch
from seaway.store.contract import Event, Precondition, PreconditionFailed, Write

keys = st.sampled_from("abc")
commits = st.lists(
    st.builds(
        Commit,
        st.lists(st.builds(Precondition, keys, st.integers(0, 6)), max_size=2),
        st.lists(st.builds(Write, keys, st.none() | st.binary(max_size=1)), max_size=2, unique_by=lambda w: w.key),
    ),
    max_size=8,
)


def comparable(batch: Batch) -> tuple[object, ...]:
    outcomes = [o if isinstance(o, tuple) else (type(o), str(o), vars(o)) for o in batch.outcomes]
    return batch.rows, batch.events, outcomes, batch.revision


@given(commits)
def test_a_batch_equals_its_commits_one_by_one(asked: list[Commit]) -> None:
    whole = plan_batch({}, asked, 1)
    newest: dict[str, Version] = {}
    parts: list[Batch] = []
    revision = 1
    for commit in asked:
        parts.append(plan_batch(newest, [commit], revision))
        newest.update(parts[-1].rows)
        revision = parts[-1].revision
    joined = Batch(
        tuple(row for part in parts for row in part.rows),
        tuple(event for part in parts for event in part.events),
        tuple(outcome for part in parts for outcome in part.outcomes),
        revision,
    )
    assert comparable(whole) == comparable(joined)
    assert [version.revision for _, version in whole.rows] == list(range(2, whole.revision + 1))


def test_a_refused_commit_in_the_middle_consumes_no_revision() -> None:
    batch = plan_batch(
        {"a": Version(7, 3, b"old")},
        [
            Commit([Precondition("a", 7)], [Write("a", b"new")]),
            Commit([Precondition("a", 7)], [Write("a", b"late")]),
            Commit((), [Write("a", None)]),
        ],
        9,
    )
    assert batch.outcomes[0] == (10,)
    assert isinstance(batch.outcomes[1], PreconditionFailed) and batch.outcomes[1].current_revision == 10
    assert batch.outcomes[2] == (11,)
    assert batch.rows == (("a", Version(10, 3, b"new", 7)), ("a", Version(11, 3, None, 10)))
    assert batch.events == (Event("a", 10, b"new", b"old"), Event("a", 11, None, b"new"))


def test_keys_are_listed_once_in_order_of_use() -> None:
    assert list_keys([Commit([Precondition("b", 0)], [Write("a", b"")]), Commit((), [Write("b", b"")])]) == ["b", "a"]
