"""Port numbers and protocols. Rule: spec "service-api" §0.5 (PN), §3.2 R12, R13."""

from __future__ import annotations

from typing import Any

from seaway.api.machinery.field import FieldError, invalid, not_supported, required
from seaway.api.machinery.names import invalid_by, validate_port_name, validate_qualified_name

PROTOCOLS = ("SCTP", "TCP", "UDP")


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
