"""The data directory: where everything of one Seaway lives, who may read it, and who holds it.

Invariants:
1. The directory is 0700, keys and kubeconfigs 0600; files are written beside and renamed, never half.
2. One `up` (or one `apiserver`) at a time holds a directory: a lock on `lock`, with the holder's process id in it.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from seaway.client.kubeconfig import Connection, KubeconfigError, parse_kubeconfig, render_kubeconfig
from seaway.net.errors import OperationalError
from seaway.pki import certificates, tokens

# Identities of the pieces, with upstream's names. Rule: spec "api-machinery" §10.4.
ADMIN = ("kubernetes-admin", ("system:masters",))
PIECE_IDENTITIES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "controllers": ("system:kube-controller-manager", ()),
    "proxy": ("system:kube-proxy", ()),
    "dns": ("seaway:dns", ()),
    "healthcheck": ("seaway:healthcheck", ()),
}


LOCK_PATIENCE_SECONDS = 10.0
"""Longer than pieces take to end after their parent was killed."""


@dataclass(frozen=True, slots=True)
class DataDir:
    """Paths under one data directory."""

    root: Path

    @property
    def database(self) -> Path:
        return self.root / "seaway.db"

    @property
    def api_socket(self) -> Path:
        return self.root / "api.sock"

    @property
    def relay_socket(self) -> Path:
        return self.root / "dns.sock"

    @property
    def dial_socket(self) -> Path:
        return self.root / "dial.sock"

    @property
    def admin_kubeconfig(self) -> Path:
        return self.root / "admin.kubeconfig"

    @property
    def inside_kubeconfig(self) -> Path:
        """The administrator's, with the API's address inside of a sandbox."""
        return self.root / "kubeconfig" / "inside.kubeconfig"

    @property
    def state_file(self) -> Path:
        return self.root / "up.json"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def node_state(self) -> Path:
        return self.root / "node"

    @property
    def node_warnings(self) -> Path:
        """What the node agent warns of, a list of sentences; absent when there is nothing."""
        return self.node_state / "warnings.json"

    @property
    def uplink_state(self) -> Path:
        return self.root / "uplinks.json"

    @property
    def pki(self) -> Path:
        return self.root / "pki"

    def piece_kubeconfig(self, piece: str) -> Path:
        return self.root / "kubeconfig" / f"{piece}.kubeconfig"


IN_CLUSTER_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
"""Where a Pod finds its token; the certificate of its API server's authority lies beside it."""


def default_data_dir() -> Path:
    """`/var/lib/seaway` for root, `$XDG_STATE_HOME/seaway` for others."""
    if os.geteuid() == 0:
        return Path("/var/lib/seaway")
    state = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return Path(state) / "seaway"


def prepare(root: Path) -> DataDir:
    """Make the directory and its parts. Raises OperationalError when it cannot be had."""
    data = DataDir(root.absolute())
    try:
        data.root.mkdir(parents=True, exist_ok=True)
        os.chmod(data.root, 0o700)
        for part in (data.logs, data.pki, data.root / "kubeconfig"):
            part.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise OperationalError(
            f"data directory {data.root}: {error.strerror}; choose a writable one with --data-dir"
        ) from error
    if len(os.fsencode(data.api_socket)) > 100:
        raise OperationalError(
            f"data directory {data.root}: path of {len(os.fsencode(data.root))} bytes found, at most 90 allowed "
            "for the sockets in it; choose a shorter one with --data-dir"
        )
    return data


def lock(data: DataDir, *, patience_seconds: float = LOCK_PATIENCE_SECONDS) -> int:
    """Hold the directory until the returned descriptor is closed. Raises OperationalError when another does.

    Pieces whose parent was killed hold it until they have ended, which is waited for.
    """
    fd = os.open(data.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError as error:
            holder = os.pread(fd, 32, 0).decode(errors="replace").strip()
            if time.monotonic() > deadline or _is_alive(holder):
                os.close(fd)
                raise OperationalError(
                    f"data directory {data.root}: in use by process {holder or '(unknown)'}; stop it (seaway down) or "
                    "choose another with --data-dir"
                ) from error
            time.sleep(0.05)
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def _is_alive(pid: str) -> bool:
    return pid.isdigit() and Path(f"/proc/{pid}").exists()


def write_private(path: Path, content: bytes) -> None:
    """Replace the file's content at once; only the owner may read it."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
    os.replace(beside, path)


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


class UpState(msgspec.Struct, frozen=True):
    """What `up` says of itself while it runs, for status, shell, kubeconfig and down."""

    pid: int
    way: str
    reason: str
    url: str
    dns: str
    node_name: str
    node_ip: str
    service_cidr: str
    cluster_cidr: str
    cluster_domain: str
    pieces: tuple[str, ...]
    ready: bool = False
    holder_pid: int = 0
    seconds: float = 0.0


def write_state(data: DataDir, state: UpState) -> None:
    write_private(data.state_file, msgspec.json.encode(state))


def find_state(data: DataDir) -> UpState | None:
    """The state of the running `up`, or None when none runs."""
    try:
        state = msgspec.json.decode(data.state_file.read_bytes(), type=UpState)
        os.kill(state.pid, 0)
    except (OSError, msgspec.DecodeError):
        return None
    return state


def find_warnings(data: DataDir) -> list[str]:
    """What the node agent warns of now, in its words."""
    try:
        return msgspec.json.decode(data.node_warnings.read_bytes(), type=list[str])
    except (OSError, msgspec.DecodeError):
        return []


def note_way(data: DataDir, way: str) -> None:
    """Remember how this directory was last run: `down` must know what to look for."""
    write_private(data.root / "way", f"{way}\n".encode())


def find_last_way(data: DataDir) -> str | None:
    """The way of the last `up` on this directory, or None."""
    try:
        return (data.root / "way").read_text().strip()
    except OSError:
        return None


def host_name() -> str:
    """The host's name as a node name. Rule: spec "node" §1.2."""
    return socket.gethostname().strip().lower()
