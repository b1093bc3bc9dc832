"""IP addresses and CIDRs as the API takes them.

Old objects may hold spellings that new ones may not: leading zeros, IPv4-mapped IPv6, host bits in a CIDR. So
parsing is lenient and says what it met; the rules decide. No zone ids, no blanks around.
Rule: spec "service-api" §0.5 (IP, IPC, CIDR, EIP), §3.5 (warnings), §13.2.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from dataclasses import dataclass

from seaway.api.machinery.remember import remember_short
from seaway.net.family import Family

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_dotted = re.compile(r"([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,9})").fullmatch
_digits = re.compile("[0-9]{1,9}").fullmatch

IP_TEXT = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
CIDR_TEXT = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
_ZEROS_TEXT = "must not have leading 0s"
_MAPPED_TEXT = "must not be an IPv4-mapped IPv6 address"


@dataclass(frozen=True, slots=True)
class ParsedAddress:
    """An address and how it was spelt. A mapped one is the IPv4 address inside."""

    address: Address
    has_leading_zeros: bool = False
    is_mapped: bool = False

    @property
    def family(self) -> Family:
        return Family.IPV4 if self.address.version == 4 else Family.IPV6


@dataclass(frozen=True, slots=True)
class ParsedNetwork:
    """A CIDR and how it was spelt. `address` keeps the host bits."""

    address: Address
    prefix_length: int
    has_leading_zeros: bool = False
    is_mapped: bool = False

    @property
    def network(self) -> Network:
        """The network without host bits."""
        return ipaddress.ip_network((int(self.address).to_bytes(self.address.max_prefixlen // 8), self.prefix_length),
                                    strict=False)  # fmt: skip

    @property
    def has_host_bits(self) -> bool:
        return self.network.network_address != self.address


@remember_short(4096, length=64)
def find_address(text: str) -> ParsedAddress | None:
    """The address that the text spells, or None. One write asks for each of its addresses about eight times."""
    if ":" not in text:
        quad = _find_quad(text)
        return None if quad is None else ParsedAddress(*quad)
    zeros = False
    if "." in text:
        head, _, tail = text.rpartition(":")
        quad = _find_quad(tail)
        if quad is None:
            return None
        zeros = quad[1]
        number = int(quad[0])
        text = f"{head}:{number >> 16:x}:{number & 0xFFFF:x}"
    if "%" in text:
        return None
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return None
    if address.ipv4_mapped is not None:
        return ParsedAddress(address.ipv4_mapped, zeros, is_mapped=True)
    return ParsedAddress(address, zeros)


def _find_quad(text: str) -> tuple[ipaddress.IPv4Address, bool] | None:
    match = _dotted(text)
    if match is None:
        return None
    numbers = [int(octet) for octet in match.groups()]
    if max(numbers) > 255:
        return None
    zeros = ".".join(map(str, numbers)) != text
    return ipaddress.IPv4Address(bytes(numbers)), zeros


def find_network(text: str) -> ParsedNetwork | None:
    """The CIDR that the text spells, or None."""
    head, slash, tail = text.partition("/")
    parsed = find_address(head)
    if not slash or parsed is None or not _digits(tail):
        return None
    length = int(tail)
    if parsed.is_mapped:
        length -= 96
    if not 0 <= length <= parsed.address.max_prefixlen:
        return None
    zeros = parsed.has_leading_zeros or (len(tail) > 1 and tail[0] == "0")
    return ParsedNetwork(parsed.address, length, zeros, parsed.is_mapped)


@remember_short(4096, length=64)
def canonical_address(text: str) -> str:
    """The one spelling of the address: dotted quad or RFC 5952. Raises ValueError when it is none."""
    parsed = find_address(text)
    if parsed is None:
        raise ValueError(f"{text!r} is not an IP address")
    return str(parsed.address)


@remember_short(4096, length=64)
def find_family(text: str) -> Family | None:
    """The family of the address, or None when it is none."""
    parsed = find_address(text)
    return None if parsed is None else parsed.family


def validate_ip(text: str, old_values: Collection[str] = ()) -> list[str]:
    """An IP of a field that existed before the strict rules (IP). A value that was there already is always fine."""
    if text in old_values:
        return []
    parsed = find_address(text)
    if parsed is None:
        return [IP_TEXT]
    errors = [_ZEROS_TEXT] if parsed.has_leading_zeros else []
    return [*errors, _MAPPED_TEXT] if parsed.is_mapped else errors


def validate_canonical_ip(text: str) -> list[str]:
    """An IP in its one spelling (IPC)."""
    errors = validate_ip(text)
    if errors:
        return errors
    canonical = canonical_address(text)
    return [] if canonical == text else [f'must be in canonical form ("{canonical}")']


def validate_cidr(text: str, old_values: Collection[str] = ()) -> list[str]:
    """A CIDR of a field that existed before the strict rules (CIDR): the first thing wrong with it."""
    if text in old_values:
        return []
    parsed = find_network(text)
    if parsed is None:
        return [CIDR_TEXT]
    if parsed.has_leading_zeros:
        return ["must not have leading 0s in IP or prefix length"]
    if parsed.is_mapped:
        return ["must not have an IPv4-mapped IPv6 address"]
    return ["must not have bits set beyond the prefix length"] if parsed.has_host_bits else []


def validate_canonical_cidr(text: str) -> list[str]:
    """A CIDR in its one spelling (CIDRC)."""
    errors = validate_cidr(text)
    parsed = find_network(text)
    if errors or parsed is None:
        return errors
    canonical = str(parsed.network)
    return [] if canonical == text else [f'must be in canonical form ("{canonical}")']


def validate_endpoint_ip(text: str) -> list[str]:
    """An address that traffic may be sent to (EIP). Multicast beyond link scope is taken, as upstream takes it."""
    refusal = _find_endpoint_refusal(text)
    return [refusal] if refusal else []


@remember_short(4096, length=64)
def _find_endpoint_refusal(text: str) -> str:
    """Empty when there is none. A slice is written many times with mostly the same addresses."""
    parsed = find_address(text)
    if parsed is None:
        return "must be a valid IP address"
    address = parsed.address
    if address.is_unspecified:
        return f"may not be unspecified ({text})"
    if address.is_loopback:
        return "may not be in the loopback range (127.0.0.0/8, ::1/128)"
    if address.is_link_local:
        return "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
    if _is_link_local_multicast(address):
        return "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
    return ""


def _is_link_local_multicast(address: Address) -> bool:
    number = int(address)
    if address.version == 4:
        return number >> 8 == 0xE00000
    return number >> 120 == 0xFF and (number >> 112) & 0x0F == 2


def warn_of_ip(path: str, text: str) -> list[str]:
    """The warning about how an address is spelt. None for what is no address: that is an error elsewhere."""
    parsed = find_address(text)
    if parsed is None:
        return []
    canonical = canonical_address(text)
    if parsed.has_leading_zeros or parsed.is_mapped:
        return [f'{path}: non-standard IP address "{text}" is invalid: use "{canonical}"']
    if canonical != text:
        return [f'{path}: IPv6 address "{text}" should be in RFC 5952 canonical format ("{canonical}")']
    return []


def warn_of_cidr(path: str, text: str) -> list[str]:
    """The warnings about how a CIDR is spelt."""
    parsed = find_network(text)
    if parsed is None:
        return []
    warnings = []
    if parsed.has_host_bits:
        single = f"{parsed.address}/{parsed.address.max_prefixlen}"
        warnings.append(
            f'{path}: CIDR value "{text}" is ambiguous in this context (should be "{parsed.network}" or "{single}"?)'
        )
    canonical = f"{parsed.address}/{parsed.prefix_length}"
    if parsed.has_leading_zeros or parsed.is_mapped:
        warnings.append(f'{path}: non-standard CIDR value "{text}" is invalid: use "{canonical}"')
    if not warnings and canonical != text:
        warnings.append(f'{path}: IPv6 CIDR value "{text}" should be in RFC 5952 canonical format ("{canonical}")')
    return warnings
