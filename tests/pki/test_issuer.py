"""What verifiers elsewhere are told. Rule: spec "api-machinery" §10.3, RFC 7517."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import jwt
import pytest

from seaway.pki.issuer import TokenIssuer
from seaway.pki.tokens import TokenError, create_signing_key

NOW = datetime.now(UTC)
ISSUER = TokenIssuer(create_signing_key(), "https://issuer.example", ("more",))


def sign(issuer: TokenIssuer) -> str:
    ends = NOW + timedelta(hours=1)
    return issuer.sign(subject="s", audience=["vault"], wall_now=NOW, expires_at=ends, claims={"jti": "1"})


def test_a_stranger_verifies_a_token_with_the_published_keys_alone() -> None:
    token = sign(ISSUER)
    keys = jwt.PyJWKSet.from_dict(ISSUER.make_key_set())
    key = keys[jwt.get_unverified_header(token)["kid"]]
    assert jwt.decode(token, key, algorithms=["ES256"], audience="vault", issuer=ISSUER.url)["jti"] == "1"


def test_the_published_keys_hold_nothing_private() -> None:
    [key] = ISSUER.make_key_set()["keys"]
    assert set(key) == {"use", "kty", "kid", "crv", "alg", "x", "y"}
    assert "BEGIN" not in repr(ISSUER)


def test_the_issuers_own_url_comes_first_among_its_audiences() -> None:
    assert ISSUER.audiences == ("https://issuer.example", "more")


def test_another_issuer_with_the_same_key_is_refused() -> None:
    other = TokenIssuer(ISSUER.key_pem, "https://other.example")
    with pytest.raises(TokenError):
        other.verify(sign(ISSUER), audiences=["vault"], wall_now=NOW)
