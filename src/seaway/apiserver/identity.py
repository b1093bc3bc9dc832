"""Who sends a request: client certificate, bearer token, nobody; and whom it asks to be taken for.

Rule: spec "api-machinery" §10.1. Wrong credentials are 401; none are the anonymous user.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from urllib.parse import unquote

from seaway.api.machinery.errors import BadRequest
from seaway.api.machinery.http import ANONYMOUS, Identity
from seaway.apiserver.rbac import Attributes

AUTHENTICATED = "system:authenticated"
_SERVICE_ACCOUNT = "system:serviceaccount:"
_AUTHENTICATION_GROUP = "authentication.k8s.io"
Subject = Sequence[Sequence[tuple[str, str]]]
Authorize = Callable[[Identity, Attributes], None]


def identity_of_certificate(subject: Subject) -> Identity | None:
    """The identity in a verified certificate's subject, as the ssl module shows it; None without a common name."""
    names = [value for part in subject for key, value in part if key == "commonName"]
    groups = [value for part in subject for key, value in part if key == "organizationName"]
    return authenticate(Identity(names[-1], tuple(groups))) if names else None


def authenticate(identity: Identity) -> Identity:
    """The identity with the group of everybody who is known, its groups sorted."""
    if identity.user == ANONYMOUS.user:
        return identity
    groups = tuple(sorted({*identity.groups, AUTHENTICATED}))
    return Identity(identity.user, groups, identity.uid, identity.extra)


def find_bearer_token(authorization: str) -> str | None:
    """The token of an Authorization header; None when it is no bearer credential."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token or token.startswith(" "):
        return None
    return token.strip()


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
