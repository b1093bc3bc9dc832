"""Whose a certificate is that a client has shown, and until when.

TLS has verified it against all CAs together; here they are told apart, by their signatures and not by their names:
whoever made the one could call it as the other. (OpenSSL finds a CA by its name, so two of one name do not both work;
they never work as each other.) A CA must have signed the certificate itself: the times of CAs between are not known.
Rule: spec "api-machinery" §10.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from seaway.api.machinery.http import Identity
from seaway.apiserver.access.identity import Subject, find_forwarded_identity, identity_of_certificate
from seaway.pki.certificates import Validity, find_validity


@dataclass(frozen=True, slots=True)
class Shown:
    """A certificate that a client has shown. Without an identity, and of no front proxy, it stands for nobody."""

    identity: Identity | None = None
    client: Validity | None = None
    front_proxy: Validity | None = None

    def find_identity(self, headers: Mapping[str, str], wall_now: datetime) -> Identity | None:
        """Whom it stands for in this request at this moment; None for nobody, and out of its time."""
        if self.front_proxy is not None and self.front_proxy.holds_at(wall_now):
            forwarded = find_forwarded_identity(headers)
            if forwarded is not None:
                return forwarded
        return self.identity if self.client is not None and self.client.holds_at(wall_now) else None


@dataclass(frozen=True, slots=True)
class CertificateReader:
    """`client_ca` and `front_proxy_ca`: PEM, one or several each; no CA of proxies: none is believed.

    front_proxy_names: the common names that a proxy may have; empty: any.
    """

    client_ca: bytes
    front_proxy_ca: bytes = b""
    front_proxy_names: tuple[str, ...] = ()

    def read(self, subject: Subject, der: bytes) -> Shown:
        """What the certificate stands for. subject: as the ssl module shows it."""
        proxy = None
        if self.front_proxy_ca and self._may_forward(subject):
            proxy = find_validity(der, self.front_proxy_ca)
        return Shown(identity_of_certificate(subject), find_validity(der, self.client_ca), proxy)

    def _may_forward(self, subject: Subject) -> bool:
        names = {value for part in subject for key, value in part if key == "commonName"}
        return not self.front_proxy_names or bool(names & set(self.front_proxy_names))
