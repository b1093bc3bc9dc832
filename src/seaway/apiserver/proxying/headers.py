"""Header fields on their way through the proxy, and the path that the backend sees.

Fields that speak of one connection stay there; credentials of the API never reach a backend.
Rule: spec "service-api" §8.3; RFC 9110 §7.6.1; design §12 (stripped credentials).
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence
from urllib.parse import quote, unquote

from seaway.apiserver.upgrade import TOKEN_PROTOCOL

Fields = tuple[tuple[str, str], ...]
_HOP_BY_HOP = frozenset(
    ("connection", "proxy-connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
     "transfer-encoding", "upgrade")
)  # fmt: skip
_CREDENTIALS = frozenset(("authorization",))
_CREDENTIAL_PREFIXES = ("x-remote-", "impersonate-")
_SET_HERE = frozenset(("x-forwarded-uri", "x-forwarded-for", "expect"))
"""`Expect` is answered by this server, which has the body."""
_CORS = frozenset(
    ("access-control-allow-credentials", "access-control-allow-headers", "access-control-allow-methods",
     "access-control-allow-origin")
)  # fmt: skip
"""A backend does not open the API server's origin to pages of others."""
_SAFE_IN_PATH = "$&+,/:;=@-_.~!*'()"


def make_request_fields(fields: Sequence[tuple[str, str]], *, source: str, uri: str, is_upgrade: bool) -> Fields:
    """What the backend is told. uri: the path that the client asked for."""
    named = _named_by_connection(fields)
    kept: list[tuple[str, str]] = []
    for name, value in fields:
        key = name.lower()
        if key in _HOP_BY_HOP or key in named or key in _CREDENTIALS or key in _SET_HERE:
            continue
        if key.startswith(_CREDENTIAL_PREFIXES):
            continue
        if key == "sec-websocket-protocol":
            value = _without_token(value)
            if not value:
                continue
        kept.append((name, value))
    upgrade = find_field(fields, "upgrade")
    if is_upgrade and upgrade:
        kept += [("Connection", "Upgrade"), ("Upgrade", upgrade)]
    else:
        kept.append(("Connection", "close"))
    before = [value for name, value in fields if name.lower() == "x-forwarded-for"]
    if source or before:
        kept.append(("X-Forwarded-For", ", ".join([*before, source] if source else before)))
    kept.append(("X-Forwarded-Uri", uri))
    return tuple(kept)


def make_response_fields(fields: Sequence[tuple[str, str]]) -> Fields:
    """What the client is told of a backend's answer."""
    named = _named_by_connection(fields)
    return tuple(
        ("Cache-Control" if name.lower() == "cache-control" else name, value)
        for name, value in fields
        if name.lower() not in _HOP_BY_HOP and name.lower() not in named and name.lower() not in _CORS
    )


def make_upgrade_fields(fields: Sequence[tuple[str, str]]) -> Fields:
    """What the client is told of a backend's 101: the upgrade is for both connections."""
    upgrade = find_field(fields, "upgrade") or ""
    return (*make_response_fields(fields), ("Connection", "Upgrade"), ("Upgrade", upgrade))


def wants_upgrade(fields: Sequence[tuple[str, str]]) -> bool:
    """Whether the request wants to leave HTTP, for whatever protocol."""
    return bool(find_field(fields, "upgrade")) and "upgrade" in _named_by_connection(fields)


def find_field(fields: Iterable[tuple[str, str]], key: str) -> str | None:
    """The first value of the field, by its lower-case name."""
    return next((value for name, value in fields if name.lower() == key), None)


def _named_by_connection(fields: Iterable[tuple[str, str]]) -> frozenset[str]:
    values = (value for name, value in fields if name.lower() == "connection")
    return frozenset(part.strip().lower() for value in values for part in value.split(","))


def _without_token(offered: str) -> str:
    """The subprotocols without the one that is a credential of the API."""
    names = (part.strip() for part in offered.split(","))
    return ", ".join(name for name in names if name and not name.startswith(TOKEN_PROTOCOL))


def split_path(path: str, depth: int) -> tuple[str, str]:
    """The prefix of a proxy's path with `depth` segments, and what follows it, both escaped; "" where nothing does.

    What follows is cleaned as paths are, and keeps a slash at its end.
    """
    parts = unquote(path, errors="surrogateescape").lstrip("/").split("/", depth)
    prefix = f"/{_escape('/'.join(parts[:depth]))}"
    if len(parts) <= depth:
        return prefix, ""
    rest = f"/{parts[depth].lstrip('/')}"
    cleaned = posixpath.normpath(rest)
    if rest.endswith("/") and cleaned != "/":
        cleaned += "/"
    return prefix, _escape(cleaned)


def _escape(path: str) -> str:
    return quote(path, safe=_SAFE_IN_PATH, errors="surrogateescape")
