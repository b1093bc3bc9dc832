"""Tokens: what is accepted, and everything that is not."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from seaway.pki.tokens import (
    MAX_TOKEN_BYTES,
    TokenError,
    create_signing_key,
    derive_key_id,
    derive_public_key,
    sign_token,
    verify_token,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = create_signing_key()
PUBLIC = derive_public_key(KEY)
ISSUER = "https://kubernetes.default.svc.cluster.local"
SUBJECT = "system:serviceaccount:default:web"
BOUND = {"kubernetes.io": {"namespace": "default", "serviceaccount": {"name": "web", "uid": "u-1"}}}


def sign(**changes: Any) -> str:
    arguments: dict[str, Any] = {
        "subject": SUBJECT,
        "audience": [ISSUER, "vault"],
        "issuer": ISSUER,
        "wall_now": NOW,
        "expires_at": NOW + timedelta(hours=1),
        "claims": BOUND,
    }
    return sign_token(changes.pop("key", KEY), **(arguments | changes))


def verify(token: str, *, audience: str = ISSUER, seconds: int = 0) -> dict[str, Any]:
    return verify_token(PUBLIC, token, issuer=ISSUER, audiences=[audience], wall_now=NOW + timedelta(seconds=seconds))


def test_a_token_says_who_and_what_it_is_bound_to() -> None:
    claims = verify(sign())
    assert claims["sub"] == SUBJECT
    assert claims["aud"] == [ISSUER, "vault"]
    assert claims["kubernetes.io"] == BOUND["kubernetes.io"]
    assert claims["exp"] - claims["iat"] == 3600
    assert verify(sign(), audience="vault") == claims


def test_the_header_names_the_key() -> None:
    header = jwt.get_unverified_header(sign())
    assert (header["alg"], header["kid"]) == ("ES256", derive_key_id(PUBLIC))


def unsigned() -> str:
    payload = {"iss": ISSUER, "sub": SUBJECT, "aud": ISSUER, "exp": NOW.timestamp() + 60}
    parts = [base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=").decode() for p in ({"alg": "none"}, payload)]
    return ".".join((*parts, ""))


def forged() -> str:
    head, _, tail = sign().split(".")
    body = base64.urlsafe_b64encode(json.dumps({"sub": "system:admin", "iss": ISSUER}).encode()).rstrip(b"=").decode()
    return f"{head}.{body}.{tail}"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        pytest.param(lambda: "", "refused", id="nothing"),
        pytest.param(lambda: "not.a.token", "refused", id="not a token"),
        pytest.param(lambda: "é.ü.ß", "refused", id="not ASCII"),
        pytest.param(lambda: "a" * (MAX_TOKEN_BYTES + 1), "at most", id="longer than is read"),
        pytest.param(unsigned, "refused", id="unsigned, algorithm none"),
        pytest.param(forged, "refused", id="claims replaced under the old signature"),
        pytest.param(lambda: sign(key=create_signing_key()), "refused", id="signed by another key"),
        pytest.param(lambda: sign(issuer="https://elsewhere"), "refused", id="another issuer"),
        pytest.param(lambda: sign(audience=["vault"]), "refused", id="for another audience"),
        pytest.param(lambda: sign(expires_at=NOW), "expired", id="expired this second"),
        pytest.param(lambda: sign(wall_now=NOW + timedelta(minutes=1)), "not valid for another 60", id="from later"),
        pytest.param(
            lambda: jwt.encode({"iss": ISSUER, "sub": "s", "aud": ISSUER, "exp": "soon"}, KEY, algorithm="ES256"),
            "refused",
            id="a time that is no number",
        ),
        pytest.param(
            lambda: jwt.encode({"iss": ISSUER, "sub": "s", "aud": ISSUER}, KEY, algorithm="ES256"),
            "refused",
            id="without an end",
        ),
    ],
)
def test_a_token_that_is_not_trusted(make: Callable[[], str], reason: str) -> None:
    token = make()
    with pytest.raises(TokenError, match=reason) as caught:
        verify(token)
    assert not token or token not in str(caught.value)


def test_a_token_ends_when_it_says() -> None:
    token = sign()
    verify(token, seconds=3599)
    with pytest.raises(TokenError, match="expired 0 seconds ago"):
        verify(token, seconds=3600)


def test_a_token_that_was_good_is_judged_anew_each_time() -> None:
    token = sign()
    claims = verify(token)
    claims["sub"] = "system:admin"
    assert verify(token)["sub"] == SUBJECT
    with pytest.raises(TokenError, match="expired"):
        verify(token, seconds=3600)
    with pytest.raises(TokenError, match="refused"):
        verify(token, audience="another")
    assert verify(token, seconds=3599)["sub"] == SUBJECT


@pytest.mark.parametrize("name", ["exp", "sub", "aud"])
def test_additional_claims_replace_no_registered_one(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        sign(claims={name: "x"})


@pytest.mark.parametrize("pem", [b"", b"-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n"])
def test_an_unreadable_key_says_so(pem: bytes) -> None:
    with pytest.raises(TokenError, match="cannot be read"):
        sign(key=pem)
    with pytest.raises(TokenError, match="cannot be read"):
        verify_token(pem, sign(), issuer=ISSUER, audiences=[ISSUER], wall_now=NOW)
