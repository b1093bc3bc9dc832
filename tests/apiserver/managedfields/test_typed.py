"""What list types mean to a comparison, an owner, a merge. Rule: spec "api-machinery" §5.4, §5.5."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from seaway.api.registry import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    LEASES,
    NAMESPACES,
    NODES,
    PODS,
    RESOURCES,
    ROLE_BINDINGS,
    SERVICE_ACCOUNTS,
    SERVICE_CIDRS,
    SERVICES,
    Resource,
)
from seaway.apiserver.managedfields.schema import OwnedSchema, find_owned_schema, reset_fields
from seaway.apiserver.managedfields.typed import TypedError
from tests.apiserver.managedfields.paths import Path, to_paths, to_tree

Json = dict[str, Any]
HTTP: Json = {"name": "http", "port": 80, "protocol": "TCP"}
TCP_80, UDP_80 = 'k:{"port":80,"protocol":"TCP"}', 'k:{"port":80,"protocol":"UDP"}'
PORTS = ("f:spec", "f:ports")
NO_PATHS: list[Path] = []


def schema_of(resource: Resource, subresource: str = "") -> OwnedSchema:
    schema = find_owned_schema(resource, subresource)
    assert schema is not None
    return schema


def meta(**fields: Any) -> Json:
    return {"metadata": fields}


def spec(**fields: Any) -> Json:
    return {"spec": fields}


def under(prefix: Path, *names: str) -> list[Path]:
    return [(*prefix, name) for name in names]


COMPARISONS: dict[str, tuple[Resource, Json, Json, list[Path], list[Path]]] = {
    "equal objects do not differ": (SERVICES, spec(type="A"), spec(type="A"), NO_PATHS, NO_PATHS),
    "a scalar that was set": (SERVICES, {}, spec(type="A"), [("f:spec", "f:type")], NO_PATHS),
    "a scalar with another value": (SERVICES, spec(type="A"), spec(type="B"), [("f:spec", "f:type")], NO_PATHS),
    "a scalar that went": (SERVICES, spec(type="A"), spec(), NO_PATHS, [("f:spec", "f:type")]),
    "what identifies an object is nobody's": (
        CONFIG_MAPS,
        {},
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            **meta(name="a", namespace="n", uid="u", generation=1, resourceVersion="3", creationTimestamp="t"),
        },
        NO_PATHS,
        NO_PATHS,
    ),
    "a prefix for names is owned": (
        CONFIG_MAPS, {}, meta(generateName="a-"), [("f:metadata", "f:generateName")], NO_PATHS,
    ),
    "a new map is owned with its keys": (
        CONFIG_MAPS, {}, {"data": {"k": "v"}}, [("f:data",), ("f:data", "f:k")], NO_PATHS,
    ),
    "a new key alone in an old map": (
        CONFIG_MAPS, {"data": {"k": "v"}}, {"data": {"k": "v", "l": "w"}}, [("f:data", "f:l")], NO_PATHS,
    ),
    "a map that went with its keys": (
        CONFIG_MAPS, {"data": {"k": "v"}}, {}, NO_PATHS, [("f:data",), ("f:data", "f:k")],
    ),
    "an atomic map is one value": (
        SERVICES, spec(selector={"a": "b"}), spec(selector={"a": "c"}), [("f:spec", "f:selector")], NO_PATHS,
    ),
    "an atomic list is one value": (
        SERVICES, spec(externalIPs=["1"]), spec(externalIPs=["1", "2"]), [("f:spec", "f:externalIPs")], NO_PATHS,
    ),
    "endpoints of a slice are one value": (
        ENDPOINT_SLICES,
        {"endpoints": [{"addresses": ["1"]}]},
        {"endpoints": [{"addresses": ["2"]}]},
        [("f:endpoints",)],
        NO_PATHS,
    ),
    "a new list of ports, and its items whole": (
        SERVICES,
        {},
        spec(ports=[HTTP]),
        [PORTS, (*PORTS, TCP_80), *under((*PORTS, TCP_80), "f:name", "f:port", "f:protocol")],
        NO_PATHS,
    ),
    "one field of one port": (
        SERVICES,
        spec(ports=[HTTP]),
        spec(ports=[{**HTTP, "name": "web"}]),
        [(*PORTS, TCP_80, "f:name")],
        NO_PATHS,
    ),
    "ports are told apart by protocol too": (
        SERVICES,
        spec(ports=[HTTP]),
        spec(ports=[HTTP, {"port": 80, "protocol": "UDP"}]),
        [(*PORTS, UDP_80), *under((*PORTS, UDP_80), "f:port", "f:protocol")],
        NO_PATHS,
    ),
    "a port without protocol is TCP": (
        SERVICES, spec(ports=[{"port": 80}]), spec(ports=[{"port": 80, "name": "a"}]),
        [(*PORTS, TCP_80, "f:name")], NO_PATHS,
    ),
    "the order of a keyed list says nothing": (
        SERVICES, spec(ports=[HTTP, {"port": 81}]), spec(ports=[{"port": 81}, HTTP]), NO_PATHS, NO_PATHS,
    ),
    "an item that went, whole": (
        SERVICES,
        spec(ports=[HTTP, {"port": 81}]),
        spec(ports=[{"port": 81}]),
        NO_PATHS,
        [(*PORTS, TCP_80), *under((*PORTS, TCP_80), "f:name", "f:port", "f:protocol")],
    ),
    "a member of a set": (
        CONFIG_MAPS,
        meta(finalizers=["a/b", "c/d"]),
        meta(finalizers=["c/d", "e/f"]),
        [("f:metadata", "f:finalizers", 'v:"e/f"')],
        [("f:metadata", "f:finalizers", 'v:"a/b"')],
    ),
    "an owner reference is one value under its uid": (
        CONFIG_MAPS,
        {},
        meta(ownerReferences=[{"uid": "u", "kind": "K", "name": "n", "apiVersion": "v1"}]),
        [("f:metadata", "f:ownerReferences"), ("f:metadata", "f:ownerReferences", 'k:{"uid":"u"}')],
        NO_PATHS,
    ),
    "an item that stands twice is one path, compared whole": (
        SERVICES,
        spec(ports=[HTTP, {**HTTP, "name": "b"}]),
        spec(ports=[HTTP, {**HTTP, "name": "c"}]),
        [(*PORTS, TCP_80)],
        NO_PATHS,
    ),
    "an item that stands twice from now on": (
        SERVICES,
        spec(ports=[HTTP]),
        spec(ports=[HTTP, {**HTTP, "name": "c"}]),
        [(*PORTS, TCP_80)],
        [(*PORTS, TCP_80), *under((*PORTS, TCP_80), "f:name", "f:port", "f:protocol")],
    ),
    "an item that stood twice until now": (
        SERVICES,
        spec(ports=[HTTP, {**HTTP, "name": "c"}]),
        spec(ports=[HTTP]),
        [(*PORTS, TCP_80), *under((*PORTS, TCP_80), "f:name", "f:port", "f:protocol")],
        [(*PORTS, TCP_80)],
    ),
    "an empty struct where there was none": (
        PODS, spec(), spec(securityContext={}), [("f:spec", "f:securityContext")], NO_PATHS,
    ),
    "an empty struct is not the absence of it": (
        PODS, spec(securityContext={}), spec(), NO_PATHS, [("f:spec", "f:securityContext")],
    ),
    "a struct that is always there is not owned as such": (
        NODES, {}, {"status": {"nodeInfo": {"machineID": "x"}}}, NO_PATHS, NO_PATHS,
    ),
    "containers always have resources, and the list of them is always there": (
        PODS,
        {},
        spec(containers=[{"name": "a"}]),
        [
            ("f:spec", "f:containers", 'k:{"name":"a"}'),
            *under(("f:spec", "f:containers", 'k:{"name":"a"}'), "f:name", "f:resources"),
        ],
        NO_PATHS,
    ),
    "resources that are filled": (
        PODS,
        spec(containers=[{"name": "a"}]),
        spec(containers=[{"name": "a", "resources": {"limits": {"cpu": "1"}}}]),
        [
            ("f:spec", "f:containers", 'k:{"name":"a"}', "f:resources", "f:limits"),
            ("f:spec", "f:containers", 'k:{"name":"a"}', "f:resources", "f:limits", "f:cpu"),
        ],
        NO_PATHS,
    ),
    "a role reference is one value": (
        ROLE_BINDINGS, {}, {"roleRef": {"kind": "Role", "name": "r"}}, [("f:roleRef",)], NO_PATHS,
    ),
    "a lease is a struct": (LEASES, {}, spec(holderIdentity="me"), [("f:spec", "f:holderIdentity")], NO_PATHS),
}  # fmt: skip


@pytest.mark.parametrize("name", COMPARISONS)
def test_a_comparison(name: str) -> None:
    resource, old, new, changed, removed = COMPARISONS[name]
    before = copy.deepcopy((old, new))
    found = schema_of(resource).owned.compare(old, new)
    assert (to_paths(found[0] or {}), to_paths(found[1] or {})) == (set(changed), set(removed))
    assert found == (to_tree(changed) or None, to_tree(removed) or None)
    assert (old, new) == before


def test_the_status_has_its_own_owners() -> None:
    info = {"status": {"nodeInfo": {"machineID": "x"}}, **spec(unschedulable=True)}
    changed, _ = schema_of(NODES, "status").owned.compare({}, info)
    assert to_paths(changed or {}) == {("f:status", "f:nodeInfo", "f:machineID")}


OWNED: dict[str, tuple[Resource, Json, list[Path]]] = {
    "scalars": (SERVICES, spec(type="A"), [("f:spec", "f:type")]),
    "keys of a map, not the map": (CONFIG_MAPS, {"data": {"k": "v"}}, [("f:data", "f:k")]),
    "an empty map is a value": (CONFIG_MAPS, {"data": {}}, [("f:data",)]),
    "an empty struct is a value": (PODS, spec(securityContext={}), [("f:spec", "f:securityContext")]),
    "an empty list is none": (SERVICES, spec(ports=[]), NO_PATHS),
    "a null is a value": (CONFIG_MAPS, {"data": None}, [("f:data",)]),
    "items of a keyed list with their fields": (
        SERVICES,
        spec(ports=[{"port": 80}]),
        [(*PORTS, TCP_80), (*PORTS, TCP_80, "f:port")],
    ),
    "members of a set": (CONFIG_MAPS, meta(finalizers=["a/b"]), [("f:metadata", "f:finalizers", 'v:"a/b"')]),
    "an atomic map as a whole": (SERVICES, spec(selector={"a": "b"}), [("f:spec", "f:selector")]),
    "nothing that identifies": (SERVICES, {"apiVersion": "v1", "kind": "Service", **meta(name="a")}, NO_PATHS),
    "nothing of a status": (SERVICES, {"status": {"conditions": [{"type": "A"}]}}, NO_PATHS),
}


@pytest.mark.parametrize("name", OWNED)
def test_a_configuration_owns(name: str) -> None:
    resource, config, paths = OWNED[name]
    assert to_paths(schema_of(resource).owned.own(config) or {}) == set(paths)


def ports(*numbers: int) -> Json:
    return spec(ports=[{"port": number, "protocol": "TCP"} for number in numbers])


MERGES: dict[str, tuple[Json, Json, Json]] = {
    "scalars of the configuration win": (spec(type="A", clusterIP="x"), spec(type="B"), spec(type="B", clusterIP="x")),
    "an atomic map is replaced": (spec(selector={"a": "b"}), spec(selector={"c": "d"}), spec(selector={"c": "d"})),
    "a granular map is merged": (meta(labels={"a": "b"}), meta(labels={"c": "d"}), meta(labels={"a": "b", "c": "d"})),
    "items are merged by their keys": (
        spec(ports=[{"port": 80, "protocol": "TCP", "nodePort": 30000}]),
        spec(ports=[{"port": 80, "name": "a"}]),
        spec(ports=[{"port": 80, "protocol": "TCP", "nodePort": 30000, "name": "a"}]),
    ),
    "a null map keeps the live one": (meta(labels={"a": "b"}), meta(labels=None), meta(labels={"a": "b"})),
    "a null list keeps the live one": (ports(1), spec(ports=None), ports(1)),
    "new items come last": (ports(1, 2), ports(3), ports(1, 2, 3)),
    "the configuration's order is kept": (ports(1, 2, 3), ports(3, 1), ports(2, 3, 1)),
    "live items stay before the next shared one": (ports(1, 2, 3), ports(3, 4), ports(1, 2, 3, 4)),
    "new items stand where the configuration has them": (ports(1, 2), ports(1, 3, 2), ports(1, 3, 2)),
    "live items stay after the shared one that they followed": (ports(1, 5, 2), ports(1, 2, 3), ports(1, 5, 2, 3)),
    "a wholly new list": ({}, ports(2, 1), ports(2, 1)),
    "members of a set": (meta(finalizers=["a", "b"]), meta(finalizers=["c", "b"]), meta(finalizers=["a", "c", "b"])),
}


@pytest.mark.parametrize("name", MERGES)
def test_a_merge(name: str) -> None:
    live, config, wanted = MERGES[name]
    before = copy.deepcopy((live, config))
    assert schema_of(SERVICES).full.merge(live, config) == wanted
    assert (live, config) == before


def test_a_long_list_is_merged_in_its_own_length() -> None:
    live, config = ports(*range(20_000)), ports(*range(10_000, 30_000))
    assert schema_of(SERVICES).full.merge(live, config) == ports(*range(30_000))


RELEASES: dict[str, tuple[list[Path], list[Path], Json]] = {
    "what nobody keeps goes": ([(*PORTS, TCP_80)], [("f:spec", "f:type")], spec(type="A")),
    "an item stays for who owns it": ([(*PORTS, TCP_80)], [(*PORTS, TCP_80)], spec(type="A", ports=[HTTP])),
    "a field of it may go alone": (
        [(*PORTS, TCP_80), (*PORTS, TCP_80, "f:name")],
        [(*PORTS, TCP_80)],
        spec(type="A", ports=[{"port": 80, "protocol": "TCP"}]),
    ),
    "an item does not stay for who owns a field of it": (
        [(*PORTS, TCP_80)],
        [("f:spec", "f:type"), (*PORTS, TCP_80, "f:name")],
        spec(type="A"),
    ),
    "in an item that nobody owns no field is kept": (
        [(*PORTS, TCP_80, "f:name")],
        [("f:spec", "f:type"), (*PORTS, TCP_80, "f:name")],
        spec(type="A", ports=[{"port": 80, "protocol": "TCP"}]),
    ),
}


@pytest.mark.parametrize("name", RELEASES)
def test_letting_go(name: str) -> None:
    last, kept, wanted = RELEASES[name]
    live = spec(type="A", ports=[HTTP])
    released = schema_of(SERVICES).full.release(live, to_tree(last), to_tree(kept), inside=False, gone=False)
    assert released == wanted
    assert live == spec(type="A", ports=[HTTP])


def test_items_without_their_keys_cannot_be_owned() -> None:
    with pytest.raises(TypedError):
        schema_of(SERVICE_ACCOUNTS).owned.compare({}, {"secrets": [{"namespace": "n"}]})


@pytest.mark.parametrize("resource", [pytest.param(resource, id=resource.plural) for resource in RESOURCES])
def test_every_kind_can_be_owned(resource: Resource) -> None:
    schema = schema_of(resource)
    assert not {"apiVersion", "kind"} & set(schema.owned.members)
    assert ("status" in schema.owned.members) == (
        "status" in schema.full.members and "status" not in resource.subresources
    )


@pytest.mark.parametrize(
    ("resource", "subresource", "reset"),
    [
        (SERVICES, "", ("status",)),
        (SERVICES, "status", ("spec",)),
        (PODS, "status", ("spec", "metadata.deletionTimestamp", "metadata.ownerReferences")),
        (NAMESPACES, "finalize", ("status",)),
        (SERVICE_CIDRS, "", ("status",)),
        (SERVICE_CIDRS, "status", ("metadata", "spec")),
        (DEPLOYMENTS, "status", ("spec", "metadata.labels")),
        (DEPLOYMENTS, "scale", ()),
        (CONFIG_MAPS, "", ()),
        (ENDPOINT_SLICES, "", ()),
    ],
)
def test_what_a_write_puts_back(resource: Resource, subresource: str, reset: tuple[str, ...]) -> None:
    assert reset_fields(resource, subresource) == reset
