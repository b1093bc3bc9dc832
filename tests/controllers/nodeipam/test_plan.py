"""Rule: spec "controllers" §7.8."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from seaway.api.node.types import Node
from seaway.controllers.nodeipam.plan import Full, NodeRanges, OutOfRange, parse_ipam
from seaway.net.errors import OperationalError
from seaway.testing.builders import make_node


def config(
    cidr: str, *, size: int | None = None, v4: int | None = None, v6: int | None = None, services: str = ""
) -> Any:
    return parse_ipam(cidr, mask_size=size, ipv4_mask=v4, ipv6_mask=v6, service_ranges=services)


def node(name: str, *cidrs: str) -> Node:
    return msgspec.convert(make_node(name, podCIDRs=list(cidrs)), Node)


SIZES = {
    "24 and 64 where nothing is said": (config("10.0.0.0/16,fd00::/48"), [24, 64]),
    "one family has one size": (config("10.0.0.0/16", size=26), [26]),
    "two families have two": (config("10.0.0.0/16,fd00::/52", v4=25, v6=60), [25, 60]),
    "the family's own size wins": (config("fd00::/52", size=56, v6=60), [60]),
}


@pytest.mark.parametrize(("found", "sizes"), SIZES.values(), ids=SIZES.keys())
def test_sizes(found: Any, sizes: list[int]) -> None:
    assert [size for _, size in found.ranges] == sizes


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "nothing to give": ({"cidr": ""}, "--cluster-cidr: '' found, one range or one of each family needed"),
    "two of one family": ({"cidr": "10.0.0.0/16,10.1.0.0/16"}, "one range or one of each family needed"),
    "no range": ({"cidr": "ten"}, "--cluster-cidr: 'ten' found, ranges like"),
    "one size for two families": ({"cidr": "10.0.0.0/16,fd00::/48", "size": 24}, "two families found"),
    "a part larger than the whole": ({"cidr": "10.0.0.0/16", "size": 8}, "/8 of 10.0.0.0/16 found, /16 to /32 allowed"),
    "more parts than anybody needs": ({"cidr": "fd00::/40"}, "/64 of fd00::/40 found, /40 to /56 allowed"),
    "a service range that is none": ({"cidr": "10.0.0.0/16", "services": "x"}, "--service-cluster-ip-range: 'x'"),
}


@pytest.mark.parametrize(("given", "text"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused(given: dict[str, Any], text: str) -> None:
    with pytest.raises(OperationalError) as caught:
        config(**given)
    assert text in str(caught.value)


def test_each_node_gets_one_of_each_family_and_keeps_it() -> None:
    ranges = NodeRanges(config("10.0.0.0/23,fd00::/63"))
    assert ranges.assign("a") == ("10.0.0.0/24", "fd00::/64")
    assert ranges.assign("b") == ("10.0.1.0/24", "fd00:0:0:1::/64")
    assert ranges.assign("a") == ("10.0.0.0/24", "fd00::/64")
    with pytest.raises(Full):
        ranges.assign("c")
    ranges.drop("a")
    assert ranges.assign("c") == ("10.0.0.0/24", "fd00::/64")


def test_the_ranges_of_services_are_nobodys() -> None:
    assert NodeRanges(config("10.0.0.0/23", services="10.0.0.0/28,fd00::/112")).assign("a") == ("10.0.1.0/24",)


def test_what_a_node_has_is_not_given_to_another() -> None:
    ranges = NodeRanges(config("10.0.0.0/23"))
    ranges.record(node("old", "10.0.0.0/24"))
    assert ranges.assign("new") == ("10.0.1.0/24",)
    assert ranges.assign("old") == ("10.0.0.0/24",)


def test_a_node_without_ranges_is_nothing_to_record() -> None:
    ranges = NodeRanges(config("10.0.0.0/23"))
    ranges.record(node("n"))
    assert ranges.assign("n") == ("10.0.0.0/24",)
    ranges.record(node("n"))
    assert ranges.assign("n") == ("10.0.0.0/24",)


def test_what_somebody_else_gave_replaces_what_was_assigned() -> None:
    ranges = NodeRanges(config("10.0.0.0/23"))
    ranges.assign("n")
    ranges.record(node("n", "10.0.1.0/24"))
    assert ranges.assign("m") == ("10.0.0.0/24",)


def test_what_is_not_ours_is_refused_with_the_range_in_it() -> None:
    with pytest.raises(OutOfRange, match=r"node n: podCIDR 192\.0\.2\.0/24 found, a part of 10\.0\.0\.0/23 needed"):
        NodeRanges(config("10.0.0.0/23")).record(node("n", "192.0.2.0/24"))


def test_half_of_two_families_is_given_to_nobody() -> None:
    ranges = NodeRanges(config("10.0.0.0/23,fd00::/64"))
    ranges.assign("a")
    with pytest.raises(Full):
        ranges.assign("b")
    ranges.drop("a")
    assert ranges.assign("b")[1] == "fd00::/64"
