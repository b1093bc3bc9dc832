"""Tokens of a Pod's service account: what is asked of the API, and when anew.

Rule: spec "node" §2.18 (projected `serviceAccountToken`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from seaway.node.podspec import PodManifest

Json = dict[str, Any]
RENEWAL_SHARE = 0.8
LONGEST_USE = timedelta(hours=24)
DEFAULT_ACCOUNT = "default"


@dataclass(frozen=True, slots=True)
class WantedToken:
    """What a volume asks for; two volumes that ask for the same share a token."""

    audience: str
    expiration_seconds: int


@dataclass(frozen=True, slots=True)
class HeldToken:
    """A token with the time when it was got and when it ends. It is not printed."""

    token: str
    issued_at: datetime
    expires_at: datetime

    def is_due(self, wall_now: datetime) -> bool:
        """Most of its life is over, or it is a day old."""
        used = wall_now - self.issued_at
        return used >= min(RENEWAL_SHARE * (self.expires_at - self.issued_at), LONGEST_USE)

    def is_valid(self, wall_now: datetime) -> bool:
        return wall_now < self.expires_at

    def __repr__(self) -> str:
        return f"HeldToken(expires_at={self.expires_at})"


def find_wanted_tokens(pod: PodManifest) -> tuple[WantedToken, ...]:
    """Every token that the Pod's volumes ask for, once, in their order."""
    return tuple(dict.fromkeys(_find_all(pod)))


def _find_all(pod: PodManifest) -> Iterator[WantedToken]:
    for volume in pod.spec.volumes:
        for part in volume.projected.sources if volume.projected else ():
            if (source := part.service_account_token) is not None:
                yield WantedToken(source.audience, source.expiration_seconds)


def account_of(pod: PodManifest) -> str:
    """The account that the Pod runs as."""
    return pod.spec.service_account_name or DEFAULT_ACCOUNT


def make_token_request(pod: PodManifest, wanted: WantedToken) -> Json:
    """The TokenRequest: the token ends with the Pod."""
    spec: Json = {
        "expirationSeconds": wanted.expiration_seconds,
        "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": pod.metadata.name, "uid": pod.uid},
    }
    if wanted.audience:
        spec["audiences"] = [wanted.audience]
    return {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}


def read_token_answer(answer: Json, *, wall_now: datetime) -> HeldToken:
    """The token in the answer. Its life is counted from now: the API's clock may be another."""
    status = answer.get("status") or {}
    ends = datetime.fromisoformat(status["expirationTimestamp"]).astimezone(UTC)
    return HeldToken(status["token"], wall_now, ends)
