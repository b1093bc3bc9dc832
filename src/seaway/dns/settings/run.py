"""A configuration on disk: the file, and whatever it refers to, read as one.

The checksum is over every byte that was read, imports and lists of resolvers included, so that a change of any of them
is a change of the configuration. Rule: spec "discovery" A4.2 (reload).
"""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from seaway.dns.config import DnsConfig
from seaway.dns.settings.read import EVERYBODY, Surroundings, read_settings
from seaway.dns.settings.words import SettingsError

MAX_FILE_BYTES = 4 << 20
MAX_FILES = 256


class ConfigFile:
    """One file, to be loaded again and again. hosts: addresses to listen on where it names none."""

    def __init__(self, path: Path, *, hosts: Sequence[str], allowed_sources: Sequence[str] = ()) -> None:
        self._path = path
        self._hosts = tuple(hosts)
        self._allowed_sources = tuple(allowed_sources) or EVERYBODY

    def load(self) -> tuple[DnsConfig, str]:
        """The configuration, and the SHA-512 of everything that it was made from. Raises SettingsError."""
        reader = _Reader(self._path.parent)
        try:
            text = reader.read(str(self._path))
        except OSError as error:
            raise SettingsError(f"{error.strerror or error}", file=str(self._path), line=1) from None
        surroundings = Surroundings(reader.read, reader.read_matching, os.environ, self._hosts, self._allowed_sources)
        config = read_settings(text, file=str(self._path), surroundings=surroundings)
        return config, reader.checksum


class _Reader:
    """Reads files, relative to one folder, and remembers what it read as a checksum."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._digest = hashlib.sha512()
        self._files = 0

    @property
    def checksum(self) -> str:
        return self._digest.hexdigest()

    def read(self, name: str) -> str:
        """The text. Raises OSError, also for a file too large or that is no text."""
        self._files += 1
        if self._files > MAX_FILES:
            raise OSError(0, f"more than {MAX_FILES} files", name)
        path = self._folder / name
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise OSError(0, f"larger than {MAX_FILE_BYTES} bytes", name)
        self._digest.update(f"{name}\0{len(data)}\0".encode() + data)
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise OSError(0, "no text in UTF-8", name) from None

    def read_matching(self, pattern: str) -> Sequence[tuple[str, str]]:
        """Paths and texts, sorted. Raises OSError."""
        names = sorted(glob.glob(str(self._folder / pattern)))
        return [(name, self.read(name)) for name in names if not Path(name).is_dir()]
