"""Whom a request asks to be taken for, and whether it may.

Two ways lead there. The narrow one needs two rights: to be taken for such a user at all (`impersonate:user-info`, or
`:serviceaccount`, `:arbitrary-node`), and to do as one what the request asks (`impersonate-on:user-info:list` on its
own resource). The plain one is `impersonate` and allows whatever the user may. They are tried in this order; a refusal
names what the narrow way lacks first.
Rule: spec "api-machinery" §10.1. Left out: `associated-node`, the right of an agent over the node that it runs on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import unquote

from seaway.api.machinery.errors import BadRequest
from seaway.api.machinery.http import ANONYMOUS, Identity
from seaway.apiserver.access.accounttokens import make_account_identity, split_account
from seaway.apiserver.access.identity import authenticate
from seaway.apiserver.access.rbac import Attributes, Decision, make_refusal

Decide = Callable[[Identity, Attributes], Decision]
_GROUP = "authentication.k8s.io"
_NODE_PREFIX = "system:node:"
_EXTRA_PREFIX = "impersonate-extra-"
_PREFIX = "impersonate-"


@dataclass(frozen=True, slots=True)
class Impersonation:
    """What the headers ask for."""

    user: str
    groups: tuple[str, ...]
    uid: str
    extra: tuple[tuple[str, tuple[str, ...]], ...]


def parse_impersonation(headers: Mapping[str, str]) -> Impersonation | None:
    """None when no header asks for anything. Raises BadRequest for a user without a name.

    Several values of a header come joined by newlines (`serve.py`).
    """
    if not any(key.startswith(_PREFIX) for key in headers):
        return None
    extra = tuple(
        sorted(
            (unquote(key.removeprefix(_EXTRA_PREFIX)), tuple(value.split("\n")))
            for key, value in headers.items()
            if key.startswith(_EXTRA_PREFIX)
        )
    )
    groups = tuple(group for group in headers.get("impersonate-group", "").split("\n") if group)
    wanted = Impersonation(headers.get("impersonate-user", ""), groups, headers.get("impersonate-uid", ""), extra)
    if wanted.user:
        return wanted
    if not (groups or wanted.uid or extra):
        return None
    raise BadRequest(f"requested {_show_nameless(wanted)} without impersonating a user name")


def impersonate(wanted: Impersonation, identity: Identity, asked: Attributes, decide: Decide) -> Identity:
    """Whom the request is taken for. asked: what it asks for. Raises Forbidden."""
    mode = _choose_mode(wanted.user)
    subjects = _find_subjects(wanted)
    narrow = [
        replace(asked, verb=f"impersonate-on:{mode}:{asked.verb}"),
        *(replace(subject, verb=f"impersonate:{mode}", group=_GROUP) for subject in _narrow(subjects, wanted.user)),
    ]
    refused = _find_refused(identity, narrow, decide)
    if refused is not None and _find_refused(identity, subjects, decide) is not None:
        raise make_refusal(identity, *refused)
    return _make_identity(wanted)


def _find_refused(identity: Identity, needed: list[Attributes], decide: Decide) -> tuple[Attributes, str] | None:
    for attributes in needed:
        decision = decide(identity, attributes)
        if not decision.allowed:
            return attributes, decision.reason
    return None


def _choose_mode(user: str) -> str:
    if split_account(user) is not None:
        return "serviceaccount"
    return "arbitrary-node" if user.startswith(_NODE_PREFIX) else "user-info"


def _find_subjects(wanted: Impersonation) -> list[Attributes]:
    """Everything that is asked for, as the plain right names it."""
    account = split_account(wanted.user)
    if account is not None:
        first = Attributes("impersonate", resource="serviceaccounts", namespace=account[0], name=account[1])
    else:
        first = Attributes("impersonate", resource="users", name=wanted.user)
    found = [first, *(Attributes("impersonate", resource="groups", name=group) for group in wanted.groups)]
    if wanted.uid:
        found.append(Attributes("impersonate", _GROUP, "uids", name=wanted.uid))
    for key, values in wanted.extra:
        found += [Attributes("impersonate", _GROUP, "userextras", key, name=value) for value in values]
    return found


def _narrow(subjects: list[Attributes], user: str) -> list[Attributes]:
    """The narrow rights know nodes by their own names."""
    if not user.startswith(_NODE_PREFIX):
        return subjects
    return [Attributes("", resource="nodes", name=user.removeprefix(_NODE_PREFIX)), *subjects[1:]]


def _make_identity(wanted: Impersonation) -> Identity:
    """An account without groups gets its own; the group of everybody is added as by any other credential."""
    if wanted.user == ANONYMOUS.user:
        return Identity(wanted.user, tuple(sorted({*wanted.groups, *ANONYMOUS.groups})), wanted.uid, wanted.extra)
    groups, account = wanted.groups, split_account(wanted.user)
    if account is not None and not groups:
        groups = make_account_identity(*account).groups
    return authenticate(Identity(wanted.user, groups, wanted.uid, wanted.extra))


def _show_nameless(wanted: Impersonation) -> str:
    """As upstream's message shows it: the value in Go's syntax."""
    groups = _show_strings(wanted.groups)
    entries = ", ".join(f"{json.dumps(key)}:{_show_strings(values)}" for key, values in wanted.extra)
    extra = f"map[string][]string{{{entries}}}" if wanted.extra else "map[string][]string(nil)"
    return f'&user.DefaultInfo{{Name:"", UID:{json.dumps(wanted.uid)}, Groups:{groups}, Extra:{extra}}}'


def _show_strings(values: tuple[str, ...]) -> str:
    return f"[]string{{{', '.join(json.dumps(value) for value in values)}}}" if values else "[]string(nil)"
