"""Carries out a mount plan: builds a container's root from bind mounts, without touching the host's file system.

The plan is a list of steps (`runtime/local/rootfs.py` makes it). Targets are resolved inside the new root, symbolic
links included, so that nothing is ever mounted outside of it. A mount point that does not exist is made; where the
host's directory cannot be written, that directory is replaced by a tmpfs on which its entries are bound one by one.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from seaway.node.shim import kernel

BASE = "/sys"
"""Where the new root is put together, in the private mount namespace: exists everywhere and is never a source."""
_MAX_LINKS = 40

Step = Mapping[str, Any]


class RootError(Exception):
    """A step could not be carried out; the text names it."""


def build_root(steps: Sequence[Step]) -> None:
    """Leave the caller in a new root that follows the steps. The caller has a mount namespace of its own."""
    kernel.mount("none", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
    sources = [os.open(step["source"], os.O_PATH) if "source" in step else -1 for step in steps]
    kernel.mount("tmpfs", BASE, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=755,size=16m")
    for step, source in zip(steps, sources, strict=True):
        try:
            _STEPS[step["step"]](step, f"/proc/self/fd/{source}")
        except OSError as error:
            raise RootError(f"{step['step']} {step.get('path', '')}: {error}") from error
    for source in sources:
        if source >= 0:
            os.close(source)
    kernel.pivot_root(BASE)


def make_target(path: str, *, is_directory: bool) -> str:
    """The place of `path` in the new root, made if it is not there."""
    parts = [part for part in path.split("/") if part]
    current, links = BASE, 0
    while parts:
        part = parts.pop(0)
        if part == ".":
            continue
        if part == "..":
            current = current if current == BASE else os.path.dirname(current)
            continue
        candidate = f"{current}/{part}"
        try:
            mode = os.lstat(candidate).st_mode
        except FileNotFoundError:
            _create(current, candidate, is_directory=is_directory or bool(parts))
            mode = os.lstat(candidate).st_mode
        if stat.S_ISLNK(mode):
            links += 1
            if links > _MAX_LINKS:
                raise RootError(f"{path}: too many symbolic links")
            target = os.readlink(candidate)
            parts = [p for p in target.split("/") if p] + parts
            current = BASE if target.startswith("/") else current
            continue
        current = candidate
    return current


def _create(parent: str, path: str, *, is_directory: bool) -> None:
    make: Callable[[], None] = (lambda: os.mkdir(path, 0o755)) if is_directory else (lambda: _touch(path))
    try:
        make()
    except OSError:
        _unfold(parent)
        make()


def _touch(path: str) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))


def _unfold(directory: str) -> None:
    """Replace a directory by a tmpfs with the same entries, each bound or linked."""
    before = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    mode = stat.S_IMODE(os.fstat(before).st_mode)
    try:
        names = sorted(os.listdir(directory))
        kernel.mount("tmpfs", directory, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, f"mode={mode:o},size=1m")
        for name in names:
            source, target = f"/proc/self/fd/{before}/{name}", f"{directory}/{name}"
            kind = os.lstat(source).st_mode
            if stat.S_ISLNK(kind):
                os.symlink(os.readlink(source), target)
                continue
            if stat.S_ISDIR(kind):
                os.mkdir(target)
            else:
                _touch(target)
            kernel.bind(source, target)
    finally:
        os.close(before)


def _bind(step: Step, source: str) -> None:
    target = make_target(step["path"], is_directory=stat.S_ISDIR(os.stat(source).st_mode))
    kernel.bind(source, target)
    attributes = kernel.MOUNT_ATTR_NOSUID | (kernel.MOUNT_ATTR_RDONLY if step.get("read_only") else 0)
    kernel.restrict_mount(target, attributes | (0 if step.get("devices") else kernel.MOUNT_ATTR_NODEV))


def _overlay(step: Step, source: str) -> None:
    """In place of the empty root: an image's files, and a layer for what is written."""
    kernel.mount("overlay", BASE, "overlay", kernel.MS_NOSUID | kernel.MS_NODEV, step["options"])


def _seal(step: Step, source: str) -> None:
    """The root itself, or a mount in it, becomes read-only; what is mounted below does not."""
    kernel.restrict_mount(BASE + step["path"], kernel.MOUNT_ATTR_RDONLY, is_recursive=False)


def _tmpfs(step: Step, source: str) -> None:
    target = make_target(step["path"], is_directory=True)
    kernel.mount("tmpfs", target, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, step["options"])


def _link(step: Step, source: str) -> None:
    parent, _, name = step["path"].rpartition("/")
    os.symlink(step["target"], f"{make_target(parent, is_directory=True)}/{name}")


def _directory(step: Step, source: str) -> None:
    make_target(step["path"], is_directory=True)


def _mask(step: Step, source: str) -> None:
    """Hide what is there; a path that does not exist needs no mask. Links are not followed: they hide nothing."""
    path = BASE + step["path"]
    if not os.path.lexists(path) or os.path.islink(path):
        return
    if os.path.isdir(path):
        kernel.mount("tmpfs", path, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=555,size=4k")
        kernel.restrict_mount(path, kernel.MOUNT_ATTR_RDONLY)
    else:
        kernel.bind(f"{BASE}/dev/null", path)


def _protect(step: Step, source: str) -> None:
    """Read-only from here on; a path that does not exist needs no protection."""
    path = BASE + step["path"]
    if os.path.lexists(path):
        kernel.bind(path, path)
        kernel.restrict_mount(path, kernel.MOUNT_ATTR_RDONLY)


def _proc(step: Step, source: str) -> None:
    flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
    kernel.mount("proc", make_target("/proc", is_directory=True), "proc", flags)


def _sysfs(step: Step, source: str) -> None:
    """The Pod's own, read-only; where a container forbids it, an empty directory stays."""
    target = make_target("/sys", is_directory=True)
    try:
        kernel.mount("sysfs", target, "sysfs", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
        kernel.restrict_mount(target, kernel.MOUNT_ATTR_RDONLY)
    except OSError:
        return


def _devpts(step: Step, source: str) -> None:
    flags = kernel.MS_NOSUID | kernel.MS_NOEXEC
    kernel.mount("devpts", make_target("/dev/pts", is_directory=True), "devpts", flags,
                 "newinstance,ptmxmode=0666,mode=620")  # fmt: skip


_STEPS: Mapping[str, Callable[[Step, str], None]] = {
    "bind": _bind,
    "overlay": _overlay,
    "seal": _seal,
    "tmpfs": _tmpfs,
    "link": _link,
    "directory": _directory,
    "mask": _mask,
    "protect": _protect,
    "proc": _proc,
    "sysfs": _sysfs,
    "devpts": _devpts,
}
