"""A certificate authority, a server certificate and an administrator's token for the servers of one benchmark."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from seaway.apiserver.serve import TlsFiles
from seaway.app.api import TOKEN_ISSUER
from seaway.client.kubeconfig import Connection
from seaway.pki import certificates, tokens


def make_credentials(folder: Path) -> str:
    """Writes the files of `find_tls`, the token and its key; returns the token."""
    now = datetime.now(UTC)
    authority = certificates.create_authority("bench", wall_now=now)
    server = certificates.issue_server(
        authority, names=["kubernetes", "localhost"], addresses=["127.0.0.1"], wall_now=now
    )
    key = tokens.create_signing_key()
    files = {
        "ca.crt": authority.certificate_pem,
        "server.crt": server.certificate_pem,
        "server.key": server.key_pem,
        "tokens.key": key,
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    token = tokens.sign_token(
        key,
        subject="bench",
        audience=[TOKEN_ISSUER],
        issuer=TOKEN_ISSUER,
        wall_now=now,
        expires_at=now + timedelta(hours=1),
        claims={"groups": ["system:masters"]},
    )
    (folder / "token").write_text(token)
    return token


def find_tls(folder: Path) -> TlsFiles:
    """The server's files."""
    return TlsFiles(folder / "server.crt", folder / "server.key", folder / "ca.crt")


def find_token_key(folder: Path) -> bytes:
    """The key that signed the token."""
    return (folder / "tokens.key").read_bytes()


def socket_connection(folder: Path) -> Connection:
    """How clients of the benchmark reach the server in any network namespace."""
    return Connection(
        server="https://localhost",
        ca_pem=(folder / "ca.crt").read_text(),
        token=(folder / "token").read_text(),
        unix_socket=str(folder / "api.sock"),
    )
