"""Where a container without a root of its own finds what would be in that: a directory per run, with links.

What is mounted at /etc/config lies at $SEAWAY_ROOT/etc/config. So do the files that the agent makes, and the file for
the last words. The directory is also the program's home, and its working directory unless the Pod names one.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

ROOT_VARIABLE = "SEAWAY_ROOT"


def root_of(state_dir: Path, uid: str, name: str, attempt: int) -> Path:
    """The directory of one run of a container."""
    return state_dir / "pods" / uid / "containers" / name / f"{attempt}.root"


def place_in(root: Path, path: str) -> Path:
    """Where a path of the container lies. `..` does not lead out."""
    parts = [part for part in PurePosixPath("/", path).parts[1:] if part not in (".", "..")]
    return root.joinpath(*parts)


def find_nested(paths: Iterable[str]) -> tuple[str, str] | None:
    """The first path that lies in another, with that: a link has no room for it."""
    ordered = sorted({PurePosixPath("/", path) for path in paths})
    for inner in ordered:
        for outer in inner.parents:
            if outer in ordered:
                return str(inner), str(outer)
    return None


def choose_working_directory(root: Path, wanted: str, mount_paths: Iterable[str]) -> str:
    """The one that the Pod wants: where its mounts are, or on the host; none: the run's own."""
    if not wanted:
        return str(root)
    path = PurePosixPath("/", wanted)
    is_mounted = any(path.is_relative_to(PurePosixPath("/", mount)) for mount in mount_paths)
    return str(place_in(root, wanted)) if is_mounted else str(path)


def make_base_environment(root: Path, *, hostname: str, path: str, python_bin: str) -> dict[str, str]:
    """What a program finds before the Pod's own variables. path: the agent's; `python3` is always on it."""
    known = python_bin in path.split(":")
    return {
        "PATH": path if known else f"{path}:{python_bin}".lstrip(":"),
        "HOSTNAME": hostname,
        "HOME": str(root),
        "TMPDIR": str(root / "tmp"),
    }
