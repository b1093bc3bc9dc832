"""Which way is chosen, and which ranges are refused."""

from __future__ import annotations

import socket

import pytest

from seaway.app.preflight import Choice, Refusal, check_node_place, choose_way, find_overlaps, may_bind
from seaway.net.errors import OperationalError
from seaway.testing.loopback import claim_loopback

YES = None
NO = Refusal("user 1000 found, root needed", "run it with sudo")


@pytest.mark.parametrize(
    ("wanted", "host", "sandbox", "way", "reason"),
    [
        pytest.param(None, YES, YES, "host", "root, and", id="the host way comes first"),
        pytest.param(None, NO, YES, "sandbox", "run it with sudo", id="the next way says what the first lacked"),
        pytest.param(None, NO, NO, "none", "sandbox: user 1000", id="without either there is still the API"),
        pytest.param("sandbox", YES, YES, "sandbox", "asked for", id="the flag decides"),
        pytest.param("none", NO, NO, "none", "asked for", id="none needs nothing"),
    ],
)
def test_the_first_way_that_works_is_chosen(
    wanted: str | None, host: Refusal | None, sandbox: Refusal | None, way: str, reason: str
) -> None:
    choice = choose_way(wanted, {"host": lambda: host, "sandbox": lambda: sandbox})
    assert choice.way == way
    assert reason in choice.reason


def test_a_wanted_way_that_cannot_be_had_is_refused_with_the_mend() -> None:
    with pytest.raises(OperationalError, match="--network host: user 1000 found, root needed; run it with sudo"):
        choose_way("host", {"host": lambda: NO, "sandbox": lambda: YES})


def test_the_reason_of_a_flag_is_the_flag() -> None:
    assert choose_way("none", {}) == Choice("none", "asked for")


@pytest.mark.parametrize(
    ("destination", "overlaps"),
    [
        pytest.param("10.96.0.0/12", True, id="a wider route"),
        pytest.param("10.96.3.0/24", True, id="a narrower route"),
        pytest.param("192.168.0.0/16", False, id="another network"),
        pytest.param("fd00::/8", False, id="another family"),
    ],
)
def test_a_range_that_meets_a_route_of_the_host_is_found(destination: str, overlaps: bool) -> None:
    found = find_overlaps(["10.96.0.0/16"], [(destination, "vpn0")])
    assert bool(found) is overlaps
    if overlaps:
        assert found == [f"10.96.0.0/16 overlaps the host's route to {destination} on vpn0"]


def test_the_nodes_place_on_loopback_is_nobody_elses() -> None:
    with claim_loopback() as claim:
        address = str(claim.map.onto[256])
        check_node_place(address, (20128, 20129))
        with (
            socket.create_server((address, 20129)),
            pytest.raises(OperationalError, match=f"none: {address}:20129 is in use, likely by another Seaway"),
        ):
            check_node_place(address, (20128, 20129))
    with pytest.raises(OperationalError, match=r"127\.0\.0\.0/8 is needed"):
        check_node_place("192.0.2.1", (20128,))


def test_what_another_has_bound_may_be_bound() -> None:
    with claim_loopback() as claim, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        address = str(claim.map.onto[256])
        taken.bind((address, 20130))
        assert may_bind(address, 20130)
    assert not may_bind("192.0.2.1", 20130)
