"""Certificates: an authority of our own, what it signs, and when to sign anew. Pure but for the randomness of keys.

Keys are ECDSA P-256: made in under a millisecond, and known to every client. 
Rule: spec "api-machinery" §10.1 (CN is the user, O the groups), RFC 5280.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_DAYS = 3650  # kubeadm's
LEAF_DAYS = 365  # kubeadm's
RENEW_BEFORE_DAYS = 90
SKEW = timedelta(minutes=5)
"""Certificates begin a little in the past, for clocks that are late."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, PEM."""

    certificate_pem: bytes
    key_pem: bytes


@dataclass(frozen=True, slots=True)
class Authority(Pair):
    """A pair that may sign others."""


def create_authority(common_name: str, *, wall_now: datetime) -> Authority:
    """A new self-signed authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(common_name, ())
    builder = _builder(name, name, key.public_key(), wall_now, AUTHORITY_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(signs=True), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return Authority(_pem(builder.sign(key, hashes.SHA256())), _key_pem(key))


def issue_server(authority: Authority, *, names: Sequence[str], addresses: Sequence[str], wall_now: datetime) -> Pair:
    """A certificate for a server that is reached by these DNS names and IP addresses."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = [
        *(x509.DNSName(name) for name in names),
        *(x509.IPAddress(ipaddress.ip_address(address)) for address in addresses),
    ]
    builder = _leaf(authority, _name("seaway-apiserver", ()), key, wall_now, ExtendedKeyUsageOID.SERVER_AUTH)
    builder = builder.add_extension(x509.SubjectAlternativeName(subject), critical=False)
    return _sign(authority, builder, key)


def issue_client(authority: Authority, *, user: str, groups: Sequence[str], wall_now: datetime) -> Pair:
    """A certificate that authenticates the user, a member of the groups."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _leaf(authority, _name(user, groups), key, wall_now, ExtendedKeyUsageOID.CLIENT_AUTH)
    return _sign(authority, builder, key)


def needs_renewal(
    certificate_pem: bytes, *, wall_now: datetime, names: Sequence[str] = (), addresses: Sequence[str] = ()
) -> bool:
    """Whether it ends soon, has not begun, lacks one of the names or addresses, or cannot be read."""
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
    except ValueError:
        return True
    if certificate.not_valid_after_utc - wall_now < timedelta(days=RENEW_BEFORE_DAYS):
        return True
    if certificate.not_valid_before_utc > wall_now:
        return True
    if not names and not addresses:
        return False
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return True
    has = {*found.get_values_for_type(x509.DNSName), *map(str, found.get_values_for_type(x509.IPAddress))}
    return not has.issuperset((*names, *(str(ipaddress.ip_address(a)) for a in addresses)))


def _leaf(
    authority: Authority,
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    wall_now: datetime,
    use: x509.ObjectIdentifier,
) -> x509.CertificateBuilder:
    issuer = x509.load_pem_x509_certificate(authority.certificate_pem)
    builder = _builder(subject, issuer.subject, key.public_key(), wall_now, LEAF_DAYS)
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
    )


def _sign(authority: Authority, builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> Pair:
    signer = serialization.load_pem_private_key(authority.key_pem, password=None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    return Pair(_pem(builder.sign(signer, hashes.SHA256())), _key_pem(key))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, wall_now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(wall_now - SKEW)
        .not_valid_after(wall_now + timedelta(days=days))
    )


def _name(common_name: str, groups: Sequence[str]) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, key_cert_sign=signs, crl_sign=signs, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
