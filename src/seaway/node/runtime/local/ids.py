"""Who a program of an image is, by the image's own files. Rule: passwd(5), group(5); upstream's supplementalGroups."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seaway.node.runtime.images.store import read_inside


@dataclass(frozen=True, slots=True)
class Ids:
    """A user, its first group, and more groups."""

    user: int
    group: int
    groups: tuple[int, ...] = ()

    def describe(self) -> dict[str, Any]:
        """As the status of a container tells it."""
        groups = sorted({self.group, *self.groups})
        return {"linux": {"uid": self.user, "gid": self.group, "supplementalGroups": groups}}


def find_ids_inside(root: Path, user: int) -> Ids:
    """By the files of an image; a user that they do not know is in the group 0 alone."""
    return find_ids(user, read_inside(root, "etc/passwd"), read_inside(root, "etc/group"))


def find_ids(user: int, passwd: str, group: str) -> Ids:
    """By the texts of the two files."""
    lines = [line.split(":") for line in passwd.splitlines()]
    found = next((f for f in lines if len(f) >= 4 and f[2] == str(user) and f[3].isdecimal()), None)
    if found is None:
        return Ids(user, 0)
    members = [line.split(":") for line in group.splitlines()]
    groups = {
        int(fields[2]) for fields in members
        if len(fields) >= 4 and fields[2].isdecimal() and found[0] in fields[3].split(",")
    }  # fmt: skip
    return Ids(user, int(found[3]), tuple(sorted(groups)))
