"""Certificates hold what TLS and the authenticator look for, and are renewed in time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from seaway.pki.certificates import create_authority, issue_client, issue_server, needs_renewal

NOW = datetime(2026, 1, 1, tzinfo=UTC)
AUTHORITY = create_authority("test", wall_now=NOW)


def test_a_client_certificate_names_user_and_groups() -> None:
    pair = issue_client(AUTHORITY, user="system:node:a", groups=("system:nodes", "others"), wall_now=NOW)
    certificate = x509.load_pem_x509_certificate(pair.certificate_pem)
    subject = certificate.subject
    assert [a.value for a in subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["system:node:a"]
    assert [a.value for a in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)] == ["system:nodes", "others"]
    use = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(use) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_what_the_authority_issues_is_signed_by_it_and_may_not_sign() -> None:
    authority = x509.load_pem_x509_certificate(AUTHORITY.certificate_pem)
    pair = issue_server(AUTHORITY, names=["kubernetes"], addresses=["10.96.0.1", "::1"], wall_now=NOW)
    certificate = x509.load_pem_x509_certificate(pair.certificate_pem)
    certificate.verify_directly_issued_by(authority)
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@pytest.mark.parametrize(
    ("days", "names", "addresses", "renews"),
    [
        pytest.param(0, ["kubernetes"], ["::1"], False, id="it is fresh and names what is asked"),
        pytest.param(0, ["other"], [], True, id="a name is new"),
        pytest.param(0, ["kubernetes"], ["10.0.0.9"], True, id="an address is new"),
        pytest.param(300, ["kubernetes"], [], True, id="it ends within the time for renewal"),
        pytest.param(-2, ["kubernetes"], [], True, id="it has not begun"),
    ],
)
def test_a_certificate_is_renewed_when(days: int, names: list[str], addresses: list[str], renews: bool) -> None:
    pair = issue_server(AUTHORITY, names=["kubernetes"], addresses=["::1"], wall_now=NOW)
    later = NOW + timedelta(days=days)
    assert needs_renewal(pair.certificate_pem, wall_now=later, names=names, addresses=addresses) is renews


def test_what_is_no_certificate_is_renewed() -> None:
    assert needs_renewal(b"half a file", wall_now=NOW)
