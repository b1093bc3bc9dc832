"""Rule: spec "controllers" §1.9 (vectors and laws)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seaway.api.endpointslice.types import Endpoint, EndpointConditions, EndpointSlice
from seaway.api.machinery.meta import ObjectReference
from seaway.controllers.endpointslice.pack import Packing, identify_endpoint, pack_endpoints
from tests.controllers.endpointslice.slices import make_existing


def endpoint(n: int, *, ready: bool = True) -> Endpoint:
    return Endpoint(
        addresses=(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}",),
        conditions=EndpointConditions(ready, ready, False),
        target_ref=ObjectReference(kind="Pod", namespace="default", name=f"p{n}", uid=f"u{n}"),
    )


def pack(existing: Sequence[EndpointSlice], wanted: Sequence[Endpoint], limit: int) -> Packing:
    desired = {identify_endpoint(e): e for e in wanted}
    return pack_endpoints(existing, desired, max_endpoints=limit, needs_rewrite=lambda slice_: False)


def fill(sizes: Sequence[int]) -> list[EndpointSlice]:
    slices, start = [], 0
    for name, size in zip("ABC", sizes, strict=False):
        slices.append(make_existing(name, [endpoint(n) for n in range(start, start + size)]))
        start += size
    return slices


def keep(sizes: Sequence[int], gone: Sequence[int], new: int) -> list[Endpoint]:
    return [endpoint(n) for n in range(sum(sizes)) if n not in gone] + [endpoint(10_000 + n) for n in range(new)]


VECTORS = [
    ("none, 250 new Pods", [], [], 250, [100, 100, 50], {}),
    ("A100 B60, 30 new", [100, 60], [], 30, [], {"B": 90}),
    ("A90 B80, 15 new: A cannot take them", [90, 80], [], 15, [], {"B": 95}),
    ("A90 B80, 10 new: an exact fit", [90, 80], [], 10, [], {"A": 100}),
    ("A95 B95, 10 new: never split over unchanged slices", [95, 95], [], 10, [10], {}),
    ("A40, 110 new", [40], [], 110, [100], {"A": 50}),
    ("A100 B100, one of A replaced", [100, 100], [3], 1, [], {"A": 100}),
    ("A100 B50, one of A gone, 51 new", [100, 50], [3], 51, [], {"A": 100, "B": 100}),
]


@pytest.mark.parametrize(
    ("sizes", "gone", "new", "create", "update"), [v[1:] for v in VECTORS], ids=[v[0] for v in VECTORS]
)
def test_vectors(sizes: list[int], gone: list[int], new: int, create: list[int], update: dict[str, int]) -> None:
    found = pack(fill(sizes), keep(sizes, gone, new), 100)
    assert [len(endpoints) for endpoints in found.create] == create
    assert {s.metadata.name: len(endpoints) for s, endpoints in found.update} == update
    assert not found.delete


def test_a_slice_that_loses_all_its_endpoints_is_deleted() -> None:
    found = pack(fill([2, 2]), [endpoint(2), endpoint(3)], 100)
    assert [s.metadata.name for s in found.delete] == ["A"]
    assert not found.update and not found.create


def test_a_condition_changes_its_slice_alone() -> None:
    found = pack(fill([2, 2]), [endpoint(0), endpoint(1, ready=False), endpoint(2), endpoint(3)], 100)
    assert [(s.metadata.name, e) for s, e in found.update] == [("A", (endpoint(0), endpoint(1, ready=False)))]


def test_a_slice_that_a_user_emptied_is_left() -> None:
    found = pack([make_existing("A", [])], [], 100)
    assert [s.metadata.name for s in found.unchanged] == ["A"]


@st.composite
def packings(draw: st.DrawFn) -> tuple[list[EndpointSlice], list[Endpoint], int]:
    limit = draw(st.integers(1, 5))
    groups = draw(st.lists(st.lists(st.integers(0, 14), max_size=5, unique=True), max_size=5))
    wanted = draw(st.lists(st.integers(0, 25), max_size=20, unique=True))
    unready = draw(st.sets(st.integers(0, 14), max_size=3))
    slices = [
        make_existing(f"s{i}", [endpoint(n, ready=n not in unready) for n in group]) for i, group in enumerate(groups)
    ]
    return slices, [endpoint(n) for n in wanted], limit


def carry_out(existing: Sequence[EndpointSlice], found: Packing) -> list[EndpointSlice]:
    updated = [make_existing(s.metadata.name, endpoints) for s, endpoints in found.update]
    created = [make_existing(f"z{i}", endpoints) for i, endpoints in enumerate(found.create)]
    return sorted([*found.unchanged, *updated, *created], key=lambda s: s.metadata.name)


@given(packings())
def test_laws(case: tuple[list[EndpointSlice], list[Endpoint], int]) -> None:
    existing, wanted, limit = case
    found = pack(existing, wanted, limit)
    after = carry_out(existing, found)
    held = [e for s in after for e in s.endpoints or ()]
    assert sorted(held, key=identify_endpoint) == sorted(wanted, key=identify_endpoint)
    assert all(len(endpoints) <= limit for endpoints in found.create)
    for slice_, endpoints in found.update:
        assert len(endpoints) <= max(limit, len(slice_.endpoints or ()))
        assert endpoints != slice_.endpoints
    assert all(slice_ in existing for slice_ in (*found.unchanged, *found.delete))
    again = pack(after, wanted, limit)
    assert not (again.create or again.update or again.delete)
    assert sorted(again.unchanged, key=lambda s: s.metadata.name) == after


def count_fewest_writes(existing: Sequence[EndpointSlice], wanted: Sequence[Endpoint], limit: int) -> int:
    """Slow and obvious: what must be written, plus new slices for what its room cannot hold.

    One unchanged slice may be taken up instead of a new one, which costs the same.
    """
    keys = {identify_endpoint(e): e for e in wanted}
    forced = deleted = room = 0
    seen: set[object] = set()
    for slice_ in existing:
        mine = [identify_endpoint(e) for e in slice_.endpoints or ()]
        kept = [k for k in mine if k in keys and k not in seen]
        is_same = len(kept) == len(mine) and all(keys[identify_endpoint(e)] == e for e in slice_.endpoints or ())
        seen.update(kept)
        if is_same:
            continue
        if not kept:
            deleted += 1
        else:
            forced += 1
            room += max(0, limit - len(kept))
    rest = max(0, len(keys.keys() - seen) - room)
    return forced + deleted + -(-rest // limit)


@settings(max_examples=200)
@given(packings())
def test_no_more_is_written_than_must_be(case: tuple[list[EndpointSlice], list[Endpoint], int]) -> None:
    existing, wanted, limit = case
    found = pack(existing, wanted, limit)
    written = len(found.create) + len(found.update) + len(found.delete)
    assert written == count_fewest_writes(existing, wanted, limit)
