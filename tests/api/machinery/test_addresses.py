"""IP addresses and CIDRs. Rule: spec "service-api" §0.5, §3.5, §13.2."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.machinery.addresses import (
    canonical_address,
    find_address,
    find_network,
    validate_canonical_ip,
    validate_cidr,
    validate_endpoint_ip,
    validate_ip,
    warn_of_cidr,
    warn_of_ip,
)

IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
LOOPBACK = "may not be in the loopback range (127.0.0.0/8, ::1/128)"
LINK_LOCAL = "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
MULTICAST = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"

Rule = Callable[[str], list[str]]
CASES: tuple[tuple[str, Rule, str, list[str]], ...] = (
    ("an IPv4 address", validate_ip, "10.0.0.1", []),
    ("an IPv6 address in odd spelling", validate_ip, "2001:DB8:0::1", []),
    ("an IPv6 address with a dotted quad", validate_ip, "64:ff9b::1.2.3.4", []),
    ("an empty text is no address", validate_ip, "", [IP]),
    ("a name is no address", validate_ip, "web", [IP]),
    ("four octets", validate_ip, "1.2.3", [IP]),
    ("an octet is 255 at most", validate_ip, "1.2.3.256", [IP]),
    ("no blanks around", validate_ip, " 1.2.3.4", [IP]),
    ("no newline after", validate_ip, "1.2.3.4\n", [IP]),
    ("no zone", validate_ip, "fe80::1%eth0", [IP]),
    ("digits are ASCII", validate_ip, "1.2.3.٤", [IP]),
    ("leading zeros are named as such", validate_ip, "10.0.00.1", ["must not have leading 0s"]),
    ("a mapped address is refused", validate_ip, "::ffff:1.2.3.4", ["must not be an IPv4-mapped IPv6 address"]),
    ("a mapped address is refused in hexadecimal too", validate_ip, "::ffff:102:304",
     ["must not be an IPv4-mapped IPv6 address"]),
    ("a group has four digits at most", validate_ip, "2001:db8::12345", [IP]),
    ("groups are left out once", validate_ip, "2001::db8::1", [IP]),
    ("eight groups", validate_ip, "1:2:3:4:5:6:7", [IP]),
    ("no brackets", validate_ip, "[fd00::1]", [IP]),
    ("an address has no length", validate_ip, "10.0.0.0/8", [IP]),
    ("a negative octet is none", validate_ip, "10.0.0.-1", [IP]),
    ("canonical form", validate_canonical_ip, "2001:DB8::1", ['must be in canonical form ("2001:db8::1")']),
    ("canonical form of an embedded quad", validate_canonical_ip, "64:ff9b::1.2.3.4",
     ['must be in canonical form ("64:ff9b::102:304")']),
    ("canonical already", validate_canonical_ip, "2001:db8::1", []),
    ("a CIDR", validate_cidr, "10.0.0.0/8", []),
    ("a CIDR needs a length", validate_cidr, "10.0.0.0", [CIDR]),
    ("a length is 32 at most", validate_cidr, "10.0.0.0/33", [CIDR]),
    ("an IPv6 length is 128 at most", validate_cidr, "fd00::/129", [CIDR]),
    ("a length is a number", validate_cidr, "10.0.0.0/255.0.0.0", [CIDR]),
    ("a length is not negative", validate_cidr, "10.0.0.0/-8", [CIDR]),
    ("a length has no sign", validate_cidr, "10.0.0.0/+8", [CIDR]),
    ("no blanks around a CIDR", validate_cidr, " 10.0.0.0/8", [CIDR]),
    ("a CIDR has no zone", validate_cidr, "fe80::%eth0/64", [CIDR]),
    ("everything is a CIDR", validate_cidr, "::/0", []),
    ("one address is a CIDR", validate_cidr, "10.0.0.1/32", []),
    ("an address of a CIDR has no leading zeros", validate_cidr, "010.0.0.0/8",
     ["must not have leading 0s in IP or prefix length"]),
    ("an IPv6 CIDR has no host bits", validate_cidr, "fd00::1/64",
     ["must not have bits set beyond the prefix length"]),
    ("a CIDR has no host bits", validate_cidr, "10.0.0.1/8", ["must not have bits set beyond the prefix length"]),
    ("a length has no leading zeros", validate_cidr, "10.0.0.0/08",
     ["must not have leading 0s in IP or prefix length"]),
    ("a mapped CIDR is refused", validate_cidr, "::ffff:10.0.0.0/104", ["must not have an IPv4-mapped IPv6 address"]),
    ("an endpoint", validate_endpoint_ip, "10.1.2.3", []),
    ("an endpoint is an address", validate_endpoint_ip, "web", ["must be a valid IP address"]),
    ("an endpoint is somewhere", validate_endpoint_ip, "::", ["may not be unspecified (::)"]),
    ("an endpoint is not on loopback", validate_endpoint_ip, "127.0.0.5", [LOOPBACK]),
    ("an endpoint is not on IPv6 loopback", validate_endpoint_ip, "::1", [LOOPBACK]),
    ("an endpoint is not link-local", validate_endpoint_ip, "169.254.1.1", [LINK_LOCAL]),
    ("an endpoint is not IPv6 link-local", validate_endpoint_ip, "fe80::1", [LINK_LOCAL]),
    ("an endpoint is not link-local multicast", validate_endpoint_ip, "224.0.0.9", [MULTICAST]),
    ("IPv6 link-local multicast has any flags", validate_endpoint_ip, "ff12::1", [MULTICAST]),
    ("wider multicast is taken, as upstream takes it", validate_endpoint_ip, "239.0.0.1", []),
    ("no warning for a plain address", lambda t: warn_of_ip("p", t), "10.0.0.1", []),
    ("no warning for what is no address", lambda t: warn_of_ip("p", t), "web", []),
    ("a warning for leading zeros", lambda t: warn_of_ip("p", t), "010.0.0.1",
     ['p: non-standard IP address "010.0.0.1" is invalid: use "10.0.0.1"']),
    ("a warning for capitals", lambda t: warn_of_ip("p", t), "FD00::1",
     ['p: IPv6 address "FD00::1" should be in RFC 5952 canonical format ("fd00::1")']),
    ("a warning for host bits", lambda t: warn_of_cidr("p", t), "10.0.0.1/8",
     ['p: CIDR value "10.0.0.1/8" is ambiguous in this context (should be "10.0.0.0/8" or "10.0.0.1/32"?)']),
    ("a warning for an odd IPv6 CIDR", lambda t: warn_of_cidr("p", t), "FD00::/8",
     ['p: IPv6 CIDR value "FD00::/8" should be in RFC 5952 canonical format ("fd00::/8")']),
)  # fmt: skip


@pytest.mark.parametrize(("rule", "text", "texts"), [pytest.param(*case[1:], id=case[0]) for case in CASES])
def test_addresses(rule: Rule, text: str, texts: list[str]) -> None:
    assert rule(text) == texts


def test_a_value_that_was_there_before_is_fine() -> None:
    assert validate_ip("010.0.0.1", ["010.0.0.1"]) == []
    assert validate_cidr("10.0.0.1/8", ["10.0.0.1/8"]) == []


@given(st.ip_addresses())
def test_the_canonical_spelling_names_the_same_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    parsed = find_address(address.exploded)
    assert parsed is not None
    if not parsed.is_mapped:
        assert ipaddress.ip_address(canonical_address(address.exploded)) == address
        assert validate_canonical_ip(str(address)) == []


@given(st.text(alphabet="0123456789abcdef:./%", max_size=24))
def test_what_is_found_is_what_the_standard_library_finds(text: str) -> None:
    """Leading zeros and zones are the only differences."""
    try:
        expected = ipaddress.ip_address(text)
    except ValueError:
        parsed = find_address(text)
        assert parsed is None or parsed.has_leading_zeros
    else:
        parsed = find_address(text)
        assert (parsed is None) == ("%" in text)
        assert parsed is None or parsed.is_mapped or parsed.address == expected
    assert find_network(text) is None or "/" in text


@pytest.mark.parametrize(
    ("text", "is_address"),
    [
        pytest.param("000000010.0.0.1", True, id="nine digits make a number of an old spelling"),
        pytest.param("0000000010.0.0.1", False, id="ten digits make none"),
        pytest.param("256.0.0.1", False, id="nor does more than 255"),
    ],
)
def test_the_digits_of_a_quad(text: str, is_address: bool) -> None:
    assert (find_address(text) is not None) == is_address
