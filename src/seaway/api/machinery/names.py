"""What is wrong with a name, as the texts that clients see; an empty list means nothing is.

Length limits count bytes of the UTF-8 text. Several texts may apply at once, and all are returned.
Rule: spec "service-api" §0.5.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from seaway.api.machinery.field import FieldError, invalid

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = f"({_QUALIFIED})?"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"

_is_label = re.compile(_LABEL).fullmatch
_is_label_1035 = re.compile(_LABEL_1035).fullmatch
_is_subdomain = re.compile(_SUBDOMAIN).fullmatch
_is_qualified = re.compile(_QUALIFIED).fullmatch
_is_label_value = re.compile(_LABEL_VALUE).fullmatch
_is_config_key = re.compile(_CONFIG_KEY).fullmatch
_has_port_characters = re.compile("[-a-z0-9]+").fullmatch
_is_env_name = re.compile("[ -<>-~]+").fullmatch

MAX_LABEL_BYTES = 63
MAX_SUBDOMAIN_BYTES = 253
MAX_PORT_NAME_BYTES = 15

_LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    f"with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL}')"
)
_LABEL_1035_TEXT = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    f"'{_LABEL_1035}')"
)
_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    f"'{_SUBDOMAIN}')"
)
_QUALIFIED_TEXT = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    f"(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{_QUALIFIED}')"
)
_LABEL_VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    f"'{_LABEL_VALUE}')"
)
_CONFIG_KEY_TEXT = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  "
    f"or 'key-name', regex used for validation is '{_CONFIG_KEY}')"
)
_ENV_NAME_TEXT = "a valid environment variable name must consist only of printable ASCII characters other than '='"


def _byte_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))


def validate_label(text: str) -> list[str]:
    """A DNS-1123 label (L1123): Service, Namespace, port and host names."""
    errors = []
    if _byte_length(text) > MAX_LABEL_BYTES:
        errors.append("must be no more than 63 characters")
    if not _is_label(text):
        errors.append("must not contain dots" if _is_subdomain(text) else _LABEL_TEXT)
    return errors


def validate_label_1035(text: str) -> list[str]:
    """A DNS-1035 label (L1035): starts with a letter."""
    errors = []
    if _byte_length(text) > MAX_LABEL_BYTES:
        errors.append("must be no more than 63 characters")
    if not _is_label_1035(text):
        errors.append(_LABEL_1035_TEXT)
    return errors


def _validate_subdomain(text: str, unit: str) -> list[str]:
    errors = []
    if _byte_length(text) > MAX_SUBDOMAIN_BYTES:
        errors.append(f"must be no more than 253 {unit}")
    if not _is_subdomain(text):
        errors.append(_SUBDOMAIN_TEXT)
    return errors


def validate_subdomain(text: str) -> list[str]:
    """A DNS-1123 subdomain (SUB). Its labels have no length limit of their own."""
    return _validate_subdomain(text, "characters")


def validate_qualified_name(text: str) -> list[str]:
    """`[prefix/]name` (QN): label keys, finalizers, application protocols."""
    prefix, slash, name = text.partition("/")
    if "/" in name:
        suffix = " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        return [f"a valid label key {_QUALIFIED_TEXT}{suffix}"]
    errors = []
    if not slash:
        name = prefix
    elif not prefix:
        errors.append("prefix part must be non-empty")
    else:
        errors.extend(f"prefix part {error}" for error in _validate_subdomain(prefix, "bytes"))
    if not name:
        errors.append("name part must be non-empty")
    elif _byte_length(name) > MAX_LABEL_BYTES:
        errors.append("name part must be no more than 63 bytes")
    if not _is_qualified(name):
        errors.append(f"name part {_QUALIFIED_TEXT}")
    return errors


def validate_label_value(text: str) -> list[str]:
    """The value of a label (LV); empty is fine."""
    errors = []
    if _byte_length(text) > MAX_LABEL_BYTES:
        errors.append("must be no more than 63 bytes")
    if not _is_label_value(text):
        errors.append(_LABEL_VALUE_TEXT)
    return errors


def validate_port_name(text: str) -> list[str]:
    """An IANA service name (PNAME): what a target port may be called."""
    errors = []
    if _byte_length(text) > MAX_PORT_NAME_BYTES:
        errors.append("must be no more than 15 characters")
    if not _has_port_characters(text):
        errors.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", text):
        errors.append("must contain at least one letter (a-z)")
    if "--" in text:
        errors.append("must not contain consecutive hyphens")
    if text.startswith("-") or text.endswith("-"):
        errors.append("must not begin or end with a hyphen")
    return errors


def validate_path_segment(text: str) -> list[str]:
    """A name that is only held to being one segment of a URL path."""
    if text in (".", ".."):
        return [f"may not be '{text}'"]
    return [f"may not contain '{character}'" for character in "/%" if character in text]


def validate_config_key(text: str) -> list[str]:
    """A key of a ConfigMap or a Secret."""
    errors = []
    if _byte_length(text) > MAX_SUBDOMAIN_BYTES:
        errors.append("must be no more than 253 characters")
    if not _is_config_key(text):
        errors.append(_CONFIG_KEY_TEXT)
    if text in (".", ".."):
        errors.append(f"must not be '{text}'")
    elif text.startswith(".."):
        errors.append("must not start with '..'")
    return errors


def validate_env_name(text: str) -> list[str]:
    """The name of an environment variable: printable ASCII without `=`."""
    if not text:
        return ["environment variable name must be non-empty"]
    return [] if _is_env_name(text) else [_ENV_NAME_TEXT]


def invalid_by(rule: Callable[[str], Iterable[str]], path: str, text: str) -> list[FieldError]:
    """The texts that the rule finds, each as an Invalid error of the path."""
    return [invalid(path, text, detail) for detail in rule(text)]
