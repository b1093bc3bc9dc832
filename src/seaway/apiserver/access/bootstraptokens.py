"""Bootstrap tokens: by which a node that has no certificate yet joins.

Each is a Secret of its own type in kube-system, named after the first half of the token.
Rule: spec "api-machinery" §10.1; names and forms are upstream's.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from seaway.api.machinery.http import Identity
from seaway.api.registry import SECRETS, Resource
from seaway.apiserver.record import Record, decode_object

Find = Callable[[Resource, str, str], Record | None]
NAMESPACE = "kube-system"
SECRET_TYPE = "bootstrap.kubernetes.io/token"
SECRET_PREFIX = "bootstrap-token-"
BOOTSTRAPPERS = "system:bootstrappers"
_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
_GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")


def identify_bootstrap_token(token: str, find: Find, *, wall_now: datetime) -> Identity | None:
    """The joining node's identity, or None for what is no good bootstrap token."""
    parsed = _TOKEN.fullmatch(token)
    if parsed is None:
        return None
    token_id, secret = parsed.groups()
    record = find(SECRETS, NAMESPACE, f"{SECRET_PREFIX}{token_id}")
    if record is None or record.is_deleting or record.find_field("type") != SECRET_TYPE:
        return None
    data = decode_object(record.body).get("data") or {}
    wanted = _read(data, "token-secret")
    # Compared first and in constant time: nothing else may tell a guesser how far the guess was right.
    if not wanted or not hmac.compare_digest(wanted.encode(), secret.encode()):
        return None
    if _read(data, "token-id") != token_id or _read(data, "usage-bootstrap-authentication") != "true":
        return None
    if _has_expired(_read(data, "expiration"), wall_now):
        return None
    groups = _read_groups(_read(data, "auth-extra-groups"))
    return None if groups is None else Identity(f"system:bootstrap:{token_id}", (BOOTSTRAPPERS, *groups))


def _read(data: Mapping[str, Any], key: str) -> str:
    """The value as text; empty for none, and for what is no text."""
    try:
        return base64.b64decode(data.get(key) or "").decode()
    except ValueError:
        return ""


def _has_expired(text: str, wall_now: datetime) -> bool:
    """No expiration: never. What is no time has expired: a typing error must not make a token eternal."""
    if not text:
        return False
    try:
        ends = datetime.fromisoformat(text)
    except ValueError:
        return True
    return wall_now >= (ends if ends.tzinfo else ends.replace(tzinfo=UTC))


def _read_groups(text: str) -> tuple[str, ...] | None:
    """The further groups; None when one is not a bootstrappers' group, which makes the token useless."""
    groups = tuple(sorted({group.strip() for group in text.split(",")})) if text else ()
    return groups if all(_GROUP.fullmatch(group) for group in groups) else None
