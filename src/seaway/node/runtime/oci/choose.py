"""Which OCI runtime a node has: the setting, programs that are there, and what one is told besides the container."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from seaway.net.errors import OperationalError

AUTO, NONE = "auto", "none"
CANDIDATES = ("crun", "runc")
"""In this order: crun needs a fifth of the time, and works without cgroups."""
SEARCHED = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class OciRuntimeError(OperationalError):
    """What the operator named as the runtime cannot be used."""


@dataclass(frozen=True, slots=True)
class OciRuntime:
    """A program that speaks the command line of runc."""

    path: str

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name

    @property
    def options(self) -> tuple[str, ...]:
        """Before the command. Cgroups stay the node's: runc knows no such option, but forgives what it may not do."""
        return ("--cgroup-manager=disabled",) if self.hides_cgroups else ("--rootless", "true")

    @property
    def hides_cgroups(self) -> bool:
        """crun gives up on a host with both versions of cgroups, wanted or not; runc, on a host that seems without."""
        return self.name.startswith("crun")

    def make_request(self, config: Mapping[str, Any], *, directory: Path, overlay: str = "") -> dict[str, Any]:
        """What the shim needs to know. directory: of this run, for the bundle. overlay: options of the root's mount."""
        return {
            "program": self.path, "options": list(self.options), "directory": str(directory),
            "overlay": overlay, "config": config, "hides_cgroups": self.hides_cgroups,
        }  # fmt: skip


def find_runtimes(setting: str) -> tuple[OciRuntime, ...]:
    """The programs to try, best first. setting: AUTO, NONE, or a path. Raises OciRuntimeError for a path to nothing."""
    if setting == NONE:
        return ()
    if setting == AUTO:
        found = (shutil.which(name, path=SEARCHED) for name in CANDIDATES)
        return tuple(OciRuntime(path) for path in found if path)
    if not (os.path.isabs(setting) and os.path.isfile(setting) and os.access(setting, os.X_OK)):
        raise OciRuntimeError(f"OCI runtime {setting}: no program with this absolute path; give one, `auto` or `none`")
    return (OciRuntime(setting),)


def name_runtime(runtime: OciRuntime | None, version: str) -> str:
    """The Node's `containerRuntimeVersion`: the shim, and what it runs images with. Semantic versions take it so."""
    parts = (runtime.name, version.replace("+", ".")) if runtime is not None else ()
    return "process://1" + ("+" if parts else "") + "-".join(filter(None, parts))
