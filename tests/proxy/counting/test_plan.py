"""Rule: issue of the proxy, part 5 (counters of each Service)."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from seaway.net.family import Family
from seaway.proxy.counting.plan import MAX_LABEL, Reading, Tally, find_ports, list_labels, parse_label, write_label
from seaway.proxy.nftables.elements import decode_counts, decode_elements
from seaway.proxy.nftables.objects import Comment
from tests.proxy.scene import Scene


def reading(packets: int, *, key: bytes = b"k", label: str = "default/web") -> Reading:
    return Reading(("IPv4", "connections", key), label, packets)


def test_addresses_of_a_port_are_one_number() -> None:
    tally = Tally()
    assert tally.take([reading(3), reading(4, key=b"node port"), reading(1, label="default/db")]) == {
        "default/web": 7,
        "default/db": 1,
    }


def test_an_address_that_goes_takes_nothing_away() -> None:
    tally = Tally()
    tally.take([reading(3), reading(4, key=b"external")])
    assert tally.take([reading(5)]) == {"default/web": 9}


def test_a_counter_that_is_made_anew_counts_on() -> None:
    tally = Tally()
    tally.take([reading(30)])
    assert tally.take([reading(2)]) == {"default/web": 32}


def test_an_address_that_another_service_takes_over_counts_for_it_from_nothing() -> None:
    tally = Tally()
    tally.take([reading(30)])
    assert tally.take([reading(2, label="default/other")]) == {"default/other": 2}


def test_a_service_that_is_gone_is_not_told_of() -> None:
    tally = Tally()
    tally.take([reading(30)])
    assert tally.take([]) == {}
    assert tally.take([reading(1)]) == {"default/web": 1}


@given(st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=3), min_size=1, max_size=8))
def test_what_is_told_of_a_port_never_shrinks(looks: list[list[int]]) -> None:
    tally, before = Tally(), 0
    for counts in looks:
        (total,) = tally.take([reading(n, key=bytes([i])) for i, n in enumerate(counts)]).values()
        assert total >= max(before, *counts)
        before = total


def test_a_label_says_whose_counter_it_is() -> None:
    assert write_label("default/web", "http") == "default/web:http"
    assert parse_label("default/web:http") == ("default", "web", "http")
    assert parse_label(write_label("default/web", "")) == ("default", "web", "")


def test_a_label_that_is_too_long_is_short_and_found_again() -> None:
    scene = Scene()
    name = "s" * 63
    scene.serve(name)
    scene.sync()
    (forwarding,) = scene.proxier.forwardings(Family.IPV4)
    long = replace(forwarding, service=f"{'n' * 63}/{name}")
    names = list_labels([[long]])
    (label,) = names
    assert len(label) == MAX_LABEL and parse_label(label) is None
    assert find_ports({label: 3, "default/web": 4}, lambda: names) == {
        ("n" * 63, name, long.forwardings[0].port_name): 3,
        ("default", "web", ""): 4,
    }


def test_without_digests_nobody_looks_names_up() -> None:
    def refuse() -> dict[str, tuple[str, str, str]]:
        raise AssertionError

    assert find_ports({"default/web": 4, "nonsense": 5}, refuse) == {("default", "web", ""): 4}


COUNTED = bytes.fromhex(
    "00000000"
    "60000380" "5c000180"
    "14000180" "100001000a60000a0600000000500000"
    "17000600" "001164656661756c742f7765623a68747470" "0000"
    "2c000780" "0c000100636f756e74657200" "1c000280" "0c000100000000000000012c" "0c0002000000000000000005"
)  # fmt: skip
"""An element as nft 1.0.6 sends it and the kernel lists it."""


def test_a_count_is_read_from_the_kernels_bytes_and_is_no_difference_between_rulesets() -> None:
    ((_, label, packets),) = decode_counts(COUNTED)
    assert (label, packets) == ("default/web:http", 5)
    ((_, value),) = decode_elements(COUNTED)
    assert value == Comment("default/web:http")
