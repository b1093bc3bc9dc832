"""Who sends a request: what its certificate and its headers say. (Tokens: `authenticate.py`.)

Rule: spec "api-machinery" §10.1. Wrong credentials are 401; none are the anonymous user.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from urllib.parse import unquote

from seaway.api.machinery.http import ANONYMOUS, Identity

AUTHENTICATED = "system:authenticated"
_UID_OID = "1.3.6.1.4.1.57683.2"
_PROTOCOL_PREFIX = "base64url.bearer.authorization.k8s.io."
_FORWARDED_EXTRA = "x-remote-extra-"
_EXTRA_SPACE = "the provided Authorization header contains extra space before the bearer token, and is ignored"
Subject = Sequence[Sequence[tuple[str, str]]]


def identity_of_certificate(subject: Subject) -> Identity | None:
    """The identity in a verified certificate's subject, as the ssl module shows it; None without a common name."""
    found: dict[str, list[str]] = {}
    for part in subject:
        for key, value in part:
            found.setdefault(key, []).append(value)
    names = found.get("commonName")
    if not names:
        return None
    uids = found.get(_UID_OID, [""])
    return authenticate(Identity(names[-1], tuple(found.get("organizationName", ())), uids[0]))


def find_forwarded_identity(headers: Mapping[str, str]) -> Identity | None:
    """Whom a front proxy speaks for, None when it does not say. Only to be asked of one that is trusted.

    Several groups, and several values of an extra, come joined by newlines (`serve.py`).
    """
    user = headers.get("x-remote-user", "")
    if not user:
        return None
    groups = tuple(group for group in headers.get("x-remote-group", "").split("\n") if group)
    extra = tuple(
        sorted(
            (unquote(key.removeprefix(_FORWARDED_EXTRA)), tuple(value.split("\n")))
            for key, value in headers.items()
            if key.startswith(_FORWARDED_EXTRA)
        )
    )
    return authenticate(Identity(user, groups, headers.get("x-remote-uid", ""), extra))


def authenticate(identity: Identity) -> Identity:
    """The identity with the group of everybody who is known, its groups sorted."""
    if identity.user == ANONYMOUS.user:
        return identity
    groups = tuple(sorted({*identity.groups, AUTHENTICATED}))
    return Identity(identity.user, groups, identity.uid, identity.extra)


def find_bearer_token(headers: Mapping[str, str]) -> str | None:
    """The token that a request brings; None when it brings no bearer credential.

    A browser's WebSocket cannot send an Authorization header, so there the token is one of the offered subprotocols.
    """
    authorization = headers.get("authorization")
    if authorization is not None:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() == "bearer" and token and not token.startswith(" "):
            return token.strip()
    if headers.get("upgrade", "").lower() != "websocket":
        return None
    for offered in headers.get("sec-websocket-protocol", "").replace("\n", ",").split(","):
        if offered.strip().startswith(_PROTOCOL_PREFIX):
            return _decode_protocol(offered.strip().removeprefix(_PROTOCOL_PREFIX))
    return None


def _decode_protocol(encoded: str) -> str | None:
    try:
        return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode() or None
    except ValueError:
        return None


def find_credential_warnings(headers: Mapping[str, str]) -> tuple[str, ...]:
    """What to tell a client whose credential was not seen as one."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return (_EXTRA_SPACE,) if scheme.lower() == "bearer" and token.startswith(" ") and token.strip() else ()
