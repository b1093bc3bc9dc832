"""The mount plan of a container's root: what of the host a Pod sees, and what it never does.

The root is a tmpfs. The host's top-level directories are bound into it read-only, without those that hold what is
somebody's: home directories, /root, /run (sockets of the host's services), /boot, /tmp, and the data directory.
Files with secrets in /etc are masked. /proc, /sys and /dev are the container's own.
Rule: spec "node" §2.13 (files), §2.18 (volumes); design §12 (masking).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

Step = dict[str, Any]

HIDDEN = frozenset(("root", "home", "run", "boot", "tmp", "sys", "proc", "dev", "lost+found", "media", "mnt"))
"""Top-level names that are not bound. The mount points in /media and /mnt are other file systems: the user's."""
_TMPFS = (
    ("/tmp", "mode=1777,size=50%"),
    ("/run", "mode=755,size=64m"),
    ("/var/tmp", "mode=1777,size=50%"),
    ("/dev", "mode=755,size=64k"),
    ("/dev/shm", "mode=1777,size=64m"),
)
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_DEVICE_LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
)
MASKED = (
    "/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/sudoers", "/etc/sudoers.d",
    "/etc/ssl/private", "/etc/kubernetes", "/etc/wireguard", "/etc/NetworkManager/system-connections",
    "/var/lib/seaway", "/var/lib/kubelet", "/var/lib/containerd", "/var/lib/docker", "/var/run", "/var/spool/cron",
    "/var/mail", "/var/log", "/var/backups",
)  # fmt: skip
MASKED_PROC = ("/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/scsi", "/proc/timer_list",
               "/proc/sched_debug", "/sys/firmware", "/sys/kernel/debug")  # fmt: skip
PROTECTED_PROC = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
"""A root process may not change the host's kernel through these, capabilities or not."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the host's root directory. `target`: of a symbolic link, else ""."""

    name: str
    is_directory: bool
    target: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostView:
    """What the plan needs to know of the host.

    hidden: directories that no Pod may see, by no volume either (the data directory), as real paths.
    kept: directories that Pods see read-only, even below a hidden one (the Python installation).
    secrets: what is masked besides the fixed ones (ssh host keys, the user's home).
    """

    entries: tuple[Entry, ...]
    hidden: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Binding:
    """A path of the host in the container: a volume, or a file made by the agent. is_file: nothing lies below it."""

    source: str
    path: str
    read_only: bool = False
    is_file: bool = False


def sort_volumes(volumes: Iterable[Binding]) -> list[Binding]:
    """A directory before what lies in it."""
    return sorted(volumes, key=lambda v: (v.path.count("/"), v.path))


def plan_root(host: HostView, *, files: Iterable[Binding], volumes: Iterable[Binding]) -> tuple[Step, ...]:
    """The steps in order: a step's target lies on what earlier steps have made."""
    volumes = sort_volumes(volumes)
    steps: list[Step] = []
    for entry in sorted(host.entries, key=lambda e: e.name):
        if entry.name in HIDDEN:
            continue
        if entry.target:
            steps.append({"step": "link", "path": f"/{entry.name}", "target": entry.target})
        elif entry.is_directory:
            steps.append(_bind(Binding(f"/{entry.name}", f"/{entry.name}", read_only=True)))
    steps += [{"step": "directory", "path": path} for path in ("/root", "/home", "/media", "/mnt", "/boot")]
    steps += _plan_kernel_parts(_TMPFS)
    steps += [{"step": "mask", "path": path} for path in (*MASKED_PROC, *MASKED, *host.secrets, *host.hidden)]
    steps += [_bind(Binding(path, path, read_only=True)) for path in _find_covered(host)]
    steps += _mask_inside([Binding(path, path) for path in host.kept], host.hidden)
    steps += [_bind(file) for file in files]
    for volume in volumes:
        steps.append(_bind(volume))
        steps += _mask_inside([volume], host.hidden)
    return tuple(steps)


@dataclass(frozen=True, slots=True)
class Overlay:
    """The root of a container from an image: its files below, and above them what this run writes."""

    lower: str
    upper: str
    work: str
    is_sandboxed: bool = False

    @property
    def options(self) -> str:
        """Of the mount. An ordinary user's overlay keeps its notes in attributes that the user may set."""
        options = f"lowerdir={self.lower},upperdir={self.upper},workdir={self.work}"
        return options + (",userxattr" if self.is_sandboxed else "")


def plan_image_root(root: Overlay, *, files: Iterable[Binding], volumes: Iterable[Binding]) -> tuple[Step, ...]:
    """The steps for a container that sees an image, and nothing of the host but devices that have no memory."""
    steps: list[Step] = [{"step": "overlay", "options": root.options}]
    steps += _plan_kernel_parts([entry for entry in _TMPFS if entry[0].startswith("/dev")])
    steps += [{"step": "mask", "path": path} for path in MASKED_PROC]
    steps += [_bind(each) for each in (*files, *sort_volumes(volumes))]
    return tuple(steps)


