"""What the leader tells: frames and the whole state. Rule: the laws of `seaway.dns.workers.changes`."""

from __future__ import annotations

import pytest

from seaway.dns.forwarding.paths import PodNamespaces
from seaway.dns.index import Index
from seaway.dns.objects import DetailedSlice
from seaway.dns.workers.changes import (
    Counted,
    Kind,
    ObjectChange,
    Signal,
    Word,
    WordDecoder,
    apply_change,
    encode_word,
    list_changes,
)
from tests.dns.fixture import NAMESPACES, SERIAL, SERVICES, SLICES, TYPES, ask, cluster_ip, make_index, make_pod

OBJECTS = (
    *((Kind.NAMESPACE, each) for each in NAMESPACES),
    *((Kind.SERVICE, each) for each in SERVICES),
    *((Kind.SLICE, each) for each in SLICES),
    (Kind.POD, make_pod("client", "10.244.1.5")),
)


def decode(frame: bytes, *, has_details: bool = False) -> Word:
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    return WordDecoder(has_details=has_details).decode(frame[4:])


@pytest.mark.parametrize("has_old", [False, True])
@pytest.mark.parametrize("has_new", [False, True])
def test_a_change_is_what_it_was(has_old: bool, has_new: bool) -> None:
    for number, (kind, obj) in enumerate(OBJECTS):
        change = ObjectChange(kind, obj if has_old else None, obj if has_new else None, number << 33)
        assert decode(encode_word(change)) == change


@pytest.mark.parametrize("word", [*Signal, Counted(b"\x00\xff")])
def test_a_word_is_what_it_was(word: Word) -> None:
    assert decode(encode_word(word)) == word


def test_slices_keep_the_names_of_pods_where_they_are_wanted() -> None:
    found = DetailedSlice(metadata=SLICES[0].metadata)
    told = decode(encode_word(ObjectChange(Kind.SLICE, None, found, 1)), has_details=True)
    assert isinstance(told, ObjectChange) and isinstance(told.new, DetailedSlice)


def copy(index: Index) -> Index:
    made, pods = Index(), PodNamespaces()
    for change in list_changes(index):
        found = decode(encode_word(change))
        assert isinstance(found, ObjectChange)
        apply_change(found, made, pods)
    made.is_synced = index.is_synced
    return made


NAMES = [
    *("web.@", "db.@", "db-0.db.@", "_mysql._tcp.db.@", "twins.@", "manual.@", "void.@", "nosuch.@", "ext.@"),
    *("5.1.244.10.in-addr.arpa", "10.1.244.10.in-addr.arpa", "1.7.96.10.in-addr.arpa"),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_follower_answers_as_the_leader_does(name: str) -> None:
    index = make_index()
    made = copy(index)
    for qtype in TYPES:
        assert ask(f"{name} {qtype}", made) == ask(f"{name} {qtype}", index)


def test_a_follower_has_the_leaders_serial_and_pods() -> None:
    index = make_index()
    index.apply_pod(None, make_pod("client", "10.244.8.8"), wall_seconds=SERIAL + 5)
    made = copy(index)
    assert made.serial == SERIAL + 5 and made.has_pod("demo", "10.244.8.8")


def test_slices_that_came_before_their_service_are_told_too() -> None:
    index = Index()
    index.apply_slice(None, SLICES[1], wall_seconds=1)
    made = copy(index)
    assert made.slices_of(("demo", "web")) == (SLICES[1],)


def test_what_changes_while_the_state_is_told_is_not_in_it() -> None:
    index = make_index()
    told = list_changes(index)
    next(told)
    index.apply_service(None, cluster_ip("late", "10.96.9.9"), wall_seconds=SERIAL)
    assert all(change.new.metadata.name != "late" for change in told)


def test_a_kind_that_there_is_not_is_refused() -> None:
    frame = encode_word(ObjectChange(Kind.SERVICE, None, None, 1))[4:]
    with pytest.raises(ValueError, match="sErvice"):
        WordDecoder().decode(frame.replace(b"service", b"sErvice"))
