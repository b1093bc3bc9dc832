"""Namespaces, mounts and credentials by system call: Python 3.11 has no functions for them."""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18
MNT_DETACH = 2
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV = 1, 2, 4

_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_SYS_MOUNT_SETATTR = 442
"""The same number on every architecture, as all system calls since 2019; Linux 5.12 and later."""

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_CHILD_SUBREAPER = 1, 4, 24, 36
_PR_SET_NO_NEW_PRIVS = 38
_LINUX_CAPABILITY_VERSION_3 = 0x20080522

CAPABILITIES = {
    "CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "FSETID": 4, "KILL": 5, "SETGID": 6, "SETUID": 7, "SETPCAP": 8,
    "NET_BIND_SERVICE": 10, "NET_ADMIN": 12, "NET_RAW": 13, "SYS_CHROOT": 18,
}  # fmt: skip
"""The numbers of the capabilities that a container may be given."""

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object) -> int:
    result: int = getattr(_libc, name)(*arguments)
    if result < 0:
        code = ctypes.get_errno()
        shown = ", ".join(repr(a) for a in arguments)
        raise OSError(code, f"{name}({shown}): {os.strerror(code)}")
    return result


def unshare(flags: int) -> None:
    _call("unshare", flags)


def enter_namespace(handle: int, kind: int) -> None:
    """setns(2): a PID namespace is entered by the next child, not by the caller."""
    _call("setns", handle, kind)


def mount(source: str, target: str, kind: str, flags: int = 0, options: str = "") -> None:
    arguments = (source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode() or None)
    _call("mount", *arguments)


def bind(source: str, target: str) -> None:
    """A recursive bind mount: in a user namespace the mounts below must come along."""
    mount(source, target, "", MS_BIND | MS_REC)


def restrict_mount(target: str, attributes: int) -> None:
    """Adds attributes to a mount and all below it; those that are set stay, which a remount could not promise."""
    packed = struct.pack("=QQQQ", attributes, 0, 0, 0)
    _call("syscall", _SYS_MOUNT_SETATTR, _AT_FDCWD, target.encode(), _AT_RECURSIVE, packed, len(packed))


def unmount(target: str) -> None:
    _call("umount2", target.encode(), MNT_DETACH)


def pivot_root(new_root: str) -> None:
    """The new root in place of the old one, which is gone afterwards."""
    os.chdir(new_root)
    _call("pivot_root", b".", b".")
    unmount(".")
    os.chdir("/")


def become_subreaper() -> None:
    """Orphans of our children become our children: their exit status comes here."""
    _call("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def forbid_inspection() -> None:
    """Others of the same user may not read /proc/PID/fd or attach, even with equal capabilities."""
    _call("prctl", _PR_SET_DUMPABLE, 0, 0, 0, 0)


def read_last_capability() -> int:
    return int(Path("/proc/sys/kernel/cap_last_cap").read_text())


def become_user(user: int, group: int, keep: frozenset[int], last_capability: int, *, drop_groups: bool) -> None:
    """Give up everything but `keep`, for good: the bounding set too, and nothing is gained by an exec.

    drop_groups: not possible in a user namespace made by an ordinary user.
    """
    for capability in range(last_capability + 1):
        if capability not in keep:
            _call("prctl", _PR_CAPBSET_DROP, capability, 0, 0, 0)
    if drop_groups:
        os.setgroups([])
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)
    kept = sum(1 << capability for capability in keep) if user == 0 else 0
    low, high = kept & 0xFFFFFFFF, kept >> 32
    header = struct.pack("=II", _LINUX_CAPABILITY_VERSION_3, 0)
    _call("capset", header, struct.pack("=6I", low, low, 0, high, high, 0))
    _call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
