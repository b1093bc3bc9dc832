"""Which addresses and ports are dialled."""

from __future__ import annotations

import msgspec
import pytest

from seaway.api.service.types import Service
from seaway.controllers.healthcheck.check import Check
from seaway.controllers.healthcheck.targets import (
    Target,
    choose_ports,
    choose_targets,
    count_allowed,
    find_down,
    find_refusal,
    is_checkable,
    is_checked,
    list_api_targets,
)
from seaway.testing.builders import make_service
from tests.controllers.healthcheck.slices import Json, by_hand

TCP = Check(kind="tcp")
PORTS: list[Json] = [
    {"name": "web", "port": 80, "protocol": "TCP"},
    {"name": "sql", "port": 5432, "protocol": "TCP"},
    {"name": "dns", "port": 53, "protocol": "UDP"},
]

PORT_CASES: dict[str, tuple[int | str | None, list[Json], tuple[int, ...]]] = {
    "without a port, each TCP port of the slice": (None, PORTS, (80, 5432)),
    "a name means that port": ("sql", PORTS, (5432,)),
    "a name that the slice lacks means none": ("http", PORTS, ()),
    "a name of a UDP port means none": ("dns", PORTS, ()),
    "a number means itself, also where the slice has other ports": (8080, PORTS, (8080,)),
    "a slice without ports": (None, [], ()),
    "a port that stands for all": (None, [{"name": "", "protocol": "TCP"}], ()),
}


@pytest.mark.parametrize("case", PORT_CASES.values(), ids=PORT_CASES)
def test_which_ports_are_tried(case: tuple[int | str | None, list[Json], tuple[int, ...]]) -> None:
    port, ports, wanted = case
    assert choose_ports(Check(kind="tcp", port=port), by_hand("192.0.2.1", ports=ports)) == wanted


REFUSALS: dict[str, tuple[str, str]] = {
    "loopback": ("127.0.0.1", "a loopback address"),
    "all of loopback": ("127.8.8.8", "a loopback address"),
    "loopback in IPv6": ("::1", "a loopback address"),
    "loopback in another spelling": ("::ffff:127.0.0.1", "a loopback address"),
    "link-local, where most clouds tell secrets": ("169.254.169.254", "a link-local address"),
    "link-local mapped": ("::ffff:169.254.169.254", "a link-local address"),
    "link-local in IPv6": ("fe80::1", "a link-local address"),
    "metadata of AWS in IPv6": ("fd00:ec2::254", "an address of a cloud's metadata"),
    "metadata of Alibaba": ("100.100.100.200", "an address of a cloud's metadata"),
    "metadata of Azure": ("168.63.129.16", "an address of a cloud's metadata"),
    "link-local behind NAT64": ("64:ff9b::a9fe:a9fe", "a link-local address"),
    "loopback behind 6to4": ("2002:7f00:1::1", "a loopback address"),
    "metadata behind NAT64": ("64:ff9b::100.100.100.200", "an address of a cloud's metadata"),
    "nothing": ("0.0.0.0", "an unspecified address"),
    "nothing in IPv6": ("::", "an unspecified address"),
    "multicast": ("224.0.1.1", "a multicast address"),
    "broadcast": ("255.255.255.255", "a broadcast address"),
    "a name": ("db.example.com", "no IP address"),
    "an address like others": ("192.0.2.1", ""),
    "a private address": ("10.0.0.1", ""),
    "an address like others in IPv6": ("2001:db8::1", ""),
    "an address like others behind NAT64": ("64:ff9b::c000:201", ""),
}


@pytest.mark.parametrize("case", REFUSALS.values(), ids=REFUSALS)
def test_which_addresses_are_never_dialled(case: tuple[str, str]) -> None:
    address, wanted = case
    assert find_refusal(Target(address, 80)) == wanted


def test_the_api_server_is_never_dialled_in_any_spelling_but_its_host_is() -> None:
    service = msgspec.convert(
        make_service("kubernetes", clusterIP="10.96.0.1", clusterIPs=["10.96.0.1"], ports=[{"port": 443}]), Service
    )
    forbidden = list_api_targets(service, [by_hand("192.0.2.1", ports=[{"name": "https", "port": 6443}])])
    assert forbidden == {Target("10.96.0.1", 443), Target("192.0.2.1", 6443)}
    for address in ("192.0.2.1", "::ffff:192.0.2.1", "64:ff9b::192.0.2.1"):
        assert find_refusal(Target(address, 6443), forbidden) == "the API server"
    assert find_refusal(Target("192.0.2.1", 5432), forbidden) == ""


