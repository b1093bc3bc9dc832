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
from dataclasses import dataclass
from pathlib import Path

import msgspec

from seaway.net.errors import OperationalError

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
    loopback_map: str = ""


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
