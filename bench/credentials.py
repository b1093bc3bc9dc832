"""A certificate authority, a server certificate and an administrator's token for the servers of one benchmark."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path

from seaway.api.machinery.http import Identity
from seaway.apiserver.access.credentials import Credentials, digest_token
from seaway.apiserver.serve import TlsFiles
from seaway.client.kubeconfig import Connection
from seaway.pki import certificates


def make_credentials(folder: Path) -> str:
    """Writes the files of `find_tls` and the token; returns the token."""
    now = datetime.now(UTC)
    authority = certificates.create_authority("bench", wall_now=now)
    server = certificates.issue_server(
        authority, names=["kubernetes", "localhost"], addresses=["127.0.0.1"], wall_now=now
    )
    token = secrets.token_urlsafe(32)
    files = {
        "ca.crt": authority.certificate_pem,
        "server.crt": server.certificate_pem,
        "server.key": server.key_pem,
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / "token").write_text(token)
    return token


def find_tls(folder: Path) -> TlsFiles:
    """The server's files."""
    return TlsFiles(folder / "server.crt", folder / "server.key", folder / "ca.crt")


def find_credentials(folder: Path) -> Credentials:
    """By which the server knows the token."""
    digest = digest_token((folder / "token").read_text())
    return Credentials(static_tokens={digest: Identity("bench", ("system:masters",))})


def socket_connection(folder: Path) -> Connection:
    """How clients of the benchmark reach the server in any network namespace."""
    return Connection(
        server="https://localhost",
        ca_pem=(folder / "ca.crt").read_text(),
        token=(folder / "token").read_text(),
        unix_socket=str(folder / "api.sock"),
    )
