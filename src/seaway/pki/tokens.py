"""Signed bearer tokens (JWT, ES256): of service accounts and of Seaway's own pieces.

A token says who (`sub`), for whom (`aud`), by whom (`iss`) and until when (`exp`). Whether the account still exists is
not in the token: the caller asks the API. Rule: spec "api-machinery", section 10.3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

ALGORITHM = "ES256"
RESERVED_CLAIMS = frozenset(("iss", "sub", "aud", "exp", "iat", "nbf"))
MAX_TOKEN_BYTES = 16 << 10  # longer than any header a server takes; parsing stops before it costs

Claims = dict[str, Any]


class TokenError(Exception):
    """The token is not to be trusted; the message says why and never shows the token."""


def create_signing_key() -> bytes:
    """A new private key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def derive_public_key(key_pem: bytes) -> bytes:
    """The public half of a signing key, as PEM."""
    return (
        _load_private(key_pem)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def derive_key_id(public_key_pem: bytes) -> str:
    """The `kid` of tokens that the key verifies: the same for the same key, and no secret."""
    der = _load_public(public_key_pem).public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return sha256(der).hexdigest()[:32]


def sign_token(
    key_pem: bytes,
    *,
    subject: str,
    audience: Sequence[str],
    issuer: str,
    wall_now: datetime,
    expires_at: datetime,
    claims: Mapping[str, Any] | None = None,
) -> str:
    """The token, valid from `wall_now` until `expires_at`. `claims` adds to the registered ones and replaces none.

    Raises ValueError for an addition that would replace one.
    """
    taken = RESERVED_CLAIMS & set(claims or ())
    if taken:
        raise ValueError(f"claims {sorted(taken)} are set by arguments")
    issued = int(wall_now.timestamp())
    payload: Claims = {
        **(claims or {}),
        "iss": issuer,
        "sub": subject,
        "aud": list(audience),
        "iat": issued,
        "nbf": issued,
        "exp": int(expires_at.timestamp()),
    }
    key_id = derive_key_id(derive_public_key(key_pem))
    return jwt.encode(payload, _load_private(key_pem), algorithm=ALGORITHM, headers={"kid": key_id})


def verify_token(
    public_key_pem: bytes, token: str, *, issuer: str, audiences: Sequence[str], wall_now: datetime
) -> Claims:
    """The claims of a token that the key signed, from this issuer, for one of these audiences, in force at `wall_now`.

    Raises TokenError.
    """
    if len(token) > MAX_TOKEN_BYTES:
        raise TokenError(f"token of {len(token)} bytes; at most {MAX_TOKEN_BYTES} are read")
    try:
        claims: Claims = jwt.decode(
            token,
            _load_public(public_key_pem),
            algorithms=[ALGORITHM],
            issuer=issuer,
            audience=list(audiences),
            # The library would ask the clock; times are compared below with the caller's.
            options={
                "require": ["iss", "sub", "aud", "exp"],
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise TokenError(f"token refused: {error}") from None
    _check_times(claims, wall_now.timestamp())
    return claims


def _check_times(claims: Claims, now: float) -> None:
    for name in ("exp", "nbf", "iat"):
        value = claims.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TokenError(f"token refused: {name} is not a number")
    if now >= claims["exp"]:
        raise TokenError(f"token expired {now - claims['exp']:.0f} seconds ago")
    if now < claims.get("nbf", 0):
        raise TokenError(f"token is not valid for another {claims['nbf'] - now:.0f} seconds")


@lru_cache(maxsize=8)
def _load_private(key_pem: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(key_pem, None)
    except (ValueError, TypeError) as error:
        raise TokenError("signing key: its PEM cannot be read; remove it, and a new one is made") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TokenError("signing key: not an elliptic-curve key; remove it, and a new one is made")
    return key


@lru_cache(maxsize=8)
def _load_public(public_key_pem: bytes) -> ec.EllipticCurvePublicKey:
    try:
        key = serialization.load_pem_public_key(public_key_pem)
    except (ValueError, TypeError) as error:
        raise TokenError("verification key: its PEM cannot be read") from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise TokenError("verification key: not an elliptic-curve key")
    return key
