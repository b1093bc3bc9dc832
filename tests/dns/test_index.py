"""Laws of the index: the order and the number of changes do not matter, and what a change touches is named."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from seaway.api.endpointslice.types import EndpointSlice as WholeSlice
from seaway.api.service.types import Service as WholeService
from seaway.dns.answer import Answer, Chase, Elsewhere, answer
from seaway.dns.index import EVERYTHING, Index
from seaway.dns.objects import EndpointSlice, Service
from seaway.testing.builders import make_service, make_slice
from tests.dns.fixture import CONFIG, NAMESPACES, cluster_ip, endpoints, external, headless, make_index, parse

ADDRESSES = ("10.0.0.1", "10.0.0.2", "10.0.0.3")
QUESTIONS = [
    *(f"{name}.@ {qtype}" for name in ("a", "b") for qtype in ("A", "SRV", "CNAME")),
    *(f"{address.replace('.', '-')}.{name}.@ A" for name in ("a", "b") for address in ADDRESSES),
    *("h.a.@ A", "h.b.@ A", "_http._tcp.a.@ SRV"),
    *(f"{'.'.join(reversed(address.split('.')))}.in-addr.arpa PTR" for address in ADDRESSES),
]

service_changes = st.tuples(
    st.sampled_from(["a", "b"]), st.sampled_from(["gone", "headless", "external", "10.0.0.1", "10.0.0.2"])
)
endpoint = st.tuples(
    st.sampled_from(ADDRESSES), st.sampled_from([None, "h"]), st.sampled_from([True, True, False, None])
)
slice_changes = st.tuples(
    st.sampled_from(["s1", "s2"]), st.sampled_from(["gone", "a", "b"]), st.lists(endpoint, max_size=3)
)
Objects = dict[str, Service | EndpointSlice]


def build_service(name: str, form: str) -> Service | None:
    if form == "gone":
        return None
    if form == "external":
        return external(name, "www.example.com")
    return headless(name) if form == "headless" else cluster_ip(name, form)


def apply(index: Index, objects: Objects, change: tuple[object, ...], second: int) -> list[object]:
    match change:
        case (str(name), str(form)):
            new, old = build_service(name, form), objects.pop(name, None)
            assert old is None or isinstance(old, Service)
            touched = index.apply_service(old, new, wall_seconds=second) if old or new else []
        case (str(name), str(owner), list(found)):
            new_slice = None if owner == "gone" else endpoints(owner, *found, name=name)
            new, old_slice = new_slice, objects.pop(name, None)
            assert old_slice is None or isinstance(old_slice, EndpointSlice)
            touched = index.apply_slice(old_slice, new_slice, wall_seconds=second) if old_slice or new_slice else []
        case _:
            raise AssertionError(change)
    if new is not None:
        objects[str(change[0])] = new
    return touched


def rebuild(objects: Objects) -> Index:
    index = Index()
    index.is_synced = True
    for namespace in NAMESPACES:
        index.apply_namespace(None, namespace)
    for each in reversed(objects.values()):
        if isinstance(each, Service):
            index.apply_service(None, each, wall_seconds=0)
        else:
            index.apply_slice(None, each, wall_seconds=0)
    return index


def answers(index: Index) -> dict[str, Answer | Chase | Elsewhere]:
    """Of all questions; serials set aside, since a rebuilt index has none."""
    serial, index.serial = index.serial, 0
    found = {text: answer(parse(text), index, CONFIG) for text in QUESTIONS}
    index.serial = serial
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(service_changes, slice_changes), max_size=12))
def test_an_index_kept_up_to_date_answers_like_one_built_anew(changes: list[tuple[object, ...]]) -> None:
    index, objects = rebuild({}), Objects()
    for second, change in enumerate(changes):
        before = answers(index)
        touched = apply(index, objects, change, second)
        after = answers(index)
        assert after == answers(rebuild(objects))
        for text in QUESTIONS:
            if before[text] != after[text]:
                source = getattr(before[text], "source", None)
                assert source is None or source in touched, (text, touched)


def test_a_change_that_nobody_can_see_touches_nothing() -> None:
    index = make_index()
    old = cluster_ip("web", "10.96.7.1")
    new = msgspec.structs.replace(old, metadata=msgspec.structs.replace(old.metadata, resource_version="7"))
    serial = index.serial
    assert index.apply_service(old, new, wall_seconds=serial + 9) == []
    assert index.serial == serial


def test_a_change_touches_its_service_and_its_addresses_alone() -> None:
    index = make_index()
    old, new = cluster_ip("web", "10.96.7.1"), cluster_ip("web", "10.96.7.99")
    assert set(index.apply_service(old, new, wall_seconds=0)) == {("demo", "web"), "10.96.7.1", "10.96.7.99"}


def test_a_namespace_touches_everything() -> None:
    index = Index()
    assert index.apply_namespace(None, NAMESPACES[0]) == [EVERYTHING]
    assert index.apply_namespace(NAMESPACES[0], NAMESPACES[0]) == []


def test_an_address_is_found_however_it_is_spelled() -> None:
    index = make_index()
    index.apply_service(None, cluster_ip("six", "FD00:0:0::9"), wall_seconds=0)
    assert index.owners_of("fd00::9") == (("demo", "six"),)


def test_whole_objects_can_be_narrowed() -> None:
    service = msgspec.convert(make_service("web", clusterIPs=["10.0.0.1"]), WholeService)
    assert msgspec.convert(service, Service, from_attributes=True).addresses == ("10.0.0.1",)
    whole = msgspec.convert(make_slice("web-1", "web", ["10.0.0.2"]), WholeSlice)
    narrow = msgspec.convert(whole, EndpointSlice, from_attributes=True)
    assert narrow.metadata.labels.service_name == "web"
    assert [each.addresses for each in narrow.published] == [("10.0.0.2",)]
