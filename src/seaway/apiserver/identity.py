"""Who sends a request: client certificate, bearer token, nobody; and whom it asks to be taken for.

Rule: spec "api-machinery" §10.1. Wrong credentials are 401; none are the anonymous user.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import unquote

from seaway.api.machinery.errors import BadRequest
from seaway.api.machinery.http import ANONYMOUS, Identity
from seaway.apiserver.rbac import Attributes

AUTHENTICATED = "system:authenticated"
_SERVICE_ACCOUNT = "system:serviceaccount:"
_AUTHENTICATION_GROUP = "authentication.k8s.io"
_UID_OID = "1.3.6.1.4.1.57683.2"
_PROTOCOL_PREFIX = "base64url.bearer.authorization.k8s.io."
_EXTRA_SPACE = "the provided Authorization header contains extra space before the bearer token, and is ignored"
Subject = Sequence[Sequence[tuple[str, str]]]
Authorize = Callable[[Identity, Attributes], None]


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


def impersonate(headers: Mapping[str, str], identity: Identity, authorize: Authorize) -> Identity:
    """Whom the Impersonate headers ask for. Raises Forbidden and BadRequest.

    Several groups come joined by newlines, as a repeated header does (`serve.py`).
    """
    user = headers.get("impersonate-user", "")
    groups = [group for group in headers.get("impersonate-group", "").split("\n") if group]
    uid = headers.get("impersonate-uid", "")
    extra = {
        unquote(key.removeprefix("impersonate-extra-")): tuple(value.split("\n"))
        for key, value in headers.items()
        if key.startswith("impersonate-extra-")
    }
    if not user:
        if not (groups or uid or extra):
            return identity
        raise BadRequest(f"requested {groups or uid or extra} without impersonating a user name")
    if user.startswith(_SERVICE_ACCOUNT) and user.count(":") == 3:
        _, _, namespace, name = user.split(":")
        authorize(identity, Attributes("impersonate", resource="serviceaccounts", namespace=namespace, name=name))
        groups = groups or ["system:serviceaccounts", f"system:serviceaccounts:{namespace}"]
    else:
        authorize(identity, Attributes("impersonate", resource="users", name=user))
    for group in groups:
        authorize(identity, Attributes("impersonate", resource="groups", name=group))
    if uid:
        authorize(identity, Attributes("impersonate", _AUTHENTICATION_GROUP, "uids", name=uid))
    for key, values in extra.items():
        for value in values:
            authorize(identity, Attributes("impersonate", _AUTHENTICATION_GROUP, "userextras", key, name=value))
    if user == ANONYMOUS.user:
        return ANONYMOUS
    return authenticate(Identity(user, tuple(groups), uid, tuple(sorted(extra.items()))))
