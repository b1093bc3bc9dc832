"""Credentials to identities. Rule: spec "api-machinery" §10.1."""

from __future__ import annotations

import pytest

from seaway.api.machinery.http import ANONYMOUS, Identity
from seaway.apiserver.access.identity import (
    authenticate,
    find_bearer_token,
    find_credential_warnings,
    identity_of_certificate,
)
from seaway.apiserver.admission.noderestriction import node_name_of
from seaway.apiserver.answers import make_warning_headers


def test_a_certificate_names_the_user_and_its_groups() -> None:
    subject = ((("organizationName", "b"),), (("organizationName", "a"),), (("commonName", "ann"),))
    assert identity_of_certificate(subject) == Identity("ann", ("a", "b", "system:authenticated"))
    assert identity_of_certificate(((("organizationName", "a"),),)) is None
    with_uid = ((("commonName", "ann"),), (("1.3.6.1.4.1.57683.2", "u-1"),))
    assert identity_of_certificate(with_uid) == Identity("ann", ("system:authenticated",), "u-1")


def test_nobody_becomes_authenticated_by_being_anonymous() -> None:
    assert authenticate(ANONYMOUS) is ANONYMOUS


EXTRA = "the provided Authorization header contains extra space before the bearer token, and is ignored"


@pytest.mark.parametrize(
    ("header", "token", "warnings"),
    [
        pytest.param("Bearer abc", "abc", (), id="a bearer token"),
        pytest.param("bearer abc", "abc", (), id="the scheme in any case"),
        pytest.param("Bearer  abc", None, (EXTRA,), id="an extra blank is ignored with a warning"),
        pytest.param("Bearer ", None, (), id="no token is no credential"),
        pytest.param("Bearer", None, (), id="the scheme alone is none"),
        pytest.param("Basic abc", None, (), id="another scheme is none"),
        pytest.param("", None, (), id="nothing is none"),
    ],
)
def test_a_bearer_token_is_found(header: str, token: str | None, warnings: tuple[str, ...]) -> None:
    headers = {"authorization": header}
    assert find_bearer_token(headers) == token
    assert find_credential_warnings(headers) == warnings


@pytest.mark.parametrize(
    ("offered", "token"),
    [
        pytest.param("v4.channel.k8s.io, base64url.bearer.authorization.k8s.io.YWJj", "abc", id="among others"),
        pytest.param("base64url.bearer.authorization.k8s.io.YWI", "ab", id="without padding"),
        pytest.param("base64url.bearer.authorization.k8s.io._w", None, id="what is no text is none"),
        pytest.param("v4.channel.k8s.io", None, id="none"),
    ],
)
def test_a_websocket_offers_its_token_as_a_subprotocol(offered: str, token: str | None) -> None:
    assert find_bearer_token({"upgrade": "websocket", "sec-websocket-protocol": offered}) == token
    assert find_bearer_token({"sec-websocket-protocol": offered}) is None


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


def test_warnings_are_said_once_escaped_and_cut() -> None:
    assert make_warning_headers(['a "b" \\', 'a "b" \\', "bad\n"]) == (("Warning", '299 - "a \\"b\\" \\\\"'),)
    long = make_warning_headers([f"{index}" + "x" * 3000 for index in range(20)])
    assert len(long) == 16 and all(len(value) == len('299 - ""') + 256 for _, value in long)
