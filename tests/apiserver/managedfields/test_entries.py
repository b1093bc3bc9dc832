"""The entries of managedFields. Rule: spec "api-machinery" §5.5, §4.2."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.apiserver.managedfields.entries import (
    ANCIENT_CHANGES,
    MAX_UPDATE_ENTRIES,
    Entry,
    differ_in_times_only,
    fold_ancient,
    read_entries,
    render_entries,
)
from seaway.apiserver.managedfields.tracking import choose_manager
from tests.apiserver.managedfields.paths import to_paths

Json = dict[str, Any]
FIELDS: Json = {"f:data": {}}


def make_entry(
    manager: str, operation: str = "Update", *, version: str = "v1", time: int = 0, fields: Json = FIELDS, sub: str = ""
) -> Entry:
    return Entry(manager, operation, version, fields, sub, f"2026-01-02T12:00:{time:02}Z" if time else "")


def by_identity(*entries: Entry) -> dict[Any, Entry]:
    return {entry.identity: entry for entry in entries}


def test_an_entry_on_the_wire() -> None:
    (shown,) = render_entries(by_identity(make_entry("m", "Apply", time=5, sub="status")))
    assert list(shown.items()) == [
        ("manager", "m"),
        ("operation", "Apply"),
        ("apiVersion", "v1"),
        ("time", "2026-01-02T12:00:05Z"),
        ("fieldsType", "FieldsV1"),
        ("fieldsV1", {"f:data": {}}),
        ("subresource", "status"),
    ]
    (nameless,) = render_entries(by_identity(make_entry("")))
    assert "manager" not in nameless, "as the schema stores it, so that a PUT of it changes nothing"


@pytest.mark.parametrize(
    ("other", "same"),
    [
        pytest.param(make_entry("m", time=9, fields={"f:x": {}}), True, id="neither time nor fields"),
        pytest.param(make_entry("n"), False, id="the manager"),
        pytest.param(make_entry("m", "Apply"), False, id="the operation"),
        pytest.param(make_entry("m", sub="status"), False, id="the subresource"),
        pytest.param(make_entry("m", version="v2"), False, id="the version of an update"),
    ],
)
def test_what_tells_entries_apart(other: Entry, same: bool) -> None:
    assert (make_entry("m").identity == other.identity) == same


def test_the_version_of_an_apply_does_not_tell_entries_apart() -> None:
    assert make_entry("m", "Apply").identity == make_entry("m", "Apply", version="v2").identity


def test_the_order_of_entries() -> None:
    wanted = [
        make_entry("z", "Apply"),
        make_entry("a", "Apply", time=1),
        make_entry("b", "Apply", time=1),
        make_entry("b", "Apply", time=1, sub="status"),
        make_entry("c"),
        make_entry("b", time=1),
        make_entry("b", version="v2", time=1),
        make_entry("a", time=2),
    ]
    shown = render_entries(by_identity(*reversed(wanted)))
    assert list(read_entries(shown).values()) == wanted


ENTRIES = st.lists(
    st.builds(
        make_entry,
        st.sampled_from([*(f"m{n}" for n in range(16)), ANCIENT_CHANGES]),
        st.sampled_from(["Update", "Update", "Update", "Apply"]),
        version=st.sampled_from(["v1", "v1", "v2"]),
        time=st.integers(0, 9),
        fields=st.sets(st.sampled_from("abcdef"), min_size=1).map(lambda names: {f"f:{name}": {} for name in names}),
    ),
    max_size=30,
)


@given(ENTRIES)
def test_folding_keeps_every_field_and_at_most_ten_updates(entries: list[Entry]) -> None:
    before = by_identity(*entries)
    after = fold_ancient(before)
    updates = [entry for entry in after.values() if entry.operation == "Update"]
    versions = {entry.api_version for entry in updates}
    had = [entry for entry in before.values() if entry.operation == "Update"]
    assert len(updates) <= max(MAX_UPDATE_ENTRIES, len(versions))
    assert len(updates) == min(len(had), MAX_UPDATE_ENTRIES) or any(e.manager == ANCIENT_CHANGES for e in had)
    for version in versions:
        fields = [{p for e in side if e.api_version == version for p in to_paths(e.fields)} for side in (had, updates)]
        assert fields[0] == fields[1]
    assert [e for e in after.values() if e.operation == "Apply"] == entries_of(before, "Apply")
    assert all(identity == entry.identity for identity, entry in after.items())
    assert fold_ancient(after) == after


def entries_of(entries: dict[Any, Entry], operation: str) -> list[Entry]:
    return [entry for entry in entries.values() if entry.operation == operation]


def test_the_oldest_are_folded_into_a_bucket_of_their_version() -> None:
    fields = [{f"f:{n:x}": {}} for n in range(13)]
    entries = [
        make_entry(f"m{n:02}", time=n + 1, fields=fields[n], version="v2" if n == 1 else "v1") for n in range(13)
    ]
    after = fold_ancient(by_identity(*entries))
    bucket = after["Update", ANCIENT_CHANGES, "v1", ""]
    assert to_paths(bucket.fields) == {("f:0",), ("f:2",), ("f:3",), ("f:4",)}
    assert bucket.time == entries[4].time, "that of the youngest in it"
    assert after[entries[1].identity] == entries[1], "alone of its version, it stays as it is"


def test_a_bucket_that_is_younger_than_what_goes_into_it_keeps_its_own() -> None:
    bucket = make_entry(ANCIENT_CHANGES, time=30, fields={"f:old": {}})
    others = [make_entry(f"m{n:02}", time=n + 1, fields={f"f:{n:x}": {}}) for n in range(10)]
    after = fold_ancient(by_identity(bucket, *others))
    assert to_paths(after[bucket.identity].fields) == {("f:old",), ("f:0",), ("f:1",)}
    assert after[bucket.identity].time == bucket.time and len(after) == 9


@pytest.mark.parametrize(
    ("change", "only"),
    [
        pytest.param({"time": "2027-01-01T00:00:00Z"}, True, id="another time"),
        pytest.param({"time": ""}, True, id="no time"),
        pytest.param({"manager": "n"}, False, id="another manager"),
        pytest.param({"fieldsV1": {"f:x": {}}}, False, id="other fields"),
    ],
)
def test_entries_that_differ_in_times_only(change: Json, only: bool) -> None:
    stored = render_entries(by_identity(make_entry("m", time=1), make_entry("o", time=2)))
    changed = [{**stored[0], **change}, stored[1]]
    assert differ_in_times_only(changed, stored) == only
    assert differ_in_times_only(list(reversed(changed)), stored) == only, "in whatever order that puts them"
    assert not differ_in_times_only(changed[:1], stored)


@given(st.text(max_size=300), st.text(max_size=300))
def test_a_writer_always_has_a_name_that_may_be_stored(manager: str, agent: str) -> None:
    name = choose_manager("", agent)
    assert name and name.isprintable() and "/" not in name and len(name.encode()) <= 128
    assert choose_manager(manager, agent) == (manager or name)