def _plan_kernel_parts(tmpfs: Iterable[tuple[str, str]]) -> list[Step]:
    """What is the kernel's: /proc, /sys, /dev."""
    steps: list[Step] = [{"step": "tmpfs", "path": path, "options": options} for path, options in tmpfs]
    steps += [{"step": "proc"}, {"step": "sysfs"}, {"step": "devpts"}]
    steps += [{"step": "bind", "source": f"/dev/{name}", "path": f"/dev/{name}", "devices": True} for name in _DEVICES]
    steps += [{"step": "link", "path": f"/dev/{name}", "target": target} for name, target in _DEVICE_LINKS]
    steps += [{"step": "protect", "path": path} for path in PROTECTED_PROC]
    return steps


def _bind(binding: Binding) -> Step:
    return {"step": "bind", "source": binding.source, "path": binding.path, "read_only": binding.read_only}


def _find_covered(host: HostView) -> list[str]:
    """The kept directories that would not be seen otherwise."""
    return [path for path in host.kept if is_covered(path, (*host.hidden, *host.secrets))]


def is_covered(path: str, hidden: Sequence[str]) -> bool:
    """The path lies in what is not bound, or in what is masked."""
    top = PurePosixPath(path).parts[1:2]
    return (bool(top) and top[0] in HIDDEN) or any(is_inside(path, p) for p in (*hidden, *MASKED))


def is_inside(path: str, directory: str) -> bool:
    """`path` is `directory`, or below it."""
    return PurePosixPath(path).is_relative_to(directory)


def _mask_inside(bindings: Iterable[Binding], hidden: Sequence[str]) -> list[Step]:
    """Masks for hidden directories that a binding would show again at another place."""
    steps: list[Step] = []
    for binding in bindings:
        for path in hidden:
            if is_inside(path, binding.source) and path != binding.source:
                inner = PurePosixPath(path).relative_to(binding.source)
                steps.append({"step": "mask", "path": str(PurePosixPath(binding.path) / inner)})
    return steps


def plan_seal(*, is_image: bool) -> tuple[Step, ...]:
    """The steps that make a root read-only, and what a host's program may write in it; volumes are not its own.

    /dev and /dev/shm stay, as with every runtime.
    """
    written = () if is_image else tuple(path for path, _ in _TMPFS if not path.startswith("/dev"))
    return tuple({"step": "seal", "path": path} for path in ("", *written))


DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def make_base_environment(hostname: str, python_bin: str, user: int) -> dict[str, str]:
    """What a program finds before the Pod's own variables; `python3` is always on the path."""
    known = python_bin in DEFAULT_PATH.split(":")
    return {
        "PATH": DEFAULT_PATH if known else f"{DEFAULT_PATH}:{python_bin}",
        "HOSTNAME": hostname,
        "HOME": "/root" if user == 0 else "/",
    }


DEFAULT_CAPABILITIES = frozenset(("CHOWN", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID"))
"""Of a program that the Pod says runs as root. Without DAC_OVERRIDE: the files that it sees are the host's."""
IMAGE_CAPABILITIES = DEFAULT_CAPABILITIES | {"DAC_OVERRIDE", "NET_RAW", "SETPCAP", "SYS_CHROOT"}
"""Of root in an image, whose files are its own: what containerd gives, without devices and audit."""
ALLOWED_CAPABILITIES = DEFAULT_CAPABILITIES | {"NET_ADMIN", "NET_RAW", "SETPCAP", "SYS_CHROOT", "DAC_OVERRIDE"}


def choose_capabilities(
    *,
    is_root: bool,
    add: Sequence[str],
    drop: Sequence[str],
    owns_files: bool = False,
    is_named: bool = True,
    is_lenient: bool = False,
) -> frozenset[str] | str:
    """The capabilities, or why they are refused.

    is_named: somebody said who the program runs as. If that is not root it has none, whatever is added: upstream's
    rule. A program of nobody in particular has what was added and nothing else.
    is_lenient: what is not given here is left out.
    """
    names = {name.removeprefix("CAP_") for name in add}
    refused = find_refused_capabilities(add)
    if refused and not is_lenient:
        return f"capability {refused[0]}: not given on this node, whose file system the Pods share"
    names -= set(refused)
    dropped = {name.removeprefix("CAP_") for name in drop}
    if not is_root:
        return frozenset() if is_named else frozenset(names)
    given = IMAGE_CAPABILITIES if owns_files else DEFAULT_CAPABILITIES
    return frozenset() | names if "ALL" in dropped else (given | names) - dropped


def find_refused_capabilities(add: Sequence[str]) -> tuple[str, ...]:
    """Those of the added ones that no container gets here, sorted."""
    return tuple(sorted({name.removeprefix("CAP_") for name in add} - ALLOWED_CAPABILITIES))


def check_host_path(path: str, hidden: Sequence[str]) -> str:
    """Why the path may not be a volume, or "". path: a real path. The data directory is nobody's volume."""
    for directory in hidden:
        if is_inside(path, directory):
            return f"hostPath {path}: lies in a directory that Pods may not see"
    return ""
