"""The answers of 500 and above that the specification names. Every other one is a bug.

Rule: spec "api-machinery" and "service-api", the section beside each row.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Named:
    """One row: an answer with this code and reason whose message matches, to one of these methods."""

    code: int
    reason: str
    message: str
    rule: str
    methods: str = "GET POST PUT PATCH DELETE"


_PROXIED = "GET HEAD OPTIONS POST PUT PATCH DELETE"
"""A proxy passes every method on."""
NAMED = (
    Named(500, "", r"resourceVersion should not be set on objects to be created", "api-machinery §1.4",
    "POST PUT PATCH"),
    Named(500, "", r"invalid resource version: resourceVersion: Invalid value: .*", "api-machinery §1.4",
    "GET PUT PATCH"),
    Named(500, "ServerTimeout", r".* could not be completed at this time, please try again.*", "api-machinery §1.4"),
    Named(500, "", r"map: .* does not contain declared merge key: .*", "api-machinery §5.3", "PATCH"),
    Named(500, "", r"The order in patch list:\s.* doesn't match \$setElementOrder list:\s.*", "api-machinery §5.3",
    "PATCH"),
    Named(500, "", r"merging lists cannot yet be specified in the patch", "api-machinery §5.3", "PATCH"),
    Named(500, "", r"unknown patch type: .*", "api-machinery §5.3", "PATCH"),
    Named(500, "", r"expecting \$.* to be a list, got .*", "api-machinery §5.3", "PATCH"),
    Named(500, "", r"cannot restore slice from map.*", "api-machinery §5.3", "PATCH"),
    Named(500, "", r"failed to create typed patch object .*", "api-machinery §5.5", "PATCH"),
    Named(500, "InternalError",
    r'Internal error occurred: failed to allocate a serviceIP for Service ".*": range is full', "service-api §3.3"),
    Named(500, "InternalError", r"Internal error occurred: failed to allocate a nodePort: range is full",
    "service-api §3.3"),
    Named(500, "InternalError", r"Internal error occurred: failed to allocate requested HealthCheck NodePort -?\d+: .*",
    "service-api §3.3"),
    Named(500, "InternalError", r"Internal error occurred: failed to allocate a HealthCheck NodePort 0: range is full",
    "service-api §3.3"),
    Named(500, "", r"duplicate nodePort: .*", "service-api §3.3", "PUT PATCH"),
    Named(503, "ServiceUnavailable", r'no endpoints available for service ".*"', "api-machinery §1.4", _PROXIED),
    Named(503, "ServiceUnavailable", r'no service port .* found for service ".*"', "service-api §8", _PROXIED),
    Named(503, "ServiceUnavailable", r"error trying to reach service: .*", "service-api §8", _PROXIED),
    Named(503, "ServiceUnavailable", r"error dialing backend: this server has no way to nodes", "node §5.4", _PROXIED),
    Named(504, "Timeout", r"Timeout: Too large resource version: \d+, current: \d+", "api-machinery §1.4",
    "GET DELETE"),
    Named(504, "Timeout", r"Timeout: request did not complete within .*", "api-machinery §1.4"),
)  # fmt: skip
_PATTERNS = tuple((row, re.compile(row.message, re.DOTALL)) for row in NAMED)


def find_named(method: str, code: int, reason: str, message: str) -> Named | None:
    """The row that allows the answer, or None."""
    for row, pattern in _PATTERNS:
        if row.code == code and row.reason == reason and method in row.methods.split() and pattern.fullmatch(message):
            return row
    return None
