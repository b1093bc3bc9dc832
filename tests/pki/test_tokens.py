"""Tokens are good for whom, where and when they were made for, and for nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import jwt
import pytest

from seaway.pki.tokens import TokenError, create_signing_key, derive_public_key, sign_token, verify_token

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = create_signing_key()
TOKEN = sign_token(
    KEY, subject="system:serviceaccount:a:b", issuer="us", audience="api", wall_now=NOW,
    expires_at=NOW + timedelta(hours=1), claims={"kubernetes.io": {"namespace": "a"}},
)  # fmt: skip


def verify(token: str = TOKEN, key: bytes = KEY, issuer: str = "us", audience: str = "api", minutes: int = 1) -> object:
    later = NOW + timedelta(minutes=minutes)
    return verify_token(derive_public_key(key), token, issuer=issuer, audiences=[audience], wall_now=later)


def test_a_good_token_gives_its_claims() -> None:
    claims = verify()
    assert isinstance(claims, dict)
    assert (claims["sub"], claims["kubernetes.io"]) == ("system:serviceaccount:a:b", {"namespace": "a"})


def test_a_token_without_signature_is_refused() -> None:
    claims = jwt.decode(TOKEN, options={"verify_signature": False})
    with pytest.raises(TokenError):
        verify(jwt.encode(claims, "", algorithm="none"))


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"key": create_signing_key()}, id="another key"),
        pytest.param({"issuer": "them"}, id="another issuer"),
        pytest.param({"audience": "vault"}, id="another audience"),
        pytest.param({"minutes": 61}, id="too late"),
        pytest.param({"minutes": -1}, id="too early"),
        pytest.param({"token": TOKEN[:-8] + "AAAAAAAA"}, id="another signature"),
        pytest.param({"token": "a.b"}, id="no token at all"),
        pytest.param({"token": "a" * 20_000}, id="too long"),
    ],
)
def test_a_token_is_refused_for(changes: dict[str, object]) -> None:
    with pytest.raises(TokenError) as caught:
        verify(**changes)  # type: ignore[arg-type]
    assert TOKEN not in str(caught.value)
