"""Secrets of the type service-account-token: filled by the server, and gone with their account.

A loop fills them, not the write: a manifest may name the account after the Secret. The token is bound to the Secret, so
that deleting it revokes the token. Upstream's such tokens never expire; these do with the CA.
Rule: spec "api-machinery" §10.2.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from seaway.api.registry import SECRETS, SERVICE_ACCOUNTS
from seaway.api.secret.validation import ACCOUNT_ANNOTATION
from seaway.apiserver.access.accounttokens import Find, plan_token
from seaway.apiserver.builtin.kubernetes_service import ObjectWrite
from seaway.apiserver.record import Record, decode_object
from seaway.pki.issuer import TokenIssuer

Json = dict[str, Any]
SECRET_TYPE = "kubernetes.io/service-account-token"
UID_ANNOTATION = "kubernetes.io/service-account.uid"
LIFETIME_SECONDS = 3650 * 24 * 3600
"""Ten years, as the CA's."""


def plan_token_secrets(
    secrets: Iterable[Record],
    find: Find,
    issuer: TokenIssuer,
    *,
    ca_pem: str,
    new_jti: Callable[[], str],
    wall_now: datetime,
) -> list[ObjectWrite]:
    """What fills those that lack something, and ends those whose account is gone, in the order of the Secrets.

    One that names an account that never was waits for it.
    """
    writes = []
    for record in secrets:
        if record.find_field("type") != SECRET_TYPE or record.is_deleting:
            continue
        secret = decode_object(record.body)
        annotations = secret["metadata"].get("annotations") or {}
        account = find(SERVICE_ACCOUNTS, record.namespace, annotations.get(ACCOUNT_ANNOTATION, ""))
        known_uid = annotations.get(UID_ANNOTATION)
        if known_uid and (account is None or account.uid != known_uid):
            writes.append(ObjectWrite(SECRETS, record.namespace, record.name, None))
        elif account is not None and not secret.get("immutable"):
            filled = _fill(secret, record, account, find, issuer, ca_pem, new_jti, wall_now)
            if filled is not None:
                writes.append(ObjectWrite(SECRETS, record.namespace, record.name, filled))
    return writes


def _fill(
    secret: Json,
    record: Record,
    account: Record,
    find: Find,
    issuer: TokenIssuer,
    ca_pem: str,
    new_jti: Callable[[], str],
    wall_now: datetime,
) -> Json | None:
    """The Secret with what it lacks, None when it lacks nothing."""
    meta, data = secret["metadata"], dict(secret.get("data") or {})
    data["namespace"] = _encode(record.namespace)
    if ca_pem:
        data["ca.crt"] = _encode(ca_pem)
    if not data.get("token"):
        reference = {"kind": "Secret", "apiVersion": "v1", "name": record.name, "uid": record.uid}
        request = {"spec": {"expirationSeconds": LIFETIME_SECONDS, "boundObjectRef": reference}}
        plan = plan_token(request, account, find, audiences=issuer.audiences, jti=new_jti(), wall_now=wall_now)
        token = issuer.sign(
            subject=plan.subject,
            audience=plan.audiences,
            wall_now=wall_now,
            expires_at=wall_now + timedelta(seconds=plan.expires_after_seconds),
            claims=plan.claims,
        )
        data["token"] = _encode(token)
    annotations = {**meta["annotations"], UID_ANNOTATION: account.uid}
    filled = {**secret, "metadata": {**meta, "annotations": annotations}, "data": data}
    return None if filled == secret else filled


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
