"""Writes what Pods find in volumes and in /etc, below the agent's state directory.

What must not be on a disk lies in one file system in memory, below the same directory, by Pod.
A volume of files is replaced as a whole: the files lie in `..<number>`, `..data` points to it, and the visible names
point into `..data`; one rename makes all of them new at once. Rule: spec "node" §2.18.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Any

from seaway.net.kernel import MS_NODEV, MS_NOSUID, mount, unmount
from seaway.node.evictions import DiskUse
from seaway.node.runtime.contract import ContainerError
from seaway.node.volumes import Content, EmptyDir, FileEntry, HostPath, PlannedVolume

BLOCK_BYTES = 512
"""Of `st_blocks`. Rule: stat(2)."""
_CHECKS = {
    "Directory": (stat.S_ISDIR, "a directory"),
    "File": (stat.S_ISREG, "a file"),
    "Socket": (stat.S_ISSOCK, "a socket file"),
    "CharDevice": (stat.S_ISCHR, "a character device"),
    "BlockDevice": (stat.S_ISBLK, "a block device"),
    "DirectoryOrCreate": (stat.S_ISDIR, "a directory"),
    "FileOrCreate": (stat.S_ISREG, "a file"),
}


def ensure_memory(path: Path) -> None:
    """Make the path a file system in memory, unless it is one. Raises ContainerError.

    It is not swapped out where the kernel can promise that (Linux 6.4, outside of user namespaces).
    """
    flags = MS_NOSUID | MS_NODEV
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.is_mount():
            return
        try:
            mount("tmpfs", str(path), "tmpfs", flags, "mode=0700,noswap")
        except OSError:
            mount("tmpfs", str(path), "tmpfs", flags, "mode=0700")
    except OSError as error:
        raise ContainerError(f"{path}: {error.strerror}") from error


def remove_memory(path: Path) -> None:
    """Nothing of it is left. Nothing happens when it is not there."""
    if path.is_mount():
        unmount(str(path))
    shutil.rmtree(path, ignore_errors=True)


def prepare_volume(directory: Path, volume: PlannedVolume, memory: Path | None = None) -> Path:
    """The host path to mount for the volume, made or brought up to date. Raises ContainerError.

    directory: of the Pod's volumes; memory: of those that are never on a disk, None where nothing can be mounted.
    """
    if isinstance(volume, HostPath):
        try:
            return _check_host_path(volume)
        except OSError as error:  # whoever writes the Pod chooses the path
            raise ContainerError(f"hostPath {volume.path}: {error.strerror}") from error
    in_memory = isinstance(volume, Content) and volume.in_memory
    path = (memory if in_memory and memory is not None else directory) / volume.name
    try:
        if isinstance(volume, EmptyDir):
            _make_empty_dir(path, volume)
        else:
            path.mkdir(parents=True, exist_ok=True)
            write_content(path, volume)
    except OSError as error:
        raise ContainerError(f'MountVolume.SetUp failed for volume "{volume.name}" : {error}') from error
    return path


def _make_empty_dir(path: Path, volume: EmptyDir) -> None:
    """Once: what programs make of its mode and owner afterwards is theirs. It has its own before it has its name."""
    if volume.in_memory:
        path.mkdir(parents=True, exist_ok=True)
        if not path.is_mount():
            size = f"size={volume.size_bytes}" if volume.size_bytes else "size=50%"
            mode = _widen(0o777, volume.group, is_directory=True)
            owner = "" if volume.group is None else f",gid={volume.group}"
            mount("tmpfs", str(path), "tmpfs", MS_NOSUID | MS_NODEV, f"mode={mode:o},{size}{owner}")
    elif not path.exists():
        fresh = path.with_name(f".{path.name}")
        fresh.mkdir(parents=True, exist_ok=True)
        _give(fresh, volume.group, 0o777)
        fresh.rename(path)


def _give(path: Path, group: int | None, mode: int, owner: int | None = None) -> None:
    """Owner, group and mode. What a group is given it can read, and what is made in its directory is its own."""
    if owner is not None or group is not None:
        os.chown(path, -1 if owner is None else owner, -1 if group is None else group)
    path.chmod(_widen(mode, group, is_directory=path.is_dir()))


def _widen(mode: int, group: int | None, *, is_directory: bool) -> int:
    """Rule: upstream's fsGroup, of volumes that programs cannot write, and of directories that all can."""
    if group is None:
        return mode
    return mode | (0o2050 if is_directory else 0o440)


