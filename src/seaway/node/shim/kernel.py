"""What a container needs besides `seaway.net.kernel`: roots, mounts below, capabilities, credentials."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from pathlib import Path

from seaway.net.kernel import CLONE_NEWIPC as CLONE_NEWIPC
from seaway.net.kernel import CLONE_NEWNET as CLONE_NEWNET
from seaway.net.kernel import CLONE_NEWNS as CLONE_NEWNS
from seaway.net.kernel import CLONE_NEWPID as CLONE_NEWPID
from seaway.net.kernel import CLONE_NEWUTS as CLONE_NEWUTS
from seaway.net.kernel import MS_BIND, call
from seaway.net.kernel import MS_NODEV as MS_NODEV
from seaway.net.kernel import MS_NOEXEC as MS_NOEXEC
from seaway.net.kernel import MS_NOSUID as MS_NOSUID
from seaway.net.kernel import MS_PRIVATE as MS_PRIVATE
from seaway.net.kernel import MS_REC as MS_REC
from seaway.net.kernel import mount as mount
from seaway.net.kernel import set_parent_death_signal as set_parent_death_signal
from seaway.net.kernel import setns as setns
from seaway.net.kernel import unmount as unmount
from seaway.net.kernel import unshare as unshare

MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV = 1, 2, 4

_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_SYS_MOUNT_SETATTR = 442
"""The same number on every architecture, as all system calls since 2019; Linux 5.12 and later."""

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_CHILD_SUBREAPER = 1, 4, 24, 36
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_KEEPCAPS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 8, 47, 2
_LINUX_CAPABILITY_VERSION_3 = 0x20080522

CAPABILITIES = {
    "CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "FSETID": 4, "KILL": 5, "SETGID": 6, "SETUID": 7, "SETPCAP": 8,
    "NET_BIND_SERVICE": 10, "NET_ADMIN": 12, "NET_RAW": 13, "SYS_CHROOT": 18,
}  # fmt: skip
"""The numbers of the capabilities that a container may be given."""


def bind(source: str, target: str) -> None:
    """A recursive bind mount: in a user namespace the mounts below must come along."""
    mount(source, target, "", MS_BIND | MS_REC)


def restrict_mount(target: str, attributes: int, *, is_recursive: bool = True) -> None:
    """Adds attributes to a mount and all below it; those that are set stay, which a remount could not promise."""
    packed = struct.pack("=QQQQ", attributes, 0, 0, 0)
    flags = _AT_RECURSIVE if is_recursive else 0
    call("syscall", _SYS_MOUNT_SETATTR, _AT_FDCWD, target.encode(), flags, packed, len(packed))


def pivot_root(new_root: str) -> None:
    """The new root in place of the old one, which is gone afterwards."""
    os.chdir(new_root)
    call("pivot_root", b".", b".")
    unmount(".")
    os.chdir("/")


def become_subreaper() -> None:
    """Orphans of our children become our children: their exit status comes here."""
    call("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def forbid_inspection() -> None:
    """Others of the same user may not read /proc/PID/fd or attach, even with equal capabilities."""
    call("prctl", _PR_SET_DUMPABLE, 0, 0, 0, 0)


def read_last_capability() -> int:
    return int(Path("/proc/sys/kernel/cap_last_cap").read_text())


def become_user(
    user: int, group: int, keep: frozenset[int], last_capability: int, *, groups: Sequence[int] | None
) -> None:
    """Give up everything but `keep`, for good: the bounding set too, and nothing is gained by an exec.

    groups: besides the first; None in a user namespace made by an ordinary user, who cannot set them.
    A user other than root takes `keep` through the exec as ambient capabilities.
    """
    for capability in range(last_capability + 1):
        if capability not in keep:
            call("prctl", _PR_CAPBSET_DROP, capability, 0, 0, 0)
    if groups is not None:
        os.setgroups(groups)
    os.setresgid(group, group, group)
    call("prctl", _PR_SET_KEEPCAPS, 1 if keep else 0, 0, 0, 0)
    os.setresuid(user, user, user)
    kept = sum(1 << capability for capability in keep)
    low, high = kept & 0xFFFFFFFF, kept >> 32
    passed = (low, high) if user else (0, 0)
    header = struct.pack("=II", _LINUX_CAPABILITY_VERSION_3, 0)
    call("capset", header, struct.pack("=6I", low, low, passed[0], high, high, passed[1]))
    for capability in keep if user else ():
        call("prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability, 0, 0)
    forbid_gain()


def forbid_gain() -> None:
    """Nothing is gained by an exec, for good: set-user-id programs run as who starts them."""
    call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
