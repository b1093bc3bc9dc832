"""Rule: spec "service-api" §5.5 (life-cycle controller), "controllers" §8.1."""

from __future__ import annotations

import ipaddress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.servicecidr.types import FINALIZER, Condition, ServiceCIDR
from seaway.controllers.servicecidr.plan import (
    READY_TEXT,
    TERMINATING_TEXT,
    ServiceCIDRPlan,
    contains,
    may_go,
    networks_of,
    overlaps,
    plan_service_cidr,
)

V4, V6 = "10.96.0.0/24", "fd10::/120"
READY = Condition("Ready", "True", "", READY_TEXT)
BLOCKED = Condition("Ready", "False", "Terminating", TERMINATING_TEXT)


def make(name: str, *cidrs: str, kept: bool = True, deleting: bool = False, ready: Condition | None = None) -> Any:
    meta = {"name": name, "finalizers": [FINALIZER] if kept else []}
    meta |= {"deletionTimestamp": "2026-01-02T12:00:00Z"} if deleting else {}
    conditions = [] if ready is None else [msgspec.to_builtins(ready)]
    obj = {"metadata": meta, "spec": {"cidrs": cidrs}, "status": {"conditions": conditions}}
    return msgspec.convert(obj, ServiceCIDR)


GONE = make("a", V4, deleting=True)
PLANS: list[tuple[str, ServiceCIDR, tuple[ServiceCIDR, ...], list[str], float, ServiceCIDRPlan]] = [
    ("a new one is kept and called ready", make("a", V4, kept=False), (), [], 0,
     ServiceCIDRPlan(adds_finalizer=True, condition=READY)),
    ("one that is right needs nothing", make("a", V4, ready=READY), (), [], 0, ServiceCIDRPlan()),
    ("another message is replaced", make("a", V4, ready=Condition("Ready", "True", "", "other")), (), [], 0,
     ServiceCIDRPlan(condition=READY)),
    ("somebody's Ready=False is replaced", make("a", V4, ready=BLOCKED), (), [], 0, ServiceCIDRPlan(condition=READY)),
    ("one in use stays", GONE, (), ["10.96.0.5"], 99, ServiceCIDRPlan(condition=BLOCKED)),
    ("one in use that says so stays quietly", make("a", V4, deleting=True, ready=BLOCKED), (), ["10.96.0.5"], 99,
     ServiceCIDRPlan()),
    ("an unused one waits for allocators to notice", GONE, (), [], 2, ServiceCIDRPlan(requeue_after_seconds=8)),
    ("an unused one goes after ten seconds", GONE, (), [], 10, ServiceCIDRPlan(drops_finalizer=True)),
    ("addresses elsewhere do not hold it", GONE, (), ["10.97.0.5", "fd10::5"], 10,
     ServiceCIDRPlan(drops_finalizer=True)),
    ("its network address does not hold it", GONE, (), ["10.96.0.0", "10.96.0.255"], 10,
     ServiceCIDRPlan(drops_finalizer=True)),
    ("an equal one frees it, whatever its state", GONE, (make("b", V4, deleting=True, ready=BLOCKED),), ["10.96.0.5"],
     10, ServiceCIDRPlan(drops_finalizer=True)),
    ("a wider one frees it", GONE, (make("b", "10.96.0.0/16"),), ["10.96.0.5"], 10,
     ServiceCIDRPlan(drops_finalizer=True)),
    ("a narrower one does not where it does not reach", GONE, (make("b", "10.96.0.0/25"),), ["10.96.0.200"], 10,
     ServiceCIDRPlan(condition=BLOCKED)),
    ("a narrower one frees it where it reaches", GONE, (make("b", "10.96.0.0/25"),), ["10.96.0.5"], 10,
     ServiceCIDRPlan(drops_finalizer=True)),
    ("the edge of a narrower one does not count", GONE, (make("b", "10.96.0.0/25"),), ["10.96.0.127"], 10,
     ServiceCIDRPlan(condition=BLOCKED)),
    ("both families must be covered", make("a", V4, V6, deleting=True), (make("b", V4),), ["fd10::5"], 10,
     ServiceCIDRPlan(condition=BLOCKED)),
    ("without our finalizer it is others' business", make("a", V4, kept=False, deleting=True), (), ["10.96.0.5"], 10,
     ServiceCIDRPlan()),
]  # fmt: skip


