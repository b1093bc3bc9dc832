"""Certificates, proved by a TLS handshake in memory and by what OpenSSL says of them."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from seaway.pki.certificates import (
    Authority,
    CertificateError,
    Pair,
    create_authority,
    issue_client,
    issue_server,
    needs_renewal,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAMES = ("kubernetes", "kubernetes.default.svc")
ADDRESSES = ("10.96.0.1", "127.0.0.1", "::1")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return create_authority("seaway", wall_now=NOW)


def write_pair(pair: Pair, folder: Path, name: str) -> tuple[Path, Path]:
    certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
    certificate.write_bytes(pair.certificate_pem)
    key.write_bytes(pair.key_pem)
    return certificate, key


def shake_hands(authority: Authority, server: Pair, client: Pair, folder: Path, host: str) -> Any:
    """The client's certificate as the server's `ssl` shows it, after a mutual handshake over buffers."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(*write_pair(server, folder, "server"))
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asking.load_cert_chain(*write_pair(client, folder, "client"))
    for context in (serving, asking):
        context.load_verify_locations(cadata=authority.certificate_pem.decode())
        context.verify_mode = ssl.CERT_REQUIRED
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    accepted = serving.wrap_bio(to_server, to_client, server_side=True)
    opened = asking.wrap_bio(to_client, to_server, server_hostname=host)
    for _ in range(4):
        for side in (opened, accepted):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return accepted.getpeercert()


@pytest.mark.parametrize("host", [*NAMES, *ADDRESSES])
def test_the_server_is_trusted_under_each_of_its_names(tmp_path: Path, host: str) -> None:
    now = datetime.now(UTC)
    fresh = create_authority("seaway", wall_now=now)
    server = issue_server(fresh, names=NAMES, addresses=ADDRESSES, wall_now=now)
    client = issue_client(fresh, user="admin", groups=["system:masters", "others"], wall_now=now)
    peer = shake_hands(fresh, server, client, tmp_path, host)
    assert [pair for part in peer["subject"] for pair in part] == [
        ("organizationName", "system:masters"),
        ("organizationName", "others"),
        ("commonName", "admin"),
    ]


def test_another_authority_is_not_trusted(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    ours, theirs = create_authority("seaway", wall_now=now), create_authority("seaway", wall_now=now)
    server = issue_server(ours, names=NAMES, addresses=(), wall_now=now)
    client = issue_client(theirs, user="mallory", groups=["system:masters"], wall_now=now)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(ours, server, client, tmp_path, "kubernetes")


def test_a_client_certificate_does_not_serve(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    ours = create_authority("seaway", wall_now=now)
    client = issue_client(ours, user="kubernetes", groups=(), wall_now=now)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(ours, client, client, tmp_path, "kubernetes")


def test_user_names_may_be_longer_than_64_characters(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    ours = create_authority("seaway", wall_now=now)
    user = "system:node:" + "n" * 253
    client = issue_client(ours, user=user, groups=["g" * 100], wall_now=now)
    server = issue_server(ours, names=NAMES, addresses=(), wall_now=now)
    peer = shake_hands(ours, server, client, tmp_path, "kubernetes")
    assert (("commonName", user),) in peer["subject"]


def test_a_leaf_does_not_outlive_its_authority(authority: Authority) -> None:
    late = NOW + timedelta(days=3500)
    pair = issue_client(authority, user="u", groups=(), wall_now=late)
    certificate = x509.load_pem_x509_certificate(pair.certificate_pem)
    issuer = x509.load_pem_x509_certificate(authority.certificate_pem)
    assert certificate.not_valid_after_utc == issuer.not_valid_after_utc
    certificate.verify_directly_issued_by(issuer)


@pytest.mark.parametrize(
    ("days", "names", "addresses", "expected"),
    [
        pytest.param(0, NAMES, ADDRESSES, False, id="a fresh certificate is kept"),
        pytest.param(0, NAMES[:1], (), False, id="fewer names than it has are no reason"),
        pytest.param(240, NAMES, ADDRESSES, False, id="more than a third of its time is left"),
        pytest.param(250, NAMES, ADDRESSES, True, id="less than a third of its time is left"),
        pytest.param(400, NAMES, ADDRESSES, True, id="it has ended"),
        pytest.param(-2, NAMES, ADDRESSES, True, id="it is from the future"),
        pytest.param(0, (*NAMES, "more"), ADDRESSES, True, id="a name is missing"),
        pytest.param(0, NAMES, (*ADDRESSES, "192.0.2.1"), True, id="an address is missing"),
    ],
)
def test_renewal(
    authority: Authority, days: int, names: tuple[str, ...], addresses: tuple[str, ...], expected: bool
) -> None:
    pair = issue_server(authority, names=NAMES, addresses=ADDRESSES, wall_now=NOW)
    later = NOW + timedelta(days=days)
    assert needs_renewal(pair.certificate_pem, wall_now=later, names=names, addresses=addresses) is expected


def test_a_certificate_of_another_authority_needs_renewal(authority: Authority) -> None:
    other = create_authority("seaway", wall_now=NOW)
    pair = issue_client(authority, user="u", groups=(), wall_now=NOW)
    assert not needs_renewal(pair.certificate_pem, wall_now=NOW, authority_pem=authority.certificate_pem)
    assert needs_renewal(pair.certificate_pem, wall_now=NOW, authority_pem=other.certificate_pem)


def test_a_file_cut_short_needs_renewal(authority: Authority) -> None:
    pair = issue_client(authority, user="u", groups=(), wall_now=NOW)
    assert needs_renewal(pair.certificate_pem[:100], wall_now=NOW)


def test_an_authority_whose_halves_do_not_match_signs_nothing(authority: Authority) -> None:
    mixed = Authority(authority.certificate_pem, create_authority("seaway", wall_now=NOW).key_pem)
    with pytest.raises(CertificateError, match="do not belong together"):
        issue_client(mixed, user="u", groups=(), wall_now=NOW)
    with pytest.raises(CertificateError, match="cannot be read"):
        issue_client(Authority(b"", b""), user="u", groups=(), wall_now=NOW)


def test_keys_are_not_printed(authority: Authority) -> None:
    for pair in (authority, issue_client(authority, user="u", groups=(), wall_now=NOW)):
        assert "PRIVATE" not in repr(pair)
