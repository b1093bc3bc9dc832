"""HTTP paths and hosts of an Ingress. Rule: spec "service-api" §10."""

from __future__ import annotations

import re

from seaway.api.machinery.addresses import find_address
from seaway.api.machinery.field import FieldError, invalid, not_supported, required
from seaway.api.machinery.names import MAX_SUBDOMAIN_BYTES, invalid_by, validate_subdomain

PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_FORBIDDEN = ("//", "/./", "/../", "%2f", "%2F")
_FORBIDDEN_ENDS = ("/..", "/.")
_WILDCARD = r"\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_is_wildcard = re.compile(_WILDCARD).fullmatch
_WILDCARD_TEXT = (
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of "
    "lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', "
    f"regex used for validation is '{_WILDCARD}')"
)


def validate_wildcard(text: str) -> list[str]:
    """`*.example.com`."""
    errors = [] if len(text) <= MAX_SUBDOMAIN_BYTES else ["must be no more than 253 characters"]
    return errors if _is_wildcard(text) else [*errors, _WILDCARD_TEXT]


def validate_host(host: str, path: str, *, may_be_address: bool = False) -> list[FieldError]:
    """A name, or a wildcard for one label. may_be_address: of TLS, where nobody looks for addresses."""
    errors: list[FieldError] = []
    if not may_be_address and find_address(host) is not None:
        errors.append(invalid(path, host, "must be a DNS name, not an IP address"))
    return errors + invalid_by(validate_wildcard if "*" in host else validate_subdomain, path, host)


def validate_path(path_type: str | None, text: str, path: str) -> list[FieldError]:
    """The path and its type."""
    if path_type is None:
        return [required(f"{path}.pathType", "pathType must be specified")]
    if path_type not in PATH_TYPES:
        return [not_supported(f"{path}.pathType", path_type, PATH_TYPES)]
    where = f"{path}.path"
    if path_type == "ImplementationSpecific":
        return [] if not text or text.startswith("/") else [invalid(where, text, "must be an absolute path")]
    if not text.startswith("/"):
        return [invalid(where, text, "must be an absolute path")]
    errors = [invalid(where, text, f"must not contain '{part}'") for part in _FORBIDDEN if part in text]
    return errors + [invalid(where, text, f"cannot end with '{e}'") for e in _FORBIDDEN_ENDS if text.endswith(e)]
