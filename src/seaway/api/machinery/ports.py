"""Port numbers and protocols. Rule: spec "service-api" §0.5 (PN), §3.2 R12, R13."""

from __future__ import annotations

import re
from typing import Any

from seaway.api.machinery.field import FieldError, invalid, not_supported, required
from seaway.api.machinery.names import invalid_by, validate_port_name, validate_qualified_name

PROTOCOLS = ("SCTP", "TCP", "UDP")


MAX_PORT = 65535
DEFAULT_NODE_PORTS = (30000, 32767)
_RANGE = re.compile(r"([0-9]{1,9})(?:([-+])([0-9]{1,9}))?")


def parse_port_range(text: str) -> tuple[int, int]:
    """The first and the last port of `N`, `FIRST-LAST` or `FIRST+OFFSET`; the default for "". Raises ValueError.

    Rule: spec "service-api" §5.1.
    """
    if not text.strip():
        return DEFAULT_NODE_PORTS
    found = _RANGE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"unable to parse port range: {text}")
    first = int(found[1])
    last = first if found[2] is None else int(found[3]) + (first if found[2] == "+" else 0)
    if first > MAX_PORT or last > MAX_PORT:
        raise ValueError(f"the port range cannot be greater than 65535: {first}-{last}")
    if last < first:
        raise ValueError(f"end port cannot be less than start port: {first}-{last}")
    if first == 0:
        raise ValueError(f"the port range cannot begin with 0: {first}-{last}")
    return first, last


def validate_port_number(number: int) -> list[str]:
    """1 to 65535."""
    return [] if 1 <= number <= 65535 else ["must be between 1 and 65535, inclusive"]


def invalid_port(path: str, number: Any) -> list[FieldError]:
    """What is wrong with a port number at the path; absent counts as 0."""
    number = number or 0
    return [invalid(path, number, detail) for detail in validate_port_number(number)]


def invalid_port_reference(path: str, reference: int | str) -> list[FieldError]:
    """What is wrong with a number or a name of a container port. `"80"` is a name, and a wrong one."""
    if isinstance(reference, str):
        return invalid_by(validate_port_name, path, reference)
    return invalid_port(path, reference)


def invalid_protocol(path: str, protocol: str | None) -> list[FieldError]:
    """Absent is Required: defaults have run."""
    if not protocol:
        return [required(path)]
    return [] if protocol in PROTOCOLS else [not_supported(path, protocol, PROTOCOLS)]


def invalid_app_protocol(path: str, protocol: str | None) -> list[FieldError]:
    """A qualified name when present; the empty string is present."""
    return [] if protocol is None else invalid_by(validate_qualified_name, path, protocol)
