"""Bearer tokens to identities: fixed tokens, service accounts, bootstrap tokens; the first that knows it wins.

What a signature vouches for is remembered by the token's digest: a client sends one token with every request, and the
check costs as much as a GET. What may change is not: time, account and bound object are compared with every use.
Rule: spec "api-machinery" §10.1, §10.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seaway.api.machinery.http import Identity
from seaway.apiserver.access.accounttokens import Find, Holder, identify_claims
from seaway.apiserver.access.bootstraptokens import identify_bootstrap_token
from seaway.apiserver.access.credentials import Credentials, digest_token
from seaway.apiserver.access.identity import authenticate
from seaway.apiserver.effects import Effects
from seaway.pki.issuer import TokenIssuer
from seaway.pki.tokens import MAX_TOKEN_BYTES, TokenError, create_signing_key

MAX_REMEMBERED = 4096
"""Tokens, of about 1 KiB each: more than the Pods of twenty hosts have."""


@dataclass(frozen=True, slots=True)
class Verified:
    """Who the token stands for, and for which of the asked audiences it is good (in their order)."""

    identity: Identity
    audiences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Read:
    """What the signature of a token vouches for. Times are seconds since the epoch."""

    verified: Verified
    begins: float
    ends: float
    holders: tuple[Holder, ...]


class Authenticator:
    """One per server."""

    def __init__(self, find: Find, effects: Effects, credentials: Credentials) -> None:
        self.issuer = credentials.issuer or TokenIssuer(create_signing_key())
        self.credentials = credentials
        self._find = find
        self._effects = effects
        self._read: dict[tuple[bytes, tuple[str, ...]], _Read] = {}

    def find_identity(self, token: str) -> Identity | None:
        """Whom the token stands for at the API, or None when it is not good."""
        verified = self.verify(token, self.issuer.audiences)
        return None if verified is None else verified.identity

    def verify(self, token: str, audiences: Sequence[str]) -> Verified | None:
        """The same for other audiences. Tokens that name none are good for the API's own."""
        if len(token) > MAX_TOKEN_BYTES:
            return None
        wanted = tuple(audiences)
        fixed = self.credentials.static_tokens
        found = fixed.get(digest_token(token)) if fixed else None
        if found is not None:
            return self._for_api(found, wanted)
        if "." in token[:7]:  # a JWT's first part is longer than a bootstrap token's
            found = identify_bootstrap_token(token, self._find, wall_now=self._effects.wall_now())
            return None if found is None else self._for_api(found, wanted)
        return self._verify_signed(token, wanted)

    def _for_api(self, identity: Identity, wanted: tuple[str, ...]) -> Verified | None:
        own = tuple(audience for audience in wanted if audience in self.issuer.audiences)
        return Verified(authenticate(identity), own) if own else None

    def _verify_signed(self, token: str, wanted: tuple[str, ...]) -> Verified | None:
        key, wall_now = (digest_token(token), wanted), self._effects.wall_now()
        read = self._read.get(key)
        if read is None:
            read = self._read_signed(token, wanted)
            if read is None:  # not remembered, so that strangers cannot fill the memory
                return None
            if len(self._read) >= MAX_REMEMBERED:
                self._read.clear()
            self._read[key] = read
        if not read.begins <= wall_now.timestamp() < read.ends:
            return None
        return read.verified if all(holder.is_alive(self._find, wall_now) for holder in read.holders) else None

    def _read_signed(self, token: str, wanted: tuple[str, ...]) -> _Read | None:
        try:
            claims = self.issuer.verify(token, audiences=wanted, wall_now=self._effects.wall_now())
        except TokenError:
            return None
        found = identify_claims(claims)
        if found is None:
            return None
        named = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        verified = Verified(authenticate(found[0]), tuple(audience for audience in wanted if audience in named))
        return _Read(verified, claims.get("nbf", 0), claims["exp"], found[1])
