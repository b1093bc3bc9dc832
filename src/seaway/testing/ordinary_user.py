"""Runs a program as an ordinary user, so that tests started by root also prove the ways that need no root.

The interpreter, its packages and the source may lie below directories that only root may enter. In a private mount
namespace such a directory is replaced by a tmpfs on which the needed paths are bound. Nothing of the host changes.

    subprocess.run(as_ordinary_user([sys.executable, "-m", "…"], home=tmp_path))
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import seaway
from seaway.node.shim import kernel

NOBODY = 65534


def as_ordinary_user(argv: Sequence[str], *, home: Path, needed: Iterable[Path] = ()) -> list[str]:
    """The command that runs `argv` as a user without rights; `argv` itself when the caller is none but that.

    home: a directory that exists; it is given to the user and becomes HOME and the working directory.
    needed: more paths that must be reachable, besides Python, its packages and the source.
    """
    if os.geteuid() != 0:
        return list(argv)
    for directory in (home, *(Path(top, name) for top, names, _ in os.walk(home) for name in names)):
        os.chown(directory, NOBODY, NOBODY)
    reachable = [str(path) for path in (home, *needed)]
    return [sys.executable, "-m", "seaway.testing.ordinary_user", *reachable, "--", *argv]


def main(arguments: Sequence[str]) -> None:
    """`HOME [PATH…] -- COMMAND…`: become the user and execute the command."""
    cut = arguments.index("--")
    home, argv = arguments[0], list(arguments[cut + 1 :])
    source = str(Path(seaway.__file__).parents[1])
    needed = {os.path.realpath(p) for p in (sys.base_prefix, sys.prefix, source, *arguments[:cut])}
    kernel.unshare(kernel.CLONE_NEWNS)
    kernel.mount("none", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
    _make_reachable(needed)
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    os.chdir(home)
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TERM", "PYTHONPATH") if name in os.environ}
    os.execvpe(argv[0], argv, kept | {"HOME": home, "USER": "nobody", "LOGNAME": "nobody"})


def _make_reachable(paths: Iterable[str]) -> None:
    """Replace each directory that others may not enter by one that holds nothing but the needed paths."""
    closed: dict[str, list[tuple[str, int]]] = {}
    for path in sorted(paths):
        barrier = _find_barrier(path)
        if barrier:
            closed.setdefault(barrier, []).append((path, os.open(path, os.O_PATH)))
    for barrier, inside in closed.items():
        kernel.mount("tmpfs", barrier, "tmpfs", 0, "mode=755")
        for path, handle in inside:
            if not os.path.exists(path):
                os.makedirs(path, 0o755)
                kernel.bind(f"/proc/self/fd/{handle}", path)
            os.close(handle)


def _find_barrier(path: str) -> str:
    """The outermost directory above `path` that others may not enter, or ""."""
    for parent in reversed(Path(path).parents):
        if not stat.S_IMODE(parent.stat().st_mode) & stat.S_IXOTH:
            return str(parent)
    return ""


if __name__ == "__main__":
    main(sys.argv[1:])
