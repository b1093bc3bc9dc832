"""Addresses and names of hosts."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.dns.lookup import find_hosts, pack_address
from seaway.dns.records import MAX_NAME_BYTES, encoded_size
from tests.dns.fixture import CONFIG, SERIAL, endpoints, headless, make_index, parse


@given(st.one_of(st.ip_addresses().map(str), st.text("0123456789.:af +_-\u0663", max_size=16)))
def test_packed_as_the_standard_library_packs(text: str) -> None:
    try:
        expected = ipaddress.ip_address(text).packed
    except ValueError:
        expected = b""
    assert pack_address(text) == expected


@pytest.mark.parametrize("text", ["", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "+1.2.3.4", "1_0.2.3.4", "1.2.3.4 "])
def test_what_is_no_address_is_packed_as_nothing(text: str) -> None:
    assert pack_address(text) == b""


def test_an_endpoint_whose_name_is_too_long_has_none() -> None:
    index = make_index()
    index.apply_service(None, headless("s" * 63), wall_seconds=SERIAL)
    found = (("10.0.0.1", "h" * 63, True), ("10.0.0.2", "h" * 64, True))
    index.apply_slice(None, endpoints("s" * 63, *found), wall_seconds=SERIAL)
    hosts = find_hosts(parse("s" * 63 + ".@ SRV"), index, CONFIG)
    assert hosts is not None
    assert [host.packed for host in hosts.hosts] == [bytes((10, 0, 0, 1))]
    assert all(encoded_size(host.name) <= MAX_NAME_BYTES for host in hosts.hosts)
