"""Puts the layers of an image on top of each other into one directory.

Nothing is ever written outside of that directory: a path is walked from its root, and links lead where they would lead
with that as the root. Devices are left out, owners are kept where we may set them, and there are limits on all.
Rule: OCI image-spec, "layer.md" (whiteouts, opaque directories, hard links).
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import shutil
import stat
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

from seaway.node.runtime.images.archive import ImageError, Layer, open_member

MAX_BYTES = 32 << 30
MAX_ENTRIES = 1 << 20
MAX_PATH_CHARACTERS = 4096
MAX_LINKS = 40
WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_PIECE_BYTES = 1 << 20


class _Hashing:
    """A file that computes the digest of what is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._hash.update(data)
        return data

    def drain(self) -> None:
        """To the end, behind which nobody looks."""
        while self.read(_PIECE_BYTES):
            pass


@dataclass(slots=True)
class Unpacker:
    """One image's root. `size_bytes` is what was written."""

    root: Path
    keeps_owners: bool
    size_bytes: int = 0
    entries: int = 0
    _modes: dict[str, int] = field(default_factory=dict)
    """Of directories: set last, since one may be closed to its owner."""

    def add_layer(self, archive: tarfile.TarFile, layer: Layer) -> None:
        """Put a layer on what is there. Raises ImageError."""
        with open_member(archive, layer.member) as file:
            raw = _Hashing(file)
            plain = _Hashing(_decompress(raw, layer.member))
            seen: set[str] = set()
            try:
                with tarfile.open(fileobj=cast(IO[bytes], plain), mode="r|", errorlevel=2) as tar:
                    for member in tar:
                        self._add(tar, member, seen)
            except (tarfile.TarError, EOFError, gzip.BadGzipFile, OSError) as error:
                raise ImageError(f"layer {layer.member}: {error}") from error
            plain.drain()
            raw.drain()
        if plain.digest != layer.diff_id:
            raise ImageError(f"layer {layer.member}: {plain.digest} found, {layer.diff_id} said by the image")
        if layer.digest and raw.digest != layer.digest:
            raise ImageError(f"layer {layer.member}: {raw.digest} found, {layer.digest} said by the manifest")

    def finish(self) -> None:
        """Give directories the modes that were kept back."""
        for path, mode in sorted(self._modes.items(), reverse=True):
            with contextlib.suppress(FileNotFoundError):
                os.chmod(self.root / path, mode)

    def _add(self, tar: tarfile.TarFile, member: tarfile.TarInfo, seen: set[str]) -> None:
        self.entries += 1
        self.size_bytes += member.size
        if self.entries > MAX_ENTRIES or self.size_bytes > MAX_BYTES:
            raise ImageError(f"image: more than {MAX_ENTRIES} files or {MAX_BYTES} bytes")
        if len(member.name) > MAX_PATH_CHARACTERS:
            raise ImageError(f"image: a path of {len(member.name)} characters, {MAX_PATH_CHARACTERS} allowed")
        parts = [part for part in member.name.split("/") if part not in ("", ".")]
        if not parts:
            self._modes["."] = stat.S_IMODE(member.mode)
            return
        parent, name = self._walk(parts[:-1], makes=True), parts[-1]
        if name == "..":
            raise ImageError(f"image: {member.name} leads out of its directory")
        if name == OPAQUE:
            self._clear(parent, seen)
        elif name.startswith(WHITEOUT):
            _remove(parent / name.removeprefix(WHITEOUT))
        else:
            self._place(tar, member, parent / name)
            seen.add(str(parent / name))

    def _walk(self, parts: list[str], *, makes: bool) -> Path:
        """The directory in the root. Raises ImageError."""
        current, rest, links = self.root, list(parts), 0
        while rest:
            part = rest.pop(0)
            if part == "..":
                current = current if current == self.root else current.parent
                continue
            if part in ("", "."):
                continue
            path = current / part
            if path.is_symlink():
                links += 1
                if links > MAX_LINKS:
                    raise ImageError(f"image: {'/'.join(parts)}: too many links")
                target = os.readlink(path)
                current = self.root if target.startswith("/") else current
                rest = target.split("/") + rest
            elif path.is_dir():
                current = path
            elif makes and not path.exists():
                path.mkdir(0o755)
                current = path
            else:
                raise ImageError(f"image: {'/'.join(parts)}: {part} is no directory")
        return current

    def _place(self, tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
        if member.isdir():
            if path.is_symlink() or not path.is_dir():
                _remove(path)
                path.mkdir(0o755)
            self._modes[str(path.relative_to(self.root))] = stat.S_IMODE(member.mode)
            self._own(path, member)
            return
        if not (member.isreg() or member.issym() or member.islnk() or member.isfifo()):
            return
        _remove(path)
        if member.issym():
            os.symlink(member.linkname, path)
        elif member.islnk():
            os.link(self._find_target(member), path, follow_symlinks=False)
            return
        elif member.isfifo():
            os.mkfifo(path, 0o600)
        else:
            source = tar.extractfile(member)
            assert source is not None
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb") as file:
                shutil.copyfileobj(source, file, _PIECE_BYTES)
        self._own(path, member)
        if not member.issym():
            os.chmod(path, stat.S_IMODE(member.mode))

    def _find_target(self, member: tarfile.TarInfo) -> Path:
        *parents, name = [part for part in member.linkname.split("/") if part not in ("", ".")] or [""]
        target = self._walk(parents, makes=False) / name
        if name in ("", "..") or target.is_symlink() or not target.is_file():
            raise ImageError(f"image: {member.name} is a link to {member.linkname}, which is no file of it")
        return target

    def _own(self, path: Path, member: tarfile.TarInfo) -> None:
        if self.keeps_owners:
            os.chown(path, member.uid, member.gid, follow_symlinks=False)

    def _clear(self, directory: Path, seen: set[str]) -> None:
        """What earlier layers had there goes, what this one has stays."""
        for entry in list(directory.iterdir()):
            if not any(path == str(entry) or path.startswith(f"{entry}/") for path in seen):
                _remove(entry)


def _decompress(file: _Hashing, name: str) -> IO[bytes]:
    """The tar in the layer, by its first bytes. Raises ImageError."""
    first = file.read(4)
    whole = cast(IO[bytes], _Joined(first, file))
    if first.startswith(_GZIP):
        return cast(IO[bytes], gzip.GzipFile(fileobj=whole))
    if first == _ZSTD:
        raise ImageError(f"layer {name}: compressed with zstd, gzip or nothing needed; save the image once more")
    return whole


class _Joined:
    """What was read already, then the rest."""

    def __init__(self, first: bytes, file: _Hashing) -> None:
        self._first = first
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if not self._first:
            return self._file.read(size)
        if size < 0:
            found, self._first = self._first, b""
            return found + self._file.read()
        found, self._first = self._first[:size], self._first[size:]
        return found


def _remove(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    else:
        _open_up(path)
        shutil.rmtree(path)


def _open_up(directory: Path) -> None:
    """Directories of the image may be closed to their owner; they are opened before they go."""
    directory.chmod(0o700)
    for inner, names, _ in os.walk(directory):
        for name in names:
            child = Path(inner, name)
            if not child.is_symlink():
                child.chmod(0o700)


def remove_root(directory: Path) -> None:
    """An unpacked image. Safe to repeat."""
    if directory.exists():
        _open_up(directory)
        shutil.rmtree(directory, ignore_errors=True)
