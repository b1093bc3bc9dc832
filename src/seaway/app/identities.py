"""Who the pieces are: the authority of a data directory, and the certificates and kubeconfigs that it makes.

Each is made on first use, and again when it is about to end or no longer fits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from seaway.app.files import DataDir, write_private
from seaway.client.kubeconfig import Connection, KubeconfigError, parse_kubeconfig, render_kubeconfig
from seaway.pki import certificates, tokens

# Identities of the pieces, with upstream's names. Rule: spec "api-machinery" §10.4.
ADMIN = ("kubernetes-admin", ("system:masters",))
PIECE_IDENTITIES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "controllers": ("system:kube-controller-manager", ()),
    "proxy": ("system:kube-proxy", ()),
    "dns": ("seaway:dns", ()),
    "healthcheck": ("seaway:healthcheck", ()),
}


@dataclass(frozen=True, slots=True)
class ServingFiles:
    """What the API server needs to serve TLS and to check who asks."""

    authority: Path
    certificate: Path
    key: Path
    token_key: Path


def ensure_authority(data: DataDir, *, wall_now: datetime) -> certificates.Authority:
    """The CA of this directory, made on first use."""
    certificate, key = data.pki / "ca.crt", data.pki / "ca.key"
    if not (certificate.exists() and key.exists()):
        made = certificates.create_authority("seaway", wall_now=wall_now)
        write_private(key, made.key_pem)
        write_private(certificate, made.certificate_pem)
    return certificates.Authority(certificate.read_bytes(), key.read_bytes())


def ensure_serving(
    data: DataDir, authority: certificates.Authority, *, names: Sequence[str], addresses: Sequence[str]
) -> ServingFiles:
    """Server certificate for these names and addresses (renewed when they change) and the token signing key."""
    wall_now = datetime.now(UTC)
    certificate, key, token_key = (data.pki / n for n in ("apiserver.crt", "apiserver.key", "tokens.key"))
    if not certificate.exists() or certificates.needs_renewal(
        certificate.read_bytes(), wall_now=wall_now, names=names, addresses=addresses
    ):
        pair = certificates.issue_server(authority, names=names, addresses=addresses, wall_now=wall_now)
        write_private(key, pair.key_pem)
        write_private(certificate, pair.certificate_pem)
    if not token_key.exists():
        write_private(token_key, tokens.create_signing_key())
    return ServingFiles(data.pki / "ca.crt", certificate, key, token_key)


@dataclass(frozen=True, slots=True)
class KubeletFiles:
    """What the node's own server shows, and what the API server shows to it. Both are signed by this CA."""

    authority: Path
    certificate: Path
    key: Path
    client_certificate: Path
    client_key: Path


KUBELET_CLIENT = "kube-apiserver-kubelet-client"
"""The API server towards nodes: kubeadm's name. In no group: it may do nothing at an API server."""


def ensure_kubelet(
    data: DataDir, authority: certificates.Authority, *, node_name: str, addresses: Sequence[str]
) -> KubeletFiles:
    """The pairs of both sides, renewed when the CA, the node's name or its addresses change."""
    files = KubeletFiles(
        data.pki / "ca.crt",
        *(data.pki / name for name in ("kubelet.crt", "kubelet.key")),
        *(data.pki / f"apiserver-kubelet-client.{kind}" for kind in ("crt", "key")),
    )
    wall_now = datetime.now(UTC)
    if not _is_good(files.certificate, authority, names=[node_name], addresses=addresses):
        pair = certificates.issue_server(authority, names=[node_name], addresses=addresses, wall_now=wall_now)
        _write_pair(files.certificate, files.key, pair)
    if not _is_good(files.client_certificate, authority):
        pair = certificates.issue_client(authority, user=KUBELET_CLIENT, groups=(), wall_now=wall_now)
        _write_pair(files.client_certificate, files.client_key, pair)
    return files


def _is_good(
    certificate: Path, authority: certificates.Authority, *, names: Sequence[str] = (), addresses: Sequence[str] = ()
) -> bool:
    return certificate.exists() and not certificates.needs_renewal(
        certificate.read_bytes(),
        wall_now=datetime.now(UTC),
        names=names,
        addresses=addresses,
        authority_pem=authority.certificate_pem,
    )


def _write_pair(certificate: Path, key: Path, pair: certificates.Pair) -> None:
    """A certificate that is there has its key beside it, whenever this ends."""
    certificate.unlink(missing_ok=True)
    write_private(key, pair.key_pem)
    write_private(certificate, pair.certificate_pem)


def ensure_kubeconfigs(
    data: DataDir, authority: certificates.Authority, *, server: str, inside: str, node_name: str
) -> None:
    """One kubeconfig a piece (over the unix socket), and the administrator's (over TCP, from here and from inside)."""
    identities = {**PIECE_IDENTITIES, "node": (f"system:node:{node_name}", ("system:nodes",))}
    socket_url = f"unix://{data.api_socket}"
    for piece, (user, groups) in identities.items():
        _ensure_kubeconfig(data.piece_kubeconfig(piece), authority, socket_url, user, groups)
    _ensure_kubeconfig(data.admin_kubeconfig, authority, server, *ADMIN)
    _ensure_kubeconfig(data.inside_kubeconfig, authority, inside, *ADMIN)


def _ensure_kubeconfig(
    path: Path, authority: certificates.Authority, server: str, user: str, groups: Sequence[str]
) -> None:
    marker = f"# {server} {user}\n"
    if _is_current(path, marker, authority):
        return
    pair = certificates.issue_client(authority, user=user, groups=groups, wall_now=datetime.now(UTC))
    connection = Connection(
        server=server,
        ca_pem=authority.certificate_pem.decode(),
        certificate_pem=pair.certificate_pem.decode(),
        key_pem=pair.key_pem.decode(),
    )
    write_private(path, (marker + render_kubeconfig(connection, user=user)).encode())


def _is_current(path: Path, marker: str, authority: certificates.Authority) -> bool:
    """Whether the file is for this server, user and CA, and its certificate good for a while."""
    try:
        text = path.read_text()
        found = parse_kubeconfig(text)
    except (OSError, UnicodeDecodeError, KubeconfigError):
        return False
    if not text.startswith(marker) or found.ca_pem != authority.certificate_pem.decode():
        return False
    return not certificates.needs_renewal(found.certificate_pem.encode(), wall_now=datetime.now(UTC))
