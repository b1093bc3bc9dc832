"""Rule: spec "service-api" §9.2."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.endpoints.subsets import canonicalize_subsets, count_addresses
from seaway.api.endpoints.types import EndpointAddress, EndpointPort, EndpointSubset

Json = dict[str, Any]


def subset(ready: str = "", not_ready: str = "", ports: str = "80") -> EndpointSubset:
    """Addresses and ports as words; `a/u` is address a of the Pod with UID u."""
    raw = {
        "addresses": [_address(word) for word in ready.split()],
        "notReadyAddresses": [_address(word) for word in not_ready.split()],
        "ports": [{"name": f"p{number}", "port": int(number)} for number in ports.split()],
    }
    return msgspec.convert(raw, EndpointSubset)


def _address(word: str) -> Json:
    ip, _, uid = word.partition("/")
    return {"ip": ip, "targetRef": {"kind": "Pod", "uid": uid}} if uid else {"ip": ip}


CASES = {
    "ports with the same addresses share a subset": (
        [subset("10.0.0.1", ports="80"), subset("10.0.0.1", ports="90")],
        [subset("10.0.0.1", ports="80 90")],
    ),
    "ports with other addresses have subsets of their own": (
        [subset("10.0.0.1 10.0.0.2", ports="80"), subset("10.0.0.1", ports="90")],
        [subset("10.0.0.1 10.0.0.2", ports="80"), subset("10.0.0.1", ports="90")],
    ),
    "ports whose addresses differ in readiness alone are apart": (
        [subset("10.0.0.1", ports="80"), subset("", "10.0.0.1", ports="90")],
        [subset("10.0.0.1", ports="80"), subset("", "10.0.0.1", ports="90")],
    ),
    "not ready wins over ready, whichever comes first": (
        [subset("10.0.0.1"), subset("", "10.0.0.1"), subset("10.0.0.1")],
        [subset("", "10.0.0.1")],
    ),
    "an address is named once": ([subset("10.0.0.1"), subset("10.0.0.1")], [subset("10.0.0.1")]),
    "an address of two Pods is two": (
        [subset("10.0.0.1/b"), subset("10.0.0.1/a"), subset("10.0.0.1")],
        [subset("10.0.0.1 10.0.0.1/a 10.0.0.1/b")],
    ),
    "addresses are sorted as text": ([subset("10.0.0.9 10.0.0.10")], [subset("10.0.0.10 10.0.0.9")]),
    "addresses without ports have a subset without ports": (
        [subset("10.0.0.2", ports=""), subset("10.0.0.1", ports="")],
        [subset("10.0.0.1 10.0.0.2", ports="")],
    ),
    "addresses without ports do not join those with ports": (
        [subset("10.0.0.1", ports="80"), subset("10.0.0.1", ports="")],
        [subset("10.0.0.1", ports=""), subset("10.0.0.1", ports="80")],
    ),
    "subsets of one port are one": (
        [subset("10.0.0.2", ports="80"), subset("10.0.0.1", ports="80")],
        [subset("10.0.0.1 10.0.0.2", ports="80")],
    ),
    "two ports of a mixed subset stay together": (
        [subset("10.0.0.1", "10.0.0.2", ports="80 90")],
        [subset("10.0.0.1", "10.0.0.2", ports="80 90")],
    ),
    "an address that is ready for one port alone parts the two": (
        [subset("10.0.0.1 10.0.0.2", ports="80"), subset("10.0.0.1", "10.0.0.2", ports="90")],
        [subset("10.0.0.1 10.0.0.2", ports="80"), subset("10.0.0.1", "10.0.0.2", ports="90")],
    ),
    "ports with the same addresses that are not ready share a subset": (
        [subset("", "10.0.0.1", ports="80"), subset("", "10.0.0.1", ports="90")],
        [subset("", "10.0.0.1", ports="80 90")],
    ),
    "no subsets stay none": ([], []),
    "a subset without addresses says nothing": ([subset(ports="80")], []),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_canonical_subsets(case: tuple[list[EndpointSubset], list[EndpointSubset]]) -> None:
    given_, wanted = case
    assert list(canonicalize_subsets(given_)) == wanted


def test_the_first_of_equal_addresses_stands() -> None:
    first = EndpointSubset((EndpointAddress("10.0.0.1", "a", "n1"),), (), (EndpointPort("p", 80),))
    later = EndpointSubset((EndpointAddress("10.0.0.1", "b", "n2"),), (), (EndpointPort("q", 90),))
    assert [a.hostname for s in canonicalize_subsets([first, later]) for a in s.addresses] == ["a"]


_ADDRESSES = st.lists(st.sampled_from([f"10.0.0.{n}" for n in range(1, 5)]), max_size=4).map(" ".join)
_SUBSETS = st.lists(
    st.builds(subset, _ADDRESSES, _ADDRESSES, st.lists(st.sampled_from(["80", "90", "91"]), unique=True).map(" ".join)),
    max_size=5,
)


def expand(subsets: Any) -> dict[tuple[int, str], bool]:
    """The oracle: every (port, address) that is said, and whether no subset says that it is not ready."""
    said: dict[tuple[int, str], bool] = {}
    for one in subsets:
        for port in [p.port for p in one.ports] or [0]:
            for address in one.addresses:
                said.setdefault((port, address.ip), True)
            for address in one.not_ready_addresses:
                said[port, address.ip] = False
    return said


@given(_SUBSETS, st.randoms())
def test_the_canonical_form_says_the_same_in_any_order_and_is_its_own(found: list[EndpointSubset], random: Any) -> None:
    canonical = canonicalize_subsets(found)
    assert expand(canonical) == expand(found)
    shuffled = list(found)
    random.shuffle(shuffled)
    assert canonicalize_subsets(shuffled) == canonical
    assert canonicalize_subsets(reversed(canonical)) == canonical
    assert len({port for one in canonical for port in one.ports or (None,)}) == sum(
        len(one.ports or (None,)) for one in canonical
    ), "each port is in one subset"
    assert count_addresses(canonical) <= count_addresses(found) * 4
