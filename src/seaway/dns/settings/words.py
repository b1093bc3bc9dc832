"""Single words of a configuration, and the error that says where one is wrong."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence

from seaway.api.machinery.duration import DurationError, parse_duration
from seaway.dns.records import Name, lower_name, parse_name
from seaway.net.errors import OperationalError

MAX_REVERSE_ZONES = 256
MAX_SECONDS = 366 * 86_400.0


class SettingsError(OperationalError):
    """A configuration that cannot be used: `file:line: what was found, what is allowed`."""

    def __init__(self, text: str, *, file: str, line: int) -> None:
        super().__init__(f"{file}:{line}: {text}")


def read_zone(text: str) -> Name:
    """A zone in lower case; `.` is the root. Raises ValueError."""
    return lower_name(parse_name("" if text == "." else text))


def read_zones(words: Sequence[str]) -> tuple[Name, ...]:
    """Zones, in order. A range of addresses stands for the reverse zones that cover it. Raises ValueError."""
    found: list[Name] = []
    for word in words:
        found.extend(_read_range(word) if "/" in word else (read_zone(word),))
    return tuple(found)


def read_seconds(text: str, *, bare: float = 1.0) -> float:
    """A duration such as `30s`; a bare number counts `bare` seconds each. Raises ValueError."""
    try:
        seconds = float(text) * bare if text.isascii() and text.isdigit() else parse_duration(text)
    except DurationError as error:
        raise ValueError(str(error)) from None
    if not 0 <= seconds <= MAX_SECONDS:
        raise ValueError(f"duration {text}: 0s to a year allowed")
    return seconds


def read_number(text: str, *, low: int = 0, high: int = 1 << 31) -> int:
    """A whole number within bounds. Raises ValueError."""
    if not text.isascii() or not text.isdigit() or len(text) > 12 or not low <= int(text) <= high:
        raise ValueError(f"{text!r} found, a number from {low} to {high} allowed")
    return int(text)


def read_address(text: str, *, port: int) -> tuple[str, int]:
    """`host:port`, `:port` (all addresses, written as ""), or a host with the port given. Raises ValueError."""
    host, colon, number = text.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")):
        host, number = text, str(port)
    host = host.strip("[]")
    if host == "localhost":
        host = "127.0.0.1"
    if host:
        ipaddress.ip_address(host)
    return host, read_number(number, high=65_535)


def read_choice(text: str, choices: Sequence[str]) -> str:
    """One of these words. Raises ValueError."""
    if text not in choices:
        raise ValueError(f"{text!r} found, one of {', '.join(choices)} allowed")
    return text


def read_codes(words: Sequence[str], codes: dict[str, int]) -> frozenset[int]:
    """Response codes by name. Raises ValueError."""
    return frozenset(codes[read_choice(word.upper(), sorted(codes))] for word in words)


def _read_range(text: str) -> Sequence[Name]:
    network = ipaddress.ip_network(text, strict=False)
    bits = 8 if network.version == 4 else 4
    length = -(-network.prefixlen // bits) * bits
    if 1 << (length - network.prefixlen) > MAX_REVERSE_ZONES:
        raise ValueError(f"{text}: too many reverse zones")
    found: list[Name] = []
    for subnet in network.subnets(new_prefix=length):
        labels = subnet.network_address.reverse_pointer.split(".")
        found.append(read_zone(".".join(labels[(network.max_prefixlen - length) // bits :])))
    return found


Read = Callable[[str], str]
"""The text of a file. Raises OSError."""
