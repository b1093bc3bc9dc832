"""Who may speak to a test's server: certificates of one authority per process, and tokens that are only known here.

Making keys and signing takes 3 ms the first time; every server of the process shares the authority and its certificate.
"""

from __future__ import annotations

import functools
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import yaml

from seaway.api.machinery.http import Identity
from seaway.apiserver.access.identity import authenticate
from seaway.apiserver.serve import TlsFiles
from seaway.client.kubeconfig import Connection, render_kubeconfig
from seaway.pki.certificates import Authority, Pair, create_authority, issue_client, issue_server
from seaway.pki.tokens import create_signing_key

ADMIN = ("kubernetes-admin", ("system:masters",))
HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class User:
    """Credentials of one user, as every client wants them: a kubeconfig, or its parts.

    `connection` is the client certificate's; `token` says the same user. Neither appears in the printed form.
    """

    name: str
    groups: tuple[str, ...]
    connection: Connection = field(repr=False)
    token: str = field(repr=False)
    kubeconfig: Path

    @property
    def kubeconfig_dict(self) -> dict[str, object]:
        """What the kubeconfig file says."""
        return _load(self.connection, self.name)

    @property
    def certificate_pem(self) -> str:
        """The client certificate; "" for a service account, who has only a token."""
        return self.connection.certificate_pem

    @property
    def key_pem(self) -> str:
        """The key of the client certificate."""
        return self.connection.key_pem


@functools.cache
def get_authority() -> Authority:
    """This process's authority."""
    return create_authority("seaway-testing", wall_now=datetime.now(UTC))


@functools.cache
def get_serving() -> Pair:
    """The certificate of every server of this process."""
    names = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
    addresses = (HOST, "::1")
    return issue_server(get_authority(), names=names, addresses=addresses, wall_now=datetime.now(UTC))


@functools.lru_cache(maxsize=256)
def get_client(user: str, groups: tuple[str, ...]) -> Pair:
    """The client certificate of a user; the same for the same user and groups."""
    return issue_client(get_authority(), user=user, groups=groups, wall_now=datetime.now(UTC))


@functools.cache
def get_token_key() -> bytes:
    """The key that signs the service-account tokens of every server of this process."""
    return create_signing_key()


def write_tls_files(folder: Path) -> TlsFiles:
    """What a server needs to serve, as files in the folder that only this user may read."""
    authority, serving = get_authority(), get_serving()
    files = TlsFiles(folder / "server.crt", folder / "server.key", folder / "ca.crt")
    for path, pem in (
        (files.certificate, serving.certificate_pem),
        (files.key, serving.key_pem),
        (files.client_ca, authority.certificate_pem),
    ):
        write_private(path, pem)
    return files


def write_private(path: Path, content: bytes) -> None:
    """A file that nobody else may read, from its first moment on."""
    path.touch(mode=0o600)
    path.write_bytes(content)


class Users:
    """The users of one server, and their files in its folder."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._folder = folder
        self._identities: dict[str, Identity] = {}
        self._count = 0

    def find_identity(self, token: str) -> Identity | None:
        """Whom one of our tokens stands for, or None."""
        return self._identities.get(token)

    def make(self, name: str, groups: tuple[str, ...], namespace: str, *, has_certificate: bool = True) -> User:
        """A user with a certificate, a token and a kubeconfig for that namespace."""
        pair = get_client(name, groups) if has_certificate else Pair(b"", b"")
        token = secrets.token_urlsafe(24)
        self._identities[token] = authenticate(Identity(name, groups))
        connection = Connection(
            server=self._url,
            ca_pem=get_authority().certificate_pem.decode(),
            certificate_pem=pair.certificate_pem.decode(),
            key_pem=pair.key_pem.decode(),
            token="" if has_certificate else token,
            namespace=namespace,
        )
        self._count += 1
        path = self._folder / f"{self._count}.kubeconfig"
        write_private(path, render_kubeconfig(connection, user=name).encode())
        return User(name, groups, connection, token, path)

    def forget(self, user: User) -> None:
        """End the user's token and remove its kubeconfig."""
        self._identities.pop(user.token, None)
        user.kubeconfig.unlink(missing_ok=True)


def _load(connection: Connection, user: str) -> dict[str, object]:
    loaded: dict[str, object] = yaml.safe_load(render_kubeconfig(connection, user=user))
    return loaded
