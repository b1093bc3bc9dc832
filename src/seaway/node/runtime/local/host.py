"""What of the host a mount plan needs to know."""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path

from seaway.node.runtime.local import rootfs


def read_host(*, data_dir: Path, state_dir: Path) -> rootfs.HostView:
    """The host as it is. Both directories are hidden from every Pod."""
    entries = tuple(
        rootfs.Entry(e.name, e.is_dir(follow_symlinks=False), os.readlink(e.path) if e.is_symlink() else "")
        for e in os.scandir("/")
    )
    keys = [str(key) for key in Path("/etc/ssh").glob("ssh_host_*_key")] if Path("/etc/ssh").is_dir() else []
    home = _find_home()
    return rootfs.HostView(
        entries=entries,
        hidden=tuple(sorted({str(data_dir.resolve()), str(state_dir.resolve())})),
        kept=(os.path.realpath(sys.base_prefix),),
        secrets=tuple(sorted({*keys, *([home] if home else [])})),
    )


def _find_home() -> str:
    """The home directory of the user that the agent is outside of its user namespace; "" for the root directory."""
    inside, outside, _ = Path("/proc/self/uid_map").read_text().split()[:3]
    user = int(outside) + os.getuid() - int(inside)
    try:
        home = os.path.realpath(pwd.getpwuid(user).pw_dir)
    except KeyError:
        return ""
    return home if os.path.isdir(home) and home.count("/") > 0 and home not in ("/", "/usr", "/var") else ""