def test_what_is_refused_is_told_and_the_rest_is_tried() -> None:
    choice = choose_targets(TCP, [by_hand("192.0.2.2", "127.0.0.1", "192.0.2.1")])
    assert choice.targets == (Target("192.0.2.1", 8080), Target("192.0.2.2", 8080))
    assert choice.refused == (("127.0.0.1", "a loopback address"),)


def test_only_the_first_address_of_an_endpoint_is_tried() -> None:
    slice_ = by_hand({"addresses": ["192.0.2.2", "192.0.2.1"]})
    assert choose_targets(TCP, [slice_]).targets == (Target("192.0.2.2", 8080),)


def test_an_endpoint_that_its_author_wants_no_traffic_for_is_not_tried() -> None:
    drained = {"addresses": ["192.0.2.1"], "conditions": {"ready": False}}
    assert choose_targets(TCP, [by_hand(drained)]).targets == ()


def test_an_endpoint_that_is_held_down_is_tried() -> None:
    down = {"addresses": ["192.0.2.1"], "conditions": {"ready": False, "serving": False}}
    slice_ = by_hand(down, annotations={"seaway.dev/held-down": '{"192.0.2.1":{}}'})
    assert choose_targets(TCP, [slice_]).targets == (Target("192.0.2.1", 8080),)


def test_what_is_in_several_slices_is_tried_once() -> None:
    slices = [by_hand("192.0.2.1"), by_hand("192.0.2.1", name="web-2", ports=PORTS)]
    assert [target.port for target in choose_targets(TCP, slices).targets] == [80, 5432, 8080]


def test_too_many_are_left_out_and_counted() -> None:
    choice = choose_targets(TCP, [by_hand(*(f"192.0.2.{n}" for n in range(1, 8)))], max_targets=5)
    assert (len(choice.targets), choice.left_out) == (5, 2)


ALLOWED: dict[str, tuple[float, list[tuple[float, int]], int]] = {
    "as many as a slice can hold": (2.0, [], 1000),
    "fewer in a faster rhythm": (0.25, [], 125),
    "as many in a slower one": (60.0, [], 1000),
    "what others leave of the tries": (2.0, [(2.0, 1000), (2.0, 800)], 200),
    "what others leave of the number": (60.0, [(60.0, 1000)] * 4 + [(60.0, 990)], 10),
    "none when others have all": (2.0, [(0.25, 125), (0.25, 125)], 0),
}


@pytest.mark.parametrize("case", ALLOWED.values(), ids=ALLOWED)
def test_how_many_a_service_may_have(case: tuple[float, list[tuple[float, int]], int]) -> None:
    interval, others, wanted = case
    found = ((Check(kind="tcp", interval_seconds=other), number) for other, number in others)
    assert count_allowed(Check(kind="tcp", interval_seconds=interval), found) == wanted


def test_an_endpoint_is_down_when_one_of_its_ports_is() -> None:
    slice_ = by_hand("192.0.2.1", "192.0.2.2", ports=PORTS)
    assert find_down(TCP, slice_, lambda target: target == ("192.0.2.1", 5432)) == {"192.0.2.1"}
    assert find_down(Check(kind="tcp", port="web"), slice_, lambda target: target.port == 5432) == frozenset()


def test_which_services_and_slices_are_checked() -> None:
    assert is_checkable(msgspec.convert(make_service("web", selector={}), Service))
    assert not is_checkable(msgspec.convert(make_service("web"), Service))
    assert not is_checkable(msgspec.convert(make_service("web", selector={}, type="ExternalName"), Service))
    managed_by = "endpointslice.kubernetes.io/managed-by"
    assert is_checked(by_hand("192.0.2.1"))
    assert is_checked(by_hand("192.0.2.1", labels={managed_by: "endpointslicemirroring-controller.k8s.io"}))
    assert not is_checked(by_hand("192.0.2.1", labels={managed_by: "endpointslice-controller.k8s.io"}))
    assert not is_checked(msgspec.structs.replace(by_hand("a.example"), address_type="FQDN"))
