"""Who signs the tokens of one API server: its name, its key, and for whom tokens are when nobody says."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from seaway.pki.tokens import ALGORITHM, Claims, derive_key_id, derive_public_key, sign_token, verify_token

DEFAULT_ISSUER = "https://kubernetes.default.svc"
_COORDINATE_BYTES = 32  # of P-256


@dataclass(frozen=True, slots=True)
class TokenIssuer:
    """`url` is the `iss` of every token. `audiences`: the API's own; empty means the URL. The key is not printed."""

    key_pem: bytes
    url: str = DEFAULT_ISSUER
    extra_audiences: tuple[str, ...] = ()

    @property
    def audiences(self) -> tuple[str, ...]:
        """Whom a token must be for to be taken by the API."""
        return (self.url, *self.extra_audiences)

    def sign(
        self,
        *,
        subject: str,
        audience: Sequence[str],
        wall_now: datetime,
        expires_at: datetime,
        claims: Mapping[str, Any],
    ) -> str:
        """A token of this issuer."""
        return sign_token(
            self.key_pem,
            subject=subject,
            audience=audience,
            issuer=self.url,
            wall_now=wall_now,
            expires_at=expires_at,
            claims=claims,
        )

    def verify(self, token: str, *, audiences: Sequence[str], wall_now: datetime) -> Claims:
        """The claims of a token of this issuer for one of the audiences. Raises TokenError."""
        public = _find_public_key(self.key_pem)
        return verify_token(public, token, issuer=self.url, audiences=audiences, wall_now=wall_now)

    def make_key_set(self) -> dict[str, Any]:
        """The public keys, as the JWK set that verifiers fetch. Rule: RFC 7517, RFC 7518 §6.2."""
        public_pem = _find_public_key(self.key_pem)
        key = serialization.load_pem_public_key(public_pem)
        assert isinstance(key, ec.EllipticCurvePublicKey)
        numbers = key.public_numbers()
        return {
            "keys": [
                {
                    "use": "sig",
                    "kty": "EC",
                    "kid": derive_key_id(public_pem),
                    "crv": "P-256",
                    "alg": ALGORITHM,
                    "x": _encode_coordinate(numbers.x),
                    "y": _encode_coordinate(numbers.y),
                }
            ]
        }

    def __repr__(self) -> str:
        return f"TokenIssuer(url={self.url!r}, key hidden)"


@lru_cache(maxsize=8)
def _find_public_key(key_pem: bytes) -> bytes:
    return derive_public_key(key_pem)


def _encode_coordinate(number: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes(_COORDINATE_BYTES, "big")).rstrip(b"=").decode()
