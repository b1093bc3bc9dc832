"""Credentials to identities. Rule: spec "api-machinery" §10.1."""

from __future__ import annotations

import pytest

from seaway.api.machinery.http import ANONYMOUS, Identity
from seaway.apiserver.admission import find_node_refusal, node_name_of
from seaway.apiserver.answers import make_warning_headers
from seaway.apiserver.identity import authenticate, find_bearer_token, identity_of_certificate
from seaway.apiserver.rbac import Attributes


def test_a_certificate_names_the_user_and_its_groups() -> None:
    subject = ((("organizationName", "b"),), (("organizationName", "a"),), (("commonName", "ann"),))
    assert identity_of_certificate(subject) == Identity("ann", ("a", "b", "system:authenticated"))
    assert identity_of_certificate(((("organizationName", "a"),),)) is None


def test_nobody_becomes_authenticated_by_being_anonymous() -> None:
    assert authenticate(ANONYMOUS) is ANONYMOUS


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer abc", "abc"),
        ("Bearer  abc", None),
        ("Bearer ", None),
        ("Bearer", None),
        ("Basic abc", None),
        ("", None),
    ],
)
def test_a_bearer_token_is_found(header: str, token: str | None) -> None:
    assert find_bearer_token(header) == token


@pytest.mark.parametrize(
    ("identity", "name"),
    [
        (Identity("system:node:n", ("system:nodes",)), "n"),
        (Identity("system:node:n"), None),
        (Identity("ann", ("system:nodes",)), None),
    ],
)
def test_who_is_a_node(identity: Identity, name: str | None) -> None:
    assert node_name_of(identity) == name


def test_what_a_node_is_not_restricted_in() -> None:
    for asked in (
        Attributes("create", "", "events"),
        Attributes("list", "", "services"),
        Attributes("get", "", "pods"),
    ):
        assert find_node_refusal("n", asked, None, ()) is None


def test_warnings_are_said_once_escaped_and_cut() -> None:
    assert make_warning_headers(['a "b" \\', 'a "b" \\', "bad\n"]) == (("Warning", '299 - "a \\"b\\" \\\\"'),)
    long = make_warning_headers([f"{index}" + "x" * 3000 for index in range(20)])
    assert len(long) == 16 and all(len(value) == len('299 - ""') + 256 for _, value in long)
