"""Names and their texts. Rule: spec "service-api" §0.5."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.machinery.names import (
    validate_config_key,
    validate_env_name,
    validate_label,
    validate_label_1035,
    validate_label_value,
    validate_path_segment,
    validate_port_name,
    validate_qualified_name,
    validate_subdomain,
)

LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
LABEL_1035 = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'[a-z]([-a-z0-9]*[a-z0-9])?')"
)
SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
NAME_PART = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
VALUE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
ALPHANUMERIC = "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
ONE_LETTER = "must contain at least one letter (a-z)"
EDGES = "must not begin or end with a hyphen"

CASES: tuple[tuple[str, Callable[[str], list[str]], str, list[str]], ...] = (
    ("a label may start with a digit", validate_label, "1a", []),
    ("a label has no dots", validate_label, "a.b", ["must not contain dots"]),
    ("a label has no capitals", validate_label, "My_Svc", [LABEL]),
    ("a label is not empty", validate_label, "", [LABEL]),
    ("a label ends at its last character, not before a newline", validate_label, "a\n", [LABEL]),
    ("a label has 63 bytes at most", validate_label, "a" * 64, ["must be no more than 63 characters"]),
    ("length counts bytes", validate_label, "ä" * 32, ["must be no more than 63 characters", LABEL]),
    ("a 1035 label starts with a letter", validate_label_1035, "1a", [LABEL_1035]),
    ("a 1035 label may end with a digit", validate_label_1035, "a1", []),
    ("a subdomain has dots", validate_subdomain, "a.b-c.9", []),
    ("a subdomain has no empty label", validate_subdomain, "a..b", [SUBDOMAIN]),
    ("a subdomain's label may be long", validate_subdomain, "a" * 200, []),
    ("a subdomain has 253 bytes at most", validate_subdomain, "a" * 254, ["must be no more than 253 characters"]),
    ("a qualified name needs no prefix", validate_qualified_name, "My_name.1", []),
    ("a qualified name may have a domain", validate_qualified_name, "example.com/name", []),
    ("a prefix is not empty", validate_qualified_name, "/a", ["prefix part must be non-empty"]),
    ("a prefix is a subdomain", validate_qualified_name, "A/a", [f"prefix part {SUBDOMAIN}"]),
    (
        "a prefix counts bytes",
        validate_qualified_name,
        f"{'a' * 254}/a",
        ["prefix part must be no more than 253 bytes"],
    ),
    (
        "a name part is not empty",
        validate_qualified_name,
        "a/",
        ["name part must be non-empty", f"name part {NAME_PART}"],
    ),
    ("a name part is 63 bytes at most", validate_qualified_name, "a" * 64, ["name part must be no more than 63 bytes"]),
    ("a name part has no blanks", validate_qualified_name, "a b", [f"name part {NAME_PART}"]),
    (
        "one slash is enough",
        validate_qualified_name,
        "a/b/c",
        [f"a valid label key {NAME_PART} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"],
    ),
    ("a label value may be empty", validate_label_value, "", []),
    ("a label value has no blanks", validate_label_value, "a b", [VALUE]),
    ("a label value is 63 bytes at most", validate_label_value, "a" * 64, ["must be no more than 63 bytes"]),
    ("a port name has a letter", validate_port_name, "80", [ONE_LETTER]),
    ("a port name is not empty", validate_port_name, "", [ALPHANUMERIC, ONE_LETTER]),
    ("a port name has 15 bytes at most", validate_port_name, "a" * 16, ["must be no more than 15 characters"]),
    ("a port name has no two hyphens", validate_port_name, "a--b", ["must not contain consecutive hyphens"]),
    ("a port name does not end with a hyphen", validate_port_name, "a-", [EDGES]),
    ("all that is wrong with a port name is said", validate_port_name, "-A", [ALPHANUMERIC, ONE_LETTER, EDGES]),
    ("a path segment is not the parent", validate_path_segment, "..", ["may not be '..'"]),
    (
        "a path segment has neither / nor %",
        validate_path_segment,
        "a/%",
        ["may not contain '/'", "may not contain '%'"],
    ),
    ("a config key may start with a dot", validate_config_key, ".dockercfg", []),
    ("a config key does not climb", validate_config_key, "..a", ["must not start with '..'"]),
    ("an environment name may be odd", validate_env_name, "a.b-c 1", []),
    (
        "an environment name has no equals sign",
        validate_env_name,
        "a=b",
        ["a valid environment variable name must consist only of printable ASCII characters other than '='"],
    ),
)


@pytest.mark.parametrize(("rule", "text", "texts"), [pytest.param(*case[1:], id=case[0]) for case in CASES])
def test_names(rule: Callable[[str], list[str]], text: str, texts: list[str]) -> None:
    assert rule(text) == texts


@given(st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True))
def test_every_label_is_a_subdomain_and_a_label_value(text: str) -> None:
    assert not validate_label(text)
    assert not validate_subdomain(text)
    assert not validate_label_value(text)


@given(st.text())
def test_any_text_gets_an_answer(text: str) -> None:
    for rule in (validate_label, validate_subdomain, validate_qualified_name, validate_port_name, validate_config_key):
        assert all(isinstance(error, str) for error in rule(text))
    assert bool(validate_label(text)) == (not re.fullmatch("[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", text))
