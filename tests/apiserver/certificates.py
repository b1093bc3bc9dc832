"""A throw-away CA for tests that speak real TLS."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from seaway.apiserver.serve import TlsFiles

_START = datetime.now(UTC) - timedelta(minutes=1)


class Authority:
    """Signs certificates and writes them below a folder."""

    def __init__(self, folder: Path, name: str = "test-ca") -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _start(self._name, self._name, self._key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.path = folder / "ca.crt"
        _write(self.path, builder.sign(self._key, hashes.SHA256()))

    def issue(
        self,
        file_name: str,
        user: str,
        *groups: str,
        server: bool = False,
        uid: str = "",
        days: tuple[int, int] = (0, 1),
    ) -> tuple[Path, Path]:
        """The paths of a certificate and its key. days: when it begins and ends, from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        attributes += [x509.NameAttribute(x509.ObjectIdentifier("1.3.6.1.4.1.57683.2"), uid)] if uid else []
        subject = x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, user)])
        builder = _start(subject, self._name, key.public_key(), days)
        if server:
            names = [x509.DNSName("kubernetes"), x509.DNSName("localhost")]
            addresses = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            builder = builder.add_extension(x509.SubjectAlternativeName([*names, *addresses]), critical=False)
        certificate_path, key_path = self.folder / f"{file_name}.crt", self.folder / f"{file_name}.key"
        _write(certificate_path, builder.sign(self._key, hashes.SHA256()))
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        key_path.write_bytes(pem)
        return certificate_path, key_path

    def serving(self) -> TlsFiles:
        certificate, key = self.issue("server", "kube-apiserver", server=True)
        return TlsFiles(certificate, key, self.path)


def _start(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: tuple[int, int] = (0, 1)
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_START + timedelta(days=days[0]))
        .not_valid_after(_START + timedelta(days=days[1]))
    )


def _write(path: Path, certificate: x509.Certificate) -> None:
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
