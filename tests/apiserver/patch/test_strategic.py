"""Strategic merge patch, by its rules in spec "api-machinery" §5.3."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seaway.api.registry import PODS, SERVICES, Resource
from seaway.api.schema import find_definition
from seaway.apiserver.patch.strategic import StrategicError, apply_strategic_patch

Json = dict[str, Any]


def merge(current: Json, patch: Json, resource: Resource = SERVICES) -> Json:
    definition = find_definition(resource.group, resource.version, resource.kind)
    assert definition is not None
    before = copy.deepcopy((current, patch))
    try:
        return apply_strategic_patch(patch, current, definition)
    finally:
        assert (current, patch) == before


def merge_ports(current: list[Json], patch: list[Json], **directives: Any) -> list[Json]:
    merged = merge({"spec": {"ports": current}}, {"spec": {"ports": patch, **directives}})
    ports: list[Json] = merged["spec"]["ports"]
    return ports


def ports(*numbers: int) -> list[Json]:
    return [{"port": number} for number in numbers]


def numbers(found: list[Json]) -> list[int]:
    return [port["port"] for port in found]


def test_elements_with_one_key_merge_and_new_ones_are_added() -> None:
    merged = merge_ports([{"port": 80, "name": "a", "nodePort": 30080}], [{"port": 80, "name": "b"}, {"port": 81}])
    assert merged == [{"port": 80, "name": "b", "nodePort": 30080}, {"port": 81}]


def test_a_wholly_new_element_comes_before_those_of_the_server() -> None:
    assert numbers(merge_ports(ports(90), ports(53))) == [53, 90]


@pytest.mark.parametrize(
    ("current", "patch", "order", "wanted"),
    [
        pytest.param([1, 2, 3], [3], [3, 1], [2, 3, 1], id="the named in the order named, others by their old place"),
        pytest.param([1, 2, 3], [], [3, 2, 1], [3, 2, 1], id="all are named"),
        pytest.param([1, 2, 3], [4], [1, 4], [1, 4, 2, 3], id="others go after what they stood after"),
        pytest.param([9, 1], [1], [1], [9, 1], id="and before what they stood before"),
        pytest.param([1], [2, 1], None, [2, 1], id="without an order the patch's own counts"),
    ],
)
def test_the_order_of_a_merged_list(current: list[int], patch: list[int], order: Any, wanted: list[int]) -> None:
    directives = {} if order is None else {"$setElementOrder/ports": ports(*order)}
    assert numbers(merge_ports(ports(*current), ports(*patch), **directives)) == wanted


def test_a_patch_of_an_order_alone_reorders() -> None:
    merged = merge({"spec": {"ports": ports(80, 81)}}, {"spec": {"$setElementOrder/ports": ports(81, 80)}})
    assert numbers(merged["spec"]["ports"]) == [81, 80]
    assert merge({"spec": {}}, {"spec": {"$setElementOrder/ports": ports(81)}}) == {"spec": {}}


def test_an_element_that_the_order_lacks_is_an_error() -> None:
    with pytest.raises(StrategicError, match=r"The order in patch list:\n\[map\[port:82\]\]") as refused:
        merge_ports(ports(80), ports(82), **{"$setElementOrder/ports": ports(80)})
    assert refused.value.code == 500


def test_an_element_without_the_merge_key_is_an_error() -> None:
    with pytest.raises(StrategicError, match=r"^map: map\[name:q\] does not contain declared merge key: port$"):
        merge_ports(ports(80), [{"name": "q"}])


def test_two_ports_of_one_number_are_one_to_this_patch() -> None:
    both = [{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]
    assert merge_ports([], both) == [{"port": 53, "protocol": "UDP"}]


def test_deleting_removes_every_element_with_the_key() -> None:
    assert merge_ports([*ports(80, 81), {"port": 80, "name": "x"}], [{"$patch": "delete", "port": 80}]) == ports(81)


def test_replacing_a_list_takes_the_other_elements() -> None:
    assert merge_ports(ports(1, 2), [{"$patch": "replace"}, {"port": 3}]) == ports(3)


@pytest.mark.parametrize(
    ("element", "message"),
    [
        ({"$patch": "merge", "port": 1}, "merging lists cannot yet be specified in the patch"),
        ({"$patch": "x", "port": 1}, r"unknown patch type: x in map: map\[\$patch:x port:1\]"),
        ({"$patch": "delete"}, "does not contain declared merge key: port"),
        (None, "does not contain declared merge key: port"),
    ],
)
def test_other_directives_in_lists_are_errors(element: Any, message: str) -> None:
    with pytest.raises(StrategicError, match=message):
        merge_ports(ports(1), [element])


@pytest.mark.parametrize(
    ("current", "patch", "wanted"),
    [
        pytest.param({"a": "1", "b": "2"}, {"a": None, "c": "3"}, {"b": "2", "c": "3"}, id="null deletes"),
        pytest.param({"a": "1"}, {"$patch": "replace", "b": "2"}, {"b": "2"}, id="replace"),
        pytest.param({"a": "1"}, {"$patch": "delete"}, {}, id="delete leaves an empty map"),
        pytest.param({"a": "1"}, {"$patch": "merge", "b": "2"}, {"a": "1", "b": "2"}, id="merge"),
    ],
)
def test_maps(current: Json, patch: Json, wanted: Json) -> None:
    assert merge({"spec": {"selector": current}}, {"spec": {"selector": patch}}) == {"spec": {"selector": wanted}}


def test_an_unknown_directive_in_a_map_is_an_error() -> None:
    with pytest.raises(StrategicError, match=r"unknown patch type: x in map: map\[\$patch:x\]"):
        merge({"spec": {}}, {"spec": {"$patch": "x"}})


@pytest.mark.parametrize(
    "patch",
    [
        {"metadata": {"annotations": {"$patch": "replace", "k": "v"}}},
        {"metadata": {"annotations": {"$patch": "delete"}}},
    ],
)
def test_a_map_with_a_directive_vanishes_where_the_server_has_none(patch: Json) -> None:
    assert merge({"metadata": {"name": "a"}}, patch) == {"metadata": {"name": "a"}}


def test_directives_and_nulls_vanish_within_what_is_added() -> None:
    added = {"a": {"$retainKeys": ["b"], "b": None, "c": [{"$patch": "delete", "port": 1}, {"port": 2}]}}
    assert merge({}, {"spec": added}) == {"spec": {"a": {"c": [{"port": 2}]}}}


@pytest.mark.parametrize(
    ("current", "patch", "wanted"),
    [
        pytest.param(["a", "b"], {"finalizers": ["b", "c"]}, ["a", "b", "c"], id="scalars unite"),
        pytest.param(["a", "b"], {"$deleteFromPrimitiveList/finalizers": ["a"]}, ["b"], id="scalars are deleted"),
        pytest.param(["a"], {"$deleteFromPrimitiveList/finalizers": ["a"], "$setElementOrder/finalizers": ["b"],
                             "finalizers": ["b"]}, ["b"], id="as kubectl apply sends it"),
        pytest.param(["a", "a"], {"finalizers": ["a"]}, ["a"], id="duplicates are dropped"),
        pytest.param(["b", "a"], {"$setElementOrder/finalizers": ["a", "b"]}, ["a", "b"], id="scalars are ordered"),
    ],
)  # fmt: skip
def test_lists_of_scalars(current: list[str], patch: Json, wanted: list[str]) -> None:
    assert merge({"metadata": {"finalizers": current}}, {"metadata": patch}) == {"metadata": {"finalizers": wanted}}


def test_lists_without_the_strategy_are_replaced() -> None:
    current = {"spec": {"externalIPs": ["192.0.2.1"]}}
    assert merge(current, {"spec": {"externalIPs": ["192.0.2.2"]}}) == {"spec": {"externalIPs": ["192.0.2.2"]}}


def test_another_type_replaces() -> None:
    assert merge({"spec": {"selector": {"a": "b"}}}, {"spec": {"selector": "x"}}) == {"spec": {"selector": "x"}}
    assert merge({"spec": {"ports": "x"}}, {"spec": {"ports": ports(1)}}) == {"spec": {"ports": ports(1)}}


def test_retain_keys_drops_what_is_not_listed() -> None:
    current = {"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}
    volume = {"name": "v", "$retainKeys": ["name", "configMap"], "configMap": {"name": "c"}}
    merged = merge(current, {"spec": {"volumes": [volume]}}, PODS)
    assert merged == {"spec": {"volumes": [{"name": "v", "configMap": {"name": "c"}}]}}


@pytest.mark.parametrize("keys", [["name"], "name"])
def test_a_key_that_retain_keys_lacks_is_refused(keys: Any) -> None:
    volume = {"name": "v", "$retainKeys": keys, "configMap": {"name": "c"}}
    with pytest.raises(StrategicError, match="invalid patch format of retainKeys") as refused:
        merge({"spec": {"volumes": [{"name": "v"}]}}, {"spec": {"volumes": [volume]}}, PODS)
    assert refused.value.code == 400


@pytest.mark.parametrize("name", ["$setElementOrder/ports", "$deleteFromPrimitiveList/ports"])
def test_a_directive_that_is_no_list_is_an_error(name: str) -> None:
    with pytest.raises(StrategicError, match="to be a list"):
        merge({"spec": {"ports": ports(1)}}, {"spec": {name: 5}})


_PORTS = st.lists(
    st.fixed_dictionaries({"port": st.integers(1, 9)}, optional={"name": st.sampled_from("abc")}),
    max_size=5,
    unique_by=lambda port: port["port"],
)


@settings(deadline=None)
@given(_PORTS, _PORTS)
def test_merging_is_idempotent_and_loses_nothing(current: list[Json], patch: list[Json]) -> None:
    merged = merge_ports(current, patch)
    assert merge_ports(merged, patch) == merged
    assert set(numbers(merged)) == set(numbers(current)) | set(numbers(patch))
    alone = [n for n in numbers(current) if n not in numbers(patch)]
    assert [n for n in numbers(merged) if n in alone] == alone
    assert [n for n in numbers(merged) if n not in alone] == numbers(patch)
