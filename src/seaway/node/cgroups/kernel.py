"""Makes, fills and removes the groups of this host's Pods. Rule: cgroups(7), the kernel's cgroup-v2 document."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

from seaway.node.cgroups.plan import (
    CONTROLLERS,
    OOM_FILES,
    Hierarchy,
    Limits,
    count_oom_kills,
    find_hierarchy,
    find_unified_mounts,
    name_group,
    name_groups,
    plan_writes,
)

REMOVE_TRIES, REMOVE_SECONDS = 100, 0.02
"""A group is busy for as long as the kernel buries what was in it."""


class CgroupError(Exception):
    """A group could not be made or filled; the text names the file."""


def read_hierarchy() -> Hierarchy:
    """As this process sees it."""
    mountinfo = Path("/proc/self/mountinfo").read_text()
    unified = {point: _read(Path(point, "cgroup.controllers")) for point in find_unified_mounts(mountinfo)}
    return find_hierarchy(mountinfo, unified)


class Groups:
    """The groups of one agent. `missing`: why a controller cannot be used, by its name.

    Before `prepare`, and where it may not, nothing is limited: what makes a group makes none.
    """

    def __init__(self, hierarchy: Hierarchy, state_dir: Path) -> None:
        self._version = hierarchy.version
        name = name_groups(state_dir)
        self._places = {controller: Path(root, name) for controller, root in hierarchy.roots}
        self._bases: dict[str, Path] = {}
        self.missing: Mapping[str, str] = dict.fromkeys(CONTROLLERS, "programs are in no cgroups")

    def prepare(self) -> None:
        """Make the group that holds the Pods'. What is not permitted is `missing` from then on."""
        missing = {}
        for controller in CONTROLLERS:
            base = self._places.get(controller)
            if base is None:
                missing[controller] = f"the host has no {controller} controller of cgroups"
                continue
            try:
                if self._version == 2:
                    _enable(base.parent, controller)
                base.mkdir(mode=0o755, exist_ok=True)
                if self._version == 2:
                    _enable(base, controller)
            except OSError as error:
                missing[controller] = f"{error.filename}: {error.strerror}"
            else:
                self._bases[controller] = base
        self.missing = missing

    def make_pod(self, uid: str, limits: Limits) -> None:
        """The Pod's own group. Raises CgroupError."""
        self._make((uid,), limits)
        try:
            for controller, base in self._bases.items() if self._version == 2 else ():
                _enable(base / uid, controller)
        except OSError as error:
            raise CgroupError(f"{error.filename}: {error.strerror}") from error

    def make(self, uid: str, container: str, attempt: int, limits: Limits) -> tuple[str, ...]:
        """A run's group; the files through which its program enters. Raises CgroupError."""
        directories = self._make((uid, name_group(container, attempt)), limits)
        return tuple(str(directory / "cgroup.procs") for directory in directories)

    def _make(self, path: tuple[str, ...], limits: Limits) -> tuple[Path, ...]:
        directories = {controller: base.joinpath(*path) for controller, base in self._bases.items()}
        try:
            for directory in directories.values():
                directory.mkdir(mode=0o755, exist_ok=True)
            for write in plan_writes(limits, self._version):
                if write.controller not in directories:
                    continue
                file = directories[write.controller] / write.file
                if not (write.is_optional and not file.exists()):
                    _write(file, write.text)
        except OSError as error:
            raise CgroupError(f"{error.filename}: {error.strerror}") from error
        return tuple(sorted(set(directories.values())))

    def count_oom_kills(self, uid: str, container: str, attempt: int) -> int:
        """How often the kernel killed something of the run for want of memory."""
        base = self._places.get("memory")
        if base is None:
            return 0
        return count_oom_kills(_read(base / uid / name_group(container, attempt) / OOM_FILES[self._version]))

    def remove(self, uid: str, container: str, attempt: int) -> None:
        """A run's group, when its program has ended. Nothing happens when there is none."""
        for base in set(self._places.values()):
            _remove(base / uid / name_group(container, attempt))

    def remove_pod(self, uid: str) -> None:
        """The Pod's, with those of its runs."""
        for base in set(self._places.values()):
            _remove_tree(base / uid)

    def remove_all(self) -> None:
        """Everything of the agent. What runs must have ended."""
        for base in set(self._places.values()):
            _remove_tree(base)

    def list_pods(self) -> frozenset[str]:
        """The UIDs that have a group."""
        return frozenset(path.name for base in self._places.values() for path in _list_groups(base))


def _enable(directory: Path, controller: str) -> None:
    """For the groups below. Raises OSError, where processes are in the directory for one."""
    file = directory / "cgroup.subtree_control"
    if controller not in _read(file).split():
        _write(file, f"+{controller}")


def _write(file: Path, text: str) -> None:
    handle = os.open(file, os.O_WRONLY | os.O_CLOEXEC)  # never made: it is the kernel's
    try:
        os.write(handle, text.encode())
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror} ({text})", str(file)) from error
    finally:
        os.close(handle)


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


def _list_groups(directory: Path) -> list[Path]:
    try:
        return [path for path in directory.iterdir() if path.is_dir()]
    except OSError:
        return []


def _remove_tree(directory: Path) -> None:
    for path in _list_groups(directory):
        _remove_tree(path)
    _remove(directory)


def _remove(directory: Path) -> None:
    """Waits a little for what is on its way out; what stays busy is left to the next removal."""
    for _ in range(REMOVE_TRIES):
        try:
            directory.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(REMOVE_SECONDS)
