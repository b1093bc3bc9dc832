"""The images of this host: their roots, and one file that names them.

An import is complete or not there: the root is unpacked beside its place, moved there, and then named. Writers take
turns by a lock on the directory; a reader sees one version of the file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from seaway.node.runtime import files
from seaway.node.runtime.contract import ContainerError
from seaway.node.runtime.images.archive import Found, ImageError, read_images
from seaway.node.runtime.images.names import ImageNameError, normalize
from seaway.node.runtime.images.unpack import Unpacker, remove_root
from seaway.node.runtime.images.values import Alias, Image, ImageIndex, decode_config, find_ids

_INDEX = "index.json"
_MAX_ID_FILE_BYTES = 1 << 20


class ImageStore:
    """Images below a directory, which nobody else may enter."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def read(self) -> ImageIndex:
        """All that is there."""
        saved = files.load_json(self.directory / _INDEX)
        if not isinstance(saved, dict):
            return ImageIndex()
        images = [_decode_image(entry) for entry in saved.get("images") or ()]
        aliases = {name: _decode_alias(entry) for name, entry in (saved.get("aliases") or {}).items()}
        return ImageIndex({image.id: image for image in images}, aliases)

    def find(self, name: str) -> Image | None:
        """What a name of a container stands for. Raises ImageNameError."""
        index = self.read()
        return index.find(name) or index.find(normalize(name))

    def root_of(self, image: Image) -> Path:
        """Where its files lie."""
        return self.directory / image.id.removeprefix("sha256:") / "rootfs"

    def import_archive(self, path: Path, *, machine: str, name: str = "") -> tuple[Image, ...]:
        """The images of an archive, unpacked and named. name: for the only one of them. Raises ImageError."""
        try:
            with tarfile.open(path, "r:*") as archive, self._lock():
                found = read_images(archive, machine=machine)
                if name and len(found) > 1:
                    raise ImageError(f"{path}: {len(found)} images found, one needed for the name {name}")
                return tuple(self._import(archive, each, (name,) if name else each.names) for each in found)
        except (OSError, tarfile.TarError) as error:
            raise ImageError(f"{path}: {error}; an OCI or docker archive needed") from error

    def set_alias(self, name: str, alias: Alias) -> str:
        """Another name, in full. Raises ImageError."""
        full = _normalize(name)
        with self._lock():
            index = self.read()
            if alias.image:
                target = index.find(alias.image) or index.find(_normalize(alias.image))
                if target is None:
                    raise ImageError(f"image {alias.image}: not imported, and no absolute path of a program")
                alias = Alias(image=target.id)
            self._write(ImageIndex(index.images, {**index.aliases, full: alias}))
        return full

    def remove(self, name: str) -> str:
        """An alias; else a name of an image, with its files when it was the last; or an image by its id."""
        with self._lock():
            index = self.read()
            full = name if name in index.images else _normalize(name)
            if full in index.aliases:
                aliases = {key: alias for key, alias in index.aliases.items() if key != full}
                self._write(ImageIndex(index.images, aliases))
                return full
            image = index.find(full)
            if image is None:
                raise ImageError(f"image {name}: not found; `seaway image ls` lists what there is")
            left = tuple(each for each in image.names if each != full)
            images = {key: each for key, each in index.images.items() if key != image.id}
            keeps = bool(left) and full != image.id
            if keeps:
                images[image.id] = replace(image, names=left)
            aliases = {key: alias for key, alias in index.aliases.items() if keeps or alias.image != image.id}
            self._write(ImageIndex(images, aliases))
            if not keeps:
                remove_root(self.root_of(image).parent)
            return full

    def _import(self, archive: tarfile.TarFile, found: Found, names: Sequence[str]) -> Image:
        index = self.read()
        known = index.images.get(found.id)
        full = tuple(dict.fromkeys((*(known.names if known else ()), *map(_normalize, names))))
        image = replace(known, names=full) if known else self._unpack(archive, found, full)
        others = {
            key: replace(other, names=tuple(n for n in other.names if n not in full))
            for key, other in index.images.items()
            if key != image.id
        }
        self._write(ImageIndex({**others, image.id: image}, index.aliases))
        return image

    def _unpack(self, archive: tarfile.TarFile, found: Found, names: tuple[str, ...]) -> Image:
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=self.directory))
        try:
            root = partial / "rootfs"
            root.mkdir(0o755)
            unpacker = Unpacker(root, keeps_owners=_may_set_owners())
            for layer in found.layers:
                unpacker.add_layer(archive, layer)
            unpacker.finish()
            said = decode_config(found.config)
            ids = find_ids(said["user"], read_inside(root, "etc/passwd"), read_inside(root, "etc/group"))
            if ids is None:
                raise ImageError(f"image {found.id}: user {said['user']} is not in its own /etc/passwd or /etc/group")
            image = Image(id=found.id, names=names, uid=ids[0], gid=ids[1], size_bytes=unpacker.size_bytes, **said)
            place = self.root_of(image).parent
            remove_root(place)  # of an import that was cut off before it was named
            os.replace(partial, place)
            place.chmod(0o755)
            return image
        except BaseException:
            remove_root(partial)
            raise

    def _write(self, index: ImageIndex) -> None:
        saved = {
            "images": [dataclasses.asdict(image) for _, image in sorted(index.images.items())],
            "aliases": {name: dataclasses.asdict(alias) for name, alias in sorted(index.aliases.items())},
        }
        try:
            files.save_json(self.directory / _INDEX, saved)
        except ContainerError as error:
            raise ImageError(str(error)) from error

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        self.directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        handle = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            for left in self.directory.glob(".partial-*"):
                remove_root(left)
            yield
        finally:
            os.close(handle)


def _normalize(name: str) -> str:
    try:
        return normalize(name)
    except ImageNameError as error:
        raise ImageError(str(error)) from None


def _decode_image(entry: dict[str, Any]) -> Image:
    pairs = tuple((name, value) for name, value in entry["env"])
    lists = {key: tuple(entry[key]) for key in ("names", "entrypoint", "cmd")}
    return Image(**{**entry, **lists, "env": pairs})


def _decode_alias(entry: dict[str, Any]) -> Alias:
    return Alias(entry["image"], tuple(entry["argv"]), tuple((name, value) for name, value in entry["env"]))


def read_inside(root: Path, name: str) -> str:
    """A file of the image; what leads elsewhere is not read."""
    path = root / name
    if not path.resolve().is_relative_to(root.resolve()) or not path.is_file():
        return ""
    with path.open("rb") as file:
        return file.read(_MAX_ID_FILE_BYTES).decode(errors="replace")


def _may_set_owners() -> bool:
    """Root outside of a user namespace."""
    if os.geteuid() != 0:
        return False
    inside, outside, count = Path("/proc/self/uid_map").read_text().split()[:3]
    return inside == outside == "0" and int(count) > 1