@pytest.mark.parametrize(
    ("subject", "others", "addresses", "seconds", "expected"), [pytest.param(*case[1:], id=case[0]) for case in PLANS]
)
def test_plan(
    subject: ServiceCIDR,
    others: tuple[ServiceCIDR, ...],
    addresses: list[str],
    seconds: float,
    expected: ServiceCIDRPlan,
) -> None:
    found = plan_service_cidr(subject, (subject, *others), addresses, deleting_for_seconds=seconds)
    assert found == expected


CIDRS = st.builds(lambda base, size: str(ipaddress.ip_network((base, size), strict=False)),
                  st.integers(0x0A600000, 0x0A60003F), st.integers(26, 30))  # fmt: skip


@given(CIDRS, st.lists(CIDRS, max_size=4), st.sets(st.integers(0x0A600000, 0x0A60003F), max_size=5))
def test_nothing_that_a_service_holds_loses_its_last_range(cidr: str, others: list[str], held: set[int]) -> None:
    subject, rest = make("a", cidr), [make(f"o{index}", other) for index, other in enumerate(others)]
    addresses = [str(ipaddress.ip_address(number)) for number in held]
    if may_go(subject, rest, addresses):
        left = [network for other in rest for network in networks_of(other)]
        wider = any(ipaddress.ip_network(cidr).subnet_of(network) for network in left)  # type: ignore[arg-type]
        for address in addresses:
            assert wider or not contains(networks_of(subject), address) or contains(left, address)


def test_ranges_of_two_families_do_not_overlap() -> None:
    assert not overlaps(make("a", V4), make("b", V6))
    assert overlaps(make("a", V6, V4), make("b", "10.96.0.128/25"))


CONTAINS = [
    ("the first address", "10.96.0.0/24", "10.96.0.1", True),
    ("the last address", "10.96.0.0/24", "10.96.0.254", True),
    ("the network's own address", "10.96.0.0/24", "10.96.0.0", False),
    ("the broadcast address", "10.96.0.0/24", "10.96.0.255", False),
    ("the address before", "10.96.1.0/24", "10.96.0.255", False),
    ("the address after", "10.96.0.0/24", "10.96.1.0", False),
    ("an edge of a narrower range", "10.96.0.0/16", "10.96.0.255", True),
    ("the first IPv6 address", "fd10::/112", "fd10::1", True),
    ("the last IPv6 address, which is no broadcast address", "fd10::/112", "fd10::ffff", True),
    ("the IPv6 network's own address", "fd10::/112", "fd10::", False),
    ("the IPv6 address after", "fd10::/112", "fd10::1:0", False),
    ("an address of the other family", "fd10::/112", "10.96.0.1", False),
    ("what is no address", "10.96.0.0/24", "web", False),
]


@pytest.mark.parametrize(("cidr", "address", "expected"), [pytest.param(*case[1:], id=case[0]) for case in CONTAINS])
def test_a_range_contains_what_it_can_hand_out(cidr: str, address: str, expected: bool) -> None:
    assert contains(networks_of(make("a", cidr)), address) is expected
    assert contains(networks_of(make("a", "192.0.2.0/24", cidr)), address) is expected, "one of two is enough"


OVERLAPS = [
    ("the same", "10.96.0.0/24", "10.96.0.0/24", True),
    ("one inside of the other at its begin", "10.96.0.0/16", "10.96.0.0/24", True),
    ("one inside of the other at its end", "10.96.0.0/16", "10.96.255.0/24", True),
    ("neighbours", "10.96.0.0/24", "10.96.1.0/24", False),
    ("two halves", "10.96.0.0/25", "10.96.0.128/25", False),
    ("everything and one address", "0.0.0.0/0", "10.96.0.1/32", True),
    ("IPv6, one inside of the other", "fd10::/64", "fd10::ff00/120", True),
    ("IPv6 neighbours", "fd10::/112", "fd10::1:0/112", False),
    ("everything of two families", "0.0.0.0/0", "::/0", False),
]


@pytest.mark.parametrize(("left", "right", "expected"), [pytest.param(*case[1:], id=case[0]) for case in OVERLAPS])
def test_ranges_overlap_when_an_address_may_lie_in_both(left: str, right: str, expected: bool) -> None:
    assert overlaps(make("a", left), make("b", right)) is expected
    assert overlaps(make("b", right), make("a", left)) is expected
