"""The default filter of system calls: what no program in a container needs, and what leads out of one.

It names what is refused and lets the rest pass, so that a kernel or C library that is newer than this list works as it
does outside. Root in a container has no capability that any of these needs. `clone` may make threads and processes and
no namespace; `clone3`, whose flags a filter cannot read, does not exist, on which C libraries take `clone`.
Rule: OCI runtime-spec, "config-linux.md", Seccomp; system calls by their manual pages.
"""

from __future__ import annotations

import platform
from typing import Any

Json = dict[str, Any]

EPERM, ENOSYS = 1, 38
NAMESPACE_FLAGS = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET; linux/sched.h."""

REFUSED = {
    "mounts": ("mount", "umount", "umount2", "mount_setattr", "move_mount", "open_tree", "pivot_root",
               "fsopen", "fsconfig", "fsmount", "fspick", "swapon", "swapoff", "quotactl", "quotactl_fd"),
    "namespaces": ("unshare", "setns"),
    "the kernel itself": ("create_module", "init_module", "finit_module", "delete_module", "get_kernel_syms",
                          "query_module", "kexec_load", "kexec_file_load", "reboot", "syslog", "_sysctl", "sysfs",
                          "nfsservctl", "uselib", "ustat", "acct", "vhangup", "lookup_dcookie"),
    "programs in the kernel, and what watches it": ("bpf", "perf_event_open", "userfaultfd", "fanotify_init",
                                                    "io_uring_setup", "io_uring_enter", "io_uring_register"),
    "keys, which have no namespace": ("add_key", "keyctl", "request_key"),
    "the clock of the host": ("settimeofday", "stime", "clock_settime", "clock_settime64"),
    "files by number, past every mount": ("open_by_handle_at",),
    "memory of the host's nodes": ("move_pages", "migrate_pages"),
    "hardware": ("iopl", "ioperm", "vm86", "vm86old"),
    "names of the Pod": ("sethostname", "setdomainname"),
    "other processes' descriptors": ("kcmp",),
}  # fmt: skip
"""By what they reach."""

ARCHITECTURES = {
    "x86_64": ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"),
    "aarch64": ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"),
}
"""Every way in which a program of a machine may speak to its kernel; a machine that is not here has its own only."""


def make_filter(machine: str = "") -> Json:
    """`linux.seccomp` of a configuration. Names that a machine or its libseccomp lacks are passed over by it.

    machine: as uname(2) calls it; this one unless named.
    """
    names = sorted(name for group in REFUSED.values() for name in group)
    rules: list[Json] = [
        {"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": EPERM},
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS},
    ]
    rules += [
        {"names": ["clone"], "action": "SCMP_ACT_ERRNO", "errnoRet": EPERM, "args": [_is_set(flag)]}
        for flag in NAMESPACE_FLAGS
    ]
    return {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": list(ARCHITECTURES.get(machine or platform.machine(), ())),
        "syscalls": rules,
    }


def _is_set(flag: int) -> Json:
    """The first argument has the flag. Rule: seccomp_rule_add(3), SCMP_CMP_MASKED_EQ: value is the mask."""
    return {"index": 0, "value": flag, "valueTwo": flag, "op": "SCMP_CMP_MASKED_EQ"}
