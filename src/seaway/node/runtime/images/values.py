"""What is known of an image. Rule: OCI image-spec, "config.md"; spec "node" §2.9."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """id: `sha256:…`, or empty for a program of the host. user: as the image says it; uid and gid: what that is.

    Without a root of its own (`has_root`) its program runs on the host's file system.
    """

    id: str = ""
    names: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    working_dir: str = ""
    user: str = ""
    uid: int = 0
    gid: int = 0
    size_bytes: int = 0
    stop_signal: str = ""

    @property
    def has_root(self) -> bool:
        return bool(self.id)


@dataclass(frozen=True, slots=True)
class Alias:
    """Another name: of an image, or of a program of the host with its arguments and variables."""

    image: str = ""
    argv: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ImageIndex:
    """All images by id, and aliases by full name."""

    images: Mapping[str, Image] = field(default_factory=dict)
    aliases: Mapping[str, Alias] = field(default_factory=dict)

    def find(self, name: str) -> Image | None:
        """What the full name, or an id, stands for. An alias comes before an image of the name."""
        alias = self.aliases.get(name)
        if alias is not None and alias.argv:
            return Image(names=(name,), entrypoint=alias.argv[:1], cmd=alias.argv[1:], env=alias.env)
        wanted = alias.image if alias is not None else name
        if wanted in self.images:
            return self.images[wanted]
        return next((image for image in self.images.values() if wanted in image.names), None)


def decode_config(config: Json) -> dict[str, Any]:
    """The fields of an Image that its configuration tells."""
    said: Json = config.get("config") or {}
    pairs = (text.partition("=") for text in said.get("Env") or ())
    return {
        "entrypoint": tuple(said.get("Entrypoint") or ()),
        "cmd": tuple(said.get("Cmd") or ()),
        "env": tuple((name, value) for name, _, value in pairs),
        "working_dir": str(said.get("WorkingDir") or ""),
        "user": str(said.get("User") or ""),
        "stop_signal": str(said.get("StopSignal") or ""),
    }


def find_ids(user: str, passwd: str, group: str) -> tuple[int, int] | None:
    """The numbers of `USER[:GROUP]` by the image's own files; None for a name that these do not have.

    Rule: OCI image-spec, "config.md", User.
    """
    name, _, group_name = user.partition(":")
    uid, gid = 0, 0
    if name and name.isascii() and name.isdigit():
        uid = int(name)
        gid = next((int(fields[3]) for fields in _entries(passwd, 4) if fields[2] == name), 0)
    elif name:
        found = next((fields for fields in _entries(passwd, 4) if fields[0] == name), None)
        if found is None:
            return None
        uid, gid = int(found[2]), int(found[3])
    if group_name.isascii() and group_name.isdigit():
        gid = int(group_name)
    elif group_name:
        other = next((fields for fields in _entries(group, 3) if fields[0] == group_name), None)
        if other is None:
            return None
        gid = int(other[2])
    return uid, gid


def _entries(text: str, count: int) -> list[list[str]]:
    """Lines of passwd(5) or group(5) with at least so many fields, the third and later ones numbers."""
    lines = [line.split(":") for line in text.splitlines()]
    return [fields for fields in lines if len(fields) >= count and all(f.isdigit() for f in fields[2:count])]
