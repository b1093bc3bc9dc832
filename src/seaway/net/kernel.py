"""System calls on namespaces, mounts and processes that Python 3.11 lacks, by ctypes.

Rule: unshare(2), setns(2), mount(2), prctl(2); constants of linux/sched.h, linux/mount.h, linux/prctl.h.
"""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18
MNT_DETACH = 2

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15

_libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: object) -> int:
    """The result of a function of the C library. Raises OSError with the call in its text when it is negative."""
    result: int = getattr(_libc, name)(*arguments)
    if result < 0:
        code = ctypes.get_errno()
        shown = ", ".join(repr(a) for a in arguments)
        raise OSError(code, f"{name}({shown}): {os.strerror(code)}")
    return result


def unshare(flags: int) -> None:
    """Leave the given namespaces for new ones. Raises OSError."""
    call("unshare", flags)


def setns(handle: int, kind: int = 0) -> None:
    """Enter the namespace behind the descriptor; kind 0 accepts any. A PID namespace counts for children only."""
    call("setns", handle, kind)


def mount(source: str, target: str, kind: str, flags: int = 0, options: str = "") -> None:
    """Mount a file system. Raises OSError."""
    call("mount", source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode() or None)


def unmount(target: str) -> None:
    """Take a file system away from its place; who uses it keeps it. Raises OSError."""
    call("umount2", target.encode(), MNT_DETACH)


def set_parent_death_signal(number: int) -> None:
    """The signal that this process gets when its parent ends. Raises OSError."""
    call("prctl", _PR_SET_PDEATHSIG, ctypes.c_ulong(number), 0, 0, 0)


def set_process_name(name: str) -> None:
    """What `ps -o comm` shows (15 bytes). Raises OSError."""
    call("prctl", _PR_SET_NAME, ctypes.c_char_p(name.encode()[:15]), 0, 0, 0)
