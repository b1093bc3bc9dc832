"""The configuration of a container for an OCI runtime, from the values of which the shim's own mount plan is made.

The runtime starts inside of the Pod's network, UTS and IPC namespaces and of a PID namespace that the shim holds
(`shim/oci.py`). A kind of namespace that a configuration does not name is the runtime's own, so only the mount
namespace is named, and host name and sysctls stay what the Pod's are. The program to run, its variables and whether it
has a terminal are the shim's to say: they differ between a container's own program and those executed in it.

Limits (`linux.resources`) are not here: cgroups are the node's business, not the runtime's, which is told to leave
them alone.
Rule: OCI runtime-spec, "config.md" and "config-linux.md"; spec "node" §2.13, §2.18; design §12 (masking).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from seaway.node.runtime.local.rootfs import MASKED_PROC, PROTECTED_PROC, Binding
from seaway.node.runtime.oci.seccomp import make_filter

Json = dict[str, Any]

SPEC_VERSION = "1.0.2"
ROOT = "rootfs"
"""In the bundle; the shim mounts it."""
_SAFE = ("nosuid", "noexec", "nodev")
_KERNEL_MOUNTS = (
    ("/proc", "proc", _SAFE),
    ("/dev", "tmpfs", ("nosuid", "mode=755", "size=64k")),
    ("/dev/pts", "devpts", ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620")),
    ("/dev/shm", "tmpfs", (*_SAFE, "mode=1777", "size=64m")),
    ("/sys", "sysfs", (*_SAFE, "ro")),
)
"""Target, file system, options. No group of terminals: in a sandbox one group exists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerPlan:
    """What a container is to see and to be. bindings: in the order in which they are mounted.

    annotations: for who asks the runtime; never a Pod's own, which might steer it. confined: by the default filter.
    """

    bindings: tuple[Binding, ...] = ()
    working_dir: str = ""
    user: int = 0
    group: int = 0
    groups: tuple[int, ...] = ()
    capabilities: frozenset[str] = frozenset()
    read_only_root: bool = False
    confined: bool = True
    annotations: Mapping[str, str] = field(default_factory=dict)


def make_config(plan: ContainerPlan, *, machine: str = "") -> Json:
    """The configuration, without `process.args`, `env` and `terminal`. machine: for the filter; this one if empty."""
    linux: Json = {
        "namespaces": [{"type": "mount"}],
        "maskedPaths": list(MASKED_PROC),
        "readonlyPaths": list(PROTECTED_PROC),
    }
    if plan.confined:
        linux["seccomp"] = make_filter(machine)
    return {
        "ociVersion": SPEC_VERSION,
        "root": {"path": ROOT, "readonly": plan.read_only_root},
        "process": _make_process(plan),
        "mounts": [*_make_kernel_mounts(), *(_make_mount(binding) for binding in plan.bindings)],
        "linux": linux,
        "annotations": dict(sorted(plan.annotations.items())),
    }


def _make_process(plan: ContainerPlan) -> Json:
    """Nothing is inheritable or ambient: a program that is not root has no capability, and gains none."""
    kept = sorted(f"CAP_{name}" for name in plan.capabilities)
    return {
        "user": {"uid": plan.user, "gid": plan.group, "additionalGids": list(plan.groups)},
        "cwd": plan.working_dir or "/",
        "noNewPrivileges": True,
        "capabilities": {
            "bounding": kept, "permitted": kept, "effective": kept, "inheritable": [], "ambient": [],
        },
    }  # fmt: skip


def _make_kernel_mounts() -> list[Json]:
    return [_mount(path, kind, kind, options) for path, kind, options in _KERNEL_MOUNTS]


def _make_mount(binding: Binding) -> Json:
    """What is mounted below a directory comes along, restricted likewise; of a file, crun 1.8 takes no such options."""
    wanted = ("nosuid", "nodev", *(("ro",) if binding.read_only else ()))
    options = wanted if binding.is_file else tuple(f"r{option}" for option in wanted)
    return _mount(binding.path, "bind", binding.source, ("rbind", "rprivate", *options))


def _mount(path: str, kind: str, source: str, options: Sequence[str]) -> Json:
    return {"destination": path, "type": kind, "source": source, "options": list(options)}
