"""Bearer tokens: JWTs signed with a key of our own. Rule: spec "api-machinery" §10.3, RFC 7519."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

ALGORITHM = "ES256"
MAX_TOKEN_BYTES = 16 << 10


class TokenError(Exception):
    """A token that is not good: whose, and why. It never holds the token."""


def create_signing_key() -> bytes:
    """A new private key, PEM."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def derive_public_key(key_pem: bytes) -> bytes:
    """The public half, PEM. Raises ValueError for what is no private key."""
    key = serialization.load_pem_private_key(key_pem, password=None)
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def key_id(public_key_pem: bytes) -> str:
    """The `kid` of a key: a digest of it."""
    return hashlib.sha256(public_key_pem).hexdigest()[:32]


def sign_token(
    key_pem: bytes,
    *,
    subject: str,
    issuer: str,
    audience: str,
    wall_now: datetime,
    expires_at: datetime,
    claims: Mapping[str, Any] | None = None,
) -> str:
    """A token for the subject (`system:serviceaccount:NS:NAME`, or another user)."""
    payload = {
        **(claims or {}),
        "iss": issuer,
        "sub": subject,
        "aud": [audience],
        "iat": int(wall_now.timestamp()),
        "nbf": int(wall_now.timestamp()),
        "exp": int(expires_at.timestamp()),
        "jti": secrets.token_hex(16),
    }
    return jwt.encode(payload, key_pem, algorithm=ALGORITHM, headers={"kid": key_id(derive_public_key(key_pem))})


def verify_token(
    public_key_pem: bytes, token: str, *, issuer: str, audiences: Sequence[str], wall_now: datetime
) -> dict[str, Any]:
    """The claims of a good token. Raises TokenError."""
    if len(token) > MAX_TOKEN_BYTES:
        raise TokenError(f"token: {len(token)} bytes found, at most {MAX_TOKEN_BYTES} allowed")
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            public_key_pem,
            algorithms=[ALGORITHM],
            issuer=issuer,
            audience=list(audiences),
            options={"require": ["exp", "iat", "sub", "aud", "iss"], "verify_exp": False, "verify_nbf": False,
                     "verify_iat": False},
        )  # fmt: skip
    except jwt.PyJWTError as error:
        raise TokenError(f"token: {error}") from error
    now = wall_now.timestamp()
    if now >= claims["exp"]:
        raise TokenError("token: it has expired")
    if now < claims.get("nbf", 0):
        raise TokenError("token: it is not valid yet")
    return claims
