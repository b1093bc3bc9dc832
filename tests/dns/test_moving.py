"""Endpoints that move between slices. Rule: spec "discovery" A5.2."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from seaway.dns.answer import Answer
from seaway.dns.index import Index
from seaway.dns.moving import LINGER_SECONDS, Moves
from seaway.dns.objects import EndpointSlice
from tests.dns.fixture import ask, endpoints, headless, make_index


class Scene:
    """A headless Service `db2` whose slices come through a Moves."""

    def __init__(self) -> None:
        self.index: Index = make_index()
        self.index.apply_service(None, headless("db2"), wall_seconds=0)
        self.moves = Moves(self.index.slices_of)
        self.slices: dict[str, EndpointSlice] = {}

    def write(self, name: str, *addresses: str, now: float = 0.0, ready: bool = True, gone: bool = False,
              address_type: str = "IPv4", owner: str = "db2") -> list[object]:  # fmt: skip
        """A slice as the watch brings it; returns what was touched."""
        found = [(address, None, ready) for address in addresses]
        new = None if gone else endpoints(owner, *found, name=name, address_type=address_type)
        old = self.slices.pop(name, None)
        if new is not None:
            self.slices[name] = new
        return self.apply(self.moves.take(old, new, now)) if old or new else []

    def apply(self, changes: list[Any]) -> list[object]:
        return [source for old, new in changes for source in self.index.apply_slice(old, new, wall_seconds=0)]

    @property
    def addresses(self) -> list[str]:
        found = ask("db2.@ A", self.index)
        assert isinstance(found, Answer)
        return [".".join(map(str, record.rdata.packed)) for record in found.answer]  # type: ignore[union-attr]


def test_an_address_that_moves_is_there_all_the_time() -> None:
    scene = Scene()
    scene.write("s1", "10.0.0.1", "10.0.0.2")
    scene.write("s2", "10.0.0.3")
    scene.write("s1", "10.0.0.1")
    assert scene.addresses == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    scene.write("s2", "10.0.0.2", "10.0.0.3")
    assert scene.addresses == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    assert scene.moves.next_deadline() is None
    assert [each.metadata.name for each in scene.index.slices_of(("demo", "db2"))] == ["s1", "s2"]


def test_so_are_all_of_a_slice_that_is_deleted() -> None:
    scene = Scene()
    scene.write("s1", "10.0.0.1", "10.0.0.2")
    scene.write("s2", "10.0.0.3")
    scene.write("s1", gone=True)
    assert scene.addresses == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]


def test_its_reverse_name_stays_too() -> None:
    scene = Scene()
    scene.write("s1", "10.0.0.1", "10.0.0.2")
    scene.write("s2", "10.0.0.3")
    scene.write("s1", "10.0.0.1")
    assert isinstance(ask("2.0.0.10.in-addr.arpa PTR", scene.index), Answer)


def test_what_does_not_come_again_goes_after_a_second() -> None:
    scene = Scene()
    scene.write("s1", "10.0.0.1", "10.0.0.2")
    scene.write("s2", "10.0.0.3")
    scene.write("s1", "10.0.0.1", now=5.0)
    assert scene.moves.next_deadline() == 5.0 + LINGER_SECONDS
    assert scene.apply(scene.moves.expire(5.0 + LINGER_SECONDS - 0.1)) == []
    assert ("demo", "db2") in scene.apply(scene.moves.expire(5.0 + LINGER_SECONDS))
    assert scene.addresses == ["10.0.0.1", "10.0.0.3"]
    assert scene.moves.next_deadline() is None


def test_each_lingers_for_its_own_second() -> None:
    scene = Scene()
    scene.write("s1", "10.0.0.1", "10.0.0.2", "10.0.0.3")
    scene.write("s2", "10.0.0.4")
    scene.write("s1", "10.0.0.1", "10.0.0.2", now=0.0)
    scene.write("s1", "10.0.0.1", now=0.7)
    scene.apply(scene.moves.expire(1.0))
    assert scene.addresses == ["10.0.0.1", "10.0.0.2", "10.0.0.4"]
    scene.apply(scene.moves.expire(1.7))
    assert scene.addresses == ["10.0.0.1", "10.0.0.4"]


def test_an_endpoint_that_turns_unready_where_it_is_goes_at_once() -> None:
    scene = Scene()
    scene.write("s1", "10.0.0.1")
    scene.write("s2", "10.0.0.3")
    scene.write("s1", "10.0.0.1", ready=False)
    assert scene.addresses == ["10.0.0.3"]
    scene.write("s1")
    assert scene.addresses == ["10.0.0.3"]


def test_one_that_comes_again_unready_goes_at_once() -> None:
    scene = Scene()
    scene.write("s1", "10.0.0.1", "10.0.0.2")
    scene.write("s2", "10.0.0.3")
    scene.write("s1", "10.0.0.1")
    scene.write("s3", "10.0.0.2", ready=False)
    assert scene.addresses == ["10.0.0.1", "10.0.0.3"]


def test_without_another_slice_of_the_family_nothing_can_have_moved() -> None:
    scene = Scene()
    scene.write("s1", "10.0.0.1", "10.0.0.2")
    scene.write("s6", "fd00::1", address_type="IPv6")
    scene.write("other-1", "10.0.0.9", owner="twins")
    scene.write("s1", "10.0.0.1")
    assert scene.addresses == ["10.0.0.1"]
    scene.write("s1", gone=True)
    assert scene.addresses == []


def test_one_that_came_before_it_went_does_not_linger() -> None:
    scene = Scene()
    scene.write("s1", "10.0.0.1", "10.0.0.2")
    scene.write("s2", "10.0.0.2")
    scene.write("s1", "10.0.0.1")
    assert scene.moves.next_deadline() is None


steps = st.tuples(
    st.sampled_from(["s1", "s2", "s3"]),
    st.lists(st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3"]), max_size=3, unique=True),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["db2", "db2", "twins"]),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(steps, max_size=12))
def test_in_the_end_the_index_holds_what_the_slices_say(written: list[tuple[str, list[str], bool, bool, str]]) -> None:
    scene = Scene()
    for now, (name, addresses, ready, gone, owner) in enumerate(written):
        scene.write(name, *addresses, now=now / 10, ready=ready, gone=gone, owner=owner)
        assert set(scene.addresses) >= {
            address
            for each in scene.slices.values()
            if each.metadata.labels.service_name == "db2"
            for one in each.published
            for address in one.addresses
        }
    scene.apply(scene.moves.expire(1000.0))
    plain = make_index()
    plain.apply_service(None, headless("db2"), wall_seconds=0)
    for each in scene.slices.values():
        plain.apply_slice(None, each, wall_seconds=0)
    for key in (("demo", "db2"), ("demo", "twins")):
        assert scene.index.slices_of(key) == plain.slices_of(key)
    for address in ("10.0.0.1", "10.0.0.2", "10.0.0.3"):
        assert scene.index.owners_of(address) == plain.owners_of(address)
