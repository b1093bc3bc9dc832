"""The certificate authority of one Seaway, and what it issues: server and client certificates, as PEM.

Keys are ECDSA P-256: made in well under a millisecond, and cheap to verify in every handshake. A certificate is a
value; keeping it, and its key, in files is `app`'s business.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from ipaddress import ip_address

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_LIFETIME = timedelta(days=3650)  # ten years, as kubeadm's
LEAF_LIFETIME = timedelta(days=365)  # a year, as kubeadm's
RENEWAL_SHARE = 3  # renewed when less than a third of the lifetime is left
CLOCK_SKEW = timedelta(hours=1)  # a host whose clock is behind accepts a fresh certificate

_Key = ec.EllipticCurvePrivateKey


class CertificateError(Exception):
    """A certificate or key that cannot be read, or a pair that does not belong together."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, as PEM. The key does not appear in the printed form."""

    certificate_pem: bytes
    key_pem: bytes

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.certificate_pem)} bytes of certificate, key hidden)"


@dataclass(frozen=True, slots=True, repr=False)
class Authority(Pair):
    """A pair that may sign others."""


def create_authority(common_name: str, *, wall_now: datetime) -> Authority:
    """A new self-signed authority. It may sign leaves only, no further authorities."""
    key = _create_key()
    name = _name(common_name)
    builder = (
        _builder(name, name, key, wall_now, AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
    )
    certificate = builder.sign(key, hashes.SHA256())
    return Authority(_pem(certificate), _key_pem(key))


def issue_server(authority: Authority, *, names: Sequence[str], addresses: Sequence[str], wall_now: datetime) -> Pair:
    """A server certificate for the DNS names and IP addresses. At least one of either."""
    subject = _name((*names, *addresses)[0])
    alternatives = _alternative_names(names, addresses)
    return _issue(authority, subject, ExtendedKeyUsageOID.SERVER_AUTH, alternatives, wall_now)


def issue_client(authority: Authority, *, user: str, groups: Sequence[str], wall_now: datetime) -> Pair:
    """A client certificate: the user is the common name, each group an organization.

    Rule: spec "api-machinery", section 10.1.
    """
    return _issue(authority, _name(user, groups), ExtendedKeyUsageOID.CLIENT_AUTH, None, wall_now)


def needs_renewal(
    certificate_pem: bytes,
    *,
    wall_now: datetime,
    names: Sequence[str] = (),
    addresses: Sequence[str] = (),
    authority_pem: bytes | None = None,
) -> bool:
    """Whether another certificate must be issued: little time is left, a name is missing, or another CA signed it.

    A certificate for more names than are wanted is kept. One that cannot be read needs renewal.
    """
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
    except ValueError:
        return True
    starts, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if wall_now < starts or ends - wall_now < (ends - starts) / RENEWAL_SHARE:
        return True
    if authority_pem is not None and not _is_signed_by(certificate, x509.load_pem_x509_certificate(authority_pem)):
        return True
    return not set(_alternative_names(names, addresses)) <= set(_find_alternative_names(certificate))


def _issue(
    authority: Authority,
    subject: x509.Name,
    usage: x509.ObjectIdentifier,
    alternatives: x509.SubjectAlternativeName | None,
    wall_now: datetime,
) -> Pair:
    issuer, issuer_key = _load_authority(authority)
    key = _create_key()
    builder = (
        _builder(subject, issuer.subject, key, wall_now, LEAF_LIFETIME, latest=issuer.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if alternatives is not None:
        builder = builder.add_extension(alternatives, critical=False)
    return Pair(_pem(builder.sign(issuer_key, hashes.SHA256())), _key_pem(key))


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: _Key,
    wall_now: datetime,
    lifetime: timedelta,
    *,
    latest: datetime | None = None,
) -> x509.CertificateBuilder:
    ends = wall_now + lifetime
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(wall_now - CLOCK_SKEW)
        .not_valid_after(min(ends, latest) if latest else ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str, organizations: Sequence[str] = ()) -> x509.Name:
    """Rule: RFC 5280 allows 64 characters; a node's user name can have 265, and every verifier in use reads them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name, _validate=False) for name in organizations]
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name, _validate=False))
    return x509.Name(attributes)


def _alternative_names(names: Sequence[str], addresses: Sequence[str]) -> x509.SubjectAlternativeName:
    dns = [x509.DNSName(name) for name in names]
    return x509.SubjectAlternativeName([*dns, *(x509.IPAddress(ip_address(address)) for address in addresses)])


def _find_alternative_names(certificate: x509.Certificate) -> Sequence[x509.GeneralName]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return tuple(extension.value)


@dataclass(frozen=True, slots=True)
class Validity:
    """From when until when something holds, both ends included."""

    begins: datetime
    ends: datetime

    def holds_at(self, wall_now: datetime) -> bool:
        return self.begins <= wall_now <= self.ends


def find_validity(certificate_der: bytes, authorities_pem: bytes) -> Validity | None:
    """When the certificate holds: in its own time and in that of the authority which signed it.

    None when none of the authorities signed it itself, and for what cannot be read.
    """
    try:
        certificate = x509.load_der_x509_certificate(certificate_der)
        authorities = x509.load_pem_x509_certificates(authorities_pem)
    except ValueError:
        return None
    for authority in authorities:
        if _is_signed_by(certificate, authority):
            return Validity(
                max(certificate.not_valid_before_utc, authority.not_valid_before_utc),
                min(certificate.not_valid_after_utc, authority.not_valid_after_utc),
            )
    return None


def _is_signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


@lru_cache(maxsize=4)
def _load_authority(authority: Authority) -> tuple[x509.Certificate, _Key]:
    """The authority's certificate and key, parsed. Raises CertificateError."""
    try:
        certificate = x509.load_pem_x509_certificate(authority.certificate_pem)
        key = serialization.load_pem_private_key(authority.key_pem, None)
    except (ValueError, TypeError) as error:
        raise CertificateError(
            "certificate authority: its PEM cannot be read; restore it, or make a new one"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise CertificateError("certificate authority: key and certificate do not belong together; restore both")
    return certificate, key


def _create_key() -> _Key:
    return ec.generate_private_key(ec.SECP256R1())


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: _Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
