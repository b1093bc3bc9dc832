"""Rule: issue "userspace data plane" (a port that may not be bound is served on a free one, shown by annotation)."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.service.served import SERVED_AT, Frontend, derive_port, encode_served_at, find_place, parse_served_at
from seaway.api.service.types import Service
from seaway.net.loopback import LoopbackMap
from seaway.testing.builders import make_service

PORTS = st.integers(1, 65535)
FRONTENDS = st.builds(
    Frontend, st.ip_addresses(v=4).map(str), PORTS, st.sampled_from(("TCP", "UDP", "SCTP"))
)  # fmt: skip
PLACES = st.tuples(st.ip_addresses(v=4, network="127.0.0.0/8").map(str), PORTS)


@given(st.dictionaries(FRONTENDS, PLACES, max_size=5))
def test_what_is_written_is_read_back(places: dict[Frontend, tuple[str, int]]) -> None:
    assert parse_served_at(encode_served_at(places)) == places


@given(st.text())
def test_no_text_is_an_error(text: str) -> None:
    parse_served_at(text)


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param("10.96.0.10:80/TCP=192.0.2.1:80", id="a place elsewhere in the world"),
        pytest.param("10.96.0.10:80/TCP=127.96.0.10:0", id="port 0"),
        pytest.param("10.96.0.10:80/TCP=127.96.0.10:99999999999", id="a port beyond all"),
        pytest.param("10.96.0.10:80/TCP", id="no place"),
        pytest.param("[fd00::1]:80/TCP=127.96.0.10:80", id="IPv6"),
    ],
)
def test_what_makes_no_sense_is_left_out(entry: str) -> None:
    good = "10.96.0.10:443/TCP=127.96.0.10:8443"
    assert parse_served_at(f"{entry},{good}") == {Frontend("10.96.0.10", 443): ("127.96.0.10", 8443)}


@pytest.mark.parametrize(
    ("annotation", "place"),
    [
        pytest.param("", ("127.96.0.10", 80), id="its own port on its loopback address"),
        pytest.param("10.96.0.10:80/TCP=127.96.0.10:31514", ("127.96.0.10", 31514), id="another port"),
        pytest.param("10.96.0.10:80/TCP=127.0.0.1:31514", ("127.0.0.1", 31514), id="where loopback has one address"),
        pytest.param("10.96.0.10:80/UDP=127.96.0.10:31514", ("127.96.0.10", 80), id="of another protocol, not at all"),
        pytest.param("10.96.0.9:80/TCP=127.96.0.9:31514", ("127.96.0.10", 80), id="of a former address, not at all"),
    ],
)
def test_where_a_port_is_reached(annotation: str, place: tuple[str, int]) -> None:
    wire = make_service("web", clusterIP="10.96.0.10", ports=[{"port": 80}])
    wire["metadata"]["annotations"] = {SERVED_AT: annotation}
    service = msgspec.convert(wire, Service)
    assert find_place(service, service.spec.ports[0], LoopbackMap()) == place


@pytest.mark.parametrize(
    ("port", "first_free_port", "is_own"),
    [(80, 1024, False), (8080, 1024, True), (1024, 1024, True), (80, 0, True), (80, 80, True)],
)
def test_a_port_that_may_not_be_bound_is_expected_at_another(port: int, first_free_port: int, is_own: bool) -> None:
    service = msgspec.convert(make_service("web", clusterIP="10.96.0.10", ports=[{"port": port}]), Service)
    place = find_place(service, service.spec.ports[0], LoopbackMap(), first_free_port=first_free_port)
    assert place == ("127.96.0.10", port if is_own else derive_port(Frontend("10.96.0.10", port)))


@given(FRONTENDS)
def test_a_derived_port_is_above_node_ports_and_always_the_same(frontend: Frontend) -> None:
    assert 32767 < derive_port(frontend) == derive_port(frontend) <= 60000


def test_an_address_without_a_place_stays_as_it_is() -> None:
    service = msgspec.convert(make_service("web", clusterIP="fd10:96::10", ports=[{"port": 80}]), Service)
    assert find_place(service, service.spec.ports[0], LoopbackMap()) == ("fd10:96::10", 80)