def measure_pod(directory: Path, logs: Path) -> DiskUse:
    """What a Pod's directory and its logs take on disk. What changes meanwhile is measured as it is met."""
    volumes = {path.name: measure_tree(path) for path in _list(directory / "volumes") if not path.is_mount()}
    containers: dict[str, int] = {}
    for path in (*_list(directory / "containers"), *_list(logs)):
        containers[path.name] = containers.get(path.name, 0) + measure_tree(path)
    return DiskUse(volumes, containers)


def measure_tree(directory: Path) -> int:
    """The blocks of all that is in it, in bytes: a hole in a file takes none. Links are not followed."""
    total, waiting = 0, [str(directory)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    about = entry.stat(follow_symlinks=False)
                    total += about.st_blocks * BLOCK_BYTES
                    if stat.S_ISDIR(about.st_mode):
                        waiting.append(entry.path)
        except OSError:
            continue
    return total


def _list(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []


def remove_pod_files(directory: Path) -> None:
    """Everything of one Pod, what lies in memory included. Nothing happens when it is gone."""
    for volume in sorted(directory.glob("volumes/*")):
        if not volume.is_symlink() and volume.is_mount():
            unmount(str(volume))
    shutil.rmtree(directory, ignore_errors=True)


def write_content(path: Path, volume: Content) -> None:
    """Bring the directory to the content; nothing is written when it is there already."""
    group = volume.group
    _give(path, group, 0o755)
    current = path / "..data"
    want = {entry.path: _describe(entry, group) for entry in volume.files}
    if current.is_symlink() and _read_content(current.resolve()) == want:
        return
    fresh = Path(tempfile.mkdtemp(prefix="..", dir=path))
    _give(fresh, group, 0o755)
    for entry in volume.files:
        file = fresh / entry.path
        _make_directories(file.parent, group)
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as writing:
            writing.write(entry.content)
        _give(file, group, entry.mode, entry.owner)
    old = current.resolve() if current.is_symlink() else None
    pointer = path / "..data_tmp"
    with contextlib.suppress(FileNotFoundError):
        pointer.unlink()
    pointer.symlink_to(fresh.name)
    pointer.replace(current)
    _link_names(path, {entry.path.split("/", 1)[0] for entry in volume.files})
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def _link_names(path: Path, names: set[str]) -> None:
    for name in names:
        if not (path / name).is_symlink():
            (path / name).symlink_to(f"..data/{name}")
    for entry in path.iterdir():
        if entry.is_symlink() and not entry.name.startswith("..") and entry.name not in names:
            entry.unlink()


def _make_directories(path: Path, group: int | None) -> None:
    """Those that a file of a volume lies in."""
    if not path.exists():
        _make_directories(path.parent, group)
        path.mkdir()
        _give(path, group, 0o755)


Described = tuple[bytes, int, int, int]
"""Of a file: content, mode, owner and group."""


def _describe(entry: FileEntry, group: int | None) -> Described:
    owner = os.geteuid() if entry.owner is None else entry.owner
    mode = _widen(entry.mode, group, is_directory=False)
    return entry.content, mode, owner, os.getegid() if group is None else group


def _read_content(directory: Path) -> dict[str, Described]:
    found = {}
    for file in directory.rglob("*"):
        if file.is_file():
            about = file.stat()
            described = (file.read_bytes(), stat.S_IMODE(about.st_mode), about.st_uid, about.st_gid)
            found[str(file.relative_to(directory))] = described
    return found


def _check_host_path(volume: HostPath) -> Path:
    path = Path(volume.path)
    if volume.type == "DirectoryOrCreate" and not path.exists():
        path.mkdir(mode=0o755, parents=True)
    elif volume.type == "FileOrCreate" and not path.exists():
        path.touch(mode=0o644)
    if volume.type in _CHECKS:
        check, name = _CHECKS[volume.type]
        if not path.exists() or not check(path.stat().st_mode):
            raise ContainerError(f"hostPath type check failed: {path} is not {name}")
    elif not path.exists():
        raise ContainerError(f"hostPath {path}: does not exist")
    return path.resolve()


def write_text(path: Path, text: str, *, mode: int = 0o644) -> Path:
    """The file, with the text; readable by the Pod's user. Raises ContainerError, of a full disk for one."""
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
    except OSError as error:
        raise ContainerError(str(error)) from error
    return path


def save_json(path: Path, value: Any) -> None:
    """Replace the file with the value, on disk before this returns. Raises ContainerError; the file is as before."""
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        with os.fdopen(handle, "w") as file:
            json.dump(value, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        temporary = ""
    except OSError as error:
        raise ContainerError(f"{path}: {error.strerror}") from error
    finally:
        if temporary:
            os.unlink(temporary)


def load_json(path: Path) -> Any:
    """The value, or None when there is no such file or it is no JSON."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None
