"""Header fields and paths on their way through. Rule: spec "service-api" §8.3; RFC 9110 §7.6.1; design §12."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.apiserver.proxying.headers import (
    Fields,
    make_request_fields,
    make_response_fields,
    make_upgrade_fields,
    split_path,
    wants_upgrade,
)
from seaway.apiserver.upgrade import TOKEN_PROTOCOL

ADDED = (("Connection", "close"), ("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-Uri", "/p/x"))


def sent(*fields: tuple[str, str], is_upgrade: bool = False) -> Fields:
    return make_request_fields(fields, source="192.0.2.1", uri="/p/x", is_upgrade=is_upgrade)


@pytest.mark.parametrize(
    "field",
    [
        ("Authorization", "Bearer secret"),
        ("authorization", "Basic x"),
        ("X-Remote-User", "root"),
        ("x-remote-extra-a", "b"),
        ("Impersonate-User", "root"),
        ("Impersonate-Extra-a", "b"),
        ("Sec-WebSocket-Protocol", f"{TOKEN_PROTOCOL}c2VjcmV0"),
        ("Proxy-Authorization", "x"),
        ("Transfer-Encoding", "chunked"),
        ("TE", "trailers"),
        ("Keep-Alive", "5"),
        ("Upgrade", "h2c"),
        ("Expect", "100-continue"),
        ("X-Forwarded-Uri", "/forged"),
    ],
    ids=lambda field: field[0],
)
def test_credentials_and_what_is_of_one_connection_stay_here(field: tuple[str, str]) -> None:
    assert sent(("Host", "h"), field, ("A", "1")) == (("Host", "h"), ("A", "1"), *ADDED)


def test_what_connection_names_stays_here() -> None:
    assert sent(("Connection", "close, X-Mine"), ("x-mine", "1"), ("Cookie", "a"), ("Cookie", "b")) == (
        ("Cookie", "a"), ("Cookie", "b"), *ADDED
    )  # fmt: skip


def test_who_forwarded_before_is_told_first() -> None:
    assert ("X-Forwarded-For", "1.1.1.1, 2.2.2.2, 192.0.2.1") in sent(("x-forwarded-for", "1.1.1.1, 2.2.2.2"))


def test_an_upgrade_keeps_its_fields_and_the_other_subprotocols() -> None:
    asked = (
        ("Upgrade", "websocket"),
        ("Connection", "keep-alive, Upgrade"),
        ("Sec-WebSocket-Protocol", f"a, {TOKEN_PROTOCOL}x, b"),
    )
    assert wants_upgrade(asked)
    told = sent(*asked, is_upgrade=True)
    assert told[:3] == (("Sec-WebSocket-Protocol", "a, b"), ("Connection", "Upgrade"), ("Upgrade", "websocket"))
    assert make_upgrade_fields(asked)[-2:] == (("Connection", "Upgrade"), ("Upgrade", "websocket"))
    assert not wants_upgrade(asked[:1])


def test_an_answer_loses_its_connection_and_what_opens_the_origin() -> None:
    answer = (
        ("Content-Type", "a"), ("Connection", "x-b"), ("X-B", "1"), ("Access-Control-Allow-Origin", "*"),
        ("cache-control", "max-age=1"), ("Set-Cookie", "a"), ("Set-Cookie", "b"), ("Trailer", "t"),
    )  # fmt: skip
    assert make_response_fields(answer) == (
        ("Content-Type", "a"), ("Cache-Control", "max-age=1"), ("Set-Cookie", "a"), ("Set-Cookie", "b")
    )  # fmt: skip


BASE = "/api/v1/namespaces/n/services/web/proxy"


@pytest.mark.parametrize(
    ("path", "rest"),
    [
        ("", ""),
        ("/", "/"),
        ("/a", "/a"),
        ("/a/", "/a/"),
        ("/a//b", "/a/b"),
        ("//a", "/a"),
        ("/../../x/", "/x/"),
        ("/a/./b/../c", "/a/c"),
        ("/a%20b", "/a%20b"),
        ("/%2e%2e/%2e%2e/x", "/x"),
        ("/a;b=c,d@e:f", "/a;b=c,d@e:f"),
        ("/%ff%00", "/%FF%00"),
        ("/%3fx%23y", "/%3Fx%23y"),
    ],
)
def test_what_follows_the_proxy_is_the_backends_path(path: str, rest: str) -> None:
    assert split_path(BASE + path, 7) == (BASE, rest)


@given(st.text(alphabet="ab/.%2é? ", max_size=20))
def test_no_path_leaves_the_backend_or_breaks_the_request_line(path: str) -> None:
    _, rest = split_path(f"{BASE}/{path}", 7)
    assert rest.startswith("/") and not {"..", "."} & set(rest.split("/"))
    assert rest.isascii() and not {" ", "?", "\r", "\n"} & set(rest)
    assert split_path(BASE + rest, 7) == (BASE, rest)
